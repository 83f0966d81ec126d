/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See transaction.h. This is the driver: it walks the list of steps forwards, and after a failure backwards.
 * One field says where it is (step), one whether it goes back (undoing), one that it is over (finished);
 * only the functions here assign them. A step that waits for the helper holds a reference and sets pending;
 * nothing is undone and nothing is cancelled under a pending operation: it is remembered, and acted on when
 * the answer is there.
 */
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "klpd/log.h"
#include "klpd/transaction.h"
#include "policy/json.h"

static const TransactionStep *const steps[] = {
        &step_verify, &step_load, &step_replan, &step_enable, &step_settle, &step_collect, &step_commit,
};

const char *transaction_result_to_string(TransactionResult result) {
        switch (result) {
        case TRANSACTION_DONE:
                return "done";
        case TRANSACTION_NOTHING_TO_DO:
                return "nothing-to-do";
        case TRANSACTION_REFUSED:
                return "refused";
        case TRANSACTION_FAILED:
                return "failed";
        case TRANSACTION_CANCELLED:
                return "cancelled";
        case TRANSACTION_REVERSED:
                return "reversed";
        case _TRANSACTION_RESULT_MAX:
                break;
        }
        return NULL;
}

uint64_t now_usec(clockid_t clock) {
        struct timespec ts;

        if (clock_gettime(clock, &ts) < 0)
                return 0;
        return (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
}

static const TransactionStep *step_find(const char *name, size_t *ret_index) {
        for (size_t i = 0; i < ELEMENTSOF(steps); i++)
                if (streq(steps[i]->name, name)) {
                        *ret_index = i;
                        return steps[i];
                }
        return NULL;
}

int transaction_new(const World *world, const TransactionHandlers *handlers, JobSpec *spec, uint32_t id,
                    Transaction **ret) {
        Transaction *t;

        t = malloc(sizeof(*t));
        if (!t) {
                job_spec_free(spec);
                return -ENOMEM;
        }
        *t = (Transaction) {
                .n_ref = 1,
                .world = world,
                .handlers = *handlers,
                .spec = spec,
                .id = id,
                .disable = spec->kind == REQUEST_DISABLE,
                .candidate.module_fd = -EBADF,
                .start_usec = now_usec(CLOCK_REALTIME),
                .start_monotonic_usec = now_usec(CLOCK_MONOTONIC),
        };
        *ret = t;
        return 0;
}

/* Moves the record's strings; what is left of it stays in t->recovery. */
int transaction_new_recovered(const World *world, const TransactionHandlers *handlers,
                              TransactionRecord *record, Transaction **ret) {
        TransactionRecord *recovery;
        Transaction *t;
        JobSpec *spec;
        size_t step;
        int r;

        if (!step_find(record->step, &step))
                return -EBADMSG;
        r = job_spec_new(record->kind, &spec);
        if (r < 0)
                return r;
        spec->patch = strdup(record->patch);
        spec->reason = TAKE_PTR(record->reason);
        spec->uid = record->uid;
        spec->timeout_usec = record->timeout_usec;
        spec->accept_irreversible = record->accept_irreversible;
        spec->replace_foreign = record->replace_foreign;
        spec->allow_vendor = TAKE_PTR(record->allow_vendor);
        r = transaction_new(world, handlers, spec, record->id, &t);
        if (r < 0)
                return r;
        recovery = malloc(sizeof(*recovery));
        if (!recovery || !spec->patch) {
                free(recovery);
                transaction_unref(t);
                return -ENOMEM;
        }
        t->name = TAKE_PTR(record->patch);
        t->plain = record->plain;
        t->loads = record->loads;
        t->replaced = TAKE_PTR(record->replaced);
        t->collectable = TAKE_PTR(record->collectable);
        t->phase = record->phase;
        t->reversal = record->cancelled ? TRANSACTION_CANCELLED : TRANSACTION_REVERSED;
        t->start_usec = record->start_usec;
        t->step = step;
        t->recorded = true;
        *recovery = TAKE_GENERIC(*record, (TransactionRecord) {});
        t->recovery = recovery;
        *ret = t;
        return 0;
}

Transaction *transaction_ref(Transaction *t) {
        t->n_ref++;
        return t;
}

static void transaction_stop_timers(Transaction *t) {
        t->timer = sd_event_source_disable_unref(t->timer);
        t->deadline = sd_event_source_disable_unref(t->deadline);
        t->stall = sd_event_source_disable_unref(t->stall);
        t->nudge = sd_event_source_disable_unref(t->nudge);
        t->kick = sd_event_source_disable_unref(t->kick);
        t->blockers = blockers_read_free(t->blockers);
}

Transaction *transaction_unref(Transaction *t) {
        if (!t || --t->n_ref > 0)
                return NULL;
        transaction_stop_timers(t);
        preparation_free(t->preparation);
        candidate_done(&t->candidate);
        plan_free(t->plan);
        strv_free(t->replaced);
        strv_free(t->collectable);
        if (t->recovery)
                transaction_record_done(t->recovery);
        free(t->recovery);
        job_spec_free(t->spec);
        failure_done(&t->failure);
        free(t->plan_json);
        free(t->name);
        free(t);
        return NULL;
}

const char *transaction_step_name(const Transaction *t) {
        return steps[t->step]->name;
}

const char *transaction_patch_name(const Transaction *t) {
        return t->name ?: t->spec->patch ?: "";
}

bool transaction_is_plain(const Transaction *t) {
        return t->plain || (t->candidate.patch && t->candidate.patch->kind != PATCH_MANAGED);
}

uint64_t transaction_timeout(const Transaction *t) {
        return t->spec->timeout_usec > 0 ? t->spec->timeout_usec : t->world->config->transition_timeout_usec;
}

/* ---- the write-ahead log ---- */

static int record_write(Transaction *t, bool over) {
        _cleanup_free_ char *text = NULL;
        TransactionRecord record = {
                .over = over,
                .id = t->id,
                .kind = t->spec->kind,
                .patch = t->name,
                .step = (char *) steps[t->step]->name,
                .plain = transaction_is_plain(t),
                .loads = t->loads,
                .undoing = t->undoing,
                .cancelled = t->reversal == TRANSACTION_CANCELLED,
                .phase = t->phase,
                .uid = (uint32_t) t->spec->uid,
                .reason = t->spec->reason,
                .timeout_usec = t->spec->timeout_usec,
                .start_usec = t->start_usec,
                .accept_irreversible = t->spec->accept_irreversible,
                .replace_foreign = t->spec->replace_foreign,
                .allow_vendor = t->spec->allow_vendor,
                .replaced = t->replaced,
                .collectable = t->collectable,
                .frozen = t->world->frozen,
        };
        size_t size;
        int r;

        if (!t->world->wal)
                return 0; /* tests of other things */
        memcpy(record.boot, t->world->boot_id, sizeof(record.boot));
        r = transaction_record_format(&record, &text, &size);
        if (r >= 0)
                r = wal_append(t->world->wal, WAL_STATE, text, size, true, NULL);
        if (r >= 0)
                t->recorded = !over;
        return r;
}

static const char *record_problem(const Transaction *t, int r) {
        return wal_problem(t->world->wal) ?: strerror(-r);
}

bool transaction_record(Transaction *t) {
        int r;

        r = record_write(t, false);
        if (r >= 0)
                return true;
        transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED,
                         "Nothing is done that can't be recorded first, and klpd's log can't be written: %s",
                         record_problem(t, r));
        return false;
}

int transaction_record_again(Transaction *t) {
        return record_write(t, t->finished);
}

void transaction_record_anyway(Transaction *t) {
        int r;

        r = record_write(t, false);
        if (r < 0)
                log_error("What is done about '%s' can't be recorded, klpd's log can't be written: %s",
                          t->name, record_problem(t, r));
}

static void record_end(Transaction *t) {
        int r;

        if (!t->recorded || t->leave_open)
                return;
        r = record_write(t, true);
        if (r < 0)
                log_error("That job %u is over can't be recorded, klpd's log can't be written: %s", t->id,
                          record_problem(t, r));
}

/* ---- timers ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = transaction_ref(userdata);

        t->timer = sd_event_source_disable_unref(t->timer);
        if (t->on_timer)
                t->on_timer(t);
        return 0;
}

int transaction_set_timer(Transaction *t, uint64_t usec, void (*callback)(Transaction *t)) {
        int r;

        t->timer = sd_event_source_disable_unref(t->timer);
        t->on_timer = callback;
        r = sd_event_add_time_relative(t->world->event, &t->timer, CLOCK_MONOTONIC, usec, 0, on_timer, t);
        if (r < 0)
                return r;
        return sd_event_source_set_description(t->timer, "transaction-timer");
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = transaction_ref(userdata);
        const TransactionStep *step = steps[t->step];

        t->deadline = sd_event_source_disable_unref(t->deadline);
        if (step->expired)
                step->expired(t);
        else
                transaction_fail(t, TRANSACTION_FAILED, -ETIMEDOUT, ERROR_FAILED,
                                 "Step '%s' of '%s' took too long", step->name, transaction_patch_name(t));
        return 0;
}

int transaction_arm_deadline(Transaction *t, uint64_t usec) {
        int r;

        t->deadline = sd_event_source_disable_unref(t->deadline);
        if (usec == 0)
                return 0;
        r = sd_event_add_time_relative(t->world->event, &t->deadline, CLOCK_MONOTONIC, usec, 0, on_deadline,
                                       t);
        if (r < 0)
                return r;
        return sd_event_source_set_description(t->deadline, "transaction-deadline");
}

/* ---- forwards ---- */

static void transaction_run_step(Transaction *t) {
        const TransactionStep *step = steps[t->step];
        int r;

        transaction_stop_timers(t);
        r = transaction_arm_deadline(t, step->deadline_usec);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't watch the time: %s",
                                 strerror(-r));
                return;
        }
        if (t->handlers.changed)
                t->handlers.changed(t, t->handlers.userdata);
        step->start(t);
}

static int on_kick(sd_event_source *source, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = transaction_ref(userdata);

        t->kick = sd_event_source_disable_unref(t->kick);
        if (t->recovery)
                transaction_recover(t);
        else
                transaction_run_step(t);
        return 0;
}

int transaction_start(Transaction *t) {
        t->started = true;
        return sd_event_add_defer(t->world->event, &t->kick, on_kick, t);
}

void transaction_next(Transaction *t) {
        if (t->finished || t->undoing)
                return;
        if (t->cancel_requested && t->transition_start_usec == 0) {
                transaction_fail(t, TRANSACTION_CANCELLED, -ECANCELED, ERROR_FAILED,
                                 "Cancelled before the change of '%s' began", transaction_patch_name(t));
                return;
        }
        if (t->step + 1 >= ELEMENTSOF(steps)) {
                transaction_finish(t, TRANSACTION_DONE, NULL);
                return;
        }
        t->step++;
        transaction_run_step(t);
}

void transaction_repeat(Transaction *t, const TransactionStep *step) {
        if (t->finished || t->undoing)
                return;
        (void) step_find(step->name, &t->step);
        transaction_run_step(t);
}

/* ---- the end, and backwards ---- */

static void transaction_end(Transaction *t) {
        transaction_ref(t);
        transaction_stop_timers(t);
        t->preparation = preparation_free(t->preparation);
        t->finished = true;
        record_end(t);
        transaction_audit_end(t);
        if (t->handlers.finished)
                t->handlers.finished(t, t->handlers.userdata);
        transaction_unref(t);
}

void transaction_finish(Transaction *t, TransactionResult result, const char *note) {
        if (t->finished || t->undoing)
                return;
        t->result = result;
        if (note && !t->failure.message)
                t->failure.message = strdup(note);
        transaction_end(t);
}

/* Undoes the present step, then the ones before it; each goes on with transaction_undone(). */
static void transaction_undo_step(Transaction *t) {
        const TransactionStep *step = steps[t->step];

        transaction_stop_timers(t);
        if (step->undo)
                step->undo(t);
        else
                transaction_undone(t);
}

void transaction_undone(Transaction *t) {
        if (t->finished)
                return;
        if (t->step == 0) {
                transaction_end(t);
                return;
        }
        t->step--;
        transaction_undo_step(t);
}

static void undo_begin(Transaction *t, TransactionResult result, int r, const char *name, const char *text) {
        t->result = result;
        (void) failure_set(&t->failure, r, name, "%s", text);
        t->undoing = true;
        if (t->recorded)
                transaction_record_anyway(t);
        transaction_ref(t);
        transaction_undo_step(t);
        transaction_unref(t);
}

void transaction_fail(Transaction *t, TransactionResult result, int r, const char *name, const char *format,
                      ...) {
        char text[4096];
        va_list ap;

        if (t->finished || t->undoing)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        undo_begin(t, result, r, name, text);
}

void transaction_undo_from(Transaction *t, const TransactionStep *step, TransactionResult result, int r,
                           const char *format, ...) {
        char text[4096];
        va_list ap;

        if (t->finished || t->undoing)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        (void) step_find(step->name, &t->step);
        undo_begin(t, result, r, ERROR_FAILED, text);
}

static void end_here(Transaction *t, int r, const char *text) {
        t->result = TRANSACTION_FAILED;
        (void) failure_set(&t->failure, r, ERROR_FAILED, "%s", text);
        transaction_end(t);
}

void transaction_give_up(Transaction *t, int r, const char *format, ...) {
        char text[4096];
        va_list ap;

        if (t->finished || t->undoing)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        t->leave_open = true;
        end_here(t, r, text);
}

void transaction_leave(Transaction *t, int r, const char *format, ...) {
        char text[4096];
        va_list ap;

        if (t->finished || t->undoing)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        end_here(t, r, text);
}

int transaction_cancel(Transaction *t) {
        const TransactionStep *step = steps[t->step];

        if (t->finished || t->undoing || t->cancel_requested)
                return -EALREADY;
        t->cancel_requested = true;
        if (t->recovery)
                return 0; /* once the kernel has been read */
        if (step->cancel)
                step->cancel(t);
        else if (!t->pending)
                transaction_fail(t, TRANSACTION_CANCELLED, -ECANCELED, ERROR_FAILED,
                                 "Cancelled before the change of '%s' began", transaction_patch_name(t));
        return 0;
}

void transaction_abandon(Transaction *t) {
        transaction_stop_timers(t);
        t->preparation = preparation_free(t->preparation);
        t->finished = true;
}

/* ---- events ---- */

bool transaction_expects(const Transaction *t, const ShimEvent *event) {
        if (t->finished || !t->name)
                return false;
        switch (event->kind) {
        case KLP_SHIM_EVENT_STATE_INTRODUCED:
        case KLP_SHIM_EVENT_STATE_KEPT:
        case KLP_SHIM_EVENT_STATE_TAKEN_OVER:
        case KLP_SHIM_EVENT_STATE_EXCHANGED:
        case KLP_SHIM_EVENT_STATE_REMOVED:
        case KLP_SHIM_EVENT_STATE_ORPHANED:
        case KLP_SHIM_EVENT_SHADOW_FREED:
                /* One transition at a time: while ours is under way, the states that change are of its
                 * doing. */
                return steps[t->step] == &step_enable || steps[t->step] == &step_settle;
        case KLP_SHIM_EVENT_PREPARING:
        case KLP_SHIM_EVENT_ENDED:
                return patch_name_equal(event->name, t->name) &&
                       (steps[t->step] == &step_enable || steps[t->step] == &step_settle);
        case KLP_SHIM_EVENT_MODULE_LOADED:
        case KLP_SHIM_EVENT_MODULE_UNLOADED:
        case KLP_SHIM_EVENT_REGISTERED:
        case KLP_SHIM_EVENT_UNREGISTERED:
                return patch_name_equal(event->name, t->name);
        }
        return false;
}

void transaction_event(Transaction *t, const ShimEvent *event) {
        const TransactionStep *step = steps[t->step];

        if (t->finished || !t->started)
                return;
        transaction_ref(t);
        if (event && transaction_expects(t, event))
                transaction_audit_event(t, event);
        if (!t->undoing && !t->recovery && step->event)
                step->event(t, event);
        transaction_unref(t);
}

/* ---- plans ---- */

static int plan_text(const Plan *plan, char **ret) {
        struct json_object *json;
        int r;

        json = plan_to_json(plan);
        if (!json)
                return -ENOMEM;
        r = json_to_line(json, ret);
        json_object_put(json);
        return r;
}

static int transaction_note_replaced(Transaction *t, const Inventory *inventory) {
        int r;

        t->replaced = strv_free(t->replaced);
        t->collectable = strv_free(t->collectable);
        for (size_t i = 0; i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];
                bool same = t->name && patch_name_equal(p->name, t->name);
                bool replaced = !t->disable && t->candidate.patch && t->candidate.patch->cumulative && !same;

                if (p->orphan || (!replaced && !(t->disable && same)))
                        continue;
                if (replaced) {
                        r = strv_extend(&t->replaced, p->name);
                        if (r < 0)
                                return r;
                }
                if (p->kind != PATCH_FOREIGN) {
                        r = strv_extend(&t->collectable, p->name);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

static int transaction_note_plan(Transaction *t, Plan *plan, const Inventory *inventory) {
        const Patch *present = t->spec->patch ? inventory_find(inventory, t->spec->patch) : NULL;
        const char *name = t->candidate.patch ? t->candidate.patch->name
                           : present          ? present->name
                                              : t->spec->patch;
        char *json;
        int r;

        r = plan_text(plan, &json);
        if (r < 0)
                return r;
        free(t->plan_json);
        t->plan_json = json;
        if (name && !streq_ptr(t->name, name)) {
                char *copy = strdup(name);

                if (!copy)
                        return -ENOMEM;
                free(t->name);
                t->name = copy;
        }
        t->generation = inventory->generation;
        return transaction_note_replaced(t, inventory);
}

/* "rule: what is wrong. What to do. rule: …" */
static void describe_refusal(const Plan *plan, char *text, size_t size) {
        size_t used = 0;

        text[0] = 0;
        for (size_t i = 0; i < plan->n_violations && used < size; i++) {
                const Violation *v = &plan->violations[i];
                int n;

                if (v->mode != RULE_ENFORCE)
                        continue;
                n = snprintf(text + used, size - used, "%s%s: %s%s%s", used > 0 ? "; " : "",
                             rule_to_string(v->rule), v->message ?: "", v->remedy ? " - " : "",
                             v->remedy ?: "");
                used += n > 0 ? (size_t) n : 0;
        }
}

bool transaction_take_plan(Transaction *t, Plan *plan, const Inventory *inventory) {
        char text[3072];
        int r;

        plan_free(t->plan);
        t->plan = plan;
        r = transaction_note_plan(t, plan, inventory);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't keep the plan: %s",
                                 strerror(-r));
                return false;
        }
        if (t->handlers.changed)
                t->handlers.changed(t, t->handlers.userdata);

        switch (plan->verdict) {
        case VERDICT_ALLOW:
                return true;
        case VERDICT_NOTHING_TO_DO:
                transaction_finish(t, TRANSACTION_NOTHING_TO_DO, NULL);
                return false;
        case VERDICT_REFUSE:
        case _VERDICT_MAX:
        case _VERDICT_INVALID:
                break;
        }
        describe_refusal(plan, text, sizeof(text));
        transaction_fail(t, TRANSACTION_REFUSED, -EPERM, ERROR_REFUSED, "Policy refuses to %s%s%s%s: %s",
                         request_kind_to_string(t->spec->kind), *transaction_patch_name(t) ? " '" : "",
                         transaction_patch_name(t), *transaction_patch_name(t) ? "'" : "", text);
        return false;
}
