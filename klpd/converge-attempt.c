/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From "change, now" to what came of it: the slot, the plan, one job, and the record of it, which is on disk
 * before the job begins. See converge.h. An attempt is about one pair of document and content; it is open
 * from its first job until its probation is over, and keeps its slot as long, and longer if it failed.
 */
#include <stdio.h>
#include <syslog.h>
#include <systemd/sd-id128.h>

#include "klpd/converge.h"
#include "klpd/log.h"
#include "klpd/manager.h"
#include "policy/fleet-plan.h"

#define REFUSED_FIRST_USEC (UINT64_C(60) * 1000000)
#define REFUSED_LAST_USEC (UINT64_C(3600) * 1000000)
#define RETRY_LAST_USEC (UINT64_C(86400) * 1000000)
/* Jobs for one goal that go well without leading to it: disables one by one, an intermediate. */
#define PROGRESS_MAX 64U

/* ---- the slot ---- */

const char *slot_state_to_string(SlotState state) {
        static const char *const names[_SLOT_STATE_MAX] = {
                [SLOT_NONE] = "none",
                [SLOT_WANTED] = "wanted",
                [SLOT_HELD] = "held",
                [SLOT_FAILED] = "failed",
        };

        return names[state];
}

const char *converge_slot_wanted(const Converge *c) {
        return c->record.attempt.slot ?: c->slot ?: "";
}

SlotState converge_slot_state(const Converge *c) {
        const FleetAttempt *a = &c->record.attempt;

        if (a->slot)
                return a->open ? SLOT_HELD : SLOT_FAILED;
        return c->slot ? SLOT_WANTED : SLOT_NONE;
}

void converge_drop_slot(Converge *c) {
        c->slot = (free(c->slot), NULL);
        if (!c->record.attempt.slot)
                c->slot_granted = false;
}

int converge_grant(Converge *c, const char *token) {
        const char *wanted = converge_slot_wanted(c);

        if (!*wanted || !streq(wanted, token))
                return -ENOENT;
        c->slot_granted = true;
        converge_kick(c);
        return 0;
}

/* Whether it is there. */
static bool slot_ready(Converge *c, const FleetDecision *d) {
        char text[SD_ID128_STRING_MAX];
        sd_id128_t id;

        if ((!c->manager->config.fleet_slot && !d->rule->slot) || (c->slot_granted && *converge_slot_wanted(c)))
                return true;
        if (!*converge_slot_wanted(c)) {
                if (sd_id128_randomize(&id) < 0)
                        return false;
                c->slot = strdup(sd_id128_to_string(id, text));
                c->slot_granted = false; /* what was granted was for another one */
        }
        return false;
}

/* ---- the record of the attempt ---- */

static bool pair_is(const FleetAttempt *a, const FleetDecision *d) {
        char content[200];

        return a->document && d->rule && streq(a->document, d->rule->document->digest) &&
               streq(a->content, fleet_decision_content(d, content, sizeof(content)));
}

/* One more try, on disk. The slot that was granted goes into it, or stays in it. */
static int attempt_begin(Converge *c, uint32_t job) {
        FleetAttempt *a = &c->record.attempt;
        bool same = streq_ptr(a->document, c->goal_document) && streq_ptr(a->content, c->goal_content) &&
                    streq_ptr(a->boot_id, c->manager->world.boot_id);
        int r;

        r = free_and_strdup(&a->document, c->goal_document);
        if (r >= 0)
                r = free_and_strdup(&a->content, c->goal_content);
        if (r >= 0)
                r = free_and_strdup(&a->boot_id, c->manager->world.boot_id);
        if (r < 0)
                return r;
        if (!a->slot)
                a->slot = TAKE_PTR(c->slot);
        a->tries = same ? a->tries + 1 : 1;
        a->job = job;
        a->open = true;
        return converge_record_write(c);
}

/* It wasn't one after all. */
static void attempt_refund(Converge *c) {
        FleetAttempt *a = &c->record.attempt;

        if (a->tries > 0)
                a->tries--;
        (void) converge_record_write(c);
}

/* Over; the number of tries of the pair stays, in case that somebody takes back what was reached. */
static void attempt_close(Converge *c, bool keep_slot) {
        FleetAttempt *a = &c->record.attempt;

        a->open = false;
        if (!keep_slot) {
                a->slot = (free(a->slot), NULL);
                a->failed = false;
                c->slot_granted = false;
        }
        (void) converge_record_write(c);
}

static void attempt_fail(Converge *c, const FleetDecision *d, const char *reason) {
        FleetAttempt *a = &c->record.attempt;
        char text[1400];
        int r;

        r = fleet_record_add_failed(&c->record, a->document, a->content, reason, converge_now(c));
        if (r < 0)
                log_error("Can't note that the fleet document's goal has failed: %s", strerror(-r));
        a->failed = true;
        attempt_close(c, true);
        (void) snprintf(text, sizeof(text),
                        "The fleet document's goal %s has failed on this host, and isn't tried again until the "
                        "document changes or 'klpctl fleet resume': %s",
                        a->content, reason);
        converge_audit(c, "failed", LOG_ERR, d, text);
        c->failure = (free(c->failure), NULL);
        c->cancelled = false;
        converge_kick(c);
}

/* ---- what became of it ---- */

static bool on_trial(const Converge *c, const FleetDecision *d) {
        const Manager *m = c->manager;

        for (size_t i = 0; i < m->inventory->n_patches; i++) {
                const Patch *p = m->inventory->patches[i];

                if (p->kind == PATCH_FOREIGN || p->orphan ||
                    (d->rule && (!streq(p->vendor, d->rule->vendor) || !streq(p->stream, d->rule->stream))))
                        continue;
                if (streq(probation_standing(m->probation, p), "trial"))
                        return true;
        }
        return false;
}

/* The content that the attempt was about: by its digest, or by the level in the repository. */
static bool in_quarantine(const Converge *c) {
        const char *content = c->record.attempt.content;
        char *const *quarantine = probation_quarantined(c->manager->probation);
        Patch *const *patches;
        char name[200];
        size_t n;

        if (strv_contains(quarantine, content))
                return true;
        patches = repository_patches(c->manager->repository, &n);
        for (size_t i = 0; i < n; i++) {
                (void) snprintf(name, sizeof(name), "%s/%s=%" PRIu32, patches[i]->vendor, patches[i]->stream,
                                patches[i]->level);
                if (streq(name, content) && patches[i]->digest && strv_contains(quarantine, patches[i]->digest))
                        return true;
        }
        return false;
}

static void succeed(Converge *c, const FleetDecision *d) {
        const FleetAttempt *a = &c->record.attempt;
        bool keep = false;
        char text[300];

        /* What failed before by the same document still stops the roll. */
        for (size_t i = 0; a->failed && i < c->record.n_failed; i++)
                keep = keep || streq(c->record.failed[i].document, a->document);
        c->record.last_success_usec = converge_now(c);
        attempt_close(c, keep);
        c->failure = (free(c->failure), NULL);
        c->n_progress = 0;
        if (d->goal_none)
                (void) snprintf(text, sizeof(text), "Nothing of %s/%s runs, as fleet rule %s wants it",
                                d->rule->vendor, d->rule->stream, d->rule->name);
        else
                (void) snprintf(text, sizeof(text), "%s/%s is at level %" PRIu32 ", as fleet rule %s wants it",
                                d->rule->vendor, d->rule->stream, d->goal, d->rule->name);
        converge_audit(c, "converged", LOG_NOTICE, d, text);
}

static bool follow_job(Converge *c) {
        const Manager *m = c->manager;
        char text[200];

        if (!m->job)
                return false;
        if (c->job == m->job->id) {
                (void) snprintf(text, sizeof(text), "Job %u is under way: %s of '%s'", c->job,
                                request_kind_to_string(m->job->transaction->spec->kind),
                                transaction_patch_name(m->job->transaction));
                converge_set_phase(c, CONVERGE_CHANGING, text);
        } /* else: somebody else's; decided again when it is over */
        return true;
}

bool converge_settle(Converge *c, const FleetDecision *d) {
        const FleetAttempt *a = &c->record.attempt;
        bool same = pair_is(a, d), progress, trial;

        if (follow_job(c))
                return true;
        progress = TAKE_GENERIC(c->progress, false);
        if (!a->open || c->record_problem)
                return false;
        trial = on_trial(c, d);
        if (same && d->verdict == FLEET_DONE) {
                if (!trial) {
                        succeed(c, d);
                        return false;
                }
                converge_set_phase(c, CONVERGE_PROBATION, "There; its probation isn't over yet");
                return true;
        }
        if (in_quarantine(c)) {
                attempt_fail(c, d, c->failure ?: "the content went into quarantine");
                return true;
        }
        if (same && c->cancelled) {
                attempt_fail(c, d, "somebody has cancelled it");
                return true;
        }
        if (!same || (d->verdict != FLEET_CHANGE && d->verdict != FLEET_WAIT)) {
                /* Another goal, or something stands above this one now. */
                if (!trial && (same || d->verdict != FLEET_CHANGE))
                        attempt_close(c, a->failed);
                return false;
        }
        if (progress && c->n_progress++ < PROGRESS_MAX)
                attempt_refund(c);
        if (a->tries >= c->manager->config.fleet_tries) {
                attempt_fail(c, d, c->failure ?: "what was reached didn't last");
                return true;
        }
        return false;
}

/* ---- refusals ---- */

static void refuse(Converge *c, const FleetDecision *d, const char *why) {
        bool same = streq_ptr(c->refused, why) && c->refused_epoch == c->epoch;
        uint64_t wait = REFUSED_FIRST_USEC;
        char text[1400];

        c->n_refused = same ? c->n_refused + 1 : 1;
        for (unsigned i = 1; i < c->n_refused && wait < REFUSED_LAST_USEC; i++)
                wait *= 2;
        c->refused_epoch = c->epoch;
        c->refused_generation = c->manager->status.generation;
        c->refused_until_usec = now_usec(CLOCK_MONOTONIC) + wait;
        if (!streq_ptr(c->refused, why)) {
                (void) snprintf(text, sizeof(text), "The fleet document's goal %s isn't brought about: %s",
                                c->goal_content ?: "", why);
                (void) free_and_strdup(&c->refused, why);
                converge_audit(c, "policy", LOG_WARNING, d, text);
        }
        (void) converge_retry_at(c, c->refused_until_usec);
        converge_kick(c);
}

/* The sentences of all rules that refuse, and their names. */
static char *plan_refusal(Converge *c, const Plan *plan) {
        char *text = NULL;
        size_t size;
        FILE *f;

        c->refused_rules = strv_free(c->refused_rules);
        f = open_memstream(&text, &size);
        if (!f)
                return NULL;
        for (size_t i = 0; i < plan->n_violations; i++) {
                const Violation *v = &plan->violations[i];

                if (v->mode != RULE_ENFORCE)
                        continue;
                fprintf(f, "%s%s: %s", ftell(f) > 0 ? "; " : "", rule_to_string(v->rule), v->message ?: "");
                if (!strv_contains(c->refused_rules, rule_to_string(v->rule)))
                        (void) strv_extend(&c->refused_rules, rule_to_string(v->rule));
        }
        fclose(f);
        return text;
}

static void refuse_plan(Converge *c, const Plan *plan) {
        _cleanup_free_ char *text = plan ? plan_refusal(c, plan) : NULL;

        refuse(c, NULL, text && *text ? text : "the policy refuses it");
}

static bool still_refused(Converge *c) {
        if (!c->refused)
                return false;
        if (c->refused_epoch == c->epoch && c->refused_generation == c->manager->status.generation &&
            now_usec(CLOCK_MONOTONIC) < c->refused_until_usec)
                return true;
        return false;
}

/* ---- plan and job ---- */

void converge_abandon_plan(Converge *c) {
        c->preparation = preparation_free(c->preparation);
        c->spec = job_spec_free(c->spec);
        c->goal_document = (free(c->goal_document), NULL);
        c->goal_content = (free(c->goal_content), NULL);
}

/* Up or down, as level-order will see it. */
static RequestKind direction(const Converge *c, const Patch *p) {
        uint32_t level;

        return inventory_level(c->manager->inventory, p->vendor, p->stream, &level) && p->level < level
                               ? REQUEST_DOWNGRADE
                               : REQUEST_APPLY;
}

/* What the planned one becomes: without a level and without a choice, so that it is what was planned. */
static int make_job_spec(Converge *c, const Plan *plan, JobSpec **ret) {
        _cleanup_(job_spec_freep) JobSpec *spec = TAKE_PTR(c->spec);
        const Patch *p = plan->intermediate ?: plan->candidate;

        spec->has_level = false;
        if (spec->kind != REQUEST_DISABLE) {
                if (!p)
                        return -EINVAL;
                spec->kind = direction(c, p);
                if (free_and_strdup(&spec->patch, p->name) < 0)
                        return -ENOMEM;
        }
        if (plan->intermediate) {
                spec->digest = (free(spec->digest), NULL);
                spec->digest_by = (free(spec->digest_by), NULL);
        }
        spec->intermediates = strv_free(spec->intermediates);
        *ret = TAKE_PTR(spec);
        return 0;
}

static void start_job(Converge *c, const Plan *plan) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Manager *m = c->manager;
        JobSpec *spec = NULL;
        Job *job;
        int r;

        r = m->job ? -EBUSY : make_job_spec(c, plan, &spec);
        if (r >= 0)
                r = attempt_begin(c, m->last_job_id + 1 ?: 1);
        if (r >= 0) {
                r = manager_start_job(m, TAKE_PTR(spec), &job, &error);
                if (r < 0)
                        attempt_refund(c);
        }
        job_spec_free(spec);
        if (r == -EBUSY) /* decided again when that one is over */
                ;
        else if (r < 0)
                refuse(c, NULL, error.message ?: strerror(-r));
        else {
                c->refused = (free(c->refused), NULL);
                c->job = job->id;
                manager_announce_job(m, job);
        }
        sd_bus_error_free(&error);
}

static void on_prepared(int r, Candidate *candidate, Plan **plan, Inventory **inventory,
                        const Failure *failure, void *userdata) {
        Converge *c = userdata;

        if (r < 0)
                refuse(c, NULL, failure_message(failure));
        else if ((*plan)->verdict == VERDICT_ALLOW)
                start_job(c, *plan);
        else if ((*plan)->verdict == VERDICT_REFUSE) {
                manager_count_refusal(c->manager, *plan);
                refuse_plan(c, *plan);
        } else
                refuse(c, NULL, "the plan says that there is nothing to do");
        converge_abandon_plan(c);
        converge_kick(c);
}

/* What fleet_decision_request() says, as a job's. */
static int make_plan_spec(const FleetDecision *d, JobSpec **ret) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        char reason[JOB_REASON_MAX + 1];
        FleetRequest request;
        FileFacts file;
        int r;

        r = fleet_decision_request(d, &request);
        if (r >= 0)
                r = job_spec_new(request.request.kind, &spec);
        if (r < 0)
                return r;
        fleet_decision_file(d, &file);
        spec->uid = 0;
        spec->interactive = false;
        spec->accept_irreversible = request.request.accept_irreversible;
        spec->has_level = request.request.has_level;
        spec->level = request.request.level;
        (void) snprintf(reason, sizeof(reason), "fleet rule %.100s of %.120s", d->rule->name,
                        d->rule->document->source);
        r = free_and_strdup(&spec->reason, reason);
        if (r >= 0)
                r = free_and_strdup(&spec->patch, request.request.patch);
        if (r >= 0)
                r = free_and_strdup(&spec->vendor, request.request.vendor);
        if (r >= 0)
                r = free_and_strdup(&spec->stream, request.request.stream);
        if (r >= 0)
                r = free_and_strdup(&spec->digest, file.pinned_digest);
        if (r >= 0)
                r = free_and_strdup(&spec->digest_by, file.pinned_by);
        if (r >= 0 && request.request.intermediates)
                r = strv_copy(request.request.intermediates, &spec->intermediates);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(spec);
        return 0;
}

static int plan_goal(Converge *c, const FleetDecision *d) {
        char content[200];
        int r;

        converge_abandon_plan(c);
        r = make_plan_spec(d, &c->spec);
        if (r >= 0)
                r = free_and_strdup(&c->goal_document, d->rule->document->digest);
        if (r >= 0)
                r = free_and_strdup(&c->goal_content, fleet_decision_content(d, content, sizeof(content)));
        if (r >= 0)
                r = prepare(&c->manager->world, c->spec, on_prepared, c, &c->preparation);
        if (r < 0)
                converge_abandon_plan(c);
        return r;
}

static bool plans_already(const Converge *c, const FleetDecision *d) {
        char content[200];

        return c->preparation && streq_ptr(c->goal_document, d->rule->document->digest) &&
               streq_ptr(c->goal_content, fleet_decision_content(d, content, sizeof(content)));
}

void converge_begin(Converge *c, const FleetDecision *d) {
        const FleetAttempt *a = &c->record.attempt;
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        char text[700];
        int r;

        if (plans_already(c, d))
                return;
        if (c->manager->job || c->manager->stopping)
                return;
        if (pair_is(a, d) && streq_ptr(a->boot_id, c->manager->world.boot_id)) {
                if (a->tries >= c->manager->config.fleet_tries) {
                        attempt_fail(c, d, "what was reached didn't last");
                        return;
                }
                if (now < c->retry_usec) {
                        (void) snprintf(text, sizeof(text), "Try %u of %u failed, the next follows: %s", a->tries,
                                        c->manager->config.fleet_tries, c->failure ?: "unknown");
                        converge_set_phase(c, CONVERGE_RETRYING, text);
                        return;
                }
        }
        if (still_refused(c)) {
                converge_set_phase(c, CONVERGE_REFUSED, c->refused);
                return;
        }
        if (!slot_ready(c, d)) {
                converge_set_phase(c, CONVERGE_SLOT, "Waits for klp-fleet to say that it is this host's turn");
                return;
        }
        r = plan_goal(c, d);
        if (r < 0)
                refuse(c, d, strerror(-r));
        else
                converge_set_phase(c, CONVERGE_PLANNING, "Plans the change");
}

/* ---- jobs that are over ---- */

static void note_failure(Converge *c, const Transaction *t) {
        const FleetAttempt *a = &c->record.attempt;
        uint64_t wait = c->manager->config.fleet_retry_usec;
        char text[1200];
        int r;

        for (unsigned i = 1; i < a->tries && wait < RETRY_LAST_USEC; i++)
                wait *= 2;
        (void) free_and_strdup(&c->failure, *failure_message(&t->failure) ? failure_message(&t->failure)
                                                                    : transaction_result_to_string(t->result));
        c->retry_usec = now_usec(CLOCK_MONOTONIC) + wait;
        r = converge_retry_at(c, c->retry_usec);
        if (r < 0)
                log_error("Can't wait for the next try: %s", strerror(-r));
        if (a->tries >= c->manager->config.fleet_tries)
                return;
        (void) snprintf(text, sizeof(text), "Try %u of %u for the fleet document's goal %s: %s", a->tries,
                        c->manager->config.fleet_tries, a->content ?: "", c->failure ?: "unknown");
        converge_audit(c, "retry", LOG_WARNING, NULL, text);
}

static void our_job_finished(Converge *c, const Transaction *t) {
        c->job = 0;
        switch (t->result) {
        case TRANSACTION_DONE:
        case TRANSACTION_NOTHING_TO_DO:
                c->progress = true;
                c->failure = (free(c->failure), NULL);
                return;
        case TRANSACTION_REFUSED:
                attempt_refund(c);
                refuse_plan(c, t->plan);
                return;
        case TRANSACTION_CANCELLED:
                c->cancelled = !c->manager->stopping;
                if (c->manager->stopping)
                        attempt_refund(c);
                return;
        case TRANSACTION_FAILED:
        case TRANSACTION_REVERSED:
        case _TRANSACTION_RESULT_MAX:
                note_failure(c, t);
                return;
        }
}

void converge_job_finished(Converge *c, const Transaction *t) {
        const FleetAttempt *a = &c->record.attempt;
        char text[400];

        c->epoch++;
        if (c->job == t->id || (t->recovered && a->open && a->job == t->id))
                our_job_finished(c, t);
        else if ((t->spec->by_hand || t->recovered) && t->result == TRANSACTION_DONE) {
                (void) snprintf(text, sizeof(text), "%s of '%s' by uid %u%s%.200s",
                                request_kind_to_string(t->spec->kind), transaction_patch_name(t),
                                (unsigned) t->spec->uid, t->spec->reason ? ": " : "", t->spec->reason ?: "");
                (void) free_and_strdup(&c->by_hand, text);
        }
        converge_kick(c);
}

/* ---- decided by hand ---- */

bool converge_note_override(Converge *c, const FleetDecision *d) {
        _cleanup_free_ char *by = TAKE_PTR(c->by_hand);
        FleetRecord *record = &c->record;
        char stream[256], text[700];
        bool moved;

        if (!by || c->record_problem || !d->rule)
                return false;
        moved = !c->baseline_known || c->baseline_running != (d->running != NULL) ||
                (d->running && c->baseline_level != d->running->level);
        if (!moved || d->action == FLEET_ACTION_NONE)
                return false; /* nothing of the rule's stream, or just what the document wants */
        (void) snprintf(stream, sizeof(stream), "%s/%s", d->rule->vendor, d->rule->stream);
        if (free_and_strdup(&record->override_stream, stream) < 0 || free_and_strdup(&record->override_by, by) < 0)
                return false;
        record->overridden = true;
        record->override_usec = converge_now(c);
        if (converge_record_write(c) < 0)
                return false;
        (void) snprintf(text, sizeof(text),
                        "Decided by hand (%s): the fleet document no longer counts for %s until 'klpctl fleet "
                        "resume'",
                        by, stream);
        converge_audit(c, "override", LOG_WARNING, d, text);
        return true;
}
