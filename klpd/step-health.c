/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `health`: the change is in force, and what the administrator has configured says whether the host is
 * well with it (health.h; the handlers do the asking). If it isn't, or if somebody cancels meanwhile, the job
 * goes back (transaction-back.c). Not asked about a disable, nor about the way back itself, where there is
 * nothing better to go to.
 *
 * It is recorded before the first check begins, and from then on recovery begins this step anew, until the
 * good answer is recorded by the step after it: checks must bear being made twice.
 */
#include "klpd/log.h"
#include "klpd/transaction.h"

/* Beyond the time that the checks themselves have: nobody answered, since there is no bus. */
#define GRACE_USEC UINT64_C(10000000)

bool transaction_asks_health(const Transaction *t) {
        return !t->disable && !t->back.origin && config_checks_health(t->world->config) &&
               t->handlers.check_health;
}

static void health_start(Transaction *t) {
        int r;

        if (!transaction_asks_health(t)) {
                transaction_next(t);
                return;
        }
        transaction_record_anyway(t);
        r = transaction_arm_deadline(t, t->world->config->health_timeout_usec + GRACE_USEC);
        if (r >= 0)
                r = t->handlers.check_health(t, t->handlers.userdata);
        if (r < 0)
                transaction_go_back(t, TRANSACTION_REVERSED, "The health of the host can't be checked: %s",
                                    strerror(-r));
}

void transaction_health_done(Transaction *t, int r, const char *text) {
        if (t->finished || t->undoing || t->back.reason || !transaction_at(t, &step_health))
                return;
        if (r == -ECANCELED) {
                log_notice("Whether the host is well with '%s' isn't known: it is being shut down", t->name);
                return; /* the record stays as it is */
        }
        transaction_audit_health(t, r, text);
        if (r >= 0)
                transaction_next(t);
        else
                transaction_go_back(t, TRANSACTION_REVERSED, "The health check failed: %s", text);
}

static void health_expired(Transaction *t) {
        static const char text[] = "systemd couldn't be asked in time";

        t->handlers.stop_health(t, t->handlers.userdata);
        transaction_audit_health(t, -ETIMEDOUT, text);
        transaction_go_back(t, TRANSACTION_REVERSED, "The health check failed: %s", text);
}

static void health_cancel(Transaction *t) {
        t->handlers.stop_health(t, t->handlers.userdata);
        transaction_go_back(t, TRANSACTION_CANCELLED, "Cancelled while the health of the host was checked");
}

const TransactionStep step_health = {
        .name = "health",
        .start = health_start,
        .cancel = health_cancel,
        .expired = health_expired,
};
