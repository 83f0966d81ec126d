/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Talking to klpd. Errors of the bus become exit statuses and sentences here and nowhere else.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "json-util.h"
#include "klpctl.h"

#define KLPD_NAME "org.klpd1"
#define KLPD_PATH "/org/klpd1"
#define KLPD_MANAGER "org.klpd1.Manager"
#define KLPD_JOB "org.klpd1.Job"
#define KLPD_PRIVATE "/run/klpd/private"
#define KLPD_ERROR "org.klpd1.Error."

/* Connects at first use. Returns an exit status. */
int ctl_bus(Ctl *c);
int ctl_bus_new_call(Ctl *c, const char *member, sd_bus_message **ret);
/* Sends it and waits as long as it takes (an authorisation may take its time). Returns an exit status. */
int ctl_bus_send(Ctl *c, sd_bus_message *m, const char *what, sd_bus_message **ret_reply);
/* A method without arguments, or with a string, whose one result becomes JSON. */
int ctl_bus_get(Ctl *c, const char *member, const char *argument, const char *what, json_object **ret);
/* ListJobs and ListPatches: arrays of objects. */
int ctl_bus_jobs(Ctl *c, json_object **ret);
int ctl_bus_patches(Ctl *c, json_object **ret);
/* The manager's properties. */
int ctl_bus_properties(Ctl *c, json_object **ret);

/* Lets polkit ask at this terminal, unless --no-ask-password: before a call that may need it. */
void ctl_agent(Ctl *c);

/* Says what went wrong, on standard error and under --json; returns the exit status. */
int ctl_bus_error(Ctl *c, const sd_bus_error *error, int r, const char *what);
int ctl_error_status(const char *name);
