/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a checked document to structs: a reader walks json-c's objects with tables of fields, knows the path
 * of the value that it is at, and turns "this can't be" into line, column and key. Internal to policy/.
 */
#pragma once

#include <json-c/json.h>

#include "policy/error.h"

typedef struct JsonReader {
        const char *text;
        size_t size;
        struct json_object *root; /* owned */
        PolicyError *error;
        char path[512];
        size_t path_size;
} JsonReader;

/* Checks and parses; text must stay as long as the reader is used. */
int json_reader_init(JsonReader *r, const char *text, size_t size, PolicyError *error);
void json_reader_done(JsonReader *r);

typedef int (*json_field_fn)(JsonReader *r, struct json_object *value, void *target);

typedef struct JsonField {
        const char *key;
        json_field_fn read; /* gets target + offset */
        size_t offset;
        bool required;
} JsonField;

/* Each member must be in fields; unknown keys and missing required ones are errors. */
int json_read_object(JsonReader *r, struct json_object *value, const JsonField *fields, size_t n_fields,
                     void *target);
/* Calls read for each element with target; at most max of them. */
int json_read_array(JsonReader *r, struct json_object *value, size_t max, json_field_fn read, void *target);

/* For objects with free keys: the path of a member, and back. */
size_t json_reader_push_key(JsonReader *r, const char *key);
void json_reader_pop(JsonReader *r, size_t mark);

/* -EBADMSG (or another negative r) at the present path. */
int json_reader_fail(JsonReader *r, int code, const char *format, ...) _printf_(3, 4);

/* Values. The string is json-c's own, without NUL inside. */
int json_read_string_value(JsonReader *r, struct json_object *value, const char **ret);
int json_read_u64_value(JsonReader *r, struct json_object *value, uint64_t max, uint64_t *ret);

/* Fields: target is of the type named. */
int json_read_bool(JsonReader *r, struct json_object *value, void *target);          /* bool */
int json_read_u32(JsonReader *r, struct json_object *value, void *target);           /* uint32_t */
int json_read_u64(JsonReader *r, struct json_object *value, void *target);           /* uint64_t */
int json_read_name(JsonReader *r, struct json_object *value, void *target); /* char *: a valid name */
int json_read_name_or_null(JsonReader *r, struct json_object *value, void *target);  /* char * */
int json_read_text(JsonReader *r, struct json_object *value, void *target); /* char *: bounded free text */
int json_read_text_or_null(JsonReader *r, struct json_object *value, void *target);  /* char * */
int json_read_hex_or_null(JsonReader *r, struct json_object *value,
                          void *target); /* char *: lower-case hex */
int json_read_text_list(JsonReader *r, struct json_object *value,
                        void *target); /* char **: bounded free texts */
int json_read_name_list(JsonReader *r, struct json_object *value, void *target);     /* char ** */
int json_read_ignored_text(JsonReader *r, struct json_object *value, void *target);  /* a comment */
