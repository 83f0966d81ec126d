/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One change, from being asked for to being over: a fixed list of steps, each with start, event, undo and
 * deadline (DESIGN.md, "The daemon"). It decides before it acts: nothing visible happens before `load`. What
 * it learns from the kernel it reads again before it believes it: success is reported when sysfs and the
 * shim both say so, never because a request was sent.
 *
 *   verify   candidate and first plan                   undo: nothing
 *   load     the module into the kernel; registers      undo: unload
 *   replan   what registered is what was planned        undo: nothing
 *   enable   through the helper, with the generation of the plan; -ESTALE: replan again, bounded
 *   settle   until the transition is over; past the deadline, or cancelled: reversed; a reversal that lost
 *            the race is
 *            brought forward again
 *   health   what the administrator has configured says that the host is well (health.h); if not, the job
 *            goes back by a change of its own, planned like any other (transaction-back.c)
 *   collect  what is no longer used goes to the collector
 *   commit   the kernel's own view, once more
 *
 * Before anything visible begins, transaction_record() has it in the write-ahead log, on the disk. A new klpd
 * makes a transaction of that record (transaction_new_recovered()), which first reads the kernel
 * (transaction-recover.c), and then goes on from the step that this calls for, or back.
 *
 * Steps move on with transaction_next(), end everything with transaction_fail(), which undoes the steps
 * behind it from the last to the first, and wait by returning. Whatever is under way outside (helper,
 * inspection) holds a reference.
 */
#pragma once

#include "klpd/blocking.h"
#include "klpd/transaction-record.h"

typedef struct Transaction Transaction;
typedef struct TransactionStep TransactionStep;

typedef enum TransactionResult {
        TRANSACTION_DONE,
        TRANSACTION_NOTHING_TO_DO,
        TRANSACTION_REFUSED,
        TRANSACTION_FAILED,
        TRANSACTION_CANCELLED,
        TRANSACTION_REVERSED,
        _TRANSACTION_RESULT_MAX,
} TransactionResult;

const char *transaction_result_to_string(TransactionResult result); /* as in JobRemoved */

typedef struct TransactionHandlers {
        void (*changed)(Transaction *t, void *userdata);               /* step or plan */
        /* It is over, but the log doesn't say so yet: what the host's record gets now is on the disk no later than that
         * (probation_hold()). Called again after a crash in between. May be NULL. */
        void (*remember)(Transaction *t, void *userdata);
        void (*finished)(Transaction *t, void *userdata);              /* once; last */
        /* What the kernel runs, from the first reading that it plans on. May be NULL. */
        void (*looked)(Transaction *t, const Inventory *inventory, void *userdata);
        /* The transition has been waiting for usec, for these; the rest is n - those. May be NULL. */
        void (*stalled)(Transaction *t, uint64_t usec, const Blocker *blockers, size_t n, void *userdata);
        /* Make these return to user space for a moment (manager-nudge.c). May be NULL. */
        void (*nudge)(Transaction *t, const Blocker *blockers, size_t n, void *userdata);
        void (*retire)(Transaction *t, const char *module, void *userdata); /* to be removed late */
        /* Begins the checks that are configured, and ends them early; answered by transaction_health_done().
         * May be NULL: then nothing is checked. */
        int (*check_health)(Transaction *t, void *userdata);
        void (*stop_health)(Transaction *t, void *userdata);
        /* What it has enabled proves to be no good: t->back says why. May be NULL. */
        void (*condemned)(Transaction *t, void *userdata);
        void *userdata;
} TransactionHandlers;

struct TransactionStep {
        const char *name;
        /* Starts the step. Goes on by itself (transaction_next(), transaction_fail()), now or later. */
        void (*start)(Transaction *t);
        /* An event of the shim's; NULL: events were lost. */
        void (*event)(Transaction *t, const ShimEvent *event);
        /* Asked to cancel. Without it: transaction_fail(), which is right where nothing is under way
         * outside. */
        void (*cancel)(Transaction *t);
        /* Undoes what the step did; ends, now or later, with transaction_undone(). NULL: nothing to undo. */
        void (*undo)(Transaction *t);
        uint64_t deadline_usec; /* of start, 0: the step has its own or none */
        void (*expired)(Transaction *t); /* without it: transaction_fail() */
};

/* Of a job that has to undo what it has completed: how it comes back (transaction-back.c). */
typedef struct WayBack {
        char *reason;             /* NULL: there is none */
        char *origin;             /* what is taken back, once the change that does it has begun */
        TransactionResult result; /* of the job, if that succeeds */
} WayBack;

struct Transaction {
        unsigned n_ref;
        const World *world;
        TransactionHandlers handlers;
        JobSpec *spec;
        uint32_t id;

        /* What is to be done */
        Preparation *preparation;
        Candidate candidate;
        Plan *plan;
        char *plan_json;
        char *name;          /* of the patch that changes; NULL until it is known */
        bool disable;
        bool plain;          /* the candidate is known to be one */
        uint64_t generation; /* on which the plan was made */
        char **replaced;     /* names of what an atomic replace takes off the stack */
        char **collectable;  /* what klpd may remove afterwards: foreign patches aren't its */
        char *forced;        /* who has had its transition finished by force, and why; or NULL */
        char *digest;        /* of the content that is to be enabled, as far as it is known */
        WayBack back;

        /* How far it is */
        size_t step;
        bool started, undoing, finished;
        bool cancel_requested;
        bool start_unsaid;   /* the journal hasn't got it yet that the plan is being carried out: together with the
                              * first record of the write-ahead log */
        bool recorded;       /* the write-ahead log has it, and not its end */
        bool leave_open;     /* its end isn't to be recorded: it isn't known */
        bool loads;          /* the module wasn't there before */
        TransactionRecord *recovery; /* it is a recovered one: the record that was found, until acted upon */
        bool recovered;      /* it was one */
        bool write_reversal; /* settle begins with the write of a reversal */
        bool loaded;         /* this transaction has loaded the module */
        bool loaded_unsaid;  /* ... and that isn't in the journal yet: a record in the moment before enabling
                              * would wake tasks  that then stand in the way of the transition's first pass */
        uint64_t loaded_usec; /* when, CLOCK_REALTIME */
        bool pending;        /* an operation of the helper's is under way */
        unsigned n_replans, n_again, n_rewrites;
        sd_event_source *timer, *deadline, *kick;
        void (*on_timer)(Transaction *t);

        /* settle */
        SettlePhase phase;
        TransactionResult reversal; /* why: TRANSACTION_REVERSED or _CANCELLED */
        bool written;               /* the helper has answered to the write of this phase */
        bool ended;                 /* ENDED came for the change of this phase */
        enum klp_shim_end end;
        bool lost_race;
        bool completed;             /* the change that was asked for is in force */
        uint64_t check_usec;        /* interval of looking at sysfs; load: of trying to unload */
        uint64_t agreed_usec;       /* since when sysfs and shim agree, without an event */
        unsigned n_stalled;
        uint64_t stall_start_usec;  /* CLOCK_MONOTONIC: from when a stall counts, of the present direction */
        BlockersRead *blockers;
        sd_event_source *nudge; /* the time for it */
        sd_event_source *stall;

        /* For the record */
        uint64_t start_usec;            /* CLOCK_REALTIME */
        uint64_t start_monotonic_usec;
        uint64_t transition_start_usec; /* CLOCK_MONOTONIC; 0: never in transition */
        uint64_t transition_end_usec;

        TransactionResult result;
        Failure failure;
};

/* Takes spec over, also on failure. Does nothing yet. */
int transaction_new(const World *world, const TransactionHandlers *handlers, JobSpec *spec, uint32_t id,
                    Transaction **ret);
Transaction *transaction_ref(Transaction *t);
Transaction *transaction_unref(Transaction *t);
DEFINE_CLEANUP(Transaction *, transaction_unref);

/* One that klpd was at when it ended, from what its log says of it; record is copied out of. */
int transaction_new_recovered(const World *world, const TransactionHandlers *handlers,
                              TransactionRecord *record, Transaction **ret);

/* One that takes back what runs: that patch, which replaced those when it was enabled. spec (a disable of it,
 * taken over) says who asked and why. It is recorded at once. */
int transaction_new_back(const World *world, const TransactionHandlers *handlers, JobSpec *spec, uint32_t id,
                         char *const *replaced, const char *digest, Transaction **ret);

/* From the event loop, soon. */
int transaction_start(Transaction *t);
/* -EALREADY: it is being cancelled or undone already, or it is over. */
int transaction_cancel(Transaction *t);
/* Its transition is about to be finished by force: recorded when this returns. -EBUSY: it isn't waiting for one. */
int transaction_force(Transaction *t, const char *who);
/* Ends without the finished handler and without undoing anything: klpd goes. */
void transaction_abandon(Transaction *t);
void transaction_event(Transaction *t, const ShimEvent *event);
/* Whether an event belongs to what this transaction does, and isn't somebody else's doing. */
bool transaction_expects(const Transaction *t, const ShimEvent *event);
const char *transaction_step_name(const Transaction *t);
/* The patch, as far as it is known: what was asked for, or what it turned out to be; "" if neither. */
const char *transaction_patch_name(const Transaction *t);

/* The answer to check_health: r < 0: text is a sentence that says what isn't well. -ECANCELED: nobody can say,
 * since the host is being shut down. */
void transaction_health_done(Transaction *t, int r, const char *text);

/* ---- for the steps ---- */

/* Whether step health asks anything. */
bool transaction_asks_health(const Transaction *t);

extern const TransactionStep step_verify, step_load, step_replan, step_enable, step_settle, step_health,
                step_collect, step_commit;

#define TRANSACTION_REPLANS_MAX 8U
#define TRANSACTION_AGAIN_MAX 4U

/* What is about to begin is on the disk when this returns true; otherwise the transaction is failing. */
bool transaction_record(Transaction *t);
/* The same where not doing it would be worse: it is only said that it couldn't be recorded. */
void transaction_record_anyway(Transaction *t);
/* The record once more, as it stands now, also when it is over. */
int transaction_record_again(Transaction *t);
void transaction_record_end(Transaction *t); /* it is over */
void transaction_say_started(Transaction *t); /* to the journal, if that is still to be done */
void transaction_recover(Transaction *t);    /* transaction-recover.c */

/* ---- transaction-back.c ---- */

/* What it has completed is taken back; the job ends with result if that succeeds. */
void transaction_go_back(Transaction *t, TransactionResult result, const char *format, ...) _printf_(3, 4);
/* The same, as far as that is decided and recorded already. */
void transaction_back_begin(Transaction *t);
/* One of those, which was interrupted, once more from its first step. */
void transaction_back_again(Transaction *t);
/* The job is about to end: what its result means for what was asked for. */
void transaction_back_ended(Transaction *t);

const TransactionStep *transaction_find_step(const char *name, size_t *ret_index);
bool transaction_at(const Transaction *t, const TransactionStep *step);
void transaction_next(Transaction *t);
void transaction_repeat(Transaction *t,
                        const TransactionStep *step); /* goes back to an earlier step, without undoing */
/* Fails with that result, name and sentence; the first failure counts. */
void transaction_fail(Transaction *t, TransactionResult result, int r, const char *name, const char *format,
                      ...) _printf_(5, 6);
/* Over without a change or with success; note may be NULL and goes into the message. */
void transaction_finish(Transaction *t, TransactionResult result, const char *note);
void transaction_undone(Transaction *t);
/* Ends it as failed where it stands, and leaves the record of it open for the next start. */
void transaction_give_up(Transaction *t, int r, const char *format, ...) _printf_(3, 4);
/* The same, and its record is closed: what is under way is left to the kernel. */
void transaction_leave(Transaction *t, int r, const char *format, ...) _printf_(3, 4);
/* Goes on with the undoing of that step, and of those before it. */
void transaction_undo_from(Transaction *t, const TransactionStep *step, TransactionResult result, int r,
                           const char *format, ...) _printf_(5, 6);
/* Takes the plan and says what it refuses: false, and the transaction is over or failing, unless it may
 * go on. */
bool transaction_take_plan(Transaction *t, Plan *plan, const Inventory *inventory);
/* Calls callback(t) after usec, unless the step ends before. One at a time. */
int transaction_set_timer(Transaction *t, uint64_t usec, void (*callback)(Transaction *t));
int transaction_arm_deadline(Transaction *t, uint64_t usec); /* of the step; 0: none */
uint64_t transaction_timeout(const Transaction *t); /* of the transition */
bool transaction_is_plain(const Transaction *t);
uint64_t now_usec(clockid_t clock);

/* ---- transaction-audit.c ---- */

void transaction_audit_started(Transaction *t);
void transaction_audit_loaded(Transaction *t); /* if it is still to be said */
void transaction_audit_unloaded(Transaction *t);
void transaction_audit_event(Transaction *t, const ShimEvent *event); /* preparing and states */
void transaction_audit_stalled(Transaction *t, const Blocker *blockers, size_t n);
void transaction_audit_health(Transaction *t, int r, const char *text);
void transaction_audit_recovered(Transaction *t, RecoveryAction action, bool same_boot);
void transaction_audit_end(Transaction *t);
/* KLPD_STATE_ID and so on of a state event. */
void audit_state_event(AuditRecord *r, const ShimEvent *event);
