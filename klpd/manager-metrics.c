/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager's metrics (metrics.h): collected when somebody asks, and a moment after anything of it may have
 * changed, for the file. Nothing is written that is there already, and nothing while nothing happens.
 */
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/manager.h"
#include "klpd/metrics.h"

#define METRICS_USEC UINT64_C(100000)

static int manager_metrics(Manager *m, char **ret) {
        const HostRecord *record = probation_record(m->probation);
        SlotState slot = m->converge ? converge_slot_state(m->converge) : SLOT_NONE;
        _cleanup_strv_free_ char **problems = NULL;
        Metrics metrics = {
                .version = KLPD_VERSION,
                .kernel = m->uts.release,
                .mode = m->config.mode,
                .inventory = m->inventory,
                .n_stalled = m->n_stalled,
                .slot_wanted = slot == SLOT_WANTED,
                .slot_held = slot == SLOT_HELD,
                .slot_failed = slot == SLOT_FAILED,
                .fleet = &m->fleet_status,
        };
        int r;

        r = manager_problems(m, &problems);
        if (r < 0)
                return r;
        for (char **p = problems; p && *p; p++)
                metrics.n_problems++;
        metrics.transition = m->inventory && m->inventory->transition;
        if (!probation_problem(m->probation)) {
                metrics.record = true;
                metrics.n_trial = record->n_trial;
                metrics.n_accepted = record->n_accepted;
                metrics.n_quarantined = record->n_quarantine;
        }
        return metrics_format(&metrics, ret);
}

/* Not while the kernel is being told something: its files could keep us waiting. */
static void refresh(Manager *m) {
        if (!m->job || !m->job->transaction->pending)
                manager_refresh(m);
}

static int on_metrics(sd_event_source *source, uint64_t usec, void *userdata) {
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        int r;

        m->metrics_timer = sd_event_source_disable_unref(m->metrics_timer);
        refresh(m);
        r = manager_metrics(m, &text);
        if (r >= 0 && streq_ptr(text, m->metrics))
                return 0;
        if (r >= 0)
                r = metrics_write(m->root_fd, m->config.metrics_file, text);
        /* Without its directory there is no collector. */
        if (r < 0 && r != -ENOENT && r != m->metrics_error)
                log_warning("Can't write metrics to %s: %s", m->config.metrics_file, strerror(-r));
        m->metrics_error = r < 0 ? r : 0;
        free(m->metrics);
        m->metrics = r < 0 ? NULL : TAKE_PTR(text);
        return 0;
}

void manager_metrics_changed(Manager *m) {
        int r;

        if (m->boot || m->metrics_timer || !*m->config.metrics_file)
                return;
        r = sd_event_add_time_relative(m->event, &m->metrics_timer, CLOCK_MONOTONIC, METRICS_USEC, 0, on_metrics,
                                       m);
        if (r < 0)
                log_warning("Metrics aren't written: %s", strerror(-r));
}

void manager_metrics_reset(Manager *m) {
        free(m->metrics);
        m->metrics = NULL;
        m->metrics_error = 0;
        manager_metrics_changed(m);
}

void manager_metrics_done(Manager *m) {
        m->metrics_timer = sd_event_source_disable_unref(m->metrics_timer);
        free(m->metrics);
        m->metrics = NULL;
}

int manager_method_metrics(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        int r;

        refresh(m);
        r = manager_metrics(m, &text);
        return r < 0 ? r : sd_bus_reply_method_return(message, "s", text);
}
