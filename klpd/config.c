/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config.h. The one section is [Manager]; the keys are one table. */
#include <ctype.h>
#include <stdio.h>

#include "klpd/config.h"

void config_init(Config *config) {
        *config = (Config) {
                .transition_timeout_usec = UINT64_C(120) * 1000000,
                .helper_timeout_usec = UINT64_C(60) * 1000000,
                .module_grace_usec = UINT64_C(600) * 1000000,
                .probation_usec = UINT64_C(600) * 1000000,
                .boot_healthy_usec = UINT64_C(120) * 1000000,
                .fleet_retry_usec = UINT64_C(60) * 1000000,
                .fleet_tries = 3,
                .metrics_file = "/var/lib/prometheus/node-exporter/klpd.prom",
                .settle_assist = true,
                .settle_assist_cpus = 16,
        };
}

static int parse_stall_action(const char *value, void *field) {
        static const char *const names[] = {
                [STALL_REVERSE] = "reverse",
                [STALL_WAIT] = "wait",
                [STALL_LEAVE] = "leave",
                [STALL_NUDGE] = "nudge",
        };

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
                if (streq(value, names[i])) {
                        *(StallAction *) field = (StallAction) i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_cpus(const char *value, void *field) {
        unsigned long n;
        char *end;

        if (!isdigit((unsigned char) *value))
                return -EINVAL;
        errno = 0;
        n = strtoul(value, &end, 10);
        if (errno != 0 || *end)
                return -EINVAL;
        if (n < 1 || n > CONFIG_CPUS_MAX)
                return -ERANGE;
        *(unsigned *) field = (unsigned) n;
        return 0;
}

static const char *const modes[] = {
        [MODE_NORMAL] = "normal",
        [MODE_OBSERVE] = "observe",
        [MODE_OFF] = "off",
};

const char *mode_to_string(Mode mode) {
        return modes[mode];
}

int mode_from_string(const char *text, Mode *ret) {
        for (size_t i = 0; i < ELEMENTSOF(modes); i++)
                if (streq(modes[i], text)) {
                        *ret = (Mode) i;
                        return 0;
                }
        return -EINVAL;
}

static int parse_mode(const char *value, void *field) {
        return mode_from_string(value, field);
}

void config_apply_command_line(Config *config, const char *line, ConfigReport report, void *userdata) {
        static const char key[] = "klpd.mode=";

        for (const char *p = line; *p;) {
                size_t n = strcspn(p, " \t\n"), k = strlen(key);
                char value[32], text[128];

                if (n >= k && strncmp(p, key, k) == 0) {
                        (void) snprintf(value, sizeof(value), "%.*s", (int) (n - k < 31 ? n - k : 31), p + k);
                        if (mode_from_string(value, &config->mode) < 0) {
                                config->mode = MODE_OBSERVE;
                                (void) snprintf(text, sizeof(text),
                                                "klpd.mode=%s on the kernel command line isn't known (normal, "
                                                "observe, off): taken for observe",
                                                value);
                                if (report)
                                        report(text, userdata);
                        }
                }
                p += n;
                p += strspn(p, " \t\n");
        }
}

static int parse_tries(const char *value, void *field) {
        size_t n = strlen(value);

        if (n < 1 || n > 3 || strspn(value, "0123456789") != n)
                return -EINVAL;
        n = strtoul(value, NULL, 10);
        if (n < 1 || n > CONFIG_TRIES_MAX)
                return -ERANGE;
        *(unsigned *) field = (unsigned) n;
        return 0;
}

static const ConfigKey config_keys[] = {
        { "TransitionTimeoutSec", parse_positive_timespan, offsetof(Config, transition_timeout_usec) },
        { "HelperTimeoutSec", parse_positive_timespan, offsetof(Config, helper_timeout_usec) },
        { "ModuleGraceSec", parse_timespan, offsetof(Config, module_grace_usec) },
        { "StallAction", parse_stall_action, offsetof(Config, stall_action) },
        { "ProbationSec", parse_timespan, offsetof(Config, probation_usec) },
        { "BootHealthySec", parse_positive_timespan, offsetof(Config, boot_healthy_usec) },
        { "Mode", parse_mode, offsetof(Config, mode) },
        { "FleetRetrySec", parse_positive_timespan, offsetof(Config, fleet_retry_usec) },
        { "FleetTries", parse_tries, offsetof(Config, fleet_tries) },
        { "FleetSlot", parse_boolean, offsetof(Config, fleet_slot) },
        { "MetricsFile", parse_path, offsetof(Config, metrics_file) },
        { "SettleAssist", parse_boolean, offsetof(Config, settle_assist) },
        { "SettleAssistMaxCPUs", parse_cpus, offsetof(Config, settle_assist_cpus) },
};

int config_load(int root_fd, ConfigReport report, void *userdata, Config *ret) {
        static const ConfigSection sections[] = { { "Manager", config_keys, ELEMENTSOF(config_keys) } };
        Config config;
        int r;

        config_init(&config);
        r = config_file_load(root_fd, "klpd.conf", sections, ELEMENTSOF(sections), &config, report, userdata);
        if (r < 0)
                return r;
        *ret = config;
        return 0;
}
