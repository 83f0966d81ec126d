/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the bus offers of trials, acceptance and quarantine (probation.h): Accept, Reject, Quarantine, and
 * the host's record to read. Each is authorised before it does anything; none takes time.
 */
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/manager.h"

typedef enum Verb {
        VERB_ACCEPT,
        VERB_REJECT,
        VERB_QUARANTINE,
        VERB_RELEASE,
} Verb;

typedef struct StandingAsk {
        Manager *manager;
        Verb verb;
        char *what, *reason;
} StandingAsk;

static void ask_free(void *userdata) {
        StandingAsk *ask = userdata;

        free(ask->what);
        free(ask->reason);
        free(ask);
}

static bool is_digest(const char *s) {
        return strlen(s) == 64 && strspn(s, "0123456789abcdef") == 64;
}

/* By name, what is meant is what the repository has under it, or what is known of it. */
static int quarantine(Manager *m, const char *what, uid_t uid, const char *reason, Failure *failure) {
        const RepositoryEntry *entry = repository_find(m->repository, what);
        const char *digest = is_digest(what) ? what : entry ? entry->patch->digest : NULL;
        const HostRecord *record = probation_record(m->probation);
        const HostPatch *h;
        char words[400];

        if (!digest) {
                h = host_patch_find(record->trial, record->n_trial, what, NULL);
                if (!h)
                        h = host_patch_find(record->accepted, record->n_accepted, what, NULL);
                digest = h ? h->digest : NULL;
        }
        if (!digest)
                return failure_set(failure, -ENOENT, ERROR_NO_SUCH_PATCH,
                                   "'%s' is neither a digest nor a patch whose content is known", what);
        if (probation_problem(m->probation))
                return failure_set(failure, -EBADMSG, ERROR_FAILED, "%s", probation_problem(m->probation));
        (void) snprintf(words, sizeof(words), "by uid %u%s%s", (unsigned) uid, reason ? ": " : "",
                        reason ?: "");
        int r = probation_quarantine(m->probation, digest, is_digest(what) ? "unknown" : what, words);

        return r < 0 ? failure_set(failure, r, ERROR_FAILED, "Can't write /%s: %s", HOST_RECORD_PATH,
                                   strerror(-r))
                     : 0;
}

/* It goes into quarantine, and what runs of it is taken back, which is recorded first. */
static int reject(Manager *m, const char *name, uid_t uid, const char *reason, const char **ret_path,
                  Failure *failure) {
        const HostRecord *record = probation_record(m->probation);
        sd_bus_error error = SD_BUS_ERROR_NULL;
        KernelPatch kernel = {};
        const HostPatch *h;
        char words[400];
        Job *job = NULL;
        int r;

        h = host_patch_find(record->trial, record->n_trial, name, m->uts.release);
        if (!h)
                h = host_patch_find(record->accepted, record->n_accepted, name, m->uts.release);
        r = h ? m->hands->vtable->read_patch(m->hands, h->name, &kernel) : 0;
        if (r < 0)
                return failure_set(failure, r, ERROR_FAILED, "Can't read whether '%s' is enabled: %s", name,
                                   strerror(-r));
        if (h && !probation_problem(m->probation) && kernel.listed && kernel.enabled) {
                (void) snprintf(words, sizeof(words), "rejected by uid %u%s%s", (unsigned) uid,
                                reason ? ": " : "", reason ?: "");
                r = manager_take_back(m, h, uid, words, &job, &error);
                if (r < 0) {
                        (void) failure_set(failure, r,
                                           sd_bus_error_has_name(&error, ERROR_BUSY)      ? ERROR_BUSY
                                           : sd_bus_error_has_name(&error, ERROR_REFUSED) ? ERROR_REFUSED
                                                                                          : ERROR_FAILED,
                                           "%s", error.message ?: strerror(-r));
                        sd_bus_error_free(&error);
                        return r;
                }
                manager_announce_job(m, job);
        }
        *ret_path = job ? job->path : "/";
        r = probation_reject(m->probation, name, uid, reason, failure);
        if (r < 0 && job) {
                log_error("'%s' is taken back, but isn't in quarantine: %s", name, failure_message(failure));
                return 0;
        }
        return r;
}

static void on_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                          void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        StandingAsk *ask = userdata;
        const char *path = NULL;
        Manager *m = ask->manager;
        Failure failure = {};

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        switch (ask->verb) {
        case VERB_ACCEPT:
                r = probation_accept(m->probation, ask->what, uid, &failure);
                break;
        case VERB_REJECT:
                r = reject(m, ask->what, uid, ask->reason, &path, &failure);
                break;
        case VERB_QUARANTINE:
                r = quarantine(m, ask->what, uid, ask->reason, &failure);
                break;
        case VERB_RELEASE:
                r = probation_unquarantine(m->probation, ask->what, uid, &failure);
                break;
        }
        if (r < 0) {
                (void) sd_bus_error_set(&error, failure.name ?: ERROR_FAILED, failure_message(&failure));
                (void) reply_error(message, &error);
        } else {
                (void) sd_bus_reply_method_return(message, path ? "o" : NULL, path);
                manager_mark_stale(m);
        }
        failure_done(&failure);
        sd_bus_error_free(&error);
}

static int standing_ask(Manager *m, Verb verb, const char *what, const char *reason, const char *action,
                        sd_bus_message *message, sd_bus_error *error) {
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
        const char *actions[] = { action, NULL };
        StandingAsk *ask;
        int r;

        if (!patch_name_is_valid(what) && !is_digest(what))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Neither a patch's name nor a digest");
        for (const char *p = reason; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f || p - reason >= (ptrdiff_t) JOB_REASON_MAX)
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "The reason has control characters in it, or more than %u "
                                                 "bytes",
                                                 JOB_REASON_MAX);
        ask = calloc(1, sizeof(*ask));
        if (!ask)
                return -ENOMEM;
        ask->manager = m;
        ask->verb = verb;
        ask->what = strdup(what);
        ask->reason = *reason ? strdup(reason) : NULL;
        r = ask->what && (!*reason || ask->reason) ? 0 : -ENOMEM;
        if (r >= 0)
                r = authorize(m->authorizer, message, actions, what, interactive, on_authorized, ask, ask_free);
        if (r < 0) {
                ask_free(ask);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation")
                                    : r;
        }
        return 1;
}

int manager_method_accept(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *patch;
        int r;

        r = sd_bus_message_read_basic(message, 's', &patch);
        return r < 0 ? r : standing_ask(userdata, VERB_ACCEPT, patch, "", ACTION_ACCEPT, message, error);
}

int manager_method_reject(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *patch, *reason;
        int r;

        r = sd_bus_message_read(message, "ss", &patch, &reason);
        return r < 0 ? r
                     : standing_ask(userdata, VERB_REJECT, patch, reason, ACTION_QUARANTINE, message, error);
}

int manager_method_quarantine(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *what, *reason;
        int r, release;

        r = sd_bus_message_read(message, "sbs", &what, &release, &reason);
        return r < 0 ? r
                     : standing_ask(userdata, release ? VERB_RELEASE : VERB_QUARANTINE, what, reason,
                                    ACTION_QUARANTINE, message, error);
}

int manager_method_host_record(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        Manager *m = userdata;
        int r;

        if (probation_problem(m->probation))
                return sd_bus_error_set(error, ERROR_FAILED, probation_problem(m->probation));
        r = host_record_format(probation_record(m->probation), &text);
        return r < 0 ? r : sd_bus_reply_method_return(message, "s", text);
}

int manager_get_mode(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", mode_to_string(m->config.mode));
}

int manager_get_record_problem(sd_bus *bus, const char *path, const char *interface, const char *property,
                               sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", probation_problem(m->probation) ?: "");
}

/* ---- trials that go on ---- */

int manager_spec_of(const HostPatch *h, const char *reason, JobSpec **ret) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        char *const *s;
        int r;

        r = job_spec_new(h->downgrade ? REQUEST_DOWNGRADE : REQUEST_APPLY, &spec);
        if (r >= 0)
                r = job_spec_set_patch(spec, h->name, NULL);
        for (s = h->allow_vendor; r >= 0 && s && *s; s++)
                r = strv_extend(&spec->allow_vendor, *s);
        if (r < 0)
                return r;
        spec->accept_irreversible = h->accept_irreversible;
        spec->replace_foreign = h->replace_foreign;
        spec->interactive = false;
        spec->uid = 0;
        spec->digest = strdup(h->digest);
        spec->reason = strdup(reason);
        if (!spec->digest || !spec->reason)
                return -ENOMEM;
        *ret = TAKE_PTR(spec);
        return 0;
}

void manager_resume_trials(Manager *m) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        const HostPatch *h;
        JobSpec *spec;
        Job *job;
        int r;

        if (m->boot || m->config.mode != MODE_NORMAL || m->job || m->stopping)
                return;
        while ((h = probation_next_resumed(m->probation))) {
                r = manager_spec_of(h, "its trial goes on after a reboot", &spec);
                if (r >= 0)
                        r = manager_start_job(m, spec, &job, &error);
                if (r >= 0)
                        return;
                log_error("The trial of '%s' can't go on: %s", h->name, error.message ?: strerror(-r));
                sd_bus_error_free(&error);
        }
}
