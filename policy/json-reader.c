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

int json_reader_begin(JsonReader *r, const char *text, size_t size, PolicyError *error) {
        int q;

        r->text = text;
        r->size = size;
        r->root = NULL;
        r->error = error;
        r->n_frames = 0;
        if (size > JSON_SIZE_MAX)
                return policy_error_set(error, -E2BIG, "the document is longer than %u bytes",
                                        JSON_SIZE_MAX);
        q = json_scan_tape(&r->tape, text, size, JSON_DEPTH_MAX, error);
        if (q < 0)
                return q;
        if (size + 1 > r->room) {
                free(r->copy);
                r->room = 0;
                r->copy = malloc(size + 1);
                if (!r->copy)
                        return policy_error_set(error, -ENOMEM, "out of memory");
                r->room = size + 1;
        }
        memcpy(r->copy, text, size);
        r->root = &r->tape.values[0];
        return 0;
}

void json_reader_done(JsonReader *r) {
        json_tape_done(&r->tape);
        free(r->copy);
        *r = (JsonReader) {};
}

/* "patches[1].states[0].version" */
static void format_path(const JsonReader *r, char *buf, size_t size) {
        size_t used = 0;

        buf[0] = 0;
        for (size_t i = 0; i < r->n_frames; i++) {
                const JsonFrame *f = &r->frames[i];
                int n;

                if (f->key)
                        n = snprintf(buf + used, size - used, "%s%.*s", used > 0 ? "." : "",
                                     f->key->size > 100 ? 100 : (int) f->key->size,
                                     r->text + f->key->offset);
                else
                        n = snprintf(buf + used, size - used, "[%zu]", f->index);
                if (n < 0 || (size_t) n >= size - used)
                        return;
                used += (size_t) n;
        }
}

int json_reader_fail(JsonReader *r, int code, const char *format, ...) {
        const JsonValue *at = r->n_frames > 0 ? r->frames[r->n_frames - 1].value : r->root;
        char message[sizeof(r->error->message)], path[512];
        size_t offset;
        va_list ap;

        if (!r->error)
                return code;
        va_start(ap, format);
        (void) vsnprintf(message, sizeof(message), format, ap);
        va_end(ap);
        (void) policy_error_set(r->error, code, "%s", message);
        format_path(r, path, sizeof(path));
        (void) snprintf(r->error->key, sizeof(r->error->key), "%.*s", (int) sizeof(r->error->key) - 1, path);
        offset = at->type == JSON_STRING ? at->offset - 1 : at->offset;
        json_position(r->text, offset, &r->error->line, &r->error->column);
        return code;
}

/* Documents are not deeper than JSON_DEPTH_MAX, so there is always room. */
_Static_assert(JSON_DEPTH_MAX < JSON_READER_DEPTH, "a frame for each level");

static size_t push(JsonReader *r, const JsonValue *key, size_t index, const JsonValue *value) {
        size_t mark = r->n_frames;

        if (mark < JSON_READER_DEPTH)
                r->frames[r->n_frames++] = (JsonFrame) { .key = key, .index = index, .value = value };
        return mark;
}

size_t json_reader_push_member(JsonReader *r, const JsonValue *value) {
        return push(r, value - 1, 0, value);
}

void json_reader_pop(JsonReader *r, size_t mark) {
        r->n_frames = mark;
}

static const JsonValue *or_null(const JsonValue *value) {
        return value->type == JSON_NULL ? NULL : value;
}

static const char *type_text(const JsonValue *value) {
        if (!value)
                return "null";
        switch ((JsonType) value->type) {
        case JSON_NULL:
                return "null";
        case JSON_FALSE:
        case JSON_TRUE:
                return "a boolean";
        case JSON_NUMBER:
                return "a number";
        case JSON_OBJECT:
                return "an object";
        case JSON_ARRAY:
                return "an array";
        case JSON_STRING:
                return "a string";
        }
        return "something else";
}

static int wrong_type(JsonReader *r, const JsonValue *value, const char *wanted) {
        (void) json_reader_fail(r, -EBADMSG, "%s is needed here, not %s", wanted, type_text(value));
        return -EBADMSG;
}

static bool key_is(const JsonReader *r, const JsonValue *key, const char *s) {
        return strncmp(r->text + key->offset, s, key->size) == 0 && s[key->size] == 0;
}

const JsonValue *json_find(const JsonReader *r, const JsonValue *object, const char *key) {
        const JsonValue *k;

        if (!json_is(object, JSON_OBJECT))
                return NULL;
        k = object + 1;
        for (uint32_t i = 0; i < object->size; i++) {
                if (key_is(r, k, key))
                        return or_null(k + 1);
                k += 1 + k[1].skip;
        }
        return NULL;
}

int json_read_object(JsonReader *r, const JsonValue *value, const JsonField *fields, size_t n_fields,
                     void *target) {
        const JsonValue *key;
        uint64_t seen = 0;
        size_t guess = 0; /* members mostly come in the order of the table */
        int q;

        if (!json_is(value, JSON_OBJECT))
                return wrong_type(r, value, "an object");
        key = value + 1;
        for (uint32_t m = 0; m < value->size; m++) {
                const JsonValue *member = key + 1;
                size_t mark = push(r, key, 0, member), i;

                for (i = guess; i < n_fields; i++)
                        if (key_is(r, key, fields[i].key))
                                break;
                if (i >= n_fields)
                        for (i = 0; i < guess; i++)
                                if (key_is(r, key, fields[i].key))
                                        break;
                if (i >= n_fields || !key_is(r, key, fields[i].key))
                        return json_reader_fail(r, -EBADMSG, "unknown key");
                guess = i + 1;
                seen |= UINT64_C(1) << i;
                q = fields[i].read(r, or_null(member), (char *) target + fields[i].offset);
                if (q < 0)
                        return q;
                json_reader_pop(r, mark);
                key = member + member->skip;
        }
        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].required && !(seen & (UINT64_C(1) << i)))
                        return json_reader_fail(r, -EBADMSG, "the key \"%s\" is missing", fields[i].key);
        return 0;
}

int json_read_document(const char *text, size_t size, const JsonField *fields, size_t n_fields, void *target,
                       PolicyError *error) {
        _cleanup_json_reader_ JsonReader reader = {};
        int q;

        q = json_reader_begin(&reader, text, size, error);
        return q < 0 ? q : json_read_object(&reader, reader.root, fields, n_fields, target);
}

int json_read_array(JsonReader *r, const JsonValue *value, size_t max, json_field_fn read, void *target) {
        const JsonValue *element;
        int q;

        if (!json_is(value, JSON_ARRAY))
                return wrong_type(r, value, "an array");
        if (value->size > max)
                return json_reader_fail(r, -EBADMSG, "%" PRIu32 " elements, and at most %zu are allowed",
                                        value->size, max);
        element = value + 1;
        for (uint32_t i = 0; i < value->size; i++) {
                size_t mark = push(r, NULL, i, element);

                q = read(r, or_null(element), target);
                if (q < 0)
                        return q;
                json_reader_pop(r, mark);
                element += element->skip;
        }
        return 0;
}

static uint32_t put_utf8(char *p, uint32_t u) {
        if (u < 0x80) {
                p[0] = (char) u;
                return 1;
        }
        if (u < 0x800) {
                p[0] = (char) (0xc0 | (u >> 6));
                p[1] = (char) (0x80 | (u & 0x3f));
                return 2;
        }
        if (u < 0x10000) {
                p[0] = (char) (0xe0 | (u >> 12));
                p[1] = (char) (0x80 | ((u >> 6) & 0x3f));
                p[2] = (char) (0x80 | (u & 0x3f));
                return 3;
        }
        p[0] = (char) (0xf0 | (u >> 18));
        p[1] = (char) (0x80 | ((u >> 12) & 0x3f));
        p[2] = (char) (0x80 | ((u >> 6) & 0x3f));
        p[3] = (char) (0x80 | (u & 0x3f));
        return 4;
}

static uint32_t hex4(const char *p) {
        uint32_t v = 0;

        for (int i = 0; i < 4; i++)
                v = v * 16 + (uint32_t) (p[i] <= '9' ? p[i] - '0' : (p[i] | 0x20) - 'a' + 10);
        return v;
}

/* In the copy: what the escapes stand for is never longer than they are. The scanner has checked them. */
static void unescape(char *s, uint32_t size) {
        uint32_t in = 0, out = 0;

        while (in < size) {
                static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
                const char *simple;
                uint32_t u;

                if (s[in] != '\\') {
                        s[out++] = s[in++];
                        continue;
                }
                if (s[in + 1] != 'u') {
                        simple = strchr(from, s[in + 1]);
                        s[out++] = simple ? to[simple - from] : s[in + 1];
                        in += 2;
                        continue;
                }
                u = hex4(s + in + 2);
                in += 6;
                if (u >= 0xd800 && u < 0xdc00) {
                        u = 0x10000 + ((u - 0xd800) << 10) + (hex4(s + in + 2) - 0xdc00);
                        in += 6;
                }
                out += put_utf8(s + out, u);
        }
        s[out] = 0;
}

/* The text of a string, from the copy of the document. */
static const char *text_of(JsonReader *r, const JsonValue *value) {
        char *s = r->copy + value->offset;

        if (value->escaped) {
                JsonValue *v = &r->tape.values[value - r->tape.values];

                unescape(s, value->size);
                v->escaped = false; /* done; the NUL stands */
                v->size = (uint32_t) strlen(s);
        } else
                s[value->size] = 0;
        return s;
}

int json_read_members(JsonReader *r, const JsonValue *value, size_t max, json_member_fn read, void *target) {
        const JsonValue *key;
        int q;

        if (!json_is(value, JSON_OBJECT))
                return wrong_type(r, value, "an object");
        if (value->size > max)
                return json_reader_fail(r, -EBADMSG, "%" PRIu32 " members, and at most %zu are allowed",
                                        value->size, max);
        key = value + 1;
        for (uint32_t i = 0; i < value->size; i++) {
                const JsonValue *member = key + 1;
                size_t mark = push(r, key, 0, member);

                q = read(r, text_of(r, key), or_null(member), target);
                if (q < 0)
                        return q;
                json_reader_pop(r, mark);
                key = member + member->skip;
        }
        return 0;
}

int json_read_string_value(JsonReader *r, const JsonValue *value, const char **ret) {
        if (!json_is(value, JSON_STRING)) {
                (void) wrong_type(r, value, "a string");
                return -EBADMSG; /* said here, so that the compiler sees that *ret is set otherwise */
        }
        *ret = text_of(r, value);
        return 0;
}

int json_read_u64_value(JsonReader *r, const JsonValue *value, uint64_t max, uint64_t *ret) {
        if (!json_is(value, JSON_NUMBER)) {
                (void) wrong_type(r, value, "a whole number");
                return -EBADMSG; /* as above */
        }
        if ((value->negative && value->number > 0) || value->number > max) {
                (void) json_reader_fail(r, -EBADMSG, "must be from 0 to %" PRIu64, max);
                return -EBADMSG;
        }
        *ret = value->number;
        return 0;
}

int json_read_bool(JsonReader *r, const JsonValue *value, void *target) {
        if (!json_is(value, JSON_TRUE) && !json_is(value, JSON_FALSE))
                return wrong_type(r, value, "true or false");
        *(bool *) target = value->type == JSON_TRUE;
        return 0;
}

int json_read_u32(JsonReader *r, const JsonValue *value, void *target) {
        uint64_t v;
        int q;

        q = json_read_u64_value(r, value, UINT32_MAX, &v);
        if (q < 0)
                return q;
        *(uint32_t *) target = (uint32_t) v;
        return 0;
}

int json_read_version(JsonReader *r, const JsonValue *value, void *target, uint32_t known) {
        int q = json_read_u32(r, value, target);

        if (q >= 0 && *(uint32_t *) target != known)
                return json_reader_fail(r, -EBADMSG, "version %" PRIu32 " of this record isn't known, only %" PRIu32,
                                        *(uint32_t *) target, known);
        return q;
}

int json_read_u64(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_u64_value(r, value, UINT64_MAX, target);
}

int json_read_name(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!patch_name_is_valid(s))
                return json_reader_fail(r, -EBADMSG, "not a name (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        return free_and_strdup(target, s);
}

int json_read_name_or_null(JsonReader *r, const JsonValue *value, void *target) {
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

int json_read_text(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = check_text(r, s);
        if (q < 0)
                return q;
        return free_and_strdup(target, s);
}

int json_read_text_or_null(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_text(r, value, target) : 0;
}

int json_read_ignored_text(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;

        return json_read_string_value(r, value, &s);
}

int json_read_hex_or_null(JsonReader *r, const JsonValue *value, void *target) {
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
        return free_and_strdup(target, s);
}

static int read_list_text(JsonReader *r, const JsonValue *value, void *target) {
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

static int read_list_name(JsonReader *r, const JsonValue *value, void *target) {
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

int json_read_text_list(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, PATCH_LIST_MAX, read_list_text, target);
}

int json_read_name_list(JsonReader *r, const JsonValue *value, void *target) {
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
