/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a fleet document may say and what not, with the key that the error names; the notations of time; the
 * output of systemd's calendar tool; globs; and lines of inventories.
 */
#include "tests/unit/policy/fleet-util.h"

typedef struct Refusal {
        const char *text, *key, *message; /* message: a part of it */
} Refusal;

#define RULE(members) "{\"rules\":[{\"name\":\"r\"," members "}]}"
#define WAVES(members) RULE("\"level\":1,\"waves\":[" members "]")
#define DEEP(inside) "{\"any\":[{\"any\":[{\"any\":[{\"any\":[" inside "]}]}]}]}"

static const Refusal refusals[] = {
                {"[]", "", "an object is needed here"},
                {"{\"rules\":[]}", "rules", "an empty list"},
                {"{\"rule\":[]}", "rule", "unknown key"},
                {"{\"serial\":1,\"serial\":2}", "serial", "twice"},
                {"{\"serial\":-1}", "serial", "must be from 0"},
                {"{\"serial\":18446744073709551616}", "serial", "out of range"},
                {"{\"serial\":1.5}", "serial", "whole numbers"},
                {"{\"name\":\"a\xff\"}", "name", "UTF-8"},
                {"{\"not_after\":\"2026-02-29T00:00:00Z\"}", "not_after", "a time in UTC"},
                {RULE("\"description\":\"x\""), "rules[0]", "the rule wants nothing"},
                {RULE("\"level\":0"), "rules[0].level", "levels start at 1"},
                {RULE("\"level\":\"highest\""), "rules[0].level", "\"latest\" or \"none\""},
                {RULE("\"level\":1,\"at_least\":2"), "rules[0].at_least", "not both"},
                {RULE("\"at_least\":2,\"level\":1"), "rules[0].level", "not both"},
                {RULE("\"level\":3,\"blocked\":[2,3]"), "rules[0]", "blocks the level that it wants"},
                {RULE("\"level\":1,\"rollout\":101"), "rules[0].rollout", "must be from 0 to 100"},
                {RULE("\"level\":1,\"stream\":\"base\""), "rules[0].stream", "VENDOR/STREAM"},
                {RULE("\"level\":1,\"splay\":\"5 parsecs\""), "rules[0].splay", "a time span"},
                {RULE("\"level\":1,\"match\":{\"hostname\":[]}"), "rules[0].match.hostname",
                 "an empty list"},
                {RULE("\"level\":1,\"match\":{\"hostname\":\"web\"}"), "rules[0].match.hostname",
                 "an array"},
                {RULE("\"level\":1,\"match\":{\"machine_id\":[\"xyz\"]}"), "rules[0].match.machine_id",
                 "32 lower-case"},
                {RULE("\"level\":1,\"match\":{\"labels\":{}}"), "rules[0].match.labels",
                 "leave the key out"},
                {RULE("\"level\":1,\"match\":{\"labels\":{\"a b\":[\"x\"]}}"), "rules[0].match.labels.a b",
                 "name of a label"},
                {RULE("\"level\":1,\"match\":{\"labels\":{\"a\":[\"\"]}}"), "rules[0].match.labels.a[0]",
                 "1 to 255 bytes"},
                {RULE("\"level\":1,\"match\":" DEEP(DEEP("{}"))), "", "nest more than 8 deep"},
                {RULE("\"level\":1,\"windows\":[{\"calendar\":\"Sat\"}]"), "rules[0].windows[0]",
                 "\"duration\" is missing"},
                {RULE("\"level\":1,\"windows\":[{\"calendar\":\"Sat; rm\",\"duration\":\"1h\"}]"),
                 "rules[0].windows[0].calendar", "a calendar event"},
                {RULE("\"level\":1,\"windows\":[{\"calendar\":\"--help\",\"duration\":\"1h\"}]"),
                 "rules[0].windows[0].calendar", "a calendar event"},
                {RULE("\"level\":1,\"windows\":[{\"calendar\":\"Sat\",\"duration\":\"1h\",\"timezone\":\"../"
                      "x\"}]"),
                 "rules[0].windows[0].timezone", "a time zone"},
                {RULE("\"level\":1,\"windows\":[{\"calendar\":\"Sat\",\"duration\":\"10ms\"}]"),
                 "rules[0].windows[0].duration", "at least a second"},
                {WAVES("{\"percent\":5}"), "rules[0].waves[0]", "the first wave needs \"opens\""},
                {WAVES("{\"opens\":\"2026-01-01T00:00:00Z\",\"soak\":\"1d\"},{\"opens\":\"2026-01-01T23:59:"
                       "59Z\"}"),
                 "rules[0].waves[1]", "soaks until 2026-01-02T00:00:00Z"},
                {WAVES("{\"percent\":5,\"opens\":\"2026-01-01T00:00:00Z\"},{\"percent\":4}"),
                 "rules[0].waves[1]", "can't be less than theirs (5)"},
                {"{\"rules\":[{\"name\":\"r\",\"level\":1},{\"name\":\"r\",\"level\":2}]}", "rules",
                 "two rules are called \"r\""},
                {"{\"levels\":[{\"kernel\":\"k\",\"level\":1},{\"kernel\":\"k\",\"level\":1}]}", "levels",
                 "is there twice"},
                {"{\"levels\":[{\"kernel\":\"k\",\"level\":1,\"digest\":\"ab\"}]}", "levels[0].digest",
                 "64 lower-case"},
                {"{\"blocked\":[{\"stream\":\"a/b\"}]}", "blocked[0]", "\"level\" is missing"},
};

static void test_what_a_document_can_not_say_is_refused_with_its_key(void **arg) {
        for (unsigned i = 0; i < ELEMENTSOF(refusals); i++) {
                FleetDocument *d = NULL;
                PolicyError error = {};

                print_message("%s\n", refusals[i].text);
                assert_int_equal(
                                fleet_document_parse(refusals[i].text, strlen(refusals[i].text), &d, &error),
                                -EBADMSG);
                assert_null(d);
                assert_non_null(strstr(error.message, refusals[i].message));
                assert_int_equal(error.line, 1);
                if (*refusals[i].key)
                        assert_string_equal(error.key, refusals[i].key);
        }
}

/* The neighbours of what is refused above. */
static void test_what_it_can_say_is_accepted(void **arg) {
        static const char *const accepted[] = {
                        "{}",
                        "{\"serial\":18446744073709551615,\"not_after\":\"2028-02-29T00:00:00Z\"}",
                        RULE("\"hold\":\"x\""),
                        RULE("\"level\":4294967295,\"blocked\":[2,3]"),
                        RULE("\"level\":1,\"match\":" DEEP("{\"not\":[{\"any\":[{}]}]}")),
                        WAVES("{\"opens\":\"2026-01-01T00:00:00Z\",\"soak\":\"1d\"},{\"opens\":\"2026-01-"
                              "02T00:00:00Z\"}"),
                        WAVES("{\"percent\":5,\"opens\":\"2026-01-01T00:00:00Z\"},{\"percent\":5}"),
                        ("{\"levels\":[{\"kernel\":\"k\",\"level\":1},{\"kernel\":\"k\",\"level\":1,"
                         "\"stream\":\"a/b\"}]}"),
        };

        for (unsigned i = 0; i < ELEMENTSOF(accepted); i++)
                fleet_document_free(fleet_read(accepted[i]));
}

static void test_times(void **arg) {
        static const struct {
                const char *text;
                uint64_t sec; /* 0: refused */
        } times[] = {
                        {"2026-11-21T12:00:00Z", 1795262400}, {"2024-02-29T23:59:59Z", 1709251199},
                        {"2000-03-01T00:00:00Z", 951868800},  {"9999-12-31T23:59:59Z", 253402300799},
                        {"1970-01-01T00:00:01Z", 1},          {"1970-01-01T00:00:00Z", 0},
                        {"2026-11-21T12:00:00", 0},           {"2026-11-21 12:00:00Z", 0},
                        {"2026-11-21T12:00:00+01:00", 0},     {"2026-11-31T12:00:00Z", 0},
                        {"2100-02-29T12:00:00Z", 0},          {"2026-00-01T12:00:00Z", 0},
                        {"2026-13-01T12:00:00Z", 0},          {"2026-11-21T24:00:00Z", 0},
                        {"2026-11-21T12:60:00Z", 0},          {"2026-11-21T12:00:60Z", 0},
        };
        char buf[40];

        for (unsigned i = 0; i < ELEMENTSOF(times); i++) {
                uint64_t t = 0;

                assert_int_equal(fleet_parse_timestamp(times[i].text, &t), times[i].sec > 0 ? 0 : -EINVAL);
                assert_int_equal(t, times[i].sec * FLEET_USEC_PER_SEC);
                if (t > 0)
                        assert_string_equal(fleet_format_timestamp(t, buf, sizeof(buf)), times[i].text);
        }
        /* every day of four hundred years, once around the calendar */
        for (uint64_t day = 1; day < 146097; day++) {
                uint64_t t = day * 86400 * FLEET_USEC_PER_SEC, back = 0;

                assert_int_equal(fleet_parse_timestamp(fleet_format_timestamp(t, buf, sizeof(buf)), &back),
                                 0);
                assert_int_equal(t, back);
        }
}

static void test_spans(void **arg) {
        static const struct {
                const char *text;
                int64_t usec; /* or -errno */
        } spans[] = {
                        {"90", 90000000},
                        {"90s", 90000000},
                        {"2h 30min", 9000000000},
                        {"1.5h", 5400000000},
                        {"2m", 120000000},
                        {"2M", 5259600000000},
                        {"1w", 604800000000},
                        {"500ms", 500000},
                        {"3 us", 3},
                        {"1d12h", 129600000000},
                        {"1day 2hours", 93600000000},
                        {" 5 ", 5000000},
                        {"0", 0},
                        {"", -EINVAL},
                        {"h", -EINVAL},
                        {"5x", -EINVAL},
                        {"-5", -EINVAL},
                        {"5.", -EINVAL},
                        {"1e3", -EINVAL},
                        {"9999999999999999", -ERANGE},
                        {"9000y", -ERANGE},
        };

        for (unsigned i = 0; i < ELEMENTSOF(spans); i++) {
                uint64_t t = 0;
                int r = fleet_parse_span(spans[i].text, &t);

                print_message("%s\n", spans[i].text);
                assert_int_equal(r < 0 ? r : (int64_t) t, spans[i].usec);
        }
}

static void test_output_of_the_calendar_tool(void **arg) {
        static const char old[] = "  Original form: Sat 02:00 Europe/Berlin\n"
                                  "Normalized form: Sat *-*-* 02:00:00 Europe/Berlin\n"
                                  "    Next elapse: Sat 2026-11-21 01:00:00 UTC\n"
                                  "       From now: 14h ago\n"
                                  "       Iter. #2: Sat 2026-11-28 01:00:00 UTC\n"
                                  "       From now: 6 days left\n";
        static const char new[] = "    Next elapse: Sat 2026-11-21 01:00:00 UTC\n"
                                  "   Iteration #2: Sat 2026-11-28 01:00:00 UTC\n";
        static const char never[] = "Normalized form: x\n    Next elapse: never\n";
        static const char twice[] = "Next elapse: Sat 2026-11-21 01:00:00 UTC\n"
                                    "Iter. #2: Sat 2026-11-21 01:00:00 UTC\n";
        static const char *const bad[] = {"", "hello\n", "Next elapse: Sat 2026-11-21 01:00:00 CET\n",
                                          twice};
        uint64_t begins[4];
        size_t n;

        for (unsigned i = 0; i < 2; i++) {
                const char *text = i == 0 ? old : new;

                assert_int_equal(fleet_calendar_parse(text, strlen(text), begins, 4, &n), 0);
                assert_int_equal(n, 2);
                assert_int_equal(begins[0], fleet_time("2026-11-21T01:00:00Z"));
                assert_int_equal(begins[1], fleet_time("2026-11-28T01:00:00Z"));
        }
        assert_int_equal(fleet_calendar_parse(old, strlen(old), begins, 1, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(fleet_calendar_parse(never, strlen(never), begins, 4, &n), 0);
        assert_int_equal(n, 0);
        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(fleet_calendar_parse(bad[i], strlen(bad[i]), begins, 4, &n), -EBADMSG);
}

static void test_windows_are_sorted_and_joined(void **arg) {
        static const FleetInterval given[] = {{50, 60}, {10, 20}, {20, 30}, {55, 58}, {40, 40}, {70, 65}};
        FleetWindow w = {};

        assert_int_equal(fleet_window_set_intervals(&w, given, ELEMENTSOF(given)), 0);
        assert_int_equal(w.n_intervals, 2);
        assert_int_equal(w.intervals[0].begin, 10);
        assert_int_equal(w.intervals[0].end, 30);
        assert_int_equal(w.intervals[1].begin, 50);
        assert_int_equal(w.intervals[1].end, 60);
        free(w.intervals);
}

static void test_globs(void **arg) {
        static const struct {
                const char *pattern, *text;
                bool match;
        } globs[] = {
                        {"", "", true},
                        {"*", "", true},
                        {"*", "abc", true},
                        {"?", "", false},
                        {"?", "a", true},
                        {"a?c", "abc", true},
                        {"a*c", "abbbc", true},
                        {"a*c", "abbbd", false},
                        {"*a*b*", "xxaxxbxx", true},
                        {"*a*b", "xxaxxbxx", false},
                        {"[a-c]x", "bx", true},
                        {"[a-c]x", "dx", false},
                        {"[!a-c]x", "dx", true},
                        {"[^a-c]x", "ax", false},
                        {"[]]", "]", true},
                        {"[a-]", "-", true},
                        {"[a", "[a", true},
                        {"[a", "a", false},
                        {"web-*.example.org", "web-1.example.org", true},
                        {"web-*.example.org", "web-1.example.com", false},
                        {"6.1.0-*", "6.1.0-47-amd64", true},
                        {"6.1.0-*", "6.12.0-47", false},
                        {"ABC", "abc", false},
        };
        char star[201], text[256];

        for (unsigned i = 0; i < ELEMENTSOF(globs); i++) {
                print_message("%s %s\n", globs[i].pattern, globs[i].text);
                assert_int_equal(fleet_glob_match(FLEET_SLICE(globs[i].pattern), FLEET_SLICE(globs[i].text),
                                                  false),
                                 globs[i].match);
        }
        assert_true(fleet_glob_match(FLEET_SLICE("ABC*"), FLEET_SLICE("abCd"), true));
        assert_false(fleet_glob_match(FLEET_SLICE("*"), (FleetSlice){}, false)); /* not known */

        /* many stars cost length times length, not 2^100 */
        for (unsigned i = 0; i < 200; i++)
                star[i] = i % 2 ? 'a' : '*';
        star[199] = 'b';
        star[200] = 0;
        memset(text, 'a', 255);
        text[255] = 0;
        assert_false(fleet_glob_match(FLEET_SLICE(star), FLEET_SLICE(text), false));
}

#define HOST(members) "{\"hostname\":\"a\"," members "\"inventory\":{\"kernel\":\"k\"}}"

static void test_what_a_line_can_not_say_is_refused(void **arg) {
        static const Refusal lines[] = {
                        {"", "", "an object"},
                        {"{}", "", "\"hostname\" is missing"},
                        {"{\"hostname\":\"a\"}", "", "\"inventory\" is missing"},
                        {HOST("") "x", "", "follows"},
                        {HOST("\"hostname\":\"b\","), "hostname", "twice"},
                        {HOST("\"x\":1,"), "x", "unknown key"},
                        {HOST("\"labels\":{\"a\":\"1\",\"a\":\"2\"},"), "labels.a", "twice"},
                        {HOST("\"labels\":{\"a\":\"\\u0007\"},"), "labels.a", "control character"},
                        {HOST("\"labels\":{\"a\":\"\\u0000\"},"), "labels.a", "NUL"},
                        {HOST("\"labels\":{\"a\":\"\\ud800\"},"), "labels.a", "lone surrogate"},
                        {HOST("\"labels\":{\"a\":\"\xc0\x80\"},"), "labels.a", "UTF-8"},
                        {HOST("\"host_id\":\"0123\","), "host_id", "32 lower-case"},
                        {HOST("\"mode\":\"maybe\","), "mode", "\"on\" or \"off\""},
                        {HOST("\"override\":\"base\","), "override", "VENDOR/STREAM"},
                        {HOST("\"goal_since\":\"today\","), "goal_since", "a time in UTC"},
                        {HOST("\"available\":[{\"level\":4294967296}],"), "available.level",
                         "0 to 4294967295"},
                        {"{\"hostname\":\"a b\",\"inventory\":{\"kernel\":\"k\"}}", "hostname",
                         "not the name of a host"},
                        {"{\"hostname\":\"a\",\"inventory\":{\"kernel\":\"k\",\"patches\":[{\"level\":1}]}}",
                         "inventory.patches", "\"name\" is missing"},
                        {"{\"hostname\":\"a\",\"inventory\":{\"kernel\":\"k\",\"loaded\":[{\"a\":1,\"a\":1}]"
                         "}}",
                         "inventory.loaded.a", "twice"},
        };
        _cleanup_(fleet_host_parser_freep) FleetHostParser *p = NULL;
        const FleetHost *host;

        assert_int_equal(fleet_host_parser_new(&p), 0);
        for (unsigned i = 0; i < ELEMENTSOF(lines); i++) {
                PolicyError error = {};

                print_message("%s\n", lines[i].text);
                assert_int_equal(fleet_host_parser_line(p, lines[i].text, strlen(lines[i].text), &host,
                                                        &error),
                                 -EBADMSG);
                assert_string_equal(error.key, lines[i].key);
                assert_non_null(strstr(error.message, lines[i].message));
        }
}

static void test_escapes_in_a_line_are_read(void **arg) {
        static const char line[] =
                        HOST("\"labels\":{\"a\":\"x\\u00e4\\ud83d\\ude00\\/\\\"\",\"b\":\"plain\"},");
        _cleanup_(fleet_host_parser_freep) FleetHostParser *p = NULL;
        const FleetHost *host;

        assert_int_equal(fleet_host_parser_new(&p), 0);
        assert_int_equal(fleet_host_parser_line(p, line, strlen(line), &host, NULL), 0);
        assert_int_equal(host->n_labels, 2);
        assert_int_equal(host->labels[0].value.n, strlen("x\xc3\xa4\xf0\x9f\x98\x80/\""));
        assert_memory_equal(host->labels[0].value.s, "x\xc3\xa4\xf0\x9f\x98\x80/\"",
                            host->labels[0].value.n);
        assert_memory_equal(host->labels[1].value.s, "plain", 5);
}

static void test_orphans_and_foreign_patches_run_in_no_stream(void **arg) {
        static const char line[] = "{\"hostname\":\"a\",\"inventory\":{\"kernel\":\"k\",\"patches\":["
                                   "{\"name\":\"o\",\"level\":9,\"orphan\":true,\"fixes\":[\"CVE-9\"]},{"
                                   "\"name\":\"f\",\"kind\":\"foreign\"},"
                                   "{\"name\":\"m\",\"level\":2,\"fixes\":[\"CVE-2\"]}]}}";
        _cleanup_(fleet_host_parser_freep) FleetHostParser *p = NULL;
        const FleetHost *host;

        assert_int_equal(fleet_host_parser_new(&p), 0);
        assert_int_equal(fleet_host_parser_line(p, line, strlen(line), &host, NULL), 0);
        assert_int_equal(host->n_running, 1);
        assert_int_equal(host->running[0].level, 2);
        assert_memory_equal(host->running[0].vendor.s, "local", 5);
        assert_int_equal(host->n_fixes, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                        cmocka_unit_test(test_what_a_document_can_not_say_is_refused_with_its_key),
                        cmocka_unit_test(test_what_it_can_say_is_accepted),
                        cmocka_unit_test(test_times),
                        cmocka_unit_test(test_spans),
                        cmocka_unit_test(test_output_of_the_calendar_tool),
                        cmocka_unit_test(test_windows_are_sorted_and_joined),
                        cmocka_unit_test(test_globs),
                        cmocka_unit_test(test_what_a_line_can_not_say_is_refused),
                        cmocka_unit_test(test_escapes_in_a_line_are_read),
                        cmocka_unit_test(test_orphans_and_foreign_patches_run_in_no_stream),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
