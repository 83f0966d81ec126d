/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading what the user of an offline plan names. The parsers are those of policy/ and the daemon's inspector: a file
 * that is refused here would be refused there.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "module-file.h"
#include "plan-input.h"
#include "policy/json.h"

static bool ends_with(const char *s, const char *suffix) {
        size_t a = strlen(s), b = strlen(suffix);

        return a > b && streq(s + a - b, suffix);
}

static int say(Ctl *c, const char *path, int r, const PolicyError *error) {
        char text[768];

        if (*error->message)
                policy_error_format(error, path, text, sizeof(text));
        else
                snprintf(text, sizeof(text), "%s: %s", path, strerror(-r));

        ctl_error(c, "%s", text);
        return ctl_failure(c, EXIT_FAILED, "", text);
}

static int say_errno(Ctl *c, const char *path, int r) {
        return say(c, path, r, &(PolicyError){});
}

int input_read(Ctl *c, const char *path, char **ret, size_t *ret_size) {
        _cleanup_free_ char *buf = NULL;
        size_t size = 0, allocated = 0;
        int fd, r = 0;

        fd = streq(path, "-") ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (fd < 0)
                return say_errno(c, path, -errno);

        for (;;) {
                ssize_t n;

                if (size + 1 >= allocated) {
                        char *more;

                        allocated = allocated > 0 ? allocated * 2 : 65536;
                        more = realloc(buf, allocated);
                        if (!more) {
                                r = -ENOMEM;
                                break;
                        }
                        buf = more;
                }

                n = read(fd, buf + size, allocated - size - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        r = -errno;
                if (n <= 0)
                        break;
                size += (size_t) n;
                if (size > JSON_SIZE_MAX) {
                        r = -EFBIG;
                        break;
                }
        }
        if (fd != STDIN_FILENO)
                close(fd);
        if (r < 0)
                return say_errno(c, path, r);

        buf[size] = '\0';
        *ret = TAKE_PTR(buf);
        *ret_size = size;
        return EXIT_DONE;
}

int input_inventory(Ctl *c, const char *path, Inventory **ret) {
        _cleanup_free_ char *text = NULL;
        PolicyError error = {};
        size_t size;
        int r;

        r = input_read(c, path, &text, &size);
        if (r != EXIT_DONE)
                return r;
        r = inventory_parse(text, size, ret, &error);
        return r < 0 ? say(c, path, r, &error) : EXIT_DONE;
}

int input_policy(Ctl *c, const char *path, Policy **ret) {
        _cleanup_free_ char *text = NULL;
        PolicyError error = {};
        size_t size;
        int r;

        r = input_read(c, path, &text, &size);
        if (r != EXIT_DONE)
                return r;
        r = policy_parse(text, size, ret, &error);
        return r < 0 ? say(c, path, r, &error) : EXIT_DONE;
}

static int input_metadata(Ctl *c, const char *path, Patch **ret) {
        _cleanup_free_ char *text = NULL;
        PolicyError error = {};
        size_t size;
        int r;

        r = input_read(c, path, &text, &size);
        if (r != EXIT_DONE)
                return r;
        r = patch_parse(text, size, ret, &error);
        return r < 0 ? say(c, path, r, &error) : EXIT_DONE;
}

/* "dir/x.ko.xz" to "dir/x.klp.json", or NULL: not the name of a module, or out of memory. */
static char *manifest_path(const char *path) {
        static const char *const suffixes[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
        char *out;

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++)
                if (ends_with(path, suffixes[i])) {
                        int n = (int) (strlen(path) - strlen(suffixes[i]));

                        return asprintf(&out, "%.*s.klp.json", n, path) < 0 ? NULL : out;
                }

        return NULL;
}

static int fill(char **field, const char *value) {
        return *field || !value ? 0 : free_and_strdup(field, value);
}

/* A plain module's manifest says what its author couldn't put into it; name, kernel and content are the
 * module's. */
static int merge_manifest(Ctl *c, const char *path, const Patch *module, Patch **ret) {
        _cleanup_patch_unref_ Patch *p = NULL;
        int r;

        r = input_metadata(c, path, &p);
        if (r != EXIT_DONE)
                return r;
        if (!patch_name_equal(p->name, module->name)) {
                ctl_error(c, "%s: is about '%s', but the module beside it is '%s'.", path, p->name,
                          module->name);
                return ctl_failure(c, EXIT_FAILED, "", "manifest and module differ in their name");
        }

        p->kind = PATCH_PLAIN;
        if (free_and_strdup(&p->name, module->name) < 0 || free_and_strdup(&p->kernel, module->kernel) < 0 ||
            fill(&p->build_id, module->build_id) < 0 || fill(&p->srcversion, module->srcversion) < 0 ||
            fill(&p->digest, module->digest) < 0)
                return ctl_oom(c);

        *ret = TAKE_PTR(p);
        return EXIT_DONE;
}

static int input_module(Ctl *c, const char *path, Patch **ret) {
        _cleanup_patch_unref_ Patch *module = NULL;
        _cleanup_free_ char *manifest = NULL;
        PolicyError error = {};
        int fd, r;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return say_errno(c, path, -errno);
        r = module_file_read(fd, &module, &error);
        close(fd);
        if (r < 0)
                return say(c, path, r, &error);

        manifest = manifest_path(path);
        if (module->kind == PATCH_PLAIN && manifest && access(manifest, F_OK) >= 0)
                return merge_manifest(c, manifest, module, ret);

        *ret = TAKE_PTR(module);
        return EXIT_DONE;
}

int input_patch(Ctl *c, const char *path, Patch **ret) {
        return streq(path, "-") || ends_with(path, ".json") ? input_metadata(c, path, ret)
                                                            : input_module(c, path, ret);
}

void patch_list_done(PatchList *l) {
        for (size_t i = 0; i < l->n; i++)
                patch_unref(l->patches[i]);
        free(l->patches);
        *l = (PatchList){};
}

static int add(PatchList *l, Patch *p) {
        Patch **patches = reallocarray(l->patches, l->n + 1, sizeof(Patch *));

        if (!patches)
                return -ENOMEM;

        l->patches = patches;
        l->patches[l->n++] = p;
        return 0;
}

/* Whether a manifest belongs to a module in the same directory, which then is what is read. */
static bool has_module(const char *directory, const char *manifest) {
        static const char *const suffixes[] = { "ko", "ko.xz", "ko.zst" };
        int stem = (int) (strlen(manifest) - strlen(".klp.json"));

        for (size_t i = 0; i < ELEMENTSOF(suffixes); i++) {
                _cleanup_free_ char *path = NULL;

                if (asprintf(&path, "%s/%.*s.%s", directory, stem, manifest, suffixes[i]) < 0) {
                        path = NULL;
                        continue;
                }
                if (access(path, F_OK) >= 0)
                        return true;
        }

        return false;
}

static bool wanted(const char *directory, const char *name) {
        if (name[0] == '.')
                return false;
        if (ends_with(name, ".klp.json"))
                return !has_module(directory, name);

        return ends_with(name, ".json") || ends_with(name, ".ko") || ends_with(name, ".ko.xz") ||
               ends_with(name, ".ko.zst");
}

static int compare(const void *a, const void *b) {
        return patch_compare(*(Patch *const *) a, *(Patch *const *) b);
}

static int add_entry(Ctl *c, const char *directory, const char *name, PatchList *list) {
        _cleanup_patch_unref_ Patch *p = NULL;
        _cleanup_free_ char *path = NULL;
        Ctl quiet = *c;
        int r;

        if (asprintf(&path, "%s/%s", directory, name) < 0) {
                path = NULL;
                return -ENOMEM;
        }

        /* A broken file is said on standard error and does not make the result of --json two documents. */
        quiet.args.json = JSON_OFF;
        r = input_patch(&quiet, path, &p);
        if (r != EXIT_DONE)
                return 0;

        r = add(list, p);
        if (r < 0)
                return r;

        TAKE_PTR(p);
        return 0;
}

int input_repository(Ctl *c, const char *directory, PatchList *ret) {
        _cleanup_(patch_list_done) PatchList list = {};
        struct dirent *e;
        DIR *d;
        int r = 0;

        d = opendir(directory);
        if (!d)
                return say_errno(c, directory, -errno);
        while (r >= 0 && (errno = 0, e = readdir(d)))
                if (wanted(directory, e->d_name))
                        r = add_entry(c, directory, e->d_name, &list);
        if (r >= 0)
                r = -errno;
        closedir(d);
        if (r < 0)
                return say_errno(c, directory, r);

        if (list.n > 0)
                qsort(list.patches, list.n, sizeof(Patch *), compare);

        *ret = list;
        list = (PatchList){};
        return EXIT_DONE;
}
