/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who signed a patch: its module, and of a plain patch also the manifest, since that says what the module is (its
 * states, level, vendor). Both have to be signed by somebody trusted for the patch to count as signed; the verdict is
 * the module's, or, if only the manifest's isn't good, that one, and its reason says so.
 */
#pragma once

#include "klpd/hands.h"

typedef struct PatchSignatureSpec {
        int content_fd;               /* sealed memfd of the decompressed module */
        const char *signature;        /* path below root_fd of a detached signature, or NULL */
        const void *signature_bytes;  /* or the signature itself; NULL: none */
        size_t n_signature_bytes;
        const char *manifest;         /* text, or NULL */
        const char *manifest_signature; /* as above */
        const void *manifest_signature_bytes;
        size_t n_manifest_signature_bytes;
} PatchSignatureSpec;

typedef struct PatchSignature PatchSignature;

/* Starts; all of spec is borrowed for the call only. callback as SignatureCallback: once, never from within; the
 * caller frees the check from or after it, or before, to end it. */
int patch_signature_new(Hands *hands, int root_fd, const PatchSignatureSpec *spec, SignatureCallback callback,
                        void *userdata, PatchSignature **ret);
PatchSignature *patch_signature_free(PatchSignature *s); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(PatchSignature *, patch_signature_free);
