/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is wrong with a document or a request, in words. No ownership: fixed buffers, cut where they are too
 * short, so that reporting an error can't fail. Functions that take a PolicyError accept NULL, and write it
 * only when they return a negative errno.
 */
#pragma once

#include "policy/util.h"

typedef struct PolicyError {
        unsigned line;     /* 1 is the first; 0: no position (a request, not a document) */
        unsigned column;   /* in bytes, 1 is the first; 0: unknown */
        char key[128];     /* "patches[1].states[0].version", or "" */
        char message[384]; /* one sentence without a full stop */
} PolicyError;

/* Sets all of it and returns r, so that a caller can write: return policy_error_set(error, -EINVAL, …). */
int policy_error_set(PolicyError *error, int r, const char *format, ...) _printf_(3, 4);

/* "FILE:LINE: KEY: MESSAGE", leaving out what isn't known; source may be NULL. Returns buf. */
char *policy_error_format(const PolicyError *error, const char *source, char *buf, size_t size);
