/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sidecar manifest of a plain patch (NAME.klp.json, a PATCH object): what the module itself can't say,
 * put together with what inspection found in it. The module's own word counts for what it is: name, kernel,
 * kind, build id, digest.
 */
#pragma once

#include "policy/model.h"

#define MANIFEST_BYTES_MAX (1024U * 1024U)

/*
 * path: below root_fd; NULL: there is none. Without a manifest, and for a managed patch, which carries its
 * own metadata, *ret is a reference to inspected. -EBADMSG and others: *ret_problem, malloc'ed, says why in
 * words.
 */
int manifest_merge_text(const char *path, const char *text, size_t size, Patch *inspected, Patch **ret,
                        char **ret_problem); /* path: for messages */
int manifest_merge(int root_fd, const char *path, Patch *inspected, Patch **ret, char **ret_problem);
