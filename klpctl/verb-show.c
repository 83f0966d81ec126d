/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl show PATCH: all that is known of one patch. */
#include "bus.h"
#include "policy/json.h"
#include "table.h"

static void line(Ctl *c, const char *name, const char *value) {
        _cleanup_free_ char *printable = text_printable(&c->terminal, value);

        if (!printable || !*printable)
                return;

        printf("%12s: ", name);
        text_wrap(&c->terminal, stdout, COLOUR_NORMAL, printable, 14);
}

static void list_line(Ctl *c, json_object *p, const char *name, const char *key) {
        _cleanup_free_ char *text = json_join(json_array(p, key), ", ");

        line(c, name, text ?: "");
}

static int print_states(Ctl *c, json_object *states) {
        static const Column columns[] = {
                { .title = "STATE", .right = true },
                { .title = "NAME", .shrink = true, .min = 8, .hide_empty = true },
                { .title = "VERSION", .right = true },
                { .title = "FLAGS", .shrink = true, .min = 8, .hide_empty = true },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        if (json_length(states) == 0)
                return 0;

        for (size_t i = 0; i < json_length(states); i++) {
                json_object *s = json_item(states, i);
                _cleanup_free_ char *flags = json_join(json_array(s, "flags"), " ");

                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(s, "id"));
                table_cell(t, COLOUR_NORMAL, json_string(s, "name"));
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(s, "version"));
                table_cell(t, COLOUR_NORMAL, flags);
        }

        putchar('\n');
        return table_print(t, !c->args.no_legend);
}

static int print_functions(Ctl *c, json_object *functions) {
        static const Column columns[] = {
                { .title = "OBJECT", .shrink = true, .min = 8 },
                { .title = "FUNCTION", .shrink = true, .min = 12 },
                { .title = "SYMPOS", .right = true, .hide_empty = true },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        if (json_length(functions) == 0)
                return 0;

        for (size_t i = 0; i < json_length(functions); i++) {
                json_object *f = json_item(functions, i);

                table_cell(t, COLOUR_NORMAL, json_string(f, "object"));
                table_cell(t, COLOUR_NORMAL, json_string(f, "function"));
                if (json_u64(f, "sympos") > 0)
                        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(f, "sympos"));
                else
                        table_cell(t, COLOUR_NORMAL, "");
        }

        putchar('\n');
        return table_print(t, !c->args.no_legend);
}

static void print_head(Ctl *c, json_object *p) {
        const Terminal *t = &c->terminal;
        const char *state = json_string(p, "state"), *problem = json_string(p, "problem"),
                   *severity = json_string(p, "severity");
        _cleanup_free_ char *name = text_printable(t, json_string(p, "name")),
                            *summary = text_printable(t, json_string(p, "summary"));
        bool enabled = streq(state, "enabled");
        char text[256];

        printf("%s%s%s %s%s%s%s%s\n",
               terminal_on(t, *problem  ? COLOUR_RED
                              : enabled ? COLOUR_GREEN
                                        : COLOUR_NORMAL),
               terminal_glyph(t, *problem  ? GLYPH_CROSS
                                 : enabled ? GLYPH_DOT
                                           : GLYPH_CIRCLE),
               terminal_off(t), terminal_on(t, COLOUR_BOLD), name ?: "?", terminal_off(t),
               summary && *summary ? " - " : "", summary ?: "");

        line(c, "Problem", problem);
        if (enabled && json_has(p, "position"))
                snprintf(text, sizeof(text), "%s (position %" PRIu64 " from the bottom of the stack)", state,
                         json_u64(p, "position"));
        else
                snprintf(text, sizeof(text), "%s", state);
        line(c, "State", text);
        snprintf(text, sizeof(text), "%s%s", json_string(p, "kind"),
                 json_boolean(p, "cumulative") ? ", cumulative (replaces all that is enabled)" : "");
        line(c, "Kind", text);
        if (*json_string(p, "vendor")) {
                snprintf(text, sizeof(text), "%s/%s level %" PRIu64, json_string(p, "vendor"),
                         json_string(p, "stream"), json_u64(p, "level"));
                line(c, "Level", text);
        }
        line(c, "Kernel", json_string(p, "kernel"));
        line(c, "Severity", severity);
        list_line(c, p, "Fixes", "fixes");
        list_line(c, p, "Requires", "requires");
        list_line(c, p, "Conflicts", "conflicts");
        list_line(c, p, "Tags", "tags");
        line(c, "Digest", json_string(p, "digest"));
        line(c, "Build ID", json_string(p, "build_id"));
        line(c, "File", json_string(p, "path"));
}

/* Asks who signed the file, which is read afresh for that. */
static int print_signer(Ctl *c, json_object *p) {
        _cleanup_json_ json_object *findings = NULL;
        char text[512];
        int r;

        if (!json_boolean(p, "in_repository"))
                return EXIT_DONE;
        r = ctl_bus_get(c, "Verify", json_string(p, "name"), "verify the patch", &findings);
        if (r != EXIT_DONE)
                return r;
        if (streq(json_string(findings, "signature"), "good"))
                line(c, "Signed by", json_string(findings, "signer"));
        else if (*json_string(findings, "signature-problem")) {
                (void) snprintf(text, sizeof(text), "nobody trusted: %s", json_string(findings, "signature-problem"));
                line(c, "Signed by", text);
        }
        return EXIT_DONE;
}

int verb_show(Ctl *c, int n, char **words) {
        _cleanup_json_ json_object *text = NULL, *p = NULL;
        const char *s;
        int r;

        r = ctl_bus_get(c, "DescribePatch", words[1], "describe the patch", &text);
        if (r != EXIT_DONE)
                return r;
        s = json_object_get_string(text);
        r = json_parse_strict(s, strlen(s), &p, NULL);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "read klpd's answer");
        if (ctl_json(c))
                return ctl_print_json(c, p);

        print_head(c, p);
        r = print_signer(c, p);
        if (r != EXIT_DONE)
                return r;
        if (print_states(c, json_array(p, "states")) < 0 ||
            print_functions(c, json_array(p, "functions")) < 0)
                return ctl_oom(c);

        return EXIT_DONE;
}
