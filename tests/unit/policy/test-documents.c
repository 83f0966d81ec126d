/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The shipped documents: profiles are what is built in, and each schema says exactly what its parser
 * accepts. The second is shown by changing a complete document in every way that comes to mind (each value
 * replaced by each of many others, each member left out, a member added), and asking both; a small validator
 * here knows as much of JSON Schema as the schemas use, and fails on any keyword that it doesn't know.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <regex.h>

#include <cmocka.h>

#include "policy/fleet.h"
#include "policy/json.h"

static char *read_text(const char *path, size_t *ret_size) {
        char full[512], *text;
        long size;
        FILE *f;

        snprintf(full, sizeof(full), "%s/%s", getenv("KLPD_SOURCE") ?: ".", path);
        f = fopen(full, "re");
        assert_non_null(f);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        size = ftell(f);
        assert_true(size > 0);
        rewind(f);
        text = malloc((size_t) size + 1);
        assert_non_null(text);
        assert_int_equal(fread(text, 1, (size_t) size, f), size);
        fclose(f);
        text[size] = 0;
        *ret_size = (size_t) size;
        return text;
}

static struct json_object *read_json(const char *path) {
        _cleanup_free_ char *text = NULL;
        struct json_object *obj;
        size_t size;

        text = read_text(path, &size);
        assert_int_equal(json_parse_strict(text, size, &obj, NULL), 0);
        return obj;
}

static void test_profiles_are_what_is_built_in(void **arg) {
        for (const char *const *name = policy_profiles(); *name; name++) {
                _cleanup_policy_free_ Policy *file = NULL, *built_in = NULL;
                struct json_object *obj, *rules, *mode;
                _cleanup_free_ char *text = NULL;
                char path[128];
                size_t size;

                snprintf(path, sizeof(path), "policy/profiles/%s.json", *name);
                text = read_text(path, &size);
                assert_int_equal(policy_parse(text, size, &file, NULL), 0);
                assert_int_equal(policy_new_profile(*name, &built_in), 0);
                assert_string_equal(file->profile, *name);

                /* by the text of the file: it names every rule, so nothing is inherited from what is built
                 * in */
                obj = read_json(path);
                assert_true(json_object_object_get_ex(obj, "rules", &rules));
                assert_int_equal(json_object_object_length(rules), _RULE_MAX);
                for (int i = 0; i < _RULE_MAX; i++) {
                        assert_true(json_object_object_get_ex(rules, rule_to_string((Rule) i), &mode));
                        assert_string_equal(json_object_get_string(mode),
                                            rule_mode_to_string(built_in->modes[i]));
                        assert_int_equal(file->modes[i], built_in->modes[i]);
                }
                json_object_put(obj);
        }
}

static void test_default_policy_is_the_default_profile_and_the_table(void **arg) {
        _cleanup_policy_free_ Policy *built_in = NULL;

        assert_int_equal(policy_new_profile(POLICY_PROFILE_DEFAULT, &built_in), 0);
        assert_string_equal(policy_default()->profile, POLICY_PROFILE_DEFAULT);
        for (int i = 0; i < _RULE_MAX; i++) {
                assert_int_equal(policy_default()->modes[i], built_in->modes[i]);
                assert_int_equal(rule_default_mode((Rule) i), built_in->modes[i]);
                assert_non_null(rule_meaning((Rule) i));
                assert_non_null(rule_explanation((Rule) i));
                assert_int_equal(rule_from_string(rule_to_string((Rule) i)), i);
        }
}

static void test_profiles_say_what_semantics_says(void **arg) {
        static const struct {
                const char *profile;
                RuleMode version, downgrade, cumulative, block, irreversible;
        } table[] = {
                { "upstream", RULE_ENFORCE, RULE_ENFORCE, RULE_ENFORCE, RULE_OFF, RULE_OFF },
                { "block-disable", RULE_ENFORCE, RULE_OFF, RULE_OFF, RULE_ENFORCE, RULE_ENFORCE },
                { "level-only", RULE_OFF, RULE_OFF, RULE_OFF, RULE_OFF, RULE_OFF },
        };

        for (unsigned i = 0; i < ELEMENTSOF(table); i++) {
                _cleanup_policy_free_ Policy *p = NULL;

                assert_int_equal(policy_new_profile(table[i].profile, &p), 0);
                for (int k = 0; k < _RULE_MAX; k++) {
                        RuleMode want = k == RULE_STATE_VERSION       ? table[i].version
                                        : k == RULE_DOWNGRADE_VERSION ? table[i].downgrade
                                        : k == RULE_CUMULATIVE_STATES ? table[i].cumulative
                                        : k == RULE_BLOCK_DISABLE     ? table[i].block
                                        : k == RULE_IRREVERSIBLE      ? table[i].irreversible
                                                                      : RULE_ENFORCE;

                        assert_int_equal(p->modes[k], want);
                }
        }
}

/* --- the validator --- */

static struct json_object *root;

static bool validate(struct json_object *schema, struct json_object *value);

static bool has_type(struct json_object *value, const char *type) {
        switch (json_object_get_type(value)) {
        case json_type_null:
                return streq(type, "null");
        case json_type_boolean:
                return streq(type, "boolean");
        case json_type_int:
                return streq(type, "integer");
        case json_type_string:
                return streq(type, "string");
        case json_type_array:
                return streq(type, "array");
        case json_type_object:
                return streq(type, "object");
        case json_type_double:
                break;
        }
        return false;
}

static bool validate_type(struct json_object *types, struct json_object *value) {
        if (json_object_is_type(types, json_type_string))
                return has_type(value, json_object_get_string(types));
        for (size_t i = 0; i < json_object_array_length(types); i++)
                if (has_type(value, json_object_get_string(json_object_array_get_idx(types, i))))
                        return true;
        return false;
}

/* Schemas have few patterns, and values are many: each is compiled once. */
static bool validate_pattern(const char *pattern, const char *s) {
        static struct {
                char *pattern;
                regex_t re;
        } known[64];
        unsigned i;

        for (i = 0; i < ELEMENTSOF(known) && known[i].pattern; i++)
                if (streq(known[i].pattern, pattern))
                        return regexec(&known[i].re, s, 0, NULL, 0) == 0;
        assert_true(i < ELEMENTSOF(known));
        assert_int_equal(regcomp(&known[i].re, pattern, REG_EXTENDED | REG_NOSUB), 0);
        known[i].pattern = strdup(pattern);
        assert_non_null(known[i].pattern);
        return regexec(&known[i].re, s, 0, NULL, 0) == 0;
}

static bool validate_members(struct json_object *schema, struct json_object *value) {
        struct json_object *properties = NULL, *required, *additional, *sub;

        if (!json_object_is_type(value, json_type_object))
                return true;
        (void) json_object_object_get_ex(schema, "properties", &properties);
        assert_true(json_object_object_get_ex(schema, "additionalProperties", &additional));
        assert_true(json_object_is_type(additional, json_type_object) || !json_object_get_boolean(additional));
        json_object_object_foreach(value, key, member) {
                if (!properties || !json_object_object_get_ex(properties, key, &sub))
                        sub = json_object_is_type(additional, json_type_object) ? additional : NULL;
                if (!sub || !validate(sub, member))
                        return false;
        }
        if (json_object_object_get_ex(schema, "required", &required))
                for (size_t i = 0; i < json_object_array_length(required); i++)
                        if (!json_object_object_get_ex(
                                            value,
                                            json_object_get_string(json_object_array_get_idx(required, i)),
                                            NULL))
                                return false;
        return true;
}

static bool has_all(struct json_object *names, struct json_object *value) {
        for (size_t i = 0; i < json_object_array_length(names); i++)
                if (!json_object_object_get_ex(
                                    value, json_object_get_string(json_object_array_get_idx(names, i)), NULL))
                        return false;
        return true;
}

/* anyOf and not, of which only {"required": […]} is known. */
static bool validate_presence(const char *key, struct json_object *v, struct json_object *value) {
        struct json_object *required;

        if (!json_object_is_type(value, json_type_object))
                return true;
        if (streq(key, "not")) {
                assert_int_equal(json_object_object_length(v), 1);
                assert_true(json_object_object_get_ex(v, "required", &required));
                return !has_all(required, value);
        }
        for (size_t i = 0; i < json_object_array_length(v); i++) {
                struct json_object *one = json_object_array_get_idx(v, i);

                assert_int_equal(json_object_object_length(one), 1);
                assert_true(json_object_object_get_ex(one, "required", &required));
                if (has_all(required, value))
                        return true;
        }
        return false;
}

static bool validate_names(struct json_object *schema, struct json_object *value) {
        bool valid = true;

        if (!json_object_is_type(value, json_type_object))
                return true;
        json_object_object_foreach(value, key, member) {
                struct json_object *name = json_object_new_string(key);

                (void) member;
                valid = valid && validate(schema, name);
                json_object_put(name);
        }
        return valid;
}

static bool validate_keyword(struct json_object *schema, const char *key, struct json_object *v,
                             struct json_object *value) {
        bool string = json_object_is_type(value, json_type_string),
             array = json_object_is_type(value, json_type_array);
        bool integer = json_object_is_type(value, json_type_int);
        size_t n = array ? json_object_array_length(value) : 0;

        if (streq(key, "$ref")) {
                struct json_object *defs, *sub;

                assert_true(json_object_object_get_ex(root, "$defs", &defs));
                assert_int_equal(strncmp(json_object_get_string(v), "#/$defs/", 8), 0);
                assert_true(json_object_object_get_ex(defs, json_object_get_string(v) + 8, &sub));
                return validate(sub, value);
        }
        if (streq(key, "type"))
                return validate_type(v, value);
        if (streq(key, "enum")) {
                for (size_t i = 0; i < json_object_array_length(v); i++)
                        if (json_object_equal(json_object_array_get_idx(v, i), value))
                                return true;
                return false;
        }
        if (streq(key, "pattern"))
                return !string || validate_pattern(json_object_get_string(v), json_object_get_string(value));
        if (streq(key, "minLength"))
                return !string || json_object_get_string_len(value) >= json_object_get_int(v);
        if (streq(key, "maxLength"))
                return !string || json_object_get_string_len(value) <= json_object_get_int(v);
        if (streq(key, "minimum"))
                return !integer || json_object_get_int64(value) >= json_object_get_int64(v);
        if (streq(key, "maximum"))
                return !integer || json_object_get_uint64(value) <= json_object_get_uint64(v);
        if (streq(key, "minItems"))
                return !array || n >= json_object_get_uint64(v);
        if (streq(key, "maxItems"))
                return !array || n <= json_object_get_uint64(v);
        if (streq(key, "uniqueItems")) {
                for (size_t i = 0; i < n; i++)
                        for (size_t k = 0; k < i; k++)
                                if (json_object_equal(json_object_array_get_idx(value, i),
                                                      json_object_array_get_idx(value, k)))
                                        return false;
                return true;
        }
        if (streq(key, "items")) {
                for (size_t i = 0; i < n; i++)
                        if (!validate(v, json_object_array_get_idx(value, i)))
                                return false;
                return true;
        }
        if (streq(key, "additionalProperties"))
                return validate_members(schema, value);
        if (streq(key, "anyOf") || streq(key, "not"))
                return validate_presence(key, v, value);
        if (streq(key, "propertyNames"))
                return validate_names(v, value);
        if (streq(key, "minProperties"))
                return !json_object_is_type(value, json_type_object) ||
                       json_object_object_length(value) >= json_object_get_int(v);
        if (!streq(key, "required") && !streq(key, "properties") && !streq(key, "description") &&
            !streq(key, "title") && !streq(key, "default") && !streq(key, "$schema") && !streq(key, "$id") &&
            !streq(key, "$defs"))
                assert_string_equal(key, "(a keyword that the validator knows)");
        return true;
}

static bool validate(struct json_object *schema, struct json_object *value) {
        json_object_object_foreach(schema, key, v)
                if (!validate_keyword(schema, key, v, value))
                        return false;
        return true;
}

/* --- schema against parser --- */

typedef int (*parse_fn)(const char *text, size_t size);

static int parse_manifest(const char *text, size_t size) {
        _cleanup_patch_unref_ Patch *p = NULL;

        return manifest_parse(text, size, &p, NULL);
}

static int parse_inventory(const char *text, size_t size) {
        _cleanup_inventory_free_ Inventory *i = NULL;

        return inventory_parse(text, size, &i, NULL);
}

static int parse_policy(const char *text, size_t size) {
        _cleanup_policy_free_ Policy *p = NULL;

        return policy_parse(text, size, &p, NULL);
}

static int parse_fleet(const char *text, size_t size) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;

        return fleet_document_parse(text, size, &d, NULL);
}

static unsigned n_accepted, n_refused;

static void compare(struct json_object *document, parse_fn parse) {
        const char *text = json_object_to_json_string_ext(document, JSON_C_TO_STRING_PLAIN);
        bool valid = validate(root, document), parsed = parse(text, strlen(text)) >= 0;

        if (valid != parsed)
                fail_msg("schema says %s, parser says %s: %.2000s", valid ? "yes" : "no",
                         parsed ? "yes" : "no", text);
        if (valid)
                n_accepted++;
        else
                n_refused++;
}

static const char *const replacements[] = {
                "null",
                "true",
                "0",
                "1",
                "-1",
                "4294967295",
                "4294967296",
                "18446744073709551615",
                "\"\"",
                "\"x\"",
                "\"-x\"",
                "\".x\"",
                "\"a b\"",
                "\"a\\u0007\"",
                "\"ABCDEF\"",
                "\"abcdef\"",
                "\"a/b\"",
                "\"a/b>=3\"",
                "\"a/b >= 3\"",
                "\"a/b=>3\"",
                "\"a/b>=\"",
                "\"a/b/c\"",
                "\"state:7\"",
                "\"state:x\"",
                "\"tag:t\"",
                "\"tag:\"",
                "\"managed\"",
                "\"foreign\"",
                "\"plain\"",
                "\"shadow\"",
                "\"enforce\"",
                "\"upstream\"",
                "\"latest\"",
                "\"none\"",
                "100",
                "101",
                "\"2026-11-21T06:00:00Z\"",
                "\"2026-11-21 06:00:00\"",
                "\"2h 30min\"",
                "\"1.5h\"",
                "\"5 parsecs\"",
                "\"Sat 02:00\"",
                "\"-1\"",
                "\"web-*\"",
                "\"0123456789abcdef0123456789abcdef\"",
                "[\"0123456789abcdef0123456789abcdef\",\"?\"]",
                "{\"x\":[\"y\"]}",
                "{\"a b\":[\"y\"]}",
                "[{\"hold\":\"x\"}]",
                "\"\\u00e4\"",
                "[]",
                "[\"x\"]",
                "[\"x\",\"y\"]",
                "[\"x\",\"y\",\"z\"]",
                "[\"shadow\",\"shadow\"]",
                "[[]]",
                "[null]",
                "[1]",
                "{}",
                "[{}]",
                "{\"x\":1}",
                "\"0123456789012345678901234567890123456789012345678901234567890123\"",
                "\"012345678901234567890123456789012345678901234567890123456789012\"",
};

/* Walks to every value below at; calls compare() with each replacement in its place. */
static void mutate(struct json_object *document, struct json_object *at, parse_fn parse) {
        _cleanup_strv_free_ char **names = NULL;

        if (json_object_is_type(at, json_type_array)) {
                for (size_t i = 0; i < json_object_array_length(at); i++) {
                        struct json_object *old = json_object_get(json_object_array_get_idx(at, i));

                        mutate(document, old, parse);
                        for (unsigned k = 0; k < ELEMENTSOF(replacements); k++) {
                                struct json_object *new = NULL;

                                assert_int_equal(json_parse_strict(replacements[k], strlen(replacements[k]),
                                                                   &new, NULL),
                                                 0);
                                json_object_array_put_idx(at, i, new);
                                compare(document, parse);
                        }
                        json_object_array_put_idx(at, i, old);
                }
                return;
        }
        if (!json_object_is_type(at, json_type_object))
                return;

        json_object_object_foreach(at, member_name, unused) {
                (void) unused;
                assert_int_equal(strv_extend(&names, member_name), 0);
        }
        for (char **name = names; name && *name; name++) {
                struct json_object *old;

                assert_true(json_object_object_get_ex(at, *name, &old));
                json_object_get(old);
                mutate(document, old, parse);
                for (unsigned k = 0; k < ELEMENTSOF(replacements); k++) {
                        struct json_object *new = NULL;

                        assert_int_equal(json_parse_strict(replacements[k], strlen(replacements[k]), &new,
                                                           NULL),
                                         0);
                        json_object_object_add(at, *name, new);
                        compare(document, parse);
                }
                json_object_object_del(at, *name);
                compare(document, parse);
                json_object_object_add(at, *name, old);
        }

        json_object_object_add(at, "nonsense", json_object_new_int(1));
        compare(document, parse);
        json_object_object_del(at, "nonsense");
}

static void check_schema(const char *path, parse_fn parse, const char *complete) {
        struct json_object *document;

        root = read_json(path);
        assert_int_equal(json_parse_strict(complete, strlen(complete), &document, NULL), 0);
        n_accepted = n_refused = 0;
        compare(document, parse);
        assert_int_equal(n_accepted, 1); /* the complete document itself is right */
        mutate(document, document, parse);
        assert_true(n_accepted > 50 && n_refused > 500); /* neither side says no, or yes, to all */
        json_object_put(document);
        json_object_put(root);
}

/* Every key that there is, with a right value. */
#define PATCH_MEMBERS                                                                                       \
        "\"name\":\"p\",\"kernel\":\"k\",\"vendor\":\"v\",\"stream\":\"s\",\"level\":3,\"cumulative\":"     \
        "true,"                                                                                             \
        "\"states\":[{\"id\":1,\"version\":2,\"flags\":[\"shadow\"],\"name\":\"n\"}],"                      \
        "\"functions\":[{\"object\":\"vmlinux\",\"function\":\"f\",\"sympos\":1}],\"fixes\":[\"CVE-1\"],"   \
        "\"requires\":[\"a/"                                                                                \
        "b>=3\"],\"conflicts\":[\"tag:x\"],\"tags\":[\"t\"],\"summary\":\"S\",\"severity\":\"high\","       \
        "\"build_id\":\"ab\",\"srcversion\":\"AB\",\"digest\":\"cd\",\"kernel_build_id\":\"ef\""

static void test_manifest_schema_says_what_the_parser_accepts(void **arg) {
        check_schema("policy/schemas/klpd-manifest.schema.json", parse_manifest,
                     "{" PATCH_MEMBERS ",\"kind\":\"plain\"}");
}

static void test_inventory_schema_says_what_the_parser_accepts(void **arg) {
        /* two entries of one kind; "kind" is left out, because a foreign patch has conditions that no schema
         * states */
        check_schema("policy/schemas/klpd-inventory.schema.json", parse_inventory,
                     "{\"kernel\":\"k\",\"kernel_build_id\":\"ab\",\"generation\":7,\"transition\":\"p\","
                     "\"patches\":[{" PATCH_MEMBERS ",\"forced\":false,\"orphan\":false}],"
                     "\"loaded\":[{\"name\":\"m\",\"build_id\":\"ab\",\"srcversion\":\"X\",\"forced\":true}]"
                     "}");
}

static void test_policy_schema_says_what_the_parser_accepts(void **arg) {
        check_schema("policy/schemas/klpd-policy.schema.json", parse_policy,
                     "{\"$schema\":\"x\",\"description\":\"y\",\"profile\":\"upstream\",\"rules\":{\"busy\":"
                     "\"warn\","
                     "\"hold\":\"off\"},\"compatible_vendors\":[[\"a\",\"b\"]],\"hold\":{\"host\":false,"
                     "\"reason\":\"r\","
                     "\"streams\":[\"a/"
                     "b\"]},\"quarantine\":[\"abcd\"],\"require_signature\":true,\"allow_force\":false}");
}

/* What no schema states is left out of the change: a second wave (its order), a level beside at_least, and
 * that a rule doesn't block what it wants. Short ones at the end, so that each way to say a goal is there. */
static void test_fleet_schema_says_what_the_parser_accepts(void **arg) {
        static const char *const goals[] = {
                "\"at_least\":3,\"intermediates\":[\"p\"],\"splay\":\"1h\",\"salt\":\"s\",\"rollout\":3,\"stream\":\"a/b\"",
                "\"level\":7,\"hold\":\"h\",\"splay\":\"1h\",\"salt\":\"s\",\"rollout\":3,\"stream\":\"a/b\"",
        };

        check_schema("policy/schemas/klpd-fleet.schema.json", parse_fleet,
                         "{\"$schema\":\"x\",\"description\":\"y\",\"name\":\"n\",\"serial\":3,"
                         "\"not_after\":\"2027-01-01T00:00:00Z\","
                         "\"levels\":[{\"stream\":\"a/b\",\"kernel\":\"6.*\",\"level\":7,\"patch\":\"p\","
                         "\"digest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
                         "\"fixes\":[\"CVE-1\"],\"description\":\"z\"}],"
                         "\"blocked\":[{\"stream\":\"a/b\",\"kernel\":\"6.*\",\"level\":6,\"reason\":\"r\"}],"
                         "\"rules\":[{\"name\":\"r\",\"description\":\"d\",\"stream\":\"a/b\",\"hold\":\"h\",\"level\":\"latest\",\"blocked\":[6],"
                         "\"match\":{\"hostname\":[\"web-*\"],"
                         "\"machine_id\":[\"0123456789abcdef0123456789abcdef\"],\"kernel\":[\"6.*\"],"
                         "\"os\":[\"debian:12\"],\"labels\":{\"role\":[\"web\"]},"
                         "\"any\":[{\"os\":[\"x\"]}],\"not\":[{\"os\":[\"x\"]}]},"
                         "\"rollout\":10,\"salt\":\"s\",\"windows\":[{\"calendar\":\"Sat 02:00\","
                         "\"duration\":\"2h\",\"timezone\":\"UTC\"}],\"splay\":\"1h\","
                         "\"not_after\":\"2027-01-01T00:00:00Z\",\"accept_irreversible\":true,\"slot\":true}]}");
        for (unsigned i = 0; i < ELEMENTSOF(goals); i++) {
                char text[512];

                snprintf(text, sizeof(text),
                         "{\"name\":\"n\",\"serial\":1,\"levels\":[{\"kernel\":\"k\",\"level\":2,\"patch\":\"p\"}],"
                         "\"rules\":[{\"name\":\"r\",%s}]}", goals[i]);
                check_schema("policy/schemas/klpd-fleet.schema.json", parse_fleet, text);
        }
}

static void test_policy_schema_names_every_rule(void **arg) {
        struct json_object *properties, *rules, *names;

        root = read_json("policy/schemas/klpd-policy.schema.json");
        assert_true(json_object_object_get_ex(root, "properties", &properties));
        assert_true(json_object_object_get_ex(properties, "rules", &rules));
        assert_true(json_object_object_get_ex(rules, "properties", &names));
        assert_int_equal(json_object_object_length(names), _RULE_MAX);
        for (int i = 0; i < _RULE_MAX; i++)
                assert_true(json_object_object_get_ex(names, rule_to_string((Rule) i), NULL));
        json_object_put(root);
}

/* "level-order" as roff writes it. */
static void roff_name(const char *name, char *buf) {
        for (; *name; name++) {
                if (*name == '-')
                        *buf++ = '\\';
                *buf++ = *name;
        }
        *buf = 0;
}

static void test_the_manual_lists_every_rule_with_its_default_and_every_key(void **arg) {
        _cleanup_free_ char *policy = NULL, *manifest = NULL;
        struct json_object *properties;
        char name[64], text[160];
        size_t size;

        policy = read_text("policy/klpd-policy.json.5", &size);
        for (int i = 0; i < _RULE_MAX; i++) {
                roff_name(rule_to_string((Rule) i), name);
                snprintf(text, sizeof(text), ".BR %s \" [\" %s ]\n", name,
                         rule_mode_to_string(rule_default_mode((Rule) i)));
                if (!strstr(policy, text))
                        assert_string_equal("(not in the manual)", text);
        }

        manifest = read_text("policy/klpd-manifest.5", &size);
        root = read_json("policy/schemas/klpd-manifest.schema.json");
        assert_true(json_object_object_get_ex(root, "properties", &properties));
        json_object_object_foreach(properties, key, unused) {
                (void) unused;
                if (!strstr(manifest, key))
                        assert_string_equal("(not in the manual)", key);
        }
        json_object_put(root);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_manual_lists_every_rule_with_its_default_and_every_key),
                cmocka_unit_test(test_profiles_are_what_is_built_in),
                cmocka_unit_test(test_default_policy_is_the_default_profile_and_the_table),
                cmocka_unit_test(test_profiles_say_what_semantics_says),
                cmocka_unit_test(test_manifest_schema_says_what_the_parser_accepts),
                cmocka_unit_test(test_inventory_schema_says_what_the_parser_accepts),
                cmocka_unit_test(test_policy_schema_says_what_the_parser_accepts),
                cmocka_unit_test(test_fleet_schema_says_what_the_parser_accepts),
                cmocka_unit_test(test_policy_schema_names_every_rule),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
