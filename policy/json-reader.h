/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a checked document to structs: a reader walks the tape of json-scan.h with tables of fields, knows the path
 * of the value that it is at, and turns "this can't be" into line, column and key. Internal to policy/.
 *
 * The reader owns the tape and a copy of the text, in which strings get their NUL and lose their escapes when
 * they are asked for; they live until the next document. A zeroed reader is empty; json_reader_begin() may be
 * called again for another document and then reuses its memory.
 *
 * JSON's null is a NULL value for the functions that read one.
 */
#pragma once

#include "policy/error.h"
#include "policy/json-scan.h"

#define JSON_READER_DEPTH 64U

typedef struct JsonFrame {
        const JsonValue *key;   /* of a member, or NULL: an element */
        size_t index;           /* of an element */
        const JsonValue *value; /* where it is */
} JsonFrame;

typedef struct JsonReader {
        const char *text;
        size_t size;
        const JsonValue *root;
        PolicyError *error;
        JsonFrame frames[JSON_READER_DEPTH];
        size_t n_frames;

        /* private */
        JsonTape tape;
        char *copy;
        size_t room;
} JsonReader;

/* Checks the document; text must stay as long as the reader is used for it. */
int json_reader_begin(JsonReader *r, const char *text, size_t size, PolicyError *error);
void json_reader_done(JsonReader *r);
#define _cleanup_json_reader_ _cleanup_(json_reader_done)

typedef int (*json_field_fn)(JsonReader *r, const JsonValue *value, void *target);

typedef struct JsonField {
        const char *key;
        json_field_fn read; /* gets target + offset */
        size_t offset;
        bool required;
} JsonField;

static inline bool json_is(const JsonValue *value, JsonType type) {
        return value && value->type == type;
}

/* The member of that name of an object, or NULL. */
const JsonValue *json_find(const JsonReader *r, const JsonValue *object, const char *key);

/* Each member must be in fields (at most 64); unknown keys and missing required ones are errors. */
int json_read_object(JsonReader *r, const JsonValue *value, const JsonField *fields, size_t n_fields,
                     void *target);

/* A whole document that is one object: begin, json_read_object(), done. */
int json_read_document(const char *text, size_t size, const JsonField *fields, size_t n_fields, void *target,
                       PolicyError *error);

/* Calls read for each element with target; at most max of them. */
int json_read_array(JsonReader *r, const JsonValue *value, size_t max, json_field_fn read, void *target);
/* For objects with free keys: calls read for each member, with its key. */
typedef int (*json_member_fn)(JsonReader *r, const char *key, const JsonValue *value, void *target);
int json_read_members(JsonReader *r, const JsonValue *value, size_t max, json_member_fn read, void *target);

/* The path goes into a member, and back. */
size_t json_reader_push_member(JsonReader *r, const JsonValue *value);
void json_reader_pop(JsonReader *r, size_t mark);

/* -EBADMSG (or another negative r) at the present path. */
int json_reader_fail(JsonReader *r, int code, const char *format, ...) _printf_(3, 4);

/* Values. The string is the reader's own, without NUL inside. */
int json_read_string_value(JsonReader *r, const JsonValue *value, const char **ret);
int json_read_u64_value(JsonReader *r, const JsonValue *value, uint64_t max, uint64_t *ret);

/* Fields: target is of the type named. */
int json_read_bool(JsonReader *r, const JsonValue *value, void *target);          /* bool */
int json_read_u32(JsonReader *r, const JsonValue *value, void *target);           /* uint32_t */
/* As that; any but the known one is refused. For a field's own function. */
int json_read_version(JsonReader *r, const JsonValue *value, void *target, uint32_t known);
int json_read_u64(JsonReader *r, const JsonValue *value, void *target);           /* uint64_t */
int json_read_name(JsonReader *r, const JsonValue *value, void *target);          /* char *: a valid name */
int json_read_name_or_null(JsonReader *r, const JsonValue *value, void *target);  /* char * */
int json_read_text(JsonReader *r, const JsonValue *value, void *target); /* char *: bounded free text */
int json_read_text_or_null(JsonReader *r, const JsonValue *value, void *target);  /* char * */
int json_read_hex_or_null(JsonReader *r, const JsonValue *value, void *target); /* char *: lower-case hex */
int json_read_text_list(JsonReader *r, const JsonValue *value, void *target); /* char **: bounded free texts */
int json_read_name_list(JsonReader *r, const JsonValue *value, void *target);     /* char ** */
int json_read_ignored_text(JsonReader *r, const JsonValue *value, void *target);  /* a comment */
