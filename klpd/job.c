/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See job.h. */
#include <stdio.h>

#include "klpd/job.h"
#include "klpd/log.h"
#include "klpd/manager.h"

int job_new(Manager *manager, JobSpec *spec, uint32_t id, const TransactionHandlers *handlers, Job **ret) {
        _cleanup_(job_freep) Job *j = NULL;
        int r;

        j = calloc(1, sizeof(*j));
        if (!j) {
                job_spec_free(spec);
                return -ENOMEM;
        }
        j->manager = manager;
        j->id = id;
        (void) snprintf(j->path, sizeof(j->path), "/org/klpd1/job/_%u", id);
        r = transaction_new(&manager->world, handlers, spec, id, &j->transaction);
        if (r < 0)
                return r;
        r = job_export(j);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(j);
        return 0;
}

Job *job_free(Job *j) {
        if (!j)
                return NULL;
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

void job_changed(Job *j) {
        int r;

        if (!j->slot)
                return;
        r = sd_bus_emit_properties_changed(j->manager->bus, j->path, "org.klpd1.Job", "Step", "Plan", "Patch", NULL);
        if (r < 0)
                log_warning("Can't announce the progress of job %u: %s", j->id, strerror(-r));
}
