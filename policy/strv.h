/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NULL-terminated vectors of strings, as systemd has them. A NULL vector is an empty one. Who holds the
 * pointer owns the vector and all of its strings.
 */
#pragma once

#include "policy/util.h"

char **strv_free(char **l); /* returns NULL */
DEFINE_CLEANUP(char **, strv_free);
#define _cleanup_strv_free_ _cleanup_(strv_freep)

size_t strv_length(char *const *l);
bool strv_contains(char *const *l, const char *s);
/* Appends a copy of s. -ENOMEM leaves the vector as it was. */
int strv_extend(char ***l, const char *s);
int strv_copy(char *const *l, char ***ret);

#define STRV_FOREACH(s, l) for ((s) = (l); (s) && *(s); (s)++)
