/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which patch a request means. Candidates are looked for in the repository first; what is enabled but not in
 * the repository counts too (so that asking for it is "nothing to do", not "no such patch").
 */
#include "policy/request.h"

static const char *const request_kinds[_REQUEST_KIND_MAX] = {
        [REQUEST_APPLY] = "apply",
        [REQUEST_DOWNGRADE] = "downgrade",
        [REQUEST_DISABLE] = "disable",
        [REQUEST_CONVERGE] = "converge",
};

const char *request_kind_to_string(RequestKind kind) {
        return kind >= 0 && kind < _REQUEST_KIND_MAX ? request_kinds[kind] : NULL;
}

RequestKind request_kind_from_string(const char *s) {
        for (int i = 0; i < _REQUEST_KIND_MAX; i++)
                if (streq(request_kinds[i], s))
                        return (RequestKind) i;
        return _REQUEST_KIND_INVALID;
}

typedef struct Search {
        const Request *request;
        const Inventory *inventory;
        Patch *const *repository;
        size_t n_repository;

        /* what is looked for */
        const char *name;            /* or */
        uint32_t level;              /* this level */
        const char *vendor, *stream; /* with level: NULL for any */
} Search;

static bool search_matches(const Search *s, const Patch *p, bool this_kernel) {
        if (p->orphan || (this_kernel && p->kernel && !streq(p->kernel, s->inventory->kernel)))
                return false;
        if (s->name)
                return patch_name_equal(p->name, s->name);
        return p->kind != PATCH_FOREIGN && p->level == s->level &&
               (!s->vendor || streq(p->vendor, s->vendor)) && (!s->stream || streq(p->stream, s->stream));
}

/* Of two that fit, which one is meant: < 0 the first, > 0 the second, 0 either. */
static int search_prefer(const Search *s, const Patch *a, const Patch *b) {
        bool ea, eb;

        if (s->name || patch_same_stream(a, b))
                return 0;
        ea = inventory_level(s->inventory, a->vendor, a->stream, NULL);
        eb = inventory_level(s->inventory, b->vendor, b->stream, NULL);
        if (ea != eb)
                return ea ? -1 : 1;
        ea = streq(a->vendor, PATCH_VENDOR_DEFAULT) && streq(a->stream, PATCH_STREAM_DEFAULT);
        eb = streq(b->vendor, PATCH_VENDOR_DEFAULT) && streq(b->stream, PATCH_STREAM_DEFAULT);
        if (ea != eb)
                return ea ? -1 : 1;
        return 0;
}

static int search_list(const Search *s, Patch *const *list, size_t n, bool this_kernel, Patch **ret,
                       Patch **ret_other) {
        Patch *best = NULL, *other = NULL;

        for (size_t i = 0; i < n; i++) {
                int prefer;

                if (!search_matches(s, list[i], this_kernel) || list[i] == best)
                        continue;
                prefer = best ? search_prefer(s, best, list[i]) : 1;
                if (prefer > 0) {
                        best = list[i];
                        other = NULL;
                } else if (prefer == 0)
                        other = list[i];
        }
        if (!best)
                return -ENOENT;
        *ret = best;
        *ret_other = other;
        return other ? -ENOTUNIQ : 0;
}

static int search_run(const Search *s, Patch **ret, PolicyError *error) {
        Patch *best = NULL, *other = NULL;
        int r;

        /* For another kernel at last: the rule kernel-release then says more than "no such patch". */
        r = search_list(s, s->repository, s->n_repository, true, &best, &other);
        if (r == -ENOENT)
                /* what runs does, whatever it says that it was built for */
                r = search_list(s, s->inventory->patches, s->inventory->n_patches, false, &best, &other);
        if (r == -ENOENT)
                r = search_list(s, s->repository, s->n_repository, false, &best, &other);
        if (r == -ENOTUNIQ && s->name)
                return policy_error_set(error, r, "there is more than one patch %s for kernel %s", s->name,
                                        s->inventory->kernel);
        if (r == -ENOTUNIQ)
                return policy_error_set(error, r,
                                        "level %" PRIu32
                                        " is both %s (%s/%s) and %s (%s/%s): name the patch or the "
                                        "stream",
                                        s->level, best->name, best->vendor, best->stream, other->name,
                                        other->vendor, other->stream);
        if (r < 0 && s->name)
                return policy_error_set(error, r, "there is no patch %s in the repository for kernel %s",
                                        s->name, s->inventory->kernel);
        if (r < 0)
                return policy_error_set(error, r,
                                        "there is no patch of level %" PRIu32
                                        "%s%s%s%s in the repository for kernel "
                                        "%s",
                                        s->level, s->vendor ? " of " : "", s->vendor ?: "",
                                        s->stream ? "/" : "", s->stream ?: "", s->inventory->kernel);
        *ret = best;
        return 0;
}

/* The stream that a downgrade without a goal is about: the topmost enabled one that has a level, or the one
 * asked for. */
static const Patch *topmost_of_stream(const Request *request, const Inventory *inventory) {
        const Patch *found = NULL;

        for (size_t i = inventory->n_patches; i > 0; i--) {
                const Patch *p = inventory->patches[i - 1];

                if (p->orphan || p->kind == PATCH_FOREIGN ||
                    (request->vendor && !streq(p->vendor, request->vendor)) ||
                    (request->stream && !streq(p->stream, request->stream)))
                        continue;
                if (p->level > 0)
                        return p;
                if (!found)
                        found = p;
        }
        return found;
}

static int resolve_one_step_down(Search *s, Patch **ret, PolicyError *error) {
        const Patch *top = topmost_of_stream(s->request, s->inventory);
        bool found = false;
        uint32_t level;

        if (!top) {
                *ret = NULL;
                return 0;
        }
        (void) inventory_level(s->inventory, top->vendor, top->stream, &level);
        if (level == 0)
                return policy_error_set(error, -ENOENT,
                                        "%s has no level, so there is no next lower one: name a patch",
                                        top->name);
        s->vendor = top->vendor;
        s->stream = top->stream;
        for (size_t i = 0; i < s->n_repository; i++) {
                const Patch *p = s->repository[i];

                if (!patch_same_stream(p, top) || p->level == 0 || p->level >= level ||
                    (p->kernel && !streq(p->kernel, s->inventory->kernel)))
                        continue;
                if (!found || p->level > s->level)
                        s->level = p->level;
                found = true;
        }
        if (!found)
                return policy_error_set(error, -ENOENT,
                                        "%s/%s is at level %" PRIu32
                                        ", and the repository has no lower one for "
                                        "kernel %s",
                                        top->vendor, top->stream, level, s->inventory->kernel);
        return search_run(s, ret, error);
}

int request_resolve(const Request *request, const Inventory *inventory, Patch *const *repository,
                    size_t n_repository, Patch **ret_candidate, PolicyError *error) {
        Search s = {
                .request = request,
                .inventory = inventory,
                .repository = repository,
                .n_repository = n_repository,
                .vendor = request->vendor,
                .stream = request->stream,
        };

        if (request->kind == REQUEST_DISABLE) {
                if (request->has_level)
                        return policy_error_set(error, -EINVAL, "a disable names a patch, not a level");
                *ret_candidate = NULL;
                return 0;
        }

        if (request->candidate) {
                if (request->patch && !patch_name_equal(request->patch, request->candidate->name))
                        return policy_error_set(error, -EINVAL,
                                                "the request names %s, and the candidate is %s",
                                                request->patch, request->candidate->name);
                if (request->has_level && request->level != request->candidate->level)
                        return policy_error_set(
                                        error, -EINVAL,
                                        "the request is for level %" PRIu32 ", and the candidate %s has "
                                        "level %" PRIu32,
                                        request->level, request->candidate->name, request->candidate->level);
                *ret_candidate = request->candidate;
                return 0;
        }

        if (request->patch) {
                Patch *p;
                int r;

                s.name = request->patch;
                r = search_run(&s, &p, error);
                if (r < 0)
                        return r;
                if (request->has_level && request->level != p->level)
                        return policy_error_set(error, -EINVAL,
                                                "the request is for level %" PRIu32
                                                ", and %s has level %" PRIu32,
                                                request->level, p->name, p->level);
                *ret_candidate = p;
                return 0;
        }

        if (request->has_level) {
                s.level = request->level;
                return search_run(&s, ret_candidate, error);
        }
        if (request->kind == REQUEST_DOWNGRADE)
                return resolve_one_step_down(&s, ret_candidate, error);
        return policy_error_set(error, -EINVAL, "%s needs a patch or a level", request_kinds[request->kind]);
}
