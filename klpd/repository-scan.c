/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Looking at the repository's directories (repository-internal.h). All names of a directory are read first, so that
 * what lies beside a module is known without asking for each; then each module, and what is beside it, costs one stat.
 * Nothing is opened.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/import-record.h"
#include "klpd/repository-internal.h"

#define NAMES_MAX (REPOSITORY_ENTRIES_MAX * (unsigned) _PART_MAX)

static const struct {
        const char *directory;
        bool imported;
} locations[] = {
        { REPOSITORY_PACKAGES, false },
        { REPOSITORY_IMPORTED, true },
};

static const char *const suffixes[_PART_MAX] = {
        [PART_MANIFEST] = ".klp.json",
        [PART_RECORD] = IMPORT_RECORD_SUFFIX,
        [PART_SIGNATURE] = REPOSITORY_SIGNATURE_SUFFIX,
        [PART_MANIFEST_SIGNATURE] = REPOSITORY_MANIFEST_SIGNATURE_SUFFIX,
};

typedef struct Names {
        char **list;
        size_t n, n_allocated;
} Names;

typedef struct Scan {
        Repository *repository;
        const char *directory; /* below the root */
        int directory_fd;
        const char *writable; /* the directory above that others may write, or "" */
        bool imported;
        Names modules, others; /* of that directory, sorted */
        File **files;
        size_t n_files, n_allocated;
        size_t n_kept;
} Scan;

/* ---- names ---- */

static void names_done(Names *names) {
        for (size_t i = 0; i < names->n; i++)
                free(names->list[i]);
        free(names->list);
        *names = (Names) {};
}

static int names_add(Names *names, const char *name) {
        if (names->n >= NAMES_MAX)
                return -E2BIG;
        if (names->n >= names->n_allocated) {
                size_t n = names->n_allocated ? names->n_allocated * 2 : 64;
                char **list = reallocarray(names->list, n, sizeof(*list));

                if (!list)
                        return -ENOMEM;
                names->list = list;
                names->n_allocated = n;
        }
        names->list[names->n] = strdup(name);
        return names->list[names->n] ? (names->n++, 0) : -ENOMEM;
}

static int name_compare(const void *a, const void *b) {
        return strcmp(*(char *const *) a, *(char *const *) b);
}

static void names_sort(Names *names) {
        if (names->n > 0)
                qsort(names->list, names->n, sizeof(*names->list), name_compare);
}

static bool names_has(const Names *names, const char *name) {
        return names->n > 0 && bsearch(&name, names->list, names->n, sizeof(*names->list), name_compare);
}

static bool ends_with(const char *name, size_t n, const char *ending) {
        size_t k = strlen(ending);

        return n > k && streq(name + n - k, ending);
}

/* Length of "NAME" in "NAME.ko", "NAME.ko.xz" …; 0: not a module's file name. */
static size_t module_stem(const char *name) {
        static const char *const endings[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
        size_t n = strlen(name);

        for (size_t i = 0; i < ELEMENTSOF(endings); i++)
                if (ends_with(name, n, endings[i]))
                        return name[0] == '.' ? 0 : n - strlen(endings[i]);
        return 0;
}

static bool is_companion(const char *name) {
        size_t n = strlen(name);

        for (unsigned i = 0; i < _PART_MAX; i++)
                if (suffixes[i] && ends_with(name, n, suffixes[i]))
                        return true;
        return false;
}

static int scan_names(Scan *s) {
        struct dirent *de;
        int fd, r = 0;
        DIR *d;

        fd = fcntl(s->directory_fd, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
                return -errno;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return -ENOMEM;
        }
        while (r >= 0 && (de = readdir(d))) {
                if (module_stem(de->d_name) > 0)
                        r = names_add(&s->modules, de->d_name);
                else if (is_companion(de->d_name))
                        r = names_add(&s->others, de->d_name);
        }
        closedir(d);
        if (r == -E2BIG) /* more than anybody asked for: what was read is looked at */
                r = 0;
        names_sort(&s->modules);
        names_sort(&s->others);
        return r;
}

/* ---- one file ---- */

static Identity identity_of(const struct stat *st) {
        return (Identity){
                        .dev = st->st_dev,
                        .ino = st->st_ino,
                        .size = st->st_size,
                        .mtime = st->st_mtim,
                        .ctime = st->st_ctim,
                        .mode = st->st_mode,
                        .uid = st->st_uid,
        };
}

static bool identity_equal(const Identity *a, const Identity *b) {
        return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->mode == b->mode &&
               a->uid == b->uid && a->mtime.tv_sec == b->mtime.tv_sec &&
               a->mtime.tv_nsec == b->mtime.tv_nsec && a->ctime.tv_sec == b->ctime.tv_sec &&
               a->ctime.tv_nsec == b->ctime.tv_nsec;
}

static bool others_may_write(mode_t mode, uid_t uid) {
        return (uid != 0 && uid != geteuid()) || (mode & (S_IWGRP | S_IWOTH)) != 0;
}

/* What is known of a file before it is inspected: a name, made from the file's. */
static int patch_of_file_name(const char *stem, size_t n, const char *release, Patch **ret) {
        _cleanup_patch_unref_ Patch *p = NULL;
        char name[PATCH_NAME_MAX + 1];
        int r;

        if (n > PATCH_NAME_MAX)
                n = PATCH_NAME_MAX;
        for (size_t i = 0; i < n; i++) {
                char c[2] = { stem[i], 0 };

                name[i] = stem[i] == '-' || !patch_name_is_valid(c) ? '_' : stem[i];
        }
        name[n] = 0;
        r = patch_new(name, &p);
        if (r >= 0)
                r = free_and_strdup(&p->kernel, release);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

File *file_free(File *f) {
        if (!f)
                return NULL;
        patch_unref(f->entry.patch);
        free(f->entry.path);
        free(f->entry.manifest);
        free(f->entry.signature);
        free(f->entry.manifest_signature);
        free(f->entry.recorded);
        free(f->entry.problem);
        free(f->entry.writable);
        free(f->record);
        free(f);
        return NULL;
}

/* "DIRECTORY/STEM" and the suffix of the part (the module's own name: ""). */
static char *part_path(const Scan *s, const char *name, size_t stem, Part part) {
        char *path;

        if (part == PART_MODULE)
                return asprintf(&path, "%s/%s", s->directory, name) < 0 ? NULL : path;
        return asprintf(&path, "%s/%.*s%s", s->directory, (int) stem, name, suffixes[part]) < 0 ? NULL : path;
}

/* What stat says of a module and of what is beside it. -ENOENT: it is gone meanwhile. */
static int scan_stat(Scan *s, const char *name, size_t stem, Identity parts[_PART_MAX]) {
        struct stat st;

        memset(parts, 0, _PART_MAX * sizeof(*parts));
        if (fstatat(s->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        parts[PART_MODULE] = identity_of(&st);
        for (unsigned i = 0; i < _PART_MAX && s->others.n > 0; i++) {
                char other[NAME_MAX + 1];

                if (!suffixes[i] || (i == PART_RECORD && !s->imported) ||
                    snprintf(other, sizeof(other), "%.*s%s", (int) stem, name, suffixes[i]) >=
                                    (int) sizeof(other) ||
                    !names_has(&s->others, other) ||
                    fstatat(s->directory_fd, other, &st, AT_SYMLINK_NOFOLLOW) < 0)
                        continue;
                parts[i] = identity_of(&st);
        }
        return 0;
}

/* Which of them others than root may write: the module, a directory above, what is beside it. Malloc'ed, or NULL. */
static int find_writable(Scan *s, const char *name, size_t stem, const Identity *parts, char **ret) {
        *ret = NULL;
        for (unsigned i = 0; i < _PART_MAX; i++) {
                if (parts[i].mode != 0 && others_may_write(parts[i].mode, parts[i].uid)) {
                        *ret = part_path(s, name, stem, (Part) i);
                        return *ret ? 0 : -ENOMEM;
                }
                if (i == PART_MODULE && *s->writable) {
                        *ret = strdup(s->writable);
                        return *ret ? 0 : -ENOMEM;
                }
        }
        return 0;
}

static int file_new(Scan *s, const char *name, size_t stem, const Identity *parts, char *writable, File **ret) {
        _cleanup_(file_freep) File *f = NULL;
        char **paths[_PART_MAX];
        int r;

        f = calloc(1, sizeof(*f));
        if (!f) {
                free(writable);
                return -ENOMEM;
        }
        f->pending = true;
        f->entry.imported = s->imported;
        f->entry.writable = writable;
        memcpy(f->parts, parts, sizeof(f->parts));
        paths[PART_MODULE] = &f->entry.path;
        paths[PART_MANIFEST] = &f->entry.manifest;
        paths[PART_RECORD] = &f->record;
        paths[PART_SIGNATURE] = &f->entry.signature;
        paths[PART_MANIFEST_SIGNATURE] = &f->entry.manifest_signature;
        for (unsigned i = 0; i < _PART_MAX; i++)
                if (parts[i].mode != 0) {
                        *paths[i] = part_path(s, name, stem, (Part) i);
                        if (!*paths[i])
                                return -ENOMEM;
                }
        r = patch_of_file_name(name, stem, s->repository->release, &f->entry.patch);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(f);
        return 0;
}

static File *repository_file(const Repository *r, const char *directory, const char *name) {
        size_t low = 0, high = r->n_files, n = strlen(directory);

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                const char *path = r->files[middle]->entry.path;
                int c = strncmp(directory, path, n);

                if (c == 0)
                        c = path[n] == '/' ? strcmp(name, path + n + 1) : -1;
                if (c == 0)
                        return r->files[middle];
                if (c < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

static bool file_unchanged(const File *f, const Identity *parts, const char *writable) {
        if (f->pending || f->kept || !streq_ptr(f->entry.writable, writable))
                return false;
        for (unsigned i = 0; i < _PART_MAX; i++)
                if (!identity_equal(&f->parts[i], &parts[i]))
                        return false;
        return true;
}

static int scan_append(Scan *s, File *f) {
        if (s->n_files >= s->n_allocated) {
                size_t n = s->n_allocated ? s->n_allocated * 2 : 64;
                File **files = reallocarray(s->files, n, sizeof(*files));

                if (!files)
                        return -ENOMEM;
                s->files = files;
                s->n_allocated = n;
        }
        s->files[s->n_files++] = f;
        return 0;
}

static int scan_file(Scan *s, const char *name) {
        _cleanup_(file_freep) File *f = NULL;
        _cleanup_free_ char *writable = NULL;
        Repository *r = s->repository;
        size_t stem = module_stem(name);
        Identity parts[_PART_MAX];
        File *old;
        int k;

        k = scan_stat(s, name, stem, parts);
        if (k < 0)
                return k == -ENOENT ? 0 : k;
        k = find_writable(s, name, stem, parts, &writable);
        if (k < 0)
                return k;
        old = repository_file(r, s->directory, name);
        if (old && file_unchanged(old, parts, writable)) {
                k = scan_append(s, old);
                if (k >= 0) {
                        old->kept = true;
                        s->n_kept++;
                }
                return k;
        }
        k = file_new(s, name, stem, parts, TAKE_PTR(writable), &f);
        if (k >= 0)
                k = repository_cache_take(r->cache, f);
        if (k >= 0)
                k = scan_append(s, f);
        if (k < 0)
                return k;
        TAKE_PTR(f);
        return 0;
}

/* ---- directories ---- */

/* The first of directory/release, directory, and the one above it that others may write; "" if none. */
static int find_writable_directory(int root_fd, const char *path, char *buf, size_t size) {
        struct stat st;
        char *slash;

        (void) snprintf(buf, size, "%s", path);
        for (unsigned i = 0; i < 3; i++) {
                if (fstatat(root_fd, buf, &st, 0) < 0)
                        return -errno;
                if (others_may_write(st.st_mode, st.st_uid))
                        return 0;
                slash = strrchr(buf, '/');
                if (!slash)
                        break;
                *slash = 0;
        }
        buf[0] = 0;
        return 0;
}

static int scan_directory(Scan *s, const char *parent, bool imported) {
        char directory[PATH_MAX], writable[PATH_MAX];
        Repository *r = s->repository;
        int k;

        if (snprintf(directory, sizeof(directory), "%s/%s", parent, r->release) >= (int) sizeof(directory))
                return -ENAMETOOLONG;
        s->directory_fd = openat(r->root_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (s->directory_fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        s->directory = directory;
        s->writable = writable;
        s->imported = imported;
        k = find_writable_directory(r->root_fd, directory, writable, sizeof(writable));
        if (k >= 0)
                k = scan_names(s);
        for (size_t i = 0; k >= 0 && i < s->modules.n && s->n_files < REPOSITORY_ENTRIES_MAX; i++)
                k = scan_file(s, s->modules.list[i]);
        names_done(&s->modules);
        names_done(&s->others);
        close(s->directory_fd);
        return k;
}

int repository_scan(Repository *r) {
        Scan s = { .repository = r };
        int k = 0;

        if (r->n_scans == 0)
                (void) repository_cache_read(r->root_fd, r->release, &r->cache);
        /* In the order of their paths, and each directory's names sorted: so are the Files. */
        for (size_t i = 0; i < ELEMENTSOF(locations) && k >= 0; i++)
                k = scan_directory(&s, locations[i].directory, locations[i].imported);
        r->cache = repository_cache_free(r->cache);

        if (s.n_kept != r->n_files || s.n_files != r->n_files)
                r->changed = true;
        for (size_t i = 0; i < r->n_files; i++) {
                if (r->files[i]->kept)
                        r->files[i]->kept = false;
                else
                        file_free(r->files[i]);
        }
        free(r->files);
        r->files = s.files;
        r->n_files = s.n_files;
        r->n_scans++;
        return k;
}
