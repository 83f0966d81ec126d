/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One case per line, one result per line: what `klpctl plan --batch` does, without reading or writing
 * anything itself.
 *
 *   {"inventory", "request", "candidate"?, "patch"?, "level"?, "stream"?, "repository"?: [PATCH, …],
 *    "profile"?, "policy"?, "replace_foreign"?, "accept_irreversible"?, "allow_vendor"?: [],
 *    "intermediates"?: []}
 *
 * A Batch keeps what is reused from line to line (the plan's arena, the buffers of reader and writer). A case that
 * can't be evaluated (not what the format says, no such patch) gives a result too: nothing would be done, so its
 * verdict is "refuse", its lists are empty, and "error": {"message", "line", "key"?, "column"?} says why and where.
 */
#pragma once

#include "policy/plan.h"

typedef struct Batch Batch;

typedef enum BatchOutcome {
        BATCH_ALLOWED, /* or nothing to do */
        BATCH_REFUSED,
        BATCH_ERROR,
} BatchOutcome;

int batch_new(Batch **ret);
Batch *batch_free(Batch *b); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Batch *, batch_free);
#define _cleanup_batch_free_ _cleanup_(batch_freep)

/* number: which line of its input this is, from 1. ret_result: one line without its newline, the batch's own, until the
 * next call. Only -ENOMEM is an error of the call. */
int batch_line(Batch *b, uint64_t number, const char *line, size_t size, const char **ret_result,
               BatchOutcome *ret_outcome);
