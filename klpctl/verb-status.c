/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl status: the host at a glance, and what somebody should look at. It asks for properties, patches,
 * states and jobs one after the other; what changes in between shows up at the next call.
 */
#include <stdarg.h>

#include "bus.h"

/* An array of sentences: what is not as it should be. */
static int find_problems(json_object *s, json_object *problems) {
        json_object *patches = json_array(s, "patches"), *states = json_array(s, "states");
        char text[1024];

        if (*json_string(s, "record_problem") &&
            json_array_push(problems, json_object_new_string(json_string(s, "record_problem"))) < 0)
                return -ENOMEM;
        if (*json_string(s, "mode") && !streq(json_string(s, "mode"), "normal")) {
                snprintf(text, sizeof(text), "klpd is in mode '%s' and changes nothing (klpd.mode=, Mode=)",
                         json_string(s, "mode"));
                if (json_array_push(problems, json_object_new_string(text)) < 0)
                        return -ENOMEM;
        }
        if (*json_string(s, "shim_problem")) {
                snprintf(text, sizeof(text), "The shim is not available: %s",
                         json_string(s, "shim_problem"));
                if (json_array_push(problems, json_object_new_string(text)) < 0)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < json_length(json_array(s, "daemon_problems")); i++)
                if (json_array_push(problems,
                                    json_object_get(json_item(json_array(s, "daemon_problems"), i))) < 0)
                        return -ENOMEM;

        if (json_object_is_type(json_member(s, "kept_modules"), json_type_object)) {
                json_object_object_foreach(json_member(s, "kept_modules"), module, why) {
                        snprintf(text, sizeof(text), "Module %s is no longer used, but can't be removed: %s", module,
                                 json_object_get_string(why));
                        if (json_array_push(problems, json_object_new_string(text)) < 0)
                                return -ENOMEM;
                }
        }

        for (size_t i = 0; i < json_length(patches); i++) {
                json_object *p = json_item(patches, i);

                text[0] = '\0';
                if (*json_string(p, "problem"))
                        snprintf(text, sizeof(text), "%s can't be used: %s", json_string(p, "name"),
                                 json_string(p, "problem"));
                else if (streq(json_string(p, "kind"), "foreign") &&
                         streq(json_string(p, "state"), "enabled"))
                        snprintf(text, sizeof(text), "%s is enabled, but klpd knows nothing of it (foreign)",
                                 json_string(p, "name"));
                if (*text && json_array_push(problems, json_object_new_string(text)) < 0)
                        return -ENOMEM;
        }

        for (size_t i = 0; i < json_length(states); i++) {
                json_object *st = json_item(states, i);

                if (!json_boolean(st, "orphan"))
                        continue;
                snprintf(text, sizeof(text),
                         "State %" PRIu64 " (%s) is an orphan: its patch was disabled behind klpd's back, "
                         "its change of the system stays",
                         json_u64(st, "id"), json_string(st, "name"));
                if (json_array_push(problems, json_object_new_string(text)) < 0)
                        return -ENOMEM;
        }

        return 0;
}

/* One object with all of it: what --json prints. */
static int collect(Ctl *c, json_object **ret) {
        static const struct {
                const char *key, *property;
        } members[] = {
                { "version", "Version" },       { "kernel", "KernelRelease" },
                { "generation", "Generation" }, { "transition", "Transition" },
                { "mode", "Mode" },
                { "record_problem", "RecordProblem" },
                { "shim_abi", "ShimAbi" },      { "shim_problem", "ShimProblem" },
                { "profile", "Profile" },       { "levels", "Levels" },
                { "daemon_problems", "Problems" }, { "kept_modules", "KeptModules" },
        };
        _cleanup_json_ json_object *s = json_object_new_object(), *properties = NULL, *patches = NULL,
                                   *states = NULL, *jobs = NULL;
        json_object *problems;
        int r;

        if (!s)
                return ctl_oom(c);
        if ((r = ctl_bus_properties(c, &properties)) != EXIT_DONE ||
            (r = ctl_bus_patches(c, &patches)) != EXIT_DONE ||
            (r = ctl_bus_jobs(c, &jobs)) != EXIT_DONE)
                return r;

        for (size_t i = 0; i < ELEMENTSOF(members); i++) {
                json_object *value = json_member(properties, members[i].property);

                if (value && json_set_member(s, members[i].key, json_object_get(value)) < 0)
                        return ctl_oom(c);
        }

        /* Without the shim there are no states to list; that is no failure of `status`, which says so
         * itself. */
        if (json_u64(s, "shim_abi") > 0) {
                r = ctl_bus_get(c, "ListStates", NULL, "list states", &states);
                if (r != EXIT_DONE)
                        return r;
        }

        problems = json_object_new_array();
        if (json_set_member(s, "patches", TAKE_PTR(patches)) < 0 ||
            json_set_member(s, "states", states ? TAKE_PTR(states) : json_object_new_array()) < 0 ||
            json_set_member(s, "jobs", json_object_new_int64((int64_t) json_length(jobs))) < 0 ||
            json_set_member(s, "problems", problems) < 0 || find_problems(s, problems) < 0)
                return ctl_oom(c);

        *ret = TAKE_PTR(s);
        return EXIT_DONE;
}

static void line(Ctl *c, const char *name, Colour colour, const char *format, ...) _printf_(4, 5);
static void line(Ctl *c, const char *name, Colour colour, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *printable = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return;
        }

        printable = text_printable(&c->terminal, text);
        printf("%12s%c ", name, *name ? ':' : ' ');
        text_wrap(&c->terminal, stdout, colour, printable ?: "", 14);
}

static size_t count(json_object *list, const char *key, const char *value) {
        size_t n = 0;

        for (size_t i = 0; i < json_length(list); i++)
                n += streq(json_string(json_item(list, i), key), value);

        return n;
}

static void print_levels(Ctl *c, json_object *levels) {
        bool any = false;

        if (json_object_is_type(levels, json_type_object)) {
                json_object_object_foreach(levels, stream, level) {
                        line(c, any ? "" : "Levels", COLOUR_NORMAL, "%s %" PRIu64, stream,
                             json_object_get_uint64(level));
                        any = true;
                }
        }
        if (!any)
                line(c, "Levels", COLOUR_GREY, "none");
}

static size_t count_unrevertable(json_object *states) {
        size_t n = 0;

        for (size_t i = 0; i < json_length(states); i++) {
                json_object *flags = json_array(json_item(states, i), "flags");

                for (size_t k = 0; k < json_length(flags); k++)
                        n += streq_ptr(json_object_get_string(json_item(flags, k)), "block-disable");
        }

        return n;
}

static void print_status(Ctl *c, json_object *s) {
        json_object *patches = json_array(s, "patches"), *states = json_array(s, "states"),
                    *problems = json_array(s, "problems");
        size_t blocked = count_unrevertable(states);
        bool bad = json_length(problems) > 0, moving = *json_string(s, "transition");
        const Terminal *t = &c->terminal;
        _cleanup_free_ char *kernel = text_printable(t, json_string(s, "kernel"));

        printf("%s%s%s klpd %s on Linux %s\n",
               terminal_on(t, bad      ? COLOUR_RED
                              : moving ? COLOUR_YELLOW
                                       : COLOUR_GREEN),
               terminal_glyph(t, GLYPH_DOT), terminal_off(t), json_string(s, "version"), kernel ?: "?");

        if (json_u64(s, "shim_abi") > 0)
                line(c, "Shim", COLOUR_NORMAL, "ABI %" PRIu64 ", generation %" PRIu64,
                     json_u64(s, "shim_abi"), json_u64(s, "generation"));
        else
                line(c, "Shim", COLOUR_RED, "not available");
        line(c, "Policy", COLOUR_NORMAL, "profile %s", json_string(s, "profile"));
        print_levels(c, json_member(s, "levels"));
        line(c, "Patches", COLOUR_NORMAL, "%zu enabled, %zu loaded, %zu available",
             count(patches, "state", "enabled") + count(patches, "state", "enabling") +
                     count(patches, "state", "disabling"),
             count(patches, "state", "loaded"), count(patches, "state", "available"));
        if (blocked > 0)
                line(c, "States", COLOUR_NORMAL, "%zu live, %zu of them can't be taken back before a reboot",
                     json_length(states), blocked);
        else
                line(c, "States", COLOUR_NORMAL, "%zu live", json_length(states));
        if (moving)
                line(c, "Transition", COLOUR_YELLOW, "%s (see 'klpctl blocking')",
                     json_string(s, "transition"));
        else
                line(c, "Transition", COLOUR_NORMAL, "none");
        if (json_u64(s, "jobs") > 0)
                line(c, "Jobs", COLOUR_YELLOW, "%" PRIu64 " running (see 'klpctl jobs')",
                     json_u64(s, "jobs"));
        for (size_t i = 0; i < json_length(problems); i++)
                line(c, i == 0 ? "Problems" : "", COLOUR_RED, "%s",
                     json_object_get_string(json_item(problems, i)));
}

int verb_status(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *s = NULL;
        int r;

        r = collect(c, &s);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, s);

        print_status(c, s);
        return EXIT_DONE;
}
