/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The plan: what a request would do, and whether it may (SEMANTICS.md sections 2 to 4). plan_build() is a
 * pure function of what is passed in. It never stops at the first violation.
 *
 * Ownership: a Plan owns one arena in which all of its arrays and texts lie, and a reference on each patch
 * that it names; so it may outlive inventory, request and repository. plan_rebuild() reuses a plan and its
 * memory: in a loop it allocates nothing once the arena is large enough.
 */
#pragma once

#include "policy/error.h"
#include "policy/model.h"
#include "policy/policy.h"
#include "policy/request.h"
#include "shim/klp_shim_diff.h"

typedef enum Verdict {
        VERDICT_ALLOW,
        VERDICT_REFUSE,
        VERDICT_NOTHING_TO_DO,
        _VERDICT_MAX,
        _VERDICT_INVALID = -EINVAL,
} Verdict;

const char *verdict_to_string(Verdict verdict); /* "allow", "refuse", "nothing-to-do" */
Verdict verdict_from_string(const char *s);

/* One rule that fired. Strings: NULL where they don't apply. */
typedef struct Violation {
        Rule rule;
        RuleMode mode; /* RULE_WARN or RULE_ENFORCE */
        bool has_state;
        uint64_t state;
        const char *state_name;
        const char *patch;    /* the patch to blame, or the one that is in the way */
        const char *function; /* "object:function" */
        const char *have;     /* what there is */
        const char *want;     /* what it had to be */
        const char *message;  /* for a person: which object, both values */
        const char *remedy;   /* what would make the request acceptable */
} Violation;

typedef struct PlanState {
        uint64_t id;
        const char *name; /* or NULL */
        enum klp_diff_fate fate;
        bool has_from, has_to;
        uint32_t from, to;                 /* versions */
        const char *from_patch, *to_patch; /* holders, or NULL */
} PlanState;

typedef struct PlanCallback {
        const char *patch; /* whose code */
        uint64_t state;
        enum klp_diff_callback callback;
} PlanCallback;

/* "before" or "after" the transition. */
const char *plan_callback_when(enum klp_diff_callback callback);

typedef enum PlanChange {
        PLAN_GAINED,
        PLAN_LOST,
        PLAN_CHANGED_HANDS, /* functions only: redirected before and after, by another patch's code */
        _PLAN_CHANGE_MAX,
        _PLAN_CHANGE_INVALID = -EINVAL,
} PlanChange;

typedef struct PlanFunction {
        PlanChange change;
        const char *object, *function;
        uint32_t sympos;
        const char *from_patch, *to_patch; /* or NULL */
} PlanFunction;

typedef struct PlanFix {
        PlanChange change;
        const char *fix; /* "CVE-…" */
} PlanFix;

/* The steps of a transaction (DESIGN.md, "The daemon"), and what carries a disable. */
typedef enum PlanStepKind {
        STEP_VERIFY,
        STEP_LOAD, /* plain patches: loading enables */
        STEP_REPLAN,
        STEP_ENABLE,
        STEP_DISABLE,
        STEP_SETTLE,
        STEP_HEALTH,
        STEP_COLLECT, /* later: remove the modules that are no longer on the stack */
        STEP_COMMIT,
        _STEP_MAX,
        _STEP_INVALID = -EINVAL,
} PlanStepKind;

const char *plan_step_to_string(PlanStepKind kind);
PlanStepKind plan_step_from_string(const char *s);

typedef struct PlanStep {
        PlanStepKind kind;
        const char *patch; /* what it acts on, or NULL */
} PlanStep;

typedef struct Arena Arena;

typedef struct Plan {
        Verdict verdict;
        bool reversible;           /* false: no way back but a reboot once the transition has completed */
        RequestKind request;
        uint64_t generation;       /* of the inventory that it was made for */
        Patch *candidate;          /* or NULL */
        Patch *intermediate;       /* converge over two changes: the first one's patch, or NULL */
        Violation *violations;     /* enforce and warn, in the order of the rules */
        size_t n_violations;
        PlanState *states;         /* every id of the stack before and of the stack after */
        size_t n_states;
        PlanCallback *callbacks;   /* in the order in which they will run */
        size_t n_callbacks;
        PlanFunction *functions;
        size_t n_functions;
        PlanFix *fixes;
        size_t n_fixes;
        PlanStep *steps;           /* empty unless the verdict is allow */
        size_t n_steps;

        /* private */
        Arena *arena;
        const struct Change *changes;
        size_t n_changes;
        Patch **patches;
        size_t n_patches;
} Plan;

typedef struct PlanInput {
        const Policy *policy; /* NULL: policy_default() */
        const Inventory *inventory;
        const HostFacts *host; /* NULL: not known (offline), what depends on it isn't checked */
        const FileFacts *file; /* NULL: not known */
        const Request *request;
        Patch *const *repository; /* borrowed */
        size_t n_repository;
} PlanInput;

/* Errors are those of request_resolve() and -ENOMEM: a refusal is no error but a plan whose verdict is
 * "refuse". */
int plan_build(const PlanInput *input, Plan **ret, PolicyError *error);
/* The same into an existing plan (plan_new() or an earlier build). After an error the plan is empty. */
int plan_rebuild(Plan *plan, const PlanInput *input, PolicyError *error);
int plan_new(Plan **ret);
Plan *plan_free(Plan *plan); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Plan *, plan_free);
#define _cleanup_plan_free_ _cleanup_(plan_freep)

/* The inventory that the changes of a plan would leave, allowed or not; for simulation and for tests.
 * before: the one that the plan was built from. */
int plan_apply(const Plan *plan, const Inventory *before, Inventory **ret);

/* The highest mode among the violations: RULE_OFF if there are none. */
RuleMode plan_severity(const Plan *plan);
