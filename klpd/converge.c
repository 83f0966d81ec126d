/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See converge.h. Everything runs from one deferred event, so that a call that changes something never
 * decides within itself. */
#include <stdio.h>
#include <syslog.h>

#include "klpd/clock-watch.h"
#include "klpd/converge.h"
#include "klpd/fleet-watch.h"
#include "klpd/log.h"
#include "klpd/manager.h"

/* The kernel doesn't announce that its clock has become certain. */
#define CLOCK_CHECK_USEC (UINT64_C(10) * 1000000)
/* How often the last certain time is written down. */
#define TRUSTED_STEP_USEC (UINT64_C(3600) * 1000000)

uint64_t converge_now(const Converge *c) {
        return c->clock.now(c->clock.userdata);
}

/* ---- the record ---- */

static void record_distrust(Converge *c, const char *why) {
        free(c->record_problem);
        if (asprintf(&c->record_problem,
                     "/%s can't be trusted: %s. No fleet document is acted upon; correct it or move it away",
                     FLEET_RECORD_PATH, why) < 0)
                c->record_problem = strdup("/" FLEET_RECORD_PATH " can't be trusted");
        log_error("%s", c->record_problem ?: "out of memory");
}

void converge_read(Converge *c) {
        FleetRecord record = {};
        PolicyError error = {};
        char words[640];
        int r;

        r = fleet_record_read(c->manager->root_fd, &record, &error);
        if (r < 0 && r != -ENOENT) {
                record_distrust(c, *error.message ? policy_error_format(&error, NULL, words, sizeof(words))
                                                  : strerror(-r));
                return;
        }
        fleet_record_done(&c->record);
        c->record = record;
        c->record_problem = (free(c->record_problem), NULL);
}

/* What couldn't be written isn't so: the record in memory is what is on disk. */
int converge_record_write(Converge *c) {
        int r;

        if (c->record_problem)
                return -EBADMSG;
        r = fleet_record_write(c->manager->root_fd, &c->record);
        if (r < 0) {
                log_error("Can't write /%s: %s; what was there before counts", FLEET_RECORD_PATH, strerror(-r));
                converge_read(c);
        }
        return r;
}

/* ---- holds, for requests by hand ---- */

/* A hold stands above what is decided by hand (SEMANTICS.md section 6), so planning has to know of it. */
static void set_hold(Converge *c, const FleetDecision *d) {
        bool held = d->reason == FLEET_REASON_HOLD_RULE;
        World *w = &c->manager->world;

        w->fleet_held_stream = w->fleet_hold_reason = NULL;
        c->held = (free(c->held), NULL);
        c->held_stream = (free(c->held_stream), NULL);
        if (!held)
                return;
        c->held = strdup(d->rule->hold);
        if (asprintf(&c->held_stream, "%s/%s", d->rule->vendor, d->rule->stream) < 0)
                c->held_stream = NULL;
        if (!c->held || !c->held_stream)
                return;
        w->fleet_hold_reason = c->held;
        w->fleet_held_stream = c->held_stream;
}

/* ---- times ---- */

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Converge *c = userdata;

        c->timer = sd_event_source_disable_unref(c->timer);
        converge_kick(c);
        return 0;
}

/* Counted from what the clock says now: if it is set, converge_clock_set() comes, and decides again. */
static void arm_timer(Converge *c, const FleetDecision *d) {
        uint64_t now = converge_now(c);
        int r = 0;

        c->timer = sd_event_source_disable_unref(c->timer);
        if (d->verdict == FLEET_WAIT && (d->gates & FLEET_GATE_CLOCK))
                r = sd_event_add_time_relative(c->manager->event, &c->timer, CLOCK_MONOTONIC, CLOCK_CHECK_USEC,
                                               1000000, on_timer, c);
        else if (d->again > 0)
                r = sd_event_add_time_relative(c->manager->event, &c->timer, CLOCK_BOOTTIME,
                                               d->again > now ? d->again - now : 0, 1, on_timer, c);
        if (r < 0)
                log_error("Can't wait for the time at which the fleet document lets this host change: %s",
                          strerror(-r));
}

/* The last time that was certain, and since when the goal is what it is. */
static void keep_times(Converge *c, const FleetDecision *d, const FleetHost *host) {
        bool trusted = !host->clock_unsynchronized && converge_now(c) >= c->record.last_trusted_usec, write = false;
        uint64_t now = converge_now(c);
        char goal[200] = "";

        if (d->rule && d->has_goal)
                fleet_decision_content(d, goal, sizeof(goal));
        if (*goal && !streq_ptr(c->record.goal, goal)) {
                if (free_and_strdup(&c->record.goal, goal) < 0)
                        return;
                /* An uncertain time isn't written down: the splay then counts from when it is certain. */
                c->record.goal_since_usec = trusted ? now : 0;
                write = true;
        } else if (*goal && c->record.goal_since_usec == 0 && trusted) {
                c->record.goal_since_usec = now;
                write = true;
        }
        if (d->rule && trusted && now >= c->record.last_trusted_usec + TRUSTED_STEP_USEC) {
                c->record.last_trusted_usec = now;
                write = true;
        }
        if (write)
                (void) converge_record_write(c);
}

/* ---- deciding ---- */

static void refresh_repository(Converge *c);

/* A document that can't be read might have said otherwise: from the host's own directories any; from the
 * network only where no rule of the host's own has matched. */
static const FleetSource *missing_document(const Converge *c, const FleetDecision *d) {
        const FleetSource *missing = fleet_loader_missing(c->loader), *sources;
        bool network = !d->rule;
        size_t n;

        if (missing)
                return missing;
        sources = fleet_loader_sources(c->loader, &n);
        for (size_t i = 0; d->rule && i < n; i++)
                if (sources[i].document == d->rule->document)
                        network = sources[i].network;
        for (size_t i = 0; network && i < n; i++)
                if (sources[i].network && !sources[i].document)
                        return &sources[i];
        return NULL;
}

/* What keeps klpd from doing what the document says, apart from the document; NULL: nothing. */
static const char *obstacle(const Converge *c) {
        const Manager *m = c->manager;

        if (c->record_problem)
                return c->record_problem;
        if (probation_problem(m->probation))
                return probation_problem(m->probation);
        if (m->wal && wal_problem(m->wal))
                return wal_problem(m->wal);
        if (m->world.policy_problem)
                return m->world.policy_problem;
        return NULL;
}

static void act_on_change(Converge *c, const FleetDecision *d, const char *words) {
        const char *why;

        if (c->manager->config.mode == MODE_OBSERVE) {
                converge_drop_slot(c);
                converge_set_phase(c, CONVERGE_OBSERVING, words);
                return;
        }
        why = obstacle(c);
        if (why) {
                converge_drop_slot(c);
                converge_set_phase(c, CONVERGE_REFUSED, why);
                return;
        }
        converge_begin(c, d);
}

static void act(Converge *c, const FleetDecision *d, const FleetHost *host) {
        const FleetSource *missing = missing_document(c, d);
        char words[900], text[640];

        (void) fleet_decision_describe(d, host, words, sizeof(words));
        if (missing && (d->verdict == FLEET_CHANGE || d->verdict == FLEET_WAIT || d->verdict == FLEET_UNMANAGED)) {
                converge_abandon_plan(c);
                converge_drop_slot(c);
                (void) snprintf(text, sizeof(text), "Stays as it is while %s can't be used: %s", missing->path,
                                missing->problem ?: "unknown");
                converge_set_phase(c, CONVERGE_REFUSED, text);
                return;
        }
        if (converge_settle(c, d))
                return;
        switch (d->verdict) {
        case FLEET_CHANGE:
                act_on_change(c, d, words);
                return;
        case FLEET_WAIT:
                converge_set_phase(c, CONVERGE_WAITING, words);
                break;
        case FLEET_STAY:
                converge_set_phase(c, d->reason == FLEET_REASON_FAILED ? CONVERGE_FAILED : CONVERGE_IDLE, words);
                break;
        case FLEET_UNMANAGED:
        case FLEET_DONE:
        case _FLEET_VERDICT_MAX:
                converge_set_phase(c, CONVERGE_IDLE, words);
                break;
        }
        converge_abandon_plan(c);
        converge_drop_slot(c);
}

static int build_host(Converge *c, ConvergeHost *ret) {
        PolicyError error = {};
        char words[640];
        int r;

        manager_refresh(c->manager);
        if (!c->manager->inventory)
                return -EAGAIN;
        r = converge_host_build(&c->manager->world, c->manager->inventory, &c->record, &c->clock, ret, &error);
        if (r == -EBADMSG) {
                log_warning("%s", policy_error_format(&error, "/" FLEET_LABELS_PATH, words, sizeof(words)));
                r = 0;
        }
        return r;
}

static void evaluate(Converge *c) {
        ConvergeHost host = {};
        const FleetSet *set;
        FleetDecision d;
        int r;

        set = c->started && c->loaded ? fleet_loader_set(c->loader) : NULL;
        if (!set)
                return;
        r = build_host(c, &host);
        if (r < 0) {
                log_warning("Can't decide what this host shall run: %s", strerror(-r));
                return;
        }
        fleet_decide(set, &host.host, converge_now(c), &d);
        if (!c->record_problem) {
                keep_times(c, &d, &host.host);
                host.host.goal_since = c->record.goal_since_usec;
                fleet_decide(set, &host.host, converge_now(c), &d);
        }
        if (converge_note_override(c, &d)) {
                host.host.overridden = c->record.overridden;
                host.host.override_stream = FLEET_SLICE(c->record.override_stream);
                fleet_decide(set, &host.host, converge_now(c), &d);
        }
        if (!c->manager->job) {
                c->baseline_known = true;
                c->baseline_running = d.running;
                c->baseline_level = d.running ? d.running->level : 0;
        }
        set_hold(c, &d);
        converge_tell(c, &d, &host.host);
        act(c, &d, &host.host);
        arm_timer(c, &d);
        converge_fill_status(c, &d);
        manager_fleet_changed(c->manager);
        converge_host_done(&host);
        if (c->repository_changed && d.rule)
                refresh_repository(c);
}

static int on_kick(sd_event_source *source, void *userdata) {
        evaluate(userdata);
        return 0;
}

void converge_kick(Converge *c) {
        if (c && c->kick && sd_event_source_set_enabled(c->kick, SD_EVENT_ONESHOT) < 0)
                log_error("Can't decide what this host shall run");
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Converge *c = userdata;

        c->retry = sd_event_source_disable_unref(c->retry);
        converge_kick(c);
        return 0;
}

int converge_retry_at(Converge *c, uint64_t usec) {
        c->retry = sd_event_source_disable_unref(c->retry);
        return sd_event_add_time(c->manager->event, &c->retry, CLOCK_MONOTONIC, usec, 0, on_retry, c);
}

/* ---- the loader ---- */

static void on_loaded(void *userdata) {
        Converge *c = userdata;

        c->loaded = true;
        c->epoch++;
        converge_kick(c);
}

void converge_clock_set(void *userdata) {
        Converge *c = userdata;

        if (!c->started)
                return;
        fleet_loader_clock_set(c->loader);
        converge_kick(c);
}

static void on_document_problem(const FleetSource *s, const char *result, void *userdata) {
        Converge *c = userdata;
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FLEET, "fleet");

        audit_field(r, "KLPD_RESULT", result);
        audit_field(r, "KLPD_DOCUMENT", s->path);
        audit_send(c->manager->audit, r, LOG_ERR, "Fleet document %s is %s: %s", s->path,
                   streq(result, "refused") ? "refused" : "not usable", s->problem ?: "unknown");
}

static int on_serial(const char *signer, const char *name, uint64_t serial, void *userdata) {
        Converge *c = userdata;
        int r;

        if (c->record_problem)
                return -EBADMSG;
        r = fleet_record_set_serial(&c->record, signer, name, serial);
        return r < 0 ? r : converge_record_write(c);
}

static uint64_t on_last_serial(const char *signer, const char *name, void *userdata) {
        const Converge *c = userdata;

        return fleet_record_serial(&c->record, signer, name);
}

static uint64_t on_now(void *userdata) {
        return converge_now(userdata);
}

/* ---- the repository: a level that a document waits for may arrive there ---- */

static void on_repository(void *userdata) {
        Converge *c = userdata;

        c->repository_wait = repository_wait_free(c->repository_wait);
        c->epoch++;
        manager_mark_stale(c->manager);
}

static void refresh_repository(Converge *c) {
        int r;

        c->repository_changed = false;
        c->repository_wait = repository_wait_free(c->repository_wait);
        r = repository_refresh(c->manager->repository, on_repository, c, &c->repository_wait);
        if (r < 0)
                log_warning("Can't read the repository: %s", strerror(-r));
}

/* Where no document wants anything, nothing is read; the first one that does finds what has come until then. */
static void on_repository_changed(void *userdata) {
        Converge *c = userdata;

        c->repository_changed = true;
        if (c->manager->fleet_status.managed)
                refresh_repository(c);
}

static int watch_repository(Converge *c) {
        char prefix[64] = "", packages[512], imported[512];
        const char *const paths[] = { packages, imported, NULL };
        const Manager *m = c->manager;

        (void) snprintf(prefix, sizeof(prefix), "/proc/self/fd/%d/", m->root_fd);
        (void) snprintf(packages, sizeof(packages), "%s" REPOSITORY_PACKAGES "/%s", prefix, m->uts.release);
        (void) snprintf(imported, sizeof(imported), "%s" REPOSITORY_IMPORTED "/%s", prefix, m->uts.release);
        return fleet_watch_new(m->event, paths, on_repository_changed, c, &c->repository_watch);
}

/* ---- the object ---- */

int converge_new(Manager *m, Converge **ret) {
        _cleanup_(converge_freep) Converge *c = NULL;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->manager = m;
        c->clock = converge_clock_system;
        r = sd_event_add_defer(m->event, &c->kick, on_kick, c);
        if (r >= 0)
                r = sd_event_source_set_enabled(c->kick, SD_EVENT_OFF);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->kick, "converge");
        m->fleet_status = (FleetStatus) {
                .stream = "",
                .rule = "",
                .document = "",
                .verdict = fleet_verdict_to_string(FLEET_UNMANAGED),
                .reason = fleet_reason_to_string(FLEET_REASON_NO_DOCUMENT),
                .phase = converge_phase_to_string(CONVERGE_STARTING),
        };
        *ret = TAKE_PTR(c);
        return 0;
}

Converge *converge_free(Converge *c) {
        if (!c)
                return NULL;
        converge_abandon_plan(c);
        c->manager->world.fleet_held_stream = c->manager->world.fleet_hold_reason = NULL;
        fleet_loader_free(c->loader);
        fleet_watch_free(c->repository_watch);
        clock_watch_free(c->clock_watch);
        repository_wait_free(c->repository_wait);
        sd_event_source_disable_unref(c->kick);
        sd_event_source_disable_unref(c->timer);
        sd_event_source_disable_unref(c->retry);
        fleet_record_done(&c->record);
        free(c->record_problem);
        free(c->message);
        free(c->stream);
        free(c->rule);
        free(c->document);
        free(c->told);
        free(c->held);
        free(c->held_stream);
        free(c->slot);
        free(c->slot_announced);
        free(c->refused);
        strv_free(c->refused_rules);
        free(c->failure);
        free(c->by_hand);
        free(c);
        return NULL;
}

void converge_start(Converge *c) {
        int r;

        if (c->started)
                return;
        r = fleet_loader_new(&c->manager->world,
                             &(FleetLoaderHandlers) {
                                     .changed = on_loaded,
                                     .problem = on_document_problem,
                                     .serial = on_serial,
                                     .last_serial = on_last_serial,
                                     .now = on_now,
                                     .userdata = c,
                             },
                             &c->loader);
        if (r >= 0)
                r = watch_repository(c);
        if (r >= 0)
                r = clock_watch_new(c->manager->event, converge_clock_set, c, &c->clock_watch);
        if (r >= 0)
                r = fleet_loader_reload(c->loader, true);
        if (r < 0) {
                log_error("Fleet documents can't be read: %s", strerror(-r));
                return;
        }
        c->started = true;
}

void converge_reload(Converge *c) {
        int r;

        if (!c->started)
                return;
        if (c->record_problem)
                converge_read(c);
        c->epoch++;
        r = fleet_loader_reload(c->loader, true);
        if (r < 0)
                log_error("Fleet documents can't be read: %s", strerror(-r));
}

/* ---- what somebody decides ---- */

static int not_started(Failure *failure) {
        return failure_set(failure, -EAGAIN, ERROR_FAILED, "Fleet documents haven't been read yet");
}

static int check_record(const Converge *c, Failure *failure) {
        if (!c->started)
                return not_started(failure);
        return c->record_problem ? failure_set(failure, -EBADMSG, ERROR_FAILED, "%s", c->record_problem) : 0;
}

static int written(int r, Failure *failure) {
        return r < 0 ? failure_set(failure, r, ERROR_FAILED, "Can't write /%s: %s", FLEET_RECORD_PATH,
                                   strerror(-r))
                     : 0;
}

int converge_resume(Converge *c, uid_t uid, Failure *failure) {
        FleetRecord *record = &c->record;
        char text[256];
        bool overridden, failed;
        int r;

        r = check_record(c, failure);
        if (r < 0)
                return r;
        overridden = record->overridden;
        failed = fleet_record_forget_failed(record) > 0 || record->attempt.failed;
        record->overridden = false;
        record->override_stream = (free(record->override_stream), NULL);
        record->override_by = (free(record->override_by), NULL);
        record->override_usec = 0;
        if (!record->attempt.open)
                fleet_attempt_done(&record->attempt);
        else
                record->attempt.tries = 0;
        r = converge_record_write(c);
        if (r < 0)
                return written(r, failure);
        if (!record->attempt.slot)
                c->slot_granted = false;
        c->retry_usec = 0;
        c->epoch++;
        (void) snprintf(text, sizeof(text), "Given back to the fleet document by uid %u%s%s", (unsigned) uid,
                        overridden ? ": what was decided by hand no longer counts" : "",
                        failed ? "; what had failed may be tried again" : "");
        converge_audit(c, "resumed", LOG_NOTICE, NULL, text);
        converge_kick(c);
        return 0;
}

int converge_reset_serial(Converge *c, const char *name, uid_t uid, Failure *failure) {
        char text[400];
        int r;

        r = check_record(c, failure);
        if (r < 0)
                return r;
        if (fleet_record_forget_serial(&c->record, name) == 0)
                return failure_set(failure, -ENOENT, ERROR_FAILED, "No serial of a document '%s' is known", name);
        r = converge_record_write(c);
        if (r < 0)
                return written(r, failure);
        (void) snprintf(text, sizeof(text), "The serial of fleet document '%s' was reset by uid %u", name,
                        (unsigned) uid);
        converge_audit(c, "serial-reset", LOG_WARNING, NULL, text);
        r = fleet_loader_reload(c->loader, true);
        return r < 0 ? failure_set(failure, r, ERROR_FAILED, "Can't read the documents again: %s", strerror(-r)) : 0;
}
