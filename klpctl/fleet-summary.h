/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a plan for many hosts comes to: per rule, per reason, and fixes that stay open. Memory depends on the
 * documents, not on the number of hosts.
 */
#pragma once

#include "klpctl.h"
#include "policy/fleet.h"
#include "policy/json-writer.h"

typedef struct FleetSummary FleetSummary;

int fleet_summary_new(const FleetSet *set, FleetSummary **ret);
FleetSummary *fleet_summary_free(FleetSummary *s); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetSummary *, fleet_summary_free);

void fleet_summary_add(FleetSummary *s, const FleetDecision *d, const FleetHost *host);
void fleet_summary_add_invalid(FleetSummary *s);
uint64_t fleet_summary_invalid(const FleetSummary *s);

int fleet_summary_print(Ctl *c, const FleetSummary *s);
/* {"hosts", "verdicts", "reasons", "rules", "open_fixes", …} */
void fleet_summary_write(const FleetSummary *s, JsonWriter *w);
