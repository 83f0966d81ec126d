/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd.conf(5): what the administrator sets about how klpd works. What is allowed to be applied is
 * policy.json's affair, not this file's.
 */
#pragma once

#include "klpd/config-file.h"
#include "policy/strv.h"

typedef enum StallAction {
        STALL_REVERSE, /* go back */
        STALL_WAIT,    /* go on waiting */
        STALL_LEAVE,   /* leave it to the kernel, and say so */
        STALL_NUDGE,   /* freeze and thaw the units in the way before that, then go back */
} StallAction;

typedef enum Mode {
        MODE_NORMAL,
        MODE_OBSERVE, /* nothing is changed, all is shown and recorded */
        MODE_OFF,     /* nothing is changed, and nothing done of klpd's own accord */
} Mode;

const char *mode_to_string(Mode mode);
int mode_from_string(const char *text, Mode *ret);

typedef struct Config {
        uint64_t transition_timeout_usec; /* TransitionTimeoutSec=: then the transition is reversed */
        uint64_t helper_timeout_usec; /* HelperTimeoutSec=: one load, enable or write; then it is reported as
                                         hung */
        uint64_t module_grace_usec; /* ModuleGraceSec=: how long a module that is no longer used stays loaded
                                     */
        StallAction stall_action; /* StallAction=: at the deadline that the configuration gives */
        uint64_t probation_usec;    /* ProbationSec=: how long a patch is on trial; 0: accepted at once */
        uint64_t boot_healthy_usec; /* BootHealthySec=: then a boot with livepatches is taken for healthy */
        Mode mode;                  /* Mode=, or klpd.mode= on the kernel command line */
        uint64_t fleet_retry_usec;  /* FleetRetrySec=: after the first failure; then twice as long each time */
        unsigned fleet_tries;       /* FleetTries=: requests for one goal of a fleet document, in one boot */
        bool fleet_slot;            /* FleetSlot=: such a request waits for klp-fleet's slot (fleet-slot.h) */
        char metrics_file[CONFIG_PATH_MAX]; /* MetricsFile=; "": none */
        char **health_units;        /* HealthUnits= */
        char **health_commands;     /* HealthCommand=, each one line */
        uint64_t health_timeout_usec; /* HealthTimeoutSec=: for all of them together */
        bool settle_assist;               /* SettleAssist= */
        unsigned settle_assist_cpus;      /* SettleAssistMaxCPUs= */
} Config;

#define CONFIG_CPUS_MAX 1024U
#define CONFIG_TRIES_MAX 100U
#define CONFIG_CHECKS_MAX 64U /* units and commands, each */

void config_init(Config *config);
void config_done(Config *config);
bool config_checks_health(const Config *config);

/* klpd.conf and its drop-ins, over the defaults: config_file_load(). */
int config_load(int root_fd, ConfigReport report, void *userdata, Config *ret);

/* The last klpd.mode= of a kernel command line, over what is configured. One that can't be understood is
 * reported, and means observe: somebody wanted klpd to do less. */
void config_apply_command_line(Config *config, const char *line, ConfigReport report, void *userdata);
