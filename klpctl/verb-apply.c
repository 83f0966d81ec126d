/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl apply NAME|LEVEL|FILE: enable a patch, replacing what it replaces. */
#include "job.h"
#include "request.h"

int verb_apply(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *call = NULL;
        const char *word = n > 1 ? words[1] : NULL;
        char what[160];
        int r;

        if (!word && !c->args.has_level)
                return ctl_usage(c, "Apply what? A patch's name, a level, or a module file is needed.");

        r = request_new_call(c, "Apply", "ApplyFile", NULL, word, &call);
        if (r != EXIT_DONE)
                return r;

        return job_run(c, call, request_describe(c, "apply", word, what, sizeof(what)));
}
