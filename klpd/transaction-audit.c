/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The journal records of a transaction: one per edge, with the fields of message-ids.h. What every record of
 * a job has in common is put in by record_begin(); the rest is said by each edge.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/transaction.h"

#define HELPER_STACK_TEXT_MAX 4608U /* a stack as the helper cuts it, and a line before it */

static AuditRecord *record_begin(const Transaction *t, const char *message_id, const char *edge) {
        AuditRecord *r = audit_begin(message_id, edge);
        const Patch *p = t->candidate.patch;
        char **vendor, stream[2 * (PATCH_NAME_MAX + 1) + 1];

        audit_field_u64(r, "KLPD_JOB", t->id);
        audit_field(r, "KLPD_REQUEST", request_kind_to_string(t->spec->kind));
        audit_field(r, "KLPD_PATCH", transaction_patch_name(t));
        if (p && p->kind != PATCH_FOREIGN) {
                (void) snprintf(stream, sizeof(stream), "%s/%s", p->vendor, p->stream);
                audit_field(r, "KLPD_STREAM", stream);
                audit_field_u64(r, "KLPD_LEVEL", p->level);
        }
        audit_field_u64(r, "KLPD_UID", t->spec->uid);
        audit_field(r, "KLPD_REASON", t->spec->reason);
        if (t->spec->accept_irreversible)
                audit_field(r, "KLPD_OVERRIDE", "accept-irreversible");
        if (t->spec->replace_foreign)
                audit_field(r, "KLPD_OVERRIDE", "replace-foreign");
        if (t->forced)
                audit_field(r, "KLPD_OVERRIDE", "force");
        STRV_FOREACH(vendor, t->spec->allow_vendor) {
                char text[PATCH_NAME_MAX + 32];

                (void) snprintf(text, sizeof(text), "allow-vendor=%s", *vendor);
                audit_field(r, "KLPD_OVERRIDE", text);
        }
        audit_field(r, "KLPD_BACK", t->back.reason);
        if (t->generation > 0)
                audit_field_u64(r, "KLPD_GENERATION", t->generation);
        return r;
}

static void add_replaced(AuditRecord *r, const Transaction *t) {
        char **name;

        STRV_FOREACH(name, t->replaced)
                audit_field(r, "KLPD_REPLACED", *name);
}

static void add_rules(AuditRecord *r, const Plan *plan) {
        for (size_t i = 0; plan && i < plan->n_violations; i++)
                audit_field(r, "KLPD_RULE", rule_to_string(plan->violations[i].rule));
}

static void add_durations(AuditRecord *r, const Transaction *t) {
        /* Of a recovered one the beginning isn't known on this clock. */
        if (!t->recovered)
                audit_field_u64(r, "KLPD_DURATION_USEC", now_usec(CLOCK_MONOTONIC) - t->start_monotonic_usec);
        if (t->transition_start_usec > 0 && t->transition_end_usec >= t->transition_start_usec)
                audit_field_u64(r, "KLPD_TRANSITION_USEC",
                                t->transition_end_usec - t->transition_start_usec);
}

static const char *request_noun(const Transaction *t) {
        switch (t->spec->kind) {
        case REQUEST_APPLY:
        case REQUEST_CONVERGE:
                return "Applying";
        case REQUEST_DOWNGRADE:
                return "Downgrading to";
        case REQUEST_DISABLE:
        case _REQUEST_KIND_MAX:
        case _REQUEST_KIND_INVALID:
                break;
        }
        return "Disabling";
}

void transaction_audit_started(Transaction *t) {
        AuditRecord *r = record_begin(t, KLPD_MESSAGE_JOB_STARTED, "job-started");

        add_replaced(r, t);
        add_rules(r, t->plan);
        audit_field(r, "KLPD_PLAN", t->plan_json);
        audit_send(t->world->audit, r, LOG_INFO, "%s livepatch '%s', asked for by uid %u%s%s",
                   request_noun(t), transaction_patch_name(t), (unsigned) t->spec->uid,
                   t->spec->reason ? ": " : "", t->spec->reason ?: "");
}

void transaction_audit_loaded(Transaction *t) {
        AuditRecord *r;

        if (!t->loaded_unsaid)
                return;
        r = record_begin(t, KLPD_MESSAGE_LOADED, "loaded");
        t->loaded_unsaid = false;
        audit_time(r, t->loaded_usec);
        audit_send(t->world->audit, r, LOG_INFO, "Loaded livepatch module '%s'", t->name);
}

void transaction_audit_unloaded(Transaction *t) {
        transaction_audit_loaded(t);
        audit_send(t->world->audit, record_begin(t, KLPD_MESSAGE_UNLOADED, "unloaded"), LOG_INFO,
                   "Removed livepatch module '%s'", t->name);
}

/* What the event says of a state: the value of KLPD_FATE and the word for people; NULL for other events. */
static const char *fate_of(enum klp_shim_event kind, const char **ret_word) {
        static const struct {
                enum klp_shim_event kind;
                const char *fate, *word;
        } fates[] = {
                { KLP_SHIM_EVENT_STATE_INTRODUCED, "introduce", "introduced" },
                { KLP_SHIM_EVENT_STATE_KEPT, "keep", "kept" },
                { KLP_SHIM_EVENT_STATE_TAKEN_OVER, "takeover", "taken over" },
                { KLP_SHIM_EVENT_STATE_EXCHANGED, "exchange", "exchanged" },
                { KLP_SHIM_EVENT_STATE_REMOVED, "remove", "removed" },
                { KLP_SHIM_EVENT_STATE_ORPHANED, "orphan", "orphaned: it stays live without a patch" },
        };

        for (size_t i = 0; i < ELEMENTSOF(fates); i++)
                if (fates[i].kind == kind) {
                        *ret_word = fates[i].word;
                        return fates[i].fate;
                }
        return NULL;
}

void audit_state_event(AuditRecord *r, const ShimEvent *event) {
        const char *word, *fate = fate_of(event->kind, &word);
        char id[24];

        if (!fate)
                return;
        (void) snprintf(id, sizeof(id), "0x%" PRIx64, event->state_id);
        audit_field(r, "KLPD_STATE_ID", id);
        audit_field(r, "KLPD_STATE_NAME", event->state_name[0] ? event->state_name : NULL);
        audit_field(r, "KLPD_FATE", fate);
        if (event->kind == KLP_SHIM_EVENT_STATE_REMOVED)
                audit_field_u64(r, "KLPD_FROM", event->state_version);
        else {
                if (event->has_previous_version)
                        audit_field_u64(r, "KLPD_FROM", event->previous_version);
                else if (event->kind == KLP_SHIM_EVENT_STATE_KEPT)
                        audit_field_u64(r, "KLPD_FROM", event->state_version);
                audit_field_u64(r, "KLPD_TO", event->state_version);
        }
}

void transaction_audit_event(Transaction *t, const ShimEvent *event) {
        const char *word = NULL;
        AuditRecord *r;

        if (event->kind == KLP_SHIM_EVENT_PREPARING)
                transaction_audit_loaded(t);
        switch (event->kind) {
        case KLP_SHIM_EVENT_PREPARING:
                r = record_begin(t, KLPD_MESSAGE_PREPARING, "preparing");
                add_replaced(r, t);
                audit_send(t->world->audit, r, LOG_INFO, "The kernel has begun the %s of livepatch '%s'",
                           shim_operation_to_string(event->operation) ?: "change", event->name);
                return;
        case KLP_SHIM_EVENT_STATE_INTRODUCED:
        case KLP_SHIM_EVENT_STATE_KEPT:
        case KLP_SHIM_EVENT_STATE_TAKEN_OVER:
        case KLP_SHIM_EVENT_STATE_EXCHANGED:
        case KLP_SHIM_EVENT_STATE_REMOVED:
        case KLP_SHIM_EVENT_STATE_ORPHANED:
                (void) fate_of(event->kind, &word);
                r = record_begin(t, KLPD_MESSAGE_STATE, "state");
                audit_state_event(r, event);
                audit_send(t->world->audit, r,
                           event->kind == KLP_SHIM_EVENT_STATE_ORPHANED ? LOG_WARNING : LOG_INFO,
                           "State 0x%" PRIx64 "%s%s version %u: %s", event->state_id,
                           event->state_name[0] ? " " : "", event->state_name, event->state_version, word);
                return;
        case KLP_SHIM_EVENT_SHADOW_FREED:
        case KLP_SHIM_EVENT_MODULE_LOADED:
        case KLP_SHIM_EVENT_MODULE_UNLOADED:
        case KLP_SHIM_EVENT_REGISTERED:
        case KLP_SHIM_EVENT_UNREGISTERED:
        case KLP_SHIM_EVENT_ENDED:
                return; /* said by the transaction itself, with more to say */
        }
}

/* "PID/TID COMM, unit U, patch state 0, in FUNCTION", and its stack. */
static void add_blocker(AuditRecord *r, const Blocker *b) {
        char text[512], stack[HELPER_STACK_TEXT_MAX];

        (void) snprintf(text, sizeof(text), "%u/%u %s%s%s%s, patch state %d%s%s", b->task.pid, b->task.tid,
                        b->task.comm, b->task.kthread ? ", kernel thread" : "", b->unit ? ", unit " : "",
                        b->unit ?: "", b->patch_state, *b->function ? ", in " : "", b->function);
        audit_field(r, "KLPD_BLOCKER", text);
        if (!b->stack)
                return;
        (void) snprintf(stack, sizeof(stack), "%u/%u %s\n%s", b->task.pid, b->task.tid, b->task.comm, b->stack);
        audit_field(r, "KLPD_STACK", stack);
}

void transaction_audit_stalled(Transaction *t, const Blocker *blockers, size_t n) {
        AuditRecord *r = record_begin(t, KLPD_MESSAGE_STALLED, "stalled");
        uint64_t usec = now_usec(CLOCK_MONOTONIC) - t->stall_start_usec;
        const char *function = n == 1 ? blockers[0].function : "";

        for (size_t i = 0; i < n; i++)
                add_blocker(r, &blockers[i]);
        audit_field_u64(r, "KLPD_TRANSITION_USEC", usec);
        if (t->phase == SETTLE_REVERSING)
                audit_field(r, "KLPD_RESULT", "reversing");
        /* The core looks again only about once a second: the first time, with nobody in the way, is
         * nothing to worry about. */
        audit_send(t->world->audit, r, n == 0 && t->n_stalled <= 1 ? LOG_INFO : LOG_WARNING,
                   "The %s of livepatch '%s' has been waiting for %.1f s, for %zu %s%s%s%s%s",
                   t->phase == SETTLE_REVERSING ? "reversal of the transition" : "transition", t->name,
                   (double) usec / 1e6, n, n == 1 ? "task: " : "tasks",
                   n == 1 ? blockers[0].task.comm : "", *function ? ", in " : "", function,
                   n == 0 ? " (idle CPUs can't be listed)" : "");
}

void transaction_audit_health(Transaction *t, int r, const char *text) {
        AuditRecord *record = record_begin(t, KLPD_MESSAGE_HEALTH, "health");

        audit_field(record, "KLPD_RESULT", r < 0 ? "failed" : "passed");
        if (r < 0)
                audit_send(t->world->audit, record, LOG_ERR, "With livepatch '%s' the host isn't well: %s",
                           t->name, text);
        else
                audit_send(t->world->audit, record, LOG_INFO, "With livepatch '%s' the host is well: %s",
                           t->name, text);
}

void transaction_audit_recovered(Transaction *t, RecoveryAction action, bool same_boot) {
        static const char *const texts[_RECOVERY_ACTION_MAX] = {
                [RECOVERY_NOTHING] = "it isn't in force, nothing is left to be done",
                [RECOVERY_FINISH] = "the kernel has completed it meanwhile",
                [RECOVERY_FOLLOW] = "it is still under way, klpd follows it",
                [RECOVERY_REVERSE] = "it is still under way and was to be reversed, klpd does that now",
                [RECOVERY_AGAIN] = "neither the new nor the old is enabled, klpd enables it again",
                [RECOVERY_UNDO] = "it isn't in force, klpd removes the module that had been loaded for it",
                [RECOVERY_BACK] = "it has to be taken back, klpd does that now",
        };
        AuditRecord *r = record_begin(t, KLPD_MESSAGE_RECOVERED, "recovered");

        audit_field(r, "KLPD_STEP", transaction_step_name(t));
        audit_field(r, "KLPD_RECOVERY", recovery_action_to_string(action));
        audit_send(t->world->audit, r, LOG_WARNING, "%s livepatch '%s' (job %u) was interrupted %s, at step %s: %s",
                   request_noun(t), t->name, t->id,
                   same_boot ? "by the end of klpd" : "by a restart of the host", transaction_step_name(t),
                   texts[action]);
}

static void audit_completed(Transaction *t) {
        AuditRecord *r = record_begin(t, KLPD_MESSAGE_COMPLETED, "completed");

        add_replaced(r, t);
        add_durations(r, t);
        audit_field(r, "KLPD_RESULT", transaction_result_to_string(t->result));
        audit_send(t->world->audit, r, LOG_NOTICE, "Livepatch '%s' is %s, after %.0f ms%s%s", t->name,
                   t->disable ? "disabled" : "enabled",
                   t->recovered ? (double) (now_usec(CLOCK_REALTIME) - t->start_usec) / 1e3 :
                                  (double) (now_usec(CLOCK_MONOTONIC) - t->start_monotonic_usec) / 1e3,
                   t->failure.message ? ". " : "", t->failure.message ?: "");
}

static void audit_failure(Transaction *t, const char *message_id, const char *edge, int priority) {
        AuditRecord *r = record_begin(t, message_id, edge);

        add_durations(r, t);
        if (t->result == TRANSACTION_REFUSED) {
                add_rules(r, t->plan);
                audit_field(r, "KLPD_PLAN", t->plan_json);
        }
        audit_field(r, "KLPD_RESULT", transaction_result_to_string(t->result));
        if (t->failure.error < 0)
                audit_field_u64(r, "KLPD_ERRNO", (uint64_t) -t->failure.error);
        audit_send(t->world->audit, r, priority, "%s", failure_message(&t->failure));
}

void transaction_audit_end(Transaction *t) {
        transaction_audit_loaded(t);
        switch (t->result) {
        case TRANSACTION_DONE:
                audit_completed(t);
                return;
        case TRANSACTION_REFUSED:
                audit_failure(t, KLPD_MESSAGE_REFUSED, "refused", LOG_WARNING);
                return;
        case TRANSACTION_REVERSED:
                audit_failure(t, KLPD_MESSAGE_REVERSED, "reversed", LOG_WARNING);
                return;
        case TRANSACTION_CANCELLED:
                if (t->transition_start_usec > 0)
                        audit_failure(t, KLPD_MESSAGE_REVERSED, "reversed", LOG_NOTICE);
                else
                        audit_failure(t, KLPD_MESSAGE_FAILED, "failed", LOG_NOTICE);
                return;
        case TRANSACTION_FAILED:
                audit_failure(t, KLPD_MESSAGE_FAILED, "failed", LOG_ERR);
                return;
        case TRANSACTION_NOTHING_TO_DO:
        case _TRANSACTION_RESULT_MAX:
                return; /* no edge: nothing was, and nothing is, different */
        }
}
