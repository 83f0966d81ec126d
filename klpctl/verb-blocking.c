/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl blocking: the tasks that the transition under way still waits for. */
#include "bus.h"
#include "table.h"

static void add_row(Table *t, json_object *task) {
        json_object *stack = json_array(task, "stack");

        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(task, "pid"));
        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(task, "tid"));
        if (json_boolean(task, "kernel-thread"))
                table_cellf(t, COLOUR_NORMAL, "[%s]", json_string(task, "comm"));
        else
                table_cell(t, COLOUR_NORMAL, json_string(task, "comm"));
        table_cell(t, COLOUR_YELLOW, json_string(task, "function"));
        table_cell(t, COLOUR_NORMAL, json_string(task, "unit"));
        for (size_t i = 0; i < json_length(stack); i++)
                table_note(t, COLOUR_GREY, json_object_get_string(json_item(stack, i)) ?: "");
}

/* An empty list has two meanings (SEMANTICS.md: idle CPUs can't be listed). */
static int say_empty(Ctl *c) {
        _cleanup_json_ json_object *properties = NULL;
        _cleanup_free_ char *transition = NULL;
        int r;

        r = ctl_bus_properties(c, &properties);
        if (r != EXIT_DONE)
                return r;

        transition = text_printable(&c->terminal, json_string(properties, "Transition"));
        if (!transition)
                return ctl_oom(c);
        if (!*transition)
                printf("No transition is under way.\n");
        else
                printf("%s is in transition, and no task that can be listed is in its way: idle CPUs may "
                       "be, which the "
                       "kernel switches at its next pass.\n",
                       transition);

        return EXIT_DONE;
}

int verb_blocking(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "PID", .right = true },
                { .title = "TID", .right = true },
                { .title = "TASK", .shrink = true, .min = 8 },
                { .title = "IN FUNCTION", .shrink = true, .min = 11, .hide_empty = true },
                { .title = "UNIT", .shrink = true, .min = 8, .hide_empty = true },
        };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *tasks = NULL;
        const char *what = c->args.stacks ? "read the kernel stacks of tasks" : "list the tasks in the way";
        int r;

        r = ctl_bus_new_call(c, "ListBlocking", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "b", (int) c->args.stacks);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);
        if (c->args.stacks)
                ctl_agent(c);
        r = ctl_bus_send(c, m, what, &reply);
        if (r != EXIT_DONE)
                return r;
        r = json_from_message(reply, &tasks);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);

        if (ctl_json(c))
                return ctl_print_json(c, tasks);
        if (json_length(tasks) == 0)
                return say_empty(c);

        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(tasks); i++)
                add_row(t, json_item(tasks, i));
        if (table_print(t, !c->args.no_legend) < 0)
                return ctl_oom(c);

        return EXIT_DONE;
}
