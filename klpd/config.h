/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd.conf(5): what the administrator sets about how klpd works. What is allowed to be applied is
 * policy.json's affair, not this file's.
 */
#pragma once

#include "policy/util.h"

typedef enum StallAction {
        STALL_REVERSE, /* go back */
        STALL_WAIT,    /* go on waiting */
        STALL_LEAVE,   /* leave it to the kernel, and say so */
        STALL_NUDGE,   /* freeze and thaw the units in the way before that, then go back */
} StallAction;

typedef struct Config {
        uint64_t transition_timeout_usec; /* TransitionTimeoutSec=: then the transition is reversed */
        uint64_t helper_timeout_usec; /* HelperTimeoutSec=: one load, enable or write; then it is reported as
                                         hung */
        uint64_t module_grace_usec; /* ModuleGraceSec=: how long a module that is no longer used stays loaded
                                     */
        StallAction stall_action; /* StallAction=: at the deadline that the configuration gives */
        bool settle_assist;               /* SettleAssist= */
        unsigned settle_assist_cpus;      /* SettleAssistMaxCPUs= */
} Config;

#define CONFIG_TIMEOUT_MAX_USEC (UINT64_C(7) * 24 * 3600 * 1000000)
#define CONFIG_CPUS_MAX 1024U

/* Told about every line that is ignored, once each: "/etc/klpd/klpd.conf:3: …". */
typedef void (*ConfigReport)(const char *text, void *userdata);

void config_init(Config *config);

/*
 * Reads klpd/klpd.conf from the first of etc, run, usr/lib that has it, then the drop-ins
 * klpd/klpd.conf.d/?*.conf of all three, in the order of their file names, a file in etc hiding those of the
 * same name in run and usr/lib (an empty file or a link to /dev/null masks). Missing files are fine; lines
 * that make no sense are reported and ignored, and the defaults stay. Fails only for want of memory or when
 * a file exists and can't be read.
 */
int config_load(int root_fd, ConfigReport report, void *userdata, Config *ret);

/* "90", "90s", "1min 30s", "500ms", "2h"; a plain number is seconds. -EINVAL, or -ERANGE beyond
 * CONFIG_TIMEOUT_MAX_USEC. */
int config_parse_timespan(const char *text, uint64_t *ret_usec);
