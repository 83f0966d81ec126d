/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The few macros that all of klpd's userspace shares, in the style of systemd: cleanup attributes, TAKE_PTR(),
 * ret_ outputs. Only what needs no file, socket, clock or log: policy/ is the lowest layer.
 */
#pragma once

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(a, b) __attribute__((format(printf, a, b)))
#define _unused_ __attribute__((unused))
#define _fallthrough_ __attribute__((fallthrough))

/* void-returning cleanup function for a destructor that takes NULL: DEFINE_CLEANUP(Plan *, plan_free) gives plan_freep(). */
#define DEFINE_CLEANUP(type, func)                      \
        static inline void func##p(type *p) {           \
                if (*p)                                 \
                        func(*p);                       \
        }                                               \
        struct func##p_needs_semicolon

#define TAKE_GENERIC(var, nullvalue)                    \
        ({                                              \
                __typeof__(var) *_pp_ = &(var);         \
                __typeof__(var) _p_ = *_pp_;            \
                *_pp_ = (nullvalue);                    \
                _p_;                                    \
        })
#define TAKE_PTR(p) TAKE_GENERIC(p, NULL)
#define TAKE_FD(fd) TAKE_GENERIC(fd, -EBADF)

#define ELEMENTSOF(a) (sizeof(a) / sizeof((a)[0]))

static inline void freep(void *p) {
        free(*(void **) p);
}
#define _cleanup_free_ _cleanup_(freep)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

/* Both may be NULL; two NULLs are equal. */
static inline bool streq_ptr(const char *a, const char *b) {
        return a && b ? streq(a, b) : a == b;
}

/* Replaces the string at field by a copy of s, which may be NULL. -ENOMEM: it is as it was. */
static inline int free_and_strdup(char **field, const char *s) {
        char *copy = NULL;

        if (s) {
                copy = strdup(s);
                if (!copy)
                        return -ENOMEM;
        }
        free(*field);
        *field = copy;
        return 0;
}
