/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl disable NAME: take a patch out. */
#include "job.h"
#include "request.h"

int verb_disable(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        char what[160];
        int r;

        if (target_kind(words[1]) != TARGET_NAME)
                return ctl_usage(c,
                                 "disable takes the name of an enabled patch (see 'klpctl list'), not '%s'.",
                                 words[1]);

        r = request_new_call(c, "Disable", NULL, NULL, words[1], &call);
        if (r != EXIT_DONE)
                return r;

        return job_run(c, call, request_describe(c, "disable", words[1], what, sizeof(what)));
}
