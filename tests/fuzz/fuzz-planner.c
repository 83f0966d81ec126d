/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The planner, on worlds that the input decides byte by byte: it never crashes, is the same twice, allows no
 * less without rules, and has nothing to do where it was done.
 */
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/policy/random.h"

static void check_world(const World *w) {
        _cleanup_plan_free_ Plan *plan = NULL, *lax = NULL, *again = NULL;
        _cleanup_inventory_free_ Inventory *after = NULL;
        const PlanInput input = world_input(w);
        PlanInput changed = input;
        Request same = w->request;

        if (plan_build(&input, &plan, NULL) < 0)
                return;

        if (plan->verdict == VERDICT_ALLOW) {
                for (int i = 0; i < _RULE_MAX; i += 2)
                        w->policy->modes[i] = RULE_OFF;
                must(plan_build(&input, &lax, NULL) == 0);
                must(lax->verdict == VERDICT_ALLOW);

                must(plan_apply(plan, w->inventory, &after) == 0);
                if (plan->candidate) {
                        same.candidate = plan->candidate;
                        same.patch = NULL;
                        same.has_level = false;
                }
                changed.inventory = after;
                changed.request = &same;
                must(plan_build(&changed, &again, NULL) == 0);
                must(again->verdict == VERDICT_NOTHING_TO_DO);
        }
        for (size_t i = 0; i < plan->n_violations; i++)
                must(plan->violations[i].message && plan->violations[i].remedy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const uint8_t none;
        Random r = { .data = data ?: &none, .size = size };
        World w;

        random_world(&r, &w);
        check_world(&w);
        world_done(&w);
        return 0;
}
