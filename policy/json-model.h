/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the JSON files of policy/ share; internal. */
#pragma once

#include "policy/json-reader.h"
#include "policy/json-writer.h"
#include "policy/json.h"
#include "policy/relation.h"

/* kind: the default. in_inventory: "forced" and "orphan" are allowed. */
int json_read_patch(JsonReader *r, const JsonValue *value, PatchKind kind, bool in_inventory,
                    Patch **ret);
int json_read_inventory(JsonReader *r, const JsonValue *value, Inventory **ret);
int json_read_policy(JsonReader *r, const JsonValue *value, Policy **ret);

void json_write_plan(JsonWriter *w, const Plan *plan);

/* Each takes the reference on value, also when it fails; -ENOMEM, also if value is NULL. */
int json_add(struct json_object *obj, const char *key, struct json_object *value);
int json_append(struct json_object *array, struct json_object *value);
/* A NULL string is left out. */
int json_add_string(struct json_object *obj, const char *key, const char *s);
struct json_object *json_from_strv(char *const *l);
/* obj, or NULL (and obj put) if r is negative. */
struct json_object *json_finish(struct json_object *obj, int r);
