/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Expected outcomes as data: each file of cases/ is a JSON array of
 *
 *   {"name": what must hold, "case": a line of `klpctl plan --batch`, "verdict": …,
 *    "rules": ["rule:mode", or "rule:mode:patch", or "rule:mode:state:ID", …]   all that fire, in order
 *    "states": ["ID:FATE FROM>TO", …]?, "callbacks": ["PATCH.STATE CALLBACK", …]?,
 *    "functions": ["+f", "-f", "~f"]?, "fixes": ["+CVE", "-CVE"]?, "steps": ["STEP PATCH", …]?,
 *    "reversible"?, "error": part of the message, instead of all these}
 *
 * and each case becomes a test of that name. Every case is tried once more with its rules set to "warn" and to "off". What isn't named isn't compared, but rules always are. A patch
 * named "$NAME" in a case stands for the entry of the file's first element {"patches": {NAME: PATCH}}, so
 * that tables stay readable.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/batch.h"
#include "policy/json.h"

static struct json_object *read_file(const char *path) {
        _cleanup_free_ char *text = NULL;
        struct json_object *obj;
        PolicyError error = {};
        char buf[1024];
        long size;
        FILE *f;

        f = fopen(path, "re");
        if (!f || fseek(f, 0, SEEK_END) < 0 || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET) < 0)
                return NULL;
        text = malloc((size_t) size);
        if (!text || fread(text, 1, (size_t) size, f) != (size_t) size)
                return NULL;
        fclose(f);
        if (json_parse_strict(text, (size_t) size, &obj, &error) < 0) {
                fprintf(stderr, "%s\n", policy_error_format(&error, path, buf, sizeof(buf)));
                return NULL;
        }
        return obj;
}

/* A copy of value in which "$NAME" is replaced by the patch of that name, wherever a patch may stand. */
static struct json_object *expand(struct json_object *value, struct json_object *patches) {
        struct json_object *copy;

        if (json_object_is_type(value, json_type_string) && json_object_get_string(value)[0] == '$') {
                assert_true(json_object_object_get_ex(patches, json_object_get_string(value) + 1, &copy));
                return json_object_get(copy);
        }
        if (json_object_is_type(value, json_type_array)) {
                copy = json_object_new_array();
                for (size_t i = 0; i < json_object_array_length(value); i++)
                        json_object_array_add(copy, expand(json_object_array_get_idx(value, i), patches));
                return copy;
        }
        if (json_object_is_type(value, json_type_object)) {
                copy = json_object_new_object();
                json_object_object_foreach(value, key, member)
                        json_object_object_add(copy, key, expand(member, patches));
                return copy;
        }
        return json_object_get(value);
}

static const char *get(struct json_object *obj, const char *key) {
        struct json_object *v;

        return json_object_object_get_ex(obj, key, &v) && v ? json_object_get_string(v) : "";
}

/* The expected list and the actual one, one item per line, so that a failure shows both. */
static void check_list(struct json_object *test, const char *key, const char *actual) {
        struct json_object *list;
        char expected[4096] = "";

        if (!json_object_object_get_ex(test, key, &list))
                return;
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                strcat(expected, json_object_get_string(json_object_array_get_idx(list, i)));
                strcat(expected, "\n");
        }
        assert_string_equal(actual, expected);
}

static void check_rules(struct json_object *test, struct json_object *result) {
        struct json_object *list, *expected, *v;
        size_t n;

        assert_true(json_object_object_get_ex(result, "violations", &list));
        n = json_object_array_length(list);
        if (!json_object_object_get_ex(test, "rules", &expected))
                expected = NULL;
        for (size_t i = 0; i < n; i++) {
                char plain[64], with_patch[192], with_state[192];
                struct json_object *violation = json_object_array_get_idx(list, i);
                const char *want = expected && i < json_object_array_length(expected)
                        ? json_object_get_string(json_object_array_get_idx(expected, i))
                        : "(nothing)";

                snprintf(plain, sizeof(plain), "%s:%s", get(violation, "rule"), get(violation, "mode"));
                snprintf(with_patch, sizeof(with_patch), "%s:%s", plain, get(violation, "patch"));
                snprintf(with_state, sizeof(with_state), "%s:state:%s", plain,
                         json_object_object_get_ex(violation, "state", &v) ? json_object_get_string(v) : "");
                if (!streq(want, plain) && !streq(want, with_patch) && !streq(want, with_state))
                        assert_string_equal(with_patch, want);
                /* every refusal says what, and what to do */
                assert_true(strlen(get(violation, "message")) > 10);
                assert_true(strlen(get(violation, "remedy")) > 10);
                assert_true(strlen(get(violation, "have")) > 0);
                assert_true(strlen(get(violation, "want")) > 0);
        }
        assert_int_equal(n, expected ? json_object_array_length(expected) : 0);
}

/* Calls format for each element of the result's array; items end up one per line. */
static void list_items(struct json_object *result, const char *key,
                       void (*format)(struct json_object *item, char *buf), char *buf) {
        struct json_object *list;

        buf[0] = 0;
        assert_true(json_object_object_get_ex(result, key, &list));
        for (size_t i = 0; i < json_object_array_length(list); i++) {
                format(json_object_array_get_idx(list, i), buf + strlen(buf));
                strcat(buf, "\n");
        }
}

static void format_state(struct json_object *item, char *buf) {
        sprintf(buf, "%s:%s %s>%s", get(item, "id"), get(item, "fate"), get(item, "from"), get(item, "to"));
}

static void format_callback(struct json_object *item, char *buf) {
        const char *callback = get(item, "callback");

        assert_string_equal(get(item, "when"), strncmp(callback, "pre_", 4) == 0 ? "before" : "after");
        sprintf(buf, "%s.%s %s", get(item, "patch"), get(item, "state"), callback);
}

static char change_sign(struct json_object *item) {
        return streq(get(item, "change"), "gained") ? '+' : streq(get(item, "change"), "lost") ? '-' : '~';
}

static void format_function(struct json_object *item, char *buf) {
        sprintf(buf, "%c%s", change_sign(item), get(item, "function"));
}

static void format_fix(struct json_object *item, char *buf) {
        sprintf(buf, "%c%s", change_sign(item), get(item, "fix"));
}

static void format_step(struct json_object *item, char *buf) {
        sprintf(buf, "%s %s", get(item, "step"), get(item, "patch"));
}

/* The case with another mode for all rules that fired in it; NULL: one of them is the kernel's own, or no rule. */
static struct json_object *with_mode(struct json_object *request, struct json_object *violations, const char *mode) {
        struct json_object *copy = NULL, *policy, *rules, *v;

        assert_int_equal(json_object_deep_copy(request, &copy, NULL), 0);
        if (json_object_object_get_ex(copy, "profile", &v)) {
                policy = json_object_new_object();
                json_object_object_add(policy, "profile", json_object_get(v));
                json_object_object_del(copy, "profile");
                json_object_object_add(copy, "policy", policy);
        } else if (!json_object_object_get_ex(copy, "policy", &policy)) {
                policy = json_object_new_object();
                json_object_object_add(copy, "policy", policy);
        }
        if (!json_object_object_get_ex(policy, "rules", &rules)) {
                rules = json_object_new_object();
                json_object_object_add(policy, "rules", rules);
        }
        for (size_t i = 0; i < json_object_array_length(violations); i++) {
                const char *rule = get(json_object_array_get_idx(violations, i), "rule");
                bool kernels = streq(rule, "state-version") || streq(rule, "downgrade-version") ||
                               streq(rule, "cumulative-states");

                if (streq(rule, "no-path") ||
                    (kernels && json_object_object_get_ex(copy, "candidate", &v) && streq(get(v, "kind"), "plain"))) {
                        json_object_put(copy);
                        return NULL;
                }
                json_object_object_add(rules, rule, json_object_new_string(mode));
        }
        return copy;
}

/* What refuses with "enforce" is said and allowed with "warn", and neither with "off". */
static void check_modes(Batch *batch, struct json_object *request, struct json_object *result) {
        static const char *const modes[] = { "warn", "off" };
        struct json_object *violations, *again, *v;

        assert_true(json_object_object_get_ex(result, "violations", &violations));
        for (unsigned m = 0; m < ELEMENTSOF(modes); m++) {
                struct json_object *other = with_mode(request, violations, modes[m]);
                size_t n = streq(modes[m], "off") ? 0 : json_object_array_length(violations);
                _cleanup_free_ char *line = NULL;
                BatchOutcome outcome;
                const char *answer;

                if (!other)
                        return;
                assert_int_equal(json_to_line(other, &line), 0);
                json_object_put(other);
                assert_int_equal(batch_line(batch, 7, line, strlen(line), &answer, &outcome), 0);
                assert_int_equal(json_parse_strict(answer, strlen(answer), &again, NULL), 0);
                if (json_object_array_length(violations) > 0)
                        assert_int_equal(outcome, BATCH_ALLOWED);
                assert_true(json_object_object_get_ex(again, "violations", &v));
                assert_int_equal(json_object_array_length(v), n);
                for (size_t i = 0; i < n; i++) {
                        assert_string_equal(get(json_object_array_get_idx(v, i), "mode"), "warn");
                        assert_string_equal(get(json_object_array_get_idx(v, i), "message"),
                                            get(json_object_array_get_idx(violations, i), "message"));
                }
                json_object_put(again);
        }
}

typedef struct CaseData {
        struct json_object *test, *patches;
} CaseData;

static void run_case(void **state) {
        CaseData *data = *state;
        struct json_object *request, *result, *v;
        _cleanup_batch_free_ Batch *batch = NULL;
        _cleanup_free_ char *line = NULL;
        const char *answer = NULL;
        BatchOutcome outcome;
        PolicyError error;
        char buf[8192];

        assert_true(json_object_object_get_ex(data->test, "case", &v));
        request = expand(v, data->patches);
        assert_int_equal(json_to_line(request, &line), 0);
        assert_int_equal(batch_new(&batch), 0);
        assert_int_equal(batch_line(batch, 7, line, strlen(line), &answer, &outcome), 0);
        assert_int_equal(json_parse_strict(answer, strlen(answer), &result, &error), 0);

        if (json_object_object_get_ex(data->test, "error", &v)) {
                struct json_object *e;

                assert_true(json_object_object_get_ex(result, "error", &e));
                if (!strstr(get(e, "message"), json_object_get_string(v)))
                        assert_string_equal(get(e, "message"), json_object_get_string(v));
                assert_string_equal(get(e, "line"), "7");
                assert_int_equal(outcome, BATCH_ERROR);
                assert_string_equal(get(result, "verdict"), "refuse");
                assert_string_equal(get(result, "steps"), "[ ]");
                json_object_put(result);
                json_object_put(request);
                return;
        }
        if (json_object_object_get_ex(result, "error", &v))
                assert_string_equal(json_object_get_string(v), "(no error)");

        check_rules(data->test, result);
        assert_string_equal(get(result, "verdict"), get(data->test, "verdict"));
        assert_int_equal(outcome,
                         streq(get(data->test, "verdict"), "refuse") ? BATCH_REFUSED : BATCH_ALLOWED);
        list_items(result, "states", format_state, buf);
        check_list(data->test, "states", buf);
        list_items(result, "callbacks", format_callback, buf);
        check_list(data->test, "callbacks", buf);
        list_items(result, "functions", format_function, buf);
        check_list(data->test, "functions", buf);
        list_items(result, "fixes", format_fix, buf);
        check_list(data->test, "fixes", buf);
        list_items(result, "steps", format_step, buf);
        check_list(data->test, "steps", buf);
        if (!streq(get(data->test, "verdict"), "allow"))
                assert_string_equal(buf, ""); /* a refusal has no step */
        if (json_object_object_get_ex(data->test, "reversible", &v))
                assert_string_equal(get(result, "reversible"), json_object_get_string(v));
        check_modes(batch, request, result);
        json_object_put(result);
        json_object_put(request);
}

int main(int argc, char *argv[]) {
        int failed = 0;

        for (int a = 1; a < argc; a++) {
                struct json_object *file = read_file(argv[a]), *patches = NULL;
                const char *base = strrchr(argv[a], '/');
                struct CMUnitTest *tests;
                CaseData *data;
                size_t n, first = 0;

                if (!file)
                        return 99;
                n = json_object_array_length(file);
                if (n > 0 &&
                    json_object_object_get_ex(json_object_array_get_idx(file, 0), "patches", &patches))
                        first = 1;
                tests = calloc(n, sizeof(*tests));
                data = calloc(n, sizeof(*data));
                if (!tests || !data)
                        return 99;
                for (size_t i = first; i < n; i++) {
                        data[i].test = json_object_array_get_idx(file, i);
                        data[i].patches = patches;
                        tests[i - first] = (struct CMUnitTest) {
                                .name = get(data[i].test, "name"),
                                .test_func = run_case,
                                .initial_state = &data[i],
                        };
                }
                failed += _cmocka_run_group_tests(base ? base + 1 : argv[a], tests, n - first, NULL, NULL);
                free(tests);
                free(data);
                json_object_put(file);
        }
        return failed > 0;
}
