/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the kernel itself says, in /sys and /proc, about livepatches and modules: the truth that is there
 * with or without the shim. Everything is read below root_fd (a descriptor of "/", or of a tree that a test
 * has made), nothing is kept: each call reads the kernel again.
 *
 * sysfs entries come and go while one reads: what has vanished half way is left out, as if it had gone
 * earlier. Files are read up to a bound, and what is not as the kernel writes it is -EBADMSG (never
 * guessed).
 *
 * Errors: -EOPNOTSUPP no livepatch support in this kernel (/sys/kernel/livepatch is missing); -ENOENT the
 * named thing isn't there; -EBADMSG; -E2BIG; -EACCES; -ENOMEM.
 */
#pragma once

#include "policy/model.h"

typedef struct SysfsModule {
        char *name;
        unsigned load_order;        /* 0 was loaded first */
        int refcount;               /* -1: can't be unloaded (built without, or permanent), or is being */
        unsigned n_users;           /* other modules that use it */
        bool live;                  /* not coming or going */
        bool pinned;                /* held-modules.h; false here */
        /* only set by livepatch_sysfs_read_modules(): it has the livepatch taint 'K' */
        bool livepatch;
        char *build_id;             /* lower-case hex, or NULL */
        char *srcversion;           /* or NULL */
} SysfsModule;

typedef struct SysfsModules {
        SysfsModule *modules;       /* in order of loading */
        size_t n_modules;
} SysfsModules;

/* All loaded modules that are livepatches (taint 'K'), with build id and srcversion. */
int livepatch_sysfs_read_modules(int root_fd, SysfsModules **ret);
SysfsModules *sysfs_modules_free(SysfsModules *m); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(SysfsModules *, sysfs_modules_free);
#define _cleanup_sysfs_modules_free_ _cleanup_(sysfs_modules_freep)

/* How often a module is used, -1 as above. -ENOENT: not loaded. */
int livepatch_sysfs_read_refcount(int root_fd, const char *name, int *ret);

/* One module, any. *ret: free with sysfs_module_free(). -ENOENT: not loaded. */
int livepatch_sysfs_read_module(int root_fd, const char *name, SysfsModule **ret);
SysfsModule *sysfs_module_free(SysfsModule *m);
DEFINE_CLEANUP(SysfsModule *, sysfs_module_free);
#define _cleanup_sysfs_module_free_ _cleanup_(sysfs_module_freep)

typedef struct SysfsPatch {
        char *name;
        bool enabled;
        bool transition;
        int replace;                /* 1, 0; -1: this kernel doesn't say (before 6.12) */
        int stack_order;            /* 1 is the bottom; -1: this kernel doesn't say (before 7.2) */
        unsigned load_order;        /* of its module, by /proc/modules: a lower one was loaded earlier */
        /* sympos as the patch gave it; nops of an atomic replace are among them */
        PatchFunction *functions;
        size_t n_functions;
        char **objects;             /* also those without functions, such as the shim's own */
        char **objects_patched;     /* the ones of them that are loaded and patched now */
} SysfsPatch;

typedef struct SysfsPatches {
        /* by stack_order where the kernel says it, else by load_order; bottom first */
        SysfsPatch *patches;
        size_t n_patches;
        bool exact_order;           /* stack_order was there for all of them */
} SysfsPatches;

/* Livepatches and, since their order may depend on it, the modules read right after them: *ret_modules, as by
 * livepatch_sysfs_read_modules(), for those who want them, too (else NULL). */
int livepatch_sysfs_read(int root_fd, SysfsPatches **ret, SysfsModules **ret_modules);
SysfsPatches *sysfs_patches_free(SysfsPatches *p); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(SysfsPatches *, sysfs_patches_free);
#define _cleanup_sysfs_patches_free_ _cleanup_(sysfs_patches_freep)

/* One patch's two switches, without the rest. -ENOENT: the core has no such patch (any more). */
int livepatch_sysfs_read_patch(int root_fd, const char *name, bool *ret_enabled, bool *ret_transition);

/* Facts of the host that the rule `ready` asks for. Strings are owned by this struct. */
typedef struct SysfsHost {
        bool livepatch;             /* /sys/kernel/livepatch is there */
        bool ftrace_enabled;
        bool modules_disabled;
        bool sig_enforce;           /* module.sig_enforce=1 */
        char *lockdown;             /* "none", "integrity", "confidentiality"; NULL: no lockdown LSM */
        /* functions with a kprobe that is armed; object "vmlinux" or the module */
        PatchFunction *kprobes;
        size_t n_kprobes;
        bool kprobes_known;         /* debugfs could be read */
} SysfsHost;

int livepatch_sysfs_read_host(int root_fd, SysfsHost *ret);
void sysfs_host_done(SysfsHost *h);

/* The running kernel's build id, of /sys/kernel/notes: lower-case hex, malloc'ed. -ENOENT: it has none. */
int livepatch_sysfs_read_build_id(int root_fd, char **ret);

/* The build id of ELF notes, as in /sys/kernel/notes, /sys/module/NAME/notes/.note.gnu.build-id and
 * .note.gnu.build-id sections: lower-case hex, malloc'ed. -ENOENT: no build id among them, -EBADMSG: not
 * notes. */
int notes_build_id(const void *notes, size_t size, char **ret);
