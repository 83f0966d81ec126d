/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bounded scanner in front of everything that reads JSON: it looks at every byte of a document and refuses
 * what readers merge, cut, clamp or guess: duplicate keys, NUL in strings, numbers that are not whole or don't
 * fit 64 bits, bad UTF-8, lone surrogates, escapes in keys, comments, trailing commas, anything after the
 * document, depth and size beyond the bounds. No recursion.
 *
 * On its way it can write a tape: one JsonValue for each value and each key, in the order of the document. A
 * container is followed by what is in it (in an object key and value take turns), and skip leads past all of
 * that. Strings stay where they are, in the text. json-reader.h walks it.
 */
#pragma once

#include "policy/error.h"

typedef enum JsonType {
        JSON_NULL,
        JSON_FALSE,
        JSON_TRUE,
        JSON_NUMBER,
        JSON_STRING, /* keys, too */
        JSON_ARRAY,
        JSON_OBJECT,
} JsonType;

typedef struct JsonValue {
        uint8_t type;    /* JsonType */
        bool escaped;    /* a string with escapes in it */
        bool negative;   /* a number with a sign */
        uint32_t offset; /* where it begins in the text; of a string: behind the quote */
        uint32_t size;   /* of a string: bytes up to the closing quote; of a container: elements or members */
        uint32_t skip;   /* value + skip is what follows it */
        uint64_t number; /* without its sign */
} JsonValue;

typedef struct JsonKey JsonKey;

/* Zeroed is empty. It keeps its memory for the next document until json_tape_done(). */
typedef struct JsonTape {
        JsonValue *values;
        size_t n, room;

        JsonKey *keys; /* of the objects that are open, while scanning */
        size_t keys_room;
} JsonTape;

void json_tape_done(JsonTape *t);

/* The longest document: offsets are 32 bits. */
#define JSON_SCAN_MAX (UINT32_MAX - 1)

/* -EBADMSG, -E2BIG, -ENOMEM; error has line, column and, within an object, the key. */
int json_scan(const char *text, size_t size, unsigned depth_max, PolicyError *error);
/* The same, and writes the tape; values[0] is the document. */
int json_scan_tape(JsonTape *t, const char *text, size_t size, unsigned depth_max, PolicyError *error);

/* Length of the well-formed UTF-8 sequence at p (no overlong forms, no surrogates, at most U+10FFFF), or 0. */
size_t json_utf8_length(const unsigned char *p, size_t left);
/* The four hexadecimal digits behind \u; -EBADMSG. */
int json_hex4(const char *p, const char *end, unsigned *ret);

/* Line and column, from 1, of an offset. */
void json_position(const char *text, size_t offset, unsigned *ret_line, unsigned *ret_column);
