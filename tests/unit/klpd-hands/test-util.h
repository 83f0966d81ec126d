/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of the hands share: trees of small files that stand for /proc and /sys. A tree is a
 * directory below $TMPDIR that goes with tree_free().
 */
#pragma once

/* cmocka wants these four in this order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/util.h"

typedef struct Tree {
        char path[128];
        int fd;
} Tree;

void tree_init(Tree *t);
void tree_done(Tree *t);
/* Writes a file, with all directories above it; path is relative. */
void tree_write(Tree *t, const char *path, const char *text);
void tree_write_bytes(Tree *t, const char *path, const void *bytes, size_t size);
void tree_mkdir(Tree *t, const char *path);
/* The file as a string; malloc'ed. */
char *tree_read(Tree *t, const char *path);

/* A whole file, malloc'ed. */
uint8_t *read_whole_file(const char *path, size_t *ret_size);

/* Asserts with both texts shown. */
void assert_contains(const char *text, const char *part);
