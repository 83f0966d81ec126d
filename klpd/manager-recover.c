/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the manager does at its start about the write-ahead log: it takes up the transaction that the last
 * klpd didn't end, as a job of its own, before there can be a request. What can't be believed is said and
 * not acted upon: a damaged log was put aside by wal.c, and a record that makes no sense is left alone;
 * where nothing can be recorded, nothing is done that would have to be, and the kernel finishes by itself
 * what it is at.
 */
#include <fcntl.h>
#include <stdio.h>
#include <systemd/sd-id128.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/manager.h"

#define STATE_PATH "var/lib/klpd"
#define LAST_JOB_PATH "run/klpd/last-job" /* of this boot */

/* ---- the numbers of jobs ---- */

/* A job that is refused, or killed before its first visible step, has a number that its sender and the journal know, and no
 * STATE in the log: this file has the last one. Nothing is lost but a number when the power fails. */
static void read_last_job_id(Manager *m) {
        char text[16];
        unsigned n;

        if (sysfs_read_text(m->root_fd, LAST_JOB_PATH, text, sizeof(text)) >= 0 && parse_unsigned(text, &n) >= 0)
                m->last_job_id = n;
}

static void write_last_job_id(const Manager *m) {
        _cleanup_close_ int fd = -EBADF;
        char text[16];
        int n;

        fd = openat(m->root_fd, LAST_JOB_PATH, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
        n = snprintf(text, sizeof(text), "%010" PRIu32 "\n", m->last_job_id);
        if (fd < 0 || pwrite(fd, text, (size_t) n, 0) != n)
                log_debug("Can't write /" LAST_JOB_PATH ": %s", strerror(errno));
}

uint32_t manager_next_job_id(Manager *m) {
        if (++m->last_job_id == 0)
                m->last_job_id = 1;
        write_last_job_id(m);
        return m->last_job_id;
}

/* ---- what klpd was at ---- */

int manager_open_wal(Manager *m) {
        sd_id128_t boot;
        int r;

        r = sd_id128_get_boot(&boot);
        if (r < 0)
                return r;
        (void) sd_id128_to_string(boot, m->world.boot_id);
        r = wal_open(m->root_fd, STATE_PATH, &m->wal);
        if (r < 0)
                return r;
        m->world.wal = m->wal;
        read_last_job_id(m);
        return 0;
}

static void say(Manager *m, int priority, const char *recovery, const char *text) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_RECOVERED, "recovered");

        audit_field(r, "KLPD_RECOVERY", recovery);
        audit_send(m->audit, r, priority, "%s", text);
}

/* Nothing that is known tells what klpd was at. Whatever the kernel is at is somebody else's, then. */
static void distrust(Manager *m, const char *what) {
        const char *transition = m->inventory && m->inventory->transition ? m->inventory->transition : NULL;
        char text[1024];

        (void) snprintf(text, sizeof(text),
                        "%s: what klpd was at when it ended isn't known, and nothing is done about it%s%s%s",
                        what, transition ? ". The transition of '" : "", transition ?: "",
                        transition ? "' goes on by itself" : "");
        free(m->recovery_problem);
        m->recovery_problem = strdup(text);
        say(m, LOG_ERR, "distrusted", text);
}

static int recover(Manager *m, TransactionRecord *record) {
        _cleanup_(job_freep) Job *job = NULL;
        Transaction *t;
        int r;

        r = transaction_new_recovered(&m->world, manager_handlers(m), record, &t);
        if (r >= 0)
                r = job_new(m, t, &job);
        if (r >= 0)
                r = transaction_start(job->transaction);
        if (r < 0)
                return r;
        m->job = TAKE_PTR(job);
        return 0;
}

void manager_recover(Manager *m) {
        _cleanup_(transaction_record_done) TransactionRecord record = {};
        const WalRecord *last = wal_last_state(m->wal);
        char text[512];
        uint32_t id;
        int r;

        if (wal_damage(m->wal)) {
                (void) snprintf(text, sizeof(text), "%s and was put aside as %s", wal_damage(m->wal),
                                WAL_FILE_DAMAGED);
                distrust(m, text);
        }
        if (wal_problem(m->wal))
                log_error("klpd can't record what it does, so it changes nothing: %s", wal_problem(m->wal));
        if (!last)
                return;
        r = transaction_record_parse(last->bytes, last->size, &record);
        if (r < 0) {
                distrust(m, "The record of the last change can't be understood (was it written by another "
                            "version of klpd?)");
                return;
        }
        if (record.id > m->last_job_id)
                m->last_job_id = record.id;
        /* Whatever else is done or not: that can do no harm. */
        (void) strv_copy(record.frozen, &m->world.frozen);
        if (record.over)
                return;
        if (wal_problem(m->wal)) {
                (void) snprintf(text, sizeof(text),
                                "klpd was interrupted in its job %u (livepatch '%s', step %s), and can't go on "
                                "with it: %s",
                                record.id, record.patch, record.step, wal_problem(m->wal));
                m->recovery_problem = strdup(text);
                say(m, LOG_ERR, "unrecorded", text);
                return;
        }
        id = record.id; /* the record is taken over */
        r = recover(m, &record);
        if (r < 0)
                log_error("Can't take up job %u that klpd was interrupted in: %s", id, strerror(-r));
}

int manager_problems(Manager *m, char ***ret) {
        _cleanup_strv_free_ char **l = NULL;
        char text[512];
        int r = 0;

        if (wal_problem(m->wal)) {
                (void) snprintf(text, sizeof(text), "Nothing can be recorded, so nothing is changed: %s",
                                wal_problem(m->wal));
                r = strv_extend(&l, text);
        }
        if (r >= 0 && m->recovery_problem)
                r = strv_extend(&l, m->recovery_problem);
        if (r >= 0 && m->world.policy_problem) {
                (void) snprintf(text, sizeof(text), "The policy can't be read: %s", m->world.policy_problem);
                r = strv_extend(&l, text);
        }
        if (r >= 0)
                r = manager_fleet_problems(m, &l);
        if (r >= 0 && m->fleet_status.drift) {
                (void) snprintf(text, sizeof(text), "Drift from fleet rule %s, see 'klpctl fleet status': %s",
                                m->fleet_status.rule, m->converge->message ?: m->fleet_status.reason);
                r = strv_extend(&l, text);
        }
        if (r < 0)
                return r;
        *ret = TAKE_PTR(l);
        return 0;
}
