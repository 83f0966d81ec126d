/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See probation.h. The record is kept in probation-record.c, what a boot begins and ends with in probation-boot.c. One
 * timer, set to the earliest end of a trial or of the boot's own time; times within a boot are CLOCK_BOOTTIME, which
 * nobody sets.
 */
#include <stdio.h>
#include <syslog.h>
#include <time.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/probation-internal.h"

void probation_set_changed(Probation *p, void (*changed)(void *userdata), void *userdata) {
        p->changed = changed;
        p->userdata = userdata;
}

void probation_audit(Probation *p, const char *edge, const char *name, const char *digest,
                           int priority, const char *text) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_STANDING, "standing");

        audit_field(r, "KLPD_PATCH", name);
        audit_field(r, "KLPD_DIGEST", digest);
        audit_field(r, "KLPD_RESULT", edge);
        audit_send(p->world->audit, r, priority, "%s", text);
}

static _printf_(5, 6) void tell(Probation *p, const char *edge, const HostPatch *patch, int priority,
                                const char *format, ...) {
        char text[1024];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        probation_audit(p, edge, patch->name, patch->digest, priority, text);
}

/* ---- what there is ---- */

int probation_new(const World *world, const ProbationHandlers *handlers, Probation **ret) {
        _cleanup_(probation_freep) Probation *p = NULL;
        int r;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->world = world;
        p->handlers = *handlers;
        r = sysfs_read_text(world->root_fd, "proc/sys/kernel/random/boot_id", p->boot_id, sizeof(p->boot_id));
        if (r < 0)
                (void) snprintf(p->boot_id, sizeof(p->boot_id), "unknown");
        *ret = TAKE_PTR(p);
        return 0;
}

Probation *probation_free(Probation *p) {
        if (!p)
                return NULL;
        if (p->in_log)
                probation_file(p);
        sd_event_source_disable_unref(p->file);
        sd_event_source_disable_unref(p->timer);
        host_record_done(&p->record);
        strv_free(p->quarantined);
        strv_free(p->resumed);
        free(p->problem);
        free(p);
        return NULL;
}

const char *probation_problem(const Probation *p) {
        return p->problem;
}

const HostRecord *probation_record(const Probation *p) {
        return &p->record;
}

char *const *probation_quarantined(const Probation *p) {
        return p->quarantined;
}

bool probation_boot_failed(const Probation *p) {
        return p->boot_failed;
}

bool probation_boot_goes_on(const Probation *p) {
        return p->goes_on;
}

static bool same_content(const HostPatch *h, const Patch *patch) {
        return h && patch->digest && streq(h->digest, patch->digest);
}

const char *probation_standing(const Probation *p, const Patch *patch) {
        const HostRecord *r = &p->record;
        const char *kernel = p->world->release;

        if (patch->digest && host_quarantine_has(r, patch->digest))
                return "quarantine";
        if (same_content(host_patch_find(r->trial, r->n_trial, patch->name, kernel), patch))
                return "trial";
        if (same_content(host_patch_find(r->accepted, r->n_accepted, patch->name, kernel), patch))
                return "accepted";
        return "";
}

void probation_start(Probation *p) {
        probation_read(p);
        if (p->problem)
                return;
        if (p->in_log) {
                log_notice("klpd was interrupted before it had written /%s: its newest version is taken from klpd's log",
                           HOST_RECORD_PATH);
                probation_file(p);
        }
        probation_conclude_boot(p);
        if (p->problem)
                return;
        p->resumed = strv_free(p->resumed);
        for (size_t i = 0; i < p->record.n_trial; i++)
                if (!streq(p->record.trial[i].boot_id, p->boot_id) &&
                    streq(p->record.trial[i].kernel, p->world->release) &&
                    strv_extend(&p->resumed, p->record.trial[i].name) < 0)
                        log_error("Out of memory");
        probation_arm(p);
}

const HostPatch *probation_next_resumed(Probation *p) {
        while (p->resumed && p->resumed[0]) {
                HostPatch *h = host_patch_find(p->record.trial, p->record.n_trial, p->resumed[0],
                                               p->world->release);
                char **s = p->resumed;

                free(s[0]);
                do
                        s[0] = s[1];
                while (*s++);
                if (h)
                        return h;
        }
        return NULL;
}

/* ---- trial and acceptance ---- */

/* What is accepted for this kernel, but not enabled any more, isn't. */
static int prune_accepted(Probation *p) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        Hands *hands = p->world->hands;
        HostRecord *r = &p->record;
        int k;

        k = hands->vtable->read_inventory(hands, &inventory);
        if (k < 0)
                return k;
        for (size_t i = r->n_accepted; i-- > 0;)
                if (streq(r->accepted[i].kernel, p->world->release) &&
                    !inventory_find(inventory, r->accepted[i].name)) {
                        tell(p, "dropped", &r->accepted[i], LOG_NOTICE,
                             "Livepatch '%s' is no longer enabled, and won't be applied at boot any more",
                             r->accepted[i].name);
                        host_patch_remove(&r->accepted, &r->n_accepted, &r->accepted[i]);
                }
        return 0;
}

static int accept(Probation *p, HostPatch *trial, const char *why) {
        HostRecord *r = &p->record;
        HostPatch accepted = *trial;
        int k;

        accepted.since_usec = now_usec(CLOCK_REALTIME);
        k = prune_accepted(p);
        if (k >= 0)
                k = host_patch_add(&r->accepted, &r->n_accepted, &accepted);
        if (k < 0)
                return k;
        tell(p, "accepted", trial, LOG_NOTICE, "Livepatch '%s' is accepted (%s), and applied at boot",
             trial->name, why);
        host_patch_remove(&r->trial, &r->n_trial, trial);
        return probation_write(p);
}

/* The trial of a patch that somebody has replaced or disabled meanwhile ends without a word about it. */
static bool still_enabled(Probation *p, const HostPatch *trial) {
        KernelPatch kernel;
        Hands *hands = p->world->hands;

        return hands->vtable->read_patch(hands, trial->name, &kernel) >= 0 && kernel.listed &&
               kernel.enabled && !kernel.transition;
}

static uint64_t trial_end(const Probation *p, const HostPatch *trial) {
        return trial->since_usec + p->world->config->probation_usec;
}

/* The time of something is over, but whether the host is well has to be asked before it counts. */
static bool is_well(Probation *p, uint64_t now) {
        const HostRecord *r = &p->record;
        bool due = r->n_mark > 0 && now >= p->world->config->boot_healthy_usec;
        int k;

        for (size_t i = 0; i < r->n_trial; i++)
                if (streq(r->trial[i].boot_id, p->boot_id) && now >= trial_end(p, &r->trial[i]))
                        due = true;
        if (!due || TAKE_GENERIC(p->well, false) || !config_checks_health(p->world->config) ||
            !p->handlers.check_health)
                return true;
        if (p->asking || now < p->again_usec)
                return false;
        k = p->handlers.check_health(p->handlers.userdata);
        if (k >= 0)
                p->asking = true;
        else if (k != -EAGAIN)
                log_error("Can't check how the host is: %s", strerror(-k));
        return false;
}

static void probation_visit(Probation *p) {
        uint64_t now = now_usec(CLOCK_BOOTTIME);
        HostRecord *r = &p->record;

        if (!is_well(p, now))
                return;
        if (r->n_mark > 0 && now >= p->world->config->boot_healthy_usec) {
                host_mark_clear(r);
                if (probation_write(p) >= 0)
                        log_info("This boot, with its livepatches, is healthy: the boot mark is cleared");
        }
        for (size_t i = r->n_trial; i-- > 0;) {
                HostPatch *trial = &r->trial[i];

                if (!streq(trial->boot_id, p->boot_id) || now < trial_end(p, trial))
                        continue;
                if (still_enabled(p, trial))
                        (void) accept(p, trial, "its probation is over");
                else {
                        tell(p, "dropped", trial, LOG_NOTICE,
                             "The trial of livepatch '%s' is over without a result: it isn't enabled any more",
                             trial->name);
                        host_patch_remove(&r->trial, &r->n_trial, trial);
                        (void) probation_write(p);
                }
                if (i > r->n_trial)
                        i = r->n_trial; /* the record may have been read afresh */
        }
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Probation *p = userdata;

        if (!p->problem)
                probation_visit(p);
        probation_arm(p);
        return 0;
}

/* Not well when its time is over: what is on trial is to blame, as far as anybody can tell. */
static bool reject_trials(Probation *p, const char *text) {
        uint64_t now = now_usec(CLOCK_BOOTTIME);
        const HostRecord *r = &p->record;
        char reason[1024];
        int k;

        (void) snprintf(reason, sizeof(reason), "at the end of its probation the health check failed: %s",
                        text);
        for (size_t i = r->n_trial; i-- > 0;) {
                const HostPatch *trial = &r->trial[i];

                if (!streq(trial->boot_id, p->boot_id) || now < trial_end(p, trial) ||
                    !still_enabled(p, trial))
                        continue;
                tell(p, "rejected", trial, LOG_ERR, "Livepatch '%s' isn't accepted, it is taken back: %s",
                     trial->name, reason);
                k = p->handlers.reject(trial, reason, p->handlers.userdata);
                if (k < 0)
                        log_error("A patch that isn't accepted can't be taken back: %s", strerror(-k));
                return k >= 0; /* one job at a time; the next one is looked at after it */
        }
        return false;
}

void probation_health_done(Probation *p, int r, const char *text) {
        p->asking = false;
        if (p->problem || r == -ECANCELED)
                return;
        if (r >= 0) {
                p->well = true;
                probation_visit(p);
        } else if (r != -EAGAIN) {
                if (p->record.n_mark > 0)
                        log_error("This boot, with its livepatches, isn't healthy, and its mark stays: %s",
                                  text);
                /* Without one that is to blame, asking again soon makes nobody well. */
                p->again_usec = reject_trials(p, text) ? 0
                                                       : now_usec(CLOCK_BOOTTIME) +
                                                                         p->world->config->boot_healthy_usec;
        }
        probation_arm(p);
}

void probation_arm(Probation *p) {
        uint64_t next = UINT64_MAX, now = now_usec(CLOCK_BOOTTIME);
        const HostRecord *r = &p->record;
        int k;

        p->timer = sd_event_source_disable_unref(p->timer);
        if (p->problem || p->asking)
                return;
        if (r->n_mark > 0)
                next = p->world->config->boot_healthy_usec;
        for (size_t i = 0; i < r->n_trial; i++)
                if (streq(r->trial[i].boot_id, p->boot_id) && trial_end(p, &r->trial[i]) < next)
                        next = trial_end(p, &r->trial[i]);
        if (next == UINT64_MAX)
                return;
        /* What is overdue, because it couldn't be written, is tried again, but not at once. */
        if (next <= now)
                next = now + 1000000;
        if (next < p->again_usec)
                next = p->again_usec;
        k = sd_event_add_time(p->world->event, &p->timer, CLOCK_BOOTTIME, next, 0, on_timer, p);
        if (k >= 0)
                k = sd_event_source_set_description(p->timer, "probation");
        if (k < 0)
                log_error("Can't watch the time of trials: %s", strerror(-k));
}

/* ---- requests that ended well ---- */

/* It is accepted, or on trial already in this boot (from before its health was checked). */
static bool is_known(Probation *p, const char *name, const char *digest) {
        HostRecord *r = &p->record;
        const HostPatch *accepted = host_patch_find(r->accepted, r->n_accepted, name, p->world->release);
        const HostPatch *trial = host_patch_find(r->trial, r->n_trial, name, p->world->release);

        return (accepted && streq(accepted->digest, digest)) ||
               (trial && streq(trial->digest, digest) && streq(trial->boot_id, p->boot_id));
}

static int begin_trial(Probation *p, const Transaction *t) {
        HostRecord *r = &p->record;
        HostPatch trial = {
                .name = t->name,
                .kernel = (char *) p->world->release,
                .digest = t->digest,
                .boot_id = p->boot_id,
                .since_usec = now_usec(CLOCK_BOOTTIME),
                .downgrade = t->spec->kind == REQUEST_DOWNGRADE,
                .accept_irreversible = t->spec->accept_irreversible,
                .replace_foreign = t->spec->replace_foreign,
                .allow_vendor = t->spec->allow_vendor,
                .replaces = t->replaced,
        };
        int k;

        if (p->world->config->probation_usec == 0) {
                k = host_patch_add(&r->trial, &r->n_trial, &trial);
                return k < 0 ? k : accept(p, &r->trial[r->n_trial - 1], "without a trial, ProbationSec=0");
        }
        k = host_patch_add(&r->trial, &r->n_trial, &trial);
        if (k < 0)
                return k;
        tell(p, "trial", &trial, LOG_INFO, "Livepatch '%s' is on trial for %" PRIu64 " s", trial.name,
             p->world->config->probation_usec / 1000000);
        return probation_write(p);
}

static void drop_trials(Probation *p) {
        HostRecord *r = &p->record;

        for (size_t i = r->n_trial; i-- > 0;)
                if (streq(r->trial[i].kernel, p->world->release) && streq(r->trial[i].boot_id, p->boot_id) &&
                    !still_enabled(p, &r->trial[i]))
                        host_patch_remove(&r->trial, &r->n_trial, &r->trial[i]);
}

void probation_on_trial(Probation *p, const Transaction *t) {
        int k;

        if (p->problem || t->disable || !t->digest || p->world->config->probation_usec == 0 ||
            is_known(p, t->name, t->digest) || host_quarantine_has(&p->record, t->digest))
                return;
        k = begin_trial(p, t);
        probation_arm(p);
        if (k < 0)
                log_error("'%s' can't be put on trial: %s", t->name, strerror(-k));
}

void probation_changed(Probation *p, const Transaction *t) {
        int k = 0;

        if (p->problem)
                return;
        drop_trials(p);
        if (t->disable || t->spec->kind == REQUEST_DOWNGRADE)
                k = prune_accepted(p);
        if (k >= 0 && !t->disable) {
                if (!t->digest)
                        log_notice("'%s' was enabled without its file: it can't be put on trial, and isn't "
                                   "applied at boot",
                                   t->name);
                else if (!is_known(p, t->name, t->digest) && !host_quarantine_has(&p->record, t->digest)) {
                        k = begin_trial(p, t);
                        probation_arm(p);
                        if (k < 0)
                                log_error("'%s' can't be put on trial: %s", t->name, strerror(-k));
                        return;
                }
        }
        if (k >= 0)
                k = probation_write(p);
        probation_arm(p);
        if (k < 0)
                log_error("Can't keep what is accepted: %s", strerror(-k));
}

/* ---- what somebody decides ---- */

static int check_trusted(const Probation *p, Failure *failure) {
        return p->problem ? failure_set(failure, -EBADMSG, ERROR_FAILED, "%s", p->problem) : 0;
}

static int written(int r, Failure *failure) {
        return r < 0 ? failure_set(failure, r, ERROR_FAILED, "Can't write /%s: %s", HOST_RECORD_PATH,
                                   strerror(-r))
                     : 0;
}

int probation_accept(Probation *p, const char *name, uid_t uid, Failure *failure) {
        HostPatch *trial;
        char why[64];
        int r;

        r = check_trusted(p, failure);
        if (r < 0)
                return r;
        trial = host_patch_find(p->record.trial, p->record.n_trial, name, p->world->release);
        if (!trial)
                return failure_set(failure, -ENOENT, ERROR_NO_SUCH_PATCH, "'%s' isn't on trial", name);
        if (!still_enabled(p, trial))
                return failure_set(failure, -ENOENT, ERROR_FAILED, "'%s' isn't enabled", name);
        (void) snprintf(why, sizeof(why), "by uid %u", (unsigned) uid);
        r = accept(p, trial, why);
        probation_arm(p);
        return written(r, failure);
}

int probation_quarantine(Probation *p, const char *digest, const char *name, const char *reason) {
        HostRecord *r = &p->record;
        int k;

        if (p->problem)
                return -EBADMSG;
        k = probation_quarantine_digest(p, digest, name, reason);
        if (k < 0)
                return k;
        probation_drop_quarantined(&r->trial, &r->n_trial, r);
        probation_drop_quarantined(&r->accepted, &r->n_accepted, r);
        k = probation_write(p);
        probation_arm(p);
        return k;
}

int probation_reject(Probation *p, const char *name, uid_t uid, const char *reason, Failure *failure) {
        HostRecord *r = &p->record;
        const HostPatch *h;
        char words[400];
        int k;

        k = check_trusted(p, failure);
        if (k < 0)
                return k;
        h = host_patch_find(r->trial, r->n_trial, name, p->world->release);
        if (!h)
                h = host_patch_find(r->accepted, r->n_accepted, name, p->world->release);
        if (!h)
                return failure_set(failure, -ENOENT, ERROR_NO_SUCH_PATCH,
                                   "'%s' is neither on trial nor accepted", name);
        (void) snprintf(words, sizeof(words), "rejected by uid %u%s%s", (unsigned) uid, reason ? ": " : "",
                        reason ?: "");
        /* Its own copies: the entry goes. */
        _cleanup_free_ char *digest = strdup(h->digest), *copy = strdup(h->name);

        if (!digest || !copy)
                return failure_set(failure, -ENOMEM, ERROR_FAILED, "Out of memory");
        return written(probation_quarantine(p, digest, copy, words), failure);
}

int probation_unquarantine(Probation *p, const char *what, uid_t uid, Failure *failure) {
        char text[256];
        int r;

        r = check_trusted(p, failure);
        if (r < 0)
                return r;
        if (host_quarantine_remove(&p->record, what) == 0)
                return failure_set(failure, -ENOENT, ERROR_NO_SUCH_PATCH, "'%s' isn't in quarantine", what);
        (void) snprintf(text, sizeof(text), "'%s' was taken out of quarantine by uid %u", what,
                        (unsigned) uid);
        probation_audit(p, "released", what, NULL, LOG_NOTICE, text);
        return written(probation_write(p), failure);
}
