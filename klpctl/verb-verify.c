/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl verify [PATCH…]: the repository's files, read afresh, against what is known of them. */
#include "bus.h"
#include "table.h"

static int collect_names(Ctl *c, json_object **ret) {
        _cleanup_json_ json_object *patches = NULL, *names = json_object_new_array();
        int r;

        r = ctl_bus_patches(c, &patches);
        if (r != EXIT_DONE)
                return r;
        if (!names)
                return ctl_oom(c);
        for (size_t i = 0; i < json_length(patches); i++) {
                json_object *p = json_item(patches, i);

                if (json_boolean(p, "in-repository") &&
                    json_array_push(names, json_object_get(json_member(p, "name"))) < 0)
                        return ctl_oom(c);
        }
        *ret = TAKE_PTR(names);
        return EXIT_DONE;
}

/* Adds the findings about one; what goes wrong while asking is an exit status. */
static int verify_patch(Ctl *c, const char *name, json_object *list, bool *ok) {
        _cleanup_json_ json_object *findings = NULL;
        int r;

        r = ctl_bus_get(c, "Verify", name, "verify a patch", &findings);
        if (r != EXIT_DONE)
                return r;
        if (json_length(json_array(findings, "problems")) > 0)
                *ok = false;
        return json_array_push(list, TAKE_PTR(findings)) < 0 ? ctl_oom(c) : EXIT_DONE;
}

static int print_findings(Ctl *c, json_object *list) {
        static const Column columns[] = {
                { .title = "" },
                { .title = "PATCH", .shrink = true, .min = 12 },
                { .title = "FROM" },
                { .title = "SIGNED BY", .shrink = true, .min = 12, .hide_empty = true },
                { .title = "DIGEST", .shrink = true, .min = 16 },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        for (size_t i = 0; i < json_length(list); i++) {
                json_object *o = json_item(list, i), *problems = json_array(o, "problems");
                bool bad = json_length(problems) > 0;

                table_cell(t, bad ? COLOUR_RED : COLOUR_GREEN,
                           terminal_glyph(&c->terminal, bad ? GLYPH_CROSS : GLYPH_DOT));
                table_cell(t, COLOUR_BOLD, json_string(o, "name"));
                table_cell(t, COLOUR_NORMAL, json_boolean(o, "imported") ? "import" : "package");
                table_cell(t, COLOUR_NORMAL, json_string(o, "signer"));
                table_cell(t, COLOUR_NORMAL, json_string(o, "digest"));
                for (size_t k = 0; k < json_length(problems); k++)
                        table_note(t, COLOUR_RED, json_object_get_string(json_item(problems, k)));
        }
        return table_print(t, !c->args.no_legend) < 0 ? ctl_oom(c) : EXIT_DONE;
}

int verb_verify(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *names = NULL, *list = json_object_new_array();
        int status = EXIT_DONE, r;
        bool ok = true;

        if (!list)
                return ctl_oom(c);
        if (n < 2) {
                r = collect_names(c, &names);
                if (r != EXIT_DONE)
                        return r;
        }
        for (size_t i = 0; i < (n < 2 ? json_length(names) : (size_t) n - 1); i++) {
                r = verify_patch(c, n < 2 ? json_object_get_string(json_item(names, i)) : words[i + 1], list,
                                 &ok);
                if (status == EXIT_DONE)
                        status = r;
        }
        if (ctl_json(c))
                r = ctl_print_json(c, list);
        else
                r = json_length(list) > 0 && !(c->args.quiet && ok) ? print_findings(c, list) : EXIT_DONE;
        if (status != EXIT_DONE)
                return status;
        return r != EXIT_DONE ? r : ok ? EXIT_DONE : EXIT_FAILED;
}
