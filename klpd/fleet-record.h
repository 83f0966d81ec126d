/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What convergence has to know beyond a boot (SEMANTICS.md section 6), as one small versioned document,
 * var/lib/klpd/fleet.json: the last time that was certain, since when the goal is what it is, whether
 * somebody has decided by hand, the last serial of each signer and name, the pairs of document and content
 * that failed together, and the attempt that is being made. One file, so that a change of several of them is
 * one rename; it is written before what it stands for begins.
 *
 * Lists are bounded; of failed pairs the oldest goes, of serials none may. A document that can't be trusted
 * is an error: nobody may take it for an empty one, since that would forget serials and failures.
 */
#pragma once

#include "policy/error.h"
#include "policy/util.h"

#define FLEET_RECORD_PATH "var/lib/klpd/fleet.json"
#define FLEET_RECORD_VERSION 1U
#define FLEET_RECORD_BYTES_MAX (1024U * 1024U)
#define FLEET_RECORD_FAILED_MAX 256U
#define FLEET_RECORD_SERIALS_MAX 1024U

typedef struct FleetSerial {
        char *signer, *name; /* what the signature says; FleetDocument.name, or the file's */
        uint64_t serial;
} FleetSerial;

typedef struct FleetFailed {
        char *document, *content; /* as FleetFailure of policy/fleet.h */
        char *reason;
        uint64_t since_usec; /* CLOCK_REALTIME */
} FleetFailed;

/* From the first step of a convergence until its probation is over, or for good if it failed. */
typedef struct FleetAttempt {
        char *document, *content; /* NULL: none */
        char *boot_id;            /* in which tries were counted */
        char *slot;               /* the token that it has, or NULL */
        uint32_t tries;           /* requests begun for this pair in that boot */
        uint32_t job;             /* number of the last of them */
        bool open;                /* not over yet: it runs, or is on trial */
        bool failed;              /* it is over, and the slot is kept */
} FleetAttempt;

typedef struct FleetRecord {
        uint64_t last_trusted_usec; /* CLOCK_REALTIME, when it was certain; 0: never */
        uint64_t last_success_usec;
        char *goal;                 /* fleet_decision_content(), or NULL */
        uint64_t goal_since_usec;
        bool overridden;            /* by hand */
        char *override_stream;      /* vendor/stream */
        char *override_by;          /* who and why, for people */
        uint64_t override_usec;
        FleetSerial *serials;
        size_t n_serials;
        FleetFailed *failed;
        size_t n_failed;
        FleetAttempt attempt;
} FleetRecord;

void fleet_record_done(FleetRecord *r);
/* -EBADMSG: not acceptable, error says why; -ENOMEM. */
int fleet_record_parse(const char *text, size_t size, FleetRecord *ret, PolicyError *error);
int fleet_record_format(const FleetRecord *r, char **ret);
/* -ENOENT: there is none yet. Otherwise error says what is wrong. */
int fleet_record_read(int root_fd, FleetRecord *ret, PolicyError *error);
int fleet_record_write(int root_fd, const FleetRecord *r);

/* 0: never seen. */
uint64_t fleet_record_serial(const FleetRecord *r, const char *signer, const char *name);
/* -E2BIG. */
int fleet_record_set_serial(FleetRecord *r, const char *signer, const char *name, uint64_t serial);
/* Forgets that name's of all signers; returns how many. */
size_t fleet_record_forget_serial(FleetRecord *r, const char *name);

/* Nothing if the pair is there already. */
int fleet_record_add_failed(FleetRecord *r, const char *document, const char *content, const char *reason,
                            uint64_t now_usec);
/* How many there were. */
size_t fleet_record_forget_failed(FleetRecord *r);
const FleetFailed *fleet_record_find_failed(const FleetRecord *r, const char *document, const char *content);

void fleet_attempt_done(FleetAttempt *a);
