/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See job-spec.h: from hostile bus arguments to a checked struct. Nothing here has an effect. */
#include <unistd.h>

#include "klpd/authorize.h"
#include "klpd/config.h"
#include "klpd/job-spec.h"
#include "policy/model.h"

int job_spec_new(RequestKind kind, JobSpec **ret) {
        JobSpec *s;

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (JobSpec) { .kind = kind, .module_fd = -EBADF, .interactive = true, .uid = (uid_t) -1 };
        *ret = s;
        return 0;
}

JobSpec *job_spec_free(JobSpec *s) {
        if (!s)
                return NULL;
        if (s->module_fd >= 0)
                close(s->module_fd);
        free(s->patch);
        free(s->vendor);
        free(s->stream);
        free(s->reason);
        free(s->digest);
        free(s->digest_by);
        strv_free(s->intermediates);
        strv_free(s->allow_vendor);
        free(s);
        return NULL;
}

int job_spec_set_patch(JobSpec *s, const char *patch, sd_bus_error *error) {
        if (!patch || !*patch)
                return 0;
        if (!patch_name_is_valid(patch)) {
                (void) sd_bus_error_set(
                                error, SD_BUS_ERROR_INVALID_ARGS,
                                "Not the name of a patch: patches are named as modules are, not by path");
                return -EINVAL;
        }
        s->patch = strdup(patch);
        return s->patch ? 0 : -ENOMEM;
}

static bool text_is_clean(const char *text) {
        for (const unsigned char *p = (const unsigned char *) text; *p; p++)
                if (*p < ' ' || *p == 0x7f)
                        return false;
        return true;
}

static int read_boolean(sd_bus_message *m, bool *field) {
        int b, r;

        r = sd_bus_message_read(m, "v", "b", &b);
        if (r >= 0)
                *field = b;
        return r;
}

static int option_level(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        s->has_level = true;
        return sd_bus_message_read(m, "v", "u", &s->level);
}

static int option_stream(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        const char *text;
        int r;

        r = sd_bus_message_read(m, "v", "s", &text);
        if (r < 0)
                return r;
        r = patch_parse_stream(text, &s->vendor, &s->stream);
        if (r == -EINVAL)
                (void) sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Option 'stream' isn't of the form VENDOR/STREAM");
        return r;
}

static int option_reason(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        const char *text;
        int r;

        r = sd_bus_message_read(m, "v", "s", &text);
        if (r < 0)
                return r;
        if (strlen(text) > JOB_REASON_MAX)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "Option 'reason' is longer than %u bytes", JOB_REASON_MAX);
        if (!text_is_clean(text))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Option 'reason' has control characters in it");
        if (!*text)
                return 0;
        s->reason = strdup(text);
        return s->reason ? 0 : -ENOMEM;
}

static int option_timeout(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        int r;

        r = sd_bus_message_read(m, "v", "t", &s->timeout_usec);
        if (r < 0)
                return r;
        if (s->timeout_usec < 1 || s->timeout_usec > CONFIG_TIMEOUT_MAX_USEC)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Option 'timeout-usec' isn't between a microsecond and seven days");
        return 0;
}

static int option_accept_irreversible(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        return read_boolean(m, &s->accept_irreversible);
}

static int option_replace_foreign(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        return read_boolean(m, &s->replace_foreign);
}

static int option_interactive(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        return read_boolean(m, &s->interactive);
}

static int option_allow_vendor(JobSpec *s, sd_bus_message *m, sd_bus_error *error) {
        const char *vendor;
        unsigned n = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_enter_container(m, 'a', "s");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read_basic(m, 's', &vendor)) > 0) {
                if (++n > JOB_ALLOW_VENDOR_MAX || !patch_name_is_valid(vendor))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "Option 'allow-vendor' has more than %u entries or one "
                                                 "that is no vendor's name",
                                                 JOB_ALLOW_VENDOR_MAX);
                r = strv_extend(&s->allow_vendor, vendor);
                if (r < 0)
                        return r;
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        if (r >= 0)
                r = sd_bus_message_exit_container(m);
        return r;
}

static const struct {
        const char *name;
        int (*read)(JobSpec *s, sd_bus_message *m, sd_bus_error *error);
} options[] = {
        { "level", option_level },
        { "stream", option_stream },
        { "reason", option_reason },
        { "timeout-usec", option_timeout },
        { "accept-irreversible", option_accept_irreversible },
        { "replace-foreign", option_replace_foreign },
        { "allow-vendor", option_allow_vendor },
        { "interactive", option_interactive },
};

static int job_spec_read_option(JobSpec *s, sd_bus_message *m, uint32_t *seen, sd_bus_error *error) {
        const char *name;
        int r;

        r = sd_bus_message_read_basic(m, 's', &name);
        if (r < 0)
                return r;
        for (size_t i = 0; i < ELEMENTSOF(options); i++) {
                if (!streq(options[i].name, name))
                        continue;
                if (*seen & (UINT32_C(1) << i))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "Option '%s' is given twice", name);
                *seen |= UINT32_C(1) << i;
                r = options[i].read(s, m, error);
                if (r == -ENXIO && !sd_bus_error_is_set(error))
                        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                                 "Option '%s' is of the wrong type", name);
                return r;
        }
        return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Unknown option '%s'", name);
}

int job_spec_read_options(JobSpec *s, sd_bus_message *message, sd_bus_error *error) {
        uint32_t seen = 0;
        int r;

        r = sd_bus_message_enter_container(message, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(message, 'e', "sv")) > 0) {
                r = job_spec_read_option(s, message, &seen, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(message);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        r = sd_bus_message_exit_container(message);
        if (r < 0)
                return r;

        if (s->stream && !s->has_level)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Option 'stream' means nothing without 'level'");
        if (s->has_level && (s->patch || s->module_fd >= 0))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Give a patch or a level, not both");
        if (s->has_level && s->kind == REQUEST_DISABLE)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "What is to be disabled is named, not given by level");
        if ((s->kind == REQUEST_APPLY || s->kind == REQUEST_CONVERGE) && !s->patch && s->module_fd < 0 && !s->has_level)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "Neither a patch nor a level is given");
        return 0;
}

void job_spec_actions(const JobSpec *s, const char *ret_actions[static JOB_ACTIONS_MAX + 1]) {
        size_t n = 0;

        switch (s->kind) {
        case REQUEST_APPLY:
        case REQUEST_CONVERGE:
                ret_actions[n++] = s->module_fd >= 0 ? ACTION_APPLY_FILE : ACTION_APPLY;
                break;
        case REQUEST_DOWNGRADE:
                ret_actions[n++] = ACTION_DOWNGRADE;
                break;
        case REQUEST_DISABLE:
        case _REQUEST_KIND_MAX:
        case _REQUEST_KIND_INVALID:
                ret_actions[n++] = ACTION_DISABLE;
                break;
        }
        if (s->accept_irreversible)
                ret_actions[n++] = ACTION_ACCEPT_IRREVERSIBLE;
        if (s->replace_foreign)
                ret_actions[n++] = ACTION_REPLACE_FOREIGN;
        if (s->allow_vendor)
                ret_actions[n++] = ACTION_ALLOW_VENDOR;
        ret_actions[n] = NULL;
}

void job_spec_to_request(const JobSpec *s, Patch *candidate, Request *ret) {
        *ret = (Request) {
                .kind = s->kind,
                .candidate = candidate,
                .patch = candidate ? NULL : s->patch,
                .has_level = !candidate && s->has_level,
                .level = s->level,
                .vendor = s->vendor,
                .stream = s->stream,
                .replace_foreign = s->replace_foreign,
                .accept_irreversible = s->accept_irreversible,
                .allow_vendor = s->allow_vendor,
                .intermediates = s->intermediates,
        };
}
