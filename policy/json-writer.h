/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON as text, straight into a buffer, for what is written often: results of plans, lines about hosts. Commas
 * come by themselves. A zeroed writer is empty; it keeps its memory for the next text (json_writer_reset())
 * until json_writer_done(). Want of memory is remembered and said at the end by json_writer_text(). Internal to
 * policy/.
 */
#pragma once

#include "policy/util.h"

typedef struct JsonWriter {
        char *text;
        size_t size, room;
        bool comma, failed;
} JsonWriter;

void json_writer_reset(JsonWriter *w);
void json_writer_done(JsonWriter *w);
#define _cleanup_json_writer_ _cleanup_(json_writer_done)
/* The text so far, NUL-terminated, the writer's own; NULL: -ENOMEM somewhere on the way. */
const char *json_writer_text(JsonWriter *w);

void json_write_open(JsonWriter *w, char bracket); /* '{' or '[' */
void json_write_close(JsonWriter *w, char bracket);
void json_write_key(JsonWriter *w, const char *key); /* needs no escapes */
void json_write_string(JsonWriter *w, const char *s);
void json_write_u64(JsonWriter *w, uint64_t n);
void json_write_bool(JsonWriter *w, bool b);
void json_write_null(JsonWriter *w);

/* Key and value; nothing at all for a NULL string. */
void json_write_member(JsonWriter *w, const char *key, const char *s);
void json_write_member_u64(JsonWriter *w, const char *key, uint64_t n);
