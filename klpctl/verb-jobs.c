/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl jobs: requests under way. */
#include "bus.h"
#include "table.h"

int verb_jobs(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "JOB", .right = true },
                { .title = "REQUEST" },
                { .title = "PATCH", .shrink = true, .min = 12 },
                { .title = "STEP" },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *jobs = NULL;
        int r;

        r = ctl_bus_jobs(c, &jobs);
        if (r != EXIT_DONE)
                return r;
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
