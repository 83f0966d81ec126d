/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See boot.h. What is accepted for this kernel is applied one after the other, each in one atomic step; since
 * a cumulative patch is alone in the list with what came after it, nothing is enabled only to be replaced.
 * The mark is on disk before the first one (SEMANTICS.md section 6). One that is refused or fails doesn't
 * keep the others from being applied, and doesn't lose its acceptance.
 *
 * After a soft reboot this runs again in the same kernel, and applies nothing: what is accepted is enabled, or
 * has been replaced by what is on trial; or this boot applied nothing, because the last one had crashed.
 */
#include <stdio.h>
#include <systemd/sd-bus.h>

#include "klpd/boot.h"
#include "klpd/host-record-store.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"

struct Boot {
        Manager *manager;
        BootCallback callback;
        void *userdata;
        sd_event_source *defer;
        JobSpec **specs;
        size_t n_specs, next;
        int status;
        bool recovering; /* what klpd was interrupted in comes first */
};

static int boot_add(Boot *b, const HostPatch *h) {
        JobSpec **specs = reallocarray(b->specs, b->n_specs + 1, sizeof(*specs));
        int r;

        if (!specs)
                return -ENOMEM;
        b->specs = specs;
        r = manager_spec_of(h, "accepted, at boot", &specs[b->n_specs]);
        if (r < 0)
                return r;
        /* How it came to be enabled once says nothing about what is enabled now: nothing is. */
        specs[b->n_specs++]->kind = REQUEST_APPLY;
        return 0;
}

static int boot_collect(Boot *b) {
        const HostRecord *record = probation_record(b->manager->probation);
        int r = 0;

        for (size_t i = 0; r >= 0 && i < record->n_accepted; i++)
                if (streq(record->accepted[i].kernel, b->manager->uts.release))
                        r = boot_add(b, &record->accepted[i]);
        return r;
}

static void boot_next(Boot *b) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Job *job;

        while (b->next < b->n_specs) {
                JobSpec *spec = TAKE_PTR(b->specs[b->next++]);

                if (manager_start_job(b->manager, spec, &job, &error) >= 0)
                        return;
                log_error("Can't apply at boot: %s", error.message ?: "unknown error");
                sd_bus_error_free(&error);
                b->status = EXIT_FAILURE;
        }
        b->callback(b->status, b->userdata);
}

static void on_job_finished(const Transaction *t, void *userdata) {
        Boot *b = userdata;

        if (TAKE_GENERIC(b->recovering, false))
                ; /* how that ends is in the journal */
        else if (t->result != TRANSACTION_DONE && t->result != TRANSACTION_NOTHING_TO_DO) {
                log_error("Livepatch '%s', which is accepted, isn't applied at this boot: %s",
                          transaction_patch_name(t), failure_message(&t->failure));
                b->status = EXIT_FAILURE;
        }
        (void) sd_event_source_set_enabled(b->defer, SD_EVENT_ONESHOT);
}

/* Why nothing is to be applied, and whether that is a failure; NULL: go on. */
static const char *boot_obstacle(Boot *b, int *ret_status) {
        const Manager *m = b->manager;

        *ret_status = EXIT_SUCCESS;
        if (m->config.mode != MODE_NORMAL)
                return "klpd.mode isn't normal";
        if (probation_problem(m->probation)) {
                *ret_status = EXIT_FAILURE;
                return probation_problem(m->probation);
        }
        if (probation_boot_goes_on(m->probation))
                return "this kernel has been booted before; after a soft reboot, what runs in it runs on";
        if (probation_boot_failed(m->probation))
                return "the last boot applied livepatches and crashed";
        if (b->n_specs == 0)
                return "nothing is accepted for this kernel";
        return NULL;
}

static int on_defer(sd_event_source *source, void *userdata) {
        Boot *b = userdata;

        boot_next(b);
        return 0;
}

int boot_start(Manager *m, BootCallback callback, void *userdata, Boot **ret) {
        _cleanup_(boot_freep) Boot *b = NULL;
        const char *obstacle;
        int r;

        b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;
        b->manager = m;
        b->callback = callback;
        b->userdata = userdata;
        r = sd_event_add_defer(m->event, &b->defer, on_defer, b);
        if (r < 0)
                return r;
        m->boot = true;
        m->job_finished = on_job_finished;
        m->job_finished_userdata = b;
        r = manager_start(m);
        if (r >= 0 && !probation_problem(m->probation))
                r = boot_collect(b);
        if (r < 0)
                return r;

        obstacle = boot_obstacle(b, &b->status);
        if (!obstacle) {
                r = probation_mark(m->probation);
                if (r < 0) {
                        obstacle = "the mark of this boot can't be written";
                        b->status = EXIT_FAILURE;
                }
        }
        if (obstacle) {
                log_notice("No livepatch is applied at this boot: %s", obstacle);
                for (size_t i = 0; i < b->n_specs; i++)
                        b->specs[i] = job_spec_free(b->specs[i]);
                b->next = b->n_specs;
        }
        if (!obstacle)
                manager_recover(m);
        if (m->job) {
                b->recovering = true;
                r = sd_event_source_set_enabled(b->defer, SD_EVENT_OFF);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(b);
        return 0;
}

Boot *boot_free(Boot *b) {
        if (!b)
                return NULL;
        for (size_t i = 0; i < b->n_specs; i++)
                job_spec_free(b->specs[i]);
        free(b->specs);
        sd_event_source_disable_unref(b->defer);
        free(b);
        return NULL;
}

/* ---- the end of a boot ---- */

bool boot_is_stopping(void) {
        _cleanup_(sd_bus_flush_close_unrefp) sd_bus *bus = NULL;
        _cleanup_free_ char *state = NULL;
        int r;

        /* systemd itself: the bus may be gone already. */
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, "unix:path=/run/systemd/private");
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, UINT64_C(5000000));
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r >= 0)
                r = sd_bus_get_property_string(bus, "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                                               "org.freedesktop.systemd1.Manager", "SystemState", NULL,
                                               &state);
        if (r < 0) {
                log_debug("Can't ask systemd whether it is stopping: %s", strerror(-r));
                return false;
        }
        return streq(state, "stopping");
}

int boot_shutdown(int root_fd) {
        _cleanup_(wal_freep) Wal *wal = NULL;
        HostRecord record = {};
        PolicyError error = {};
        char boot_id[64];
        bool in_log;
        int r;

        /* A klpd that was killed may have left the newest version there. Without it the file counts: that a log can't be
         * read doesn't make a crash of a shutdown. */
        r = wal_peek(root_fd, "var/lib/klpd", &wal);
        if (r < 0)
                log_warning("Can't look into klpd's log: %s", strerror(-r));
        r = host_store_read(root_fd, wal, &record, &in_log, &error);
        if (r < 0)
                return r == -ENOENT ? 0 : r;
        r = sysfs_read_text(root_fd, "proc/sys/kernel/random/boot_id", boot_id, sizeof(boot_id));
        if (r >= 0 && streq_ptr(record.boot_id, boot_id) && !record.orderly) {
                record.orderly = true;
                record.serial++;
                r = host_store_file(root_fd, NULL, &record); /* its greater number says that the log's is old */
        }
        host_record_done(&record);
        return r;
}
