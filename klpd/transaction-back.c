/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way back from a change that has completed: its health check failed, somebody cancelled then, or what
 * runs was rejected. It is a change like any other, with a plan of its own: disabling the patch if it had
 * replaced nothing, otherwise enabling what it had replaced, in one atomic step. So the same job begins once
 * more at `verify`, with another request; t->back says what for. Where no single change leads back, or a rule
 * refuses it (a state with `block_disable`), nothing is done, and the job fails saying so: somebody has to see
 * to it.
 *
 * In the log: "back-reason" alone means that going back is decided; with "back-origin" the record is that of
 * the change that does it (recovery_decide()).
 */
#include <stdarg.h>
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/transaction.h"

/* What is known of a patch without reading its file again; NULL: nothing. */
static Patch *known_patch(Transaction *t, const ShimSnapshot *snapshot, const char *name) {
        const RepositoryEntry *entry =
                        t->world->repository ? repository_find(t->world->repository, name) : NULL;
        const ShimPatch *registered = shim_snapshot_find(snapshot, name);

        if (entry && !entry->problem)
                return entry->patch;
        return registered ? registered->patch : NULL;
}

/* The one change that leads back. Negative: there is none, text says why. */
static int choose(Transaction *t, RequestKind *ret_kind, const char **ret_patch, char *text, size_t size) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        Hands *hands = t->world->hands;
        const Patch *now, *before;

        if (!t->replaced) {
                *ret_kind = REQUEST_DISABLE;
                *ret_patch = t->name;
                return 0;
        }
        if (t->replaced[1]) {
                (void) snprintf(text, size,
                                "it replaced %zu patches ('%s', '%s'%s), and no single change brings "
                                "them back",
                                strv_length(t->replaced), t->replaced[0], t->replaced[1],
                                t->replaced[2] ? ", ..." : "");
                return -EOPNOTSUPP;
        }
        (void) hands->vtable->read_snapshot(hands, &snapshot);
        now = t->candidate.patch ?: known_patch(t, snapshot, t->name);
        before = known_patch(t, snapshot, t->replaced[0]);
        if (!before) {
                (void) snprintf(text, size,
                                "'%s', which it replaced, is neither in the repository nor loaded",
                                t->replaced[0]);
                return -ENOENT;
        }
        if (!before->cumulative) {
                (void) snprintf(text, size,
                                "'%s', which it replaced, isn't cumulative: no single change brings it "
                                "back",
                                t->replaced[0]);
                return -EOPNOTSUPP;
        }
        *ret_kind = now && patch_same_stream(now, before) && before->level <= now->level ? REQUEST_DOWNGRADE :
                                                                                          REQUEST_APPLY;
        *ret_patch = t->replaced[0];
        return 0;
}

static int back_spec(const Transaction *t, RequestKind kind, const char *patch, JobSpec **ret) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        int r;

        r = job_spec_new(kind, &spec);
        if (r < 0)
                return r;
        spec->patch = strdup(patch);
        spec->reason = t->spec->reason ? strdup(t->spec->reason) : NULL;
        if (!spec->patch || (t->spec->reason && !spec->reason))
                return -ENOMEM;
        spec->uid = t->spec->uid;
        spec->interactive = false;
        /* What was granted for the way there, and no more. */
        spec->accept_irreversible = t->spec->accept_irreversible;
        spec->replace_foreign = t->spec->replace_foreign;
        r = strv_copy(t->spec->allow_vendor, &spec->allow_vendor);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(spec);
        return 0;
}

/* As if nothing had happened yet, but for who asks and what for. Takes name over. */
static void forget_change(Transaction *t, char *name, bool disable) {
        t->preparation = preparation_free(t->preparation);
        candidate_done(&t->candidate);
        t->candidate = (Candidate) { .module_fd = -EBADF };
        plan_free(t->plan);
        t->plan = NULL;
        free(t->plan_json);
        t->plan_json = NULL;
        free(t->name);
        t->name = name;
        free(t->digest);
        free(t->forced);
        t->digest = t->forced = NULL;
        t->replaced = strv_free(t->replaced);
        t->collectable = strv_free(t->collectable);
        t->disable = disable;
        t->plain = t->loads = t->loaded = t->loaded_unsaid = false;
        t->generation = 0;
        t->n_replans = t->n_again = t->n_stalled = 0;
        t->phase = SETTLE_FORWARD;
        t->reversal = TRANSACTION_DONE;
        t->written = t->ended = t->lost_race = t->completed = t->write_reversal = t->cancel_requested =
                        false;
        t->transition_start_usec = t->transition_end_usec = 0;
}

void transaction_back_begin(Transaction *t) {
        RequestKind kind = _REQUEST_KIND_INVALID;
        const char *patch = NULL;
        char text[512] = "";
        char *name = NULL, *origin = NULL;
        JobSpec *spec = NULL;
        int r;

        r = choose(t, &kind, &patch, text, sizeof(text));
        if (r >= 0)
                r = back_spec(t, kind, patch, &spec);
        if (r >= 0) {
                name = strdup(patch);
                origin = strdup(t->name);
                r = name && origin ? 0 : -ENOMEM;
        }
        if (r < 0) {
                job_spec_free(spec);
                free(name);
                free(origin);
                transaction_leave(t, r, "%s; '%s' stays enabled: %s", t->back.reason, t->name,
                                  *text ? text : strerror(-r));
                return;
        }
        log_notice("Taking '%s' back: %s", origin, t->back.reason);
        t->back.origin = origin;
        forget_change(t, name, kind == REQUEST_DISABLE);
        job_spec_free(t->spec);
        t->spec = spec;
        transaction_repeat(t, &step_verify);
}

void transaction_back_again(Transaction *t) {
        forget_change(t, TAKE_PTR(t->name), t->spec->kind == REQUEST_DISABLE);
        transaction_repeat(t, &step_verify);
}

void transaction_go_back(Transaction *t, TransactionResult result, const char *format, ...) {
        char text[1024];
        va_list ap;

        if (t->finished || t->undoing || t->back.reason)
                return;
        va_start(ap, format);
        (void) vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        t->back.reason = strdup(text);
        t->back.result = result;
        if (!t->back.reason) {
                transaction_leave(t, -ENOMEM, "%s; '%s' stays enabled", text, t->name);
                return;
        }
        transaction_record_anyway(t);
        if (t->handlers.condemned)
                t->handlers.condemned(t, t->handlers.userdata);
        transaction_back_begin(t);
}

/* How that ended is told as one sentence, with what was at the beginning of it. */
void transaction_back_ended(Transaction *t) {
        char text[4096];

        if (!t->back.origin || t->leave_open)
                return;
        if (t->result == TRANSACTION_DONE || t->result == TRANSACTION_NOTHING_TO_DO) {
                (void) snprintf(text, sizeof(text), "%s; '%s' was taken back: %s%s%s", t->back.reason,
                                t->back.origin, t->disable ? "it is disabled" : "'",
                                t->disable ? "" : t->name, t->disable ? "" : "' runs again");
                t->result = t->back.result;
                if (t->result == TRANSACTION_DONE) {
                        free(t->failure.message);
                        t->failure.message = strdup(text);
                        return;
                }
                (void) failure_set(&t->failure, -ECANCELED, ERROR_FAILED, "%s", text);
                return;
        }
        (void) snprintf(text, sizeof(text), "%s; and '%s' can't be taken back, it stays enabled: %s",
                        t->back.reason, t->back.origin, failure_message(&t->failure));
        t->result = TRANSACTION_FAILED;
        (void) failure_set(&t->failure, t->failure.error < 0 ? t->failure.error : -EIO, ERROR_FAILED, "%s",
                           text);
}

int transaction_new_back(const World *world, const TransactionHandlers *handlers, JobSpec *spec, uint32_t id,
                         char *const *replaced, const char *digest, Transaction **ret) {
        _cleanup_(transaction_unrefp) Transaction *t = NULL;
        int r;

        r = transaction_new(world, handlers, spec, id, &t);
        if (r < 0)
                return r;
        (void) transaction_find_step(step_health.name, &t->step);
        t->name = strdup(spec->patch);
        t->digest = digest ? strdup(digest) : NULL;
        t->back.reason = strdup(spec->reason ?: "Rejected");
        t->back.result = TRANSACTION_DONE;
        if (!t->name || !t->back.reason || (digest && !t->digest))
                return -ENOMEM;
        r = strv_copy(replaced, &t->replaced);
        if (r >= 0)
                r = transaction_record_again(t);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}
