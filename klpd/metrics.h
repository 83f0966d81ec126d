/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd tells monitoring, in Prometheus' text format (version 0.0.4): for the textfile collector of
 * node_exporter, and for `klpctl metrics`. Pure but for metrics_write(). Nothing in it depends on when it is
 * asked for: two texts are the same until something has happened.
 */
#pragma once

#include "klpd/config.h"
#include "klpd/fleet-status.h"
#include "policy/model.h"

typedef struct Metrics {
        const char *version, *kernel;
        Mode mode;
        const Inventory *inventory; /* NULL: the kernel couldn't be read, and no level is said */
        bool transition;            /* one is under way */
        size_t n_stalled;           /* tasks that it was last seen to wait for after too long a time */
        size_t n_trial, n_accepted, n_quarantined;
        bool record;                /* these three are known */
        size_t n_problems;
        bool slot_wanted, slot_held, slot_failed;
        const FleetStatus *fleet;
} Metrics;

/* malloc'ed. -ENOMEM. */
int metrics_format(const Metrics *metrics, char **ret);

/* The file as a whole and at once, for everybody to read; path below root_fd. -ENOENT: its directory isn't
 * there. */
int metrics_write(int root_fd, const char *path, const char *text);
