/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl plan: what a request would do; asked of the daemon, or worked out here from files. */
#include "json-util.h"
#include "plan-offline.h"
#include "plan-text.h"
#include "policy/json.h"
#include "policy/request.h"
#include "request.h"

/* [REQUEST] [TARGET], where the request may be an option, too. */
static int parse_words(Ctl *c, int n, char **words, PlanWords *ret) {
        const char *first = n > 1 ? words[1] : NULL, *second = n > 2 ? words[2] : NULL;

        *ret = (PlanWords){ .request = c->args.request ?: "apply" };
        if (first && !c->args.request && request_kind_from_string(first) >= 0) {
                ret->request = first;
                ret->target = second;
                return EXIT_DONE;
        }

        ret->target = first;
        if (second)
                return ctl_usage(c, "'%s' is no request (apply, downgrade, disable, converge).", first);
        if (request_kind_from_string(ret->request) < 0)
                return ctl_usage(c, "There is no request '%s' (apply, downgrade, disable, converge).",
                                 ret->request);

        return EXIT_DONE;
}

static int plan_online(Ctl *c, const PlanWords *words, json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL, *reply = NULL;
        const Arguments *a = &c->args;
        const char *target = words->target ?: a->patch ?: a->candidate, *text;
        int r;

        if (a->repository || a->policy || a->profile)
                return ctl_usage(c, "The daemon has its own repository and policy; offline plans need "
                                    "--inventory FILE.");
        if ((words->target != NULL) + (a->patch != NULL) + (a->candidate != NULL) > 1)
                return ctl_usage(c, "The goal is given more than once.");
        if (a->candidate && target_kind(a->candidate) != TARGET_FILE)
                return ctl_usage(c, "--candidate: '%s' is no module file; metadata needs --inventory FILE.",
                                 a->candidate);
        if (!target && !a->has_level && !streq(words->request, "downgrade") && !streq(words->request, "disable"))
                return ctl_usage(c, "Plan what? A patch's name, a level, or a module file is needed.");

        r = request_new_call(c, "Plan", "PlanFile", words->request, target, &call);
        if (r == EXIT_DONE)
                r = ctl_bus_send(c, call, "plan", &reply);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_message_read_basic(reply, 's', &text);
        if (r >= 0)
                r = json_parse_strict(text, strlen(text), ret, NULL);
        return r < 0 ? ctl_bus_error(c, NULL, r, "read klpd's answer") : EXIT_DONE;
}

/* The planner knows which patch is meant better than the words do. */
static const char *describe(const Ctl *c, json_object *plan, const PlanWords *words, char *buf,
                            size_t size) {
        const Arguments *a = &c->args;
        const char *patch = json_string(plan, "patch");

        if (!*patch)
                return request_describe(c, words->request, words->target ?: a->patch ?: a->candidate, buf,
                                        size);

        snprintf(buf, size, "%s %s%s", words->request, streq(words->request, "downgrade") ? "to " : "",
                 patch);
        return buf;
}

static int show(Ctl *c, json_object *plan, const PlanWords *words) {
        char what[160];
        int r;

        if (ctl_json(c))
                r = ctl_print_json(c, plan) == EXIT_DONE ? 0 : -EIO;
        else
                r = plan_print(c, plan, describe(c, plan, words, what, sizeof(what)));

        return r < 0 ? EXIT_FAILED : plan_status(plan);
}

int verb_plan(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *plan = NULL;
        const Arguments *a = &c->args;
        PlanWords w;
        int r;

        if (a->batch) {
                if (n > 1 || a->inventory || a->request || a->candidate || a->patch || a->repository ||
                    a->policy || a->profile)
                        return ctl_usage(c, "With --batch everything comes from standard input, one JSON "
                                            "object per line.");
                return plan_batch(c);
        }

        r = parse_words(c, n, words, &w);
        if (r == EXIT_DONE)
                r = a->inventory ? plan_offline(c, &w, &plan) : plan_online(c, &w, &plan);
        if (r != EXIT_DONE)
                return r;

        return show(c, plan, &w);
}
