/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of `klpctl fleet`. words: the files that were named, NULL-terminated. */
#pragma once

#include "fleet-input.h"

int verb_fleet_plan(Ctl *c, char *const *files);
int verb_fleet_diff(Ctl *c, const char *old, const char *new);
int verb_fleet_explain(Ctl *c, char *const *files);

/* verb-fleet-live.c: this host, from klpd. */
int verb_fleet_status(Ctl *c);
int verb_fleet_explain_live(Ctl *c);
int verb_fleet_resume(Ctl *c);
int verb_fleet_reset_serial(Ctl *c, const char *document);

/* "vendor/stream 5", "vendor/stream nothing". Returns buf. */
const char *fleet_level_text(char *buf, size_t size, bool is, uint32_t level);
