/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `verify`: the candidate and the first plan (prepare.h). Nothing visible happens here, so nothing has
 * to be undone. Where the shim isn't there, it is tried once more to have it loaded: it may have been
 * installed meanwhile. If it still isn't, the rule `ready` says so.
 */
#include "klpd/transaction.h"

static void on_prepared(int r, Candidate *candidate, Plan **plan, Inventory **inventory,
                        const Failure *failure, void *userdata) {
        Transaction *t = userdata;

        transaction_ref(t);
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, failure->name, "%s", failure_message(failure));
        else {
                t->candidate = *candidate;
                *candidate = (Candidate) { .module_fd = -EBADF };
                if (transaction_take_plan(t, TAKE_PTR(*plan), *inventory)) {
                        t->start_unsaid = true;
                        transaction_next(t);
                }
        }
        transaction_unref(t);
}

static void verify_prepare(Transaction *t) {
        int r;

        r = prepare(t->world, t->spec, on_prepared, t, &t->preparation);
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't prepare the request: %s",
                                 strerror(-r));
}

static void on_shim_loaded(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        if (t->cancel_requested)
                transaction_fail(t, TRANSACTION_CANCELLED, -ECANCELED, ERROR_FAILED,
                                 "Cancelled before anything began");
        else
                verify_prepare(t);
}

static void verify_start(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelStatus status;

        hands->vtable->wake(hands);
        if (!t->disable && hands->vtable->read_status(hands, &status) >= 0 && status.livepatch &&
            status.shim_abi == 0) {
                if (hands->vtable->load_shim(hands, on_shim_loaded, transaction_ref(t)) >= 0) {
                        t->pending = true;
                        return;
                }
                transaction_unref(t);
        }
        verify_prepare(t);
}

const TransactionStep step_verify = {
        .name = "verify",
        .start = verify_start,
        .deadline_usec = UINT64_C(120) * 1000000,
};
