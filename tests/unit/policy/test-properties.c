/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What must hold for every input, on random ones. The number of rounds is KLPD_PROPERTY_RUNS (default 20000; with
 * KLPD_FULL=1, which is what tests/run --full and so every nightly run sets, a million, of which the build with
 * sanitizers, 20 times slower, takes the first 50,000), the seed KLPD_PROPERTY_SEED (default: fixed; with
 * KLPD_FULL=1 from KLPD_SEED); a failure prints the seed of its round, with which that round alone is run again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/json.h"
#include "tests/unit/policy/random.h"

#ifdef __SANITIZE_ADDRESS__
#define FULL_ROUNDS 50000
#else
#define FULL_ROUNDS 1000000
#endif

static uint64_t base_seed = UINT64_C(0x9e3779b97f4a7c15);
static unsigned long n_rounds = 20000;
static bool every_round; /* of each property, the cheap ones and the others */
static uint64_t round_seed;

#define must(condition)                                                                                     \
        do {                                                                                                \
                if (!(condition))                                                                           \
                        fail_msg("%s:%d: %s; run again with KLPD_PROPERTY_RUNS=1 "                          \
                                 "KLPD_PROPERTY_SEED=%" PRIu64,                                             \
                                 __FILE__, __LINE__, #condition, round_seed);                               \
        } while (0)

/* The first round's seed is the one given, so that it can be repeated alone. */
static Random begin_round(unsigned long i) {
        round_seed = base_seed + i * UINT64_C(0xd1342543de82ef95);
        return (Random) { .state = round_seed | 1 };
}

static char *text_of(struct json_object *obj) {
        char *line = NULL;

        must(obj);
        must(json_to_line(obj, &line) == 0);
        json_object_put(obj);
        return line;
}

static bool same_plan(const Plan *a, const Plan *b) {
        _cleanup_free_ char *x = text_of(plan_to_json(a)), *y = text_of(plan_to_json(b));

        return streq(x, y);
}

typedef void (*property_fn)(World *w, Plan *plan, Random *r);

/* Calls property for each world whose request can be resolved; counts that enough of each verdict came. */
static void for_all(property_fn property, unsigned percent) {
        unsigned long seen[_VERDICT_MAX] = {}, errors = 0, rounds = every_round ? n_rounds : n_rounds * percent / 100;

        for (unsigned long i = 0; i < (rounds > 0 ? rounds : 1); i++) {
                _cleanup_plan_free_ Plan *plan = NULL;
                Random r = begin_round(i);
                PlanInput input;
                World w;

                random_world(&r, &w);
                input = world_input(&w);
                if (plan_build(&input, &plan, NULL) >= 0) {
                        seen[plan->verdict]++;
                        property(&w, plan, &r);
                } else
                        errors++;
                world_done(&w);
        }
        if (rounds >= 1000) {
                assert_true(seen[VERDICT_ALLOW] > rounds / 20);
                assert_true(seen[VERDICT_REFUSE] > rounds / 20);
                assert_true(seen[VERDICT_NOTHING_TO_DO] > rounds / 20);
                assert_true(errors < rounds / 2);
        }
}

/* --- a refusal changes nothing, and planning is pure --- */

static void refusal_changes_nothing(World *w, Plan *plan, Random *r) {
        _cleanup_free_ char *before = text_of(inventory_to_json(w->inventory)), *after = NULL;
        _cleanup_plan_free_ Plan *again = NULL;
        PlanInput input = world_input(w);

        if (plan->verdict != VERDICT_ALLOW)
                must(plan->n_steps == 0);
        else
                must(plan->n_steps > 0);
        must((plan->verdict == VERDICT_REFUSE) == (plan_severity(plan) == RULE_ENFORCE));
        if (plan->verdict == VERDICT_NOTHING_TO_DO) {
                /* a downgrade of nothing may have been warned about */
                must(plan->n_violations == 0 || !plan->candidate);
                must(plan->n_callbacks == 0 && plan->n_functions == 0 && plan->n_fixes == 0);
                for (size_t i = 0; i < plan->n_states; i++)
                        must(plan->states[i].fate == KLP_DIFF_KEEP);
        }
        must(plan_build(&input, &again, NULL) == 0);
        must(same_plan(plan, again));
        after = text_of(inventory_to_json(w->inventory));
        must(streq(before, after));
}

static void test_a_refusal_has_no_steps_and_planning_changes_nothing(void **arg) {
        for_all(refusal_changes_nothing, 30);
}

/* --- a plan that is reused is the plan that is new --- */

static Plan *reused;

static void reuse_is_the_same(World *w, Plan *plan, Random *r) {
        PlanInput input = world_input(w);

        must(plan_rebuild(reused, &input, NULL) == 0);
        must(same_plan(plan, reused));
}

static void test_a_reused_plan_is_the_same_as_a_new_one(void **arg) {
        assert_int_equal(plan_new(&reused), 0);
        for_all(reuse_is_the_same, 30);
        reused = plan_free(reused);
}

/* --- allow is monotonic in dropping rules --- */

static void dropping_rules_keeps_allow(World *w, Plan *plan, Random *r) {
        PlanInput input = world_input(w);
        int n = 1 + (int) random_below(r, 4);

        for (int i = 0; i < n; i++) {
                _cleanup_plan_free_ Plan *less = NULL;
                RuleMode *mode = &w->policy->modes[random_below(r, _RULE_MAX)];

                if (*mode > RULE_OFF)
                        *mode = (RuleMode) (*mode - 1);
                must(plan_build(&input, &less, NULL) == 0);
                must(plan_severity(less) <= plan_severity(plan) || less->n_violations == 0 ||
                     w->request.kind == REQUEST_CONVERGE);
                if (plan->verdict == VERDICT_ALLOW)
                        must(less->verdict == VERDICT_ALLOW);
                if (plan->verdict == VERDICT_NOTHING_TO_DO)
                        must(less->verdict == VERDICT_NOTHING_TO_DO);
        }
}

static void test_allow_is_monotonic_in_dropping_rules(void **arg) {
        for_all(dropping_rules_keeps_allow, 50);
}

static void no_rules_allow_all(World *w, Plan *plan, Random *r) {
        _cleanup_plan_free_ Plan *free_for_all = NULL;
        PlanInput input = world_input(w);
        bool plain = false;

        for (int i = 0; i < _RULE_MAX; i++)
                w->policy->modes[i] = RULE_OFF;
        must(plan_build(&input, &free_for_all, NULL) == 0);
        plain = free_for_all->candidate && free_for_all->candidate->kind == PATCH_PLAIN;
        if (w->request.kind != REQUEST_CONVERGE && !plain) {
                must(free_for_all->verdict != VERDICT_REFUSE);
                must(free_for_all->n_violations == 0);
        }
        for (size_t i = 0; i < free_for_all->n_violations; i++) {
                Rule rule = free_for_all->violations[i].rule;

                must(rule == RULE_NO_PATH || rule == RULE_STATE_VERSION || rule == RULE_DOWNGRADE_VERSION ||
                     rule == RULE_CUMULATIVE_STATES);
        }
}

static void test_without_rules_only_the_kernels_own_refuse(void **arg) {
        for_all(no_rules_allow_all, 20);
}

/* --- applying a plan and planning again --- */

static void done_is_done(World *w, Plan *plan, Random *r) {
        _cleanup_inventory_free_ Inventory *after = NULL;
        _cleanup_plan_free_ Plan *again = NULL;
        Request same = w->request;
        PlanInput input = world_input(w);

        if (plan->verdict != VERDICT_ALLOW)
                return;
        must(plan_apply(plan, w->inventory, &after) == 0);
        if (plan->candidate) {
                /* the same patch again: by level it might be another one now */
                same.candidate = plan->candidate;
                same.patch = NULL;
                same.has_level = false;
        }
        input.request = &same;
        input.inventory = after;
        must(plan_build(&input, &again, NULL) == 0);
        must(again->verdict == VERDICT_NOTHING_TO_DO);
}

static void test_a_plan_that_was_carried_out_is_nothing_to_do(void **arg) {
        for_all(done_is_done, 30);
}

/* --- converge --- */

static void each_step_is_allowed(World *w, Plan *plan, Random *r) {
        Patch *way[2] = { plan->intermediate, plan->candidate };
        _cleanup_inventory_free_ Inventory *stack = NULL;

        if (w->request.kind != REQUEST_CONVERGE || plan->verdict != VERDICT_ALLOW)
                return;
        for (unsigned i = 0; i < 2; i++) {
                const Inventory *now = stack ?: w->inventory;
                _cleanup_inventory_free_ Inventory *next = NULL;
                _cleanup_plan_free_ Plan *step = NULL;
                PlanInput input = world_input(w);
                Request one = w->request;
                uint32_t level;

                if (!way[i])
                        continue;
                one.candidate = way[i];
                one.patch = NULL;
                one.has_level = false;
                one.kind = inventory_level(now, way[i]->vendor, way[i]->stream, &level) &&
                                                           way[i]->level > 0 && way[i]->level < level
                                           ? REQUEST_DOWNGRADE
                                           : REQUEST_APPLY;
                input.request = &one;
                input.inventory = now;
                must(plan_build(&input, &step, NULL) == 0);
                must(step->verdict == VERDICT_ALLOW);
                must(plan_apply(step, now, &next) == 0);
                inventory_free(stack);
                stack = TAKE_PTR(next);
        }
        if (plan->intermediate)
                must(w->request.intermediates &&
                     strv_contains(w->request.intermediates, plan->intermediate->name));
}

static void test_converge_never_proposes_a_step_that_would_be_refused(void **arg) {
        for_all(each_step_is_allowed, 100);
}

static void no_path_is_true(World *w, Plan *plan, Random *r) {
        _cleanup_plan_free_ Plan *straight = NULL;
        PlanInput input = world_input(w);
        Request one = w->request;
        uint32_t level;

        if (w->request.kind != REQUEST_CONVERGE || plan->verdict != VERDICT_REFUSE)
                return;
        must(plan->violations[0].rule == RULE_NO_PATH);
        must(plan->n_violations > 1);
        one.candidate = plan->candidate;
        one.patch = NULL;
        one.has_level = false;
        one.kind = inventory_level(w->inventory, plan->candidate->vendor, plan->candidate->stream, &level) &&
                        plan->candidate->level > 0 && plan->candidate->level < level
                ? REQUEST_DOWNGRADE
                : REQUEST_APPLY;
        input.request = &one;
        must(plan_build(&input, &straight, NULL) == 0);
        must(straight->verdict == VERDICT_REFUSE);
        /* and the rules that block the straight way are all there */
        must(straight->n_violations == plan->n_violations - 1);
}

static void test_no_path_says_what_blocks_the_straight_way(void **arg) {
        for_all(no_path_is_true, 50);
}

/* --- states --- */

static bool is_live(const Inventory *i, uint64_t id) {
        for (size_t n = 0; n < i->n_patches; n++)
                if (patch_find_state(i->patches[n], id))
                        return true;
        return false;
}

static void fates_balance(World *w, Plan *plan, Random *r) {
        _cleanup_inventory_free_ Inventory *after = NULL;

        if (plan->verdict != VERDICT_ALLOW)
                return;
        must(plan_apply(plan, w->inventory, &after) == 0);
        for (uint64_t id = 1; id <= 4; id++) {
                const PlanState *s = NULL;
                int begun = 0, ended = 0;

                for (size_t i = 0; i < plan->n_states; i++)
                        if (plan->states[i].id == id) {
                                must(!s); /* every id once */
                                s = &plan->states[i];
                        }
                must((s && s->has_from) == is_live(w->inventory, id));
                must((s && s->has_to) == is_live(after, id));
                if (!s)
                        continue;
                must((s->fate == KLP_DIFF_INTRODUCE) == (!s->has_from && s->has_to));
                must((s->fate == KLP_DIFF_REMOVE) == (s->has_from && !s->has_to));
                must((s->fate == KLP_DIFF_KEEP) == (s->has_from && s->has_to && s->from == s->to));
                must(s->fate != KLP_DIFF_TAKEOVER || s->to > s->from);

                /* what begins before the transition ends after it */
                for (size_t i = 0; i < plan->n_callbacks; i++)
                        if (plan->callbacks[i].state == id) {
                                bool before = streq(plan_callback_when(plan->callbacks[i].callback),
                                                    "before");

                                begun += before;
                                ended += !before;
                                must(plan->callbacks[i].callback != KLP_DIFF_CANCEL_TAKEOVER);
                        }
                must(begun == ended);
        }
}

static void test_introduce_and_remove_balance_and_every_callback_has_its_end(void **arg) {
        for_all(fates_balance, 50);
}

/* A walk of allowed changes: what was introduced and not removed is live, nothing else. */
static void test_a_walk_introduces_and_removes_each_state_in_turn(void **arg) {
        for (unsigned long i = 0; i < 1 + n_rounds / 200; i++) {
                _cleanup_inventory_free_ Inventory *now = NULL;
                bool live[5] = {};
                Random r = begin_round(i);
                World w;

                random_world(&r, &w);
                must(inventory_new("k", &now) == 0);
                for (unsigned step = 0; step < 50; step++) {
                        _cleanup_inventory_free_ Inventory *next = NULL;
                        _cleanup_plan_free_ Plan *plan = NULL;
                        PlanInput input;

                        random_request(&r, &w);
                        input = world_input(&w);
                        input.inventory = now;
                        if (plan_build(&input, &plan, NULL) < 0 || plan->verdict != VERDICT_ALLOW)
                                continue;
                        for (size_t s = 0; s < plan->n_states; s++) {
                                const PlanState *state = &plan->states[s];

                                if (state->fate == KLP_DIFF_INTRODUCE)
                                        must(!live[state->id]);
                                else
                                        must(live[state->id]);
                                live[state->id] = state->fate != KLP_DIFF_REMOVE;
                        }
                        must(plan_apply(plan, now, &next) == 0);
                        inventory_free(now);
                        now = TAKE_PTR(next);
                        for (uint64_t id = 1; id <= 4; id++)
                                must(live[id] == is_live(now, id));
                }
                world_done(&w);
        }
}

/* --- the kernel --- */

/*
 * kernel/livepatch/state.c, as it would be asked for a plain candidate: every state of every enabled patch
 * must be in a cumulative candidate, and wherever it is, not with a lower version. A managed patch that
 * holds a live state has a guard state beside its own (DESIGN.md), which no plain candidate has.
 */
static bool kernel_says_compatible(const Inventory *i, const Patch *candidate) {
        for (size_t n = 0; n < i->n_patches; n++) {
                const Patch *p = i->patches[n];
                bool holds = false;

                for (size_t s = 0; s < p->n_states; s++) {
                        const PatchState *new = patch_find_state(candidate, p->states[s].id);
                        bool covered = false;

                        if (new ? new->version < p->states[s].version : candidate->cumulative)
                                return false;
                        for (size_t above = n + 1; above < i->n_patches; above++)
                                covered = covered || patch_find_state(i->patches[above], p->states[s].id);
                        holds = holds || !covered;
                }
                if (p->kind == PATCH_MANAGED && holds && candidate->cumulative)
                        return false;
        }
        return true;
}

static unsigned long n_plain_allowed, n_plain_impossible;

/* Where the host is known and `ready` refuses; all other modes as they come. */
static void plain_agrees_with_kernel(World *w, Plan *offline, Random *r) {
        _cleanup_plan_free_ Plan *plan = NULL;
        PlanInput input = world_input(w);
        HostFacts host;

        if (w->request.kind == REQUEST_DISABLE || w->request.kind == REQUEST_CONVERGE || !offline->candidate ||
            offline->candidate->kind != PATCH_PLAIN || offline->verdict == VERDICT_NOTHING_TO_DO)
                return;
        host_facts_init(&host);
        input.host = &host;
        w->policy->modes[RULE_READY] = RULE_ENFORCE;
        must(plan_build(&input, &plan, NULL) == 0);
        if (plan->verdict == VERDICT_ALLOW) {
                must(kernel_says_compatible(w->inventory, plan->candidate));
                n_plain_allowed++;
        }
        if (!kernel_says_compatible(w->inventory, plan->candidate)) {
                bool named = false;

                must(plan->verdict == VERDICT_REFUSE);
                for (size_t i = 0; i < plan->n_violations; i++)
                        named = named || plan->violations[i].rule == RULE_STATE_VERSION ||
                                plan->violations[i].rule == RULE_DOWNGRADE_VERSION ||
                                plan->violations[i].rule == RULE_CUMULATIVE_STATES ||
                                plan->violations[i].rule == RULE_PLAIN_OVER_MANAGED ||
                                plan->violations[i].rule == RULE_READY;
                must(named);
                n_plain_impossible++;
        }
}

static void test_the_plan_never_says_yes_where_the_kernel_says_no(void **arg) {
        n_plain_allowed = n_plain_impossible = 0;
        for_all(plain_agrees_with_kernel, 100);
        if (n_rounds >= 1000)
                assert_true(n_plain_allowed > n_rounds / 100 && n_plain_impossible > n_rounds / 500);
}

/* --- what is reported --- */

static void reports_are_complete(World *w, Plan *plan, Random *r) {
        _cleanup_plan_free_ Plan *read = NULL;
        _cleanup_free_ char *text = text_of(plan_to_json(plan));
        int last = plan->n_violations > 0 && plan->violations[0].rule == RULE_NO_PATH ? -1 : 0;

        for (size_t i = 0; i < plan->n_violations; i++) {
                const Violation *v = &plan->violations[i];

                must(v->message && v->remedy && v->have && v->want);
                must(strlen(v->message) > 10 && strlen(v->remedy) > 10);
                must(v->mode == RULE_WARN || v->mode == RULE_ENFORCE);
                if (v->rule == RULE_NO_PATH) {
                        must(i == 0);
                        continue;
                }
                if (w->request.kind != REQUEST_DISABLE && !plan->intermediate) {
                        must((int) v->rule >= last); /* in the order of the table */
                        last = (int) v->rule;
                }
        }
        /* and what a program reads is what was planned */
        must(plan_parse(text, strlen(text), &read, NULL) == 0);
        must(same_plan(plan, read));
}

static void test_every_violation_is_complete_in_order_and_readable(void **arg) {
        for_all(reports_are_complete, 20);
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_refusal_has_no_steps_and_planning_changes_nothing),
                cmocka_unit_test(test_a_reused_plan_is_the_same_as_a_new_one),
                cmocka_unit_test(test_allow_is_monotonic_in_dropping_rules),
                cmocka_unit_test(test_without_rules_only_the_kernels_own_refuse),
                cmocka_unit_test(test_a_plan_that_was_carried_out_is_nothing_to_do),
                cmocka_unit_test(test_converge_never_proposes_a_step_that_would_be_refused),
                cmocka_unit_test(test_no_path_says_what_blocks_the_straight_way),
                cmocka_unit_test(test_introduce_and_remove_balance_and_every_callback_has_its_end),
                cmocka_unit_test(test_a_walk_introduces_and_removes_each_state_in_turn),
                cmocka_unit_test(test_the_plan_never_says_yes_where_the_kernel_says_no),
                cmocka_unit_test(test_every_violation_is_complete_in_order_and_readable),
        };
        const char *runs = argc > 1 ? argv[1] : getenv("KLPD_PROPERTY_RUNS"),
                   *seed = getenv("KLPD_PROPERTY_SEED"), *full = getenv("KLPD_FULL");

        if (full && streq(full, "1")) {
                n_rounds = FULL_ROUNDS;
                every_round = true;
                if (getenv("KLPD_SEED"))
                        base_seed ^= strtoull(getenv("KLPD_SEED"), NULL, 10) << 20;
        }
        if (runs)
                n_rounds = strtoul(runs, NULL, 10);
        if (seed)
                base_seed = strtoull(seed, NULL, 10);
        printf("%lu rounds, seed %" PRIu64 "\n", n_rounds, base_seed);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
