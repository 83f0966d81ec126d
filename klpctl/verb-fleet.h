/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of `klpctl fleet`. words: the files that were named, NULL-terminated. */
#pragma once

#include "fleet-input.h"

int verb_fleet_plan(Ctl *c, char *const *files);
int verb_fleet_diff(Ctl *c, const char *old, const char *new);
int verb_fleet_explain(Ctl *c, char *const *files);

/* "vendor/stream 5", "vendor/stream nothing". Returns buf. */
const char *fleet_level_text(char *buf, size_t size, bool is, uint32_t level);
