/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Convergence (klpd/converge.h): what the host does about what a document wants. */
#include "converge-fixture.h"

static void test_the_host_goes_up_down_and_to_nothing_as_documents_change(void **state) {
        Fixture *f = *state;

        want(f, "2");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_true(status(f)->managed && status(f)->has_level && !status(f)->drift);
        assert_int_equal(status(f)->level, 2);
        assert_int_equal(status(f)->last_success_usec, NOW);
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && !fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        want(f, "\"none\"");
        UNTIL(f, !fake_is_enabled(f->hands, "p1") && phase_is(f, "idle") && streq(status(f)->verdict, "done"));
        want(f, "\"latest\"");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_true(told(f, "converged"));
        /* Taken away: stays. */
        fake_log_clear(f->hands);
        assert_int_equal(unlinkat(f->tree.fd, "etc/klpd/fleet.d/a.json", 0), 0);
        UNTIL(f, !status(f)->managed);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_level_that_arrives_in_the_repository_is_taken(void **state) {
        Fixture *f = *state;

        want(f, "3");
        start(f);
        UNTIL(f, streq(status(f)->reason, "no-level"));
        add_patch(f, "p3", "\"level\": 3");
        UNTIL(f, fake_is_enabled(f->hands, "p3"));
}

static void test_a_level_that_arrived_before_any_document_is_taken(void **state) {
        Fixture *f = *state;

        start(f);
        UNTIL(f, f->m->converge->loaded);
        add_patch(f, "p3", "\"level\": 3");
        idle(f);
        want(f, "3");
        UNTIL(f, fake_is_enabled(f->hands, "p3"));
}

static void test_labels_and_facts_choose_the_rule(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, "etc/klpd/labels.json", "{\"role\": \"web\", \"chassis\": \"said\"}");
        document(f, "a.json",
                 "{\"rules\": ["
                 "{\"name\": \"no\", \"level\": \"none\", \"match\": {\"labels\": {\"chassis\": [\"vm\"]}}},"
                 "{\"name\": \"yes\", \"level\": 1, \"match\": {\"hostname\": [\"WEB-*\"], \"os\": [\"debian:12\"],"
                 " \"machine_id\": [\"0123456789abcdef0123456789abcdef\"],"
                 " \"labels\": {\"role\": [\"w*\"], \"chassis\": [\"said\"], \"tag.canary\": [\"*\"]}}}]}");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
        assert_string_equal(status(f)->rule, "yes");
        tree_write(&f->tree, "etc/klpd/labels.json", "{\"role\": \"db\"}"); /* noticed, too */
        UNTIL(f, streq(status(f)->rule, "no"));
        UNTIL(f, !fake_is_enabled(f->hands, "p1"));
}

static void test_what_is_decided_by_hand_counts_until_it_is_given_back(void **state) {
        _cleanup_strv_free_ char **problems = NULL;
        Fixture *f = *state;
        Failure failure = {};

        want(f, "2");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        request(f, REQUEST_DOWNGRADE, "p1");
        UNTIL(f, status(f)->overridden);
        assert_true(status(f)->drift);
        assert_true(told(f, "override"));
        assert_true(manager_problems(f->m, &problems) >= 0);
        assert_int_equal(strv_length(problems), 1);
        assert_non_null(strstr(problems[0], "Drift"));
        idle(f);
        assert_true(fake_is_enabled(f->hands, "p1"));
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_false(status(f)->overridden);
        assert_false(status(f)->drift);
}

static void test_by_hand_to_where_the_document_wants_it_is_no_override(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"*-*-* 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting"));
        request(f, REQUEST_APPLY, "p1");
        UNTIL(f, streq(status(f)->verdict, "done"));
        assert_false(status(f)->overridden);
}

static void test_a_rule_that_holds_holds_everything_and_says_so(void **state) {
        Fixture *f = *state;

        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": 2, \"hold\": \"audit until Friday\"}]}");
        start(f);
        UNTIL(f, streq(status(f)->reason, "hold-rule"));
        assert_true(told(f, "hold-rule"));
        request(f, REQUEST_APPLY, "p2");
        assert_false(fake_is_enabled(f->hands, "p2"));
        assert_int_equal(status(f)->refused_by_rule[RULE_HOLD], 1);
        want(f, "2");
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_what_failed_is_tried_again_and_then_never_for_that_document(void **state) {
        Fixture *f = *state;
        Failure failure = {};

        add_patch(f, "p3", "\"level\": 3, \"tags\": [\"test.fail\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        assert_true(status(f)->drift);
        assert_true(told(f, "retry"));
        assert_true(told(f, "failed"));
        assert_int_equal(status(f)->n_failed, 2); /* FleetTries= */
        fake_log_clear(f->hands);
        /* Not by another klpd either. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        /* An operator says so. */
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, status(f)->n_failed == 2);
        UNTIL(f, phase_is(f, "failed"));
        /* Another document, too. */
        want(f, "2");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
}

/* A timer that counts from when the loop woke up would come before its time, be sent away, and not come again. */
static void test_a_retry_comes_also_where_the_loop_is_behind(void **state) {
        Fixture *f = *state;

        add_patch(f, "p3", "\"level\": 3, \"tags\": [\"test.fail\"]");
        want(f, "3");
        tree_write(&f->tree, "etc/klpd/klpd.conf", "[Manager]\nProbationSec=0\nFleetRetrySec=300ms\nFleetTries=2\n");
        f->slow = true;
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        assert_true(told(f, "retry"));
        assert_int_equal(status(f)->n_failed, 2);
}

static void test_what_somebody_takes_back_is_not_brought_about_for_ever(void **state) {
        Fixture *f = *state;
        unsigned n = 0;

        want(f, "1");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        for (; n < 10 && !phase_is(f, "failed"); n++) {
                /* Behind klpd's back: the same kernel, another klpd that finds nothing enabled. */
                f->m = manager_free(f->m);
                f->event = sd_event_unref(f->event);
                start(f);
                UNTIL(f, phase_is(f, "idle") || phase_is(f, "failed"));
        }
        assert_true(phase_is(f, "failed"));
        assert_int_equal(n, 2);
}

static void test_a_refusal_is_said_with_its_rules_and_asked_again_when_something_changed(void **state) {
        Fixture *f = *state;

        add_patch(f, "p3", "\"level\": 3, \"conflicts\": [\"tag:never\"], \"requires\": [\"acme/base>=1\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "refused"));
        assert_true(told(f, "policy"));
        assert_true(status(f)->drift);
        assert_true(strv_contains(f->m->converge->refused_rules, "requires"));
        assert_int_equal(status(f)->n_failed, 0);
        idle(f);
        assert_int_equal(status(f)->refused_by_rule[RULE_REQUIRES], 1); /* asked once */
        add_patch(f, "p3", "\"level\": 3");
        UNTIL(f, fake_is_enabled(f->hands, "p3"));
}

static void test_a_goal_is_reached_over_an_intermediate_where_the_rule_names_one(void **state) {
        Fixture *f = *state;

        add_patch(f, "step", "\"level\": 2, \"stream\": \"other\", \"tags\": [\"half-way\"], \"cumulative\": false");
        add_patch(f, "p3", "\"level\": 3, \"requires\": [\"tag:half-way\"], \"cumulative\": false");
        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 3, \"intermediates\": [\"nonexistent\", \"step\"]}]}");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p3") && phase_is(f, "idle"));
        assert_true(fake_is_enabled(f->hands, "step"));
}

static void test_a_digest_that_a_document_pins_is_held_to(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"levels\": [{\"kernel\": \"*\", \"level\": 1, \"digest\": "
                 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}],"
                 " \"rules\": [{\"name\": \"all\", \"level\": 1}]}");
        start(f);
        UNTIL(f, streq(status(f)->reason, "no-level"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_quarantine_meets_the_desired_level(void **state) {
        const RepositoryEntry *entry;
        Fixture *f = *state;
        Failure failure = {};
        char digest[65];

        start(f);
        UNTIL(f, f->m->converge->loaded && (entry = repository_find(f->m->repository, "p2")));
        (void) snprintf(digest, sizeof(digest), "%s", entry->patch->digest);
        assert_int_equal(probation_quarantine(f->m->probation, digest, "p2", "test"), 0);
        want(f, "2");
        UNTIL(f, streq(status(f)->reason, "quarantine"));
        assert_true(status(f)->drift);
        /* latest goes past it */
        want(f, "\"latest\"");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_false(status(f)->drift);
        assert_int_equal(probation_unquarantine(f->m->probation, "p2", 0, &failure), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_a_change_waits_for_its_slot_and_gives_it_back(void **state) {
        Fixture *f = *state;
        char token[SLOT_TOKEN_MAX + 1];

        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"slot\": true}]}");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_WANTED);
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_true(*token);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_int_equal(converge_grant(f->m->converge, "another"), -ENOENT);
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_string_equal(converge_slot_wanted(f->m->converge), "");
        assert_int_equal(converge_grant(f->m->converge, token), -ENOENT);
        /* By hand needs none. */
        request(f, REQUEST_APPLY, "p2");
        assert_true(fake_is_enabled(f->hands, "p2"));
}

static void test_a_slot_is_kept_by_a_host_that_failed(void **state) {
        Fixture *f = *state;
        Failure failure = {};
        char token[SLOT_TOKEN_MAX + 1];

        tree_write(&f->tree, "etc/klpd/klpd.conf",
                   "[Manager]\nProbationSec=0\nFleetRetrySec=1ms\nFleetTries=2\nFleetSlot=yes\n");
        add_patch(f, "p3", "\"level\": 3, \"tags\": [\"test.fail\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, phase_is(f, "failed"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        /* Given back by an operator: what was granted before counts no more. */
        fake_log_clear(f->hands);
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, phase_is(f, "slot"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_string_not_equal(converge_slot_wanted(f->m->converge), token);
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, phase_is(f, "failed"));
        /* Also by the next klpd. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
        want(f, "2"); /* another document: with the same slot, once it is known to be there */
        UNTIL(f, phase_is(f, "slot"));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_string_equal(converge_slot_wanted(f->m->converge), "");
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
}

static void test_a_crash_on_trial_is_a_failure_that_keeps_the_slot(void **state) {
        Fixture *f = *state;
        char token[SLOT_TOKEN_MAX + 1];

        tree_write(&f->tree, "etc/klpd/klpd.conf", "[Manager]\nProbationSec=600\nFleetSlot=yes\n");
        want(f, "2");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "probation"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_HELD);
        assert_int_equal(status(f)->last_success_usec, 0);
        /* Killed, in the same boot: nothing is known yet, and the slot stays. (This kernel forgets what was
         * enabled, so it is tried once more, when the slot is known to be there.) */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "probation"));
        /* The host crashes. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", "two");
        start(f);
        UNTIL(f, streq(status(f)->reason, "quarantine") && told(f, "failed"));
        assert_true(status(f)->drift);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
}

static void test_describe_is_json_with_the_reason_for_it(void **state) {
        _cleanup_free_ char *text = NULL;
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"levels\": [{\"kernel\": \"*\", \"level\": 2, \"fixes\": [\"CVE-2026-0107\"]}], \"rules\": ["
                 "{\"name\": \"others\", \"level\": 1, \"match\": {\"hostname\": [\"db-*\"]}},"
                 "{\"name\": \"web\", \"level\": 2, \"hold\": \"audit\"}]}");
        start(f);
        UNTIL(f, streq(status(f)->rule, "web"));
        assert_int_equal(converge_describe(f->m->converge, &text), 0);
        assert_non_null(strstr(text, "\"reason\":\"hold-rule\""));
        assert_non_null(strstr(text, "\"open_fixes\":[\"CVE-2026-0107\"]"));
        assert_non_null(strstr(text, "\"why\":\"hostname\""));
        assert_non_null(strstr(text, "\"label\":\"tag.blue\""));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_the_host_goes_up_down_and_to_nothing_as_documents_change),
                T(test_a_level_that_arrives_in_the_repository_is_taken),
                T(test_a_level_that_arrived_before_any_document_is_taken),
                T(test_labels_and_facts_choose_the_rule),
                T(test_what_is_decided_by_hand_counts_until_it_is_given_back),
                T(test_by_hand_to_where_the_document_wants_it_is_no_override),
                T(test_a_rule_that_holds_holds_everything_and_says_so),
                T(test_what_failed_is_tried_again_and_then_never_for_that_document),
                T(test_a_retry_comes_also_where_the_loop_is_behind),
                T(test_what_somebody_takes_back_is_not_brought_about_for_ever),
                T(test_a_refusal_is_said_with_its_rules_and_asked_again_when_something_changed),
                T(test_a_goal_is_reached_over_an_intermediate_where_the_rule_names_one),
                T(test_a_digest_that_a_document_pins_is_held_to),
                T(test_quarantine_meets_the_desired_level),
                T(test_a_change_waits_for_its_slot_and_gives_it_back),
                T(test_a_slot_is_kept_by_a_host_that_failed),
                T(test_a_crash_on_trial_is_a_failure_that_keeps_the_slot),
                T(test_describe_is_json_with_the_reason_for_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
