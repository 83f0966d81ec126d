/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that is given out piece by piece and taken back all at once. A reset keeps the memory (as one
 * block, once it is known how much is needed), so a plan that is rebuilt in a loop doesn't call malloc(). A
 * failed allocation is remembered, so that a caller with many of them can look once at the end.
 */
#pragma once

#include <stdarg.h>

#include "policy/util.h"

typedef struct Arena Arena;

int arena_new(Arena **ret);
Arena *arena_free(Arena *a);
void arena_reset(Arena *a);
bool arena_failed(const Arena *a);

/* n elements of size bytes, aligned for anything, not zeroed; NULL for want of memory. n may be 0. */
void *arena_alloc(Arena *a, size_t n, size_t size);
/* NULL for want of memory, and arena_failed() says so. */
const char *arena_printf(Arena *a, const char *format, ...) _printf_(2, 3);
const char *arena_vprintf(Arena *a, const char *format, va_list ap) _printf_(2, 0);
const char *arena_strdup(Arena *a, const char *s);
