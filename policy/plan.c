/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Making a plan. A request becomes a list of changes (mostly one; a "disable all" has one for each patch, a
 * converge may have two). Each change is evaluated on the stack that the ones before it leave: the shim's
 * own diff gives fates and calls, the table of rules gives the violations. What the plan says about states,
 * functions and fixes compares the stack before all of it with the stack after all of it.
 *
 * Cost: n log n in states, linear in functions. Nothing is formatted unless a rule fires.
 */
#include "policy/evaluation.h"
#include "policy/plan-internal.h"

int plan_new(Plan **ret) {
        _cleanup_plan_free_ Plan *p = NULL;
        int r;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        r = arena_new(&p->arena);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

void plan_reset(Plan *p) {
        for (size_t i = 0; i < p->n_patches; i++)
                patch_unref(p->patches[i]);
        arena_reset(p->arena);
        *p = (Plan) { .arena = p->arena };
}

Plan *plan_free(Plan *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_patches; i++)
                patch_unref(p->patches[i]);
        arena_free(p->arena);
        free(p);
        return NULL;
}

RuleMode plan_severity(const Plan *p) {
        RuleMode mode = RULE_OFF;

        for (size_t i = 0; i < p->n_violations; i++)
                if (p->violations[i].mode > mode)
                        mode = p->violations[i].mode;
        return mode;
}

/* The plan names patches: it holds them as long as it lives. */
static void hold_patch(Plan *plan, Patch *p) {
        plan->patches[plan->n_patches++] = patch_ref(p);
}

/* --- one change --- */

static int fill_diff_patch(Arena *arena, const Patch *p, struct klp_diff_patch *ret) {
        struct klp_diff_state *states = arena_alloc(arena, p->n_states, sizeof(*states));

        if (!states)
                return -ENOMEM;
        for (size_t i = 0; i < p->n_states; i++)
                states[i] = (struct klp_diff_state){p->states[i].id, p->states[i].version,
                                                    p->states[i].flags};
        *ret = (struct klp_diff_patch) {
                .states = states,
                .n_states = (uint32_t) p->n_states,
                .managed = p->kind == PATCH_MANAGED,
        };
        return 0;
}

static uint32_t stack_index(const Evaluation *e, const Patch *p) {
        for (size_t i = 0; i < e->n_stack; i++)
                if (e->stack[i] == p)
                        return (uint32_t) i;
        return KLP_DIFF_NONE;
}

/* Fills e->diff and e->entries for e->change. */
static int evaluate_diff(Evaluation *e) {
        Patch *p = e->change.patch;
        struct klp_diff_entry *scratch;
        size_t room;
        int r;

        e->diff = (struct klp_diff_change) { .stack = e->diff_stack, .n_stack = (uint32_t) e->n_stack };
        e->entries = NULL;
        e->n_entries = 0;
        if (!p) {
                /* Nothing is known of the candidate: as if nothing changed. */
                e->diff.op = KLP_DIFF_ENABLE;
                e->diff_new = (struct klp_diff_patch) { .managed = true };
                e->diff.new_patch = &e->diff_new;
        } else if (e->change.kind == CHANGE_DISABLE) {
                e->diff.op = KLP_DIFF_DISABLE;
                e->diff.disabled = stack_index(e, p);
        } else {
                e->diff.op = p->cumulative ? KLP_DIFF_REPLACE : KLP_DIFF_ENABLE;
                r = fill_diff_patch(e->arena, p, &e->diff_new);
                if (r < 0)
                        return r;
                e->diff.new_patch = &e->diff_new;
        }

        room = klp_diff_max_entries(&e->diff);
        e->entries = arena_alloc(e->arena, room, sizeof(*e->entries));
        scratch = arena_alloc(e->arena, room, sizeof(*scratch));
        if (!e->entries || !scratch)
                return -ENOMEM;
        e->n_entries = klp_diff_fates(&e->diff, e->entries, scratch);
        return 0;
}

static void add_callbacks(Evaluation *e, enum klp_diff_phase phase, struct klp_diff_call *calls) {
        Plan *plan = e->plan;
        uint32_t n = klp_diff_calls(&e->diff, e->entries, e->n_entries, phase, 0, calls);

        for (uint32_t i = 0; i < n; i++) {
                const Patch *p = entry_patch(e, calls[i].patch);

                plan->callbacks[plan->n_callbacks++] = (PlanCallback) {
                        .patch = p->name,
                        .state = p->states[calls[i].state].id,
                        .callback = calls[i].callback,
                };
        }
}

static int evaluate_callbacks(Evaluation *e) {
        struct klp_diff_call *calls = arena_alloc(e->arena, 2 * (size_t) e->n_entries, sizeof(*calls));
        size_t room = e->plan->n_callbacks + 4 * (size_t) e->n_entries;
        PlanCallback *callbacks;

        callbacks = arena_alloc(e->arena, room, sizeof(*callbacks));
        if (!calls || !callbacks)
                return -ENOMEM;
        if (e->plan->n_callbacks > 0)
                memcpy(callbacks, e->plan->callbacks, e->plan->n_callbacks * sizeof(*callbacks));
        e->plan->callbacks = callbacks;
        add_callbacks(e, KLP_DIFF_PREPARE, calls);
        add_callbacks(e, KLP_DIFF_COMPLETE, calls);
        return 0;
}

/* The stack as the change leaves it: entries move within e->stack and e->diff_stack alike. */
static void evaluate_stack(Evaluation *e) {
        Patch *p = e->change.patch;

        if (!p)
                return;
        switch (e->diff.op) {
        case KLP_DIFF_ENABLE:
                break;
        case KLP_DIFF_REPLACE:
                e->n_stack = 0;
                break;
        case KLP_DIFF_DISABLE:
                e->n_stack--;
                for (size_t i = e->diff.disabled; i < e->n_stack; i++) {
                        e->stack[i] = e->stack[i + 1];
                        e->diff_stack[i] = e->diff_stack[i + 1];
                }
                return;
        }
        e->stack[e->n_stack] = p;
        e->diff_stack[e->n_stack] = e->diff_new;
        e->n_stack++;
}

/* No way back but a reboot: what the rule `irreversible` is about, whether it was accepted or not. */
static bool change_is_reversible(const Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const PatchState *to = entry_to(e, &e->entries[i]);

                if (to && (to->flags & PATCH_STATE_BLOCK_DISABLE) && e->entries[i].fate != KLP_DIFF_KEEP)
                        return false;
        }
        return true;
}

static int evaluate_change(Evaluation *e, const Change *change, size_t index) {
        int r;

        e->change = *change;
        e->index = index;
        r = evaluate_diff(e);
        if (r < 0)
                return r;
        r = evaluate_callbacks(e);
        if (r < 0)
                return r;
        rules_check(e);
        e->plan->reversible = e->plan->reversible && change_is_reversible(e);
        return 0;
}

/* --- all changes --- */

static int add_steps(Evaluation *e, const Change *changes, size_t n_changes) {
        static const PlanStepKind managed[] = { STEP_VERIFY, STEP_LOAD,   STEP_REPLAN,  STEP_ENABLE,
                                                STEP_SETTLE, STEP_HEALTH, STEP_COLLECT, STEP_COMMIT };
        static const PlanStepKind plain[] = { STEP_VERIFY, STEP_REPLAN,  STEP_LOAD,  STEP_SETTLE,
                                              STEP_HEALTH, STEP_COLLECT, STEP_COMMIT };
        static const PlanStepKind disable[] = { STEP_DISABLE, STEP_SETTLE, STEP_COLLECT, STEP_COMMIT };
        Plan *plan = e->plan;

        plan->steps = arena_alloc(e->arena, n_changes * ELEMENTSOF(managed), sizeof(*plan->steps));
        if (!plan->steps)
                return -ENOMEM;
        for (size_t i = 0; i < n_changes; i++) {
                const Change *c = &changes[i];
                const PlanStepKind *kinds = c->kind == CHANGE_DISABLE        ? disable
                                            : c->patch->kind == PATCH_MANAGED ? managed
                                                                              : plain;
                size_t n = c->kind == CHANGE_DISABLE        ? ELEMENTSOF(disable)
                           : c->patch->kind == PATCH_MANAGED ? ELEMENTSOF(managed)
                                                             : ELEMENTSOF(plain);

                for (size_t k = 0; k < n; k++)
                        plan->steps[plan->n_steps++] = (PlanStep){.kind = kinds[k], .patch = c->patch->name};
        }
        return 0;
}

/* Everything about the way from e's stack before to its stack after; n_changes may be 0 (nothing to do). */
static int evaluate_all(Evaluation *e, const Change *changes, size_t n_changes) {
        const PlanInput *input = e->input;
        size_t n_before = input->inventory->n_patches, room = n_before + n_changes + 1;
        Plan *plan = e->plan;
        Change *copy;
        int r;

        plan->patches = arena_alloc(e->arena, room, sizeof(*plan->patches));
        e->stack = arena_alloc(e->arena, room, sizeof(*e->stack));
        e->diff_stack = arena_alloc(e->arena, room, sizeof(*e->diff_stack));
        copy = arena_alloc(e->arena, n_changes, sizeof(*copy));
        if (!plan->patches || !e->stack || !e->diff_stack || !copy)
                return -ENOMEM;
        if (n_changes > 0)
                memcpy(copy, changes, n_changes * sizeof(*copy));
        plan->changes = copy;
        plan->n_changes = n_changes;
        if (plan->candidate)
                hold_patch(plan, plan->candidate);
        for (size_t i = 0; i < n_before; i++) {
                hold_patch(plan, input->inventory->patches[i]);
                e->stack[i] = input->inventory->patches[i];
                r = fill_diff_patch(e->arena, e->stack[i], &e->diff_stack[i]);
                if (r < 0)
                        return r;
        }
        e->n_stack = n_before;
        for (size_t i = 0; i < n_changes; i++) {
                if (changes[i].patch && changes[i].patch != plan->candidate &&
                    changes[i].kind != CHANGE_DISABLE)
                        hold_patch(plan, changes[i].patch);
                r = evaluate_change(e, &changes[i], i);
                if (r < 0)
                        return r;
                /* One change's entries are the plan's states; they refer to the stack before it. */
                if (n_changes == 1) {
                        r = plan_describe_entries(e);
                        if (r < 0)
                                return r;
                }
                evaluate_stack(e);
        }
        if (n_changes != 1) {
                r = plan_describe_states(e);
                if (r < 0)
                        return r;
        }
        return plan_describe_contents(e);
}

static Evaluation *begin(Evaluation *e, Plan *plan, const PlanInput *input, Patch *candidate) {
        plan_reset(plan);
        plan->request = input->request->kind;
        plan->generation = input->inventory->generation;
        plan->reversible = true;
        plan->candidate = candidate;
        *e = (Evaluation) {
                .input = input,
                .policy = input->policy ?: policy_default(),
                .plan = plan,
                .arena = plan->arena,
        };
        return e;
}

static int build_changes(Plan *plan, const PlanInput *input, Patch *candidate, const Change *changes,
                         size_t n_changes) {
        Evaluation e;
        int r;

        r = evaluate_all(begin(&e, plan, input, candidate), changes, n_changes);
        if (r < 0)
                return r;
        if (plan_severity(plan) == RULE_ENFORCE)
                plan->verdict = VERDICT_REFUSE;
        else if (n_changes == 0 || !changes[0].patch)
                plan->verdict = VERDICT_NOTHING_TO_DO;
        else {
                plan->verdict = VERDICT_ALLOW;
                r = add_steps(&e, changes, n_changes);
                if (r < 0)
                        return r;
        }
        return arena_failed(plan->arena) ? -ENOMEM : 0;
}

/* --- from request to changes --- */

static bool already_enabled(const Inventory *inventory, const Patch *candidate) {
        const Patch *p = inventory_find(inventory, candidate->name);

        return p && patch_same_content(p, candidate);
}

/* A converge goes up or down: which of the two a change is, its stream's level says. */
static ChangeKind direction(const Inventory *inventory, const Patch *p) {
        uint32_t level;

        if (p->kind != PATCH_FOREIGN && inventory_level(inventory, p->vendor, p->stream, &level) &&
            p->level > 0 && level > 0 && p->level < level)
                return CHANGE_DOWNGRADE;
        return CHANGE_APPLY;
}

/*
 * Disable all, in an order in which no disable has to fall back to another version of a state: each time the
 * topmost patch for which that holds. There is always one: the bottommost never is the holder of what others
 * have too.
 */
static bool falls_back(Patch *const *stack, size_t n, size_t top) {
        for (size_t s = 0; s < stack[top]->n_states; s++) {
                const PatchState *state = &stack[top]->states[s], *below = NULL;

                for (size_t i = 0; i < n; i++) {
                        const PatchState *other = i == top ? NULL : patch_find_state(stack[i], state->id);

                        if (!other)
                                continue;
                        if (i > top) {
                                below = NULL; /* another patch holds it: nothing changes */
                                break;
                        }
                        below = other;
                }
                if (below && below->version != state->version)
                        return true;
        }
        return false;
}

static int build_disable_all(Plan *plan, const PlanInput *input) {
        const Inventory *inventory = input->inventory;
        size_t n = 0, n_changes = 0;
        _cleanup_free_ Change *changes = NULL;
        _cleanup_free_ Patch **stack = NULL;

        changes = calloc(inventory->n_patches + 1, sizeof(*changes));
        stack = calloc(inventory->n_patches + 1, sizeof(*stack));
        if (!changes || !stack)
                return -ENOMEM;
        for (size_t i = 0; i < inventory->n_patches; i++)
                if (!inventory->patches[i]->orphan)
                        stack[n++] = inventory->patches[i];
        while (n > 0) {
                size_t i = n - 1;

                while (i > 0 && falls_back(stack, n, i))
                        i--;
                changes[n_changes++] = (Change) { .kind = CHANGE_DISABLE, .patch = stack[i] };
                n--;
                memmove(&stack[i], &stack[i + 1], (n - i) * sizeof(*stack));
        }
        return build_changes(plan, input, NULL, changes, n_changes);
}

static int build_disable(Plan *plan, const PlanInput *input) {
        const Request *request = input->request;
        const char *name = request->patch;
        Change change = { .kind = CHANGE_DISABLE };

        if (!name && request->candidate)
                name = request->candidate->name;
        if (!name)
                return build_disable_all(plan, input);
        change.patch = inventory_find(input->inventory, name);
        return build_changes(plan, input, NULL, &change, change.patch ? 1 : 0);
}

/* Bits of the rules that refuse. */
static uint64_t blocking_rules(const Plan *plan) {
        uint64_t mask = 0;

        for (size_t i = 0; i < plan->n_violations; i++)
                if (plan->violations[i].mode == RULE_ENFORCE)
                        mask |= UINT64_C(1) << plan->violations[i].rule;
        return mask;
}

static Patch *find_intermediate(const PlanInput *input, const char *name) {
        Patch *found = NULL;

        for (size_t i = 0; i < input->n_repository; i++) {
                Patch *p = input->repository[i];

                if (!patch_name_equal(p->name, name))
                        continue;
                if (!p->kernel || streq(p->kernel, input->inventory->kernel))
                        return p;
                found = found ?: p;
        }
        return found;
}

static int build_over(Plan *plan, const PlanInput *input, Patch *goal, Patch *intermediate) {
        _cleanup_inventory_free_ Inventory *half_way = NULL;
        Change changes[2] = {
                { .kind = direction(input->inventory, intermediate), .patch = intermediate },
                { .patch = goal },
        };
        int r;

        r = plan_simulate(input->inventory, changes, 1, &half_way);
        if (r < 0)
                return r;
        changes[1].kind = direction(half_way, goal);
        r = build_changes(plan, input, goal, changes, 2);
        if (r < 0)
                return r;
        plan->intermediate = intermediate;
        return 0;
}

/*
 * SEMANTICS.md section 4: straight to the goal, or over one intermediate that the document names; otherwise
 * no-path and which rules block, on each of the ways.
 */
static int build_converge(Plan *plan, const PlanInput *input, Patch *goal) {
        const Change straight = { .kind = direction(input->inventory, goal), .patch = goal };
        char *const *names = input->request->intermediates;
        _cleanup_free_ uint64_t *blocking = NULL;
        int r;

        r = build_changes(plan, input, goal, &straight, 1);
        if (r < 0 || plan->verdict == VERDICT_ALLOW)
                return r;

        blocking = calloc(strv_length(names) + 1, sizeof(*blocking));
        if (!blocking)
                return -ENOMEM;
        for (size_t i = 0; names && names[i]; i++) {
                Patch *intermediate = find_intermediate(input, names[i]);

                if (!intermediate || intermediate == goal ||
                    patch_name_equal(intermediate->name, goal->name) ||
                    inventory_find(input->inventory, intermediate->name))
                        continue; /* no way of its own: 0 in blocking[] */
                r = build_over(plan, input, goal, intermediate);
                if (r < 0 || plan->verdict == VERDICT_ALLOW)
                        return r;
                blocking[i] = blocking_rules(plan);
        }

        r = build_changes(plan, input, goal, &straight, 1);
        if (r < 0)
                return r;
        return plan_add_no_path(plan, goal, names, blocking);
}

int plan_rebuild(Plan *plan, const PlanInput *input, PolicyError *error) {
        Patch *candidate = NULL;
        Change change;
        int r;

        r = request_resolve(input->request, input->inventory, input->repository, input->n_repository,
                            &candidate, error);
        if (r >= 0) {
                if (input->request->kind == REQUEST_DISABLE)
                        r = build_disable(plan, input);
                else if (candidate && already_enabled(input->inventory, candidate))
                        r = build_changes(plan, input, candidate, NULL, 0);
                else if (input->request->kind == REQUEST_CONVERGE)
                        r = build_converge(plan, input, candidate);
                else {
                        change.kind = input->request->kind == REQUEST_DOWNGRADE ? CHANGE_DOWNGRADE
                                                                                : CHANGE_APPLY;
                        change.patch = candidate;
                        r = build_changes(plan, input, candidate, &change, 1);
                }
                if (r == -ENOMEM)
                        (void) policy_error_set(error, r, "out of memory");
        }
        if (r < 0)
                plan_reset(plan);
        return r;
}

int plan_build(const PlanInput *input, Plan **ret, PolicyError *error) {
        _cleanup_plan_free_ Plan *plan = NULL;
        int r;

        r = plan_new(&plan);
        if (r < 0)
                return policy_error_set(error, r, "out of memory");
        r = plan_rebuild(plan, input, error);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(plan);
        return 0;
}
