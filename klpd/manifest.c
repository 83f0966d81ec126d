/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See manifest.h. */
#include <stdio.h>

#include "klpd/manifest.h"
#include "klpd/state-file.h"
#include "policy/json.h"

static int set_problem(char **problem, const char *a, const char *b) {
        char *text;

        if (asprintf(&text, "%s%s%s", a, b && *b ? ": " : "", b ?: "") < 0)
                return -ENOMEM;
        free(*problem);
        *problem = text;
        return 0;
}

/* The manifest's patch with what only the module itself can say. manifest is not shared yet. */
static int adopt_content(Patch *manifest, const Patch *inspected) {
        int r;

        manifest->kind = inspected->kind;
        r = free_and_strdup(&manifest->name, inspected->name);
        if (r >= 0)
                r = free_and_strdup(&manifest->kernel, inspected->kernel);
        if (r >= 0)
                r = free_and_strdup(&manifest->build_id, inspected->build_id);
        if (r >= 0)
                r = free_and_strdup(&manifest->srcversion, inspected->srcversion);
        if (r >= 0)
                r = free_and_strdup(&manifest->digest, inspected->digest);
        if (r >= 0 && inspected->kernel_build_id)
                r = free_and_strdup(&manifest->kernel_build_id, inspected->kernel_build_id);
        if (manifest->n_functions > 0)
                return r;
        for (size_t i = 0; r >= 0 && i < inspected->n_functions; i++)
                r = patch_add_function(manifest, inspected->functions[i].object,
                                       inspected->functions[i].function, inspected->functions[i].sympos);
        return r;
}

int manifest_merge_text(const char *path, const char *text, size_t size, Patch *inspected, Patch **ret,
                        char **ret_problem) {
        _cleanup_patch_unref_ Patch *manifest = NULL;
        PolicyError error = {};
        char words[640];
        int k;

        k = patch_parse(text, size, &manifest, &error);
        if (k < 0) {
                (void) set_problem(ret_problem, "its manifest makes no sense",
                                   policy_error_format(&error, path, words, sizeof(words)));
                return k;
        }
        if (!patch_name_equal(manifest->name, inspected->name)) {
                (void) set_problem(ret_problem, "its manifest is that of another patch", manifest->name);
                return -EBADMSG;
        }
        if (manifest->kernel && inspected->kernel && !streq(manifest->kernel, inspected->kernel)) {
                (void) set_problem(ret_problem, "its manifest is for another kernel", manifest->kernel);
                return -EBADMSG;
        }
        k = adopt_content(manifest, inspected);
        if (k < 0)
                return k;
        *ret = TAKE_PTR(manifest);
        return 0;
}

int manifest_merge(int root_fd, const char *path, Patch *inspected, Patch **ret, char **ret_problem) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int k;

        if (!path || inspected->kind != PATCH_PLAIN) {
                *ret = patch_ref(inspected);
                return 0;
        }
        k = state_file_read(root_fd, path, MANIFEST_BYTES_MAX, &text, &size);
        if (k < 0) {
                (void) set_problem(ret_problem, "its manifest can't be read", strerror(-k));
                return k;
        }
        return manifest_merge_text(path, text, size, inspected, ret, ret_problem);
}
