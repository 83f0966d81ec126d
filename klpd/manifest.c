/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See manifest.h. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/manifest.h"
#include "policy/json.h"

#define MANIFEST_BYTES_MAX (1024U * 1024U)

static int read_small_file(int root_fd, const char *path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        struct stat st;
        ssize_t n;
        int fd, r = 0;

        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode))
                r = -EINVAL;
        else if (st.st_size > (off_t) MANIFEST_BYTES_MAX)
                r = -EFBIG;
        if (r >= 0) {
                text = malloc(MANIFEST_BYTES_MAX + 1);
                if (!text)
                        r = -ENOMEM;
        }
        while (r >= 0 && size < MANIFEST_BYTES_MAX) {
                n = read(fd, text + size, MANIFEST_BYTES_MAX - size);
                if (n < 0 && errno != EINTR)
                        r = -errno;
                if (n == 0)
                        break;
                if (n > 0)
                        size += (size_t) n;
        }
        close(fd);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

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
        r = patch_set(&manifest->name, inspected->name);
        if (r >= 0)
                r = patch_set(&manifest->kernel, inspected->kernel);
        if (r >= 0)
                r = patch_set(&manifest->build_id, inspected->build_id);
        if (r >= 0)
                r = patch_set(&manifest->srcversion, inspected->srcversion);
        if (r >= 0)
                r = patch_set(&manifest->digest, inspected->digest);
        if (r >= 0 && inspected->kernel_build_id)
                r = patch_set(&manifest->kernel_build_id, inspected->kernel_build_id);
        if (manifest->n_functions > 0)
                return r;
        for (size_t i = 0; r >= 0 && i < inspected->n_functions; i++)
                r = patch_add_function(manifest, inspected->functions[i].object,
                                       inspected->functions[i].function, inspected->functions[i].sympos);
        return r;
}

int manifest_merge(int root_fd, const char *path, Patch *inspected, Patch **ret, char **ret_problem) {
        _cleanup_patch_unref_ Patch *manifest = NULL;
        _cleanup_free_ char *text = NULL;
        PolicyError error = {};
        char words[640];
        size_t size = 0;
        int k;

        if (!path || inspected->kind != PATCH_PLAIN) {
                *ret = patch_ref(inspected);
                return 0;
        }
        k = read_small_file(root_fd, path, &text, &size);
        if (k < 0) {
                (void) set_problem(ret_problem, "its manifest can't be read", strerror(-k));
                return k;
        }
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
