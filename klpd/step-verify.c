/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Step `verify`: the candidate and the first plan (prepare.h). Nothing visible happens here, so nothing has to be undone. */
#include "klpd/transaction.h"

static void on_prepared(int r, Candidate *candidate, Plan **plan, Inventory **inventory, const Failure *failure,
                        void *userdata) {
        Transaction *t = userdata;

        transaction_ref(t);
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, failure->name, "%s", failure_message(failure));
        else {
                t->candidate = *candidate;
                *candidate = (Candidate) { .module_fd = -EBADF };
                if (transaction_take_plan(t, TAKE_PTR(*plan), *inventory)) {
                        transaction_audit_started(t);
                        transaction_next(t);
                }
        }
        transaction_unref(t);
}

static void verify_start(Transaction *t) {
        int r;

        r = prepare(t->world, t->spec, on_prepared, t, &t->preparation);
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't prepare the request: %s", strerror(-r));
}

const TransactionStep step_verify = {
        .name = "verify",
        .start = verify_start,
        .deadline_usec = UINT64_C(120) * 1000000,
};
