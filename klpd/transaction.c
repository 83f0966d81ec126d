/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See transaction.h. This is the driver: it walks the list of steps forwards, and after a failure backwards.
 * One field says where it is (step), one whether it goes back (undoing), one that it is over (finished);
 * only the functions here assign them. A step that waits for the helper holds a reference and sets pending;
 * nothing is undone and nothing is cancelled under a pending operation: it is remembered, and acted on when
 * the answer is there.
 */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "klpd/log.h"
#include "klpd/probation.h"
#include "klpd/transaction.h"

static const TransactionStep *const steps[] = {
                &step_verify, &step_load,   &step_replan,  &step_enable,
                &step_settle, &step_health, &step_collect, &step_commit,
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

const TransactionStep *transaction_find_step(const char *name, size_t *ret_index) {
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
        free(t->digest);
        free(t->forced);
        free(t->back.reason);
        free(t->back.origin);
        free(t);
        return NULL;
}

const char *transaction_step_name(const Transaction *t) {
        return steps[t->step]->name;
}

bool transaction_at(const Transaction *t, const TransactionStep *step) {
        return steps[t->step] == step;
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

/* ---- timers ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = transaction_ref(userdata);

        t->timer = sd_event_source_disable_unref(t->timer);
        if (t->on_timer)
                t->on_timer(t);
        return 0;
}

/* sd-event's usual accuracy is 250 ms, and what a request waits for here is often over after a few. */
static uint64_t accuracy(uint64_t usec) {
        return usec < UINT64_C(2000000) ? usec / 8 + 1 : 0;
}

int transaction_set_timer(Transaction *t, uint64_t usec, void (*callback)(Transaction *t)) {
        int r;

        if (t->world->haste > 0)
                usec /= t->world->haste;
        t->timer = sd_event_source_disable_unref(t->timer);
        t->on_timer = callback;
        r = sd_event_add_time_relative(t->world->event, &t->timer, CLOCK_MONOTONIC, usec, accuracy(usec),
                                       on_timer, t);
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
        r = sd_event_add_time_relative(t->world->event, &t->deadline, CLOCK_MONOTONIC, usec, accuracy(usec),
                                       on_deadline, t);
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
        else if (t->back.reason && !t->back.origin)
                transaction_back_begin(t);
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
        (void) transaction_find_step(step->name, &t->step);
        transaction_run_step(t);
}

/* ---- the end, and backwards ---- */

static void transaction_end(Transaction *t) {
        transaction_ref(t);
        transaction_stop_timers(t);
        t->preparation = preparation_free(t->preparation);
        t->finished = true;
        transaction_back_ended(t);
        /* Together or not at all: that it is over, the record of it, and what the host keeps of it. That comes first, or
         * a klpd killed in between would never get to it; and the log is told once, since each time is a wait. */
        audit_hold(t->world->audit);
        probation_hold(t->world->probation);
        if (t->handlers.remember)
                t->handlers.remember(t, t->handlers.userdata);
        transaction_say_started(t);
        transaction_audit_end(t);
        transaction_record_end(t);
        probation_release(t->world->probation);
        audit_release(t->world->audit);
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
        (void) transaction_find_step(step->name, &t->step);
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

        if (t->finished || t->undoing || t->cancel_requested || t->forced || t->back.reason)
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

int transaction_force(Transaction *t, const char *who) {
        int r;

        if (t->finished || t->undoing || t->recovery || t->pending || !transaction_at(t, &step_settle))
                return -EBUSY;
        free(t->forced);
        t->forced = strdup(who);
        if (!t->forced)
                return -ENOMEM;
        r = transaction_record_again(t);
        if (r >= 0) /* whatever was to happen at its end doesn't any more */
                r = transaction_arm_deadline(t, t->world->config->transition_timeout_usec);
        return r < 0 ? r : 0;
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
