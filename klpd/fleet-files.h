/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fleet documents on disk: which files count, in which order, and a machine's name in rollouts. Shared by
 * the daemon and klpctl, so that `klpctl fleet plan` sees what a host would see.
 */
#pragma once

#include "policy/fleet.h"

/* In this order of precedence; what klp-fleet fetched is not among them: it comes last and masks nothing. */
#define FLEET_DIRECTORIES "/etc/klpd/fleet.d", "/run/klpd/fleet.d", "/usr/lib/klpd/fleet.d"

typedef struct FleetFile {
        char *path;
        const char *name; /* its last component: what orders and masks */
} FleetFile;

typedef struct FleetFiles {
        FleetFile *list;
        size_t n;
} FleetFiles;

void fleet_files_done(FleetFiles *f);

/*
 * Files, and the *.json of directories; what comes earlier has precedence: of two files with one name the
 * first counts. The result is sorted by name. An empty file, or a link to /dev/null, masks its name and
 * is left out. What isn't there is an error only where all of them must be. Any error ends it, and *ret_failed
 * (malloc'ed, may be NULL) is what it was about.
 */
int fleet_files_find(char *const *paths, bool all, FleetFiles *ret, char **ret_failed);

/* One document: reads, parses, notes source and digest. error as fleet_document_parse(); for errors of the
 * file itself its message is empty. */
int fleet_file_load(const char *path, FleetDocument **ret, PolicyError *error);
/* Its two halves. Only regular files are read; -EFBIG: over max. path is what the document is called. */
int fleet_file_read(const char *path, size_t max, char **ret, size_t *ret_size);
int fleet_file_parse(const char *path, const char *text, size_t size, FleetDocument **ret,
                     PolicyError *error);

/* The application-specific machine id: what sd_id128_get_machine_app_specific() gives for this constant on
 * the machine itself, for a machine id of 32 hexadecimal digits. */
#define FLEET_APPLICATION_ID                                                                              \
        { 0x5b, 0x38, 0x12, 0x1f, 0x90, 0x69, 0xaf, 0xcb, 0x30, 0x17, 0x3d, 0x7b, 0x89, 0x8a, 0x0d, 0xf0 }
int fleet_host_id(FleetSlice machine_id, uint8_t ret[16]);
