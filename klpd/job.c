/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See job.h. */
#include <stdio.h>

#include "klpd/job.h"
#include "klpd/log.h"
#include "klpd/manager.h"

#define ANNOUNCE_USEC UINT64_C(50000)

int job_new(Manager *manager, Transaction *t, Job **ret) {
        _cleanup_(job_freep) Job *j = NULL;
        int r;

        j = calloc(1, sizeof(*j));
        if (!j) {
                transaction_unref(t);
                return -ENOMEM;
        }
        j->manager = manager;
        j->id = t->id;
        j->transaction = t;
        (void) snprintf(j->path, sizeof(j->path), "/org/klpd1/job/_%u", j->id);
        r = job_export(j);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

Job *job_free(Job *j) {
        if (!j)
                return NULL;
        sd_event_source_disable_unref(j->announce);
        sd_bus_slot_unref(j->slot);
        if (j->transaction && !j->transaction->finished)
                transaction_abandon(j->transaction);
        transaction_unref(j->transaction);
        free(j);
        return NULL;
}

int job_export(Job *j) {
        j->slot = sd_bus_slot_unref(j->slot);
        if (!j->manager->bus)
                return 0;
        return sd_bus_add_object_vtable(j->manager->bus, &j->slot, j->path, "org.klpd1.Job", job_vtable, j);
}

static int on_announce(sd_event_source *source, uint64_t usec, void *userdata) {
        Job *j = userdata;
        int r;

        j->announce = sd_event_source_disable_unref(j->announce);
        if (j->transaction->pending) {
                job_changed(j);
                return 0;
        }
        if (!j->slot)
                return 0;
        r = sd_bus_emit_properties_changed(j->manager->bus, j->path, "org.klpd1.Job", "Step", "Plan",
                                           "Patch", NULL);
        if (r < 0)
                log_warning("Can't announce the progress of job %u: %s", j->id, strerror(-r));
        return 0;
}

void job_changed(Job *j) {
        int r;

        if (j->announce)
                return;
        r = sd_event_add_time_relative(j->manager->event, &j->announce, CLOCK_MONOTONIC, ANNOUNCE_USEC, 0,
                                       on_announce, j);
        if (r < 0)
                log_warning("Can't announce the progress of job %u: %s", j->id, strerror(-r));
}
