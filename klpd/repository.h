/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The patches that klpd may apply by name: module files below usr/lib/klpd/patches/RELEASE (packages) and
 * var/lib/klpd/patches/RELEASE (imported), each with an optional sidecar manifest NAME.klp.json.
 *
 * The directories are looked at (names and stat) whenever somebody asks; what is new or changed is inspected
 * in the sandbox, one file after the other, and what can't be used stays listed with its problem. A cache on disk
 * spares most inspections after a restart. What is
 * kept of a file is for listing and for choosing only: at use it is read once more into a sealed memfd, and
 * that is inspected, planned and loaded.
 *
 * Entries are the repository's and valid until the next refresh; patches are reference-counted.
 */
#pragma once

#include <systemd/sd-event.h>

#include "klpd/hands.h"

#define REPOSITORY_ENTRIES_MAX 32768U

typedef struct Repository Repository;

typedef struct RepositoryEntry {
        char *path;           /* below the root, without a leading slash */
        char *manifest;       /* path of the sidecar, or NULL */
        char *signature;      /* path of a detached signature, or NULL */
        char *manifest_signature; /* and of one of the manifest, or NULL */
        char *recorded;       /* digest that was recorded when it was imported, or NULL */
        bool imported;        /* var/lib, not a package's */
        Patch *patch;         /* never NULL; of a broken file: only its name, after the file */
        char *problem;        /* why it can't be used, or NULL */
        char *writable;       /* the file or directory above it that others than root may write, or NULL */
        bool shadowed;        /* another entry is used under this name */
} RepositoryEntry;

typedef void (*RepositoryCallback)(void *userdata);
typedef struct RepositoryWait RepositoryWait;

int repository_new(sd_event *event, Hands *hands, int root_fd, const char *release, Repository **ret);
Repository *repository_free(Repository *r); /* drops who waits without calling back; NULL is fine */
DEFINE_CLEANUP(Repository *, repository_free);

/* Calls back, from the event loop, when the entries are what is on disk. Free the wait from or after the
 * callback, or before to cancel. */
int repository_refresh(Repository *r, RepositoryCallback callback, void *userdata, RepositoryWait **ret);
RepositoryWait *repository_wait_free(RepositoryWait *w);
DEFINE_CLEANUP(RepositoryWait *, repository_wait_free);

/* Sorted by vendor, stream, level, name (patch_compare()). */
const RepositoryEntry *repository_entries(const Repository *r, size_t *ret_n);
/* The one that is used under that name: the first usable, not shadowed, or else the broken one; NULL. */
const RepositoryEntry *repository_find(const Repository *r, const char *name);
/* The usable patches, not shadowed, for request_resolve() and plan_build(); borrowed, until the next
 * refresh. */
Patch *const *repository_patches(const Repository *r, size_t *ret_n);

/* The file as it is now, read into a sealed memfd. */
int repository_open(const Repository *r, const RepositoryEntry *entry, int *ret_fd);
/* Whether the content is another one than was recorded at import. */
bool repository_entry_altered(const RepositoryEntry *entry);

/* Beside a module, after its name without .ko and what follows: a detached signature of it, and of its manifest. */
#define REPOSITORY_SIGNATURE_SUFFIX ".ko.p7s"
#define REPOSITORY_MANIFEST_SIGNATURE_SUFFIX ".klp.json.p7s"

#define REPOSITORY_PACKAGES "usr/lib/klpd/patches"
#define REPOSITORY_IMPORTED "var/lib/klpd/patches"
