/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Steps `collect` and `commit`. What the change took off the stack is left to the collector, which removes
 * modules late (SEMANTICS.md 5.4); and the last word is the kernel's: only if the stack, read afresh, is as
 * it was to become, the request is done.
 */
#include "klpd/transaction.h"

/* Recorded where the step before asked something whose answer is good now, so that nobody asks it again. Otherwise
 * the record of that step says enough: what isn't removed yet is removed by whoever recovers this. */
static void collect_start(Transaction *t) {
        char **name;

        if (transaction_asks_health(t))
                transaction_record_anyway(t);
        if (t->handlers.retire)
                STRV_FOREACH(name, t->collectable)
                        t->handlers.retire(t, *name, t->handlers.userdata);
        transaction_next(t);
}

const TransactionStep step_collect = {
        .name = "collect",
        .start = collect_start,
};

static void commit_start(Transaction *t) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        Hands *hands = t->world->hands;
        const char *still = NULL;
        bool enabled;
        char **name;
        int r;

        r = hands->vtable->read_inventory(hands, &inventory);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED,
                                 "The transition of '%s' is over, but what runs now can't be read: %s",
                                 t->name, strerror(-r));
                return;
        }
        enabled = inventory_find(inventory, t->name);
        STRV_FOREACH(name, t->replaced)
                if (inventory_find(inventory, *name))
                        still = *name;
        if (enabled == t->disable || still) {
                transaction_fail(t, TRANSACTION_FAILED, -EIO, ERROR_FAILED,
                                 "The transition of '%s' is over, but the kernel says that %s%s%s is %s",
                                 t->name, still ? "'" : "it", still ?: "", still ? "'" : "",
                                 still || enabled ? "still enabled" : "not enabled");
                return;
        }
        transaction_finish(t, TRANSACTION_DONE,
                           t->forced ? "Finished by force: what it took out stays in the kernel for good, "
                                       "and is never "
                                       "enabled again"
                           : t->phase == SETTLE_FORWARD && !t->cancel_requested
                                           ? NULL
                                           : "Completed, not reversed: the transition was over before it "
                                             "could be");
}

const TransactionStep step_commit = {
        .name = "commit",
        .start = commit_start,
};
