/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl remove PATCH…: what was imported goes from the repository; what runs stays as it is. */
#include "bus.h"

static int remove_patch(Ctl *c, const char *name) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_free_ char *what = NULL;
        const Arguments *a = &c->args;
        int r;

        if (asprintf(&what, "remove '%s'", name) < 0)
                return ctl_oom(c);
        r = ctl_bus_new_call(c, "Remove", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append_basic(m, 's', name);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0 && a->kernel)
                r = sd_bus_message_append(m, "{sv}", "kernel", "s", a->kernel);
        if (r >= 0 && a->reason)
                r = sd_bus_message_append(m, "{sv}", "reason", "s", a->reason);
        if (r >= 0 && a->no_ask_password)
                r = sd_bus_message_append(m, "{sv}", "interactive", "b", 0);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        ctl_agent(c);
        return ctl_bus_send(c, m, what, NULL);
}

int verb_remove(Ctl *c, int n, char **words) {
        int status = EXIT_DONE;

        for (int i = 1; i < n; i++) {
                int r = remove_patch(c, words[i]);

                if (r == EXIT_DONE && !ctl_json(c) && !c->args.quiet)
                        printf("%s: removed\n", words[i]);
                if (status == EXIT_DONE)
                        status = r;
        }
        return status == EXIT_DONE ? ctl_failure(c, EXIT_DONE, "", "") : status;
}
