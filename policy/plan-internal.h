/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What plan.c and plan-describe.c share; internal to policy/. */
#pragma once

#include "policy/evaluation.h"

void plan_reset(Plan *p);

/* plan->states, from the entries of the one change that there is (before its stack moves on). */
int plan_describe_entries(Evaluation *e);
/* plan->states, from the inventory's stack and e's stack after all changes. */
int plan_describe_states(Evaluation *e);
/* plan->functions and plan->fixes, from the same two. */
int plan_describe_contents(Evaluation *e);

/* Turns a refused plan for the straight way into one that says no-path first. blocking: rules, for each
 * name. */
int plan_add_no_path(Plan *plan, const Patch *goal, char *const *names, const uint64_t *blocking);

/* The inventory that these changes would leave. */
int plan_simulate(const Inventory *before, const Change *changes, size_t n_changes, Inventory **ret);
