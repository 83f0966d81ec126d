/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's record as probation (probation.h) keeps it. What is in memory is what is on disk: a change is made
 * in memory, written, and if that fails read back, so that nobody acts on what wouldn't survive. At the end of
 * a request it is the log that has it first (host-record-store.h): the file is written when klpd has nothing
 * else to do.
 */
#include <stdio.h>

#include "klpd/host-record-store.h"
#include "klpd/log.h"
#include "klpd/probation-internal.h"

static int make_list(Probation *p) {
        char **l = NULL;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < p->record.n_quarantine; i++)
                r = strv_extend(&l, p->record.quarantine[i].digest);
        if (r < 0) {
                strv_free(l);
                return r;
        }
        strv_free(p->quarantined);
        p->quarantined = l;
        return 0;
}

void probation_distrust(Probation *p, const char *text) {
        free(p->problem);
        if (asprintf(&p->problem,
                     "/%s can't be trusted: %s. Nothing is applied, accepted or rejected by itself; correct "
                     "it or move it away",
                     HOST_RECORD_PATH, text) < 0)
                p->problem = strdup("/" HOST_RECORD_PATH " can't be trusted");
        log_error("%s", p->problem ?: "out of memory");
}

void probation_read(Probation *p) {
        PolicyError error = {};
        HostRecord record = {};
        char words[640];
        bool in_log;
        int r;

        r = host_store_read(p->world->root_fd, p->world->wal, &record, &in_log, &error);
        if (r < 0 && r != -ENOENT) {
                probation_distrust(p,
                                   error.message[0] ? policy_error_format(&error, NULL, words, sizeof(words))
                                                    : strerror(-r));
                return;
        }
        host_record_done(&p->record);
        p->record = record;
        p->in_log = in_log;
        p->problem = (free(p->problem), NULL);
        if (make_list(p) < 0)
                probation_distrust(p, "out of memory");
}

static int write_file(Probation *p) {
        int r;

        p->unwritten = false;
        p->file = sd_event_source_disable_unref(p->file);
        r = host_store_file(p->world->root_fd, p->world->wal, &p->record);
        if (r >= 0)
                p->in_log = false;
        return r;
}

int probation_write(Probation *p) {
        int r;

        if (p->problem)
                return -EBADMSG;
        p->record.serial++;
        p->unwritten = true;
        r = p->held ? 0 : write_file(p);
        if (r >= 0)
                r = make_list(p);
        if (r < 0) {
                log_error("Can't write /%s: %s; what was there before counts", HOST_RECORD_PATH,
                          strerror(-r));
                probation_read(p);
        }
        if (p->changed)
                p->changed(p->userdata);
        return r;
}

/* ---- by the log ---- */

void probation_file(Probation *p) {
        int r;

        if (p->problem) /* the file is somebody's to look at */
                return;
        r = write_file(p);
        if (r < 0)
                log_error("Can't write /%s: %s; its newest version stays in klpd's log", HOST_RECORD_PATH,
                          strerror(-r));
}

static int on_file(sd_event_source *source, void *userdata) {
        probation_file(userdata);
        return 0;
}

static void file_later(Probation *p) {
        int r;

        if (p->file)
                return;
        r = sd_event_add_defer(p->world->event, &p->file, on_file, p);
        if (r >= 0)
                r = sd_event_source_set_priority(p->file, SD_EVENT_PRIORITY_IDLE);
        if (r < 0)
                probation_file(p);
}

void probation_hold(Probation *p) {
        if (p)
                p->held = true;
}

void probation_stage(Probation *p) {
        int r;

        if (!p || !p->unwritten || !p->world->wal)
                return;
        r = host_store_stage(p->world->wal, &p->record, &p->staged);
        if (r < 0)
                log_debug("The host's record doesn't get into klpd's log: %s", strerror(-r));
}

void probation_release(Probation *p) {
        if (!p)
                return;
        p->held = false;
        if (p->unwritten && p->staged == 0) {
                p->record.serial--; /* probation_write() counts again */
                (void) probation_write(p);
        } else if (p->unwritten) {
                p->unwritten = false;
                p->in_log = true;
                file_later(p);
        }
        p->staged = 0;
}
