/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The strict reader: what the scanner accepts json-c must accept too (the scanner is never the more lenient of the
 * two), no string of it has a NUL inside, and the tape says of every value what json-c says of it.
 */
#include "policy/json-reader.h"
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

static void compare(JsonReader *r, const JsonValue *value, struct json_object *obj);

/* json-c keeps the members in the order of the document, since no key is there twice. */
static int compare_member(JsonReader *r, const char *key, const JsonValue *value, void *target) {
        struct lh_entry **entry = target;

        must(*entry);
        must(streq(key, lh_entry_k(*entry)));
        compare(r, value, (struct json_object *) lh_entry_v(*entry));
        *entry = (*entry)->next;
        return 0;
}

typedef struct Elements {
        struct json_object *array;
        size_t next;
} Elements;

static int compare_element(JsonReader *r, const JsonValue *value, void *target) {
        Elements *e = target;

        compare(r, value, json_object_array_get_idx(e->array, e->next++));
        return 0;
}

static void compare(JsonReader *r, const JsonValue *value, struct json_object *obj) {
        const char *s;
        uint64_t n;

        must(!value == !obj);
        if (!value)
                return;
        switch ((JsonType) value->type) {
        case JSON_NULL:
                abort(); /* is NULL */
        case JSON_FALSE:
        case JSON_TRUE:
                must(json_object_is_type(obj, json_type_boolean));
                must(json_object_get_boolean(obj) == (value->type == JSON_TRUE));
                break;
        case JSON_NUMBER:
                must(json_object_is_type(obj, json_type_int));
                if (value->negative)
                        must((uint64_t) json_object_get_int64(obj) == -value->number);
                else
                        must(json_object_get_uint64(obj) == value->number);
                must((json_read_u64_value(r, value, UINT64_MAX, &n) == 0) ==
                     (!value->negative || value->number == 0));
                break;
        case JSON_STRING:
                must(json_object_is_type(obj, json_type_string));
                must(json_read_string_value(r, value, &s) == 0);
                must(streq(s, json_object_get_string(obj)));
                must(strlen(s) == (size_t) json_object_get_string_len(obj));
                must(json_read_string_value(r, value, &s) == 0); /* and again, with its escapes gone */
                must(streq(s, json_object_get_string(obj)));
                break;
        case JSON_ARRAY: {
                Elements e = { .array = obj };

                must(json_object_is_type(obj, json_type_array));
                must(json_read_array(r, value, SIZE_MAX, compare_element, &e) == 0);
                must(e.next == json_object_array_length(obj));
                break;
        }
        case JSON_OBJECT: {
                struct lh_entry *entry;

                must(json_object_is_type(obj, json_type_object));
                entry = json_object_get_object(obj)->head;
                must(json_read_members(r, value, SIZE_MAX, compare_member, &entry) == 0);
                must(!entry);
                break;
        }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static JsonReader reader; /* keeps its memory, as a batch does */
        const char *text = (const char *) data;
        struct json_object *obj = NULL;
        PolicyError error = {};

        if (json_scan(text, size, JSON_DEPTH_MAX, &error) < 0) {
                must(error.message[0] && error.line > 0 && error.column > 0);
                must(json_parse_strict(text, size, &obj, NULL) < 0);
                must(json_reader_begin(&reader, text, size, NULL) < 0);
                return 0;
        }
        must(json_parse_strict(text, size, &obj, &error) == 0);
        must(json_reader_begin(&reader, text, size, &error) == 0);
        compare(&reader, reader.root->type == JSON_NULL ? NULL : reader.root, obj);
        json_object_put(obj);
        return 0;
}
