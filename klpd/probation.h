/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Trial, acceptance, boot mark, quarantine (SEMANTICS.md section 6): what klpd concludes for this host from
 * how contents did. The only one that writes the host's record (host-record-store.h); each conclusion is on disk
 * before it counts, and in the journal.
 *
 *   enabled by a request      → on trial, for ProbationSec=   (what was accepted before stays so meanwhile)
 *   trial over, still enabled → accepted, with the overrides that were granted, if the host is well with it;
 *                               otherwise it is taken back, and in quarantine
 *   disabled, or downgraded   → what is no longer enabled isn't accepted any more
 *   a boot with a mark or a trial that ended in no orderly way → quarantine
 *
 * If the record can't be trusted, nothing is concluded, nothing is written, and nothing is applied by itself:
 * probation_problem() says why.
 */
#pragma once

#include "klpd/host-record.h"
#include "klpd/transaction.h"

typedef struct Probation Probation;

typedef struct ProbationHandlers {
        /* Asks how the host is; probation_health_done() answers. -EAGAIN: not now. */
        int (*check_health)(void *userdata);
        /* What is on trial does no good: it goes into quarantine and is taken back. */
        int (*reject)(const HostPatch *trial, const char *reason, void *userdata);
        void *userdata;
} ProbationHandlers;

/* world outlives it. handlers: copied; their functions may be NULL (tests of other things). */
int probation_new(const World *world, const ProbationHandlers *handlers, Probation **ret);
Probation *probation_free(Probation *p); /* NULL is fine */
DEFINE_CLEANUP(Probation *, probation_free);

/* Reads the record, and, the first time in a boot, draws the conclusions from how the last one ended. */
void probation_start(Probation *p);
const char *probation_problem(const Probation *p); /* NULL: the record can be trusted */
const HostRecord *probation_record(const Probation *p);
char *const *probation_quarantined(const Probation *p); /* digests, for the rule `quarantine` */
/* "trial", "accepted", "quarantine" or "" */
const char *probation_standing(const Probation *p, const Patch *patch);
/* The last boot left a mark: nothing is applied in this one. */
bool probation_boot_failed(const Probation *p);
/* Another klpd has begun this boot before: this one is a restart, or comes after a soft reboot. What that one
 * found at the beginning (probation_boot_failed()) isn't known any more. */
bool probation_boot_goes_on(const Probation *p);

/* Called after each change of the record. */
void probation_set_changed(Probation *p, void (*changed)(void *userdata), void *userdata);

/* As the transaction's health_done: r < 0, and text says what isn't well; -EAGAIN: ask again. */
void probation_health_done(Probation *p, int r, const char *text);

/* The transition of a request has ended, and its health is about to be checked: a crash from now on is the
 * patch's, but nothing else is concluded yet. */
void probation_on_trial(Probation *p, const Transaction *t);
/* A request has ended well. */
void probation_changed(Probation *p, const Transaction *t);

/*
 * At the end of a request the record is written together with the end itself, by its log (p NULL is fine in all):
 *   probation_hold()     changes from now on are in memory only
 *   probation_stage()    they go into the log with the next record
 *   probation_release()  what didn't get there is written to the file now; the file of what did follows later
 */
void probation_hold(Probation *p);
void probation_stage(Probation *p);
void probation_release(Probation *p);
/* Trials of earlier boots, which are to be applied again: name by name; NULL: no more. */
const HostPatch *probation_next_resumed(Probation *p);

/* The mark, before anything is applied at boot; -errno: it isn't there, so nothing may be applied. */
int probation_mark(Probation *p);
/* This boot ends in an orderly way. */
int probation_shutdown(Probation *p);

/* By somebody who may. Failure says why not. uid for the journal. */
int probation_accept(Probation *p, const char *name, uid_t uid, Failure *failure);
int probation_reject(Probation *p, const char *name, uid_t uid, const char *reason, Failure *failure);
int probation_quarantine(Probation *p, const char *digest, const char *name, const char *reason);
int probation_unquarantine(Probation *p, const char *what, uid_t uid, Failure *failure);
