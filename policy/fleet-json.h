/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fast reader for many small JSON documents of one shape: one pass, no tree, no allocation per value. It
 * refuses all that json_scan() refuses (json-scan.h), and objects with more than 256 members; it is fuzzed
 * against it. Strings are slices of the text, or of a buffer of the reader's where they had escapes.
 *
 * The shape is given as tables of members; each has a reader that is called at its value and goes past it.
 */
#pragma once

#include "policy/fleet.h"

#define FLEET_JSON_DEPTH 32U
#define FLEET_JSON_MEMBERS 256U

typedef struct FleetJson {
        const char *start, *p, *end;
        char *scratch; /* for strings with escapes; as large as the text, so that they never move */
        size_t scratch_size, scratch_used;
        unsigned depth;
        FleetSlice keys[FLEET_JSON_DEPTH]; /* of the members that are being read, for errors */
        PolicyError *error;
} FleetJson;

typedef int (*fleet_json_fn)(FleetJson *j, void *target);

typedef struct FleetJsonMember {
        const char *key;
        uint8_t size; /* of the key */
        bool required;
        fleet_json_fn read; /* NULL: checked as JSON and skipped */
} FleetJsonMember;

#define FLEET_JSON_MEMBER(name, function, needed) { name, sizeof(name) - 1, needed, function }

void fleet_json_begin(FleetJson *j, const char *text, size_t size, PolicyError *error);
void fleet_json_done(FleetJson *j); /* frees the buffer */
/* Nothing but blanks may be left. */
int fleet_json_end(FleetJson *j);
int fleet_json_fail(FleetJson *j, const char *message);

/* An object with the members of the table and no others. n at most 32. */
int fleet_json_object(FleetJson *j, const FleetJsonMember *members, size_t n, void *target);
/* An object with free keys. fn gets the key as j->keys[j->depth - 1]. */
int fleet_json_map(FleetJson *j, fleet_json_fn fn, void *target);
int fleet_json_array(FleetJson *j, size_t max, fleet_json_fn fn, void *target);
/* True, and past it, if the value is null. */
bool fleet_json_null(FleetJson *j);
int fleet_json_string(FleetJson *j, FleetSlice *ret);
int fleet_json_bool(FleetJson *j, bool *ret);
int fleet_json_u32(FleetJson *j, uint32_t *ret);
int fleet_json_skip(FleetJson *j);
