/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl cancel [JOB]: stop a request; a transition that has begun is reversed. */
#include "bus.h"
#include "parse.h"

/* The path of a job by its number, or of the only one. */
static int find_job(Ctl *c, const char *word, json_object *jobs, const char **ret_path) {
        uint32_t id = 0;

        if (word && parse_u32(word, &id) < 0)
                return ctl_usage(c, "'%s' is no number of a job (see 'klpctl jobs').", word);
        if (!word && json_length(jobs) != 1) {
                if (json_length(jobs) > 1)
                        return ctl_usage(c, "%zu jobs are running: which one? (see 'klpctl jobs')",
                                         json_length(jobs));
                ctl_error(c, "No job is running.");
                return ctl_failure(c, EXIT_FAILED, KLPD_ERROR "NoSuchJob", "no job is running");
        }

        for (size_t i = 0; i < json_length(jobs); i++) {
                json_object *j = json_item(jobs, i);

                if (word && json_object_get_uint64(json_item(j, 0)) != id)
                        continue;
                *ret_path = json_object_get_string(json_item(j, 1));
                return EXIT_DONE;
        }

        ctl_error(c, "Job %s is not running (see 'klpctl jobs').", word);
        return ctl_failure(c, EXIT_FAILED, KLPD_ERROR "NoSuchJob", "no such job");
}

int verb_cancel(Ctl *c, int n, char **words) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_json_ json_object *jobs = NULL;
        const char *path = NULL;
        int r;

        r = ctl_bus_get(c, "ListJobs", NULL, "list jobs", &jobs);
        if (r != EXIT_DONE)
                return r;
        r = find_job(c, n > 1 ? words[1] : NULL, jobs, &path);
        if (r != EXIT_DONE)
                return r;

        ctl_agent(c);
        r = sd_bus_message_new_method_call(c->bus, &m, KLPD_NAME, path, KLPD_JOB, "Cancel");
        if (r >= 0)
                r = sd_bus_call(c->bus, m, UINT64_MAX, &error, NULL);
        if (r < 0)
                return ctl_bus_error(c, &error, r, "cancel the job");

        return ctl_json(c) ? ctl_failure(c, EXIT_DONE, "", "") : EXIT_DONE;
}
