/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loaded modules, by /proc/modules (order, reference count, taints) and /sys/module/NAME (identity): see
 * livepatch-sysfs.h. /proc/modules lists the youngest module first; load_order counts from the oldest. A
 * module's number changes when an older one is unloaded: it orders one reading, it doesn't name a module.
 */
#include <elf.h>
#include <limits.h>
#include <stdio.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/livepatch-sysfs.h"

#define MODULES_SIZE_MAX (4U * 1024U * 1024U)
#define MODULE_NOTES_MAX 4096U
#define BUILD_ID_MAX 64U

int notes_build_id(const void *notes, size_t size, char **ret) {
        const uint8_t *p = notes;

        while (size > 0) {
                Elf64_Nhdr n; /* the same layout as Elf32_Nhdr */
                size_t name_size, desc_size;

                if (size < sizeof(n))
                        return -EBADMSG;
                memcpy(&n, p, sizeof(n));
                p += sizeof(n);
                size -= sizeof(n);

                /* Both are padded to four bytes; the last one's padding may be missing. */
                name_size = ((size_t) n.n_namesz + 3) & ~(size_t) 3;
                desc_size = ((size_t) n.n_descsz + 3) & ~(size_t) 3;
                if (name_size > size || n.n_descsz > size - name_size)
                        return -EBADMSG;

                if (n.n_type == NT_GNU_BUILD_ID && n.n_namesz == sizeof("GNU") &&
                    memcmp(p, "GNU", sizeof("GNU")) == 0) {
                        char *hex;

                        if (n.n_descsz == 0 || n.n_descsz > BUILD_ID_MAX)
                                return -EBADMSG;
                        hex = malloc(2 * (size_t) n.n_descsz + 1);
                        if (!hex)
                                return -ENOMEM;
                        for (size_t i = 0; i < n.n_descsz; i++)
                                snprintf(hex + 2 * i, 3, "%02x", p[name_size + i]);
                        *ret = hex;
                        return 0;
                }

                if (desc_size > size - name_size)
                        break;
                p += name_size + desc_size;
                size -= name_size + desc_size;
        }

        return -ENOENT;
}

static void sysfs_module_done(SysfsModule *m) {
        free(m->name);
        free(m->build_id);
        free(m->srcversion);
        *m = (SysfsModule) {};
}

SysfsModule *sysfs_module_free(SysfsModule *m) {
        if (!m)
                return NULL;

        sysfs_module_done(m);
        free(m);
        return NULL;
}

SysfsModules *sysfs_modules_free(SysfsModules *m) {
        if (!m)
                return NULL;

        for (size_t i = 0; i < m->n_modules; i++)
                sysfs_module_done(m->modules + i);
        free(m->modules);
        free(m);
        return NULL;
}

/* "NAME SIZE REFCOUNT DEPENDENCIES STATE ADDRESS [(TAINTS)]"; writes NULs into line, *ret borrows the name
 * from it. */
static int parse_line(char *line, SysfsModule *ret) {
        char *save = NULL, *name, *refcount, *users, *state, *taints;
        SysfsModule m = { .refcount = -1 };

        name = strtok_r(line, " ", &save);
        if (!name || !strtok_r(NULL, " ", &save))
                return -EBADMSG;
        refcount = strtok_r(NULL, " ", &save);
        users = strtok_r(NULL, " ", &save); /* "a,b," or "-" */
        if (!refcount || !users)
                return -EBADMSG;
        state = strtok_r(NULL, " ", &save);
        if (!state || !strtok_r(NULL, " ", &save))
                return -EBADMSG;
        taints = strtok_r(NULL, " ", &save);

        if (!streq(refcount, "-") && !streq(refcount, "-1")) { /* can't be unloaded; is just being unloaded */
                unsigned n;
                int r;

                r = parse_unsigned(refcount, &n);
                if (r < 0)
                        return r;
                if (n > INT_MAX)
                        return -EBADMSG;
                m.refcount = (int) n;
        }

        for (; *users; users++)
                m.n_users += *users == ',';
        m.name = name;
        m.live = streq(state, "Live");
        m.livepatch = taints && taints[0] == '(' && strchr(taints, 'K');
        *ret = m;
        return 0;
}

/* What tells contents apart. A module that goes meanwhile, or that has neither, just has none. */
static int read_identity(int root_fd, SysfsModule *m) {
        char path[128], buf[MODULE_NOTES_MAX];
        size_t size;
        int r;

        snprintf(path, sizeof(path), "sys/module/%s/notes/.note.gnu.build-id", m->name);
        r = sysfs_read_bytes(root_fd, path, buf, sizeof(buf), &size);
        if (r >= 0) {
                r = notes_build_id(buf, size, &m->build_id);
                if (r < 0 && r != -ENOENT)
                        return r;
        } else if (!sysfs_is_gone(r))
                return r;

        snprintf(path, sizeof(path), "sys/module/%s/srcversion", m->name);
        r = sysfs_read_text(root_fd, path, buf, sizeof(buf));
        if (r >= 0) {
                m->srcversion = strdup(buf);
                if (!m->srcversion)
                        return -ENOMEM;
        } else if (!sysfs_is_gone(r))
                return r;

        return 0;
}

static int modules_add(int root_fd, SysfsModules *modules, const SysfsModule *borrowed) {
        SysfsModule *array, *m;
        int r;

        if (!patch_name_is_valid(borrowed->name) || borrowed->name[0] == '.')
                return -EBADMSG;

        array = reallocarray(modules->modules, modules->n_modules + 1, sizeof(SysfsModule));
        if (!array)
                return -ENOMEM;
        modules->modules = array;

        m = array + modules->n_modules;
        *m = *borrowed;
        m->name = strdup(borrowed->name);
        if (!m->name)
                return -ENOMEM;
        modules->n_modules++;

        r = read_identity(root_fd, m);
        return r;
}

/* The module of that name, or, with NULL, all livepatches. */
static int read_modules(int root_fd, const char *name, SysfsModules **ret) {
        _cleanup_sysfs_modules_free_ SysfsModules *modules = NULL;
        _cleanup_free_ char *text = NULL;
        unsigned n_lines = 0;
        char *save = NULL;
        int r;

        modules = calloc(1, sizeof(SysfsModules));
        if (!modules)
                return -ENOMEM;

        r = sysfs_read_all(root_fd, "proc/modules", MODULES_SIZE_MAX, &text, NULL);
        if (r == -ENOENT) { /* a kernel without modules: none are loaded */
                *ret = TAKE_PTR(modules);
                return 0;
        }
        if (r < 0)
                return r;

        for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
                SysfsModule m;

                r = parse_line(line, &m);
                if (r < 0)
                        return r;
                m.load_order = n_lines++;
                if (name ? !patch_name_equal(name, m.name) : !m.livepatch)
                        continue;
                r = modules_add(root_fd, modules, &m);
                if (r < 0)
                        return r;
        }

        /* The youngest came first: turn the array and the numbers round. */
        for (size_t i = 0; i < modules->n_modules; i++)
                modules->modules[i].load_order = n_lines - 1 - modules->modules[i].load_order;
        for (size_t i = 0, k = modules->n_modules; i + 1 < k; i++, k--) {
                SysfsModule swap = modules->modules[i];

                modules->modules[i] = modules->modules[k - 1];
                modules->modules[k - 1] = swap;
        }

        *ret = TAKE_PTR(modules);
        return 0;
}

int livepatch_sysfs_read_modules(int root_fd, SysfsModules **ret) {
        return read_modules(root_fd, NULL, ret);
}

int livepatch_sysfs_read_refcount(int root_fd, const char *name, int *ret) {
        _cleanup_sysfs_module_free_ SysfsModule *module = NULL;
        char path[sizeof("sys/module//refcnt") + PATCH_NAME_MAX];
        unsigned n;
        int r;

        if (!patch_name_is_valid(name) || name[0] == '.')
                return -ENOENT;

        /* One small file of its own, where there is one: a kernel that unloads no modules has none, nor has what is
         * built in, or a module that is just being removed. */
        snprintf(path, sizeof(path), "sys/module/%s/refcnt", name);
        r = sysfs_read_unsigned(root_fd, path, &n);
        if (r >= 0) {
                if (n > INT_MAX)
                        return -EBADMSG;
                *ret = (int) n;
                return 0;
        }
        if (!sysfs_is_gone(r) && r != -EBADMSG) /* "-1": being unloaded */
                return r;
        r = livepatch_sysfs_read_module(root_fd, name, &module);
        if (r < 0)
                return r;
        *ret = module->refcount;
        return 0;
}

int livepatch_sysfs_read_module(int root_fd, const char *name, SysfsModule **ret) {
        _cleanup_sysfs_modules_free_ SysfsModules *modules = NULL;
        SysfsModule *m;
        int r;

        r = read_modules(root_fd, name, &modules);
        if (r < 0)
                return r;
        if (modules->n_modules == 0)
                return -ENOENT;

        m = malloc(sizeof(SysfsModule));
        if (!m)
                return -ENOMEM;
        *m = modules->modules[0];
        modules->modules[0] = (SysfsModule) {};

        *ret = m;
        return 0;
}
