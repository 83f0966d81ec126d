/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading fleet documents: what fleet-document.c (document, levels, scalars) and fleet-rule.c (rules,
 * matches, waves, windows) share. Memory is the document's arena.
 */
#pragma once

#include "policy/arena.h"
#include "policy/fleet.h"
#include "policy/json-model.h"

typedef struct FleetReader {
        JsonReader json; /* first: readers of fields get it */
        FleetDocument *document;
        unsigned match_depth;
} FleetReader;

/* Zeroed room for n elements, at *(TYPE **) ret_list. */
int fleet_new_list(JsonReader *r, size_t n, size_t size, void *ret_list);
/* For an array with at least one element: room for as many. */
int fleet_begin_list(JsonReader *r, const JsonValue *value, size_t size, void *ret_list);
int fleet_copy_text(JsonReader *r, const char *s, const char **target);
/* json-c's own string: 1 to max bytes without control characters. */
int fleet_read_bounded(JsonReader *r, const JsonValue *value, size_t max, const char **ret);

/* Fields: target is of the type named. */
int fleet_read_text(JsonReader *r, const JsonValue *value, void *target); /* const char * */
int fleet_read_name(JsonReader *r, const JsonValue *value, void *target); /* const char * */
int fleet_read_stream(JsonReader *r, const JsonValue *value, void *target); /* two: vendor, stream */
int fleet_read_time(JsonReader *r, const JsonValue *value, void *target); /* uint64_t */
int fleet_read_level_number(JsonReader *r, const JsonValue *value, void *target); /* uint32_t */

/* fleet-rule.c; target: the FleetDocument */
int fleet_read_rules(JsonReader *r, const JsonValue *value, void *target);
