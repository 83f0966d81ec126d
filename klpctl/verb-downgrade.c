/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl downgrade [NAME|LEVEL]: go to a lower level; without a goal, one step down. */
#include "job.h"
#include "request.h"

int verb_downgrade(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        const char *word = n > 1 ? words[1] : NULL;
        char what[160];
        int r;

        r = request_new_call(c, "Downgrade", NULL, NULL, word, &call);
        if (r != EXIT_DONE)
                return r;

        return job_run(c, call, request_describe(c, "downgrade", word, what, sizeof(what)));
}
