/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `enable`: the kernel is told. A managed patch through the shim, with the generation on which the plan
 * was made; a plain one by loading it; a disable by writing to sysfs. The answer only says that the core has
 * begun (or has finished, if its first pass over the tasks succeeded); what became of it is step `settle`'s
 * to find out, from events and sysfs.
 *
 * An answer that got lost with the helper means neither: the kernel is looked at.
 *
 * Nothing to undo: if the core refuses, nothing has changed, and from the answer on going back is a
 * reversal, which is `settle`'s too.
 */
#include "klpd/log.h"
#include "klpd/transaction.h"

#define RETRY_USEC UINT64_C(20000)

static void enable_go(Transaction *t);

static const char *enable_verb(const Transaction *t) {
        return t->disable ? "disable" : "enable";
}

static void enable_again(Transaction *t) {
        transaction_repeat(t, &step_replan);
}

static void enable_fail(Transaction *t, int r, const char *text) {
        t->transition_start_usec = 0; /* the core undid it before any task had switched */
        t->ended = false;

        /* Stale, not free yet, or somebody else's transition: decide again on what is there now, some
         * times. */
        if ((r == -ESTALE || r == -EAGAIN || (r == -EBUSY && !t->disable)) &&
            t->n_replans < TRANSACTION_REPLANS_MAX && !t->cancel_requested) {
                t->n_replans++;
                if (r == -ESTALE)
                        transaction_repeat(t, &step_replan);
                else if (transaction_set_timer(t, RETRY_USEC << t->n_replans, enable_again) < 0)
                        transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Failed to %s '%s': %s",
                                         enable_verb(t), t->name, text);
                return;
        }
        if (r == -ESTALE)
                transaction_fail(
                                t, TRANSACTION_FAILED, r, ERROR_FAILED,
                                "Failed to enable '%s': what the kernel runs changed under each of %u plans",
                                t->name, t->n_replans + 1);
        else
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Failed to %s '%s': %s",
                                 enable_verb(t), t->name, text && *text ? text : strerror(-r));
}

/* If the kernel can't be read now, `settle` goes on trying. */
static bool enable_has_begun(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;

        if (hands->vtable->read_patch(hands, t->name, &kernel) < 0 || kernel.transition ||
            (kernel.registered && (kernel.flags & KLP_SHIM_PATCH_TRANSITION)))
                return true;
        return (kernel.listed && kernel.enabled) != t->disable;
}

static void on_done(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        transaction_audit_loaded(t);
        if (hands_lost(r) && enable_has_begun(t)) {
                log_warning("%s. The kernel has begun to %s '%s'", text, enable_verb(t), t->name);
                r = 0;
        }
        /* Already so: `settle` looks what the kernel says. */
        if (r < 0 && !(t->disable && (r == -EINVAL || r == -ENOENT))) {
                enable_fail(t, r, text);
                return;
        }
        if (transaction_is_plain(t) && !t->disable) {
                t->loaded = t->loaded_unsaid = true;
                t->loaded_usec = now_usec(CLOCK_REALTIME);
                transaction_audit_loaded(t);
        }
        /* The answer may come before the shim's events: the change has begun, and is only taken back by a
         * reversal. */
        if (t->transition_start_usec == 0)
                t->transition_start_usec = now_usec(CLOCK_MONOTONIC);
        transaction_next(t);
}

static void on_stale_unloaded(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        r = hands_unload_result(t->world->hands, t->name, r);
        if (r < 0 && r != -ENOENT) {
                enable_fail(t, r == -EWOULDBLOCK ? -EAGAIN : r, text);
                return;
        }
        transaction_audit_unloaded(t);
        enable_go(t);
}

/* A plain patch that was disabled is still loaded, and only loading it again enables it. */
static int enable_plain(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;
        int r;

        r = hands->vtable->read_patch(hands, t->name, &kernel);
        if (r < 0)
                return r;
        if (kernel.module)
                return hands->vtable->unload(hands, t->name, on_stale_unloaded, t);
        t->transition_start_usec = now_usec(CLOCK_MONOTONIC);
        return hands->vtable->load(hands, t->candidate.module_fd, t->name, true, on_done, t);
}

static void enable_go(Transaction *t) {
        Hands *hands = t->world->hands;
        int r;

        transaction_ref(t); /* the operation's */
        if (t->disable) {
                t->transition_start_usec = now_usec(CLOCK_MONOTONIC);
                r = hands->vtable->write_enabled(hands, t->name, false, true, on_done, t);
        } else if (transaction_is_plain(t))
                r = enable_plain(t);
        else
                r = hands->vtable->enable(hands, t->name, t->generation, on_done, t);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't have the helper %s '%s': %s",
                                 enable_verb(t), t->name, strerror(-r));
                transaction_unref(t);
                return;
        }
        t->pending = true;
}

static void enable_start(Transaction *t) {
        t->ended = false;
        if (transaction_is_plain(t) && !t->disable)
                t->loads = true; /* loading is enabling */
        if (transaction_record(t))
                enable_go(t);
}

static void enable_event(Transaction *t, const ShimEvent *event) {
        if (!event || !transaction_expects(t, event))
                return;
        if (event->kind == KLP_SHIM_EVENT_PREPARING) {
                t->transition_start_usec = event->time_nsec / 1000;
                t->ended = false;
        } else if (event->kind == KLP_SHIM_EVENT_ENDED) {
                t->transition_end_usec = event->time_nsec / 1000;
                t->ended = true;
                t->end = event->end;
        }
}

const TransactionStep step_enable = {
        .name = "enable",
        .start = enable_start,
        .event = enable_event,
};
