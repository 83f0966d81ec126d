/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * org.klpd1.Fleet and org.klpd1.Slot on the bus, member by member as in their XML: what convergence is at, the
 * two things that somebody may decide about it, and the one call that klp-fleet may make. And what of requests
 * is counted.
 */
#include <pwd.h>
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/manager.h"

#define DOCUMENT_NAME_MAX 255U

/* ---- properties of org.klpd1.Fleet ---- */

static const FleetStatus *status_of(void *userdata) {
        return &((Manager *) userdata)->fleet_status;
}

#define PROPERTY(function, type, expression)                                                             \
        static int function(sd_bus *bus, const char *path, const char *interface, const char *property, \
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {                \
                const FleetStatus *s = status_of(userdata);                                              \
                                                                                                         \
                return sd_bus_message_append(reply, type, expression);                                   \
        }

PROPERTY(get_managed, "b", (int) s->managed)
PROPERTY(get_stream, "s", s->stream)
PROPERTY(get_rule, "s", s->rule)
PROPERTY(get_document, "s", s->document)
PROPERTY(get_verdict, "s", s->verdict)
PROPERTY(get_reason, "s", s->reason)
PROPERTY(get_phase, "s", s->phase)
PROPERTY(get_level, "x", s->has_level ? (int64_t) s->level : -1)
PROPERTY(get_desired, "x", s->has_desired ? (int64_t) s->desired : -1)
PROPERTY(get_drift, "b", (int) s->drift)
PROPERTY(get_overridden, "b", (int) s->overridden)
PROPERTY(get_until, "t", s->until_usec)
PROPERTY(get_last_success, "t", s->last_success_usec)
PROPERTY(get_documents, "u", (uint32_t) s->n_documents)

static int get_message(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", m->converge->message ?: "");
}

int manager_fleet_problems(const Manager *m, char ***l) {
        const Converge *c = m->converge;
        const FleetSource *missing, *sources;
        char text[1200];
        size_t n = 0;
        int r = 0;

        if (c->record_problem)
                r = strv_extend(l, c->record_problem);
        missing = c->loader ? fleet_loader_missing(c->loader) : NULL;
        sources = c->loader ? fleet_loader_sources(c->loader, &n) : NULL;
        if (r >= 0 && missing && (missing < sources || missing >= sources + n)) {
                (void) snprintf(text, sizeof(text), "%s: %s", missing->path, missing->problem);
                r = strv_extend(l, text);
        }
        for (size_t i = 0; r >= 0 && i < n; i++) {
                if (!sources[i].problem)
                        continue;
                (void) snprintf(text, sizeof(text), "%s: %s%s", sources[i].path, sources[i].problem,
                                sources[i].document ? "; what was in force before stays" : "");
                r = strv_extend(l, text);
        }
        return r;
}

static int get_problems(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        _cleanup_strv_free_ char **l = NULL;
        int r;

        r = manager_fleet_problems(userdata, &l);
        return r < 0 ? r : sd_bus_message_append_strv(reply, l);
}

/* Of the kinds of decision, only the policy's has rules by name. */
static int get_refused_by(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;
        const Converge *c = m->converge;

        return sd_bus_message_append_strv(reply,
                                          c->phase == CONVERGE_REFUSED && c->refused ? c->refused_rules : NULL);
}

/* ---- methods ---- */

static int method_describe(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        int r;

        r = converge_describe(m->converge, &text);
        if (r == -EAGAIN)
                return sd_bus_error_set(error, ERROR_FAILED, "Fleet documents haven't been read yet");
        return r < 0 ? r : sd_bus_reply_method_return(message, "s", text);
}

typedef struct FleetAsk {
        Manager *manager;
        char *document; /* ResetSerial; NULL: Resume */
} FleetAsk;

static void ask_free(void *userdata) {
        FleetAsk *ask = userdata;

        free(ask->document);
        free(ask);
}

static void on_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                          void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        FleetAsk *ask = userdata;
        Converge *c = ask->manager->converge;
        Failure failure = {};

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        r = ask->document ? converge_reset_serial(c, ask->document, uid, &failure)
                          : converge_resume(c, uid, &failure);
        if (r < 0) {
                (void) sd_bus_error_set(&error, failure.name ?: ERROR_FAILED, failure_message(&failure));
                (void) reply_error(message, &error);
        } else
                (void) sd_bus_reply_method_return(message, NULL);
        failure_done(&failure);
        sd_bus_error_free(&error);
}

static int ask(Manager *m, const char *document, const char *action, sd_bus_message *message,
               sd_bus_error *error) {
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
        const char *actions[] = { action, NULL };
        FleetAsk *a;
        int r;

        a = calloc(1, sizeof(*a));
        if (!a)
                return -ENOMEM;
        a->manager = m;
        a->document = document ? strdup(document) : NULL;
        r = document && !a->document ? -ENOMEM
                                     : authorize(m->authorizer, message, actions, NULL, interactive, on_authorized,
                                                 a, ask_free);
        if (r < 0) {
                ask_free(a);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation")
                                    : r;
        }
        return 1;
}

static int method_resume(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return ask(userdata, NULL, ACTION_FLEET_RESUME, message, error);
}

static int method_reset_serial(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *document;
        int r;

        r = sd_bus_message_read_basic(message, 's', &document);
        if (r < 0)
                return r;
        if (!*document || strlen(document) > DOCUMENT_NAME_MAX)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Not the name of a document");
        return ask(userdata, document, ACTION_FLEET_RESET_SERIAL, message, error);
}

#define EMITS SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE

const sd_bus_vtable manager_fleet_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Describe", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), method_describe,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("Resume", SD_BUS_NO_ARGS, SD_BUS_NO_RESULT, method_resume,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ResetSerial", SD_BUS_ARGS("s", document), SD_BUS_NO_RESULT, method_reset_serial,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Managed", "b", get_managed, 0, EMITS),
        SD_BUS_PROPERTY("Stream", "s", get_stream, 0, EMITS),
        SD_BUS_PROPERTY("Rule", "s", get_rule, 0, EMITS),
        SD_BUS_PROPERTY("Document", "s", get_document, 0, EMITS),
        SD_BUS_PROPERTY("Verdict", "s", get_verdict, 0, EMITS),
        SD_BUS_PROPERTY("Reason", "s", get_reason, 0, EMITS),
        SD_BUS_PROPERTY("Phase", "s", get_phase, 0, EMITS),
        SD_BUS_PROPERTY("Message", "s", get_message, 0, EMITS),
        SD_BUS_PROPERTY("RefusedBy", "as", get_refused_by, 0, EMITS),
        SD_BUS_PROPERTY("Level", "x", get_level, 0, EMITS),
        SD_BUS_PROPERTY("Desired", "x", get_desired, 0, EMITS),
        SD_BUS_PROPERTY("Drift", "b", get_drift, 0, EMITS),
        SD_BUS_PROPERTY("Overridden", "b", get_overridden, 0, EMITS),
        SD_BUS_PROPERTY("Until", "t", get_until, 0, EMITS),
        SD_BUS_PROPERTY("LastSuccess", "t", get_last_success, 0, EMITS),
        SD_BUS_PROPERTY("Documents", "u", get_documents, 0, EMITS),
        SD_BUS_PROPERTY("Problems", "as", get_problems, 0, EMITS),
        SD_BUS_VTABLE_END,
};

/* ---- org.klpd1.Slot ---- */

void manager_find_fleet_user(Manager *m) {
        const struct passwd *p = getpwnam(SLOT_USER);

        m->fleet_uid = p ? p->pw_uid : (uid_t) -1;
}

static int get_wanted(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", converge_slot_wanted(m->converge));
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", slot_state_to_string(converge_slot_state(m->converge)));
}

typedef struct GrantAsk {
        Manager *manager;
        char token[SLOT_TOKEN_MAX + 1];
} GrantAsk;

static void on_granter(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied, void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const GrantAsk *grant = userdata;
        Manager *m = grant->manager;

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        if (uid != m->fleet_uid || uid == (uid_t) -1)
                (void) sd_bus_error_setf(&error, SD_BUS_ERROR_ACCESS_DENIED,
                                         "Only the user " SLOT_USER " may grant slots, not uid %u",
                                         (unsigned) uid);
        else if (converge_grant(m->converge, grant->token) < 0)
                (void) sd_bus_error_set(&error, ERROR_NO_SUCH_SLOT, "klpd doesn't want that slot (any more)");
        if (sd_bus_error_is_set(&error))
                (void) reply_error(message, &error);
        else
                (void) sd_bus_reply_method_return(message, NULL);
        sd_bus_error_free(&error);
}

static int method_grant(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        static const char *const nothing[] = { NULL };
        const char *token;
        GrantAsk *grant;
        int r;

        r = sd_bus_message_read_basic(message, 's', &token);
        if (r < 0)
                return r;
        if (!*token || strlen(token) > SLOT_TOKEN_MAX)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Not a token");
        grant = calloc(1, sizeof(*grant));
        if (!grant)
                return -ENOMEM;
        grant->manager = userdata;
        (void) snprintf(grant->token, sizeof(grant->token), "%s", token);
        r = authorize(grant->manager->authorizer, message, nothing, NULL, false, on_granter, grant, free);
        if (r < 0) {
                free(grant);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation")
                                    : r;
        }
        return 1;
}

const sd_bus_vtable manager_slot_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD_WITH_ARGS("Grant", SD_BUS_ARGS("s", token), SD_BUS_NO_RESULT, method_grant,
                                SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Wanted", "s", get_wanted, 0, EMITS),
        SD_BUS_PROPERTY("State", "s", get_state, 0, EMITS),
        SD_BUS_VTABLE_END,
};

/* ---- signals ---- */

static int emit_slot(Manager *m, sd_bus *bus, const void *data) {
        return sd_bus_emit_properties_changed(bus, MANAGER_PATH, SLOT_INTERFACE, "Wanted", "State", NULL);
}

static void announce_slot(Manager *m) {
        Converge *c = m->converge;
        const char *wanted = converge_slot_wanted(c);
        SlotState state = converge_slot_state(c);
        char *copy;

        if (streq_ptr(c->slot_announced ?: "", wanted) && c->slot_state_announced == state)
                return;
        copy = strdup(wanted);
        if (!copy)
                return;
        free(c->slot_announced);
        c->slot_announced = copy;
        c->slot_state_announced = state;
        manager_emit(m, emit_slot, NULL, "that a slot is wanted, or not any more");
}

static int emit_fleet(Manager *m, sd_bus *bus, const void *data) {
        int r;

        r = sd_bus_emit_properties_changed(bus, MANAGER_PATH, MANAGER_INTERFACE, "Problems", NULL);
        if (r < 0)
                return r;
        return sd_bus_emit_properties_changed(bus, MANAGER_PATH, FLEET_INTERFACE, "Managed", "Stream", "Rule",
                                              "Document", "Verdict", "Reason", "Phase", "Message", "RefusedBy",
                                              "Level", "Desired", "Drift", "Overridden", "Until", "LastSuccess",
                                              "Documents", "Problems", NULL);
}

void manager_fleet_changed(Manager *m) {
        manager_metrics_changed(m);
        /* Not while the kernel is being told (see job_changed()): decided again when that is over. */
        if (!manager_is_connected(m) || (m->job && m->job->transaction->pending))
                return;
        announce_slot(m);
        manager_emit(m, emit_fleet, NULL, "changes");
}

/* ---- what is counted ---- */

void manager_count_refusal(Manager *m, const Plan *plan) {
        bool seen[_RULE_MAX] = {};

        m->fleet_status.n_refused++;
        for (size_t i = 0; i < plan->n_violations; i++) {
                const Violation *v = &plan->violations[i];

                if (v->mode != RULE_ENFORCE || v->rule >= _RULE_MAX || seen[v->rule])
                        continue;
                seen[v->rule] = true;
                m->fleet_status.refused_by_rule[v->rule]++;
        }
}

void manager_count_job(Manager *m, const Transaction *t) {
        FleetStatus *s = &m->fleet_status;

        switch (t->result) {
        case TRANSACTION_DONE:
                s->n_done++;
                if (t->transition_start_usec > 0 && t->transition_end_usec > t->transition_start_usec)
                        s->last_transition_usec = t->transition_end_usec - t->transition_start_usec;
                return;
        case TRANSACTION_REFUSED:
                if (t->plan)
                        manager_count_refusal(m, t->plan);
                else
                        s->n_refused++;
                return;
        case TRANSACTION_FAILED:
                s->n_failed++;
                return;
        case TRANSACTION_REVERSED:
                s->n_reversed++;
                return;
        case TRANSACTION_NOTHING_TO_DO:
        case TRANSACTION_CANCELLED:
        case _TRANSACTION_RESULT_MAX:
                return;
        }
}
