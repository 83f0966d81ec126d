/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reader of livepatch modules: from the bytes of a file to policy's Patch. The bytes are hostile: klpd
 * reads them in klpd-inspect (a sandboxed child), klpctl for offline plans only what its own user names. The
 * only file that knows libelf; patch-file-compress.c is the only one that knows liblzma and libzstd.
 *
 * A patch is managed if it calls klp_shim_register_patch(), plain if it calls klp_enable_patch(). What its
 * .modinfo says is taken where it says it (DESIGN.md, "Metadata of a patch"), and must be whole and free of
 * contradiction; functions of plain patches are not in their metadata and come from a manifest.
 *
 * Errors: -ENOEXEC no module at all, or not for this architecture; -EBADMSG truncated, or metadata that
 * makes no sense; -ENOPKG a module, but no livepatch; -E2BIG over a bound; -EPROTONOSUPPORT a compression
 * that we don't read; -ENOMEM. The text names the thing. Whether the kernel release fits is a rule of policy
 * (`kernel-release`), not an error here.
 */
#pragma once

#include "policy/error.h"
#include "policy/model.h"

#define PATCH_FILE_SIZE_MAX (128U * 1024U * 1024U)   /* decompressed */

typedef struct PatchFile {
        /* name, kernel, kind, …, build_id, srcversion, digest are set where the file has them */
        Patch *patch;
        char *vermagic;        /* all of it */
        char **depends;        /* modules */
        size_t signature_size; /* of the appended signature with its trailer and marker; 0: none */
        /* .klp.rela.MODULE.*: can't be enabled again without reloading (KERNEL-FACTS.md) */
        bool has_module_relocations;
} PatchFile;

PatchFile *patch_file_free(PatchFile *f); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(PatchFile *, patch_file_free);
#define _cleanup_patch_file_free_ _cleanup_(patch_file_freep)

/* bytes: the decompressed module. Not kept. */
int patch_file_read(const void *bytes, size_t size, PatchFile **ret, PolicyError *error);

/* The file behind fd (regular file or memfd, from its beginning, whatever the offset), decompressed if need
 * be. */
int patch_file_read_fd(int fd, PatchFile **ret, PolicyError *error);

/* Decompresses .xz or .zst content (told by its first bytes). *ret is malloc'ed. -ENODATA: bytes are not
 * compressed. A .gz is -EPROTONOSUPPORT. */
int patch_file_decompress(const void *bytes, size_t size, void **ret, size_t *ret_size, PolicyError *error);
