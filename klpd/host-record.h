/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this host knows of contents beyond a boot (SEMANTICS.md section 6), as one small versioned document,
 * var/lib/klpd/host.json: which boot it was written in and whether that ended in an orderly way, the mark of
 * a boot that has applied something and isn't known to be healthy yet, what is on trial, what is accepted,
 * what is in quarantine. One file, so that a change of several of them is one rename.
 *
 * Each version has a number of its own, by which the newer of two is known: for the moment until the file is written
 * the newest one may be in the write-ahead log (host-record-store.h).
 *
 * Digests are those of contents. Lists are bounded. A document that can't be trusted is an error: nobody may
 * take it for an empty one.
 */
#pragma once

#include "policy/error.h"
#include "policy/strv.h"

#define HOST_RECORD_PATH "var/lib/klpd/host.json"
#define HOST_RECORD_VERSION 1U
#define HOST_RECORD_BYTES_MAX (1024U * 1024U)
#define HOST_RECORD_LIST_MAX 256U

/* One content that is on trial or accepted, with the overrides that were granted and no others. */
typedef struct HostPatch {
        char *name, *kernel, *digest;
        char *boot_id;        /* in which it was enabled last */
        uint64_t since_usec;  /* trial: CLOCK_BOOTTIME of that boot; accepted: CLOCK_REALTIME */
        bool downgrade;       /* by which request */
        bool accept_irreversible, replace_foreign;
        char **allow_vendor;
        char **replaces;      /* names of what it took off the stack: the way back */
} HostPatch;

typedef struct HostQuarantine {
        char *digest, *name, *reason;
        uint64_t since_usec; /* CLOCK_REALTIME */
} HostQuarantine;

/* One content that was applied at the boot, with the name that it then had: by the time of a crash something else may have
 * replaced it, so that no list has it any more. */
typedef struct HostMark {
        char *digest;
        char *name; /* NULL: from a klpd that wrote digests only */
} HostMark;

typedef struct HostRecord {
        uint64_t serial; /* of this version, grows; 0: from a klpd that didn't count */
        char *boot_id;  /* of the last boot that looked at it, or NULL */
        bool orderly;   /* that boot was shut down in an orderly way */
        HostMark *mark; /* what was applied at that boot, until it is known to be healthy */
        size_t n_mark;
        HostPatch *trial;
        size_t n_trial;
        HostPatch *accepted; /* in the order in which they are to be enabled */
        size_t n_accepted;
        HostQuarantine *quarantine;
        size_t n_quarantine;
} HostRecord;

void host_record_done(HostRecord *r);
/* -EBADMSG: not acceptable, error says why; -ENOMEM. */
int host_record_parse(const char *text, size_t size, HostRecord *ret, PolicyError *error);
int host_record_format(const HostRecord *r, char **ret);
/* -ENOENT: there is none yet. Otherwise error says what is wrong. */
int host_record_read(int root_fd, HostRecord *ret, PolicyError *error);
int host_record_write(int root_fd, const HostRecord *r); /* as it is: the number is the caller's affair */

int host_mark_add(HostRecord *r, const char *digest, const char *name);
void host_mark_clear(HostRecord *r);

/* Names are compared as modules' are. NULL: none. kernel NULL: any. */
HostPatch *host_patch_find(HostPatch *list, size_t n, const char *name, const char *kernel);
/* A copy at the end; what had that name for that kernel goes. -E2BIG. */
int host_patch_add(HostPatch **list, size_t *n, const HostPatch *p);
void host_patch_remove(HostPatch **list, size_t *n, HostPatch *p);
/* Nothing if it is there already. The oldest goes if the list is full. */
int host_quarantine_add(HostRecord *r, const char *digest, const char *name, const char *reason,
                        uint64_t now_usec);
/* 1: it was there. what: a digest, its beginning (at least 8 digits), or a name. */
int host_quarantine_remove(HostRecord *r, const char *what);
bool host_quarantine_has(const HostRecord *r, const char *digest);
