/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the host is well, asked of systemd: units that are started (HealthUnits=), and commands, each run as
 * a transient unit with a sandbox of its own (HealthCommand=), one after the other, with one time limit for all
 * of them. A unit is well if starting it succeeds, and it hasn't failed then: a oneshot that ends with success,
 * a service that runs. A command is well if it exits with 0.
 *
 * Nothing is polled: systemd says when a job is over (JobRemoved), and the properties of the unit then say why
 * it failed. What may go on when a run ends early is a command's unit; it is stopped, and ends at its own time
 * limit in any case. If the system is being shut down when a check fails, that says nothing about the host.
 */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "klpd/config.h"

typedef struct Health Health;

/* r: 0, all are well; -EREMOTEIO, one isn't; -ETIMEDOUT; -ECANCELED, the system is being shut down; others:
 * systemd can't be asked. text is a sentence. */
typedef void (*HealthCallback)(int r, const char *text, void *userdata);

/* Calls back once, later. The lists are copied. tag makes the names of transient units unique. */
int health_run(sd_event *event, sd_bus *bus, const Config *config, uint32_t tag, HealthCallback callback,
               void *userdata, Health **ret);
/* Any time, also in the callback; no callback comes after it. NULL is fine. */
Health *health_free(Health *h);
DEFINE_CLEANUP(Health *, health_free);

/* Words of a command line, separated by blanks; double quotes keep blanks together. -EINVAL: an open quote. */
int health_split_command(const char *line, char ***ret);
