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
                .health_timeout_usec = UINT64_C(60) * 1000000,
                .settle_assist = true,
                .settle_assist_cpus = 16,
        };
}

void config_done(Config *config) {
        config->health_units = strv_free(config->health_units);
        config->health_commands = strv_free(config->health_commands);
}

bool config_checks_health(const Config *config) {
        return config->health_units || config->health_commands;
}

/* As systemd names them: "nginx.service", "check@disk.service". */
static bool is_unit_name(const char *s) {
        const char *dot = strrchr(s, '.');

        return dot && dot != s && dot[1] && strlen(s) <= 255 &&
               strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@") ==
                               strlen(s);
}

/* Several lines add up; an empty one clears. */
static int parse_units(const char *value, void *field) {
        _cleanup_free_ char *copy = strdup(value);
        char ***units = field, *next = copy, *word;
        int r = 0;

        if (!copy)
                return -ENOMEM;
        if (!*value) {
                *units = strv_free(*units);
                return 0;
        }
        while (r >= 0 && (word = strsep(&next, " \t"))) {
                if (!*word)
                        continue;
                if (!is_unit_name(word))
                        return -EINVAL;
                r = strv_length(*units) >= CONFIG_CHECKS_MAX ? -ERANGE : strv_extend(units, word);
        }
        return r;
}

static int parse_command(const char *value, void *field) {
        char ***commands = field;

        if (!*value) {
                *commands = strv_free(*commands);
                return 0;
        }
        if (*value != '/')
                return -EINVAL;
        return strv_length(*commands) >= CONFIG_CHECKS_MAX ? -ERANGE : strv_extend(commands, value);
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
        { "HealthUnits", parse_units, offsetof(Config, health_units) },
        { "HealthCommand", parse_command, offsetof(Config, health_commands) },
        { "HealthTimeoutSec", parse_positive_timespan, offsetof(Config, health_timeout_usec) },
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
        if (r < 0) {
                config_done(&config);
                return r;
        }
        *ret = config;
        return 0;
}
