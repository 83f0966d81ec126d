/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A transaction and the write-ahead log: what it is about to do is on the disk before it does it, and the
 * other way round, a transaction that is made of such a record after klpd was killed (transaction-record.h,
 * transaction-recover.c).
 */
#include "klpd/log.h"
#include "klpd/probation.h"
#include "klpd/transaction.h"

static int record_write(Transaction *t, bool over) {
        _cleanup_free_ char *text = NULL;
        TransactionRecord record = {
                .over = over,
                .id = t->id,
                .kind = t->spec->kind,
                .patch = t->name,
                .step = (char *) transaction_step_name(t),
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
                .digest = t->digest,
                .forced = t->forced,
                .back_reason = t->back.reason,
                .back_origin = t->back.origin,
                .back_result = t->back.reason ? (char *) transaction_result_to_string(t->back.result) : NULL,
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

void transaction_say_started(Transaction *t) {
        if (t->start_unsaid)
                transaction_audit_started(t);
        t->start_unsaid = false;
}

bool transaction_record(Transaction *t) {
        int r;

        audit_hold(t->world->audit);
        transaction_say_started(t);
        r = record_write(t, false);
        audit_release(t->world->audit);
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

void transaction_record_end(Transaction *t) {
        int r;

        if (!t->recorded || t->leave_open)
                return;
        probation_stage(t->world->probation);
        r = record_write(t, true);
        if (r < 0)
                log_error("That job %u is over can't be recorded, klpd's log can't be written: %s", t->id,
                          record_problem(t, r));
}

/* ---- the other way round ---- */

static bool read_result(const char *text, TransactionResult *ret) {
        for (unsigned i = 0; i < _TRANSACTION_RESULT_MAX; i++)
                if (!text || streq(transaction_result_to_string((TransactionResult) i), text)) {
                        *ret = (TransactionResult) i;
                        return true;
                }
        return false;
}

/* Moves the record's strings; what is left of it stays in t->recovery. */
int transaction_new_recovered(const World *world, const TransactionHandlers *handlers,
                              TransactionRecord *record, Transaction **ret) {
        TransactionRecord *recovery;
        Transaction *t;
        TransactionResult result;
        JobSpec *spec;
        size_t step;
        int r;

        if (!transaction_find_step(record->step, &step) || !read_result(record->back_result, &result))
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
        /* Copies: the decision what to do reads the record's (recovery_decide()). */
        t->back = (WayBack) {
                .reason = record->back_reason ? strdup(record->back_reason) : NULL,
                .origin = record->back_origin ? strdup(record->back_origin) : NULL,
                .result = result,
        };
        recovery = malloc(sizeof(*recovery));
        if (!recovery || !spec->patch || !t->back.reason != !record->back_reason ||
            !t->back.origin != !record->back_origin) {
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
        t->digest = TAKE_PTR(record->digest);
        t->forced = TAKE_PTR(record->forced);
        t->recorded = true;
        *recovery = TAKE_GENERIC(*record, (TransactionRecord) {});
        t->recovery = recovery;
        *ret = t;
        return 0;
}
