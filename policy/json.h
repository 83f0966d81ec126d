/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The JSON formats of klpd (klpd-manifest(5), klpd-policy.json(5), klpctl(1)): from bytes to structs and
 * back.
 *
 * Reading is strict and bounded: size, depth, UTF-8, duplicate and unknown keys, wrong types, numbers out of
 * range and NUL in strings are refused with line and key; text needn't be NUL-terminated. Nothing is
 * returned unless all of it is right. -EBADMSG: not acceptable, error says why; -E2BIG: longer than the
 * bound; -ENOMEM.
 *
 * Writing gives a json_object that the caller puts (json_object_put()), or NULL for want of memory.
 */
#pragma once

#include <json-c/json.h>

#include "policy/error.h"
#include "policy/model.h"
#include "policy/plan.h"
#include "policy/policy.h"

#define JSON_SIZE_MAX (64U * 1024U * 1024U)
#define JSON_DEPTH_MAX 32U

/* PATCH: candidate, manifest, entry of a stack. */
int patch_parse(const char *text, size_t size, Patch **ret, PolicyError *error);
/* The same as a manifest beside a plain patch's module (NAME.klp.json): the kind is plain, nothing about how
 * it runs. */
int manifest_parse(const char *text, size_t size, Patch **ret, PolicyError *error);
int inventory_parse(const char *text, size_t size, Inventory **ret, PolicyError *error);
int policy_parse(const char *text, size_t size, Policy **ret, PolicyError *error);
/* A result as plan_to_json() writes it (from the daemon, from a batch), to show it. Steps, functions, fixes
 * included. */
int plan_parse(const char *text, size_t size, Plan **ret, PolicyError *error);

struct json_object *patch_to_json(const Patch *patch);
struct json_object *inventory_to_json(const Inventory *inventory);
struct json_object *policy_to_json(const Policy *policy);
struct json_object *plan_to_json(const Plan *plan);

/* Any document, checked the same strict way, for those who read others: klpctl's input, fleet files. */
int json_parse_strict(const char *text, size_t size, struct json_object **ret, PolicyError *error);
/* obj as one line of text without a newline at the end; malloc'ed. */
int json_to_line(struct json_object *obj, char **ret);
