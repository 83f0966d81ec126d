/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl states: the live states, as the kernel has them. */
#include "bus.h"
#include "parse.h"
#include "table.h"

static void add_row(Ctl *c, Table *t, json_object *s) {
        _cleanup_free_ char *flags = json_join(json_array(s, "flags"), " "),
                            *owners = json_join(json_array(s, "owners"), " ");
        bool orphan = json_boolean(s, "orphan");

        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(s, "id"));
        table_cell(t, COLOUR_BOLD, json_string(s, "name"));
        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(s, "version"));
        table_cell(t, COLOUR_NORMAL, json_string(s, "holder"));
        table_cell(t, COLOUR_NORMAL, json_length(json_array(s, "owners")) > 1 ? owners : "");
        table_cell(t, orphan ? COLOUR_RED : COLOUR_NORMAL, orphan ? "orphan" : "live");
        if (json_u64(s, "shadow-count") > 0)
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64 " (%s)", json_u64(s, "shadow-count"),
                            FORMAT_BYTES(json_u64(s, "shadow-bytes")));
        else
                table_cell(t, COLOUR_NORMAL, "");
        table_cell(t, COLOUR_NORMAL, flags);
}

int verb_states(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "ID", .right = true },
                { .title = "NAME", .shrink = true, .min = 8, .hide_empty = true },
                { .title = "VERSION", .right = true },
                { .title = "HOLDER", .shrink = true, .min = 12 },
                { .title = "OWNERS", .shrink = true, .min = 12, .hide_empty = true },
                { .title = "STATE" },
                { .title = "SHADOWS", .hide_empty = true },
                { .title = "FLAGS", .shrink = true, .min = 8, .hide_empty = true },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *states = NULL;
        int r;

        r = ctl_bus_get(c, "ListStates", NULL, "list states", &states);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, states);

        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(states); i++)
                add_row(c, t, json_item(states, i));

        if (json_length(states) > 0 && table_print(t, !c->args.no_legend) < 0)
                return ctl_oom(c);
        if (!c->args.no_legend)
                printf("%s%zu states listed.\n", json_length(states) > 0 ? "\n" : "", json_length(states));

        return EXIT_DONE;
}
