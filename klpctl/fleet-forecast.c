/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-forecast.h. One plan is reused for all hosts. */
#include "fleet-forecast.h"
#include "policy/json-writer.h"

void fleet_forecast_done(Forecast *f) {
        patch_list_done(&f->repository);
        policy_free(f->policy);
        plan_free(f->plan);
        *f = (Forecast) {};
}

int fleet_forecast_open(Ctl *c, Forecast *ret) {
        _cleanup_(fleet_forecast_done) Forecast f = { .wanted = c->args.repository };
        int r;

        if (!f.wanted && (c->args.policy || c->args.profile))
                return ctl_usage(c, "--policy and --profile mean nothing without --repository: there is no patch to plan "
                                    "with.");
        if (c->args.policy && c->args.profile)
                return ctl_usage(c, "--policy and --profile: only one of them.");
        if (f.wanted) {
                r = input_repository(c, c->args.repository, &f.repository);
                if (r == EXIT_DONE && c->args.policy)
                        r = input_policy(c, c->args.policy, &f.policy);
                if (r != EXIT_DONE)
                        return r;
                if (c->args.profile && policy_new_profile(c->args.profile, &f.policy) < 0)
                        return ctl_usage(c, "There is no profile '%s' (upstream, block-disable, level-only).",
                                         c->args.profile);
                if (plan_new(&f.plan) < 0)
                        return ctl_oom(c);
        }
        *ret = f;
        f = (Forecast) {};
        return EXIT_DONE;
}

static void refuse(Forecast *f, const char *rule, const char *message) {
        size_t n = strlen(f->message), k = strlen(f->rules);

        f->refused = true;
        if (*rule)
                (void) snprintf(f->rules + k, sizeof(f->rules) - k, "%s%s", k > 0 ? "," : "", rule);
        (void) snprintf(f->message + n, sizeof(f->message) - n, "%s%s%s%s", n > 0 ? "; " : "", rule, *rule ? ": " : "",
                        message);
}

static void take_plan(Forecast *f) {
        uint64_t seen = 0;

        if (f->plan->verdict != VERDICT_REFUSE)
                return;
        for (size_t i = 0; i < f->plan->n_violations; i++) {
                const Violation *v = &f->plan->violations[i];

                if (v->mode != RULE_ENFORCE || seen & UINT64_C(1) << v->rule)
                        continue;
                seen |= UINT64_C(1) << v->rule;
                refuse(f, rule_to_string(v->rule), v->message ?: "");
                if (v->rule < _RULE_MAX)
                        f->by_rule[v->rule]++;
        }
        f->n_refused++;
}

int fleet_forecast_host(Forecast *f, const FleetDecision *d, const char *line, size_t size) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        PolicyError error = {};
        FleetRequest request;
        FileFacts file;
        int r;

        f->planned = f->refused = false;
        *f->message = *f->rules = 0;
        if (!f->wanted || (d->verdict != FLEET_CHANGE && d->verdict != FLEET_WAIT) ||
            fleet_decision_request(d, &request) < 0)
                return 0;
        fleet_decision_file(d, &file);
        file.signature = file.module_signature = SIGNATURE_GOOD; /* the host will look */
        r = fleet_host_inventory(line, size, &inventory, &error);
        if (r >= 0)
                r = plan_rebuild(f->plan,
                                 &(PlanInput) {
                                         .policy = f->policy,
                                         .inventory = inventory,
                                         .file = &file,
                                         .request = &request.request,
                                         .repository = f->repository.patches,
                                         .n_repository = f->repository.n,
                                 },
                                 &error);
        if (r == -ENOMEM)
                return r;
        f->planned = true;
        if (r >= 0)
                take_plan(f);
        else {
                refuse(f, "", *error.message ? error.message : strerror(-r));
                f->n_refused++;
                f->by_other++;
        }
        return 0;
}

void fleet_forecast_write(const Forecast *f, JsonWriter *w) {
        if (!f->planned)
                return;
        json_write_key(w, "plan");
        json_write_open(w, '{');
        json_write_member(w, "verdict", f->refused ? "refuse" : "allow");
        json_write_key(w, "rules");
        json_write_open(w, '[');
        for (const char *p = f->rules; *p;) {
                char rule[64];
                size_t n = strcspn(p, ",");

                (void) snprintf(rule, sizeof(rule), "%.*s", (int) n, p);
                json_write_string(w, rule);
                p += n + (p[n] == ',');
        }
        json_write_close(w, ']');
        if (f->refused)
                json_write_member(w, "message", f->message);
        json_write_close(w, '}');
}

void fleet_forecast_write_summary(const Forecast *f, JsonWriter *w) {
        if (!f->wanted)
                return;
        json_write_key(w, "refused_by_policy");
        json_write_open(w, '{');
        json_write_member_u64(w, "hosts", f->n_refused);
        json_write_member_u64(w, "no_patch", f->by_other);
        for (unsigned i = 0; i < _RULE_MAX; i++)
                if (f->by_rule[i] > 0)
                        json_write_member_u64(w, rule_to_string((Rule) i), f->by_rule[i]);
        json_write_close(w, '}');
}

void fleet_forecast_print_summary(const Forecast *f) {
        const char *separator = " (";

        if (!f->wanted)
                return;
        printf("The policy would refuse %" PRIu64 " hosts their change", f->n_refused);
        for (unsigned i = 0; i < _RULE_MAX; i++) {
                if (f->by_rule[i] == 0)
                        continue;
                printf("%s%s: %" PRIu64, separator, rule_to_string((Rule) i), f->by_rule[i]);
                separator = ", ";
        }
        if (f->by_other > 0) {
                printf("%sno patch: %" PRIu64, separator, f->by_other);
                separator = ", ";
        }
        printf("%s.\n", *separator == ',' ? ")" : "");
}
