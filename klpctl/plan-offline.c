/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Offline plans: gathers the planner's arguments from files and options and calls the same plan_build() as
 * the daemon. What isn't known offline (the host's and the file's facts) isn't checked, as plan.h says; the
 * man page, too.
 */
#include <unistd.h>

#include "json-util.h"
#include "parse.h"
#include "plan-input.h"
#include "plan-offline.h"
#include "policy/batch.h"
#include "policy/json.h"
#include "policy/plan.h"
#include "request.h"

/* Everything that a Request borrows. */
typedef struct Offline {
        Inventory *inventory;
        Policy *policy;
        Patch *candidate;
        PatchList repository;
        char *vendor, *stream;
} Offline;

static void offline_done(Offline *o) {
        inventory_free(o->inventory);
        policy_free(o->policy);
        patch_unref(o->candidate);
        patch_list_done(&o->repository);
        free(o->vendor);
        free(o->stream);
}

static int load(Ctl *c, const PlanWords *words, Offline *o) {
        const Arguments *a = &c->args;
        const char *candidate = a->candidate
                                        ?: target_kind(words->target) == TARGET_FILE ? words->target
                                                                                     : NULL;
        int r;

        if (a->policy && a->profile)
                return ctl_usage(c, "--policy and --profile: only one of them.");

        r = input_inventory(c, a->inventory, &o->inventory);
        if (r == EXIT_DONE && a->policy)
                r = input_policy(c, a->policy, &o->policy);
        if (r == EXIT_DONE && candidate)
                r = input_patch(c, candidate, &o->candidate);
        if (r == EXIT_DONE && a->repository)
                r = input_repository(c, a->repository, &o->repository);
        if (r != EXIT_DONE)
                return r;

        if (a->profile && policy_new_profile(a->profile, &o->policy) < 0)
                return ctl_usage(c, "There is no profile '%s' (upstream, block-disable, level-only).",
                                 a->profile);
        if (a->stream && patch_parse_stream(a->stream, &o->vendor, &o->stream) < 0)
                return ctl_usage(c, "--stream: '%s' is not of the form VENDOR/STREAM.", a->stream);

        return EXIT_DONE;
}

static int make_request(Ctl *c, const PlanWords *words, const Offline *o, Request *ret) {
        const Arguments *a = &c->args;
        TargetKind kind = target_kind(words->target);
        RequestKind request = request_kind_from_string(words->request);
        uint32_t level = a->level;

        if (request < 0)
                return ctl_usage(c, "There is no request '%s' (apply, downgrade, disable, converge).",
                                 words->request);
        if (kind == TARGET_LEVEL && parse_u32(words->target, &level) < 0)
                return ctl_usage(c, "Level '%s' is out of range.", words->target);
        if ((kind != TARGET_NONE) + (a->patch != NULL) + (a->candidate != NULL) + a->has_level > 1)
                return ctl_usage(c, "The goal is given more than once.");

        *ret = (Request){
                .kind = request,
                .candidate = o->candidate,
                .patch = kind == TARGET_NAME ? words->target : a->patch,
                .has_level = kind == TARGET_LEVEL || a->has_level,
                .level = level,
                .vendor = o->vendor,
                .stream = o->stream,
                .replace_foreign = a->replace_foreign,
                .accept_irreversible = a->accept_irreversible,
                .allow_vendor = (char *const *) a->allow_vendor,
        };
        return EXIT_DONE;
}

int plan_offline(Ctl *c, const PlanWords *words, json_object **ret) {
        _cleanup_(offline_done) Offline o = {};
        _cleanup_plan_free_ Plan *plan = NULL;
        PolicyError error = {};
        Request request;
        int r;

        if (!c->args.inventory)
                return ctl_usage(c, "An offline plan needs --inventory FILE.");

        r = load(c, words, &o);
        if (r == EXIT_DONE)
                r = make_request(c, words, &o, &request);
        if (r != EXIT_DONE)
                return r;

        r = plan_build(
                &(PlanInput){
                        .policy = o.policy,
                        .inventory = o.inventory,
                        .request = &request,
                        .repository = o.repository.patches,
                        .n_repository = o.repository.n,
                },
                &plan, &error);
        if (r < 0) {
                char text[768];

                policy_error_format(&error, NULL, text, sizeof(text));
                ctl_error(c, "%s", *text ? text : strerror(-r));
                return ctl_failure(c, r == -EINVAL ? EXIT_USAGE : EXIT_FAILED, "",
                                   *text ? text : strerror(-r));
        }

        *ret = plan_to_json(plan);
        return *ret ? EXIT_DONE : ctl_oom(c);
}

/* The lines of standard input, an empty one of which is no case. */
typedef struct BatchInput {
        Batch *batch;
        uint64_t line; /* number of the last one that was seen, from 1 */
        bool error;    /* of any case */
} BatchInput;

static int batch_case(Ctl *c, BatchInput *in, const char *line, size_t size) {
        const char *result;
        BatchOutcome outcome;

        in->line++;
        if (size == 0)
                return EXIT_DONE;
        if (batch_line(in->batch, in->line, line, size, &result, &outcome) < 0)
                return ctl_oom(c);

        puts(result);
        if (outcome == BATCH_ERROR)
                in->error = true;
        return EXIT_DONE;
}

/* Every complete line of the buffer; what is left is moved to its beginning. */
static int batch_lines(Ctl *c, BatchInput *in, char *buf, size_t *size) {
        char *start = buf, *end;

        while ((end = memchr(start, '\n', *size - (size_t) (start - buf)))) {
                int r = batch_case(c, in, start, (size_t) (end - start));

                if (r != EXIT_DONE)
                        return r;
                start = end + 1;
        }

        *size -= (size_t) (start - buf);
        memmove(buf, start, *size);
        return EXIT_DONE;
}

/* Results are written out whenever there is nothing more to read yet, so that a program may ask and wait for
 * an answer. */
int plan_batch(Ctl *c) {
        _cleanup_batch_free_ Batch *b = NULL;
        _cleanup_free_ char *buf = NULL;
        size_t size = 0, allocated = 0;
        BatchInput in = {};
        int r;

        if (batch_new(&b) < 0)
                return ctl_oom(c);
        in.batch = b;

        for (;;) {
                ssize_t n;

                if (size == allocated) {
                        size_t more = allocated > 0 ? allocated * 2 : 65536;
                        char *p;

                        /* One line may be as long as a document. */
                        if (more > 2 * (size_t) JSON_SIZE_MAX) {
                                ctl_error(c, "A line is longer than %u bytes.", JSON_SIZE_MAX);
                                return EXIT_FAILED;
                        }
                        p = realloc(buf, more);
                        if (!p)
                                return ctl_oom(c);
                        buf = p;
                        allocated = more;
                }

                fflush(stdout);
                if (ferror(stdout))
                        return EXIT_FAILED;
                n = read(STDIN_FILENO, buf + size, allocated - size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0) {
                        ctl_error(c, "Failed to read standard input: %s", strerror(errno));
                        return EXIT_FAILED;
                }
                if (n == 0)
                        break;

                size += (size_t) n;
                r = batch_lines(c, &in, buf, &size);
                if (r != EXIT_DONE)
                        return r;
        }

        if (size > 0) { /* a last line without its newline */
                r = batch_case(c, &in, buf, size);
                if (r != EXIT_DONE)
                        return r;
        }

        return in.error ? EXIT_FAILED : EXIT_DONE;
}
