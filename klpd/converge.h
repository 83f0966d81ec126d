/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Convergence: what a fleet document says this host shall run is brought about (SEMANTICS.md section 6). The
 * decision is fleet_decide()'s, made afresh whenever something that it rests on has changed, and at the time
 * that it names itself; it is pure, so making it once too often does nothing.
 *
 *   documents, kernel, policy, record, clock ──> fleet_decide() ──> change? ──> slot ──> plan (converge)
 *        ^                                                                                  │
 *        └── what came of it: accepted, or failed <── probation <── job (one transaction) <─┘
 *
 * What never happens: that a pair of document and content is tried again after it has failed (the record
 * remembers it), more than FleetTries= requests for one pair in one boot (so nothing can go back and forth
 * for ever, whoever takes back what klpd does), a change while a document that might say otherwise can't
 * be read, or one that waits for a time while the clock isn't certain.
 *
 * A refusal by the policy is no failure: it is said, with its rules, and asked again when something has
 * changed, or later and later. A request that failed, or was reversed, is tried again, later and later, up
 * to FleetTries= times; one that somebody cancelled isn't.
 *
 *   converge.c           the loop: decision, times, what comes of attempts
 *   converge-attempt.c   slot, plan, job; the record of it
 *   converge-host.c      the facts
 *   converge-describe.c  all of it as JSON
 *   manager-fleet.c      the bus
 */
#pragma once

#include "klpd/converge-host.h"
#include "klpd/fleet-load.h"
#include "klpd/fleet-slot.h"
#include "klpd/fleet-status.h"
#include "klpd/transaction.h"

typedef struct Manager Manager;
typedef struct Converge Converge;

typedef enum ConvergePhase {
        CONVERGE_STARTING,  /* documents or repository aren't read yet */
        CONVERGE_IDLE,      /* nothing is to be done: there, not managed, or it stays as it is */
        CONVERGE_OBSERVING, /* Mode=observe: something would be done */
        CONVERGE_WAITING,   /* for a gate of the document */
        CONVERGE_SLOT,      /* for the slot */
        CONVERGE_PLANNING,
        CONVERGE_CHANGING,
        CONVERGE_PROBATION,
        CONVERGE_REFUSED,   /* by the policy, or because of the host's own state */
        CONVERGE_RETRYING,  /* failed, and will be tried again */
        CONVERGE_FAILED,    /* and stays so until somebody does something */
        _CONVERGE_PHASE_MAX,
} ConvergePhase;

const char *converge_phase_to_string(ConvergePhase phase);

struct Converge {
        Manager *manager;
        ConvergeClock clock;
        FleetLoader *loader;
        struct FleetWatch *repository_watch;
        RepositoryWait *repository_wait;
        bool repository_changed; /* and hasn't been read since, for nothing was wanted of it */
        struct ClockWatch *clock_watch;
        FleetRecord record;
        char *record_problem;   /* it can't be trusted: nothing is done */
        sd_event_source *kick, *timer, *retry;
        bool started, loaded;

        /* The last decision, as copies */
        ConvergePhase phase;
        char *message;          /* of the decision, or of what stands in its way */
        char *stream, *rule, *document, *told;
        const char *hold;       /* a rule's hold that is in force: its reason, owned by held */
        char *held, *held_stream;

        /* converge-attempt.c */
        Preparation *preparation;
        JobSpec *spec;          /* that it plans */
        FleetAction action;     /* for which it plans */
        char *goal_document, *goal_content;
        uint32_t job;           /* ours that runs, 0: none */
        bool progress;          /* the last one of ours went well */
        bool cancelled;         /* ... was cancelled by somebody */
        unsigned n_progress;    /* that led somewhere, but not to the goal */
        char *failure;          /* why it failed, or NULL */
        bool baseline_known, baseline_running; /* what ran before a request by hand */
        uint32_t baseline_level;
        char *by_hand;          /* a request by hand has gone well: by whom, not looked at yet */
        char *slot;             /* the token that is wanted, and not in the record yet */
        bool slot_granted;
        char *slot_announced;   /* Wanted, as the bus was last told */
        SlotState slot_state_announced;
        uint64_t retry_usec;    /* CLOCK_MONOTONIC: not before */
        uint64_t epoch;         /* counts what may change the policy's mind, beside the kernel */
        char *refused;          /* why, or NULL */
        char **refused_rules;
        uint64_t refused_epoch, refused_generation, refused_until_usec;
        unsigned n_refused;     /* in a row */
};

int converge_new(Manager *m, Converge **ret);
Converge *converge_free(Converge *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Converge *, converge_free);

/* Reads the record: before a job that the last klpd was at is taken up. */
void converge_read(Converge *c);
/* Reads the documents. The repository has been read. */
void converge_start(Converge *c);
/* Something may have changed: decides again, soon. */
void converge_kick(Converge *c);
/* CLOCK_REALTIME was set: whatever waits for a time, or was refused because of it. userdata: the Converge. */
void converge_clock_set(void *userdata);
/* Configuration, policy and documents afresh. */
void converge_reload(Converge *c);
/* A job is over, whoever it was for. */
void converge_job_finished(Converge *c, const Transaction *t);

/* By somebody who may. */
int converge_resume(Converge *c, uid_t uid, Failure *failure);
int converge_reset_serial(Converge *c, const char *name, uid_t uid, Failure *failure);
/* -ENOENT: that slot isn't wanted. */
int converge_grant(Converge *c, const char *token);

/* Now: host, decision and state, as JSON (klpctl(8), "fleet status"). */
int converge_describe(Converge *c, char **ret);

/* ---- between the files of converge ---- */

uint64_t converge_now(const Converge *c);
int converge_record_write(Converge *c);
void converge_set_phase(Converge *c, ConvergePhase phase, const char *message);
void converge_audit(Converge *c, const char *result, int priority, const FleetDecision *d, const char *text);
void converge_tell(Converge *c, const FleetDecision *d, const FleetHost *host);
void converge_fill_status(Converge *c, const FleetDecision *d);
/* CLOCK_MONOTONIC, and never before: a relative timer counts from when the loop woke up, and would come too early. */
int converge_retry_at(Converge *c, uint64_t usec);

/* What became of the attempt that the record has. True: nothing may be begun. */
bool converge_settle(Converge *c, const FleetDecision *d);
/* d says change, now, and nothing of the host stands in the way. */
void converge_begin(Converge *c, const FleetDecision *d);
void converge_abandon_plan(Converge *c);
/* What was done by hand led away from the goal: the record says so, and another decision has to be made. */
bool converge_note_override(Converge *c, const FleetDecision *d);
SlotState converge_slot_state(const Converge *c);
const char *converge_slot_wanted(const Converge *c); /* or "" */
void converge_drop_slot(Converge *c); /* the one that is only wanted */
const char *slot_state_to_string(SlotState state);
