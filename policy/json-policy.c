/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpd-policy.json(5): from JSON and to JSON. */
#include "policy/json-model.h"

static int read_mode(JsonReader *r, const char *key, const JsonValue *value, void *target) {
        RuleMode *modes = target, mode;
        Rule rule = rule_from_string(key);
        const char *s;
        int q;

        if (rule < 0)
                return json_reader_fail(r, -EBADMSG,
                                        "there is no such rule (klpctl policy explain lists them)");
        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        mode = rule_mode_from_string(s);
        if (mode < 0)
                return json_reader_fail(r, -EBADMSG, "one of \"enforce\", \"warn\", \"off\" is needed here");
        modes[rule] = mode;
        return 0;
}

static int read_rules(JsonReader *r, const JsonValue *value, void *target) {
        if (!json_is(value, JSON_OBJECT))
                return json_reader_fail(r, -EBADMSG, "an object of rules and modes is needed here");
        return json_read_members(r, value, SIZE_MAX, read_mode, target);
}

static int read_pair(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_strv_free_ char **names = NULL;
        Policy *p = target;
        VendorPair *bigger;
        int q;

        q = json_read_name_list(r, value, &names);
        if (q < 0)
                return q;
        if (strv_length(names) != 2)
                return json_reader_fail(r, -EBADMSG, "a pair of vendors is needed here");
        bigger = realloc(p->compatible_vendors, (p->n_compatible_vendors + 1) * sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        p->compatible_vendors = bigger;
        p->compatible_vendors[p->n_compatible_vendors++] = (VendorPair) { .a = names[0], .b = names[1] };
        names[0] = NULL; /* the names have moved */
        return 0;
}

static int read_pairs(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_pair, target);
}

static int read_stream(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_free_ char *vendor = NULL, *stream = NULL;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = patch_parse_stream(s, &vendor, &stream);
        if (q == -EINVAL)
                return json_reader_fail(r, -EBADMSG, "VENDOR/STREAM is needed here");
        return q < 0 ? q : strv_extend(target, s);
}

static int read_streams(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_stream, target);
}

static int read_hold(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "host", json_read_bool, offsetof(Policy, hold), false },
                { "reason", json_read_text_or_null, offsetof(Policy, hold_reason), false },
                { "streams", read_streams, offsetof(Policy, hold_streams), false },
        };

        return json_read_object(r, value, fields, ELEMENTSOF(fields), target);
}

static int read_content(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_free_ char *hex = NULL;
        int q;

        if (!value)
                return json_reader_fail(r, -EBADMSG, "a digest or build id is needed here, not null");
        q = json_read_hex_or_null(r, value, &hex);
        return q < 0 ? q : strv_extend(target, hex);
}

static int read_contents(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_content, target);
}

/* "profile" was read before all others, since they build on it. */
static int read_profile(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;

        return json_read_string_value(r, value, &s);
}

static int new_from_profile(JsonReader *r, const JsonValue *value, Policy **ret) {
        const JsonValue *member = NULL;
        const char *profile;
        size_t mark;
        int q;

        if (json_is(value, JSON_OBJECT))
                member = json_find(r, value, "profile");
        if (!member)
                return policy_new_profile(POLICY_PROFILE_DEFAULT, ret);
        mark = json_reader_push_member(r, member);
        q = json_read_string_value(r, member, &profile);
        if (q < 0)
                return q;
        q = policy_new_profile(profile, ret);
        if (q == -ENOENT)
                return json_reader_fail(r, -EBADMSG,
                                        "there is no profile \"%.64s\": upstream, block-disable, level-only",
                                        profile);
        json_reader_pop(r, mark);
        return q;
}

int json_read_policy(JsonReader *r, const JsonValue *value, Policy **ret) {
        static const JsonField fields[] = {
                { "$schema", json_read_ignored_text, 0, false },
                { "description", json_read_ignored_text, 0, false },
                { "profile", read_profile, 0, false },
                { "rules", read_rules, offsetof(Policy, modes), false },
                { "compatible_vendors", read_pairs, 0, false },
                { "hold", read_hold, 0, false },
                { "quarantine", read_contents, offsetof(Policy, quarantine), false },
                { "require_signature", json_read_bool, offsetof(Policy, require_signature), false },
                { "allow_force", json_read_bool, offsetof(Policy, allow_force), false },
        };
        _cleanup_policy_free_ Policy *p = NULL;
        int q;

        q = new_from_profile(r, value, &p);
        if (q < 0)
                return q;
        q = json_read_object(r, value, fields, ELEMENTSOF(fields), p);
        if (q < 0)
                return q;
        *ret = TAKE_PTR(p);
        return 0;
}

int policy_parse(const char *text, size_t size, Policy **ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        q = json_read_policy(&r, r.root, ret);
        return q;
}

static struct json_object *pairs_to_json(const Policy *p) {
        struct json_object *array = json_object_new_array();
        int r = 0;

        if (!array)
                return NULL;
        for (size_t i = 0; r >= 0 && i < p->n_compatible_vendors; i++) {
                char *pair[] = { p->compatible_vendors[i].a, p->compatible_vendors[i].b, NULL };

                r = json_append(array, json_from_strv(pair));
        }
        return json_finish(array, r);
}

static struct json_object *hold_to_json(const Policy *p) {
        struct json_object *obj = json_object_new_object();
        int r;

        if (!obj)
                return NULL;
        r = json_add(obj, "host", json_object_new_boolean(p->hold));
        if (r >= 0)
                r = json_add_string(obj, "reason", p->hold_reason);
        if (r >= 0)
                r = json_add(obj, "streams", json_from_strv(p->hold_streams));
        return json_finish(obj, r);
}

struct json_object *policy_to_json(const Policy *p) {
        struct json_object *obj = json_object_new_object(), *rules = NULL;
        int r;

        if (!obj)
                return NULL;
        r = json_add_string(obj, "profile", p->profile);
        if (r >= 0) {
                rules = json_object_new_object();
                r = json_add(obj, "rules", rules);
        }
        for (int i = 0; r >= 0 && i < _RULE_MAX; i++)
                r = json_add_string(rules, rule_to_string((Rule) i), rule_mode_to_string(p->modes[i]));
        if (r >= 0)
                r = json_add(obj, "compatible_vendors", pairs_to_json(p));
        if (r >= 0)
                r = json_add(obj, "hold", hold_to_json(p));
        if (r >= 0)
                r = json_add(obj, "quarantine", json_from_strv(p->quarantine));
        if (r >= 0)
                r = json_add(obj, "require_signature", json_object_new_boolean(p->require_signature));
        if (r >= 0)
                r = json_add(obj, "allow_force", json_object_new_boolean(p->allow_force));
        return json_finish(obj, r);
}
