/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel announces, through the shim: each event either belongs to the job under way, which gets it,
 * or is of somebody else's doing, which is recorded (and perhaps not left at that: manager-guard.c). What klpd
 * has just loaded or removed itself is known by name for a while, since its announcement may lag behind.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/manager.h"

/* How long the kernel's announcements of what klpd has done itself may lag behind. */
#define EXPECTED_USEC UINT64_C(5000000)

/* klpd itself has just loaded or removed this module. */
void manager_expect(Manager *m, const char *module) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        ExpectedModule *oldest = m->expected;

        for (size_t i = 0; i < MANAGER_EXPECTED_MAX; i++) {
                if (streq(m->expected[i].name, module)) {
                        oldest = &m->expected[i];
                        break;
                }
                if (m->expected[i].until_usec < oldest->until_usec)
                        oldest = &m->expected[i];
        }
        (void) snprintf(oldest->name, sizeof(oldest->name), "%s", module);
        oldest->until_usec = now + EXPECTED_USEC;
}

static bool manager_expects(const Manager *m, const char *module) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        for (size_t i = 0; i < MANAGER_EXPECTED_MAX; i++)
                if (m->expected[i].until_usec > now && patch_name_equal(m->expected[i].name, module))
                        return true;
        return false;
}

/* Something that klpd had not asked for. */
static void manager_audit_foreign(Manager *m, const ShimEvent *event) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FOREIGN, "foreign");
        const char *what = shim_event_to_string(event->kind) ?: "changed";

        audit_field(r, "KLPD_PATCH", event->name);
        audit_field_u64(r, "KLPD_GENERATION", event->generation);
        audit_state_event(r, event);
        switch (event->kind) {
        case KLP_SHIM_EVENT_PREPARING:
                audit_send(m->audit, r, LOG_WARNING, "Somebody else has started to %s livepatch '%s'",
                           shim_operation_to_string(event->operation) ?: "change", event->name);
                return;
        case KLP_SHIM_EVENT_ENDED:
                if (event->error < 0)
                        audit_field_u64(r, "KLPD_ERRNO", (uint64_t) -event->error);
                audit_send(m->audit, r, LOG_WARNING,
                           "The %s of livepatch '%s' that klpd had not asked for has ended: %s%s",
                           shim_operation_to_string(event->operation) ?: "change", event->name,
                           shim_end_to_string(event->end) ?: "unknown", event->forced ? ", forced" : "");
                return;
        case KLP_SHIM_EVENT_MODULE_LOADED:
        case KLP_SHIM_EVENT_MODULE_UNLOADED:
        case KLP_SHIM_EVENT_REGISTERED:
        case KLP_SHIM_EVENT_UNREGISTERED:
                audit_send(m->audit, r, LOG_NOTICE, "Livepatch module '%s', %s behind klpd's back",
                           event->name, what);
                return;
        case KLP_SHIM_EVENT_STATE_INTRODUCED:
        case KLP_SHIM_EVENT_STATE_KEPT:
        case KLP_SHIM_EVENT_STATE_TAKEN_OVER:
        case KLP_SHIM_EVENT_STATE_EXCHANGED:
        case KLP_SHIM_EVENT_STATE_REMOVED:
        case KLP_SHIM_EVENT_STATE_ORPHANED:
        case KLP_SHIM_EVENT_SHADOW_FREED:
                audit_send(m->audit, r,
                           event->kind == KLP_SHIM_EVENT_STATE_ORPHANED ? LOG_WARNING : LOG_NOTICE,
                           "State 0x%" PRIx64 "%s%s of livepatch '%s': %s, which klpd had not asked for",
                           event->state_id, event->state_name[0] ? " " : "", event->state_name, event->name,
                           what);
                return;
        }
        audit_record_free(r);
}

static bool manager_is_foreign(Manager *m, const ShimEvent *event) {
        if (m->job && transaction_expects(m->job->transaction, event))
                return false;
        switch (event->kind) {
        case KLP_SHIM_EVENT_PREPARING:
                (void) snprintf(m->foreign, sizeof(m->foreign), "%s", event->name);
                return true;
        case KLP_SHIM_EVENT_MODULE_LOADED:
        case KLP_SHIM_EVENT_MODULE_UNLOADED:
        case KLP_SHIM_EVENT_REGISTERED:
        case KLP_SHIM_EVENT_UNREGISTERED:
                return !manager_expects(m, event->name);
        case KLP_SHIM_EVENT_ENDED:
                if (!patch_name_equal(m->foreign, event->name))
                        return false;
                m->foreign[0] = 0;
                return true;
        case KLP_SHIM_EVENT_STATE_ORPHANED:
                return true;
        case KLP_SHIM_EVENT_STATE_INTRODUCED:
        case KLP_SHIM_EVENT_STATE_KEPT:
        case KLP_SHIM_EVENT_STATE_TAKEN_OVER:
        case KLP_SHIM_EVENT_STATE_EXCHANGED:
        case KLP_SHIM_EVENT_STATE_REMOVED:
        case KLP_SHIM_EVENT_SHADOW_FREED:
                return m->foreign[0];
        }
        return false;
}

static void on_event(const ShimEvent *event, void *userdata) {
        Manager *m = userdata;

        manager_mark_stale(m);
        if (manager_is_foreign(m, event)) {
                manager_audit_foreign(m, event);
                manager_guard(m, event);
        }
        if (m->job)
                transaction_event(m->job->transaction, event);
}

static void on_resync(void *userdata) {
        Manager *m = userdata;

        m->foreign[0] = 0;
        manager_mark_stale(m);
        if (m->job)
                transaction_event(m->job->transaction, NULL);
}

static Patch *on_lookup(const char *name, const char *build_id, void *userdata) {
        Manager *m = userdata;
        const RepositoryEntry *entry;

        if (!m->repository)
                return NULL;
        entry = repository_find(m->repository, name);
        if (!entry || entry->problem || !build_id || !streq_ptr(entry->patch->build_id, build_id))
                return NULL;
        return entry->patch;
}

void manager_listen(Manager *m) {
        m->hands->vtable->listen(m->hands, &(HandsListener) {
                                                   .event = on_event,
                                                   .resync = on_resync,
                                                   .lookup = on_lookup,
                                                   .userdata = m,
                                           });
}
