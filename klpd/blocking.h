/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is in the way of the transition under way, with all that can be known of each task: its unit, the state
 * it is in, where in the kernel it sits, and which of the functions that are being patched that is. Stacks
 * come from the helper, in batches, so the answer comes later; everything else is read at once.
 *
 * A task may have gone or moved on in between: what it had then is missing, or is of a moment later. The list
 * is bounded (BLOCKERS_MAX); idle CPUs can't be listed at all (KERNEL-FACTS.md).
 */
#pragma once

#include "klpd/prepare.h"

#define BLOCKERS_MAX 256U

typedef struct Blocker {
        ShimTask task;
        char *unit;       /* NULL: none, or it has gone */
        int patch_state;  /* as in /proc: 0 unpatched, 1 patched, -1 none (any more) */
        char *stack;      /* a frame a line; NULL: not asked for, or it can't be had */
        char function[128]; /* the innermost of its stack that a livepatch redirects or that is a livepatch's, or "" */
} Blocker;

typedef struct BlockersRead BlockersRead;

/* r < 0: stacks couldn't be had, text says why; the tasks are there all the same. Borrowed. */
typedef void (*BlockersCallback)(int r, const char *text, const Blocker *blockers, size_t n, void *userdata);

/* Calls back once, later. Negative errno (-EOPNOTSUPP: no livepatch support): never. */
int blockers_read(const World *w, bool with_stacks, BlockersCallback callback, void *userdata,
                  BlockersRead **ret);
/* Any time, also in the callback; no callback comes after it. NULL is fine. */
BlockersRead *blockers_read_free(BlockersRead *b);

/* "[<0>] do_something+0x12/0x34 [module]" is in do_something. */
bool stack_frame_function(const char *line, char *buf, size_t size);
/* ... of that module; false: of the kernel itself. */
bool stack_frame_module(const char *line, char *buf, size_t size);
