/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bounded reader in front of json-c: it looks at every byte of a document and refuses what json-c would
 * merge, cut, clamp or guess: duplicate keys, NUL in strings, numbers that are not whole or don't fit 64
 * bits, bad UTF-8, lone surrogates, escapes in keys, comments, trailing commas, anything after the document,
 * depth and size beyond the bounds. No recursion; memory only for the keys of the objects that are open.
 */
#pragma once

#include "policy/error.h"

/* -EBADMSG, -E2BIG, -ENOMEM; error has line, column and, within an object, the key. */
int json_scan(const char *text, size_t size, unsigned depth_max, PolicyError *error);

/* Where the value at that path ("patches[1].states[0].version") begins, in a document that json_scan() has
 * accepted. -ENOENT: nowhere. */
int json_locate(const char *text, size_t size, const char *path, unsigned *ret_line, unsigned *ret_column);
