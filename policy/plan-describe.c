/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a plan says beyond its verdict: the fate of each state, functions and fixes gained and lost, names of
 * things, the words of no-path, and the stack that it would leave.
 */
#include "policy/functions.h"
#include "policy/plan-internal.h"

static const char *const verdicts[_VERDICT_MAX] = {
        [VERDICT_ALLOW] = "allow",
        [VERDICT_REFUSE] = "refuse",
        [VERDICT_NOTHING_TO_DO] = "nothing-to-do",
};

static const char *const steps[_STEP_MAX] = {
        [STEP_VERIFY] = "verify",   [STEP_LOAD] = "load",     [STEP_REPLAN] = "replan",
        [STEP_ENABLE] = "enable",   [STEP_DISABLE] = "disable", [STEP_SETTLE] = "settle",
        [STEP_HEALTH] = "health",   [STEP_COLLECT] = "collect", [STEP_COMMIT] = "commit",
};

const char *verdict_to_string(Verdict verdict) {
        return verdict >= 0 && verdict < _VERDICT_MAX ? verdicts[verdict] : NULL;
}

Verdict verdict_from_string(const char *s) {
        for (int i = 0; i < _VERDICT_MAX; i++)
                if (streq(verdicts[i], s))
                        return (Verdict) i;
        return _VERDICT_INVALID;
}

const char *plan_step_to_string(PlanStepKind kind) {
        return kind >= 0 && kind < _STEP_MAX ? steps[kind] : NULL;
}

PlanStepKind plan_step_from_string(const char *s) {
        for (int i = 0; i < _STEP_MAX; i++)
                if (streq(steps[i], s))
                        return (PlanStepKind) i;
        return _STEP_INVALID;
}

const char *plan_callback_when(enum klp_diff_callback callback) {
        switch (callback) {
        case KLP_DIFF_PRE_PATCH:
        case KLP_DIFF_PRE_UNPATCH:
        case KLP_DIFF_PRE_TAKEOVER:
                return "before";
        case KLP_DIFF_POST_PATCH:
        case KLP_DIFF_POST_UNPATCH:
        case KLP_DIFF_POST_TAKEOVER:
        case KLP_DIFF_CANCEL_TAKEOVER:
                return "after";
        }
        return NULL;
}

/* --- states --- */

int plan_describe_entries(Evaluation *e) {
        Plan *plan = e->plan;

        plan->states = arena_alloc(e->arena, e->n_entries, sizeof(*plan->states));
        if (!plan->states)
                return -ENOMEM;
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from = entry_from(e, entry), *to = entry_to(e, entry);
                PlanState *s = &plan->states[plan->n_states++];

                *s = (PlanState) { .id = entry->id, .fate = entry->fate };
                if (from) {
                        s->has_from = true;
                        s->from = from->version;
                        s->from_patch = entry_patch(e, entry->from_patch)->name;
                        s->name = from->name;
                }
                if (to) {
                        s->has_to = true;
                        s->to = to->version;
                        s->to_patch = entry_patch(e, entry->to_patch)->name;
                        s->name = to->name ?: s->name;
                }
        }
        return 0;
}

/* The holders after all changes, as the states of one patch that replaces the stack before: one diff gives
 * the fates. */
typedef struct Holders {
        struct klp_diff_patch patch;
        struct klp_diff_state *states;
        struct { /* who holds it */
                const Patch *patch;
                const PatchState *state;
        } *of;
} Holders;

static int collect_holders(Evaluation *e, Holders *h) {
        struct klp_diff_change change = {
                        .op = KLP_DIFF_ENABLE,
                        .stack = e->diff_stack,
                        .n_stack = (uint32_t) e->n_stack,
                        .new_patch = &h->patch,
        };
        struct klp_diff_entry *entries, *scratch;
        uint32_t n;

        *h = (Holders) {};
        n = klp_diff_max_entries(&change);
        entries = arena_alloc(e->arena, n, sizeof(*entries));
        scratch = arena_alloc(e->arena, n, sizeof(*scratch));
        h->states = arena_alloc(e->arena, n, sizeof(*h->states));
        h->of = arena_alloc(e->arena, n, sizeof(*h->of));
        if (!entries || !scratch || !h->states || !h->of)
                return -ENOMEM;

        /* Enabling a patch without states keeps everything: the entries are the holders. */
        n = klp_diff_fates(&change, entries, scratch);
        for (uint32_t i = 0; i < n; i++) {
                const Patch *p = e->stack[entries[i].from_patch];
                const PatchState *s = &p->states[entries[i].from_state];

                h->states[i] = (struct klp_diff_state) { s->id, s->version, s->flags };
                h->of[i].patch = p;
                h->of[i].state = s;
        }
        h->patch = (struct klp_diff_patch) { .states = h->states, .n_states = n, .managed = true };
        return 0;
}

int plan_describe_states(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        struct klp_diff_change change = {.op = KLP_DIFF_REPLACE, .n_stack = (uint32_t) inventory->n_patches};
        struct klp_diff_entry *entries, *scratch;
        struct klp_diff_patch *before;
        Plan *plan = e->plan;
        Holders after;
        uint32_t n;
        int r;

        r = collect_holders(e, &after);
        if (r < 0)
                return r;
        before = arena_alloc(e->arena, inventory->n_patches, sizeof(*before));
        if (!before)
                return -ENOMEM;
        for (size_t i = 0; i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];
                struct klp_diff_state *states = arena_alloc(e->arena, p->n_states, sizeof(*states));

                if (!states)
                        return -ENOMEM;
                for (size_t k = 0; k < p->n_states; k++)
                        states[k] = (struct klp_diff_state){p->states[k].id, p->states[k].version,
                                                            p->states[k].flags};
                before[i] = (struct klp_diff_patch){
                                .states = states, .n_states = (uint32_t) p->n_states, .managed = true};
        }
        change.stack = before;
        change.new_patch = &after.patch;

        n = klp_diff_max_entries(&change);
        entries = arena_alloc(e->arena, n, sizeof(*entries));
        scratch = arena_alloc(e->arena, n, sizeof(*scratch));
        plan->states = arena_alloc(e->arena, n, sizeof(*plan->states));
        if (!entries || !scratch || !plan->states)
                return -ENOMEM;
        n = klp_diff_fates(&change, entries, scratch);
        for (uint32_t i = 0; i < n; i++) {
                PlanState *s = &plan->states[plan->n_states++];

                *s = (PlanState) { .id = entries[i].id, .fate = entries[i].fate };
                if (entries[i].from_patch != KLP_DIFF_NONE) {
                        const Patch *p = inventory->patches[entries[i].from_patch];

                        s->has_from = true;
                        s->from = p->states[entries[i].from_state].version;
                        s->from_patch = p->name;
                        s->name = p->states[entries[i].from_state].name;
                }
                if (entries[i].to_patch != KLP_DIFF_NONE) {
                        s->has_to = true;
                        s->to = after.states[entries[i].to_state].version;
                        s->to_patch = after.of[entries[i].to_state].patch->name;
                        s->name = after.of[entries[i].to_state].state->name ?: s->name;
                }
        }
        return 0;
}

/* --- functions and fixes --- */

static int describe_functions(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        Plan *plan = e->plan;
        FunctionTable table;
        size_t n = 0;

        for (size_t i = 0; i < inventory->n_patches; i++)
                n += inventory->patches[i]->n_functions;
        for (size_t i = 0; i < e->n_stack; i++)
                n += e->stack[i]->n_functions;
        if (n == 0)
                return 0;

        if (function_table_init(&table, e->arena, n) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < inventory->n_patches; i++)
                for (size_t k = 0; !inventory->patches[i]->orphan && k < inventory->patches[i]->n_functions;
                     k++)
                        function_table_add(&table, &inventory->patches[i]->functions[k])->before =
                                        inventory->patches[i];
        for (size_t i = 0; i < e->n_stack; i++)
                for (size_t k = 0; !e->stack[i]->orphan && k < e->stack[i]->n_functions; k++)
                        function_table_add(&table, &e->stack[i]->functions[k])->after = e->stack[i];

        plan->functions = arena_alloc(e->arena, table.n, sizeof(*plan->functions));
        if (!plan->functions)
                return -ENOMEM;
        for (size_t i = 0; i < table.n; i++) {
                const FunctionSlot *slot = table.order[i];

                if (slot->before == slot->after)
                        continue;
                plan->functions[plan->n_functions++] = (PlanFunction){
                                .change = !slot->before  ? PLAN_GAINED
                                          : !slot->after ? PLAN_LOST
                                                         : PLAN_CHANGED_HANDS,
                                .object = slot->function->object,
                                .function = slot->function->function,
                                .sympos = slot->function->sympos,
                                .from_patch = slot->before ? slot->before->name : NULL,
                                .to_patch = slot->after ? slot->after->name : NULL,
                };
        }
        return 0;
}

/* A set of fixes, as a sorted array without duplicates. */
static int compare_strings(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int collect_fixes(Arena *arena, Patch *const *stack, size_t n_stack, const char ***ret,
                         size_t *ret_n) {
        const char **list;
        size_t n = 0, n_unique = 0;

        for (size_t i = 0; i < n_stack; i++)
                n += strv_length(stack[i]->fixes);
        list = arena_alloc(arena, n, sizeof(*list));
        if (!list)
                return -ENOMEM;
        n = 0;
        for (size_t i = 0; i < n_stack; i++)
                for (char **s = stack[i]->fixes; s && *s; s++)
                        list[n++] = *s;
        if (n > 1)
                qsort(list, n, sizeof(*list), compare_strings);
        for (size_t i = 0; i < n; i++)
                if (i == 0 || !streq(list[i], list[i - 1]))
                        list[n_unique++] = list[i];
        *ret = list;
        *ret_n = n_unique;
        return 0;
}

static int describe_fixes(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        const char **before, **after;
        size_t n_before, n_after, b = 0, a = 0;
        Plan *plan = e->plan;
        int r;

        r = collect_fixes(e->arena, inventory->patches, inventory->n_patches, &before, &n_before);
        if (r < 0)
                return r;
        r = collect_fixes(e->arena, e->stack, e->n_stack, &after, &n_after);
        if (r < 0)
                return r;
        plan->fixes = arena_alloc(e->arena, n_before + n_after, sizeof(*plan->fixes));
        if (!plan->fixes)
                return -ENOMEM;
        while (b < n_before || a < n_after) {
                int c = b >= n_before ? 1 : a >= n_after ? -1 : strcmp(before[b], after[a]);

                if (c < 0)
                        plan->fixes[plan->n_fixes++] = (PlanFix) { PLAN_LOST, before[b++] };
                else if (c > 0)
                        plan->fixes[plan->n_fixes++] = (PlanFix) { PLAN_GAINED, after[a++] };
                else {
                        a++;
                        b++;
                }
        }
        return 0;
}

int plan_describe_contents(Evaluation *e) {
        int r;

        r = describe_functions(e);
        if (r < 0)
                return r;
        return describe_fixes(e);
}

/* --- no path --- */

static const char *rules_text(Arena *arena, uint64_t mask) {
        const char *text = "";

        for (int i = 0; text && i < _RULE_MAX; i++)
                if (mask & (UINT64_C(1) << i))
                        text = arena_printf(arena, "%s%s%s", text, *text ? ", " : "",
                                            rule_to_string((Rule) i));
        return text;
}

int plan_add_no_path(Plan *plan, const Patch *goal, char *const *names, const uint64_t *blocking) {
        Arena *arena = plan->arena;
        Violation *violations;
        uint64_t straight = 0;
        const char *ways;

        for (size_t i = 0; i < plan->n_violations; i++)
                if (plan->violations[i].mode == RULE_ENFORCE)
                        straight |= UINT64_C(1) << plan->violations[i].rule;

        ways = arena_printf(arena, "straight: %s", rules_text(arena, straight) ?: "");
        for (size_t i = 0; ways && names && names[i]; i++)
                ways = arena_printf(arena, "%s; over %s: %s", ways, names[i],
                                    blocking[i] ? rules_text(arena, blocking[i])
                                                : "not a way (unknown, enabled or the goal)");

        violations = arena_alloc(arena, plan->n_violations + 1, sizeof(*violations));
        if (!violations || !ways)
                return -ENOMEM;
        memcpy(violations + 1, plan->violations, plan->n_violations * sizeof(*violations));
        violations[0] = (Violation){
                        .rule = RULE_NO_PATH,
                        .mode = RULE_ENFORCE,
                        .patch = goal->name,
                        .have = ways,
                        .want = "a way of at most two changes",
                        .message = arena_printf(arena, "there is no way to %s (%s)", goal->name, ways),
                        .remedy = "name an intermediate patch over which both changes are allowed, or "
                                  "change what blocks",
        };
        plan->violations = violations;
        plan->n_violations++;
        return arena_failed(arena) ? -ENOMEM : 0;
}

/* --- the stack afterwards --- */

static int simulate_one(Inventory *after, const Change *change) {
        Patch *p = change->patch;
        size_t n = 0;

        if (!p)
                return 0;
        for (size_t i = 0; i < after->n_patches; i++) {
                Patch *q = after->patches[i];

                if (change->kind == CHANGE_DISABLE ? q == p : p->cumulative)
                        patch_unref(q);
                else
                        after->patches[n++] = q;
        }
        after->n_patches = n;
        return change->kind == CHANGE_DISABLE ? 0 : inventory_push(after, p);
}

int plan_simulate(const Inventory *before, const Change *changes, size_t n_changes, Inventory **ret) {
        _cleanup_inventory_free_ Inventory *after = NULL;
        int r;

        r = inventory_new(before->kernel, &after);
        if (r < 0)
                return r;
        r = free_and_strdup(&after->kernel_build_id, before->kernel_build_id);
        if (r < 0)
                return r;
        after->generation = before->generation + n_changes;
        for (size_t i = 0; i < before->n_patches; i++) {
                r = inventory_push(after, before->patches[i]);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < before->n_loaded; i++) {
                const LoadedModule *m = &before->loaded[i];

                r = inventory_add_loaded(after, m->name, m->build_id, m->srcversion, m->forced);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n_changes; i++) {
                r = simulate_one(after, &changes[i]);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(after);
        return 0;
}

int plan_apply(const Plan *plan, const Inventory *before, Inventory **ret) {
        return plan_simulate(before, plan->changes, plan->n_changes, ret);
}
