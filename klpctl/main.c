/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl: finds the verb, runs it, cleans up. What is printed for all verbs in the same way is here, too:
 * errors and JSON.
 */
#include <stdarg.h>
#include <unistd.h>

#include "agent.h"
#include "json-util.h"
#include "klpctl.h"

static const Verb verbs[] = {
        { "list", 0, 0, 0, verb_list, "", "List the patches of the repository and of the kernel" },
        { "status", 0, 0, 0, verb_status, "", "Show kernel, shim, levels, transition and problems" },
        { "show", 1, 1, 0, verb_show, "PATCH", "Show all that is known of a patch" },
        { "plan", 0, 2, TAKES_GOAL | TAKES_OVERRIDE | TAKES_PLAN, verb_plan, "[REQUEST] [PATCH|LEVEL|FILE]",
          "Show what a request would do" },
        { "apply", 0, 1, TAKES_REQUEST | TAKES_GOAL | TAKES_OVERRIDE, verb_apply, "PATCH|LEVEL|FILE",
          "Enable a patch" },
        { "downgrade", 0, 1, TAKES_REQUEST | TAKES_GOAL | TAKES_OVERRIDE, verb_downgrade, "[PATCH|LEVEL]",
          "Go to a lower level, or one step down" },
        { "disable", 1, 1, TAKES_REQUEST | TAKES_OVERRIDE, verb_disable, "PATCH", "Disable a patch" },
        { "states", 0, 0, 0, verb_states, "", "List the live states" },
        { "blocking", 0, 0, TAKES_BLOCKING, verb_blocking, "",
          "List the tasks that a transition waits for" },
        { "jobs", 0, 0, 0, verb_jobs, "", "List requests under way" },
        { "cancel", 0, 1, 0, verb_cancel, "[JOB]", "Stop a request, reversing what has begun" },
        { "force", 0, 1, TAKES_REASON | TAKES_YES, verb_force, "[PATCH]",
          "Finish a transition without the tasks in its way" },
        { "history", 0, 0, TAKES_HISTORY, verb_history, "", "Show every change, from the journal" },
        { "metrics", 0, 0, 0, verb_metrics, "", "Print what monitoring wants to know" },
        { "import", 1, -1, TAKES_IMPORT, verb_import, "FILE...", "Put patches into the repository" },
        { "remove", 1, -1, TAKES_REMOVE, verb_remove, "PATCH...", "Remove imported patches from it" },
        { "verify", 0, -1, 0, verb_verify, "[PATCH...]", "Read its files afresh and check them" },
        { "accept", 1, 1, 0, verb_accept, "PATCH", "End its trial: it is applied at boot" },
        { "reject", 1, 1, TAKES_REASON, verb_reject, "PATCH", "Never apply this content again" },
        { "quarantine", 0, 1, TAKES_REASON | TAKES_RELEASE, verb_quarantine, "[PATCH|DIGEST]",
          "List what is in quarantine, or put there" },
        { "policy", 1, 2, TAKES_POLICY, verb_policy, "show|check|explain",
          "Show, check or explain policies and rules" },
        { "fleet", 1, -1, TAKES_FLEET, verb_fleet, "status|explain|resume|validate|plan|diff",
          "What fleet files want of this host, or would of others" },
};

const Verb *verb_table(size_t *ret_n) {
        *ret_n = ELEMENTSOF(verbs);
        return verbs;
}

const Verb *verb_find(const char *name) {
        for (size_t i = 0; i < ELEMENTSOF(verbs); i++)
                if (streq(verbs[i].name, name))
                        return verbs + i;

        return NULL;
}

static void print_error(const Ctl *c, const char *format, va_list ap) _printf_(2, 0);
static void print_error(const Ctl *c, const char *format, va_list ap) {
        _cleanup_free_ char *text = NULL, *printable = NULL;

        if (vasprintf(&text, format, ap) < 0) {
                text = NULL;
                return;
        }
        printable = text_printable(&c->terminal, text);
        fflush(stdout);
        fprintf(stderr, "%s%s%s\n", c->terminal.colour_err ? "\x1b[1;31m" : "",
                printable ?: "Out of memory.", c->terminal.colour_err ? "\x1b[0m" : "");
}

void ctl_error(const Ctl *c, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        print_error(c, format, ap);
        va_end(ap);
}

int ctl_usage(const Ctl *c, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        print_error(c, format, ap);
        va_end(ap);
        fputs("See 'klpctl --help'.\n", stderr);
        return EXIT_USAGE;
}

int ctl_oom(const Ctl *c) {
        ctl_error(c, "Out of memory.");
        return EXIT_FAILED;
}

int ctl_print_json(const Ctl *c, json_object *value) {
        int flags = JSON_C_TO_STRING_NOSLASHESCAPE;
        const char *text;

        if (c->args.json == JSON_PRETTY)
                flags |= JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;

        text = json_object_to_json_string_ext(value, flags);
        if (!text)
                return ctl_oom(c);

        puts(text);
        return EXIT_DONE;
}

int ctl_failure(const Ctl *c, int status, const char *error, const char *message) {
        static const char *const results[] = {
                [EXIT_DONE] = "done",       [EXIT_FAILED] = "failed", [EXIT_USAGE] = "usage",
                [EXIT_REFUSED] = "refused", [EXIT_DENIED] = "denied", [EXIT_REVERSED] = "reversed",
        };
        _cleanup_json_ json_object *o = NULL;

        if (!ctl_json(c))
                return status;

        o = json_object_new_object();
        if (!o || json_set_member(o, "result", json_object_new_string(results[status])) < 0 ||
            json_set_member(o, "error", json_object_new_string(error)) < 0 ||
            json_set_member(o, "message", json_object_new_string(message)) < 0)
                return ctl_oom(c);

        (void) ctl_print_json(c, o);
        return status;
}

static int run(Ctl *c, int argc, char **argv) {
        char **words;
        int n, r;

        r = arguments_parse(c, argc, argv, &words, &n);
        if (r >= 0)
                return r;

        return verb_find(words[0])->run(c, n, words);
}

int main(int argc, char **argv) {
        Ctl c = {};
        int status;

        terminal_init(&c.terminal);
        status = run(&c, argc, argv);

        agent_stop(c.agent);
        sd_bus_flush_close_unref(c.bus);
        free(c.args.allow_vendor);

        /* Output that could not be written (a full disk, a closed pipe) is a failure, too. */
        if (fflush(stdout) != 0 || ferror(stdout)) {
                if (errno != EPIPE)
                        fprintf(stderr, "Failed to write the output: %s\n", strerror(errno));
                return status == EXIT_DONE ? EXIT_FAILED : status;
        }

        return status;
}
