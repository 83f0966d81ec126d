/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See batch.h. */
#include "policy/batch.h"
#include "policy/json-model.h"
#include "policy/plan-internal.h"

struct Batch {
        Plan *plan;
        JsonReader reader; /* keeps its memory from line to line, and so does */
        JsonWriter writer;
};

/* One case, as it is read. */
typedef struct Case {
        Inventory *inventory;
        Policy *policy;
        char *profile;
        RequestKind kind;
        Patch *candidate;
        char *patch, *stream;
        bool has_level;
        uint32_t level;
        bool replace_foreign, accept_irreversible;
        char **allow_vendor, **intermediates;
        Patch **repository;
        size_t n_repository;
} Case;

int batch_new(Batch **ret) {
        _cleanup_batch_free_ Batch *b = NULL;
        int r;

        b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;
        r = plan_new(&b->plan);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(b);
        return 0;
}

Batch *batch_free(Batch *b) {
        if (!b)
                return NULL;
        plan_free(b->plan);
        json_reader_done(&b->reader);
        json_writer_done(&b->writer);
        free(b);
        return NULL;
}

static void case_done(Case *c) {
        inventory_free(c->inventory);
        policy_free(c->policy);
        free(c->profile);
        patch_unref(c->candidate);
        free(c->patch);
        free(c->stream);
        strv_free(c->allow_vendor);
        strv_free(c->intermediates);
        for (size_t i = 0; i < c->n_repository; i++)
                patch_unref(c->repository[i]);
        free(c->repository);
}

static int read_inventory(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_inventory(r, value, target);
}

static int read_policy(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_policy(r, value, target) : 0;
}

static int read_kind(JsonReader *r, const JsonValue *value, void *target) {
        RequestKind kind;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        kind = request_kind_from_string(s);
        if (kind < 0)
                return json_reader_fail(
                                r, -EBADMSG,
                                "one of \"apply\", \"downgrade\", \"disable\", \"converge\" is needed here");
        *(RequestKind *) target = kind;
        return 0;
}

static int read_candidate(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_patch(r, value, PATCH_MANAGED, true, target) : 0;
}

static int read_level(JsonReader *r, const JsonValue *value, void *target) {
        Case *c = target;

        if (!value)
                return 0;
        c->has_level = true;
        return json_read_u32(r, value, &c->level);
}

static int read_repository_patch(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_patch_unref_ Patch *p = NULL;
        Case *c = target;
        Patch **bigger;
        int q;

        q = json_read_patch(r, value, PATCH_MANAGED, true, &p);
        if (q < 0)
                return q;
        bigger = realloc(c->repository, (c->n_repository + 1) * sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        c->repository = bigger;
        c->repository[c->n_repository++] = TAKE_PTR(p);
        return 0;
}

static int read_repository(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_array(r, value, 65536, read_repository_patch, target) : 0;
}

static int read_names(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_name_list(r, value, target) : 0;
}

/* null is the same as not being there for all that may be left out: programs fill such lines from records. */
static int read_flag(JsonReader *r, const JsonValue *value, void *target) {
        return value ? json_read_bool(r, value, target) : 0;
}

static const JsonField case_fields[] = {
        { "inventory", read_inventory, offsetof(Case, inventory), true },
        { "request", read_kind, offsetof(Case, kind), true },
        { "candidate", read_candidate, offsetof(Case, candidate), false },
        { "patch", json_read_name_or_null, offsetof(Case, patch), false },
        { "level", read_level, 0, false },
        { "stream", json_read_text_or_null, offsetof(Case, stream), false },
        { "repository", read_repository, 0, false },
        { "profile", json_read_text_or_null, offsetof(Case, profile), false },
        { "policy", read_policy, offsetof(Case, policy), false },
        { "replace_foreign", read_flag, offsetof(Case, replace_foreign), false },
        { "accept_irreversible", read_flag, offsetof(Case, accept_irreversible), false },
        { "allow_vendor", read_names, offsetof(Case, allow_vendor), false },
        { "intermediates", read_names, offsetof(Case, intermediates), false },
};

static int case_read(Case *c, JsonReader *r, const char *line, size_t size, PolicyError *error) {
        int q;

        q = json_reader_begin(r, line, size, error);
        if (q < 0)
                return q;
        q = json_read_object(r, r->root, case_fields, ELEMENTSOF(case_fields), c);
        if (q >= 0 && c->profile && c->policy)
                q = json_reader_fail(r, -EBADMSG, "either a profile or a policy, not both");
        if (q >= 0 && c->profile) {
                q = policy_new_profile(c->profile, &c->policy);
                if (q == -ENOENT)
                        q = json_reader_fail(
                                        r, -EBADMSG,
                                        "there is no profile \"%.64s\": upstream, block-disable, level-only",
                                        c->profile);
        }
        return q;
}

static int case_plan(Case *c, Plan *plan, PolicyError *error) {
        _cleanup_free_ char *vendor = NULL, *stream = NULL;
        Request request = {
                .kind = c->kind,
                .candidate = c->candidate,
                .patch = c->patch,
                .has_level = c->has_level,
                .level = c->level,
                .replace_foreign = c->replace_foreign,
                .accept_irreversible = c->accept_irreversible,
                .allow_vendor = c->allow_vendor,
                .intermediates = c->intermediates,
        };
        PlanInput input = {
                .policy = c->policy,
                .inventory = c->inventory,
                .request = &request,
                .repository = c->repository,
                .n_repository = c->n_repository,
        };
        int r;

        if (c->stream) {
                r = patch_parse_stream(c->stream, &vendor, &stream);
                if (r == -EINVAL)
                        return policy_error_set(error, r, "\"%.64s\" is not VENDOR/STREAM", c->stream);
                if (r < 0)
                        return r;
                request.vendor = vendor;
                request.stream = stream;
        }
        return plan_rebuild(plan, &input, error);
}

/* Beside an empty plan that refuses. */
static void write_error(JsonWriter *w, uint64_t number, const PolicyError *error) {
        json_write_key(w, "error");
        json_write_open(w, '{');
        json_write_member(w, "message", error->message);
        json_write_member_u64(w, "line", number);
        if (error->key[0])
                json_write_member(w, "key", error->key);
        if (error->column > 0)
                json_write_member_u64(w, "column", error->column);
        json_write_close(w, '}');
}

int batch_line(Batch *b, uint64_t number, const char *line, size_t size, const char **ret_result,
               BatchOutcome *ret_outcome) {
        JsonWriter *w = &b->writer;
        PolicyError error = {};
        const char *text;
        Case c = {};
        int r;

        r = case_read(&c, &b->reader, line, size, &error);
        if (r >= 0)
                r = case_plan(&c, b->plan, &error);
        if (r < 0 && r != -ENOMEM) {
                plan_reset(b->plan);
                b->plan->request = c.kind;
                b->plan->verdict = VERDICT_REFUSE;
                b->plan->reversible = true;
        }
        case_done(&c);
        if (r == -ENOMEM)
                return r;

        json_writer_reset(w);
        json_write_open(w, '{');
        json_write_plan(w, b->plan);
        if (r < 0)
                write_error(w, number, &error);
        json_write_close(w, '}');
        text = json_writer_text(w);
        if (!text)
                return -ENOMEM;
        *ret_outcome = r < 0 ? BATCH_ERROR : b->plan->verdict == VERDICT_REFUSE ? BATCH_REFUSED : BATCH_ALLOWED;
        *ret_result = text;
        return 0;
}
