/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See repository.h. The repository owns Files, one per module file on disk, found again by path and by what
 * stat says; only those that are new or changed are inspected, one at a time. The public views (entries by
 * level, usable patches) point into the Files and are made anew whenever the set of Files changes.
 *
 * A refresh that is asked for while another runs is served by one more look at the directories afterwards,
 * so that whoever waits gets at least what was on disk when he asked.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/import-record.h"
#include "klpd/manifest.h"
#include "klpd/patch-file.h"
#include "klpd/repository.h"

typedef struct Identity {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime, ctime;
        mode_t mode;
        uid_t uid;
} Identity;

typedef struct File {
        RepositoryEntry entry;
        Identity identity, manifest_identity, record_identity;
        char *record; /* path of the record of its import, or NULL */
        bool pending; /* to be inspected */
} File;

struct RepositoryWait {
        Repository *repository;
        RepositoryWait *next, **link;
        RepositoryCallback callback;
        void *userdata;
        uint64_t wanted; /* served by the look at the directories of at least this number */
};

struct Repository {
        sd_event *event;
        sd_event_source *defer;
        Hands *hands;
        int root_fd;
        char *release;
        File **files; /* sorted by path */
        size_t n_files;
        RepositoryEntry *entries;
        size_t n_entries;
        Patch **patches;
        size_t n_patches;
        RepositoryWait *waits;
        uint64_t n_scans;   /* looks at the directories */
        bool running;       /* from a look until all that it found is inspected */
        File *inspecting;
        HandsInspection *inspection;
};

static const struct {
        const char *directory;
        bool imported;
} locations[] = {
        { REPOSITORY_PACKAGES, false },
        { REPOSITORY_IMPORTED, true },
};

static File *file_free(File *f) {
        if (!f)
                return NULL;
        patch_unref(f->entry.patch);
        free(f->entry.path);
        free(f->entry.manifest);
        free(f->entry.recorded);
        free(f->entry.problem);
        free(f->entry.writable);
        free(f->record);
        free(f);
        return NULL;
}
DEFINE_CLEANUP(File *, file_free);

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

static bool others_may_write(const struct stat *st) {
        return (st->st_uid != 0 && st->st_uid != geteuid()) || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

/* The first of directory/release, directory, and the one above it that others may write; "" if none. */
static int find_writable_directory(int root_fd, const char *path, char *buf, size_t size) {
        struct stat st;
        char *slash;

        (void) snprintf(buf, size, "%s", path);
        for (unsigned i = 0; i < 3; i++) {
                if (fstatat(root_fd, buf, &st, 0) < 0)
                        return -errno;
                if (others_may_write(&st))
                        return 1;
                slash = strrchr(buf, '/');
                if (!slash)
                        break;
                *slash = 0;
        }
        buf[0] = 0;
        return 0;
}

/* Length of "NAME" in "NAME.ko", "NAME.ko.xz" …; 0: not a module's file name. */
static size_t module_stem(const char *name) {
        static const char *const endings[] = { ".ko", ".ko.xz", ".ko.zst", ".ko.gz" };
        size_t n = strlen(name);

        for (size_t i = 0; i < ELEMENTSOF(endings); i++) {
                size_t k = strlen(endings[i]);

                if (n > k && streq(name + n - k, endings[i]))
                        return name[0] == '.' ? 0 : n - k;
        }
        return 0;
}

/* A Patch that has nothing but a name made from the file's. */
static int placeholder(const char *stem, size_t n, const char *release, Patch **ret) {
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
                r = patch_set(&p->kernel, release);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

static int file_compare(const void *a, const void *b) {
        return strcmp((*(File *const *) a)->entry.path, (*(File *const *) b)->entry.path);
}

static File *repository_file(const Repository *r, const char *path) {
        size_t low = 0, high = r->n_files;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int c = r->files[middle] ? strcmp(path, r->files[middle]->entry.path) : 0;

                if (c == 0)
                        return r->files[middle];
                if (c < 0)
                        high = middle;
                else
                        low = middle + 1;
        }
        return NULL;
}

/* ---- the views ---- */

static int entry_compare(const void *a, const void *b) {
        const RepositoryEntry *x = a, *y = b;
        int c = patch_compare(x->patch, y->patch);

        if (c)
                return c;
        if (x->imported != y->imported) /* a package's file comes before an imported one */
                return x->imported ? 1 : -1;
        return strcmp(x->path, y->path);
}

static int compare_by_name(const void *a, const void *b) {
        const RepositoryEntry *x = *(RepositoryEntry *const *) a, *y = *(RepositoryEntry *const *) b;
        int c = strcmp(x->patch->name, y->patch->name);

        if (c)
                return c;
        if (!x->problem != !y->problem)
                return x->problem ? 1 : -1;
        if (x->imported != y->imported)
                return x->imported ? 1 : -1;
        return strcmp(x->path, y->path);
}

/* Of several entries with one name, the first in the order of compare_by_name() is the one that counts. */
static int mark_shadowed(RepositoryEntry *entries, size_t n) {
        _cleanup_free_ RepositoryEntry **by_name = NULL;

        by_name = calloc(n + 1, sizeof(*by_name));
        if (!by_name)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                by_name[i] = &entries[i];
        qsort(by_name, n, sizeof(*by_name), compare_by_name);
        for (size_t i = 0; i < n; i++)
                by_name[i]->shadowed = i > 0 && streq(by_name[i]->patch->name, by_name[i - 1]->patch->name);
        return 0;
}

/* For want of memory there are no entries rather than stale ones. */
static int repository_make_views(Repository *r) {
        RepositoryEntry *entries;
        Patch **patches;
        size_t n = 0;

        r->n_entries = r->n_patches = 0;
        entries = reallocarray(r->entries, r->n_files + 1, sizeof(*entries));
        if (!entries)
                return -ENOMEM;
        r->entries = entries;
        patches = reallocarray(r->patches, r->n_files + 1, sizeof(*patches));
        if (!patches)
                return -ENOMEM;
        r->patches = patches;

        for (size_t i = 0; i < r->n_files; i++)
                if (!r->files[i]->pending)
                        entries[n++] = r->files[i]->entry;
        qsort(entries, n, sizeof(*entries), entry_compare);
        if (mark_shadowed(entries, n) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                if (!entries[i].problem && !entries[i].shadowed)
                        patches[r->n_patches++] = entries[i].patch;
        r->n_entries = n;
        return 0;
}

/* ---- looking at the directories ---- */

typedef struct Scan {
        Repository *repository;
        File **files;
        size_t n_files, n_allocated;
} Scan;

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

/* A file that belongs to the module: "DIRECTORY/NAME" and the suffix. */
static int file_companion(Repository *r, const char *directory, const char *name, size_t stem,
                          const char *suffix, struct stat *ret_stat, char **ret) {
        char path[PATH_MAX];

        if (snprintf(path, sizeof(path), "%s/%.*s%s", directory, (int) stem, name, suffix) >=
                            (int) sizeof(path) ||
            fstatat(r->root_fd, path, ret_stat, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        *ret = strdup(path);
        return *ret ? 1 : -ENOMEM;
}

static int file_new(Repository *r, const char *path, const char *name, size_t stem, const char *directory,
                    const char *writable, const struct stat *st, bool imported, File **ret) {
        _cleanup_(file_freep) File *f = NULL;
        struct stat other;
        int k;

        f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->pending = true;
        f->identity = identity_of(st);
        f->entry.imported = imported;
        f->entry.path = strdup(path);
        if (!f->entry.path)
                return -ENOMEM;
        k = placeholder(name, stem, r->release, &f->entry.patch);
        if (k < 0)
                return k;
        if (others_may_write(st) || *writable) {
                f->entry.writable = strdup(others_may_write(st) ? path : writable);
                if (!f->entry.writable)
                        return -ENOMEM;
        }
        k = file_companion(r, directory, name, stem, ".klp.json", &other, &f->entry.manifest);
        if (k < 0)
                return k;
        if (k > 0) {
                f->manifest_identity = identity_of(&other);
                if (!f->entry.writable && others_may_write(&other)) {
                        f->entry.writable = strdup(f->entry.manifest);
                        if (!f->entry.writable)
                                return -ENOMEM;
                }
        }
        if (imported) {
                k = file_companion(r, directory, name, stem, IMPORT_RECORD_SUFFIX, &other, &f->record);
                if (k < 0)
                        return k;
                if (k > 0)
                        f->record_identity = identity_of(&other);
        }
        *ret = TAKE_PTR(f);
        return 0;
}

static bool file_unchanged(const File *old, const File *new) {
        return old && !old->pending && identity_equal(&old->identity, &new->identity) &&
               identity_equal(&old->manifest_identity, &new->manifest_identity) &&
               identity_equal(&old->record_identity, &new->record_identity) && streq_ptr(old->entry.manifest, new->entry.manifest) &&
               streq_ptr(old->entry.writable, new->entry.writable);
}

static int scan_file(Scan *s, const char *directory, const char *writable, const char *name, bool imported) {
        _cleanup_(file_freep) File *f = NULL;
        Repository *r = s->repository;
        size_t stem = module_stem(name);
        char path[PATH_MAX];
        struct stat st;
        File *old;
        int k;

        if (stem == 0 || snprintf(path, sizeof(path), "%s/%s", directory, name) >= (int) sizeof(path))
                return 0;
        if (fstatat(r->root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0 : -errno;

        k = file_new(r, path, name, stem, directory, writable, &st, imported, &f);
        if (k < 0)
                return k;
        old = repository_file(r, path);
        if (file_unchanged(old, f)) {
                /* Moved over: what inspection found is still right. */
                RepositoryEntry found = old->entry;

                old->entry.patch = f->entry.patch;
                f->entry.patch = found.patch;
                f->entry.problem = TAKE_PTR(old->entry.problem);
                f->entry.recorded = TAKE_PTR(old->entry.recorded);
                f->pending = false;
        }
        k = scan_append(s, f);
        if (k < 0)
                return k;
        TAKE_PTR(f);
        return 0;
}

static int scan_directory(Scan *s, const char *parent, bool imported) {
        char directory[PATH_MAX], writable[PATH_MAX];
        Repository *r = s->repository;
        struct dirent *de;
        DIR *d;
        int fd, k = 0;

        if (snprintf(directory, sizeof(directory), "%s/%s", parent, r->release) >= (int) sizeof(directory))
                return -ENAMETOOLONG;
        fd = openat(r->root_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
        d = fdopendir(fd);
        if (!d) {
                close(fd);
                return -ENOMEM;
        }
        k = find_writable_directory(r->root_fd, directory, writable, sizeof(writable));
        while (k >= 0 && (de = readdir(d)) && s->n_files < REPOSITORY_ENTRIES_MAX)
                k = scan_file(s, directory, writable, de->d_name, imported);
        closedir(d);
        return k;
}

static int repository_scan(Repository *r) {
        Scan s = { .repository = r };
        int k = 0;

        for (size_t i = 0; i < ELEMENTSOF(locations) && k >= 0; i++)
                k = scan_directory(&s, locations[i].directory, locations[i].imported);

        /* Also after an error: what was moved over is now in the new list, and the views must not point
         * to anything else. */
        for (size_t i = 0; i < r->n_files; i++)
                file_free(r->files[i]);
        free(r->files);
        r->files = s.files;
        r->n_files = s.n_files;
        if (r->n_files > 0)
                qsort(r->files, r->n_files, sizeof(*r->files), file_compare);
        r->n_scans++;
        if (k < 0) {
                (void) repository_make_views(r);
                return k;
        }
        return repository_make_views(r);
}

/* ---- inspecting what is new ---- */

static void set_problem(File *f, const char *text) {
        char *copy = strdup(text);

        if (!copy)
                return;
        free(f->entry.problem);
        f->entry.problem = copy;
}

/* A record that can't be trusted makes the file unusable: what was imported isn't known any more. */
static int file_read_record(Repository *r, File *f) {
        ImportRecord record;
        PolicyError error = {};
        char text[640];
        int k;

        if (!f->record)
                return 0;
        k = import_record_read(r->root_fd, f->record, &record, &error);
        if (k < 0) {
                (void) snprintf(text, sizeof(text),
                                "the record of its import (/%s) can't be trusted: %s; import it again",
                                f->record, error.message[0] ? error.message : strerror(-k));
                set_problem(f, text);
                return k;
        }
        f->entry.recorded = TAKE_PTR(record.digest);
        import_record_done(&record);
        return 0;
}

static int file_take(Repository *r, File *f, const InspectResult *result) {
        Patch *patch;
        int k;

        k = manifest_merge(r->root_fd, f->entry.manifest, result->patch, &patch, &f->entry.problem);
        if (k < 0)
                return k;
        patch_unref(f->entry.patch);
        f->entry.patch = patch;
        return file_read_record(r, f);
}

static void on_inspected(int error, const char *text, const InspectResult *result, void *userdata) {
        Repository *r = userdata;
        File *f = r->inspecting;
        int k = error;

        r->inspecting = NULL;
        f->pending = false;
        if (k >= 0)
                k = file_take(r, f, result);
        else
                set_problem(f, text);
        if (k < 0 && !f->entry.problem)
                set_problem(f, strerror(-k));

        /* Not from within the inspection's own callback: it is freed before the next one starts. */
        (void) sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
}

/* Starts the inspection of one file; an error is the file's, and said there. */
static bool file_start(Repository *r, File *f) {
        int fd = -EBADF, k;

        k = repository_open(r, &f->entry, &fd);
        if (k >= 0) {
                k = r->hands->vtable->inspect(r->hands, fd, on_inspected, r, &r->inspection);
                close(fd);
        }
        if (k < 0) {
                f->pending = false;
                set_problem(f, k == -ELOOP || k == -EINVAL ? "it is no regular file" : strerror(-k));
                return false;
        }
        r->inspecting = f;
        return true;
}

static void repository_serve(Repository *r) {
        RepositoryWait *w = r->waits;

        /* A callback may free any wait, also the next one: start over after each. */
        while (w) {
                if (w->wanted <= r->n_scans && w->callback) {
                        RepositoryCallback callback = TAKE_PTR(w->callback);

                        callback(w->userdata);
                        w = r->waits;
                } else
                        w = w->next;
        }
}

static bool repository_wanted(const Repository *r) {
        for (const RepositoryWait *w = r->waits; w; w = w->next)
                if (w->callback && w->wanted > r->n_scans)
                        return true;
        return false;
}

static int repository_work(Repository *r) {
        int k;

        r->inspection = r->hands->vtable->inspect_free(r->inspection);
        if (r->inspecting)
                return 0;
        if (!r->running) {
                r->running = true;
                k = repository_scan(r);
                if (k == -ENOMEM)
                        return k;
        }
        for (size_t i = 0; i < r->n_files; i++)
                if (r->files[i]->pending && file_start(r, r->files[i]))
                        return 0;
        k = repository_make_views(r);
        if (k < 0)
                return k;
        r->running = false;
        repository_serve(r);
        if (repository_wanted(r))
                return sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
        return 0;
}

static int on_defer(sd_event_source *source, void *userdata) {
        return repository_work(userdata);
}

int repository_refresh(Repository *r, RepositoryCallback callback, void *userdata, RepositoryWait **ret) {
        RepositoryWait *w;
        int k;

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (RepositoryWait) {
                .repository = r,
                .next = r->waits,
                .link = &r->waits,
                .callback = callback,
                .userdata = userdata,
                .wanted = r->n_scans + 1,
        };
        if (!r->inspecting) {
                k = sd_event_source_set_enabled(r->defer, SD_EVENT_ONESHOT);
                if (k < 0) {
                        free(w);
                        return k;
                }
        }
        if (w->next)
                w->next->link = &w->next;
        r->waits = w;
        *ret = w;
        return 0;
}

RepositoryWait *repository_wait_free(RepositoryWait *w) {
        if (!w)
                return NULL;
        *w->link = w->next;
        if (w->next)
                w->next->link = w->link;
        free(w);
        return NULL;
}

/* ---- the object ---- */

int repository_new(sd_event *event, Hands *hands, int root_fd, const char *release, Repository **ret) {
        _cleanup_(repository_freep) Repository *r = NULL;
        int k;

        r = calloc(1, sizeof(*r));
        if (!r)
                return -ENOMEM;
        r->event = sd_event_ref(event);
        r->hands = hands;
        r->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (r->root_fd < 0)
                return -errno;
        r->release = strdup(release);
        if (!r->release)
                return -ENOMEM;
        k = sd_event_add_defer(event, &r->defer, on_defer, r);
        if (k >= 0)
                k = sd_event_source_set_enabled(r->defer, SD_EVENT_OFF);
        if (k >= 0)
                k = sd_event_source_set_description(r->defer, "repository");
        if (k < 0)
                return k;
        *ret = TAKE_PTR(r);
        return 0;
}

Repository *repository_free(Repository *r) {
        if (!r)
                return NULL;
        while (r->waits)
                repository_wait_free(r->waits);
        r->hands->vtable->inspect_free(r->inspection);
        for (size_t i = 0; i < r->n_files; i++)
                file_free(r->files[i]);
        free(r->files);
        free(r->entries);
        free(r->patches);
        sd_event_source_disable_unref(r->defer);
        if (r->root_fd >= 0)
                close(r->root_fd);
        free(r->release);
        sd_event_unref(r->event);
        free(r);
        return NULL;
}

const RepositoryEntry *repository_entries(const Repository *r, size_t *ret_n) {
        *ret_n = r->n_entries;
        return r->entries;
}

const RepositoryEntry *repository_find(const Repository *r, const char *name) {
        for (size_t i = 0; i < r->n_entries; i++)
                if (!r->entries[i].shadowed && patch_name_equal(r->entries[i].patch->name, name))
                        return &r->entries[i];
        return NULL;
}

Patch *const *repository_patches(const Repository *r, size_t *ret_n) {
        *ret_n = r->n_patches;
        return r->patches;
}

int repository_open(const Repository *r, const RepositoryEntry *entry, int *ret_fd) {
        int fd, k;

        fd = openat(r->root_fd, entry->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        k = sealed_memfd_new_from_fd(fd, PATCH_FILE_SIZE_MAX, entry->patch->name, ret_fd);
        close(fd);
        return k;
}

bool repository_entry_altered(const RepositoryEntry *e) {
        return e->recorded && !e->problem && !streq_ptr(e->recorded, e->patch->digest);
}

int repository_merge_manifest(const Repository *r, const char *path, Patch *inspected, Patch **ret,
                              char **ret_problem) {
        return manifest_merge(r->root_fd, path, inspected, ret, ret_problem);
}
