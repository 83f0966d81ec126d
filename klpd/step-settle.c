/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `settle`: waits until the transition is over, and believes only the kernel's own view: sysfs and, for
 * a managed patch, the shim have to agree. Events say when to look; a slow timer looks too, since those of
 * plain patches don't exist and others may get lost.
 *
 *   FORWARD    in force -> done. Gone back without our doing -> failed. Deadline or cancel -> REVERSING
 *   REVERSING  gone back -> reversed or cancelled. In force after all -> done ("completed, not reversed").
 *              The write came after completion and has begun the opposite change (SEMANTICS.md section 3)
 *              -> AGAIN
 *   AGAIN      in force -> done, as above. The opposite change completed too -> from `replan` on, forwards
 *
 * Before the helper has answered to the write of a phase nothing is concluded in it.
 */
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/transaction.h"

#define CHECK_FIRST_USEC UINT64_C(1000)
#define CHECK_LAST_MANAGED_USEC UINT64_C(1000000)
#define CHECK_LAST_PLAIN_USEC UINT64_C(100000)
/* The kernel says that it is over, but no event has: how long to wait for it. */
#define EVENT_GRACE_USEC UINT64_C(500000)
/* Helpers that died before they wrote. */
#define REWRITES_MAX 3U

static const uint64_t stall_usec[] = { UINT64_C(1000000), UINT64_C(15000000), UINT64_C(60000000) };

typedef enum View {
        VIEW_UNDER_WAY,
        VIEW_IN_FORCE,
        VIEW_NOT_IN_FORCE,
} View;

static void settle_check(Transaction *t);
static void settle_arm(Transaction *t);

static uint64_t settle_grace(const Transaction *t) {
        return t->world->haste > 0 ? EVENT_GRACE_USEC / t->world->haste : EVENT_GRACE_USEC;
}

static int settle_view(Transaction *t, View *ret) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;
        bool enabled;
        int r;

        r = hands->vtable->read_patch(hands, t->name, &kernel);
        if (r < 0)
                return r;
        enabled = kernel.listed && kernel.enabled;
        *ret = VIEW_UNDER_WAY;
        if (kernel.transition || (kernel.registered && (kernel.flags & KLP_SHIM_PATCH_TRANSITION))) {
                t->agreed_usec = 0;
                return 0;
        }
        if (kernel.registered) {
                if (enabled != !!(kernel.flags & KLP_SHIM_PATCH_ENABLED))
                        return 0;
                /* All but said: the event is on its way, with the time at which it ended. */
                if (!t->ended && t->agreed_usec == 0)
                        t->agreed_usec = now_usec(CLOCK_MONOTONIC);
                if (!t->ended && now_usec(CLOCK_MONOTONIC) - t->agreed_usec < settle_grace(t))
                        return 0;
        }
        *ret = enabled != t->disable ? VIEW_IN_FORCE : VIEW_NOT_IN_FORCE;
        return 0;
}

static void settle_completed(Transaction *t) {
        t->completed = true;
        if (t->transition_end_usec == 0 || !t->ended)
                t->transition_end_usec = now_usec(CLOCK_MONOTONIC);
        transaction_next(t);
}

static void settle_gone_back(Transaction *t) {
        if (t->transition_end_usec == 0 || !t->ended)
                t->transition_end_usec = now_usec(CLOCK_MONOTONIC);
        if (t->phase == SETTLE_FORWARD)
                transaction_fail(t, TRANSACTION_FAILED, -ECANCELED, ERROR_FAILED,
                                 "The %s of '%s' was reversed by somebody else, or by the kernel, while it "
                                 "was under way",
                                 request_kind_to_string(t->spec->kind), t->name);
        else if (t->reversal == TRANSACTION_CANCELLED)
                transaction_fail(t, TRANSACTION_CANCELLED, -ECANCELED, ERROR_FAILED,
                                 "Cancelled: the transition of '%s' was reversed", t->name);
        else
                transaction_fail(t, TRANSACTION_REVERSED, -ETIMEDOUT, ERROR_FAILED,
                                 "The transition of '%s' wasn't over in %.1f s and was reversed", t->name,
                                 (double) transaction_timeout(t) / 1e6);
}

/* ---- the write of a reversal, or forward again ---- */

static void settle_write(Transaction *t, SettlePhase phase);

static bool settle_value(const Transaction *t, SettlePhase phase) {
        return t->disable != (phase != SETTLE_REVERSING);
}

/* The helper died before it wrote: the transition still goes the other way. */
static bool settle_write_is_missing(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;

        return hands->vtable->read_patch(hands, t->name, &kernel) >= 0 && kernel.listed &&
                kernel.transition && kernel.enabled != settle_value(t, t->phase);
}

static void on_written(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        if (r == -ECONNRESET && t->n_rewrites < REWRITES_MAX && settle_write_is_missing(t)) {
                t->n_rewrites++;
                log_warning("%s. Writing 'enabled' of '%s' again", text, t->name);
                settle_write(t, t->phase);
                return;
        }
        t->written = true;
        /* There was nothing to reverse any more, and no event will come: the look at the kernel tells. */
        if (r == -EINVAL || r == -ENOENT)
                t->ended = true;
        else if (r < 0)
                log_error("Writing 'enabled' of '%s' failed: %s", t->name, *text ? text : strerror(-r));
        t->check_usec = CHECK_FIRST_USEC;
        settle_check(t);
}

static void settle_write(Transaction *t, SettlePhase phase) {
        Hands *hands = t->world->hands;
        int r;

        t->phase = phase;
        t->ended = t->written = false;
        t->agreed_usec = 0;
        /* That direction may stall, too: its reports count from now. */
        t->n_stalled = 0;
        t->stall_start_usec = now_usec(CLOCK_MONOTONIC);
        settle_arm(t);
        transaction_record_anyway(t);
        r = hands->vtable->write_enabled(hands, t->name, settle_value(t, phase), false, on_written, transaction_ref(t));
        if (r < 0) {
                transaction_unref(t);
                log_error("Can't have the helper write 'enabled' of '%s': %s", t->name, strerror(-r));
                t->written = true;
                if (transaction_set_timer(t, CHECK_LAST_MANAGED_USEC, settle_check) < 0)
                        transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't reverse '%s': %s",
                                         t->name, strerror(-r));
                return;
        }
        t->pending = true;
        /* Going back gets its own time, however short the caller wanted to wait. */
        if (transaction_arm_deadline(t, t->world->config->transition_timeout_usec) < 0)
                log_error("Can't watch the time of the reversal of '%s'", t->name);
}

static void settle_reverse(Transaction *t, TransactionResult why) {
        View view;

        t->reversal = why;
        if (settle_view(t, &view) >= 0 && view != VIEW_UNDER_WAY) {
                settle_check(t); /* just over: no write, which could only begin something new */
                return;
        }
        log_notice("Reversing the transition of '%s' (%s)", t->name,
                   why == TRANSACTION_CANCELLED ? "cancelled" : "deadline");
        settle_write(t, SETTLE_REVERSING);
}

/* A plain patch has no events, others may get lost, or klpd wasn't there to hear them: a replace that completed
 * shows in that the replaced ones are gone. */
static bool settle_lost_race(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;
        char **name;

        if (t->lost_race)
                return true;
        if (t->disable || !t->replaced)
                return false;
        STRV_FOREACH(name, t->replaced)
        if (hands->vtable->read_patch(hands, *name, &kernel) < 0 || (kernel.listed && kernel.enabled))
                return false;
        return true;
}

/* ---- looking ---- */

static void settle_wait(Transaction *t) {
        uint64_t last = transaction_is_plain(t) ? CHECK_LAST_PLAIN_USEC : CHECK_LAST_MANAGED_USEC;
        int r;

        r = transaction_set_timer(t, t->check_usec, settle_check);
        if (r < 0)
                log_error("Can't watch the time: %s", strerror(-r));
        t->check_usec = t->check_usec * 2 < last ? t->check_usec * 2 : last;
}

static void settle_not_in_force(Transaction *t) {
        bool lost = t->phase != SETTLE_FORWARD && settle_lost_race(t);

        if (!lost) {
                settle_gone_back(t);
                return;
        }
        t->lost_race = true;
        if (t->n_again >= TRANSACTION_AGAIN_MAX) {
                transaction_fail(t, TRANSACTION_FAILED, -ECANCELED, ERROR_FAILED,
                                 "The transition of '%s' completed before it could be reversed, and "
                                 "bringing it forward again failed %u times: it isn't enabled, nor is "
                                 "what it replaced",
                                 t->name, t->n_again);
                return;
        }
        /* What was asked for had completed, the reversal undid it: forwards again, from the beginning. */
        t->n_again++;
        t->n_replans = 0;
        t->phase = SETTLE_AGAIN;
        log_notice("The reversal of '%s' came after it had completed: enabling it again", t->name);
        transaction_repeat(t, &step_replan);
}

static void settle_check(Transaction *t) {
        View view;
        int r;

        r = settle_view(t, &view);
        if (r < 0) {
                log_error("Can't read the state of '%s': %s", t->name, strerror(-r));
                settle_wait(t);
                return;
        }
        if (!t->written) {
                settle_wait(t);
                return;
        }
        switch (view) {
        case VIEW_IN_FORCE:
                settle_completed(t);
                return;
        case VIEW_NOT_IN_FORCE:
                settle_not_in_force(t);
                return;
        case VIEW_UNDER_WAY:
                if (t->phase == SETTLE_REVERSING && settle_lost_race(t)) {
                        t->lost_race = true;
                        log_notice("The reversal of '%s' came after it had completed: bringing it forward "
                                   "again",
                                   t->name);
                        settle_write(t, SETTLE_AGAIN);
                        return;
                }
                settle_wait(t);
                return;
        }
}

static void settle_event(Transaction *t, const ShimEvent *event) {
        if (event && !transaction_expects(t, event))
                return;
        if (event && event->kind == KLP_SHIM_EVENT_PREPARING) {
                t->ended = false;
                /* It comes after the helper's answer, and knows better when it began. */
                if (t->phase == SETTLE_FORWARD && event->time_nsec / 1000 < t->transition_start_usec)
                        t->transition_start_usec = event->time_nsec / 1000;
                /* While we wait for a reversal, the opposite change begins: the first one had completed. */
                if (t->phase == SETTLE_REVERSING && !t->disable && event->operation == KLP_SHIM_OP_DISABLE)
                        t->lost_race = true;
        } else if (event && event->kind == KLP_SHIM_EVENT_ENDED) {
                t->ended = true;
                t->end = event->end;
                t->transition_end_usec = event->time_nsec / 1000;
                /* It had completed before the reversal: what comes of that write is the opposite change. */
                if (t->phase == SETTLE_REVERSING && !t->disable && event->end == KLP_SHIM_END_PATCHED)
                        t->lost_race = true;
        } else if (event)
                return;
        t->check_usec = CHECK_FIRST_USEC;
        settle_check(t);
}

/* ---- time ---- */

/* Who is in the way, by name, at once. */
static void settle_name_blockers(Transaction *t, char *who, size_t size) {
        _cleanup_free_ ShimTask *tasks = NULL;
        Hands *hands = t->world->hands;
        size_t n_tasks = 0, used = 0;

        who[0] = 0;
        if (hands->vtable->read_tasks(hands, &tasks, &n_tasks) < 0)
                n_tasks = 0;
        for (size_t i = 0; i < n_tasks && i < 8 && used < size; i++) {
                int n = snprintf(who + used, size - used, "%s%u/%u %s", i > 0 ? ", " : "", tasks[i].pid,
                                 tasks[i].tid, tasks[i].comm);

                used += n > 0 ? (size_t) n : 0;
        }
}

static void on_blockers(int r, const char *text, const Blocker *blockers, size_t n, void *userdata) {
        Transaction *t = userdata;

        if (r < 0)
                log_warning("Can't read the stacks of the tasks that '%s' waits for: %s", t->name, text);
        transaction_audit_stalled(t, blockers, n);
        if (t->handlers.stalled)
                t->handlers.stalled(t, now_usec(CLOCK_MONOTONIC) - t->stall_start_usec, blockers, n,
                                    t->handlers.userdata);
        t->blockers = blockers_read_free(t->blockers);
}

static void settle_report_stall(Transaction *t) {
        int r;

        t->blockers = blockers_read_free(t->blockers);
        r = blockers_read(t->world, true, on_blockers, t, &t->blockers);
        if (r < 0) {
                log_error("Can't read what tasks '%s' waits for: %s", t->name, strerror(-r));
                transaction_audit_stalled(t, NULL, 0);
        }
}

static void on_to_nudge(int r, const char *text, const Blocker *blockers, size_t n, void *userdata) {
        Transaction *t = userdata;

        if (t->phase == SETTLE_FORWARD)
                t->handlers.nudge(t, blockers, n, t->handlers.userdata);
        t->blockers = blockers_read_free(t->blockers);
}

static int on_nudge(sd_event_source *source, uint64_t usec, void *userdata) {
        Transaction *t = userdata;
        int r;

        t->nudge = sd_event_source_disable_unref(t->nudge);
        t->blockers = blockers_read_free(t->blockers);
        r = blockers_read(t->world, false, on_to_nudge, t, &t->blockers);
        if (r < 0)
                log_error("Can't read what tasks '%s' waits for: %s", t->name, strerror(-r));
        return 0;
}

/* Once, after a quarter of the time that the change has. */
static void settle_arm_nudge(Transaction *t) {
        int r;

        if (t->forced || t->world->config->stall_action != STALL_NUDGE || !t->handlers.nudge ||
            t->phase != SETTLE_FORWARD)
                return;
        r = sd_event_add_time_relative(t->world->event, &t->nudge, CLOCK_MONOTONIC, transaction_timeout(t) / 4, 0,
                                       on_nudge, t);
        if (r < 0)
                log_error("Can't watch the time: %s", strerror(-r));
}

static int on_stall(sd_event_source *source, uint64_t usec, void *userdata) {
        Transaction *t = userdata;

        t->n_stalled++;
        settle_report_stall(t);
        settle_arm(t);
        return 0;
}

/* The next report of a stall, counted from the beginning of the transition, or of its reversal. */
static void settle_arm(Transaction *t) {
        uint64_t now = now_usec(CLOCK_MONOTONIC), due;
        int r;

        t->stall = sd_event_source_disable_unref(t->stall);
        if (t->n_stalled >= ELEMENTSOF(stall_usec))
                return;
        due = t->stall_start_usec + stall_usec[t->n_stalled];
        r = sd_event_add_time_relative(t->world->event, &t->stall, CLOCK_MONOTONIC,
                                       due > now ? due - now : 1, 0, on_stall, t);
        if (r < 0)
                log_error("Can't watch the time: %s", strerror(-r));
}

/* The deadline of the change itself. A time limit that came with the request means reversal; otherwise it is
 * for the configuration to say. */
static void settle_late(Transaction *t) {
        StallAction action = t->spec->timeout_usec > 0 ? STALL_REVERSE : t->world->config->stall_action;
        char who[512];

        if (t->forced) {
                transaction_leave(t, -ETIMEDOUT,
                                  "The transition of '%s' was forced, and isn't over after %.1f s: it is "
                                  "left to the "
                                  "kernel",
                                  t->name, (double) t->world->config->transition_timeout_usec / 1e6);
                return;
        }
        switch (action) {
        case STALL_REVERSE:
        case STALL_NUDGE:
                settle_reverse(t, TRANSACTION_REVERSED);
                return;
        case STALL_WAIT:
                settle_report_stall(t);
                if (transaction_arm_deadline(t, transaction_timeout(t)) < 0)
                        log_error("Can't watch the time of the transition of '%s'", t->name);
                return;
        case STALL_LEAVE:
                settle_name_blockers(t, who, sizeof(who));
                transaction_leave(t, -ETIMEDOUT,
                                  "The transition of '%s' isn't over after %.1f s and is left to the kernel, which "
                                  "goes on with it; it waits for %s",
                                  t->name, (double) transaction_timeout(t) / 1e6,
                                  *who ? who : "nothing that can be listed (idle CPUs can't)");
                return;
        }
}

/* The time ended together with what it was for, or before klpd got round to look: that is no failure. */
static bool settle_is_over(Transaction *t) {
        View view;

        if (!t->written || settle_view(t, &view) < 0)
                return false;
        if (view == VIEW_UNDER_WAY &&
            (t->agreed_usec == 0 || transaction_arm_deadline(t, settle_grace(t)) < 0))
                return false;
        settle_check(t);
        return true;
}

static void settle_expired(Transaction *t) {
        char who[512];

        if (t->phase == SETTLE_FORWARD) {
                settle_late(t);
                return;
        }
        if (settle_is_over(t))
                return;
        settle_name_blockers(t, who, sizeof(who));
        transaction_fail(t, TRANSACTION_FAILED, -ETIMEDOUT, ERROR_FAILED,
                         "The transition of '%s' can't be brought to an end, %s: it is still under way, "
                         "held up by %s",
                         t->name,
                         t->phase == SETTLE_REVERSING ? "nor reversed" : "neither back nor forwards",
                         *who ? who : "nothing that can be listed (idle CPUs can't)");
}

static void settle_cancel(Transaction *t) {
        if (t->phase == SETTLE_FORWARD)
                settle_reverse(t, TRANSACTION_CANCELLED);
}

static void settle_start(Transaction *t) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        int r;

        if (t->transition_start_usec == 0)
                t->transition_start_usec = now;
        t->stall_start_usec = t->transition_start_usec;
        t->written = true;
        t->check_usec = CHECK_FIRST_USEC;
        t->agreed_usec = 0;
        r = transaction_arm_deadline(t, transaction_timeout(t));
        if (r < 0)
                log_error("Can't watch the time of the transition of '%s': %s", t->name, strerror(-r));
        settle_arm(t);
        settle_arm_nudge(t);
        if (t->cancel_requested && t->phase == SETTLE_FORWARD)
                settle_reverse(t, TRANSACTION_CANCELLED);
        else if (TAKE_GENERIC(t->write_reversal, false))
                settle_reverse(t, t->reversal);
        else
                settle_check(t);
}

const TransactionStep step_settle = {
        .name = "settle",
        .start = settle_start,
        .event = settle_event,
        .cancel = settle_cancel,
        .expired = settle_expired,
};
