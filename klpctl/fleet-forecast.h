/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the policy of a host would say to the change that a fleet document wants there: `klpctl fleet plan
 * --repository DIR [--policy FILE]`. The plan is policy/'s, made from the same request as klpd makes it from.
 * What only the host itself knows (its kernel's settings, its files) isn't checked, as with any offline plan.
 */
#pragma once

#include "klpctl.h"
#include "plan-input.h"
#include "policy/fleet-plan.h"

typedef struct Forecast {
        bool wanted; /* --repository was given */
        PatchList repository;
        Policy *policy;
        Plan *plan;
        /* of the last host */
        bool planned, refused;
        char message[512]; /* why it is refused: rules and their sentences */
        char rules[128];
        /* of all */
        uint64_t n_refused, by_rule[_RULE_MAX], by_other;
} Forecast;

void fleet_forecast_done(Forecast *f);
/* Exit status. Without --repository there is nothing to plan with, and nothing is. */
int fleet_forecast_open(Ctl *c, Forecast *ret);
/* line: the host as it was read. Does nothing for hosts that would stay anyway. -ENOMEM. */
int fleet_forecast_host(Forecast *f, const FleetDecision *d, const char *line, size_t size);
/* "plan": {…}, if it was planned. */
void fleet_forecast_write(const Forecast *f, JsonWriter *w);
/* "refused_by_policy": {…} beside the summary; one sentence. */
void fleet_forecast_print_summary(const Forecast *f);
void fleet_forecast_write_summary(const Forecast *f, JsonWriter *w);
