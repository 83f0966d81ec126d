/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Finishing a transition by force: the kernel ends it without the tasks that it waits for, which may still run
 * the old code. So what the change takes out stays for good, and is never enabled again (SEMANTICS.md section
 * 3, rule `forced`). It is off unless the policy enables it, has an authorisation of its own, and is recorded
 * before the kernel is told: in the transaction whose transition it is, and in the journal.
 *
 * The transition may be klpd's own, left to the kernel, or somebody else's. What becomes of it is found out as
 * always: by the job that waits for it, or from the kernel's announcements.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/log.h"
#include "klpd/manager.h"

typedef struct Force {
        Manager *manager;
        sd_bus_message *message; /* the call, from when it is authorised */
        char *patch;             /* NULL: the one under way */
        char *reason;
} Force;

static void force_free(void *userdata) {
        Force *f = userdata;

        sd_bus_message_unref(f->message);
        free(f->patch);
        free(f->reason);
        free(f);
}

/* Who is in the way is named while that can be told. */
static void audit(Manager *m, const Force *f, uid_t uid) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FORCED, "forced");
        _cleanup_free_ ShimTask *tasks = NULL;
        size_t n = 0;

        if (m->hands->vtable->read_tasks(m->hands, &tasks, &n) < 0)
                n = 0;
        if (m->job)
                audit_field_u64(r, "KLPD_JOB", m->job->id);
        audit_field(r, "KLPD_PATCH", f->patch);
        audit_field_u64(r, "KLPD_UID", uid);
        audit_field(r, "KLPD_REASON", f->reason);
        for (size_t i = 0; i < n && i < BLOCKERS_MAX; i++) {
                char text[128];

                (void) snprintf(text, sizeof(text), "%u/%u %s%s", tasks[i].pid, tasks[i].tid, tasks[i].comm,
                                tasks[i].kthread ? ", kernel thread" : "");
                audit_field(r, "KLPD_BLOCKER", text);
        }
        audit_send(m->audit, r, LOG_WARNING,
                   "The transition of livepatch '%s' is finished by force, asked for by uid %u%s%s; %zu "
                   "task%s may still "
                   "run the old code",
                   f->patch, (unsigned) uid, f->reason ? ": " : "", f->reason ?: "", n, n == 1 ? "" : "s");
}

static void on_forced(int r, const char *text, void *userdata) {
        Force *f = userdata;

        if (r == -ECANCELED)
                ; /* we are going */
        else if (r < 0)
                (void) sd_bus_reply_method_errorf(f->message, ERROR_FAILED, "'%s' can't be forced: %s",
                                                  f->patch, *text ? text : strerror(-r));
        else {
                (void) sd_bus_reply_method_return(f->message, "s", f->patch);
                manager_mark_stale(f->manager);
        }
        force_free(f);
}

/* Why not, or 0. */
static int check(Manager *m, Force *f, sd_bus_error *error) {
        const char *transition;

        if (m->config.mode != MODE_NORMAL)
                return sd_bus_error_setf(error, ERROR_REFUSED, "klpd is in mode '%s' and changes nothing",
                                         mode_to_string(m->config.mode));
        if (!m->world.policy || m->world.policy_problem || !m->world.policy->allow_force)
                return sd_bus_error_set(error, ERROR_REFUSED,
                                        "The policy doesn't allow force: it takes \"allow_force\": true in "
                                        "/etc/klpd/policy.json");
        m->stale = true;
        manager_refresh(m);
        transition = m->inventory ? m->inventory->transition : NULL;
        if (!transition || (f->patch && !patch_name_equal(f->patch, transition)))
                return sd_bus_error_setf(error, ERROR_FAILED, "There is no transition%s%s%s under way%s%s%s",
                                         f->patch ? " of '" : "", f->patch ?: "", f->patch ? "'" : "",
                                         transition ? ", but one of '" : "", transition ?: "",
                                         transition ? "'" : "");
        if (!f->patch) {
                f->patch = strdup(transition);
                if (!f->patch)
                        return -ENOMEM;
        }
        return 0;
}

static int note(Manager *m, const Force *f, uid_t uid, sd_bus_error *error) {
        char who[400];
        int r;

        if (!m->job)
                return 0;
        if (!patch_name_equal(transaction_patch_name(m->job->transaction), f->patch))
                return sd_bus_error_setf(error, ERROR_BUSY, "Job %u is under way, with '%s'", m->job->id,
                                         transaction_patch_name(m->job->transaction));
        (void) snprintf(who, sizeof(who), "uid %u%s%s", (unsigned) uid, f->reason ? ": " : "",
                        f->reason ?: "");
        r = transaction_force(m->job->transaction, who);
        if (r == -EBUSY)
                return sd_bus_error_setf(error, ERROR_BUSY,
                                         "Job %u doesn't wait for its transition (step %s)", m->job->id,
                                         transaction_step_name(m->job->transaction));
        if (r < 0)
                return sd_bus_error_setf(
                                error, ERROR_FAILED,
                                "Nothing is done that can't be recorded first, and klpd's log can't be "
                                "written: %s",
                                wal_problem(m->wal) ?: strerror(-r));
        return 0;
}

static void on_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                          void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Force *ask = userdata, *f;
        Manager *m = ask->manager;

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        r = check(m, ask, &error);
        if (r >= 0)
                r = note(m, ask, uid, &error);
        f = r >= 0 ? malloc(sizeof(*f)) : NULL;
        if (f) {
                audit(m, ask, uid);
                *f = (Force) {
                        .manager = m,
                        .message = sd_bus_message_ref(message),
                        .patch = TAKE_PTR(ask->patch),
                        .reason = TAKE_PTR(ask->reason),
                };
                r = m->hands->vtable->force(m->hands, f->patch, on_forced, f);
                if (r < 0)
                        force_free(f);
        } else if (r >= 0)
                r = -ENOMEM;
        if (r < 0) {
                if (!sd_bus_error_is_set(&error))
                        (void) sd_bus_error_set_errno(&error, r);
                (void) reply_error(message, &error);
        }
        sd_bus_error_free(&error);
}

int manager_method_force(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        const char *actions[] = { ACTION_FORCE, NULL };
        Manager *m = userdata;
        const char *patch;
        Force *f;
        int r;

        /* The options are those of a request, as far as they mean anything here. */
        r = sd_bus_message_read_basic(message, 's', &patch);
        if (r >= 0)
                r = job_spec_new(REQUEST_DISABLE, &spec);
        if (r >= 0)
                r = job_spec_set_patch(spec, patch, error);
        if (r >= 0)
                r = job_spec_read_options(spec, message, error);
        if (r < 0)
                return r;
        if (spec->has_level || spec->stream || spec->timeout_usec > 0 || spec->accept_irreversible ||
            spec->replace_foreign || spec->allow_vendor)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Force takes the options 'reason' and 'interactive'");
        f = calloc(1, sizeof(*f));
        if (!f)
                return -ENOMEM;
        f->manager = m;
        f->patch = TAKE_PTR(spec->patch);
        f->reason = TAKE_PTR(spec->reason);
        r = authorize(m->authorizer, message, actions, f->patch, spec->interactive, on_authorized, f,
                      force_free);
        if (r < 0) {
                force_free(f);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation") : r;
        }
        return 1;
}
