/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans in words. The input is the JSON of klpctl(8), whoever made it: the daemon or the planner in this
 * process. plan may be NULL, then nothing is printed.
 */
#pragma once

#include "klpctl.h"

/* All of it: verdict, rules, states, callbacks, functions, fixes, steps. what: "apply klp_demo_2". */
int plan_print(Ctl *c, json_object *plan, const char *what);

/* Each violated rule: what it is, the object, both sides' values, the way out. */
void plan_print_violations(Ctl *c, FILE *f, json_object *plan);
/* Whether any rule with mode "enforce" fired. */
bool plan_has_refusals(json_object *plan);
/* Rules that only warn. */
void plan_print_warnings(Ctl *c, FILE *f, json_object *plan);
/* One line: what becomes of states and fixes. */
void plan_print_changes(Ctl *c, FILE *f, json_object *plan);

/* 0 or 3, by its verdict. */
int plan_status(json_object *plan);
