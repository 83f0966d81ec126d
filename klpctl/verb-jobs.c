/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl jobs: requests under way. */
#include "bus.h"
#include "table.h"

/* ListJobs has structs; programs get names. */
static int name_members(json_object *jobs, json_object **ret) {
        static const char *const names[] = { "id", "path", "type", "patch", "step" };
        _cleanup_json_ json_object *out = json_object_new_array();

        if (!out)
                return -ENOMEM;

        for (size_t i = 0; i < json_length(jobs); i++) {
                _cleanup_json_ json_object *o = json_object_new_object();

                for (size_t k = 0; o && k < ELEMENTSOF(names); k++)
                        if (json_set_member(o, names[k], json_object_get(json_item(json_item(jobs, i), k))) <
                            0)
                                return -ENOMEM;
                if (json_array_push(out, TAKE_PTR(o)) < 0)
                        return -ENOMEM;
        }

        *ret = TAKE_PTR(out);
        return 0;
}

int verb_jobs(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "JOB", .right = true },
                { .title = "REQUEST" },
                { .title = "PATCH", .shrink = true, .min = 12 },
                { .title = "STEP" },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *raw = NULL, *jobs = NULL;
        int r;

        r = ctl_bus_get(c, "ListJobs", NULL, "list jobs", &raw);
        if (r != EXIT_DONE)
                return r;
        r = name_members(raw, &jobs);
        if (r < 0)
                return ctl_oom(c);
        if (ctl_json(c))
                return ctl_print_json(c, jobs);

        if (json_length(jobs) == 0) {
                if (!c->args.no_legend)
                        printf("No job is running.\n");
                return EXIT_DONE;
        }

        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(jobs); i++) {
                json_object *j = json_item(jobs, i);

                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(j, "id"));
                table_cell(t, COLOUR_NORMAL, json_string(j, "type"));
                table_cell(t, COLOUR_BOLD, json_string(j, "patch"));
                table_cell(t, COLOUR_NORMAL, json_string(j, "step"));
        }
        if (table_print(t, !c->args.no_legend) < 0)
                return ctl_oom(c);

        return EXIT_DONE;
}
