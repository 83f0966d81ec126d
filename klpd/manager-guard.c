/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Changes behind klpd's back that it doesn't leave at that (SEMANTICS.md section 3, "Behind our back"):
 * somebody disables, through sysfs, a patch that holds a live state with `block_disable`. Nobody can veto
 * that; but while the transition is under way it can be reversed, and after it the patch, whose state has
 * become an orphan, can be enabled again. Both only where the policy enforces the rule `block-disable`, not
 * while a job of klpd's own is under way, and again only a few times: whoever insists is stronger.
 *
 *   PREPARING a disable  -> the other value is written; the kernel's end of it is an event like others
 *   STATE_ORPHANED       -> a job of klpd's own applies the patch again, planned like any other
 */
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/manager.h"

static bool guards(const Manager *m) {
        return m->world.policy && !m->world.policy_problem && !m->stopping &&
               m->world.policy->modes[RULE_BLOCK_DISABLE] == RULE_ENFORCE;
}

/* It has a live state that must not go. */
static bool holds_blocked(Manager *m, const char *name) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;

        if (m->hands->vtable->read_snapshot(m->hands, &snapshot) < 0)
                return false;
        for (size_t i = 0; i < snapshot->n_states; i++)
                if ((snapshot->states[i].flags & KLP_SHIM_STATE_BLOCK_DISABLE) &&
                    patch_name_equal(snapshot->states[i].holder, name))
                        return true;
        return false;
}

static void say(Manager *m, int priority, const char *name, const char *what, const char *more) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FOREIGN, "foreign");

        audit_field(r, "KLPD_PATCH", name);
        audit_send(m->audit, r, priority, "Livepatch '%s' %s%s", name, what, more);
}

typedef struct Guarded {
        Manager *manager;
        char name[PATCH_NAME_MAX + 1];
} Guarded;

static void on_reversed(int r, const char *text, void *userdata) {
        _cleanup_free_ Guarded *g = userdata;

        if (r == -ECANCELED)
                return; /* we are going */
        if (r >= 0)
                say(g->manager, LOG_WARNING, g->name,
                    "holds a state that must not go: its disable, which klpd had not asked for, is reversed", "");
        else
                log_warning("The disable of '%s' can't be reversed any more: %s", g->name,
                            *text ? text : strerror(-r));
}

static void guard_reverse(Manager *m, const char *name) {
        Guarded *g;
        int r;

        g = malloc(sizeof(*g));
        if (!g)
                return;
        g->manager = m;
        (void) snprintf(g->name, sizeof(g->name), "%s", name);
        r = m->hands->vtable->write_enabled(m->hands, name, true, false, on_reversed, g);
        if (r < 0) {
                log_warning("The disable of '%s' can't be reversed: %s", name, strerror(-r));
                free(g);
        }
}

static void guard_enable_again(Manager *m, const char *name) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        JobSpec *spec;
        Job *job;
        int r;

        r = job_spec_new(REQUEST_APPLY, &spec);
        if (r < 0)
                return;
        spec->uid = 0;
        spec->accept_irreversible = true; /* it was in force until a moment ago */
        spec->reason = strdup("its state was orphaned behind klpd's back");
        r = job_spec_set_patch(spec, name, &error);
        if (r < 0)
                job_spec_free(spec);
        else
                r = manager_start_job(m, spec, &job, &error);
        if (r < 0)
                say(m, LOG_ERR, name, "was disabled behind klpd's back and can't be enabled again: ",
                    error.message ?: strerror(-r));
        else
                manager_announce_job(m, job);
        sd_bus_error_free(&error);
}

static int on_orphans_settled(sd_event_source *source, uint64_t usec, void *userdata) {
        char name[PATCH_NAME_MAX + 1];
        Manager *m = userdata;

        m->guard = sd_event_source_disable_unref(m->guard);
        memcpy(name, m->guarded, sizeof(name));
        if (!m->job && guards(m))
                guard_enable_again(m, name);
        return 0;
}

#define GUARD_AGAIN_MAX 3U
#define GUARD_AGAIN_USEC UINT64_C(600000000)
/* The disable's other events, and the kernel's own clean-up, come first. */
#define GUARD_SETTLE_USEC UINT64_C(500000)

void manager_guard(Manager *m, const ShimEvent *event) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);

        if (m->job || !guards(m))
                return;
        if (event->kind == KLP_SHIM_EVENT_PREPARING && event->operation == KLP_SHIM_OP_DISABLE) {
                if (holds_blocked(m, event->name))
                        guard_reverse(m, event->name);
                return;
        }
        if (event->kind != KLP_SHIM_EVENT_STATE_ORPHANED || m->guard)
                return;
        if (now - m->guard_usec > GUARD_AGAIN_USEC)
                m->n_guarded = 0;
        if (m->n_guarded >= GUARD_AGAIN_MAX) {
                say(m, LOG_ERR, event->name,
                    "is disabled behind klpd's back again and again: it stays so now", "");
                return;
        }
        m->n_guarded++;
        m->guard_usec = now;
        (void) snprintf(m->guarded, sizeof(m->guarded), "%s", event->name);
        if (sd_event_add_time_relative(m->event, &m->guard, CLOCK_MONOTONIC, GUARD_SETTLE_USEC, 0,
                                       on_orphans_settled, m) < 0)
                log_error("Can't enable '%s' again: no timer", event->name);
}
