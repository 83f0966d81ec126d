/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transaction that an earlier klpd was at when it ended, whatever ended it (SEMANTICS.md 5.5). First the
 * helper is asked something harmless: it serves one after the other, so when its answer is there, what the
 * earlier klpd had sent it has been carried out, and the kernel holds still. Then the kernel is read, and
 * recovery_decide() says from that and from the record what there is to do; the usual steps do it.
 *
 * A helper that hangs in the earlier request is reported and not waited for: nothing is done then, and the
 * record stays for the next start.
 */
#include <unistd.h>

#include "klpd/log.h"
#include "klpd/transaction.h"

static int read_view(Transaction *t, RecoveryView *ret) {
        Hands *hands = t->world->hands;
        KernelPatch kernel, other;
        RecoveryView view;
        char **name;
        int r;

        r = hands->vtable->read_patch(hands, t->name, &kernel);
        if (r < 0)
                return r;
        view = (RecoveryView) {
                .same_boot = streq(t->recovery->boot, t->world->boot_id),
                .module = kernel.module,
                .enabled = kernel.listed && kernel.enabled,
                .transition = kernel.transition || (kernel.registered &&
                                                         (kernel.flags & KLP_SHIM_PATCH_TRANSITION)),
                .replaced_gone = t->replaced,
        };
        STRV_FOREACH(name, t->replaced) {
                r = hands->vtable->read_patch(hands, *name, &other);
                if (r < 0)
                        return r;
                if (other.listed && other.enabled)
                        view.replaced_gone = false;
        }
        *ret = view;
        return 0;
}

/* What is registered is all that is known of a managed patch now; its file was read by the klpd that died. */
static void take_registered(Transaction *t) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        Hands *hands = t->world->hands;
        const ShimPatch *registered;

        if (t->candidate.patch || hands->vtable->read_snapshot(hands, &snapshot) < 0)
                return;
        registered = shim_snapshot_find(snapshot, t->name);
        if (registered)
                t->candidate.patch = patch_ref(registered->patch);
}

static void act(Transaction *t, RecoveryAction action, bool same_boot) {
        switch (action) {
        case RECOVERY_NOTHING:
                if (!same_boot) { /* nor is what was to be taken back there any more */
                        free(t->back.origin);
                        t->back.origin = NULL;
                }
                transaction_finish(t, TRANSACTION_FAILED,
                                   same_boot ? "klpd was interrupted before the change was in force, and the "
                                               "kernel runs what it ran before" :
                                               "The host was restarted before the change was complete");
                return;
        case RECOVERY_FINISH:
                t->completed = true;
                /* Whether the host is well with it is asked again, unless that was answered. */
                transaction_repeat(t, transaction_at(t, &step_collect) || transaction_at(t, &step_commit) ?
                                              &step_collect : &step_health);
                return;
        case RECOVERY_FOLLOW:
        case RECOVERY_REVERSE:
                transaction_repeat(t, &step_settle);
                return;
        case RECOVERY_AGAIN:
                t->lost_race = true;
                t->phase = SETTLE_AGAIN;
                transaction_repeat(t, transaction_is_plain(t) ? &step_verify : &step_replan);
                return;
        case RECOVERY_UNDO:
                transaction_undo_from(t, &step_load, TRANSACTION_FAILED, -EINTR,
                                      "klpd was interrupted before '%s' was in force: what had been begun is "
                                      "undone",
                                      t->name);
                return;
        case RECOVERY_BACK:
                if (t->back.origin)
                        transaction_back_again(t);
                else
                        transaction_back_begin(t);
                return;
        case _RECOVERY_ACTION_MAX:
                return;
        }
}

static void decide(Transaction *t) {
        TransactionRecord *record = t->recovery;
        RecoveryAction action;
        RecoveryView view;
        int r;

        r = read_view(t, &view);
        if (r < 0) {
                transaction_give_up(t, r, "What klpd was interrupted in can't be recovered, the kernel can't be "
                                          "read: %s", strerror(-r));
                return;
        }
        take_registered(t);
        action = recovery_decide(record, &view);
        transaction_audit_recovered(t, action, view.same_boot);
        t->recovery = NULL;
        t->recovered = true;
        t->loaded = t->loads && view.module;
        t->write_reversal = action == RECOVERY_REVERSE;
        transaction_record_done(record);
        free(record);
        act(t, action, view.same_boot);
}

static void on_helper_free(int r, const char *text, const char *const *stacks, size_t n, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        if (r == -ETIMEDOUT || r == -EBUSY)
                transaction_give_up(t, r, "What klpd was interrupted in can't be recovered yet: %s", text);
        else
                decide(t); /* without a helper nothing is under way in it either */
}

void transaction_recover(Transaction *t) {
        const HelperTask self = { .pid = (uint32_t) getpid(), .tid = (uint32_t) getpid() };
        Hands *hands = t->world->hands;
        int r;

        r = hands->vtable->read_stacks(hands, &self, 1, on_helper_free, transaction_ref(t));
        if (r < 0) {
                transaction_unref(t);
                transaction_give_up(t, r, "What klpd was interrupted in can't be recovered, the helper can't be "
                                          "asked: %s", strerror(-r));
                return;
        }
        t->pending = true;
}
