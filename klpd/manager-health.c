/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who asks how the host is (health.h), and what follows. Either the job, at its step `health`, or the probation,
 * before it accepts what was on trial or takes a boot for healthy; the job goes first, and what the probation
 * had begun is begun anew later. Without a bus nothing can be asked: a job waits for it within its step's time
 * limit, and klpd --boot, which comes before the bus, leaves the question to klpd: until that has been
 * answered, the mark of the boot stays.
 *
 * And what takes back what runs: a job of its own kind (transaction_new_back()), for `klpctl reject` and for a
 * trial that ends badly.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/log.h"
#include "klpd/manager.h"

static void on_health(int r, const char *text, void *userdata) {
        Manager *m = userdata;
        Transaction *t = TAKE_PTR(m->health_job);
        char words[1024];

        (void) snprintf(words, sizeof(words), "%s", text);
        m->health = health_free(m->health);
        if (t) {
                transaction_health_done(t, r, words);
                transaction_unref(t);
        } else
                probation_health_done(m->probation, r, words);
}

static void health_stop(Manager *m) {
        bool probation = m->health && !m->health_job;

        m->health = health_free(m->health);
        m->health_job = transaction_unref(m->health_job);
        if (probation)
                probation_health_done(m->probation, -EAGAIN, "");
}

static int on_transaction_health(Transaction *t, void *userdata) {
        Manager *m = userdata;

        health_stop(m);
        probation_on_trial(m->probation, t);
        m->health_job = transaction_ref(t);
        return m->bus ? health_run(m->event, m->bus, &m->config, t->id, on_health, m, &m->health) : 0;
}

static void on_transaction_health_stop(Transaction *t, void *userdata) {
        health_stop(userdata);
}

static void on_transaction_condemned(Transaction *t, void *userdata) {
        Manager *m = userdata;

        if (t->digest && t->back.result != TRANSACTION_CANCELLED)
                (void) probation_quarantine(m->probation, t->digest, t->name, t->back.reason);
}

void manager_health_handlers(Manager *m, TransactionHandlers *handlers) {
        handlers->condemned = on_transaction_condemned;
        if (m->boot)
                return; /* there is no bus yet */
        handlers->check_health = on_transaction_health;
        handlers->stop_health = on_transaction_health_stop;
}

void manager_health_connected(Manager *m) {
        int r;

        if (!m->health_job || m->health)
                return;
        r = health_run(m->event, m->bus, &m->config, m->health_job->id, on_health, m, &m->health);
        if (r < 0)
                log_error("Can't check how the host is: %s", strerror(-r));
}

/* The job waits for the next connection. */
void manager_health_disconnected(Manager *m) {
        if (m->health_job)
                m->health = health_free(m->health);
        else
                health_stop(m);
}

bool manager_health_interrupt(Manager *m) {
        if (!m->health_job)
                return false;
        health_stop(m);
        return true;
}

/* ---- for the probation ---- */

int manager_probation_health(void *userdata) {
        Manager *m = userdata;

        if (!m->bus || m->job || m->health || m->stopping)
                return -EAGAIN;
        return health_run(m->event, m->bus, &m->config, 0, on_health, m, &m->health);
}

/* ---- taking back ---- */

int manager_take_back(Manager *m, const HostPatch *h, uid_t uid, const char *reason, Job **ret,
                      sd_bus_error *error) {
        _cleanup_(job_freep) Job *job = NULL;
        Transaction *t;
        JobSpec *spec;
        int r;

        r = manager_check_free(m, error);
        if (r < 0)
                return r;
        r = job_spec_new(REQUEST_DISABLE, &spec);
        if (r < 0)
                return r;
        spec->uid = uid;
        spec->interactive = false;
        spec->accept_irreversible = h->accept_irreversible;
        spec->replace_foreign = h->replace_foreign;
        spec->reason = strdup(reason);
        r = spec->reason ? job_spec_set_patch(spec, h->name, error) : -ENOMEM;
        if (r >= 0)
                r = strv_copy(h->allow_vendor, &spec->allow_vendor);
        if (r < 0) {
                job_spec_free(spec);
                return r;
        }
        r = transaction_new_back(&m->world, manager_handlers(m), spec, manager_next_job_id(m), h->replaces,
                                 h->digest, &t);
        if (r >= 0)
                r = job_new(m, t, &job);
        if (r >= 0)
                r = transaction_start(job->transaction);
        if (r < 0)
                return sd_bus_error_set_errnof(error, r, "'%s' can't be taken back: %s", h->name,
                                               strerror(-r));
        m->job = TAKE_PTR(job);
        *ret = m->job;
        return 0;
}

int manager_probation_reject(const HostPatch *h, const char *reason, void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_free_ char *digest = strdup(h->digest), *name = strdup(h->name);
        Manager *m = userdata;
        Job *job;
        int r;

        if (!digest || !name)
                return -ENOMEM;
        r = manager_take_back(m, h, 0, reason, &job, &error);
        if (r < 0)
                log_error("%s", error.message ?: strerror(-r));
        else {
                manager_announce_job(m, job);
                r = probation_quarantine(m->probation, digest, name, reason);
        }
        sd_bus_error_free(&error);
        return r;
}
