/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What somebody wants. Which patch it means is found out by request_resolve(), from what the inventory runs
 * and what the repository has:
 *
 *  apply      candidate, or patch (a name in the repository), or level [and stream]
 *  downgrade  the same, or none of them: one step down, to the next lower level of the stream that runs
 *  disable    patch; or neither patch nor candidate: all
 *  converge   like apply; also over one intermediate
 *
 * All pointers are the caller's and borrowed.
 */
#pragma once

#include "policy/error.h"
#include "policy/model.h"

typedef enum RequestKind {
        REQUEST_APPLY,
        REQUEST_DOWNGRADE,
        REQUEST_DISABLE,
        REQUEST_CONVERGE,
        _REQUEST_KIND_MAX,
        _REQUEST_KIND_INVALID = -EINVAL,
} RequestKind;

const char *request_kind_to_string(RequestKind kind);
RequestKind request_kind_from_string(const char *s);

typedef struct Request {
        RequestKind kind;
        Patch *candidate;   /* from outside the repository, or already looked up; NULL: by name or level */
        const char *patch;  /* name, or NULL */
        bool has_level;
        uint32_t level;
        const char *vendor, *stream; /* with level, or NULL both: see request_resolve() */

        /* Overrides: each only for itself (SEMANTICS.md section 4). */
        bool replace_foreign;
        bool accept_irreversible;
        char *const *allow_vendor; /* vendors whose patches may be replaced */

        /* Converge: names of the patches that may be an intermediate (from the repository). NULL: none. */
        char *const *intermediates;
} Request;

/*
 * The candidate that the request means; borrowed, from request->candidate or the repository. 0 and NULL: the
 * request needs none (disable), or none can be named because nothing of the stream is enabled (downgrade;
 * level-order says so).
 *
 * A level without a stream means: the stream that has this level in the repository (for the running kernel);
 * if several have it, the one of them that is enabled, then local/base.
 *
 * -ENOENT: no such patch, level, or no lower level. -ENOTUNIQ: more than one patch fits; the message names
 * them. -EINVAL: contradictory or incomplete.
 */
int request_resolve(const Request *request, const Inventory *inventory, Patch *const *repository,
                    size_t n_repository, Patch **ret_candidate, PolicyError *error);
