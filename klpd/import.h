/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * New content for the repository, and its removal. An import goes: bytes in a sealed memfd → the sandbox →
 * what it is (name, kernel, manifest) → who signed it → compared with what is there under that name → written below
 * var/lib/klpd/patches/RELEASE as record, manifest, signatures, module, each in whole or not at all; as long as the module
 * isn't there, nothing is. Packages' directories are only read.
 *
 * The same content again is fine and changes nothing; other content under a name that is taken is refused,
 * unless the caller says that it shall be replaced (a package's can't be). Where the policy requires signatures,
 * what nobody trusted has signed isn't taken in.
 */
#pragma once

#include "klpd/prepare.h"

typedef struct Import Import;

typedef enum ImportOutcome {
        IMPORT_NEW,
        IMPORT_REPLACED,
        IMPORT_UNCHANGED,
} ImportOutcome;

const char *import_outcome_to_string(ImportOutcome outcome); /* "imported", "replaced", "unchanged" */

/* All taken over by import_start(), also on failure. */
typedef struct ImportSpec {
        int module_fd;  /* sealed memfd, as it came: compressed or not */
        char *manifest; /* text of a manifest for a plain patch, or NULL */
        void *signature, *manifest_signature; /* detached, or NULL */
        size_t n_signature, n_manifest_signature;
        char *reason;
        bool replace;
        uid_t uid;
} ImportSpec;

typedef struct ImportResult {
        const Patch *patch;
        const char *path; /* below the root */
        ImportOutcome outcome;
} ImportResult;

void import_spec_done(ImportSpec *spec);

/* result is NULL on error, and borrowed. Free the import from the callback, or any time before. */
typedef void (*ImportCallback)(int r, const ImportResult *result, const Failure *failure, void *userdata);
int import_start(const World *w, ImportSpec *spec, ImportCallback callback, void *userdata, Import **ret);
Import *import_free(Import *i); /* NULL is fine */
DEFINE_CLEANUP(Import *, import_free);

/* Removes what was imported under that name, for the running kernel or another release (NULL: running). The
 * repository has to be refreshed. ret_n: files removed. */
int import_remove(const World *w, const char *name, const char *release, unsigned *ret_n, Failure *failure);
