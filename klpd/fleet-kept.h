/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The last good version of each of the host's own fleet documents, with its detached signature if it has
 * one, so that a file which is broken when klpd starts leaves in force what was in force before
 * (SEMANTICS.md section 6: broken means stay). Below var/lib/klpd/fleet-kept/, one file per document under
 * the document's own file name, written in one rename when the document comes into force:
 *
 *   "klpd-fleet-document 1 SIZE SIGNATURE-SIZE SHA256\n" DOCUMENT SIGNATURE
 *
 * The digest is over all that follows the line. What is kept is no authority: it goes through the same
 * checks (signature, serial, windows) as the file would. Documents from the network aren't kept: without
 * them the host stays as it is anyway. Blocking, and bounded.
 */
#pragma once

#include "policy/util.h"

#define FLEET_KEPT_DIRECTORY "var/lib/klpd/fleet-kept"
#define FLEET_KEPT_BYTES_MAX (4U * 1024U * 1024U) /* of a document and its signature */
#define FLEET_KEPT_FILES_MAX 64U

typedef struct FleetKept {
        char *text; /* NUL behind it */
        size_t size;
        char *signature; /* NULL: none */
        size_t signature_size;
} FleetKept;

void fleet_kept_done(FleetKept *k);

/* -EBADMSG: it isn't what was written; -ENOMEM. */
int fleet_kept_parse(const char *bytes, size_t size, FleetKept *ret);
/* -ENOENT: nothing is kept under that name. */
int fleet_kept_read(int root_fd, const char *name, FleetKept *ret);
/* Writes nothing if it is there already. -E2BIG: too large to be kept, and nothing older is kept either. */
int fleet_kept_write(int root_fd, const char *name, const FleetKept *k);
/* Removes what is kept under other names than these. */
int fleet_kept_tidy(int root_fd, const char *const *names, size_t n);
