/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A Job is what the bus sees of a transaction: a number, an object path, its properties, Cancel. The manager
 * has at most one that runs; it is made when a request is authorised and goes when the transaction is over,
 * whoever has left the bus meanwhile.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "klpd/transaction.h"

typedef struct Manager Manager;

typedef struct Job {
        Manager *manager;
        uint32_t id;
        char path[48];
        Transaction *transaction;
        sd_event_source *announce; /* PropertiesChanged, a moment later */
} Job;

/* Takes t over, also on failure. */
int job_new(Manager *manager, Transaction *t, Job **ret);
Job *job_free(Job *j); /* abandons the transaction if it isn't over; NULL is fine */
DEFINE_CLEANUP(Job *, job_free);

/* Puts the manager's job, whichever it is at the time, on a connection. */
int job_export(Manager *m, sd_bus *bus);
/* PropertiesChanged for Step and Plan, soon, and not in the moment in which the kernel is told: whoever
 * is woken by it would stand in the way of the transition's first pass. */
void job_changed(Job *j);

extern const sd_bus_vtable job_vtable[];
