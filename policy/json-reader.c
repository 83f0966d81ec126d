/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "policy/json-reader.h"
#include "policy/json-scan.h"
#include "policy/json.h"

int json_parse_strict(const char *text, size_t size, struct json_object **ret, PolicyError *error) {
        struct json_tokener *tokener;
        struct json_object *obj;
        enum json_tokener_error e;
        int r;

        if (size > JSON_SIZE_MAX)
                return policy_error_set(error, -E2BIG, "the document is longer than %u bytes",
                                        JSON_SIZE_MAX);
        r = json_scan(text, size, JSON_DEPTH_MAX, error);
        if (r < 0)
                return r;

        /* json-c counts a scalar as a level of its own */
        tokener = json_tokener_new_ex((int) JSON_DEPTH_MAX + 2);
        if (!tokener)
                return policy_error_set(error, -ENOMEM, "out of memory");
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        obj = json_tokener_parse_ex(tokener, text, (int) size);
        e = json_tokener_get_error(tokener);
        if (e == json_tokener_continue) {
                /* a number at the very end may go on for all that json-c knows */
                obj = json_tokener_parse_ex(tokener, "", 1);
                e = json_tokener_get_error(tokener);
        }
        json_tokener_free(tokener);
        if (e != json_tokener_success) {
                json_object_put(obj);
                return policy_error_set(error, -EBADMSG, "%s", json_tokener_error_desc(e));
        }
        *ret = obj;
        return 0;
}

int json_reader_init(JsonReader *r, const char *text, size_t size, PolicyError *error) {
        r->text = text;
        r->size = size;
        r->root = NULL;
        r->error = error;
        r->path[0] = 0;
        r->path_size = 0;
        return json_parse_strict(text, size, &r->root, error);
}

void json_reader_done(JsonReader *r) {
        json_object_put(r->root);
        r->root = NULL;
}

int json_reader_fail(JsonReader *r, int code, const char *format, ...) {
        char message[sizeof(r->error->message)];
        va_list ap;

        if (!r->error)
                return code;
        va_start(ap, format);
        (void) vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        (void) policy_error_set(r->error, code, "%s", message);
        (void) snprintf(r->error->key, sizeof(r->error->key), "%.*s", (int) sizeof(r->error->key) - 1,
                        r->path);
        (void) json_locate(r->text, r->size, r->path, &r->error->line, &r->error->column);
        return code;
}

static size_t push(JsonReader *r, const char *format, ...) _printf_(2, 3);

/* A path that doesn't fit is cut; its line can't be found then, all else works. */
static size_t push(JsonReader *r, const char *format, ...) {
        size_t mark = r->path_size;
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(r->path + mark, sizeof(r->path) - mark, format, ap);
        va_end(ap);
        if (n > 0)
                r->path_size += (size_t) n < sizeof(r->path) - mark ? (size_t) n
                                                                    : sizeof(r->path) - mark - 1;
        return mark;
}

size_t json_reader_push_key(JsonReader *r, const char *key) {
        return push(r, "%s%.100s", r->path_size > 0 ? "." : "", key);
}

void json_reader_pop(JsonReader *r, size_t mark) {
        r->path_size = mark;
        r->path[mark] = 0;
}

static const char *type_text(struct json_object *value) {
        switch (json_object_get_type(value)) {
        case json_type_null:
                return "null";
        case json_type_boolean:
                return "a boolean";
        case json_type_double:
        case json_type_int:
                return "a number";
        case json_type_object:
                return "an object";
        case json_type_array:
                return "an array";
        case json_type_string:
                return "a string";
        }
        return "something else";
}

static int wrong_type(JsonReader *r, struct json_object *value, const char *wanted) {
        (void) json_reader_fail(r, -EBADMSG, "%s is needed here, not %s", wanted, type_text(value));
        return -EBADMSG;
}

int json_read_object(JsonReader *r, struct json_object *value, const JsonField *fields, size_t n_fields,
                     void *target) {
        uint64_t seen = 0;
        int q;

        if (!json_object_is_type(value, json_type_object))
                return wrong_type(r, value, "an object");
        json_object_object_foreach(value, key, member) {
                size_t mark = json_reader_push_key(r, key), i;

                for (i = 0; i < n_fields; i++)
                        if (streq(fields[i].key, key))
                                break;
                if (i >= n_fields)
                        return json_reader_fail(r, -EBADMSG, "unknown key");
                seen |= UINT64_C(1) << i;
                q = fields[i].read(r, member, (char *) target + fields[i].offset);
                if (q < 0)
                        return q;
                json_reader_pop(r, mark);
        }
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].required && !(seen & (UINT64_C(1) << i)))
                        return json_reader_fail(r, -EBADMSG, "the key \"%s\" is missing", fields[i].key);
        return 0;
}

int json_read_array(JsonReader *r, struct json_object *value, size_t max, json_field_fn read, void *target) {
        size_t n;
        int q;

        if (!json_object_is_type(value, json_type_array))
                return wrong_type(r, value, "an array");
        n = json_object_array_length(value);
        if (n > max)
                return json_reader_fail(r, -EBADMSG, "%zu elements, and at most %zu are allowed", n, max);
        for (size_t i = 0; i < n; i++) {
                size_t mark = push(r, "[%zu]", i);

                q = read(r, json_object_array_get_idx(value, i), target);
                if (q < 0)
                        return q;
                json_reader_pop(r, mark);
        }
        return 0;
}

int json_read_string_value(JsonReader *r, struct json_object *value, const char **ret) {
        if (!json_object_is_type(value, json_type_string)) {
                (void) wrong_type(r, value, "a string");
                return -EBADMSG; /* said here, so that the compiler sees that *ret is set otherwise */
        }
        *ret = json_object_get_string(value);
        return 0;
}

int json_read_u64_value(JsonReader *r, struct json_object *value, uint64_t max, uint64_t *ret) {
        uint64_t v;

        if (!json_object_is_type(value, json_type_int))
                return wrong_type(r, value, "a whole number");
        v = json_object_get_uint64(value);
        /* json-c clamps a negative number to 0 here: ask for its sign */
        if (json_object_get_int64(value) < 0 || v > max)
                return json_reader_fail(r, -EBADMSG, "must be from 0 to %" PRIu64, max);
        *ret = v;
        return 0;
}

int json_read_bool(JsonReader *r, struct json_object *value, void *target) {
        if (!json_object_is_type(value, json_type_boolean))
                return wrong_type(r, value, "true or false");
        *(bool *) target = json_object_get_boolean(value);
        return 0;
}

int json_read_u32(JsonReader *r, struct json_object *value, void *target) {
        uint64_t v;
        int q;

        q = json_read_u64_value(r, value, UINT32_MAX, &v);
        if (q < 0)
                return q;
        *(uint32_t *) target = (uint32_t) v;
        return 0;
}

int json_read_u64(JsonReader *r, struct json_object *value, void *target) {
        return json_read_u64_value(r, value, UINT64_MAX, target);
}

int json_read_name(JsonReader *r, struct json_object *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!patch_name_is_valid(s))
                return json_reader_fail(r, -EBADMSG, "not a name (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        return patch_set(target, s);
}

int json_read_name_or_null(JsonReader *r, struct json_object *value, void *target) {
        return value ? json_read_name(r, value, target) : 0;
}

static int check_text(JsonReader *r, const char *s) {
        size_t n = strlen(s);

        if (n == 0 || n > PATCH_STRING_MAX)
                return json_reader_fail(r, -EBADMSG, "a text of 1 to %u bytes is needed here",
                                        PATCH_STRING_MAX);
        for (; *s; s++)
                if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        return json_reader_fail(r, -EBADMSG, "control character in a text");
        return 0;
}

int json_read_text(JsonReader *r, struct json_object *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = check_text(r, s);
        if (q < 0)
                return q;
        return patch_set(target, s);
}

int json_read_text_or_null(JsonReader *r, struct json_object *value, void *target) {
        return value ? json_read_text(r, value, target) : 0;
}

int json_read_ignored_text(JsonReader *r, struct json_object *value, void *target) {
        const char *s;

        return json_read_string_value(r, value, &s);
}

int json_read_hex_or_null(JsonReader *r, struct json_object *value, void *target) {
        const char *s;
        size_t n;
        int q;

        if (!value)
                return 0;
        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        n = strspn(s, "0123456789abcdef");
        if (n == 0 || n > 128 || s[n])
                return json_reader_fail(r, -EBADMSG,
                                        "1 to 128 lower-case hexadecimal digits are needed here");
        return patch_set(target, s);
}

static int read_list_text(JsonReader *r, struct json_object *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = check_text(r, s);
        if (q < 0)
                return q;
        return strv_extend(target, s);
}

static int read_list_name(JsonReader *r, struct json_object *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!patch_name_is_valid(s))
                return json_reader_fail(r, -EBADMSG, "not a name (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        return strv_extend(target, s);
}

int json_read_text_list(JsonReader *r, struct json_object *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_list_text, target);
}

int json_read_name_list(JsonReader *r, struct json_object *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_list_name, target);
}

int json_to_line(struct json_object *obj, char **ret) {
        const char *s = json_object_to_json_string_ext(obj, JSON_C_TO_STRING_PLAIN |
                                                                            JSON_C_TO_STRING_NOSLASHESCAPE);
        char *copy = s ? strdup(s) : NULL;

        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}
