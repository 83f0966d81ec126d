/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See job.h. */
#include <stdio.h>

#include "klpd/job.h"
#include "klpd/log.h"
#include "klpd/manager.h"

#define JOB_PREFIX MANAGER_PATH "/job"
#define JOB_INTERFACE "org.klpd1.Job"
#define ANNOUNCE_USEC UINT64_C(50000)

int job_new(Manager *manager, Transaction *t, Job **ret) {
        _cleanup_(job_freep) Job *j = NULL;

        j = calloc(1, sizeof(*j));
        if (!j) {
                transaction_unref(t);
                return -ENOMEM;
        }
        j->manager = manager;
        j->id = t->id;
        j->transaction = t;
        (void) snprintf(j->path, sizeof(j->path), JOB_PREFIX "/_%u", j->id);
        *ret = TAKE_PTR(j);
        return 0;
}

Job *job_free(Job *j) {
        if (!j)
                return NULL;
        sd_event_source_disable_unref(j->announce);
        if (j->transaction && !j->transaction->finished)
                transaction_abandon(j->transaction);
        transaction_unref(j->transaction);
        free(j);
        return NULL;
}

static int find_job(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                    sd_bus_error *error) {
        const Manager *m = userdata;

        if (!m->job || !streq(path, m->job->path))
                return 0;
        *ret = m->job;
        return 1;
}

static int list_jobs(sd_bus *bus, const char *prefix, void *userdata, char ***ret, sd_bus_error *error) {
        const Manager *m = userdata;

        *ret = NULL;
        return m->job ? strv_extend(ret, m->job->path) : 0;
}

int job_export(Manager *m, sd_bus *bus) {
        int r;

        r = sd_bus_add_fallback_vtable(bus, NULL, JOB_PREFIX, JOB_INTERFACE, job_vtable, find_job, m);
        return r < 0 ? r : sd_bus_add_node_enumerator(bus, NULL, JOB_PREFIX, list_jobs, m);
}

static int emit_progress(Manager *m, sd_bus *bus, const void *data) {
        const Job *j = data;

        return sd_bus_emit_properties_changed(bus, j->path, JOB_INTERFACE, "Step", "Plan", "Patch", NULL);
}

static int on_announce(sd_event_source *source, uint64_t usec, void *userdata) {
        Job *j = userdata;

        j->announce = sd_event_source_disable_unref(j->announce);
        if (j->transaction->pending)
                job_changed(j);
        else
                manager_emit(j->manager, emit_progress, j, "the progress of a job");
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
