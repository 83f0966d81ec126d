/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What probation.c, probation-boot.c and probation-record.c share. */
#pragma once

#include "klpd/probation.h"

struct Probation {
        const World *world;
        HostRecord record;
        char *problem;
        bool held;          /* writing waits for probation_release() */
        bool unwritten;     /* ... and there is something to write */
        bool in_log;        /* the newest version is in the log, not in the file yet */
        uint64_t staged;    /* the log's number of what is to be written with its next record */
        sd_event_source *file; /* to the file, when klpd is idle */
        char boot_id[64];
        bool boot_failed, goes_on; /* see probation_boot_failed(), probation_boot_goes_on() */
        char **quarantined; /* digests of the record's */
        char **resumed;     /* names of trials of earlier boots that are still to be resumed */
        sd_event_source *timer;
        void (*changed)(void *userdata);
        void *userdata;
        ProbationHandlers handlers;
        bool asking, well;  /* how the host is: no answer yet; it has just been answered */
        uint64_t again_usec; /* not before, since the host wasn't well; CLOCK_BOOTTIME */
};

void probation_arm(Probation *p);
void probation_audit(Probation *p, const char *edge, const char *name, const char *digest, int priority,
                     const char *text);

/* ---- probation-record.c ---- */

/* What is on disk, into memory; what can't be trusted is probation_problem(). */
void probation_read(Probation *p);
void probation_distrust(Probation *p, const char *text);
/* What has been changed in memory is written, or, if it can't be, read back. */
int probation_write(Probation *p);
/* What is only in the log is written to the file. */
void probation_file(Probation *p);

/* ---- probation-boot.c ---- */

/* In memory, and in the journal. */
int probation_quarantine_digest(Probation *p, const char *digest, const char *name, const char *reason);
void probation_drop_quarantined(HostPatch **list, size_t *n, const HostRecord *r);
/* Once per boot: what the end of the last one says. */
void probation_conclude_boot(Probation *p);
