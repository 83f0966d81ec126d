/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl policy show [FILE] | check FILE | explain [RULE]: policies and rules, from files and from the
 * planner's own table. No daemon is needed.
 */
#include <unistd.h>

#include "json-util.h"
#include "plan-input.h"
#include "policy/json.h"
#include "table.h"

#define SITE_POLICY "/etc/klpd/policy.json"

#define WORDS "klpctl policy show [FILE] | check FILE | explain [RULE]"

static Colour mode_colour(RuleMode mode) {
        return mode == RULE_ENFORCE ? COLOUR_GREEN : mode == RULE_WARN ? COLOUR_YELLOW : COLOUR_GREY;
}

static int print_policy(Ctl *c, const Policy *p, const char *source) {
        static const Column columns[] = {
                { .title = "RULE" },
                { .title = "MODE" },
                { .title = "REFUSES", .shrink = true, .min = 20 },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        for (Rule rule = 0; rule < _RULE_MAX; rule++) {
                table_cell(t, COLOUR_NORMAL, rule_to_string(rule));
                table_cell(t, mode_colour(p->modes[rule]), rule_mode_to_string(p->modes[rule]));
                table_cell(t, COLOUR_NORMAL, rule_meaning(rule));
        }

        if (!c->args.no_legend)
                printf("Profile %s%s%s%s\n\n", p->profile, source ? " (" : "", source ?: "",
                       source ? ")" : "");
        return table_print(t, !c->args.no_legend) < 0 ? ctl_oom(c) : EXIT_DONE;
}

/* A file that is named, a profile that is named, the site's policy, the default. */
static int verb_policy_show(Ctl *c, const char *file) {
        _cleanup_policy_free_ Policy *policy = NULL;
        const char *source = file;
        int r;

        if (file && c->args.profile)
                return ctl_usage(c, "A file and --profile: only one of them.");

        if (!file && !c->args.profile && access(SITE_POLICY, F_OK) >= 0)
                source = SITE_POLICY;
        if (source) {
                r = input_policy(c, source, &policy);
                if (r != EXIT_DONE)
                        return r;
        } else if (policy_new_profile(c->args.profile ?: POLICY_PROFILE_DEFAULT, &policy) < 0)
                return ctl_usage(c, "There is no profile '%s' (upstream, block-disable, level-only).",
                                 c->args.profile);

        if (ctl_json(c)) {
                _cleanup_json_ json_object *o = policy_to_json(policy);

                return o ? ctl_print_json(c, o) : ctl_oom(c);
        }

        return print_policy(c, policy, source ?: c->args.profile ? source : "the default");
}

static int verb_policy_check(Ctl *c, const char *file) {
        _cleanup_policy_free_ Policy *policy = NULL;
        int r;

        if (!file)
                return ctl_usage(c, "Check what? klpctl policy check FILE");

        r = input_policy(c, file, &policy);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_failure(c, EXIT_DONE, "", "");
        if (!c->args.quiet)
                printf("%s: is a valid policy, starting from profile %s.\n", file, policy->profile);

        return EXIT_DONE;
}

static json_object *rule_to_json(Rule rule) {
        _cleanup_json_ json_object *o = json_object_new_object();
        const char *override = rule_override(rule);

        if (!o || json_set_member(o, "rule", json_object_new_string(rule_to_string(rule))) < 0 ||
            json_set_member(o, "default",
                            json_object_new_string(rule_mode_to_string(rule_default_mode(rule)))) < 0 ||
            json_set_member(o, "meaning", json_object_new_string(rule_meaning(rule))) < 0 ||
            json_set_member(o, "explanation", json_object_new_string(rule_explanation(rule))) < 0)
                return NULL;
        if (override && json_set_member(o, "override", json_object_new_string(override)) < 0)
                return NULL;

        return TAKE_PTR(o);
}

static int explain_one(Ctl *c, Rule rule) {
        const Terminal *t = &c->terminal;
        const char *override = rule_override(rule);

        if (ctl_json(c)) {
                _cleanup_json_ json_object *o = rule_to_json(rule);

                return o ? ctl_print_json(c, o) : ctl_oom(c);
        }

        printf("%s%s%s (by default: %s)\n\nRefuses: ", terminal_on(t, COLOUR_BOLD), rule_to_string(rule),
               terminal_off(t), rule_mode_to_string(rule_default_mode(rule)));
        text_wrap(t, stdout, COLOUR_NORMAL, rule_meaning(rule), 9);
        putchar('\n');
        text_wrap(t, stdout, COLOUR_NORMAL, rule_explanation(rule), 0);
        if (override)
                printf("\nA request may lift it: --%s\n", override);

        return EXIT_DONE;
}

static int verb_policy_explain(Ctl *c, const char *name) {
        _cleanup_json_ json_object *all = NULL;
        Rule rule;

        if (name) {
                rule = rule_from_string(name);
                return rule < 0 ? ctl_usage(c, "There is no rule '%s'; 'klpctl policy explain' lists them.",
                                            name)
                                : explain_one(c, rule);
        }

        if (!ctl_json(c))
                return print_policy(c, policy_default(), "the default");

        all = json_object_new_array();
        for (rule = 0; all && rule < _RULE_MAX; rule++)
                if (json_array_push(all, rule_to_json(rule)) < 0)
                        return ctl_oom(c);

        return all ? ctl_print_json(c, all) : ctl_oom(c);
}

int verb_policy(Ctl *c, int n, char **words) {
        const char *argument = n > 2 ? words[2] : NULL;

        if (c->args.profile && !streq(words[1], "show"))
                return ctl_usage(c, "--profile means nothing to 'policy %s'.", words[1]);
        if (streq(words[1], "show"))
                return verb_policy_show(c, argument);
        if (streq(words[1], "check"))
                return verb_policy_check(c, argument);
        if (streq(words[1], "explain"))
                return verb_policy_explain(c, argument);

        return ctl_usage(c, "There is no 'policy %s': %s", words[1], WORDS);
}
