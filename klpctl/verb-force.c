/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl force [PATCH]: has the kernel finish a transition without the tasks that it waits for. What that costs
 * is said first, with who is in the way, and a person has to agree, or --yes has to be given: there is no way
 * back but a reboot.
 */
#include <stdio.h>
#include <unistd.h>

#include "bus.h"
#include "table.h"

/* What the patch under way is at, as ListPatches calls it: "enabling", "disabling"; "" if it isn't known. */
static int read_change(Ctl *c, const char *patch, json_object **ret_patches, const char **ret_state) {
        int r;

        r = ctl_bus_patches(c, ret_patches);
        if (r != EXIT_DONE)
                return r;
        *ret_state = "";
        for (size_t i = 0; i < json_length(*ret_patches); i++) {
                json_object *p = json_item(*ret_patches, i);

                if (streq(json_string(p, "name"), patch))
                        *ret_state = json_string(p, "state");
        }
        return EXIT_DONE;
}

static int say_blockers(Ctl *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_json_ json_object *tasks = NULL;
        const char *what = "list the tasks in the way";
        int r;

        r = ctl_bus_new_call(c, "ListBlocking", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "b", false);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);
        r = ctl_bus_send(c, m, what, &reply);
        if (r != EXIT_DONE)
                return r;
        r = json_from_message(reply, &tasks);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);
        if (json_length(tasks) == 0)
                fputs("It waits for nothing that can be listed (idle CPUs can't).\n", stderr);
        for (size_t i = 0; i < json_length(tasks) && i < 16; i++) {
                json_object *t = json_item(tasks, i);
                _cleanup_free_ char *comm = text_printable(&c->terminal, json_string(t, "comm"));
                const char *unit = json_string(t, "unit");

                fprintf(stderr, "  %s %s[%" PRIu64 "]%s%s%s\n", terminal_glyph(&c->terminal, GLYPH_BULLET),
                        comm ?: "?", json_u64(t, "tid"), *unit ? " (" : "", unit, *unit ? ")" : "");
        }
        if (json_length(tasks) > 16)
                fprintf(stderr, "  and %zu more\n", json_length(tasks) - 16);
        return EXIT_DONE;
}

static int say_cost(Ctl *c, const char *patch, const char *state) {
        _cleanup_free_ char *name = text_printable(&c->terminal, patch);
        int r;

        fprintf(stderr,
                "The transition of %s would end without these tasks, which may still run the old code:\n",
                name ?: "?");
        r = say_blockers(c);
        if (r != EXIT_DONE)
                return r;
        fprintf(stderr,
                "They may run old and new code mixed, which can crash the system where a patch relies on "
                "consistency.\n"
                "%s%s, with shadow variables and structures, until the next boot;\n"
                "it can't be unloaded and is never enabled again. Only a reboot takes that back.\n",
                streq(state, "disabling") ? (name ?: "?") : "What it replaces",
                streq(state, "disabling") ? " stays in the kernel" : " (if anything) stays in the kernel");
        return EXIT_DONE;
}

/* EXIT_DONE: somebody who looks on has agreed. */
static int agree(Ctl *c, const char *patch) {
        char line[16];

        if (c->args.yes)
                return EXIT_DONE;
        if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO)) {
                ctl_error(c, "Nobody can be asked here: --yes says that this is wanted.");
                return ctl_failure(c, EXIT_USAGE, "", "--yes is needed where nobody can be asked");
        }
        fprintf(stderr, "Force %s? Type 'yes': ", patch);
        fflush(stderr);
        if (fgets(line, sizeof(line), stdin) && streq(line, "yes\n"))
                return EXIT_DONE;
        ctl_error(c, "Nothing was done.");
        return ctl_failure(c, EXIT_FAILED, "", "not confirmed");
}

static int call_force(Ctl *c, const char *patch) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = ctl_bus_new_call(c, "Force", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "s", patch);
        if (r >= 0)
                r = c->args.reason ? sd_bus_message_append(m, "a{sv}", 1, "reason", "s", c->args.reason)
                                   : sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        ctl_agent(c);
        return ctl_bus_send(c, m, "force the transition", NULL);
}

int verb_force(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *properties = NULL, *patches = NULL;
        const char *patch, *state;
        int r;

        r = ctl_bus_properties(c, &properties);
        if (r != EXIT_DONE)
                return r;
        patch = json_string(properties, "Transition");
        if (!*patch || (n > 1 && !streq(patch, words[1]))) {
                ctl_error(c, "There is no transition%s%s under way%s%s.", n > 1 ? " of " : "",
                          n > 1 ? words[1] : "", *patch ? ", but one of " : "", patch);
                return ctl_failure(c, EXIT_FAILED, KLPD_ERROR "Failed", "no transition under way");
        }
        r = read_change(c, patch, &patches, &state);
        if (r == EXIT_DONE)
                r = say_cost(c, patch, state);
        if (r == EXIT_DONE)
                r = agree(c, patch);
        if (r == EXIT_DONE)
                r = call_force(c, patch);
        if (r != EXIT_DONE)
                return r;
        if (!ctl_json(c) && !c->args.quiet)
                printf("%s: forced. The kernel ends the transition when it looks next, within a second or "
                       "two.\n",
                       patch);
        return ctl_failure(c, EXIT_DONE, "", "");
}
