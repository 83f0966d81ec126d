/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The strict reader: everything that json-c would merge, cut, clamp or guess is refused, at the right line
 * and key; what is written reads back as the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/json-scan.h"
#include "policy/json.h"

typedef struct BadText {
        const char *text;
        unsigned line, column; /* 0: not looked at */
        const char *key;       /* NULL: not looked at */
        const char *message;   /* part of it */
} BadText;

static void check_bad_patch(const BadText *bad) {
        _cleanup_patch_unref_ Patch *p = NULL;
        PolicyError error = {};

        assert_int_equal(patch_parse(bad->text, strlen(bad->text), &p, &error), -EBADMSG);
        assert_null(p);
        if (!strstr(error.message, bad->message))
                fail_msg("%s: \"%s\" instead of \"%s\"", bad->text, error.message, bad->message);
        if (bad->line > 0 && (error.line != bad->line || (bad->column > 0 && error.column != bad->column)))
                fail_msg("%s: at %u:%u instead of %u:%u", bad->text, error.line, error.column, bad->line,
                         bad->column);
        if (bad->key)
                assert_string_equal(error.key, bad->key);
}

static void test_what_is_no_json_is_refused_at_its_place(void **arg) {
        static const BadText bad[] = {
                { "", 1, 1, "", "ends too early" },
                { " \n ", 2, 2, "", "ends too early" },
                { "{", 1, 2, "", "object has no end" },
                { "{\"name\":\"p\"", 1, 12, "name", "no end" },
                { "{\"name\":\"p\"}x", 1, 13, "", "follows the document" },
                { "{\"name\":\"p\"} {}", 1, 14, "", "follows the document" },
                { "{\"name\":\"p\",}", 1, 13, "name", "comma before the end" },
                { "{\"name\":\"p\",\n\"fixes\":[\"a\",]}", 2, 14, "fixes[0]", "comma before the end" },
                { "{\"name\" \"p\"}", 1, 9, NULL, "':'" },
                { "{name:\"p\"}", 1, 2, "", "key in quotes" },
                { "{'name':'p'}", 1, 2, "", "key in quotes" },
                { "{\"name\":'p'}", 1, 9, "name", "not a JSON value" },
                { "/* c */{\"name\":\"p\"}", 1, 1, "", "not a JSON value" },
                { "{\"name\":\"p\"// c\n}", 1, 12, NULL, "expected ','" },
                { "\xef\xbb\xbf{\"name\":\"p\"}", 1, 1, "", "not a JSON value" },
                { "{\"name\":\"p\" \"level\":1}", 1, 13, NULL, "expected ','" },
                { "{\"name\":\"p\",\"level\":nul}", 1, 21, "level", "not a JSON value" },
                { "{\"name\":\"p\",\"level\":True}", 1, 21, "level", "not a JSON value" },
                { "{\"name\":\"p\",\"level\":NaN}", 1, 21, "level", "not a JSON value" },
                { "{\"name\":\"p\",\"level\":01}", 1, 21, "level", "begin with 0" },
                { "{\"name\":\"p\",\"level\":+1}", 1, 21, "level", "not a JSON value" },
                { "{\"name\":\"p\",\"level\":-}", 1, 21, "level", "needs a digit" },
                { "{\"name\":\"p\",\"level\":1.0}", 1, 21, "level", "whole numbers" },
                { "{\"name\":\"p\",\"level\":1e3}", 1, 21, "level", "whole numbers" },
        };

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                check_bad_patch(&bad[i]);
}

static void test_strings_are_utf8_without_nul_and_control_characters(void **arg) {
        static const BadText bad[] = {
                { "{\"name\":\"p", 1, 9, "name", "string has no end" },
                { "{\"name\":\"p\\", 1, 11, "name", "no end" },
                { "{\"name\":\"p\\u0000q\"}", 1, 11, "name", "NUL" },
                { "{\"name\":\"p\\x\"}", 1, 11, "name", "unknown escape" },
                { "{\"name\":\"p\\u12g4\"}", 1, 11, "name", "four hexadecimal" },
                { "{\"name\":\"p\\u12", 1, 11, "name", "four hexadecimal" },
                { "{\"name\":\"a\nb\"}", 1, 11, "name", "control character" },
                { "{\"name\":\"\\ud800\"}", 1, 10, "name", "surrogate" },
                { "{\"name\":\"\\ud800\\u0041\"}", 1, 10, "name", "surrogate" },
                { "{\"name\":\"\\udc00\"}", 1, 10, "name", "surrogate" },
                { "{\"name\":\"\xff\"}", 1, 10, "name", "not UTF-8" },
                { "{\"name\":\"\xc0\x80\"}", 1, 10, "name", "not UTF-8" },             /* overlong NUL */
                { "{\"name\":\"\xc1\xbf\"}", 1, 10, "name", "not UTF-8" },             /* overlong */
                { "{\"name\":\"\xe0\x9f\xbf\"}", 1, 10, "name", "not UTF-8" },         /* overlong */
                { "{\"name\":\"\xed\xa0\x80\"}", 1, 10, "name", "not UTF-8" },         /* surrogate */
                { "{\"name\":\"\xf0\x8f\xbf\xbf\"}", 1, 10, "name", "not UTF-8" },     /* overlong */
                { "{\"name\":\"\xf4\x90\x80\x80\"}", 1, 10, "name", "not UTF-8" },     /* above U+10FFFF */
                { "{\"name\":\"\xe2\x82\"}", 1, 10, "name", "not UTF-8" },             /* cut */
                { "{\"n\\u0061me\":\"p\"}", 1, 4, NULL, "escape in a key" },
                { "{\"name\":\"p\",\"summary\":\"a\\u0007b\"}", 1, 23, "summary", "control character" },
        };
        static const char with_nul[] = "{\"name\":\"p\0q\"}";
        PolicyError error = {};

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                check_bad_patch(&bad[i]);
        assert_int_equal(json_scan(with_nul, sizeof(with_nul) - 1, 32, &error), -EBADMSG);
        assert_string_equal(error.message, "NUL in a string");
        assert_int_equal(error.column, 11);
}

static void test_duplicate_keys_are_refused_however_many_there_are(void **arg) {
        static const BadText bad[] = {
                        {"{\"name\":\"p\",\n\"level\":1,\n\"level\":2}", 3, 1, "level",
                         "\"level\" is there twice"},
                        {"{\"name\":\"p\",\"states\":[{\"id\":1,\"id\":1}]}", 1, 31, "states[0].id",
                         "\"id\" is there twice"},
        };
        static const char nested[] = "{\"a\":{\"a\":[{\"a\":1},{\"a\":1}]},\"b\":{\"a\":1}}";
        char text[65536] = "{";
        PolicyError error = {};

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                check_bad_patch(&bad[i]);

        /* more keys than are compared one by one; the last one again as number 700 */
        for (unsigned i = 0; i < 1000; i++)
                sprintf(text + strlen(text), "%s\"key%u\":[{\"a\":1}]", i ? ",\n" : "", i);
        strcat(text, "}");
        assert_int_equal(json_scan(text, strlen(text), 32, &error), 0);
        memcpy(strstr(text, "key999"), "key700", 6);
        assert_int_equal(json_scan(text, strlen(text), 32, &error), -EBADMSG);
        assert_string_equal(error.message, "the key \"key700\" is there twice");
        assert_int_equal(error.line, 1000);

        /* the same key in different objects is no duplicate */
        assert_int_equal(json_scan(nested, strlen(nested), 32, NULL), 0);
}

static void test_numbers_are_never_clamped(void **arg) {
        static const BadText bad[] = {
                        {"{\"name\":\"p\",\"level\":4294967296}", 1, 21, "level", "from 0 to 4294967295"},
                        {"{\"name\":\"p\",\"level\":-1}", 1, 21, "level", "from 0 to"},
                        {"{\"name\":\"p\",\"level\":18446744073709551616}", 1, 21, "level", "out of range"},
                        {"{\"name\":\"p\",\"level\":-9223372036854775809}", 1, 21, "level", "out of range"},
                        {"{\"name\":\"p\",\"states\":[\n{\"id\":-1}]}", 2, 7, "states[0].id",
                         "from 0 to 18446744073709551615"},
                        {"{\"name\":\"p\",\"level\":99999999999999999999999999999999}", 1, 21, "level",
                         "out of range"},
        };
        static const char largest[] =
                        "{\"name\":\"p\",\"level\":4294967295,\"states\":[{\"id\":18446744073709551615}]}";
        _cleanup_patch_unref_ Patch *p = NULL;

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                check_bad_patch(&bad[i]);
        assert_int_equal(patch_parse(largest, strlen(largest), &p, NULL), 0);
        assert_int_equal(p->level, UINT32_MAX);
        assert_true(p->states[0].id == UINT64_MAX);
}

static void test_keys_types_and_values_are_checked_at_their_place(void **arg) {
        static const BadText bad[] = {
                        {"[]", 1, 1, "", "an object is needed here, not an array"},
                        {"7", 1, 1, "", "an object is needed here, not a number"},
                        {"{}", 1, 1, "", "the key \"name\" is missing"},
                        {"{\"name\":\"p\",\n \"levle\":1}", 2, 10, "levle", "unknown key"},
                        {"{\"name\":7}", 1, 9, "name", "a string is needed here, not a number"},
                        {"{\"name\":null}", 1, 9, "name", "not null"},
                        {"{\"name\":\"\"}", 1, 9, "name", "not a name"},
                        {"{\"name\":\"../etc\"}", 1, 9, "name", "not a name"},
                        {"{\"name\":\"a b\"}", 1, 9, "name", "not a name"},
                        {"{\"name\":\"p\",\"cumulative\":1}", 1, 26, "cumulative",
                         "true or false is needed here, not a number"},
                        {"{\"name\":\"p\",\"cumulative\":\"true\"}", 1, 26, "cumulative", "not a string"},
                        {"{\"name\":\"p\",\"kind\":\"Plain\"}", 1, 20, "kind", "one of"},
                        {"{\"name\":\"p\",\"level\":\"1\"}", 1, 21, "level",
                         "a whole number is needed here, not a string"},
                        {"{\"name\":\"p\",\"states\":{}}", 1, 22, "states",
                         "an array is needed here, not an object"},
                        {"{\"name\":\"p\",\"states\":[{\"id\":1},\n{\"id\":2,\"flags\":[\"shadow\","
                         "\"Shadow\"]}]}",
                         2, 27, "states[1].flags[1]", "one of"},
                        {"{\"name\":\"p\",\"states\":[{\"id\":1,\"flags\":[\"shadow\",\"shadow\"]}]}", 1, 0,
                         "states[0].flags[1]", "twice"},
                        {"{\"name\":\"p\",\"states\":[{\"id\":2},{\"id\":1},{\"id\":2}]}", 1, 41,
                         "states[2]", "the state 2 is there twice"},
                        {"{\"name\":\"p\",\"states\":[{\"version\":2}]}", 1, 23, "states[0]",
                         "\"id\" is missing"},
                        {"{\"name\":\"p\",\"functions\":[{\"function\":\"f\"},{\"function\":\"f\"}]}", 1, 0,
                         "functions[1]", "twice"},
                        {"{\"name\":\"p\",\"requires\":[\"a>=1\"]}", 1, 25, "requires[0]", "VENDOR/STREAM"},
                        {"{\"name\":\"p\",\"build_id\":\"XY\"}", 1, 24, "build_id", "hexadecimal"},
                        {"{\"name\":\"p\",\"kind\":\"foreign\",\"level\":1}", 1, 1, "",
                         "a foreign patch has no level"},
        };

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++)
                check_bad_patch(&bad[i]);
}

static void test_depth_and_size_are_bounded(void **arg) {
        char deep[256];
        struct json_object *obj;
        PolicyError error = {};

        memset(deep, '[', 100);
        memset(deep + 100, ']', 100);
        assert_int_equal(json_parse_strict(deep, 200, &obj, &error), -EBADMSG);
        assert_string_equal(error.message, "nested too deeply");
        assert_int_equal(error.column, JSON_DEPTH_MAX + 1);
        assert_int_equal(json_parse_strict(deep + 100 - JSON_DEPTH_MAX, (size_t) 2 * JSON_DEPTH_MAX, &obj,
                                           &error),
                         0);
        json_object_put(obj);
        assert_int_equal(json_parse_strict(deep, (size_t) JSON_SIZE_MAX + 1, &obj, &error), -E2BIG);
        assert_non_null(strstr(error.message, "longer than"));
}

static void test_text_needs_no_nul_at_its_end(void **arg) {
        /* the sanitizer notices a read beyond the end of an exact allocation */
        static const char *const texts[] = { "{\"a\":1}", "12", "true", "\"x\"", "[1,2]" };

        for (unsigned i = 0; i < ELEMENTSOF(texts); i++) {
                size_t n = strlen(texts[i]);
                _cleanup_free_ char *exact = malloc(n);
                struct json_object *obj = NULL;

                assert_non_null(exact);
                memcpy(exact, texts[i], n);
                assert_int_equal(json_parse_strict(exact, n, &obj, NULL), 0);
                json_object_put(obj);
                for (size_t cut = 0; cut < n; cut++) {
                        _cleanup_free_ char *shorter = malloc(cut + (cut == 0));

                        memcpy(shorter, texts[i], cut);
                        obj = NULL;
                        if (json_parse_strict(shorter, cut, &obj, NULL) >= 0)
                                json_object_put(obj);
                        else
                                assert_null(obj);
                }
        }
}

static void test_an_error_names_file_line_and_key(void **arg) {
        PolicyError error = {};
        char buf[256];
        Patch *p;

        assert_int_equal(patch_parse("{\n\"name\": 7}", 12, &p, &error), -EBADMSG);
        assert_string_equal(policy_error_format(&error, "x.json", buf, sizeof(buf)),
                            "x.json:2: name: a string is needed here, not a number");
        assert_string_equal(policy_error_format(&error, NULL, buf, sizeof(buf)),
                            "line 2: name: a string is needed here, not a number");
        (void) policy_error_set(&error, -ENOENT, "no %s", "way");
        assert_string_equal(policy_error_format(&error, NULL, buf, sizeof(buf)), "no way");
}

static void test_a_patch_has_the_defaults_of_the_specification(void **arg) {
        _cleanup_patch_unref_ Patch *p = NULL, *m = NULL, *f = NULL;
        static const char text[] =
                        "{\"name\":\"p\",\"states\":[{\"id\":3}],\"functions\":[{\"function\":\"f\"}]}";

        assert_int_equal(patch_parse(text, strlen(text), &p, NULL), 0);
        assert_string_equal(p->vendor, "local");
        assert_string_equal(p->stream, "base");
        assert_int_equal(p->level, 0);
        assert_int_equal(p->kind, PATCH_MANAGED);
        assert_false(p->cumulative);
        assert_int_equal(p->states[0].version, 0);
        assert_int_equal(p->states[0].flags, 0);
        assert_string_equal(p->functions[0].object, "vmlinux");
        assert_int_equal(p->functions[0].sympos, 0);
        assert_null(p->kernel);

        assert_int_equal(manifest_parse("{\"name\":\"p\"}", 12, &m, NULL), 0);
        assert_int_equal(m->kind, PATCH_PLAIN);
        m = patch_unref(m);
        assert_int_equal(manifest_parse("{\"name\":\"p\",\"kind\":\"managed\"}", 29, &m, NULL), -EBADMSG);
        assert_int_equal(manifest_parse("{\"name\":\"p\",\"forced\":true}", 26, &m, NULL), -EBADMSG);

        assert_int_equal(patch_parse("{\"name\":\"p\",\"kind\":\"foreign\"}", 29, &f, NULL), 0);
        assert_string_equal(f->vendor, "");
}

static void check_round_trip(const char *text, struct json_object *(*again)(const char *text, size_t size)) {
        struct json_object *first = again(text, strlen(text)), *second;
        _cleanup_free_ char *a = NULL, *b = NULL;

        assert_non_null(first);
        assert_int_equal(json_to_line(first, &a), 0);
        second = again(a, strlen(a));
        assert_non_null(second);
        assert_int_equal(json_to_line(second, &b), 0);
        assert_string_equal(a, b);
        assert_null(strchr(a, '\n'));
        /* nothing was lost on the way: the text is in the order in which we write */
        assert_string_equal(a, text);
        json_object_put(first);
        json_object_put(second);
}

static struct json_object *again_patch(const char *text, size_t size) {
        _cleanup_patch_unref_ Patch *p = NULL;

        return patch_parse(text, size, &p, NULL) < 0 ? NULL : patch_to_json(p);
}

static struct json_object *again_inventory(const char *text, size_t size) {
        _cleanup_inventory_free_ Inventory *i = NULL;

        return inventory_parse(text, size, &i, NULL) < 0 ? NULL : inventory_to_json(i);
}

static struct json_object *again_plan(const char *text, size_t size) {
        _cleanup_plan_free_ Plan *p = NULL;

        return plan_parse(text, size, &p, NULL) < 0 ? NULL : plan_to_json(p);
}

#define PATCH_TEXT                                                                                          \
        "{\"name\":\"p\",\"kernel\":\"6.1\",\"vendor\":\"v\",\"stream\":\"s\",\"level\":7,\"cumulative\":"  \
        "true,\"kind\":\"plain\","                                                                          \
        "\"states\":[{\"id\":18446744073709551615,\"version\":4294967295,\"flags\":[\"block-disable\","     \
        "\"shadow\",\"takeover\"],"                                                                         \
        "\"name\":\"n\"},{\"id\":2,\"version\":0,\"flags\":[]}],\"functions\":[{\"object\":\"nfs\","        \
        "\"function\":\"f\",\"sympos\":2}],"                                                                \
        "\"fixes\":[\"CVE-1\",\"CVE-2\"],\"requires\":[\"a/"                                                \
        "b>=3\"],\"conflicts\":[\"tag:x\"],\"tags\":[\"t\"],"                                               \
        "\"summary\":\"sum \\\"m\\\" "                                                                      \
        "\xc3\xa4/\",\"severity\":\"high\",\"build_id\":\"ab\",\"srcversion\":\"CD\",\"digest\":\"ef\","    \
        "\"kernel_build_id\":\"01\"}"

static void test_what_is_written_reads_back_as_the_same(void **arg) {
        check_round_trip(PATCH_TEXT, again_patch);
        check_round_trip("{\"name\":\"f\",\"cumulative\":false,\"kind\":\"foreign\",\"functions\":[],"
                         "\"fixes\":[],\"requires\":[],"
                         "\"conflicts\":[]}",
                         again_patch);
        check_round_trip("{\"kernel\":\"k\",\"kernel_build_id\":\"ab\",\"generation\":9,\"transition\":null,"
                         "\"patches\":[" PATCH_TEXT "],\"loaded\":[{\"name\":\"m\",\"build_id\":\"ab\","
                                                    "\"srcversion\":\"x\",\"forced\":true}]}",
                         again_inventory);
        check_round_trip("{\"kernel\":\"k\",\"generation\":0,\"transition\":\"p\",\"patches\":[]}",
                         again_inventory);
        check_round_trip("{\"verdict\":\"refuse\",\"request\":\"converge\",\"patch\":\"p\",\"intermediate\":"
                         "\"q\",\"generation\":4,"
                         "\"violations\":[{\"rule\":\"no-path\",\"mode\":\"enforce\",\"message\":\"m\","
                         "\"remedy\":\"r\"},"
                         "{\"rule\":\"busy\",\"mode\":\"warn\",\"state\":0,\"state_name\":\"n\",\"patch\":"
                         "\"p\",\"function\":\"v:f\","
                         "\"have\":\"h\",\"want\":\"w\",\"message\":\"m\",\"remedy\":\"r\"}],"
                         "\"states\":[{\"id\":1,\"name\":\"n\",\"fate\":\"introduce\",\"from\":null,\"to\":"
                         "0,\"to_patch\":\"p\"},"
                         "{\"id\":2,\"fate\":\"remove\",\"from\":3,\"to\":null,\"from_patch\":\"q\"}],"
                         "\"callbacks\":[{\"patch\":\"p\",\"state\":1,\"callback\":\"pre_patch\",\"when\":"
                         "\"before\"},"
                         "{\"patch\":\"p\",\"state\":1,\"callback\":\"post_takeover\",\"when\":\"after\"}],"
                         "\"functions\":[{\"object\":\"vmlinux\",\"function\":\"f\",\"sympos\":0,\"change\":"
                         "\"changed-hands\","
                         "\"from_patch\":\"a\",\"to_patch\":\"b\"}],\"fixes\":[{\"fix\":\"CVE-1\","
                         "\"change\":\"lost\"}],"
                         "\"steps\":[{\"step\":\"load\",\"patch\":\"p\"},{\"step\":\"commit\"}],"
                         "\"reversible\":false}",
                         again_plan);
}

static void test_a_policy_file_starts_from_its_profile_and_says_what_is_different(void **arg) {
        static const char text[] = "{\"rules\":{\"busy\":\"off\"},\"profile\":\"level-only\",\"compatible_"
                                   "vendors\":[[\"a\",\"b\"]]}";
        _cleanup_policy_free_ Policy *p = NULL, *again = NULL;
        _cleanup_free_ char *line = NULL;
        struct json_object *obj;

        assert_int_equal(policy_parse(text, strlen(text), &p, NULL), 0);
        assert_int_equal(p->modes[RULE_BUSY], RULE_OFF);
        assert_int_equal(p->modes[RULE_STATE_VERSION], RULE_OFF);
        assert_int_equal(p->modes[RULE_LEVEL_ORDER], RULE_ENFORCE);
        assert_true(policy_vendors_compatible(p, "a", "b"));
        assert_true(policy_vendors_compatible(p, "b", "a"));
        assert_false(policy_vendors_compatible(p, "a", "a"));

        obj = policy_to_json(p);
        assert_int_equal(json_to_line(obj, &line), 0);
        json_object_put(obj);
        assert_int_equal(policy_parse(line, strlen(line), &again, NULL), 0);
        assert_memory_equal(p->modes, again->modes, sizeof(p->modes));
        assert_int_equal(again->n_compatible_vendors, 1);
}

static void test_a_policy_with_an_unknown_rule_mode_or_profile_is_refused(void **arg) {
        static const BadText bad[] = {
                { "{\"rules\":{\"bussy\":\"off\"}}", 1, 19, "rules.bussy", "no such rule" },
                { "{\"rules\":{\"no-path\":\"off\"}}", 1, 21, "rules.no-path", "no such rule" },
                { "{\"rules\":{\"busy\":\"on\"}}", 1, 18, "rules.busy", "one of" },
                { "{\"rules\":[]}", 1, 10, "rules", "an object" },
                { "{\"profile\":\"strict\"}", 1, 12, "profile", "no profile" },
                { "{\"compatible_vendors\":[[\"a\"]]}", 1, 24, "compatible_vendors[0]", "a pair" },
                { "{\"hold\":{\"streams\":[\"a\"]}}", 1, 0, "hold.streams[0]", "VENDOR/STREAM" },
        };

        for (unsigned i = 0; i < ELEMENTSOF(bad); i++) {
                PolicyError error = {};
                Policy *p = NULL;

                assert_int_equal(policy_parse(bad[i].text, strlen(bad[i].text), &p, &error), -EBADMSG);
                assert_null(p);
                assert_non_null(strstr(error.message, bad[i].message));
                assert_string_equal(error.key, bad[i].key);
                assert_int_equal(error.line, bad[i].line);
                if (bad[i].column > 0)
                        assert_int_equal(error.column, bad[i].column);
        }
}

static void test_names_and_vectors(void **arg) {
        _cleanup_strv_free_ char **l = NULL, **copy = NULL;
        char s[80] = "";

        for (unsigned i = 0; i < 100; i++) {
                assert_int_equal(strv_length(l), i);
                assert_int_equal(strv_extend(&l, i % 2 ? "odd" : "even"), 0);
        }
        assert_int_equal(strv_copy(l, &copy), 0);
        assert_int_equal(strv_length(copy), 100);
        assert_true(strv_contains(copy, "odd"));
        assert_false(strv_contains(copy, "od"));
        assert_false(strv_contains(NULL, "x"));

        memset(s, 'a', 63);
        assert_true(patch_name_is_valid(s));
        s[63] = 'a';
        assert_false(patch_name_is_valid(s));
        assert_false(patch_name_is_valid(""));
        assert_false(patch_name_is_valid("-x"));
        assert_false(patch_name_is_valid("a/b"));
        assert_true(patch_name_equal("a-b_c", "a_b-c"));
        assert_false(patch_name_equal("a-b", "a-bc"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_is_no_json_is_refused_at_its_place),
                cmocka_unit_test(test_strings_are_utf8_without_nul_and_control_characters),
                cmocka_unit_test(test_duplicate_keys_are_refused_however_many_there_are),
                cmocka_unit_test(test_numbers_are_never_clamped),
                cmocka_unit_test(test_keys_types_and_values_are_checked_at_their_place),
                cmocka_unit_test(test_depth_and_size_are_bounded),
                cmocka_unit_test(test_text_needs_no_nul_at_its_end),
                cmocka_unit_test(test_an_error_names_file_line_and_key),
                cmocka_unit_test(test_a_patch_has_the_defaults_of_the_specification),
                cmocka_unit_test(test_what_is_written_reads_back_as_the_same),
                cmocka_unit_test(test_a_policy_file_starts_from_its_profile_and_says_what_is_different),
                cmocka_unit_test(test_a_policy_with_an_unknown_rule_mode_or_profile_is_refused),
                cmocka_unit_test(test_names_and_vectors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
