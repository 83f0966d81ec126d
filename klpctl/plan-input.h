/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files for offline plans: documents, patches as modules or as metadata, directories of patches. All say
 * what is wrong themselves and return an exit status.
 */
#pragma once

#include "klpctl.h"
#include "policy/model.h"
#include "policy/policy.h"

/* The whole file, "-" is standard input; at most JSON_SIZE_MAX bytes. */
int input_read(Ctl *c, const char *path, char **ret, size_t *ret_size);

int input_inventory(Ctl *c, const char *path, Inventory **ret);
int input_policy(Ctl *c, const char *path, Policy **ret);

/* A module (plain ones with the manifest NAME.klp.json beside it, if there is one), or metadata: a name that
 * ends in
 * ".json". */
int input_patch(Ctl *c, const char *path, Patch **ret);

typedef struct PatchList {
        Patch **patches;
        size_t n;
} PatchList;

void patch_list_done(PatchList *l);

/* Modules and manifests without a module. What can't be read is said and left out. */
int input_repository(Ctl *c, const char *directory, PatchList *ret);
