/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the write-ahead log (wal.h) has of a transaction: all that it takes to finish or reverse it after klpd
 * was killed, as one text. And the decision which of the two it is, from that and from what the kernel says:
 * a pure function, since everything that follows from it can be tried without a kernel.
 *
 * The text is "klpd-transaction 1", then a line KEY=VALUE for each field, with \n and \\ for line feed and
 * backslash; a field that is a list has a line for each entry. What doesn't fit in every respect is not
 * believed (-EBADMSG).
 */
#pragma once

#include <sys/types.h>

#include "policy/request.h"

#define TRANSACTION_RECORD_LIST_MAX 256U

typedef enum SettlePhase {
        SETTLE_FORWARD,   /* waiting for the change that was asked for */
        SETTLE_REVERSING, /* written the other way round */
        SETTLE_AGAIN,     /* the reversal lost the race: written forward once more */
        _SETTLE_PHASE_MAX,
} SettlePhase;

typedef struct TransactionRecord {
        bool over;             /* nothing is left to be done */
        uint32_t id;           /* of the job */
        char boot[33];         /* boot id: another one means that nothing of it is left in the kernel */
        RequestKind kind;
        char *patch;
        char *step;            /* that is about to begin */
        bool plain;
        bool loads;            /* it was this transaction that loaded the module, or was about to */
        bool undoing;
        bool cancelled;        /* why it is reversed: somebody cancelled, not the deadline */
        SettlePhase phase;
        uint32_t uid;
        char *reason;          /* or NULL */
        uint64_t timeout_usec; /* 0: as configured */
        uint64_t start_usec;   /* CLOCK_REALTIME */
        bool accept_irreversible, replace_foreign;
        char **allow_vendor, **replaced, **collectable;
        char **frozen;         /* units that have to be thawed */
        char *digest;          /* of the content that is enabled, or NULL */
        /* Going back (transaction-back.h); NULL where nobody does */
        char *back_reason;     /* decided, for this reason */
        char *back_origin;     /* ... and begun: it is that patch that is taken back by this change */
        char *forced;          /* who has it finished by force, and why; NULL: nobody */
        char *back_result;     /* how the job ends if that succeeds, as in JobRemoved */
} TransactionRecord;

void transaction_record_done(TransactionRecord *r); /* zeroed is fine */

/* malloc'ed, with a line feed at the end. */
int transaction_record_format(const TransactionRecord *r, char **ret, size_t *ret_size);
/* -EBADMSG. */
int transaction_record_parse(const void *text, size_t size, TransactionRecord *ret);

/* The kernel's side. */
typedef struct RecoveryView {
        bool same_boot;
        bool module;          /* the patch's module is loaded */
        bool enabled;         /* sysfs: "enabled" reads 1 */
        bool transition;
        bool replaced_gone;   /* it was to replace patches, and none of them is enabled */
} RecoveryView;

typedef enum RecoveryAction {
        RECOVERY_NOTHING,  /* what was asked for isn't in force, and nothing has to be done about it */
        RECOVERY_FINISH,   /* it is in force: collect and commit */
        RECOVERY_FOLLOW,   /* it is under way, in the recorded direction */
        RECOVERY_REVERSE,  /* it is under way, and going back was decided */
        RECOVERY_AGAIN,    /* a reversal that lost the race has left neither the old nor the new in force */
        RECOVERY_UNDO,     /* it isn't in force, but its module, which it loaded, is there */
        RECOVERY_BACK,     /* it has to be taken back, and isn't yet */
        _RECOVERY_ACTION_MAX,
} RecoveryAction;

RecoveryAction recovery_decide(const TransactionRecord *r, const RecoveryView *v);
const char *recovery_action_to_string(RecoveryAction action); /* "nothing", … */
