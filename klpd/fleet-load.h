/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The fleet documents that are in force on this host. The loader watches the directories, and when something
 * changes, reads what is new, checks it, and puts the set together again; nothing of it blocks the loop for
 * longer than reading and parsing a file.
 *
 *   change ─> find files ─> read ─> signature (in the sandbox) ─> parse ─> serial ─> windows (in a child) ─> set
 *
 * A file that can't be used leaves in force what was there under its name before, and says why (its
 * FleetSource.problem). If there was nothing, since klpd has only just started, the last good version counts
 * that is kept on disk (fleet-kept.h). Without that, the set is incomplete: nobody can say which rule would
 * have matched first, so nothing may be decided from it (SEMANTICS.md section 6: broken means stay). A file
 * that is taken away, or masked, is no longer in force: its rules are gone, which by itself disables nothing.
 *
 * Signatures: from the network (FLEET_NETWORK_DIRECTORY) always, from the host's own directories where the
 * policy has require_signature, or where the file has one. Documents from the network come last and mask
 * nothing; one that isn't good is left out, and what was good of that name stays. `serial` counts per signer and
 * name for signed documents: the record (fleet-record.h) has the new one before the document is in force.
 *
 * Time: a document ends when the first of its signature's certificates does. One that was refused because a
 * certificate isn't valid yet is looked at again when it is, and, as one whose certificate has expired is, when
 * the clock is set. Windows are looked up again half way through what is known of them, and when the clock is set.
 */
#pragma once

#include <sys/stat.h>

#include "klpd/fleet-record.h"
#include "klpd/prepare.h"
#include "policy/fleet.h"

typedef struct FleetSource {
        char *path, *name; /* as on the host; name orders it, and is what it has in the directories */
        bool network;
        FleetDocument *document; /* in force, or NULL */
        char *signer;            /* of that, or NULL: unsigned */
        char *problem;           /* why the file isn't what is in force, or NULL */
        bool kept;               /* what is in force is what was kept on disk, from before klpd's start */

        /* private: the file that the document, or the problem, was made from */
        struct stat st, st_signature;
        bool untimely;        /* the problem is one of time: a certificate that isn't valid yet, or any more */
        uint64_t timely_usec; /* when it is worth another look, CLOCK_REALTIME; 0: only if the clock is set */
} FleetSource;

typedef struct FleetLoader FleetLoader;

typedef struct FleetLoaderHandlers {
        /* A set is in force, perhaps the same as before. */
        void (*changed)(void *userdata);
        /* In a record of the journal, once for each cause: refused (a replay, a signature) or broken. */
        void (*problem)(const FleetSource *s, const char *result, void *userdata);
        /* A signed document is about to be in force: its serial has to be on disk. -errno: it isn't taken. */
        int (*serial)(const char *signer, const char *name, uint64_t serial, void *userdata);
        uint64_t (*last_serial)(const char *signer, const char *name, void *userdata);
        uint64_t (*now)(void *userdata); /* CLOCK_REALTIME */
        void *userdata;
} FleetLoaderHandlers;

int fleet_loader_new(const World *world, const FleetLoaderHandlers *handlers, FleetLoader **ret);
FleetLoader *fleet_loader_free(FleetLoader *l); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetLoader *, fleet_loader_free);

/* Begins, or begins again: the handler `changed` is called later, at least once. afresh: also what seems to
 * be the same is read again (the policy or the record has changed). */
int fleet_loader_reload(FleetLoader *l, bool afresh);

/* The clock has jumped (clock-watch.h). */
void fleet_loader_clock_set(FleetLoader *l);

/* Since the first load, until the next `changed`. NULL: not loaded yet. */
const FleetSet *fleet_loader_set(const FleetLoader *l);
const FleetSource *fleet_loader_sources(const FleetLoader *l, size_t *ret_n);
/* The file without which nothing may be decided, or NULL. */
const FleetSource *fleet_loader_missing(const FleetLoader *l);
