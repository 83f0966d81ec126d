/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Internal to patch-file*: the section .modinfo, from bytes to a PatchFile. Pure; fed with bytes by the unit
 * tests and by tests/fuzz.
 */
#pragma once

#include "klpd/patch-file.h"

/* What the ELF part knows and .modinfo must agree with. */
typedef struct ModinfoContext {
        bool managed; /* calls klp_shim_register_patch() */
} ModinfoContext;

/* Sets patch, vermagic and depends of an empty file. Errors as in patch-file.h. */
int patch_file_parse_modinfo(const void *bytes, size_t size, const ModinfoContext *context, PatchFile *file,
                             PolicyError *error);
