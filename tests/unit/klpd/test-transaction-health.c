/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Whether the host is well with a change, and the way back where it isn't. */
#include "transaction-fixture.h"

/* ---- health, and the way back ---- */

static void with_health_check(Fixture *f, int answer) {
        f->health = answer;
        assert_int_equal(strv_extend(&f->config.health_units, "x.service"), 0);
}

static void test_a_host_that_is_well_keeps_the_patch(void **state) {
        Fixture *f = *state;

        with_health_check(f, 0);
        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_string_equal(f->edges, "job-started loaded preparing health completed");
        assert_result(f, REQUEST_DISABLE, "one", TRANSACTION_DONE);
        assert_int_equal(f->n_asked, 1);
}

static void test_a_patch_that_makes_the_host_ill_is_disabled_if_it_had_replaced_nothing(void **state) {
        Fixture *f = *state;

        with_health_check(f, -EREMOTEIO);
        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_REVERSED);
        assert_false(fake_is_enabled(f->hands, "one"));
        assert_string_equal(fake_log(f->hands), "load one; enable one; write-0 one");
        assert_string_equal(f->edges, "job-started loaded preparing health job-started preparing reversed");
        assert_string_equal(f->condemned, "one");
        assert_non_null(strstr(f->message, "x.service"));
        assert_non_null(strstr(f->message, "'one' was taken back: it is disabled"));
        assert_int_equal(f->n_asked, 1);
}

static void test_otherwise_by_what_it_had_replaced_in_one_step(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        with_health_check(f, -ETIMEDOUT);
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_REVERSED);
        assert_true(fake_is_enabled(f->hands, "one"));
        assert_false(fake_is_enabled(f->hands, "two"));
        assert_non_null(strstr(f->message, "'one' runs again"));
        assert_string_equal(f->retired, "two");
        /* And upwards, where the way there was downwards. */
        f->config.health_units = strv_free(f->config.health_units);
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_DONE);
        with_health_check(f, -EREMOTEIO);
        assert_result(f, REQUEST_DOWNGRADE, "one", TRANSACTION_REVERSED);
        assert_true(fake_is_enabled(f->hands, "two"));
}

static void test_where_a_state_forbids_going_back_it_stays_and_that_is_said(void **state) {
        Fixture *f = *state;
        JobSpec *spec;

        with_health_check(f, -EREMOTEIO);
        add_patch(f, "one", "\"level\": 1, \"cumulative\": true, \"states\": [{\"id\": 1, \"version\": 1, "
                            "\"flags\": [\"block-disable\"]}]");
        spec = spec_new(REQUEST_APPLY, "one");
        spec->accept_irreversible = true;
        begin(f, spec);
        assert_int_equal(finish(f), TRANSACTION_FAILED);
        assert_true(fake_is_enabled(f->hands, "one"));
        assert_string_equal(f->condemned, "one");
        assert_non_null(strstr(f->message, "x.service"));
        assert_non_null(strstr(f->message, "stays enabled"));
        assert_non_null(strstr(f->message, "block-disable"));
}

static void test_where_no_single_change_leads_back_it_stays_too(void **state) {
        Fixture *f = *state;

        add_patch(f, "a", "\"level\": 1, \"stream\": \"a\"");
        add_patch(f, "b", "\"level\": 1, \"stream\": \"b\"");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        assert_result(f, REQUEST_APPLY, "a", TRANSACTION_DONE);
        assert_result(f, REQUEST_APPLY, "b", TRANSACTION_DONE);
        with_health_check(f, -EREMOTEIO);
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_FAILED);
        assert_true(fake_is_enabled(f->hands, "two"));
        assert_non_null(strstr(f->message, "no single change"));
}

static void test_cancel_during_the_health_check_takes_back_without_blame(void **state) {
        Fixture *f = *state;

        with_health_check(f, 1);
        add_patch(f, "one", "\"level\": 1");
        begin(f, spec_new(REQUEST_APPLY, "one"));
        until_step(f, "health");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(transaction_cancel(f->transaction), -EALREADY);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_false(fake_is_enabled(f->hands, "one"));
}

static void test_nobody_who_answers_means_not_well(void **state) {
        Fixture *f = *state;

        with_health_check(f, 1);
        f->config.health_timeout_usec = 1000;
        add_patch(f, "one", "\"level\": 1");
        begin(f, spec_new(REQUEST_APPLY, "one"));
        until_step(f, "health");
        assert_true(transaction_arm_deadline(f->transaction, 1000) >= 0); /* not 10 s more */
        assert_int_equal(finish(f), TRANSACTION_REVERSED);
        assert_non_null(strstr(f->message, "couldn't be asked"));
}

static void test_a_host_that_is_shut_down_says_nothing_about_the_patch(void **state) {
        Fixture *f = *state;

        open_wal(f);
        with_health_check(f, -ECANCELED);
        add_patch(f, "one", "\"level\": 1");
        begin(f, spec_new(REQUEST_APPLY, "one"));
        until_step(f, "health");
        while (f->answer)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_string_equal(transaction_step_name(f->transaction), "health");
        assert_false(f->finished);
        assert_string_equal(f->condemned, "");
        /* The next klpd asks again. */
        f->health = 0;
        assert_true(interrupt_and_recover(f));
        assert_int_equal(f->result, TRANSACTION_DONE);
        assert_int_equal(f->n_asked, 2);
        assert_non_null(f->transaction->digest); /* so that it can go on trial */
}

static void test_what_was_answered_is_not_asked_again(void **state) {
        _cleanup_(transaction_record_done) TransactionRecord log = {};
        Fixture *f = *state;

        open_wal(f);
        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        with_health_check(f, 0);
        f->log_at_retire = &log;
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_DONE);
        assert_string_equal(f->retired, "one");
        assert_non_null(log.patch);
        f->log_at_retire = NULL;
        f->health = -EREMOTEIO; /* the host is ill by now */
        recover_from(f, &log);
        assert_int_equal(finish(f), TRANSACTION_DONE);
        assert_int_equal(f->n_asked, 1);
        assert_true(fake_is_enabled(f->hands, "two"));
}

/* Killed at every turn of a way that ends in going back: it does end there, unless it hadn't begun. */
static void test_interrupted_anywhere_on_the_way_back_it_is_gone_afterwards(void **state) {
        bool interrupted = true, asked = false;

        for (unsigned n = 0; interrupted; n++) {
                Fixture *f;

                assert_int_equal(setup((void **) &f), 0);
                open_wal(f);
                add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
                add_patch(f, "two", "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.slow\"]");
                assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
                with_health_check(f, -EREMOTEIO);
                begin(f, spec_new(REQUEST_APPLY, "two"));
                for (unsigned i = 0; i < n && !f->finished; i++)
                        assert_true(sd_event_run(f->event, UINT64_MAX) >= 0);
                interrupted = !f->finished;
                asked |= f->n_asked > 0;
                /* Once it is decided, it counts no more how the host is. */
                if (*f->condemned)
                        f->health = 0;
                if (interrupted)
                        (void) interrupt_and_recover(f);
                assert_false(fake_in_transition(f->hands));
                assert_true(fake_is_enabled(f->hands, "one"));
                assert_false(fake_is_enabled(f->hands, "two"));
                if (f->finished && f->n_asked > 0 && f->result != TRANSACTION_REVERSED)
                        fail_msg("turn %u: %s: %s", n, transaction_result_to_string(f->result), f->message);
                (void) teardown((void **) &f);
                assert_true(n < 500);
        }
        assert_true(asked);
}

static void test_what_is_rejected_is_taken_back_and_recorded_before_it_begins(void **state) {
        Fixture *f = *state;

        for (unsigned interrupt = 0; interrupt < 2; interrupt++) {
                const TransactionHandlers handlers = handlers_of(f);
                char *replaced[] = { (char *) "one", NULL };
                JobSpec *spec;

                f->wal = wal_free(f->wal);
                open_wal(f);
                add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
                add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
                assert_true(request(f, REQUEST_APPLY, "two") == TRANSACTION_DONE);
                spec = spec_new(REQUEST_DISABLE, "two");
                spec->reason = strdup("no good");
                f->transaction = transaction_unref(f->transaction);
                f->finished = false;
                assert_int_equal(transaction_new_back(&f->world, &handlers, spec, 2, replaced, NULL,
                                                      &f->transaction),
                                 0);
                if (interrupt)
                        assert_true(interrupt_and_recover(f));
                else {
                        assert_int_equal(transaction_start(f->transaction), 0);
                        (void) finish(f);
                }
                assert_int_equal(f->result, TRANSACTION_DONE);
                assert_true(fake_is_enabled(f->hands, "one"));
                assert_false(fake_is_enabled(f->hands, "two"));
                assert_non_null(strstr(f->message, "no good; 'two' was taken back: 'one' runs again"));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_a_host_that_is_well_keeps_the_patch),
                T(test_a_patch_that_makes_the_host_ill_is_disabled_if_it_had_replaced_nothing),
                T(test_otherwise_by_what_it_had_replaced_in_one_step),
                T(test_where_a_state_forbids_going_back_it_stays_and_that_is_said),
                T(test_where_no_single_change_leads_back_it_stays_too),
                T(test_cancel_during_the_health_check_takes_back_without_blame),
                T(test_nobody_who_answers_means_not_well),
                T(test_a_host_that_is_shut_down_says_nothing_about_the_patch),
                T(test_what_was_answered_is_not_asked_again),
                T(test_interrupted_anywhere_on_the_way_back_it_is_gone_afterwards),
                T(test_what_is_rejected_is_taken_back_and_recorded_before_it_begins),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
