/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON values: from D-Bus messages, and read without ceremony (policy/json.h has the strict parser). The
 * getters never fail: a member that isn't there, or has another type, is "", 0, false or NULL; returned
 * strings and objects belong to the object.
 */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-bus.h>

#include "policy/util.h"

/* json_object_put() returns int. */
static inline void json_object_putp(json_object **p) {
        json_object_put(*p);
}
#define _cleanup_json_ _cleanup_(json_object_putp)

/* Reads the next complete value of the message; a{sv} and a{s…} become objects, arrays of anything else
 * arrays. */
int json_from_message(sd_bus_message *m, json_object **ret);

/* Reads an array of structs: each becomes an object whose members have these names, in their order (they are not
 * copied: literals). -EBADMSG: the structs have more or fewer. */
int json_from_structs(sd_bus_message *m, const char *const *names, size_t n_names, json_object **ret);

const char *json_string(json_object *o, const char *key);
bool json_boolean(json_object *o, const char *key);
uint64_t json_u64(json_object *o, const char *key);
bool json_has(json_object *o, const char *key);
json_object *json_member(json_object *o, const char *key);
json_object *json_array(json_object *o, const char *key);
/* 0 for NULL and for what is no array. */
size_t json_length(json_object *array);
json_object *json_item(json_object *array, size_t i);
/* An array of strings as "a, b, c". NULL: out of memory. */
char *json_join(json_object *array, const char *separator);

/* These take ownership of the value, NULL (out of memory) included; they return -ENOMEM then. */
int json_set_member(json_object *o, const char *key, json_object *value);
int json_array_push(json_object *array, json_object *value);
