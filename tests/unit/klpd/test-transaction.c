/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every way through a transaction that klpd lives to see; the other two are test-transaction-recovery.c and
 * test-transaction-health.c. */
#include "transaction-fixture.h"

#include "klpd/inspect-client.h"
#include "policy/json.h"

/* ---- done ---- */

static void test_apply_loads_enables_and_says_each_edge_once(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load one; enable one");
        assert_true(fake_is_enabled(f->hands, "one"));
        assert_string_equal(f->edges, "job-started loaded preparing completed");
        assert_string_equal(f->message, "");
        assert_int_equal(f->transaction->completed, true);
}

static void test_apply_of_what_runs_is_nothing_to_do_and_leaves_no_record(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_NOTHING_TO_DO);
        assert_string_equal(fake_log(f->hands), "");
        assert_string_equal(f->edges, "");
}

static void test_replace_hands_the_replaced_module_to_the_collector(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_DONE);
        assert_true(fake_is_enabled(f->hands, "two"));
        assert_false(fake_is_enabled(f->hands, "one"));
        assert_string_equal(f->retired, "one");
}

static void test_downgrade_uses_the_loaded_module_again(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "two", "\"level\": 2, \"cumulative\": true");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_result(f, REQUEST_APPLY, "two", TRANSACTION_DONE);
        assert_result(f, REQUEST_DOWNGRADE, NULL, TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "enable one");
        assert_true(fake_is_enabled(f->hands, "one"));
        assert_string_equal(f->retired, "two");
}

static void test_a_level_is_as_good_as_a_name(void **state) {
        JobSpec *spec = spec_new(REQUEST_APPLY, NULL);
        Fixture *f = *state;

        add_patch(f, "nine", "\"level\": 9");
        add_patch(f, "ten", "\"level\": 10");
        spec->has_level = true;
        spec->level = 10;
        begin(f, spec);
        assert_int_equal(finish(f), TRANSACTION_DONE);
        assert_true(fake_is_enabled(f->hands, "ten"));
}

static void test_disable_writes_to_sysfs(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_result(f, REQUEST_DISABLE, "one", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "write-0 one");
        assert_string_equal(f->retired, "one");
        assert_false(fake_is_enabled(f->hands, "one"));
        assert_result(f, REQUEST_DISABLE, "one", TRANSACTION_NOTHING_TO_DO);
}

static void test_a_plain_patch_is_enabled_by_loading_and_loaded_afresh_each_time(void **state) {
        Fixture *f = *state;

        add_patch(f, "plain", "\"kind\": \"plain\", \"level\": 1");
        assert_result(f, REQUEST_APPLY, "plain", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load plain");
        assert_string_equal(f->edges, "job-started loaded completed");
        assert_result(f, REQUEST_DISABLE, "plain", TRANSACTION_DONE);
        assert_result(f, REQUEST_APPLY, "plain", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "unload plain; load plain");
}

static void test_a_slow_transition_is_waited_for(void **state) {
        Fixture *f = *state;

        add_patch(f, "slow", "\"tags\": [\"test.slow\"]");
        assert_result(f, REQUEST_APPLY, "slow", TRANSACTION_DONE);
        assert_true(f->transaction->transition_end_usec - f->transaction->transition_start_usec >= 250000 / HASTE);
}

static void test_without_events_sysfs_tells(void **state) {
        Fixture *f = *state;

        add_patch(f, "deaf", "\"tags\": [\"test.deaf\"]");
        assert_result(f, REQUEST_APPLY, "deaf", TRANSACTION_DONE);
        assert_true(fake_is_enabled(f->hands, "deaf"));
}

/* ---- refused and failed: as before ---- */

static void test_a_refusal_changes_nothing_and_names_rule_and_way_out(void **state) {
        Fixture *f = *state;

        add_patch(f, "final", "\"states\": [{\"id\": 1, \"version\": 1, \"flags\": [\"block-disable\"]}]");
        assert_result(f, REQUEST_APPLY, "final", TRANSACTION_REFUSED);
        assert_string_equal(f->error, "org.klpd1.Error.Refused");
        assert_non_null(strstr(f->message, "irreversible"));
        assert_string_equal(fake_log(f->hands), "");
        assert_string_equal(f->edges, "refused");
        assert_non_null(strstr(f->transaction->plan_json, "\"refuse\""));
}

static void test_an_unknown_patch_is_no_such_patch(void **state) {
        Fixture *f = *state;

        assert_result(f, REQUEST_APPLY, "nobody", TRANSACTION_FAILED);
        assert_string_equal(f->error, "org.klpd1.Error.NoSuchPatch");
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_file_that_is_no_module_is_said_to_be_none(void **state) {
        Fixture *f = *state;
        char path[256];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/bad.ko", f->uts.release);
        tree_write(&f->tree, path, "garbage");
        assert_result(f, REQUEST_APPLY, "bad", TRANSACTION_FAILED);
        assert_string_equal(f->error, "org.klpd1.Error.NotModule");
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_module_that_contradicts_its_file_is_refused_and_unloaded(void **state) {
        Fixture *f = *state;

        add_patch(f, "liar", "\"level\": 3, \"tags\": [\"test.lies\"]");
        assert_result(f, REQUEST_APPLY, "liar", TRANSACTION_REFUSED);
        assert_non_null(strstr(f->message, "level 3 in the file, 4 registered"));
        assert_string_equal(fake_log(f->hands), "load liar; unload liar");
        assert_false(fake_is_loaded(f->hands, "liar"));
        assert_string_equal(f->edges, "job-started loaded unloaded refused");
}

static void test_a_module_that_does_not_register_is_unloaded(void **state) {
        Fixture *f = *state;

        add_patch(f, "mute", "\"tags\": [\"test.mute\"]");
        assert_result(f, REQUEST_APPLY, "mute", TRANSACTION_FAILED);
        assert_string_equal(fake_log(f->hands), "load mute; unload mute");
}

static void test_a_module_that_does_not_load_fails_with_the_kernels_words(void **state) {
        Fixture *f = *state;

        add_patch(f, "unsigned", "\"tags\": [\"test.noload\"]");
        assert_result(f, REQUEST_APPLY, "unsigned", TRANSACTION_FAILED);
        assert_non_null(strstr(f->message, "key was rejected"));
        assert_string_equal(fake_log(f->hands), "load unsigned");
}

static void test_a_callback_that_refuses_fails_the_job_and_the_module_goes(void **state) {
        Fixture *f = *state;

        add_patch(f, "fails", "\"tags\": [\"test.fail\"]");
        assert_result(f, REQUEST_APPLY, "fails", TRANSACTION_FAILED);
        assert_non_null(strstr(f->message, "pre_patch of state 1 failed"));
        assert_string_equal(fake_log(f->hands), "load fails; enable fails; unload fails");
        assert_string_equal(f->edges, "job-started loaded unloaded failed");
}

static void test_undo_is_patient_with_a_module_that_is_still_in_use(void **state) {
        Fixture *f = *state;

        add_patch(f, "fails", "\"tags\": [\"test.fail\", \"test.busymod\"]");
        assert_result(f, REQUEST_APPLY, "fails", TRANSACTION_FAILED);
        assert_string_equal(
                        fake_log(f->hands),
                        "load fails; enable fails; unload fails; unload fails; unload fails; unload fails");
        assert_false(fake_is_loaded(f->hands, "fails"));
}

static void test_a_kernel_without_livepatch_is_unsupported(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        fake_set_livepatch(f->hands, false);
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_FAILED);
        assert_string_equal(f->error, "org.klpd1.Error.Unsupported");
}

static void test_without_the_shim_the_rule_ready_refuses(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        fake_set_shim(f->hands, false);
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_REFUSED);
        assert_non_null(strstr(f->message, "ready"));
        assert_string_equal(fake_log(f->hands), "");
}

static void test_nothing_is_decided_while_the_policy_is_broken(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        f->world.policy_problem = "line 3";
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_FAILED);
        assert_non_null(strstr(f->message, "line 3"));
}

/* ---- stale ---- */

static void test_a_stale_plan_is_made_again(void **state) {
        Fixture *f = *state;

        add_patch(f, "stale", "\"tags\": [\"test.stale\", \"test.stale-2\"]");
        assert_result(f, REQUEST_APPLY, "stale", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load stale; enable stale; enable stale; enable stale");
}

static void test_stale_for_ever_gives_up_and_undoes(void **state) {
        Fixture *f = *state;

        add_patch(f, "stale", "\"tags\": [\"test.stale\", \"test.stale-99\"]");
        assert_result(f, REQUEST_APPLY, "stale", TRANSACTION_FAILED);
        assert_non_null(strstr(f->message, "changed under each"));
        assert_false(fake_is_loaded(f->hands, "stale"));
}

/* ---- cancel, deadline, reversal ---- */

static void test_cancel_before_the_transition_means_that_nothing_happens(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        begin(f, spec_new(REQUEST_APPLY, "one"));
        until_step(f, "verify");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(transaction_cancel(f->transaction), -EALREADY);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_cancel_while_the_module_is_loaded_unloads_it(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        begin(f, spec_new(REQUEST_APPLY, "one"));
        until_step(f, "load");
        assert_true(f->transaction->pending);
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_string_equal(fake_log(f->hands), "load one; unload one");
}

static void test_cancel_in_transition_reverses_and_unloads(void **state) {
        Fixture *f = *state;

        add_patch(f, "stall", "\"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_string_equal(fake_log(f->hands), "load stall; enable stall; write-0 stall; unload stall");
        assert_string_equal(f->edges, "job-started loaded preparing unloaded reversed");
}

static void test_cancel_while_the_kernel_is_told_reverses_afterwards(void **state) {
        Fixture *f = *state;

        add_patch(f, "stall", "\"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "enable");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_false(fake_in_transition(f->hands));
        assert_false(fake_is_loaded(f->hands, "stall"));
}

/* The helper's answer may come first. */
static void test_cancel_while_the_kernel_is_told_and_before_its_events_reverses_too(void **state) {
        Fixture *f = *state;

        add_patch(f, "deaf", "\"tags\": [\"test.stall\", \"test.deaf\"]");
        begin(f, spec_new(REQUEST_APPLY, "deaf"));
        until_step(f, "enable");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_false(fake_in_transition(f->hands));
        assert_false(fake_is_loaded(f->hands, "deaf"));
}

static TransactionResult request_with_timeout(Fixture *f, RequestKind kind, const char *patch,
                                              uint64_t usec) {
        JobSpec *spec = spec_new(kind, patch);

        spec->timeout_usec = usec;
        begin(f, spec);
        return finish(f);
}

static void test_past_the_deadline_it_is_reversed(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "stall", "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.stall\"]");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "stall", 100000), TRANSACTION_REVERSED);
        assert_true(fake_is_enabled(f->hands, "one"));
        assert_false(fake_is_loaded(f->hands, "stall"));
        assert_string_equal(f->retired, "");
        assert_string_equal(f->edges, "job-started loaded preparing unloaded reversed");
}

static void test_a_disable_past_the_deadline_is_reversed(void **state) {
        Fixture *f = *state;

        assert_int_equal(fake_insmod(f->hands, "{\"name\": \"slow\", \"tags\": [\"test.slow\"]}", true), 0);
        usleep(1);
        for (unsigned i = 0; i < 100 && !fake_is_enabled(f->hands, "slow"); i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        fake_hurry(f->hands, 1); /* slower than that */
        assert_int_equal(request_with_timeout(f, REQUEST_DISABLE, "slow", 50000), TRANSACTION_REVERSED);
        assert_true(fake_is_enabled(f->hands, "slow"));
        assert_string_equal(fake_log(f->hands), "write-0 slow; write-1 slow");
}

static void test_a_reversal_that_lost_the_race_is_brought_forward_again(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "late", "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.late\"]");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "late", 100000), TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load late; enable late; write-0 late; write-1 late");
        assert_true(fake_is_enabled(f->hands, "late"));
        assert_non_null(strstr(f->message, "not reversed"));
        assert_string_equal(f->error, "");
}

static void test_a_lost_race_whose_disable_completed_is_enabled_again(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "\"level\": 1, \"cumulative\": true");
        add_patch(f, "late", "\"level\": 2, \"cumulative\": true, \"tags\": [\"test.toolate\"]");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "late", 100000), TRANSACTION_DONE);
        /* In between a write of 1 may be tried, if PREPARING is seen before ENDED. */
        assert_memory_equal(fake_log(f->hands), "load late; enable late; write-0 late; ", 38);
        assert_non_null(strstr(fake_log(f->hands) + 38, "enable late"));
        assert_true(fake_is_enabled(f->hands, "late"));
        assert_non_null(strstr(f->message, "not reversed"));
}

static void test_a_reversal_that_stalls_too_is_reported_and_nothing_is_unloaded(void **state) {
        Fixture *f = *state;

        f->config.transition_timeout_usec = 300000; /* of the reversal */
        add_patch(f, "stuck", "\"tags\": [\"test.stuck\", \"test.busymod\"]");
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "stuck", 100000), TRANSACTION_FAILED);
        assert_non_null(strstr(f->message, "still under way"));
        assert_non_null(strstr(f->message, "straggler"));
        assert_true(fake_is_loaded(f->hands, "stuck"));
}

/* The kernel says that it is over, and the event of it doesn't come in the time that the reversal has. */
static void test_a_reversal_whose_event_is_lost_is_no_failure_at_its_deadline(void **state) {
        Fixture *f = *state;

        f->config.transition_timeout_usec = 50000; /* of the reversal */
        add_patch(f, "stall", "\"tags\": [\"test.stall\", \"test.deaf\"]");
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "stall", 100000), TRANSACTION_REVERSED);
        assert_false(fake_is_loaded(f->hands, "stall"));
}

/* Deadlines are far: only the records of stalls come by time, at 1, 15 and 60 s. */
static void until_edges(Fixture *f, const char *want) {
        for (unsigned i = 0; i < 3000 && !f->finished && !streq(f->edges, want); i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_string_equal(f->edges, want);
}

static void test_a_reversal_that_stalls_has_records_of_its_own_counted_from_its_beginning(void **state) {
        Fixture *f = *state;

        add_patch(f, "stuck", "\"tags\": [\"test.stuck\", \"test.busymod\"]");
        begin(f, spec_new(REQUEST_APPLY, "stuck"));
        /* the change's after its first second, the reversal's after a second more, and not one of both together */
        until_edges(f, "job-started loaded preparing stalled");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        until_edges(f, "job-started loaded preparing stalled stalled");
        transaction_abandon(f->transaction);
        assert_non_null(strstr(f->said, "\n[] The transition of livepatch 'stuck' has been waiting for 1."));
        assert_non_null(strstr(f->said, "\n[reversing] The reversal of the transition of livepatch 'stuck' has been "
                                        "waiting for 1."));
        assert_non_null(strstr(f->said, "straggler"));
}

static void test_a_stall_is_recorded_after_a_second_with_who_is_in_the_way(void **state) {
        Fixture *f = *state;

        add_patch(f, "stall", "\"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_edges(f, "job-started loaded preparing stalled");
        assert_int_equal(transaction_cancel(f->transaction), 0);
        assert_int_equal(finish(f), TRANSACTION_CANCELLED);
        assert_string_equal(f->edges, "job-started loaded preparing stalled unloaded reversed");
}

static void test_another_transition_is_refused_as_busy(void **state) {
        Fixture *f = *state;

        add_patch(f, "one", "");
        assert_int_equal(fake_insmod(f->hands, "{\"name\": \"other\", \"tags\": [\"test.stall\"]}", true),
                         0);
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_REFUSED);
        assert_non_null(strstr(f->message, "busy"));
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_module_from_outside_the_repository_is_applied_from_its_memfd(void **state) {
        static const char text[] = "{\"name\": \"outside\", \"level\": 5}";
        JobSpec *spec = spec_new(REQUEST_APPLY, NULL);
        Fixture *f = *state;
        int fd;

        tree_write(&f->tree, "module", text);
        fd = openat(f->tree.fd, "module", O_RDONLY | O_CLOEXEC);
        assert_int_equal(sealed_memfd_new_from_fd(fd, 65536, "test", &spec->module_fd), 0);
        close(fd);
        begin(f, spec);
        assert_int_equal(finish(f), TRANSACTION_DONE);
        assert_true(fake_is_enabled(f->hands, "outside"));
}

/* ---- what is done about a stall ---- */

static void test_a_stall_is_waited_for_where_the_configuration_says_so(void **state) {
        Fixture *f = *state;

        fake_hurry(f->hands, 1); /* slower than that */
        f->config.stall_action = STALL_WAIT;
        f->config.transition_timeout_usec = 50000;
        add_patch(f, "slow", "\"level\": 1, \"tags\": [\"test.slow\"]");
        assert_result(f, REQUEST_APPLY, "slow", TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load slow; enable slow");
        assert_non_null(strstr(f->edges, "stalled"));
}

static void test_a_stall_is_left_to_the_kernel_where_the_configuration_says_so(void **state) {
        Fixture *f = *state;

        f->config.stall_action = STALL_LEAVE;
        f->config.transition_timeout_usec = 50000;
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        assert_result(f, REQUEST_APPLY, "stall", TRANSACTION_FAILED);
        assert_string_equal(fake_log(f->hands), "load stall; enable stall");
        assert_true(fake_in_transition(f->hands));
        assert_non_null(strstr(f->message, "left to the kernel"));
        assert_non_null(strstr(f->message, "straggler"));
}

static void test_the_kernel_is_assisted_in_a_change_and_never_in_a_reversal(void **state) {
        Fixture *f = *state;

        f->config.transition_timeout_usec = 100000;
        add_patch(f, "one", "\"level\": 1, \"stream\": \"a\"");
        add_patch(f, "plain", "\"level\": 1, \"stream\": \"b\", \"kind\": \"plain\"");
        add_patch(f, "stall", "\"level\": 1, \"stream\": \"c\", \"tags\": [\"test.stall\"]");
        assert_result(f, REQUEST_APPLY, "one", TRANSACTION_DONE);
        assert_string_equal(fake_assisted(f->hands),
                            "enable one"); /* loading a managed one begins nothing */
        assert_result(f, REQUEST_DISABLE, "one", TRANSACTION_DONE);
        assert_string_equal(fake_assisted(f->hands), "write-0 one");
        assert_result(f, REQUEST_APPLY, "plain", TRANSACTION_DONE);
        assert_string_equal(fake_assisted(f->hands), "load plain");
        assert_result(f, REQUEST_APPLY, "stall", TRANSACTION_REVERSED);
        assert_string_equal(fake_log(f->hands), "load stall; enable stall; write-0 stall; unload stall");
        assert_string_equal(fake_assisted(f->hands), "enable stall");
}

/* ---- force ---- */

static void on_forced(int r, const char *text, void *userdata) {
        assert_true(r == 0 || r == -ECANCELED); /* the test may be over before the answer */
}

static void test_a_forced_transition_is_done_and_says_that_it_was(void **state) {
        Fixture *f = *state;

        open_wal(f);
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        assert_int_equal(transaction_force(f->transaction, "uid 0"), -EBUSY);
        until_step(f, "settle");
        assert_int_equal(transaction_force(f->transaction, "uid 0: why"), 0);
        /* Nobody reverses what has been forced. */
        assert_int_equal(transaction_cancel(f->transaction), -EALREADY);
        assert_int_equal(f->hands->vtable->force(f->hands, "stall", on_forced, f), 0);
        assert_int_equal(finish(f), TRANSACTION_DONE);
        assert_string_equal(fake_log(f->hands), "load stall; enable stall; force stall");
        assert_non_null(strstr(f->message, "by force"));
}

static void test_forced_and_interrupted_the_next_klpd_knows_and_follows(void **state) {
        Fixture *f = *state;

        open_wal(f);
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        assert_int_equal(transaction_force(f->transaction, "uid 0: why"), 0);
        assert_int_equal(f->hands->vtable->force(f->hands, "stall", on_forced, f), 0);
        assert_true(interrupt_and_recover(f));
        assert_int_equal(f->result, TRANSACTION_DONE);
        assert_non_null(strstr(f->message, "by force"));
}

static void test_forced_and_still_not_over_it_is_left_and_not_reversed(void **state) {
        Fixture *f = *state;

        f->config.transition_timeout_usec = 100000;
        add_patch(f, "stall", "\"level\": 1, \"tags\": [\"test.stall\"]");
        begin(f, spec_new(REQUEST_APPLY, "stall"));
        until_step(f, "settle");
        assert_int_equal(transaction_force(f->transaction, "uid 0: why"), 0);
        assert_int_equal(finish(f), TRANSACTION_FAILED);
        assert_string_equal(fake_log(f->hands), "load stall; enable stall");
        assert_non_null(strstr(f->message, "was forced"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_apply_loads_enables_and_says_each_edge_once),
                T(test_apply_of_what_runs_is_nothing_to_do_and_leaves_no_record),
                T(test_replace_hands_the_replaced_module_to_the_collector),
                T(test_downgrade_uses_the_loaded_module_again),
                T(test_a_level_is_as_good_as_a_name),
                T(test_disable_writes_to_sysfs),
                T(test_a_plain_patch_is_enabled_by_loading_and_loaded_afresh_each_time),
                T(test_a_slow_transition_is_waited_for),
                T(test_without_events_sysfs_tells),
                T(test_a_refusal_changes_nothing_and_names_rule_and_way_out),
                T(test_an_unknown_patch_is_no_such_patch),
                T(test_a_file_that_is_no_module_is_said_to_be_none),
                T(test_a_module_that_contradicts_its_file_is_refused_and_unloaded),
                T(test_a_module_that_does_not_register_is_unloaded),
                T(test_a_module_that_does_not_load_fails_with_the_kernels_words),
                T(test_a_callback_that_refuses_fails_the_job_and_the_module_goes),
                T(test_undo_is_patient_with_a_module_that_is_still_in_use),
                T(test_a_kernel_without_livepatch_is_unsupported),
                T(test_without_the_shim_the_rule_ready_refuses),
                T(test_nothing_is_decided_while_the_policy_is_broken),
                T(test_a_stale_plan_is_made_again),
                T(test_stale_for_ever_gives_up_and_undoes),
                T(test_cancel_before_the_transition_means_that_nothing_happens),
                T(test_cancel_while_the_module_is_loaded_unloads_it),
                T(test_cancel_in_transition_reverses_and_unloads),
                T(test_cancel_while_the_kernel_is_told_reverses_afterwards),
                T(test_cancel_while_the_kernel_is_told_and_before_its_events_reverses_too),
                T(test_past_the_deadline_it_is_reversed),
                T(test_a_disable_past_the_deadline_is_reversed),
                T(test_a_reversal_that_lost_the_race_is_brought_forward_again),
                T(test_a_lost_race_whose_disable_completed_is_enabled_again),
                T(test_a_reversal_that_stalls_too_is_reported_and_nothing_is_unloaded),
                T(test_a_reversal_whose_event_is_lost_is_no_failure_at_its_deadline),
                T(test_a_reversal_that_stalls_has_records_of_its_own_counted_from_its_beginning),
                T(test_a_stall_is_recorded_after_a_second_with_who_is_in_the_way),
                T(test_another_transition_is_refused_as_busy),
                T(test_a_module_from_outside_the_repository_is_applied_from_its_memfd),
                T(test_a_stall_is_waited_for_where_the_configuration_says_so),
                T(test_a_stall_is_left_to_the_kernel_where_the_configuration_says_so),
                T(test_the_kernel_is_assisted_in_a_change_and_never_in_a_reversal),
                T(test_a_forced_transition_is_done_and_says_that_it_was),
                T(test_forced_and_interrupted_the_next_klpd_knows_and_follows),
                T(test_forced_and_still_not_over_it_is_left_and_not_reversed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
