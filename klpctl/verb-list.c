/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl list: every patch of the repository and of the kernel. */
#include "bus.h"
#include "table.h"

static Colour state_colour(const char *state) {
        if (streq(state, "enabled"))
                return COLOUR_GREEN;
        if (streq(state, "enabling") || streq(state, "disabling"))
                return COLOUR_YELLOW;

        return streq(state, "loaded") ? COLOUR_NORMAL : COLOUR_GREY;
}

static void add_row(const Ctl *c, Table *t, json_object *p) {
        const char *state = json_string(p, "state"), *problem = json_string(p, "problem"),
                   *kind = json_string(p, "kind"), *vendor = json_string(p, "vendor"),
                   *stream = json_string(p, "stream");
        json_object *fixes = json_array(p, "fixes");
        bool on = !streq(state, "available") && !streq(state, "loaded");

        table_cell(t, *problem ? COLOUR_RED : state_colour(state),
                   terminal_glyph(&c->terminal, *problem ? GLYPH_CROSS
                                                : on     ? GLYPH_DOT
                                                         : GLYPH_CIRCLE));
        table_cell(t, on ? COLOUR_BOLD : COLOUR_NORMAL, json_string(p, "name"));
        table_cellf(t, COLOUR_NORMAL, "%s%s%s", vendor, *vendor ? "/" : "", stream);
        if (json_has(p, "level") && !streq(kind, "foreign"))
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(p, "level"));
        else
                table_cell(t, COLOUR_GREY, terminal_glyph(&c->terminal, GLYPH_NONE));
        table_cell(t, state_colour(state), state);
        table_cell(t, streq(kind, "foreign") ? COLOUR_YELLOW : COLOUR_NORMAL, kind);
        table_cell(t, streq(json_string(p, "standing"), "quarantine") ? COLOUR_RED : COLOUR_NORMAL,
                   json_string(p, "standing"));
        if (json_length(fixes) > 1)
                table_cellf(t, COLOUR_NORMAL, "%s +%zu", json_object_get_string(json_item(fixes, 0)),
                            json_length(fixes) - 1);
        else
                table_cell(t, COLOUR_NORMAL, json_object_get_string(json_item(fixes, 0)));
        table_cell(t, COLOUR_NORMAL, json_string(p, "summary"));
        if (*problem)
                table_note(t, COLOUR_RED, problem);
        else if (*json_string(p, "kept")) {
                char note[512];

                snprintf(note, sizeof(note), "no longer used, but can't be removed: %s", json_string(p, "kept"));
                table_note(t, COLOUR_YELLOW, note);
        }
}

/* Member "kept": why a module that is no longer used is still loaded. Asked for only where one is. */
static int add_kept(Ctl *c, json_object *patches) {
        _cleanup_json_ json_object *properties = NULL;
        json_object *kept;
        size_t i, n = json_length(patches);
        int r;

        for (i = 0; i < n && !streq(json_string(json_item(patches, i), "state"), "loaded"); i++)
                ;
        if (i == n)
                return EXIT_DONE;
        r = ctl_bus_properties(c, &properties);
        if (r != EXIT_DONE)
                return r;
        kept = json_member(properties, "KeptModules");
        for (; i < n; i++) {
                json_object *p = json_item(patches, i), *why = json_member(kept, json_string(p, "name"));

                if (why && streq(json_string(p, "state"), "loaded") &&
                    json_set_member(p, "kept", json_object_get(why)) < 0)
                        return ctl_oom(c);
        }
        return EXIT_DONE;
}

int verb_list(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "" },
                { .title = "PATCH", .shrink = true, .min = 12 },
                { .title = "STREAM", .shrink = true, .min = 8 },
                { .title = "LEVEL", .right = true },
                { .title = "STATE" },
                { .title = "KIND" },
                { .title = "STANDING", .shrink = true, .min = 5, .hide_empty = true },
                { .title = "FIXES", .shrink = true, .min = 8, .hide_empty = true },
                { .title = "SUMMARY", .shrink = true, .min = 4, .hide_empty = true },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *patches = NULL;
        int r;

        if ((r = ctl_bus_patches(c, &patches)) != EXIT_DONE || (r = add_kept(c, patches)) != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, patches);

        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(patches); i++)
                add_row(c, t, json_item(patches, i));

        if (json_length(patches) > 0 && table_print(t, !c->args.no_legend) < 0)
                return ctl_oom(c);
        if (!c->args.no_legend)
                printf("%s%zu patches listed.\n", json_length(patches) > 0 ? "\n" : "",
                       json_length(patches));

        return EXIT_DONE;
}
