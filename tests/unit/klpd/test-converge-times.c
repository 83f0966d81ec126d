/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Convergence (klpd/converge.h) and time: windows, what ends, certificates that aren't valid yet, a clock that is
 * uncertain, and one that is set.
 */
#include "converge-fixture.h"

static void test_a_window_is_waited_for(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"*-*-* 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "window"));
        assert_int_equal(status(f)->until_usec, NOW + HOUR);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        f->now = NOW + HOUR + 1000000;
        converge_kick(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

static void test_a_window_that_cant_be_expanded_is_a_broken_document(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"Blursday 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, told(f, "broken"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_while_the_clock_is_uncertain_nothing_that_depends_on_time_begins(void **state) {
        Fixture *f = *state;

        f->unsynchronized = true;
        document(f, "a.json",
                 "{\"not_after\": \"2027-01-01T00:00:00Z\", \"rules\": [{\"name\": \"all\", \"level\": 1}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "clock"));
        f->unsynchronized = false;
        converge_kick(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_int_equal(f->m->converge->record.last_trusted_usec, NOW);
        /* A clock that is back where it can't be. */
        f->now = NOW - HOUR;
        document(f, "a.json",
                 "{\"not_after\": \"2027-01-01T00:00:00Z\", \"rules\": [{\"name\": \"all\", \"level\": 2}]}");
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "clock"));
        idle(f);
        assert_false(fake_is_enabled(f->hands, "p2"));
}

static void window_document(const Fixture *f, const char *windows) {
        char text[16384];

        (void) snprintf(text, sizeof(text), "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [%s]}]}",
                        windows);
        document(f, "a.json", text);
}

static bool problem_has(const Fixture *f, const char *text) {
        const FleetSource *sources;
        size_t n;

        if (!f->m->converge->loaded)
                return false;
        sources = fleet_loader_sources(f->m->converge->loader, &n);
        for (size_t i = 0; i < n; i++)
                if (sources[i].problem && strstr(sources[i].problem, text))
                        return true;
        return false;
}

static void test_a_window_beyond_a_limit_is_refused_and_the_limit_named(void **state) {
        char text[8192] = "";
        Fixture *f = *state;

        window_document(f, "{\"calendar\": \"*-*-* *:*:*\", \"duration\": \"1s\"}");
        start(f);
        UNTIL(f, problem_has(f, "128 times an hour"));
        assert_true(problem_has(f, "all: the window \"*-*-* *:*:*\" opens"));
        /* As often as that may be. */
        window_document(f, "{\"calendar\": \"*-*-* *:0/1\", \"duration\": \"30s\"}");
        UNTIL(f, status(f)->n_documents == 1 && status(f)->n_problems == 0);
        for (unsigned i = 0; i < 60; i++)
                (void) snprintf(text + strlen(text), sizeof(text) - strlen(text),
                                "%s{\"calendar\": \"Sat 01:%02u\", \"duration\": \"1h\"}", i > 0 ? ", " : "", i);
        window_document(f, text);
        UNTIL(f, fleet_set_rule(fleet_loader_set(f->m->converge->loader), 0)->n_windows == 60);
        UNTIL(f, status(f)->n_problems == 0);
        (void) snprintf(text + strlen(text), sizeof(text) - strlen(text),
                        ", {\"calendar\": \"Sun\", \"duration\": \"1h\"}, {\"calendar\": \"Sun\", \"duration\": \"2h\"}");
        document(f, "b.json",
                 "{\"rules\": [{\"name\": \"b\", \"level\": 1, \"windows\": [{\"calendar\": \"Mon\", \"duration\": \"1h\"}]}]}");
        window_document(f, text);
        UNTIL(f, status(f)->n_documents == 2 && status(f)->n_problems == 0);
        (void) snprintf(text + strlen(text), sizeof(text) - strlen(text),
                        ", {\"calendar\": \"Sun\", \"duration\": \"3h\"}, {\"calendar\": \"Sun\", \"duration\": \"4h\"}");
        {
                char rules[9000];

                (void) snprintf(rules, sizeof(rules),
                                "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [%s]}, {\"name\": \"one-more\","
                                " \"level\": 1, \"windows\": [{\"calendar\": \"Sun\", \"duration\": \"5h\"}]}]}",
                                text);
                document(f, "a.json", rules);
        }
        UNTIL(f, problem_has(f, "one-more: a document may have 64 different windows"));
        /* The one beside it isn't touched by that. */
        UNTIL(f, status(f)->n_problems == 1 && status(f)->n_documents == 2);
}

/* So many rules with 64 windows each, and one more with the rest. */
static void windows_document(const Fixture *f, unsigned n) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        assert_non_null(out);
        (void) fprintf(out, "{\"rules\": [");
        for (unsigned i = 0; i < n; i++) {
                if (i % 64 == 0)
                        (void) fprintf(out, "%s{\"name\": \"rule-%u\", \"level\": 1, \"windows\": [", i > 0 ? "]}, " : "",
                                       i / 64);
                (void) fprintf(out, "%s{\"calendar\": \"Sat 0%u:30\", \"duration\": \"1h\"}", i % 64 > 0 ? ", " : "",
                               i % 5);
        }
        (void) fprintf(out, "]}]}");
        assert_int_equal(fclose(out), 0);
        document(f, "a.json", text);
}

static void test_a_document_may_have_4096_windows_and_not_one_more(void **state) {
        Fixture *f = *state;
        const FleetDocument *d;
        size_t n;

        windows_document(f, 4096);
        start(f);
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "window"));
        assert_int_equal(status(f)->n_problems, 0);
        /* Each of them has come, with all that it has. */
        d = fleet_loader_sources(f->m->converge->loader, &n)->document;
        assert_int_equal(d->n_rules, 64);
        for (size_t i = 0; i < 64; i++) {
                assert_int_equal(d->rules[i].n_windows, 64);
                for (size_t k = 0; k < 64; k++)
                        assert_int_equal(d->rules[i].windows[k].n_intervals, 128);
        }
        windows_document(f, 4097);
        UNTIL(f, problem_has(f, "rule-64: a document may have 4096 windows at most, in all of its rules"));
        /* What was in force before still is. */
        UNTIL(f, status(f)->n_problems == 1 && status(f)->n_documents == 1);
        assert_int_equal(fleet_set_rule(fleet_loader_set(f->m->converge->loader), 63)->n_windows, 64);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_window_that_never_opens_is_waited_for_without_an_end(void **state) {
        Fixture *f = *state;

        window_document(f, "{\"calendar\": \"*-02-30 02:00\", \"duration\": \"1h\"},"
                           " {\"calendar\": \"2020-01-01\", \"duration\": \"1h\"}");
        start(f);
        UNTIL(f, phase_is(f, "waiting"));
        assert_string_equal(status(f)->reason, "window");
        assert_int_equal(status(f)->until_usec, 0);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_windows_are_looked_up_again_when_the_clock_is_set(void **state) {
        Fixture *f = *state;

        f->now = NOW - UINT64_C(2000) * 24 * HOUR; /* an empty RTC: what is known of the window ends years before */
        window_document(f, "{\"calendar\": \"*-*-* 10:00\", \"duration\": \"1h\"}");
        start(f);
        UNTIL(f, streq(status(f)->reason, "window"));
        f->now = NOW;
        converge_clock_set(f->m->converge);
        UNTIL(f, status(f)->until_usec == NOW + HOUR);
        assert_string_equal(fake_log(f->hands), "");
        f->now = NOW + HOUR;
        converge_clock_set(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

static void test_windows_are_looked_up_again_before_they_run_out(void **state) {
        FleetWindow *w;
        Fixture *f = *state;
        size_t n;

        window_document(f, "{\"calendar\": \"*-*-* *:0/1\", \"duration\": \"1s\"}");
        f->now = NOW + 30 * UINT64_C(1000000);
        start(f);
        UNTIL(f, streq(status(f)->reason, "window"));
        w = &fleet_loader_sources(f->m->converge->loader, &n)->document->rules[0].windows[0];
        assert_int_equal(w->n_intervals, 128);
        assert_true(w->more);
        /* What is known has run out while nobody looked (the host slept): from then on nothing would ever open. */
        f->now = NOW + 300 * HOUR + 30 * UINT64_C(1000000);
        converge_clock_set(f->m->converge);
        UNTIL(f, status(f)->until_usec == f->now + 30 * UINT64_C(1000000));
        w = &fleet_loader_sources(f->m->converge->loader, &n)->document->rules[0].windows[0];
        assert_true(w->intervals[127].end > f->now + HOUR);
}

static void test_a_signature_that_isnt_valid_yet_is_looked_at_again_when_it_is(void **state) {
        char signature[64];
        Fixture *f = *state;

        (void) snprintf(signature, sizeof(signature), "from %" PRIu64 " somebody", NOW + 300000);
        network_document(f, "net", signature, "{\"serial\": 1, \"rules\": [{\"name\": \"all\", \"level\": 2}]}");
        start(f);
        UNTIL(f, told(f, "refused") && status(f)->n_problems == 1);
        assert_false(status(f)->managed);
        f->now = NOW + 300000;
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_int_equal(status(f)->n_problems, 0);
}

static void test_a_signature_that_wasnt_valid_is_looked_at_again_when_the_clock_is_set(void **state) {
        char signature[64];
        Fixture *f = *state;

        tree_write(&f->tree, "etc/klpd/policy.json", "{\"require_signature\": true, \"rules\": {\"integrity\": \"off\"}}");
        f->now = NOW - 100 * HOUR;
        (void) snprintf(signature, sizeof(signature), "from %" PRIu64 " somebody", NOW);
        tree_write(&f->tree, "etc/klpd/fleet.d/a.json.p7s", signature);
        want(f, "1");
        start(f);
        UNTIL(f, phase_is(f, "refused"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        f->now = NOW;
        converge_clock_set(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && status(f)->n_problems == 0);
        /* One that seems to have expired, since the clock is wrong. */
        f->now = NOW + 100 * HOUR;
        f->unsynchronized = true;
        (void) snprintf(signature, sizeof(signature), "until %" PRIu64 " somebody", NOW + HOUR);
        tree_write(&f->tree, "etc/klpd/fleet.d/a.json.p7s", signature);
        want(f, "2");
        UNTIL(f, status(f)->n_problems == 1);
        idle(f);
        assert_false(fake_is_enabled(f->hands, "p2"));
        f->now = NOW + 1000000;
        f->unsynchronized = false;
        converge_clock_set(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_a_document_ends_with_its_signature(void **state) {
        char signature[64];
        Fixture *f = *state;

        (void) snprintf(signature, sizeof(signature), "until %" PRIu64 " somebody", NOW + 500000);
        tree_write(&f->tree, "etc/klpd/fleet.d/a.json.p7s", signature);
        want(f, "3");
        start(f);
        UNTIL(f, streq(status(f)->reason, "no-level"));
        f->now = NOW + 500000; /* nobody says so */
        UNTIL(f, streq(status(f)->reason, "expired"));
        assert_non_null(strstr(f->m->converge->message, "certificate"));
        add_patch(f, "p3", "\"level\": 3");
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        /* Whether it still is one can only be said by the clock. */
        f->now = NOW;
        f->unsynchronized = true;
        converge_clock_set(f->m->converge);
        UNTIL(f, streq(status(f)->reason, "clock"));
}

static void test_the_slot_isnt_wanted_any_more_when_the_time_for_it_is_over(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"not_after\": \"2026-11-21T09:00:01Z\", \"rules\": [{\"name\": \"all\", \"level\": 1,"
                 " \"slot\": true}]}");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        f->now = NOW + 1000000;
        UNTIL(f, streq(status(f)->reason, "expired"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_NONE);
        f->now = NOW;
        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"slot\": true, \"windows\": [{\"calendar\":"
                 " \"*-*-* 08:59:59\", \"duration\": \"2s\"}]}]}");
        UNTIL(f, phase_is(f, "slot"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_WANTED);
        f->now = NOW + 1000000;
        UNTIL(f, streq(status(f)->reason, "window"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_NONE);
        assert_string_equal(fake_log(f->hands), "");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_a_window_is_waited_for),
                T(test_a_window_that_cant_be_expanded_is_a_broken_document),
                T(test_while_the_clock_is_uncertain_nothing_that_depends_on_time_begins),
                T(test_a_window_beyond_a_limit_is_refused_and_the_limit_named),
                T(test_a_document_may_have_4096_windows_and_not_one_more),
                T(test_a_window_that_never_opens_is_waited_for_without_an_end),
                T(test_windows_are_looked_up_again_when_the_clock_is_set),
                T(test_windows_are_looked_up_again_before_they_run_out),
                T(test_a_signature_that_isnt_valid_yet_is_looked_at_again_when_it_is),
                T(test_a_signature_that_wasnt_valid_is_looked_at_again_when_the_clock_is_set),
                T(test_a_document_ends_with_its_signature),
                T(test_the_slot_isnt_wanted_any_more_when_the_time_for_it_is_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
