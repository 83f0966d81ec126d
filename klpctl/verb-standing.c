/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl accept|reject|quarantine: what this host thinks of contents, and saying so. */
#include "job.h"
#include "policy/json.h"
#include "request.h"
#include "table.h"

static int call(Ctl *c, sd_bus_message *m, int r, const char *what, const char *name, const char *done) {
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        ctl_agent(c);
        r = ctl_bus_send(c, m, what, NULL);
        if (r == EXIT_DONE && !ctl_json(c) && !c->args.quiet)
                printf("%s: %s\n", name, done);
        return r == EXIT_DONE ? ctl_failure(c, EXIT_DONE, "", "") : r;
}

int verb_accept(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = ctl_bus_new_call(c, "Accept", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "s", words[1]);
        return call(c, m, r, "accept the patch", words[1], "accepted, it is applied at boot");
}

int verb_reject(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char what[160];
        int r;

        r = ctl_bus_new_call(c, "Reject", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "ss", words[1], c->args.reason ?: "");
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        return job_run(c, m, request_describe(c, "reject", words[1], what, sizeof(what)));
}

static int read_record(Ctl *c, json_object **ret) {
        _cleanup_json_ json_object *text = NULL;
        const char *s;
        int r;

        r = ctl_bus_get(c, "HostRecord", NULL, "read what is known of patches", &text);
        if (r != EXIT_DONE)
                return r;
        s = json_object_get_string(text) ?: "";
        r = json_parse_strict(s, strlen(s), ret, NULL);
        if (r < 0) {
                ctl_error(c, "klpd's answer can't be read: %s", strerror(-r));
                return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_INCONSISTENT_MESSAGE, strerror(-r));
        }
        return EXIT_DONE;
}

/* What the repository knows of these contents, by their digest: the level, and the name where the record has none. */
static int add_levels(Ctl *c, json_object *list) {
        _cleanup_json_ json_object *patches = NULL;
        int r;

        if (json_length(list) == 0)
                return EXIT_DONE;
        r = ctl_bus_patches(c, &patches);
        if (r != EXIT_DONE)
                return r;
        for (size_t i = 0; i < json_length(list); i++)
                for (size_t k = 0; k < json_length(patches); k++) {
                        json_object *q = json_item(list, i), *p = json_item(patches, k);

                        if (!streq(json_string(q, "digest"), json_string(p, "digest")))
                                continue;
                        if (json_set_member(q, "level", json_object_get(json_member(p, "level"))) < 0 ||
                            (streq(json_string(q, "name"), "unknown") &&
                             json_set_member(q, "name", json_object_get(json_member(p, "name"))) < 0))
                                return ctl_oom(c);
                        break;
                }
        return EXIT_DONE;
}

static int list_quarantine(Ctl *c) {
        static const Column columns[] = {
                { .title = "PATCH", .shrink = true, .min = 12 },
                { .title = "LEVEL", .right = true },
                { .title = "DIGEST" },
                { .title = "WHY", .shrink = true, .min = 16 },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *record = NULL;
        json_object *list;
        int r;

        r = read_record(c, &record);
        if (r != EXIT_DONE)
                return r;
        list = json_array(record, "quarantine");
        r = add_levels(c, list);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, list);
        if (json_length(list) == 0) {
                if (!c->args.no_legend)
                        printf("Nothing is in quarantine.\n");
                return EXIT_DONE;
        }
        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(list); i++) {
                json_object *q = json_item(list, i);

                table_cell(t, COLOUR_BOLD, json_string(q, "name"));
                if (json_has(q, "level"))
                        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(q, "level"));
                else
                        table_cell(t, COLOUR_GREY, terminal_glyph(&c->terminal, GLYPH_NONE));
                table_cellf(t, COLOUR_NORMAL, "%.16s", json_string(q, "digest"));
                table_cell(t, COLOUR_NORMAL, json_string(q, "reason"));
        }
        return table_print(t, !c->args.no_legend) < 0 ? ctl_oom(c) : EXIT_DONE;
}

int verb_quarantine(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (n < 2)
                return c->args.remove ? ctl_usage(c, "Remove what from quarantine? A patch or a digest is needed.")
                                      : list_quarantine(c);
        r = ctl_bus_new_call(c, "Quarantine", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "sbs", words[1], (int) c->args.remove, c->args.reason ?: "");
        return call(c, m, r, c->args.remove ? "release it from quarantine" : "put it into quarantine",
                    words[1], c->args.remove ? "out of quarantine" : "in quarantine, it isn't applied again");
}
