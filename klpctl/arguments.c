/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line. Options are one table: which verbs take them is part of it, so that an option that means
 * nothing to a verb is a mistake and not silently ignored (a --level that `disable` would not look at could
 * cost a host its patch).
 */
#include <getopt.h>
#include <time.h>

#include "klpctl.h"
#include "parse.h"
#include "policy/fleet.h"

enum {
        ARG_VERSION = 0x100,
        ARG_JSON,
        ARG_NO_LEGEND,
        ARG_NO_ASK_PASSWORD,
        ARG_FULL,
        ARG_REASON,
        ARG_TIMEOUT,
        ARG_NO_BLOCK,
        ARG_LEVEL,
        ARG_STREAM,
        ARG_ACCEPT_IRREVERSIBLE,
        ARG_REPLACE_FOREIGN,
        ARG_ALLOW_VENDOR,
        ARG_REQUEST,
        ARG_INVENTORY,
        ARG_CANDIDATE,
        ARG_PATCH,
        ARG_REPOSITORY,
        ARG_POLICY,
        ARG_PROFILE,
        ARG_BATCH,
        ARG_SUMMARY,
        ARG_AT,
        ARG_STACKS,
        ARG_SINCE,
        ARG_UNTIL,
        ARG_FILE,
        ARG_REPLACE,
        ARG_KERNEL,
        ARG_REMOVE,
};

#define REASON_MAX 256U /* org.klpd1.xml */

static const struct {
        const char *name;
        int has_arg, value;
        unsigned takes; /* 0: every verb */
} options[] = {
        { "help", no_argument, 'h', 0 },
        { "version", no_argument, ARG_VERSION, 0 },
        { "json", optional_argument, ARG_JSON, 0 },
        { "no-legend", no_argument, ARG_NO_LEGEND, 0 },
        { "full", no_argument, 'l', 0 },
        { "quiet", no_argument, 'q', 0 },
        { "no-ask-password", no_argument, ARG_NO_ASK_PASSWORD, 0 },
        { "reason", required_argument, ARG_REASON, TAKES_REQUEST | TAKES_IMPORT | TAKES_REMOVE | TAKES_REASON },
        { "timeout", required_argument, ARG_TIMEOUT, TAKES_REQUEST },
        { "no-block", no_argument, ARG_NO_BLOCK, TAKES_REQUEST },
        { "level", required_argument, ARG_LEVEL, TAKES_GOAL },
        { "stream", required_argument, ARG_STREAM, TAKES_GOAL },
        { "accept-irreversible", no_argument, ARG_ACCEPT_IRREVERSIBLE, TAKES_OVERRIDE },
        { "replace-foreign", no_argument, ARG_REPLACE_FOREIGN, TAKES_OVERRIDE },
        { "allow-vendor", required_argument, ARG_ALLOW_VENDOR, TAKES_OVERRIDE },
        { "request", required_argument, ARG_REQUEST, TAKES_PLAN },
        { "inventory", required_argument, ARG_INVENTORY, TAKES_PLAN | TAKES_FLEET },
        { "candidate", required_argument, ARG_CANDIDATE, TAKES_PLAN },
        { "patch", required_argument, ARG_PATCH, TAKES_PLAN | TAKES_HISTORY },
        { "repository", required_argument, ARG_REPOSITORY, TAKES_PLAN | TAKES_FLEET },
        { "policy", required_argument, ARG_POLICY, TAKES_PLAN | TAKES_FLEET },
        { "profile", required_argument, ARG_PROFILE, TAKES_PLAN | TAKES_POLICY | TAKES_FLEET },
        { "batch", no_argument, ARG_BATCH, TAKES_PLAN },
        { "summary", no_argument, ARG_SUMMARY, TAKES_FLEET },
        { "at", required_argument, ARG_AT, TAKES_FLEET },
        { "stacks", no_argument, ARG_STACKS, TAKES_BLOCKING },
        { "since", required_argument, ARG_SINCE, TAKES_HISTORY },
        { "until", required_argument, ARG_UNTIL, TAKES_HISTORY },
        { "lines", required_argument, 'n', TAKES_HISTORY },
        { "reverse", no_argument, 'r', TAKES_HISTORY },
        { "boot", no_argument, 'b', TAKES_HISTORY },
        { "file", required_argument, ARG_FILE, TAKES_HISTORY },
        { "replace", no_argument, ARG_REPLACE, TAKES_IMPORT },
        { "remove", no_argument, ARG_REMOVE, TAKES_RELEASE },
        { "yes", no_argument, 'y', TAKES_YES },
        { "kernel", required_argument, ARG_KERNEL, TAKES_REMOVE },
};

static void help(const Ctl *c) {
        const Terminal *t = &c->terminal;
        const char *on = terminal_on(t, COLOUR_BOLD), *off = terminal_off(t);
        const Verb *verbs;
        size_t n;

        printf("klpctl [OPTIONS...] COMMAND ...\n\n"
               "Plan, apply, follow and take back livepatches of the running kernel.\n\n%sCommands:%s\n",
               on, off);
        verbs = verb_table(&n);
        for (size_t i = 0; i < n; i++) {
                char left[64];

                snprintf(left, sizeof(left), "%s%s%s", verbs[i].name, *verbs[i].words ? " " : "",
                         verbs[i].words);
                printf("  %-34s %s\n", left, verbs[i].help);
        }

        printf("\n%sOptions:%s\n"
               "  -h --help                 Show this help\n"
               "     --version              Show the version\n"
               "     --json[=pretty|short]  Output as JSON\n"
               "     --no-legend            No headers, no footers\n"
               "  -l --full                 Don't shorten to the terminal's width\n"
               "  -q --quiet                No output on success\n"
               "     --no-ask-password      Never ask for a password\n"
               "\n%sapply, downgrade, disable:%s\n"
               "     --level N              The goal, by its level\n"
               "     --stream VENDOR/STREAM Of which stream\n"
               "     --reason TEXT          Why; recorded in the journal\n"
               "     --timeout TIME         Reverse it if it takes longer\n"
               "     --no-block             Don't wait until it is done\n"
               "     --accept-irreversible  Allow changes that only a reboot can take back\n"
               "     --replace-foreign      Allow replacing patches that klpd doesn't know\n"
               "     --allow-vendor VENDOR  Allow replacing patches of this vendor\n"
               "\n%splan, with the daemon: [apply|downgrade|disable] [PATCH|LEVEL|FILE]; without:%s\n"
               "     --inventory FILE       What the kernel runs (JSON)\n"
               "     --request REQUEST      apply, downgrade, disable, converge\n"
               "     --candidate FILE       A module, or its metadata (JSON)\n"
               "     --patch NAME           Name of a patch\n"
               "     --repository DIR       Directory of modules and manifests\n"
               "     --policy FILE          Policy (JSON)\n"
               "     --profile NAME         upstream, block-disable or level-only\n"
               "     --batch                One case per line of standard input\n"
               "\n%sfleet plan, diff, explain:%s\n"
               "     --inventory FILE       Hosts, one per line (JSON)\n"
               "     --summary              Numbers only, not each host\n"
               "     --at TIME              As if it were then\n"
               "     --repository DIR       plan: what the policy would say, with these patches\n"
               "     --policy FILE          plan: by this policy\n"
               "\n%shistory, blocking:%s\n"
               "     --since TIME --until TIME\n"
               "                            Only what happened then\n"
               "     --patch NAME           Only what concerns this patch\n"
               "  -n --lines N              Only the last N\n"
               "  -r --reverse              Newest first\n"
               "  -b --boot                 Only since the last boot\n"
               "     --file FILE            Read this journal file\n"
               "     --stacks               The tasks' kernel stacks, too\n"
               "\n%simport, remove, quarantine:%s\n"
               "     --replace              Other content under the same name is replaced\n"
               "     --kernel RELEASE       Remove the patch of this kernel, not of the running one\n"
               "     --remove               Take it out of quarantine\n"
               "\n%sforce:%s\n"
               "  -y --yes                  Don't ask whether that is wanted\n"
               "\nExit status: 0 done or nothing to do, 1 failed, 2 usage, 3 refused by the policy,\n"
               "4 not authorised, 5 timed out and reversed. See klpctl(8).\n",
               on, off, on, off, on, off, on, off, on, off, on, off, on, off);
}

static int parse_json_mode(Ctl *c, const char *value) {
        if (!value)
                c->args.json = c->terminal.width > 0 && c->terminal.colour ? JSON_PRETTY : JSON_SHORT;
        else if (streq(value, "pretty"))
                c->args.json = JSON_PRETTY;
        else if (streq(value, "short"))
                c->args.json = JSON_SHORT;
        else if (streq(value, "off"))
                c->args.json = JSON_OFF;
        else
                return ctl_usage(c, "--json takes 'pretty', 'short' or 'off', not '%s'.", value);

        return -1;
}

static int parse_when(Ctl *c, const char *name, const char *value, uint64_t *ret) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_REALTIME, &ts);
        if (parse_time(value, (uint64_t) ts.tv_sec * USEC_PER_SEC, ret) < 0)
                return ctl_usage(c, "--%s: '%s' is no point in time ('2026-11-21 11:05', 'today', '-2h').",
                                 name, value);

        return -1;
}

/* As fleet files write it, or as people do. */
static int parse_at(Ctl *c, const char *value) {
        if (fleet_parse_timestamp(value, &c->args.at_usec) >= 0)
                return -1;

        return parse_when(c, "at", value, &c->args.at_usec);
}

static int add_vendor(Ctl *c, const char *vendor) {
        Arguments *a = &c->args;
        const char **p =
                reallocarray(a->allow_vendor, a->n_allow_vendor + 2, sizeof(char *)); /* NULL at its end */

        if (!p)
                return ctl_oom(c);

        p[a->n_allow_vendor++] = vendor;
        p[a->n_allow_vendor] = NULL;
        a->allow_vendor = p;
        return -1;
}

/* Options with an argument of a kind. */
static int parse_value(Ctl *c, int option, const char *value) {
        Arguments *a = &c->args;

        switch (option) {
        case ARG_REASON:
                if (strlen(value) > REASON_MAX)
                        return ctl_usage(c, "--reason: %zu bytes are too many, %u are allowed.",
                                         strlen(value), REASON_MAX);
                a->reason = value;
                return -1;
        case ARG_TIMEOUT:
                if (parse_span(value, &a->timeout_usec) < 0 || a->timeout_usec == 0)
                        return ctl_usage(c, "--timeout: '%s' is no time span ('90', '2min', '500ms').",
                                         value);
                return -1;
        case ARG_LEVEL:
                if (parse_u32(value, &a->level) < 0)
                        return ctl_usage(c, "--level: '%s' is no level (0 to %" PRIu32 ").", value,
                                         UINT32_MAX);
                a->has_level = true;
                return -1;
        case ARG_STREAM:
                if (!strchr(value, '/'))
                        return ctl_usage(c, "--stream: '%s' is not of the form VENDOR/STREAM.", value);
                a->stream = value;
                return -1;
        case 'n':
                if (streq(value, "all"))
                        a->lines = 0;
                else if (parse_u64(value, &a->lines) < 0 || a->lines == 0)
                        return ctl_usage(c, "--lines: '%s' is no number of lines.", value);
                return -1;
        case ARG_AT:
                return parse_at(c, value);
        case ARG_SINCE:
                return parse_when(c, "since", value, &a->since_usec);
        case ARG_UNTIL:
                return parse_when(c, "until", value, &a->until_usec);
        default:
                abort(); /* apply_option() sends nothing else */
        }
}

static int apply_option(Ctl *c, int option, const char *value) {
        Arguments *a = &c->args;

        switch (option) {
        case 'h':
                help(c);
                return EXIT_DONE;
        case ARG_VERSION:
                printf("klpctl %s\n", KLPD_VERSION);
                return EXIT_DONE;
        case ARG_JSON:
                return parse_json_mode(c, value);
        case ARG_NO_LEGEND:
                a->no_legend = true;
                break;
        case 'l':
                c->terminal.width = 0;
                break;
        case 'q':
                a->quiet = true;
                break;
        case ARG_NO_ASK_PASSWORD:
                a->no_ask_password = true;
                break;
        case ARG_NO_BLOCK:
                a->no_block = true;
                break;
        case ARG_ACCEPT_IRREVERSIBLE:
                a->accept_irreversible = true;
                break;
        case ARG_REPLACE_FOREIGN:
                a->replace_foreign = true;
                break;
        case ARG_ALLOW_VENDOR:
                return add_vendor(c, value);
        case ARG_REQUEST:
                a->request = value;
                break;
        case ARG_INVENTORY:
                a->inventory = value;
                break;
        case ARG_CANDIDATE:
                a->candidate = value;
                break;
        case ARG_PATCH:
                a->patch = value;
                break;
        case ARG_REPOSITORY:
                a->repository = value;
                break;
        case ARG_POLICY:
                a->policy = value;
                break;
        case ARG_PROFILE:
                a->profile = value;
                break;
        case ARG_BATCH:
                a->batch = true;
                break;
        case ARG_SUMMARY:
                a->summary = true;
                break;
        case ARG_STACKS:
                a->stacks = true;
                break;
        case ARG_FILE:
                a->file = value;
                break;
        case ARG_REPLACE:
                a->replace = true;
                break;
        case ARG_REMOVE:
                a->remove = true;
                break;
        case ARG_KERNEL:
                a->kernel = value;
                break;
        case 'r':
                a->reverse = true;
                break;
        case 'y':
                a->yes = true;
                break;
        case 'b':
                a->boot = true;
                break;
        default:
                return parse_value(c, option, value);
        }

        return -1;
}

/* The table in getopt's form, and what was given, to compare with the verb once it is known. */
typedef struct Given {
        bool options[ELEMENTSOF(options)];
} Given;

static int check_verb(Ctl *c, const Given *given, char **words, int n_words) {
        const Verb *verb;

        if (n_words == 0)
                return ctl_usage(c, "A command is needed, for example 'klpctl status'.");
        verb = verb_find(words[0]);
        if (!verb)
                return ctl_usage(c, "Unknown command '%s'.", words[0]);

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                if (given->options[i] && options[i].takes != 0 && !(options[i].takes & verb->takes))
                        return ctl_usage(c, "--%s means nothing to '%s'.", options[i].name, verb->name);

        if (n_words - 1 < verb->min)
                return ctl_usage(c, "'%s' needs more: klpctl %s %s", verb->name, verb->name, verb->words);
        if (verb->max >= 0 && n_words - 1 > verb->max)
                return ctl_usage(c, "'%s' takes no '%s': klpctl %s %s", verb->name, words[verb->max + 1],
                                 verb->name, verb->words);

        return -1;
}

int arguments_parse(Ctl *c, int argc, char **argv, char ***ret_words, int *ret_n_words) {
        struct option table[ELEMENTSOF(options) + 1] = {};
        Given given = {};
        int option, index, r;

        for (size_t i = 0; i < ELEMENTSOF(options); i++)
                table[i] = (struct option){ options[i].name, options[i].has_arg, NULL, options[i].value };

        opterr = 0;
        while ((option = getopt_long(argc, argv, ":hlqn:rby", table, NULL)) >= 0) {
                if (option == ':')
                        return ctl_usage(c, "'%s' needs an argument.", argv[optind - 1]);
                if (option == '?')
                        return ctl_usage(c, "Unknown or ambiguous option '%s'.", argv[optind - 1]);

                for (index = 0; options[index].value != option; index++)
                        ;
                given.options[index] = true;

                r = apply_option(c, option, optarg);
                if (r >= 0)
                        return r;
        }

        *ret_words = argv + optind;
        *ret_n_words = argc - optind;
        return check_verb(c, &given, *ret_words, *ret_n_words);
}
