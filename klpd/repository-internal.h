/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The insides of the repository (repository.h), shared by its parts: repository.c owns the object, serves who waits
 * and has files inspected; repository-scan.c looks at the directories; repository-view.c orders what was found;
 * repository-cache.c keeps what inspections found over a restart.
 *
 * The repository owns Files, one per module file on disk, found again by path and by what stat says of the module and
 * of what lies beside it. A File that is unchanged stays the same object over a scan, and what inspection found stays
 * with it. The views (entries by level, by name, usable patches) point into the Files, and are made anew when the set
 * of Files has changed.
 */
#pragma once

#include <sys/stat.h>

#include "klpd/repository.h"

/* What is known of a file without opening it. All zero: it isn't there. */
typedef struct Identity {
        dev_t dev;
        ino_t ino;
        off_t size;
        struct timespec mtime, ctime;
        mode_t mode;
        uid_t uid;
} Identity;

/* The module itself, and what belongs to it. */
typedef enum Part {
        PART_MODULE,
        PART_MANIFEST,           /* NAME.klp.json */
        PART_RECORD,             /* NAME.klp.import, of imported ones only */
        PART_SIGNATURE,          /* NAME.ko.p7s */
        PART_MANIFEST_SIGNATURE, /* NAME.klp.json.p7s */
        _PART_MAX,
} Part;

typedef struct File {
        RepositoryEntry entry;
        Identity parts[_PART_MAX];
        char *record; /* path of the record of its import, or NULL */
        bool pending; /* to be inspected */
        bool kept;    /* during a scan: it is unchanged, and in the new list */
} File;

struct RepositoryWait {
        Repository *repository;
        RepositoryWait *next, **link;
        RepositoryCallback callback;
        void *userdata;
        uint64_t wanted; /* served by the look at the directories of at least this number */
};

typedef struct RepositoryCache RepositoryCache;

struct Repository {
        sd_event *event;
        sd_event_source *defer;
        Hands *hands;
        int root_fd;
        char *release;
        File **files; /* sorted by path */
        size_t n_files;
        RepositoryEntry *entries;
        RepositoryEntry **by_name;
        size_t n_entries;
        Patch **patches;
        size_t n_patches;
        RepositoryWait *waits;
        RepositoryCache *cache; /* from the disk, for the first scan only; then NULL */
        uint64_t n_scans;   /* looks at the directories */
        size_t n_uncached;  /* inspected, and not in the cache on disk */
        size_t next;        /* the first File that may have to be inspected */
        bool running;       /* from a look until all that it found is inspected */
        bool changed;       /* the views are not those of the Files */
        File *inspecting;
        HandsInspection *inspection;
};

File *file_free(File *f);
DEFINE_CLEANUP(File *, file_free);

/* Looks at the directories: r->files and r->changed are new. Also after an error the list is in order. */
int repository_scan(Repository *r);

/* Entries by level and by name, and the usable patches. For want of memory there are none rather than stale ones. */
int repository_make_views(Repository *r);

/*
 * What inspections found, on disk (var/lib/klpd/repository.cache): for listing and choosing after a restart without
 * inspecting ten thousand files again. It authorises nothing: what is applied is read and inspected again. One line
 * for each file, with its path and what stat said of it and its companions, all under one checksum; a cache of another
 * kernel release or version of klpd, a damaged one, or one that others may write, is none.
 */
int repository_cache_read(int root_fd, const char *release, RepositoryCache **ret); /* -ENOENT: none to be used */
RepositoryCache *repository_cache_free(RepositoryCache *c);
DEFINE_CLEANUP(RepositoryCache *, repository_cache_free);
/* Fills in a File that has just been found: 1, or 0 if the cache doesn't know it as it is now. */
int repository_cache_take(const RepositoryCache *c, File *f);
/* Not synced: a cache that a crash has torn is none. */
int repository_cache_write(const Repository *r);
