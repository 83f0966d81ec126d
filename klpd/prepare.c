/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See prepare.h. One Preparation goes through at most four waits: a defer (so that the callback never comes
 * from within prepare()), the refresh of the repository, the inspection of one memfd, the check of its signature.
 * It owns each of them, so that freeing it at any time ends everything.
 */
#include <fcntl.h>
#include <unistd.h>

#include "klpd/manifest.h"
#include "klpd/patch-signature.h"
#include "klpd/prepare.h"
#include "klpd/probation.h"
#include "klpd/state-file.h"

struct Preparation {
        const World *world;
        const JobSpec *spec;
        PrepareCallback callback;
        void *userdata;
        sd_event_source *defer;
        RepositoryWait *wait;
        HandsInspection *inspection;
        PatchSignature *signature;
        char *manifest, *signature_path, *manifest_signature_path; /* beside the module, or NULL */
        Candidate candidate;
        Inventory *inventory; /* on which the patch was chosen, and on which its plan is then made; or NULL */
        Patch **choice; /* what request_resolve() chooses from: the repository and what is registered */
        size_t n_choice, n_own;
};

void candidate_done(Candidate *c) {
        patch_unref(c->patch);
        if (c->module_fd >= 0)
                close(c->module_fd);
        free(c->path);
        free(c->writable);
        free(c->recorded);
        free(c->signature_problem);
        *c = (Candidate) { .module_fd = -EBADF };
}

static const char *plan_error_name(int r) {
        switch (r) {
        case -ENOENT:
                return ERROR_NO_SUCH_PATCH;
        case -EINVAL:
        case -ENOTUNIQ:
                return ERROR_INVALID_ARGS;
        default:
                return ERROR_FAILED;
        }
}

static int plan_failure(Failure *failure, int r, const PolicyError *error) {
        return failure_set(failure, r, plan_error_name(r), "%s",
                           error->message[0] ? error->message : strerror(-r));
}

/* What doesn't concern the request's patch, but whether this host can be changed at all. */
static int require_livepatch(bool livepatch, Failure *failure) {
        if (livepatch)
                return 0;
        return failure_set(failure, -EOPNOTSUPP, ERROR_UNSUPPORTED,
                           "This kernel has no livepatch support (/sys/kernel/livepatch is missing)");
}

static int world_read_host(const World *w, HostFacts *ret, Failure *failure) {
        int r;

        r = w->hands->vtable->read_host_facts(w->hands, ret);
        if (r < 0)
                return failure_set(failure, r, ERROR_FAILED, "Can't read the state of the host: %s",
                                   strerror(-r));
        return require_livepatch(ret->livepatch, failure);
}

int world_plan(const World *w, const JobSpec *spec, const Candidate *c, Inventory *known, Plan **ret,
               Inventory **ret_inventory, Failure *failure) {
        _cleanup_inventory_free_ Inventory *inventory = known;
        _cleanup_plan_free_ Plan *plan = NULL;
        PolicyError error = {};
        HostFacts host;
        FileFacts file = {
                .path = c->path,
                .writable_path = c->writable,
                .pinned_digest = spec->digest ?: c->recorded,
                .pinned_by = spec->digest ? spec->digest_by ?: "what was accepted or on trial"
                                          : "the record of its import",
                .signature = c->signature,
                .signature_problem = c->signature_problem,
                .module_signature = c->module_signature,
        };
        char *const held[] = { (char *) w->fleet_held_stream, NULL };
        PlanInput input = { .policy = w->policy, .host = &host, .file = &file };
        Request request;
        int r;

        /* Of what is only registered there is no file; that nobody has signed it is still known. */
        if (c->module_fd < 0 && !(w->policy ?: policy_default())->require_signature)
                input.file = NULL;
        if (w->policy_problem)
                return failure_set(failure, -EBADMSG, ERROR_FAILED,
                                   "Nothing is decided while the policy is broken: %s", w->policy_problem);
        r = world_read_host(w, &host, failure);
        if (r < 0)
                return r;
        if (!inventory) {
                r = w->hands->vtable->read_inventory(w->hands, &inventory);
                if (r < 0)
                        return failure_set(failure, r, ERROR_FAILED,
                                           "Can't read from the kernel what runs: %s", strerror(-r));
        }

        if (w->probation)
                host.quarantine = probation_quarantined(w->probation);
        if (w->fleet_held_stream) {
                host.held_streams = held;
                host.hold_reason = w->fleet_hold_reason;
        }
        job_spec_to_request(spec, c->patch, &request);
        input.inventory = inventory;
        input.request = &request;
        input.repository = repository_patches(w->repository, &input.n_repository);
        r = plan_build(&input, &plan, &error);
        if (r < 0)
                return plan_failure(failure, r, &error);

        *ret = TAKE_PTR(plan);
        if (ret_inventory)
                *ret_inventory = TAKE_PTR(inventory);
        return 0;
}

static void preparation_answer(Preparation *p, int r, Plan **plan, Inventory **inventory,
                               const Failure *failure) {
        p->callback(r, &p->candidate, plan, inventory, failure, p->userdata);
}

static void preparation_fail(Preparation *p, Failure *failure) {
        Inventory *inventory = NULL;
        Plan *plan = NULL;

        preparation_answer(p, failure->error < 0 ? failure->error : -EIO, &plan, &inventory, failure);
        failure_done(failure);
}

static void preparation_plan(Preparation *p) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        _cleanup_plan_free_ Plan *plan = NULL;
        Failure failure = {};

        if (world_plan(p->world, p->spec, &p->candidate, TAKE_PTR(p->inventory), &plan, &inventory, &failure) < 0) {
                preparation_fail(p, &failure);
                return;
        }
        preparation_answer(p, 0, &plan, &inventory, &failure);
}

/* ---- its signature ---- */

/* What can't be checked isn't good: the rule says so, with the reason. */
static void preparation_take_verdict(Preparation *p, int error, const char *text, const SignatureVerdict *v) {
        Candidate *c = &p->candidate;

        c->signature = error < 0 ? SIGNATURE_UNKNOWN : v->status;
        free(c->signature_problem);
        c->signature_problem = error < 0             ? strdup(*text ? text : strerror(-error))
                               : v->reason[0] != 0 ? strdup(v->reason)
                                                     : NULL;
}

static void on_signature_checked(int error, const char *text, const SignatureVerdict *v, void *userdata) {
        Preparation *p = userdata;

        preparation_take_verdict(p, error, text, v);
        p->inventory = inventory_free(p->inventory);
        preparation_plan(p);
}

/* manifest: its text, or NULL. True if it has been started, and the plan comes later. */
static bool preparation_check_signature(Preparation *p, const char *manifest) {
        const World *w = p->world;
        PatchSignatureSpec spec = {
                .content_fd = p->candidate.module_fd,
                .signature = p->signature_path,
                .manifest = manifest,
                .manifest_signature = p->manifest_signature_path,
        };
        int r;

        if (!(w->policy ?: policy_default())->require_signature)
                return false;
        r = patch_signature_new(w->hands, w->root_fd, &spec, on_signature_checked, p, &p->signature);
        if (r < 0)
                preparation_take_verdict(p, r, "", NULL);
        return r >= 0;
}

/* ---- inspecting the one file ---- */

/* *ret_manifest: the text that was merged, or NULL. */
static int preparation_merge(Preparation *p, Patch *inspected, char **ret_manifest, Patch **ret, char **problem) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        if (!p->manifest || inspected->kind != PATCH_PLAIN) {
                *ret = patch_ref(inspected);
                return 0;
        }
        r = state_file_read(p->world->root_fd, p->manifest, MANIFEST_BYTES_MAX, &text, &size);
        if (r >= 0)
                r = manifest_merge_text(p->manifest, text, size, inspected, ret, problem);
        else if (asprintf(problem, "its manifest can't be read: %s", strerror(-r)) < 0)
                *problem = NULL;
        if (r >= 0)
                *ret_manifest = TAKE_PTR(text);
        return r;
}

static int preparation_take(Preparation *p, const InspectResult *result, char **ret_manifest,
                            Failure *failure) {
        _cleanup_free_ char *problem = NULL;
        Patch *patch;
        int r;

        r = preparation_merge(p, result->patch, ret_manifest, &patch, &problem);
        if (r < 0)
                return failure_set(failure, r, ERROR_NOT_MODULE, "'%s' can't be used: %s",
                                   result->patch->name, problem ?: strerror(-r));
        patch_unref(p->candidate.patch);
        p->candidate.patch = patch;
        if ((p->spec->patch && !patch_name_equal(patch->name, p->spec->patch)) ||
            (p->spec->has_level && patch->level != p->spec->level))
                return failure_set(failure, -EAGAIN, ERROR_FAILED,
                                   "%s has become another patch while it was read: %s, level %u",
                                   p->candidate.path, patch->name, patch->level);
        p->candidate.module_fd = fcntl(result->content_fd, F_DUPFD_CLOEXEC, 3);
        if (p->candidate.module_fd < 0) {
                r = -errno;
                return failure_set(failure, r, ERROR_FAILED, "Can't keep the module's content: %s",
                                   strerror(-r));
        }
        p->candidate.module_signature = result->signature_size > 0 ? SIGNATURE_UNKNOWN : SIGNATURE_MISSING;
        p->candidate.has_module_relocations = result->has_module_relocations;
        return 0;
}

static void on_inspected(int r, const char *text, const InspectResult *result, void *userdata) {
        _cleanup_free_ char *manifest = NULL;
        Preparation *p = userdata;
        Failure failure = {};

        if (r < 0)
                (void) failure_set(&failure, r, ERROR_NOT_MODULE, "%s%s%s",
                                   p->candidate.path ?: "The file given", ": ", *text ? text : strerror(-r));
        else
                r = preparation_take(p, result, &manifest, &failure);
        if (r < 0) {
                preparation_fail(p, &failure);
                return;
        }
        /* What has taken its time is planned on what the kernel says then. */
        if (!result->remembered)
                p->inventory = inventory_free(p->inventory);
        if (!preparation_check_signature(p, manifest))
                preparation_plan(p);
}

static void preparation_inspect(Preparation *p, int fd) {
        Hands *hands = p->world->hands;
        Failure failure = {};
        int r;

        r = hands->vtable->inspect(hands, fd, on_inspected, p, &p->inspection);
        if (r < 0) {
                (void) failure_set(&failure, r, ERROR_FAILED, "Can't have the module inspected: %s",
                                   strerror(-r));
                preparation_fail(p, &failure);
        }
}

/* ---- which patch is meant ---- */

/* What is to be enabled is named, and the repository has it: then nothing else can be meant. */
static bool preparation_names_a_file(const Preparation *p) {
        return p->spec->patch && p->spec->kind != REQUEST_DISABLE &&
               repository_find(p->world->repository, p->spec->patch);
}

/* The repository's patches, and after them what is registered with the shim under a name that the
 * repository hasn't. */
static int preparation_collect(Preparation *p) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        const World *w = p->world;
        Patch *const *own;
        int r;

        own = repository_patches(w->repository, &p->n_own);
        r = preparation_names_a_file(p) ? 0 : w->hands->vtable->read_snapshot(w->hands, &snapshot);
        if (r < 0 && r != -ENOENT)
                return r;
        p->choice = calloc(p->n_own + (snapshot ? snapshot->n_patches : 0) + 1, sizeof(*p->choice));
        if (!p->choice)
                return -ENOMEM;
        for (size_t i = 0; i < p->n_own; i++)
                p->choice[p->n_choice++] = patch_ref(own[i]);
        for (size_t i = 0; snapshot && i < snapshot->n_patches; i++)
                if (!repository_find(w->repository, snapshot->patches[i].patch->name))
                        p->choice[p->n_choice++] = patch_ref(snapshot->patches[i].patch);
        return 0;
}

static int preparation_resolve(Preparation *p, Patch **ret, Failure *failure) {
        const World *w = p->world;
        const RepositoryEntry *entry;
        PolicyError error = {};
        Request request;
        int r;

        /* Which patch is meant doesn't matter where none can be used. */
        r = require_livepatch(w->hands->vtable->has_livepatch(w->hands), failure);
        if (r < 0)
                return r;
        if (p->spec->patch) {
                entry = repository_find(w->repository, p->spec->patch);
                if (entry && entry->problem)
                        return failure_set(failure, -EBADMSG, ERROR_NOT_MODULE,
                                           "'%s' (/%s) can't be used: %s", p->spec->patch, entry->path,
                                           entry->problem);
        }
        r = w->hands->vtable->read_inventory(w->hands, &p->inventory);
        if (r >= 0)
                r = preparation_collect(p);
        if (r < 0)
                return failure_set(failure, r, ERROR_FAILED, "Can't read from the kernel what runs: %s",
                                   strerror(-r));
        job_spec_to_request(p->spec, NULL, &request);
        r = request_resolve(&request, p->inventory, p->choice, p->n_choice, ret, &error);
        return r < 0 ? plan_failure(failure, r, &error) : 0;
}

static int preparation_open(Preparation *p, const RepositoryEntry *entry, int *ret_fd, Failure *failure) {
        int r;

        p->candidate.path = strdup(entry->path);
        if (!p->candidate.path || (entry->manifest && !(p->manifest = strdup(entry->manifest))) ||
            (entry->signature && !(p->signature_path = strdup(entry->signature))) ||
            (entry->manifest_signature &&
             !(p->manifest_signature_path = strdup(entry->manifest_signature))) ||
            (entry->writable && !(p->candidate.writable = strdup(entry->writable))) ||
            (entry->recorded && !(p->candidate.recorded = strdup(entry->recorded))))
                return failure_set(failure, -ENOMEM, ERROR_FAILED, "Out of memory");
        r = repository_open(p->world->repository, entry, ret_fd);
        if (r < 0)
                return failure_set(failure, r, ERROR_FAILED, "Can't read /%s: %s", entry->path,
                                   strerror(-r));
        return 0;
}

static void on_refreshed(void *userdata) {
        const RepositoryEntry *entry;
        Preparation *p = userdata;
        Patch *patch = NULL;
        Failure failure = {};
        int fd;

        if (preparation_resolve(p, &patch, &failure) < 0) {
                preparation_fail(p, &failure);
                return;
        }
        entry = patch ? repository_find(p->world->repository, patch->name) : NULL;
        if (!entry) {
                /* Registered, but in no repository: there is no file, only what the shim says. Or nothing
                 * can be named. */
                p->candidate.patch = patch_ref(patch);
                preparation_plan(p);
                return;
        }
        if (preparation_open(p, entry, &fd, &failure) < 0) {
                preparation_fail(p, &failure);
                return;
        }
        preparation_inspect(p, fd);
        close(fd);
}

static int on_defer(sd_event_source *source, void *userdata) {
        Preparation *p = userdata;

        if (p->spec->module_fd >= 0)
                preparation_inspect(p, p->spec->module_fd);
        else
                preparation_plan(p);
        return 0;
}

int prepare(const World *w, const JobSpec *spec, PrepareCallback callback, void *userdata,
            Preparation **ret) {
        _cleanup_(preparation_freep) Preparation *p = NULL;
        int r;

        p = malloc(sizeof(*p));
        if (!p)
                return -ENOMEM;
        *p = (Preparation) {
                .world = w,
                .spec = spec,
                .callback = callback,
                .userdata = userdata,
                .candidate.module_fd = -EBADF,
        };
        if (spec->kind != REQUEST_DISABLE && spec->module_fd < 0)
                r = repository_refresh(w->repository, on_refreshed, p, &p->wait);
        else
                r = sd_event_add_defer(w->event, &p->defer, on_defer, p);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(p);
        return 0;
}

Preparation *preparation_free(Preparation *p) {
        if (!p)
                return NULL;
        repository_wait_free(p->wait);
        p->world->hands->vtable->inspect_free(p->inspection);
        sd_event_source_disable_unref(p->defer);
        for (size_t i = 0; i < p->n_choice; i++)
                patch_unref(p->choice[i]);
        free(p->choice);
        inventory_free(p->inventory);
        patch_signature_free(p->signature);
        free(p->manifest);
        free(p->signature_path);
        free(p->manifest_signature_path);
        candidate_done(&p->candidate);
        free(p);
        return NULL;
}
