/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the words of a request mean, and the D-Bus message that says so.
 */
#pragma once

#include "bus.h"

typedef enum TargetKind {
        TARGET_NONE,
        TARGET_NAME,
        TARGET_LEVEL,
        TARGET_FILE,
} TargetKind;

/* "NAME", "LEVEL" (all digits) or "FILE" (has a '/', or ends as modules do). word may be NULL. */
TargetKind target_kind(const char *word);

/*
 * The call of a method. plan: NULL for the method that does it, else the request to plan ("apply" ...): Plan
 * or PlanFile take it as their first argument. Returns an exit status, having said what was wrong.
 */
int request_new_call(Ctl *c, const char *method, const char *file_method, const char *plan, const char *word,
                     sd_bus_message **ret);

/* A regular file, opened for reading; -errno, having said what is wrong. */
int request_open_module(const Ctl *c, const char *path);

/* "apply klp_demo_2", "apply level 3", for messages. Returns buf. */
const char *request_describe(const Ctl *c, const char *verb, const char *word, char *buf, size_t size);
