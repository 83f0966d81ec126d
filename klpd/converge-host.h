/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * This host as policy/fleet.c sees it: facts, what runs, what the repository has, quarantine, holds, the
 * record's failures and override, the clock, all put into one FleetHost. Built for one decision and then
 * thrown away: it points into inventory, repository, policy and records, which change.
 */
#pragma once

#include "klpd/fleet-facts.h"
#include "klpd/fleet-record.h"
#include "klpd/prepare.h"

typedef struct ConvergeHost {
        FleetHost host;
        FleetFacts facts;
        /* arrays of host's */
        FleetLabel *labels;
        FleetRunning *running;
        FleetSlice *fixes, *quarantine, *held_streams;
        FleetAvailable *available;
        FleetFailure *failed;
} ConvergeHost;

typedef struct ConvergeClock {
        uint64_t (*now)(void *userdata);       /* CLOCK_REALTIME */
        bool (*synchronized)(void *userdata);  /* the kernel says that it is disciplined */
        void *userdata;
} ConvergeClock;

extern const ConvergeClock converge_clock_system;

/* error: of labels.json, with -EBADMSG; the rest is there all the same. -ENOMEM: nothing is. */
int converge_host_build(const World *world, const Inventory *inventory, const FleetRecord *record,
                        const ConvergeClock *clock, ConvergeHost *ret, PolicyError *error);
void converge_host_done(ConvergeHost *h);
