/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tree /sys/kernel/livepatch and the facts of the host around it: see livepatch-sysfs.h. Modules are in
 * livepatch-sysfs-modules.c.
 *
 * An entry that vanishes while it is read (its transition has ended, its module went) is dropped: ENOENT and
 * ENODEV below a patch mean "gone", never an error of the whole reading.
 */
#include "klpd/livepatch-sysfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "klpd/livepatch-sysfs-read.h"

#define LIVEPATCH_DIR "sys/kernel/livepatch"
#define KPROBES_FILE "sys/kernel/debug/kprobes/list"
#define KPROBES_SIZE_MAX (4U * 1024U * 1024U)

static bool is_hidden(const struct dirent *de) {
        return de->d_name[0] == '.';
}

static bool is_dir(DIR *d, const struct dirent *de) {
        struct stat st;

        if (de->d_type != DT_UNKNOWN)
                return de->d_type == DT_DIR;
        return fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) >= 0 && S_ISDIR(st.st_mode);
}

static void functions_free(PatchFunction *functions, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free(functions[i].object);
                free(functions[i].function);
        }
        free(functions);
}

static int functions_add(PatchFunction **functions, size_t *n, const char *object, const char *function,
                         size_t function_len, unsigned sympos) {
        PatchFunction *f;

        if (*n >= PATCH_FUNCTIONS_MAX)
                return -E2BIG;

        /* Grows by powers of two: its size is n rounded up to one. */
        if ((*n & (*n - 1)) == 0) {
                f = reallocarray(*functions, *n ? *n * 2 : 1, sizeof(PatchFunction));
                if (!f)
                        return -ENOMEM;
                *functions = f;
        }

        f = *functions + *n;
        *f = (PatchFunction) {
                .object = strdup(object),
                .function = strndup(function, function_len),
                .sympos = sympos,
        };
        if (!f->object || !f->function) {
                free(f->object);
                free(f->function);
                return -ENOMEM;
        }

        (*n)++;
        return 0;
}

static void sysfs_patch_done(SysfsPatch *p) {
        free(p->name);
        functions_free(p->functions, p->n_functions);
        strv_free(p->objects);
        strv_free(p->objects_patched);
        *p = (SysfsPatch) {};
}

SysfsPatches *sysfs_patches_free(SysfsPatches *p) {
        if (!p)
                return NULL;

        for (size_t i = 0; i < p->n_patches; i++)
                sysfs_patch_done(p->patches + i);
        free(p->patches);
        free(p);
        return NULL;
}

/* OBJECT/FUNCTION,SYMPOS are directories, OBJECT/patched is a file. */
static int read_object(int patch_fd, const char *object, SysfsPatch *p) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *de;
        bool patched;
        int r;

        r = sysfs_open_dir(patch_fd, object, &d);
        if (r < 0)
                return r;

        r = strv_extend(&p->objects, object);
        if (r < 0)
                return r;

        r = sysfs_read_bool(dirfd(d), "patched", &patched);
        if (r < 0 && !sysfs_is_gone(r))
                return r;
        if (r >= 0 && patched) {
                r = strv_extend(&p->objects_patched, object);
                if (r < 0)
                        return r;
        }

        while (errno = 0, (de = readdir(d))) {
                const char *comma;
                unsigned sympos;

                if (is_hidden(de) || !is_dir(d, de))
                        continue;

                comma = strrchr(de->d_name, ',');
                if (!comma || comma == de->d_name)
                        return -EBADMSG;
                r = parse_unsigned(comma + 1, &sympos);
                if (r < 0)
                        return r;
                r = functions_add(&p->functions, &p->n_functions, object, de->d_name,
                                  (size_t) (comma - de->d_name), sympos);
                if (r < 0)
                        return r;
        }
        return -errno;
}

static int read_optional_unsigned(int dir_fd, const char *path, unsigned max, int *ret) {
        unsigned v;
        int r;

        r = sysfs_read_unsigned(dir_fd, path, &v);
        if (sysfs_is_gone(r)) {
                *ret = -1;
                return 0;
        }
        if (r < 0)
                return r;
        if (v > max)
                return -EBADMSG;
        *ret = (int) v;
        return 0;
}

static int read_patch(DIR *parent, const char *name, SysfsPatch *ret) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *de;
        int r;

        r = sysfs_open_dir(dirfd(parent), name, &d);
        if (r < 0)
                return r;

        r = sysfs_read_bool(dirfd(d), "enabled", &ret->enabled);
        if (r < 0)
                return r;
        r = sysfs_read_bool(dirfd(d), "transition", &ret->transition);
        if (r < 0)
                return r;
        r = read_optional_unsigned(dirfd(d), "replace", 1, &ret->replace);
        if (r < 0)
                return r;
        r = read_optional_unsigned(dirfd(d), "stack_order", INVENTORY_PATCHES_MAX, &ret->stack_order);
        if (r < 0)
                return r;

        while (errno = 0, (de = readdir(d))) {
                if (is_hidden(de) || !is_dir(d, de))
                        continue;
                r = read_object(dirfd(d), de->d_name, ret);
                if (r < 0 && !sysfs_is_gone(r))
                        return r;
        }
        if (errno != 0)
                return -errno;

        ret->name = strdup(name);
        return ret->name ? 0 : -ENOMEM;
}

static int compare_stack_order(const void *a, const void *b) {
        const SysfsPatch *x = a, *y = b;

        return (x->stack_order > y->stack_order) - (x->stack_order < y->stack_order);
}

static int compare_load_order(const void *a, const void *b) {
        const SysfsPatch *x = a, *y = b;

        return (x->load_order > y->load_order) - (x->load_order < y->load_order);
}

/* Modules may have gone since the patches were read: those patches have too, whatever their place. */
static void set_order(SysfsPatches *patches, const SysfsModules *modules) {
        patches->exact_order = true;
        for (size_t i = 0; i < patches->n_patches; i++) {
                SysfsPatch *p = patches->patches + i;

                if (p->stack_order < 0)
                        patches->exact_order = false;
                for (size_t k = 0; k < modules->n_modules; k++)
                        if (streq(modules->modules[k].name, p->name))
                                p->load_order = modules->modules[k].load_order;
        }

        if (patches->n_patches > 0)
                qsort(patches->patches, patches->n_patches, sizeof(SysfsPatch),
                      patches->exact_order ? compare_stack_order : compare_load_order);
}

int livepatch_sysfs_read(int root_fd, SysfsPatches **ret, SysfsModules **ret_modules) {
        _cleanup_sysfs_patches_free_ SysfsPatches *patches = NULL;
        _cleanup_sysfs_modules_free_ SysfsModules *modules = NULL;
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *de;
        int r;

        r = sysfs_open_dir(root_fd, LIVEPATCH_DIR, &d);
        if (r == -ENOENT)
                return -EOPNOTSUPP;
        if (r < 0)
                return r;

        patches = calloc(1, sizeof(SysfsPatches));
        if (!patches)
                return -ENOMEM;

        while (errno = 0, (de = readdir(d))) {
                SysfsPatch p = {}, *array;

                if (is_hidden(de) || !is_dir(d, de))
                        continue;
                if (patches->n_patches >= INVENTORY_PATCHES_MAX)
                        return -E2BIG;

                r = read_patch(d, de->d_name, &p);
                if (r < 0) {
                        sysfs_patch_done(&p);
                        if (sysfs_is_gone(r))
                                continue;
                        return r;
                }

                array = reallocarray(patches->patches, patches->n_patches + 1, sizeof(SysfsPatch));
                if (!array) {
                        sysfs_patch_done(&p);
                        return -ENOMEM;
                }
                patches->patches = array;
                patches->patches[patches->n_patches++] = p;
        }
        if (errno != 0)
                return -errno;

        r = livepatch_sysfs_read_modules(root_fd, &modules);
        if (r < 0)
                return r;
        set_order(patches, modules);

        *ret = TAKE_PTR(patches);
        if (ret_modules)
                *ret_modules = TAKE_PTR(modules);
        return 0;
}

int livepatch_sysfs_read_patch(int root_fd, const char *name, bool *ret_enabled, bool *ret_transition) {
        char path[sizeof(LIVEPATCH_DIR) + PATCH_NAME_MAX + sizeof("//transition")];
        bool enabled, transition;
        int r;

        if (!patch_name_is_valid(name) || name[0] == '.')
                return -ENOENT;

        snprintf(path, sizeof(path), LIVEPATCH_DIR "/%s/enabled", name);
        r = sysfs_read_bool(root_fd, path, &enabled);
        if (r < 0)
                return sysfs_is_gone(r) ? -ENOENT : r;

        snprintf(path, sizeof(path), LIVEPATCH_DIR "/%s/transition", name);
        r = sysfs_read_bool(root_fd, path, &transition);
        if (r < 0)
                return sysfs_is_gone(r) ? -ENOENT : r;

        *ret_enabled = enabled;
        *ret_transition = transition;
        return 0;
}

/* "none [integrity] confidentiality" */
static int read_lockdown(int root_fd, char **ret) {
        char buf[256], *open_bracket, *close_bracket;
        int r;

        r = sysfs_read_text(root_fd, "sys/kernel/security/lockdown", buf, sizeof(buf));
        if (sysfs_is_gone(r))
                return 0; /* no such LSM: *ret stays NULL */
        if (r < 0)
                return r;

        open_bracket = strchr(buf, '[');
        close_bracket = open_bracket ? strchr(open_bracket, ']') : NULL;
        if (!close_bracket)
                return -EBADMSG;

        *ret = strndup(open_bracket + 1, (size_t) (close_bracket - open_bracket - 1));
        return *ret ? 0 : -ENOMEM;
}

/*
 * "ADDRESS  k  FUNCTION+0xOFFSET  [MODULE] FLAGS". Only probes that use ftrace share a function's entry with
 * livepatch, and kretprobes ('r') never modify the instruction pointer: they are in nobody's way.
 */
static int parse_kprobe(char *line, SysfsHost *h) {
        char *save = NULL, *type, *symbol, *module, *plus;

        if (!strtok_r(line, " ", &save))
                return 0;
        type = strtok_r(NULL, " ", &save);
        symbol = strtok_r(NULL, " ", &save);
        module = strtok_r(NULL, " ", &save);
        if (!type || !symbol || !streq(type, "k") || !module)
                return 0;

        plus = strchr(symbol, '+');
        if (!plus || plus == symbol)
                return 0;

        if (module[0] == '[') {
                if (strstr(module, "[DISABLED]") || strstr(module, "[GONE]") || !strstr(module, "[FTRACE]"))
                        return 0;
                module = (char *) "vmlinux";
        } else if (!strstr(save, "[FTRACE]") || strstr(save, "[DISABLED]") || strstr(save, "[GONE]"))
                return 0;

        return functions_add(&h->kprobes, &h->n_kprobes, module, symbol, (size_t) (plus - symbol), 0);
}

static int read_kprobes(int root_fd, SysfsHost *h) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        int r;

        r = sysfs_read_all(root_fd, KPROBES_FILE, KPROBES_SIZE_MAX, &text, NULL);
        if (r == -ENOMEM)
                return r;
        if (r < 0)
                return 0; /* not mounted, locked down, …: kprobes_known says so */

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                r = parse_kprobe(line, h);
                if (r < 0)
                        return r;
        }

        h->kprobes_known = true;
        return 0;
}

/* A file that this kernel may lack: *ret is left as it is. */
static int read_optional_bool(int root_fd, const char *path, bool *ret) {
        int r;

        r = sysfs_read_bool(root_fd, path, ret);
        return sysfs_is_gone(r) ? 0 : r;
}

int livepatch_sysfs_read_build_id(int root_fd, char **ret) {
        char notes[65536];
        size_t size;
        int r;

        r = sysfs_read_bytes(root_fd, "sys/kernel/notes", notes, sizeof(notes), &size);
        if (sysfs_is_gone(r))
                return -ENOENT;
        return r < 0 ? r : notes_build_id(notes, size, ret);
}

static int read_host(int root_fd, SysfsHost *h) {
        struct stat st;
        int r;

        h->livepatch = fstatat(root_fd, LIVEPATCH_DIR, &st, 0) >= 0;

        r = read_optional_bool(root_fd, "proc/sys/kernel/ftrace_enabled", &h->ftrace_enabled);
        if (r < 0)
                return r;
        r = read_optional_bool(root_fd, "proc/sys/kernel/modules_disabled", &h->modules_disabled);
        if (r < 0)
                return r;
        r = read_optional_bool(root_fd, "sys/module/module/parameters/sig_enforce", &h->sig_enforce);
        if (r < 0)
                return r;
        r = read_lockdown(root_fd, &h->lockdown);
        if (r < 0)
                return r;
        return read_kprobes(root_fd, h);
}

int livepatch_sysfs_read_host(int root_fd, SysfsHost *ret) {
        SysfsHost h = {};
        int r;

        r = read_host(root_fd, &h);
        if (r < 0) {
                sysfs_host_done(&h);
                return r;
        }

        *ret = h;
        return 0;
}

void sysfs_host_done(SysfsHost *h) {
        free(h->lockdown);
        functions_free(h->kprobes, h->n_kprobes);
        *h = (SysfsHost) {};
}
