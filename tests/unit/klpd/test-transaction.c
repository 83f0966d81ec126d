/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every way through a transaction, with hands that play a kernel (fake-hands.h). */
#include "test-util.h"

#include <sys/utsname.h>

#include "fake-hands.h"
#include "klpd/inspect-client.h"
#include "klpd/transaction.h"
#include "policy/json.h"

#define MAX_RECORDS 64U

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Repository *repository;
        Audit *audit;
        Config config;
        World world;
        Transaction *transaction;
        bool finished;
        TransactionResult result;
        Wal *wal;
        char error[64], message[2048];
        char edges[MAX_RECORDS * 24];
        char retired[512];
        struct utsname uts;
        /* health: what it is answered with, from the event loop; 0 well, 1 never answered */
        int health;
        unsigned n_asked;
        char condemned[128];
        sd_event_source *answer;
} Fixture;

/* Keeps the edges in order: "job-started loaded preparing …". */
static int keep_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;

        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].iov_len > 10 && memcmp(fields[i].iov_base, "KLPD_EDGE=", 10) == 0) {
                        size_t n = strlen(f->edges);

                        (void) snprintf(f->edges + n, sizeof(f->edges) - n, "%s%.*s", n > 0 ? " " : "",
                                        (int) fields[i].iov_len - 10,
                                        (const char *) fields[i].iov_base + 10);
                }
        return 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        assert_int_equal(uname(&f->uts), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, f->uts.release, &f->hands), 0);
        assert_int_equal(repository_new(f->event, f->hands, f->tree.fd, f->uts.release, &f->repository), 0);
        assert_int_equal(audit_new(keep_record, f, &f->audit), 0);
        config_init(&f->config);
        f->world = (World){
                        .event = f->event,
                        .hands = f->hands,
                        .repository = f->repository,
                        .audit = f->audit,
                        .config = &f->config,
        };
        *state = f;
        return 0;
}

static void on_event(const ShimEvent *event, void *userdata) {
        Fixture *f = userdata;

        if (f->transaction)
                transaction_event(f->transaction, event);
}

static int teardown(void **state) {
        Fixture *f = *state;

        if (f->transaction)
                transaction_abandon(f->transaction);
        sd_event_source_disable_unref(f->answer);
        config_done(&f->config);
        transaction_unref(f->transaction);
        repository_free(f->repository);
        hands_free(f->hands);
        audit_free(f->audit);
        wal_free(f->wal);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

static void add_patch(Fixture *f, const char *name, const char *rest) {
        char path[256], text[1024];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/%s.ko", f->uts.release, name);
        (void) snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kernel\": \"%s\"%s%s}", name,
                        f->uts.release, *rest ? ", " : "", rest);
        tree_write(&f->tree, path, text);
}

static void on_finished(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        assert_false(f->finished);
        f->finished = true;
        f->result = t->result;
        (void) snprintf(f->error, sizeof(f->error), "%s", t->failure.name ?: "");
        (void) snprintf(f->message, sizeof(f->message), "%s", failure_message(&t->failure));
}

static void on_retire(Transaction *t, const char *module, void *userdata) {
        Fixture *f = userdata;
        size_t n = strlen(f->retired);

        (void) snprintf(f->retired + n, sizeof(f->retired) - n, "%s%s", n > 0 ? " " : "", module);
}

static int on_answer(sd_event_source *source, void *userdata) {
        Fixture *f = userdata;

        f->answer = sd_event_source_disable_unref(f->answer);
        transaction_health_done(f->transaction, f->health,
                                f->health < 0 ? "unit 'x.service' failed" : "1 check passed");
        return 0;
}

static int on_check_health(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        f->n_asked++;
        return f->health == 1 ? 0 : sd_event_add_defer(f->event, &f->answer, on_answer, f);
}

static void on_stop_health(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        f->answer = sd_event_source_disable_unref(f->answer);
}

static void on_condemned(Transaction *t, void *userdata) {
        Fixture *f = userdata;

        (void) snprintf(f->condemned, sizeof(f->condemned), "%s", t->name);
}

static TransactionHandlers handlers_of(Fixture *f) {
        return (TransactionHandlers) {
                .finished = on_finished,
                .retire = on_retire,
                .check_health = on_check_health,
                .stop_health = on_stop_health,
                .condemned = on_condemned,
                .userdata = f,
        };
}

static JobSpec *spec_new(RequestKind kind, const char *patch) {
        JobSpec *s;

        assert_int_equal(job_spec_new(kind, &s), 0);
        if (patch)
                assert_int_equal(job_spec_set_patch(s, patch, NULL), 0);
        s->uid = 0;
        return s;
}

static void begin(Fixture *f, JobSpec *spec) {
        const TransactionHandlers handlers = handlers_of(f);

        f->hands->vtable->listen(f->hands, &(HandsListener) { .event = on_event, .userdata = f });
        f->transaction = transaction_unref(f->transaction);
        f->finished = false;
        f->edges[0] = f->retired[0] = 0;
        fake_log_clear(f->hands);
        assert_int_equal(transaction_new(&f->world, &handlers, spec, 1, &f->transaction), 0);
        assert_int_equal(transaction_start(f->transaction), 0);
}

static TransactionResult finish(Fixture *f) {
        loop_until(f->event, &f->finished);
        if (f->result == TRANSACTION_FAILED)
                print_message("failed: %s\n", f->message);
        return f->result;
}

static TransactionResult request(Fixture *f, RequestKind kind, const char *patch) {
        begin(f, spec_new(kind, patch));
        return finish(f);
}

static void until_step(Fixture *f, const char *step) {
        for (unsigned i = 0; i < 1000 && !f->finished && !streq(transaction_step_name(f->transaction), step);
             i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_string_equal(transaction_step_name(f->transaction), step);
}

#define assert_result(f, kind, patch, want)                                                                 \
        assert_string_equal(transaction_result_to_string(request(f, kind, patch)),                          \
                            transaction_result_to_string(want))

/* ---- done
 * --------------------------------------------------------------------------------------------------------
 */

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
        assert_true(f->transaction->transition_end_usec - f->transaction->transition_start_usec >= 250000);
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

static void test_a_stall_is_recorded_after_a_second_with_who_is_in_the_way(void **state) {
        Fixture *f = *state;

        add_patch(f, "stall", "\"tags\": [\"test.stall\"]");
        assert_int_equal(request_with_timeout(f, REQUEST_APPLY, "stall", 1200000), TRANSACTION_REVERSED);
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

/* ---- interrupted ---- */

static void open_wal(Fixture *f) {
        f->wal = wal_free(f->wal);
        assert_int_equal(wal_open(f->tree.fd, "log", &f->wal), 0);
        assert_null(wal_problem(f->wal));
        f->world.wal = f->wal;
        (void) snprintf(f->world.boot_id, sizeof(f->world.boot_id), "0123456789abcdef0123456789abcdef");
}

/* klpd is gone in this very moment, whatever was under way in the kernel goes on; a new one reads the log.
 * False: it had nothing to take up. */
static bool interrupt_and_recover(Fixture *f) {
        const TransactionHandlers handlers = handlers_of(f);
        _cleanup_(transaction_record_done) TransactionRecord record = {};
        const WalRecord *last;

        transaction_abandon(f->transaction);
        f->answer = sd_event_source_disable_unref(f->answer);
        f->transaction = transaction_unref(f->transaction);
        open_wal(f);
        last = wal_last_state(f->wal);
        if (!last)
                return false;
        assert_int_equal(transaction_record_parse(last->bytes, last->size, &record), 0);
        if (record.over)
                return false;
        f->finished = false;
        f->edges[0] = f->retired[0] = 0;
        fake_log_clear(f->hands);
        assert_int_equal(transaction_new_recovered(&f->world, &handlers, &record, &f->transaction), 0);
        assert_int_equal(transaction_start(f->transaction), 0);
        loop_until(f->event, &f->finished);
        last = wal_last_state(f->wal);
        assert_non_null(memmem(last->bytes, last->size, "\nover=1\n", 8));
        return true;
}

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
                const TransactionHandlers handlers = { .finished = on_finished, .userdata = f };
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

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
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
                T(test_a_stall_is_recorded_after_a_second_with_who_is_in_the_way),
                T(test_another_transition_is_refused_as_busy),
                T(test_a_module_from_outside_the_repository_is_applied_from_its_memfd),
                T(test_a_stall_is_waited_for_where_the_configuration_says_so),
                T(test_a_stall_is_left_to_the_kernel_where_the_configuration_says_so),
                T(test_interrupted_anywhere_the_old_or_the_new_is_in_force_afterwards),
                T(test_a_recovered_stall_is_reversed_at_its_deadline),
                T(test_a_reversal_that_was_decided_is_made_by_the_next_klpd),
                T(test_after_a_restart_of_the_host_nothing_is_done),
                T(test_a_host_that_is_well_keeps_the_patch),
                T(test_a_patch_that_makes_the_host_ill_is_disabled_if_it_had_replaced_nothing),
                T(test_otherwise_by_what_it_had_replaced_in_one_step),
                T(test_where_a_state_forbids_going_back_it_stays_and_that_is_said),
                T(test_where_no_single_change_leads_back_it_stays_too),
                T(test_cancel_during_the_health_check_takes_back_without_blame),
                T(test_nobody_who_answers_means_not_well),
                T(test_a_host_that_is_shut_down_says_nothing_about_the_patch),
                T(test_interrupted_anywhere_on_the_way_back_it_is_gone_afterwards),
                T(test_what_is_rejected_is_taken_back_and_recorded_before_it_begins),
                T(test_the_kernel_is_assisted_in_a_change_and_never_in_a_reversal),
                T(test_a_forced_transition_is_done_and_says_that_it_was),
                T(test_forced_and_interrupted_the_next_klpd_knows_and_follows),
                T(test_forced_and_still_not_over_it_is_left_and_not_reversed),
                T(test_what_cannot_be_recorded_is_not_begun),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
