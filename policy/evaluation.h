/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the rules see while a plan is made; internal to policy/. A plan is made of one or more changes (one
 * patch enabled, replacing all others, or disabled); an Evaluation looks at one change at a time, on the
 * stack that the changes before it would leave.
 *
 * A check of a rule reports with violate() and never decides: the table's driver runs each check whose mode
 * isn't off, and the verdict is made of what was reported. Everything it reports lies in the plan's arena.
 */
#pragma once

#include "policy/arena.h"
#include "policy/plan.h"

/* What a change is, as far as rules apply to it; bits, for the table. */
typedef enum ChangeKind {
        CHANGE_APPLY = 1 << 0,
        CHANGE_DOWNGRADE = 1 << 1,
        CHANGE_DISABLE = 1 << 2,
        CHANGE_ENABLES = CHANGE_APPLY | CHANGE_DOWNGRADE,
        CHANGE_ANY = CHANGE_ENABLES | CHANGE_DISABLE,
} ChangeKind;

typedef struct Change Change;

struct Change {
        ChangeKind kind;
        Patch *patch; /* the candidate, or what is disabled; borrowed. NULL: a downgrade for which there is
                         none */
};

typedef struct Evaluation {
        const PlanInput *input;
        const Policy *policy;
        Plan *plan;
        Arena *arena;

        Patch **stack; /* before the change; room for one more */
        size_t n_stack;
        Change change;
        size_t index; /* of the change: rules about the host speak once */

        struct klp_diff_change diff;
        struct klp_diff_patch *diff_stack, diff_new; /* diff_stack: room for one more */
        struct klp_diff_entry *entries;
        uint32_t n_entries;

        Rule rule;     /* the one that is being checked */
        RuleMode mode; /* that it reports with */
        size_t violations_room;
        Violation spare; /* where a report goes for which there is no memory: arena_failed() then */
} Evaluation;

/* A new violation of the rule that is being checked, its other fields empty. Never NULL. */
Violation *violate(Evaluation *e, const Patch *patch);
/* Sets rule's state fields. */
void violation_set_state(Violation *v, const PatchState *s);
/* The texts of a report, in the arena. */
#define TEXT(e, ...) arena_printf((e)->arena, __VA_ARGS__)
/* "state 7 (name)" */
const char *state_text(Evaluation *e, const PatchState *s);

static inline bool change_replaces(const Evaluation *e) {
        return e->diff.op == KLP_DIFF_REPLACE;
}

/* True if that patch of the stack before goes away by the change. */
static inline bool change_drops(const Evaluation *e, size_t i) {
        return e->diff.op == KLP_DIFF_REPLACE || (e->diff.op == KLP_DIFF_DISABLE && e->diff.disabled == i);
}

/* The patch and the state that an entry names on its two sides; NULL where there is none. */
static inline Patch *entry_patch(const Evaluation *e, uint32_t patch) {
        if (patch == KLP_DIFF_NONE)
                return NULL;
        return patch < e->n_stack ? e->stack[patch] : e->change.patch;
}

static inline const PatchState *entry_from(const Evaluation *e, const struct klp_diff_entry *entry) {
        return entry->from_patch == KLP_DIFF_NONE
                               ? NULL
                               : &entry_patch(e, entry->from_patch)->states[entry->from_state];
}

static inline const PatchState *entry_to(const Evaluation *e, const struct klp_diff_entry *entry) {
        return entry->to_patch == KLP_DIFF_NONE ? NULL
                                                : &entry_patch(e, entry->to_patch)->states[entry->to_state];
}

/* Runs all rules that apply to e->change, in the order of the table. */
void rules_check(Evaluation *e);

/* rules-patch.c */
void check_kernel_release(Evaluation *e);
void check_identity(Evaluation *e);
void check_level_order(Evaluation *e);
void check_plain_over_managed(Evaluation *e);
void check_vendor(Evaluation *e);
void check_foreign(Evaluation *e);
void check_function_overlap(Evaluation *e);
/* A patch of the stack whose guard state makes the kernel refuse the (plain) candidate, or NULL. */
const Patch *find_guarded(const Evaluation *e);

/* rules-state.c */
void check_state_version(Evaluation *e);
void check_downgrade_version(Evaluation *e);
void check_cumulative_states(Evaluation *e);
void check_block_disable(Evaluation *e);
void check_unsafe_exchange(Evaluation *e);
void check_irreversible(Evaluation *e);

/* rules-relation.c */
void check_requires(Evaluation *e);
void check_conflicts(Evaluation *e);

/* rules-host.c */
void check_integrity(Evaluation *e);
void check_hold(Evaluation *e);
void check_quarantine(Evaluation *e);
void check_busy(Evaluation *e);
void check_forced(Evaluation *e);
void check_ready(Evaluation *e);
