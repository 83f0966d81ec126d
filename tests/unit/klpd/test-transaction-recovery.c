/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A transaction whose klpd is killed: the next one takes it up from the write-ahead log (SEMANTICS.md 5.5). */
#include "transaction-fixture.h"

/* ---- interrupted ---- */

typedef struct Crash {
        RequestKind kind;
        const char *patch, *rest; /* that is asked for */
        const char *enabled;      /* before */
} Crash;

/* One request, interrupted after n turns of the event loop. False: it was over before. */
static bool crash_after(Fixture *f, const Crash *c, unsigned n) {
        bool interrupted;

        begin(f, spec_new(c->kind, c->patch));
        for (unsigned i = 0; i < n && !f->finished; i++)
                assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
        interrupted = !f->finished;
        if (interrupted && interrupt_and_recover(f))
                assert_non_null(strstr(f->edges, "recovered"));
        assert_false(fake_in_transition(f->hands));
        /* One of the two intended states, and no third. */
        if (c->kind == REQUEST_DISABLE)
                return interrupted;
        if (*c->enabled)
                assert_true(fake_is_enabled(f->hands, c->patch) != fake_is_enabled(f->hands, c->enabled));
        if (!fake_is_enabled(f->hands, c->patch) && !(c->kind == REQUEST_DOWNGRADE))
                assert_false(fake_is_loaded(f->hands, c->patch));
        return interrupted;
}

static void crash_everywhere(const Crash *c) {
        bool interrupted = true;

        for (unsigned n = 0; interrupted; n++) {
                Fixture *f;

                assert_int_equal(setup((void **) &f), 0);
                open_wal(f);
                add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
                add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
                if (c->rest)
                        add_patch(f, c->patch, c->rest);
                if (*c->enabled)
                        assert_result(f, REQUEST_APPLY, c->enabled, TRANSACTION_DONE);
                interrupted = crash_after(f, c, n);
                (void) teardown((void **) &f);
                assert_true(n < 500);
        }
}

static void test_interrupted_anywhere_the_old_or_the_new_is_in_force_afterwards(void **state) {
        static const Crash cases[] = {
                { REQUEST_APPLY, "one", NULL, "" },
                { REQUEST_APPLY, "two", NULL, "one" },
                { REQUEST_DOWNGRADE, "one", NULL, "two" },
                { REQUEST_DISABLE, "one", NULL, "one" },
                { REQUEST_APPLY, "slow", "\"level\": 3, \"cumulative\": true, \"tags\": [\"test.slow\"]", "two" },
                { REQUEST_APPLY, "deaf", "\"level\": 3, \"cumulative\": true, \"tags\": [\"test.deaf\"]", "two" },
                { REQUEST_APPLY, "fail", "\"level\": 3, \"cumulative\": true, \"tags\": [\"test.fail\"]", "two" },
                { REQUEST_APPLY, "plain", "\"level\": 3, \"kind\": \"plain\"", "" },
                { REQUEST_APPLY, "late", "\"level\": 3, \"cumulative\": true, \"tags\": [\"test.stale\", \"test.stale-2\"]", "one" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                crash_everywhere(&cases[i]);
}

/* Stalled, interrupted, recovered, and then it runs out of time. */
static void test_a_recovered_stall_is_reversed_at_its_deadline(void **state) {
        Fixture *f = *state;

        open_wal(f);
        f->config.transition_timeout_usec = 200000;
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        assert_true(interrupt_and_recover(f));
        assert_int_equal(f->result, TRANSACTION_REVERSED);
        assert_false(fake_is_loaded(f->hands, "stall"));
        assert_non_null(strstr(f->edges, "recovered unloaded reversed"));
}

/* The reversal had been decided, the write was still to come. */
static void test_a_reversal_that_was_decided_is_made_by_the_next_klpd(void **state) {
        _cleanup_free_ char *text = NULL;
        Fixture *f = *state;
        const WalRecord *last;
        TransactionRecord r;
        size_t size;

        open_wal(f);
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        last = wal_last_state(f->wal);
        assert_int_equal(transaction_record_parse(last->bytes, last->size, &r), 0);
        r.phase = SETTLE_REVERSING;
        r.cancelled = true;
        assert_int_equal(transaction_record_format(&r, &text, &size), 0);
        assert_int_equal(wal_append(f->wal, WAL_STATE, text, size, true, NULL), 0);
        transaction_record_done(&r);
        assert_true(interrupt_and_recover(f));
        assert_int_equal(f->result, TRANSACTION_CANCELLED);
        assert_string_equal(fake_log(f->hands), "write-0 stall; unload stall");
}

static void test_after_a_restart_of_the_host_nothing_is_done(void **state) {
        Fixture *f = *state;

        open_wal(f);
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        transaction_abandon(f->transaction);
        f->transaction = transaction_unref(f->transaction);
        fake_log_clear(f->hands);
        open_wal(f);
        /* Whatever this kernel says, it isn't the one that the record speaks of. */
        f->world.boot_id[0] = 'f';
        {
                const TransactionHandlers handlers = handlers_of(f);
                const WalRecord *last = wal_last_state(f->wal);
                TransactionRecord record;

                assert_int_equal(transaction_record_parse(last->bytes, last->size, &record), 0);
                assert_int_equal(transaction_new_recovered(&f->world, &handlers, &record, &f->transaction), 0);
                transaction_record_done(&record);
                assert_int_equal(transaction_start(f->transaction), 0);
                loop_until(f->event, &f->finished);
        }
        assert_int_equal(f->result, TRANSACTION_FAILED);
        assert_string_equal(fake_log(f->hands), "");
        assert_non_null(strstr(f->message, "restarted"));
}

/* Killed in between, the next klpd remembers it again; killed afterwards, it was remembered. */
static void test_what_the_host_keeps_of_it_is_kept_before_the_log_says_that_it_is_over(void **state) {
        static const struct {
                RequestKind kind;
                const char *patch;
        } requests[] = { { REQUEST_APPLY, "one" }, { REQUEST_APPLY, "two" }, { REQUEST_DISABLE, "two" } };
        Fixture *f = *state;

        open_wal(f);
        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
                _cleanup_(transaction_record_done) TransactionRecord log = {};
                const WalRecord *last;

                f->n_remembered = 0;
                f->log_at_end = &log;
                assert_result(f, requests[i].kind, requests[i].patch, TRANSACTION_DONE);
                assert_int_equal(f->n_remembered, 1);
                assert_string_equal(log.patch, requests[i].patch);
                assert_false(log.over);
                f->log_at_end = NULL;
                recover_from(f, &log);
                assert_int_equal(finish(f), TRANSACTION_DONE);
                assert_int_equal(f->n_remembered, 2);
                last = wal_last_state(f->wal);
                assert_non_null(memmem(last->bytes, last->size, "\nover=1\n", 8));
        }
}

static void test_what_cannot_be_recorded_is_not_begun(void **state) {
        Fixture *f = *state;

        open_wal(f);
        f->wal = wal_free(f->wal);
        assert_int_equal(unlinkat(f->tree.fd, "log/" WAL_FILE, 0), 0);
        assert_int_equal(unlinkat(f->tree.fd, "log", AT_REMOVEDIR), 0);
        tree_write(&f->tree, "log", "");
        assert_int_equal(wal_open(f->tree.fd, "log", &f->wal), 0);
        f->world.wal = f->wal;
        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_FAILED);
        assert_string_equal(fake_log(f->hands), "");
        assert_non_null(strstr(f->message, "log/" WAL_FILE_DAMAGED) ?: strstr(f->message, "/log"));
}

/* ---- the helper dies ---- */

typedef struct Death {
        RequestKind kind;
        const char *patch, *rest, *enabled; /* as of Crash */
        const char *call;                   /* that it dies on */
        bool carried_out;
        TransactionResult result;
        bool in_force, loaded;              /* afterwards */
} Death;

static void assert_death(const Death *c) {
        Fixture *f;

        assert_int_equal(setup((void **) &f), 0);
        f->config.transition_timeout_usec = 200000;
        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        if (c->rest)
                add_patch(f, c->patch, c->rest);
        if (*c->enabled)
                assert_result(f, REQUEST_APPLY, c->enabled, TRANSACTION_DONE);
        fake_kill_helper(f->hands, c->call, c->carried_out);
        assert_string_equal(transaction_result_to_string(request(f, c->kind, c->patch)),
                            transaction_result_to_string(c->result));
        assert_int_equal(fake_is_enabled(f->hands, c->patch), c->in_force);
        assert_int_equal(fake_is_loaded(f->hands, c->patch), c->loaded);
        if (c->kind == REQUEST_APPLY && *c->enabled)
                assert_int_equal(fake_is_enabled(f->hands, c->enabled), !c->in_force);
        assert_false(fake_in_transition(f->hands));
        (void) teardown((void **) &f);
}

/* What the kernel did counts, not that the answer got lost; what it didn't do has failed. */
static void test_when_the_helper_dies_the_kernel_says_what_became_of_it(void **state) {
        static const char two[] = "\"level\": 2, \"cumulative\": true",
                          fail[] = "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.fail\"]",
                          stall[] = "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.stall\"]",
                          plain[] = "\"level\": 3, \"kind\": \"plain\"";
        static const Death deaths[] = {
                { REQUEST_APPLY, "two", two, "one", "load", true, TRANSACTION_DONE, true, true },
                { REQUEST_APPLY, "two", two, "one", "load", false, TRANSACTION_FAILED, false, false },
                { REQUEST_APPLY, "two", two, "one", "enable", true, TRANSACTION_DONE, true, true },
                { REQUEST_APPLY, "two", two, "one", "enable", false, TRANSACTION_FAILED, false, false },
                { REQUEST_APPLY, "plain", plain, "", "load", true, TRANSACTION_DONE, true, true },
                { REQUEST_APPLY, "plain", plain, "", "load", false, TRANSACTION_FAILED, false, false },
                { REQUEST_DISABLE, "one", NULL, "one", "write-0", true, TRANSACTION_DONE, false, true },
                { REQUEST_DISABLE, "one", NULL, "one", "write-0", false, TRANSACTION_FAILED, true, true },
                { REQUEST_APPLY, "fail", fail, "one", "unload", true, TRANSACTION_FAILED, false, false },
                { REQUEST_APPLY, "fail", fail, "one", "unload", false, TRANSACTION_FAILED, false, false },
                { REQUEST_APPLY, "stall", stall, "one", "enable", true, TRANSACTION_REVERSED, false, false },
                { REQUEST_APPLY, "stall", stall, "one", "write-0", true, TRANSACTION_REVERSED, false, false },
                { REQUEST_APPLY, "stall", stall, "one", "write-0", false, TRANSACTION_REVERSED, false, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(deaths); i++)
                assert_death(&deaths[i]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_when_the_helper_dies_the_kernel_says_what_became_of_it),
                T(test_interrupted_anywhere_the_old_or_the_new_is_in_force_afterwards),
                T(test_a_recovered_stall_is_reversed_at_its_deadline),
                T(test_a_reversal_that_was_decided_is_made_by_the_next_klpd),
                T(test_after_a_restart_of_the_host_nothing_is_done),
                T(test_what_the_host_keeps_of_it_is_kept_before_the_log_says_that_it_is_over),
                T(test_what_cannot_be_recorded_is_not_begun),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
