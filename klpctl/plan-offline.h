/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans without daemon, kernel or root: everything comes from files that the user names.
 */
#pragma once

#include "klpctl.h"

typedef struct PlanWords {
        const char *request; /* "apply", "downgrade", "disable", "converge" */
        const char *target;  /* name, level or file, or NULL */
} PlanWords;

/* *ret: the result as JSON. Returns an exit status, having said what was wrong; EXIT_DONE whatever the
 * verdict is. */
int plan_offline(Ctl *c, const PlanWords *words, json_object **ret);

/* One case per line from standard input, one result per line to standard output. EXIT_FAILED if a case could
 * not be evaluated. */
int plan_batch(Ctl *c);
