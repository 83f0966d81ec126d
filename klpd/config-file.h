/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files in systemd's ini dialect, with drop-ins, for klpd.conf(5) and klp-fleet.conf(5): a program declares its
 * sections and keys as tables, and gets a struct. Values are of fixed size, the struct owns nothing.
 */
#pragma once

#include "policy/util.h"

/* Told about every line that is ignored, once each: "/etc/klpd/klpd.conf:3: …". */
typedef void (*ConfigReport)(const char *text, void *userdata);

typedef struct ConfigKey {
        const char *name;
        int (*parse)(const char *value, void *field); /* -EINVAL, -ERANGE: the field is as it was */
        size_t offset;                                /* of field in the target */
} ConfigKey;

typedef struct ConfigSection {
        const char *name;
        const ConfigKey *keys;
        size_t n_keys;
} ConfigSection;

/*
 * Reads klpd/NAME from the first of etc, run, usr/lib that has it, then the drop-ins klpd/NAME.d/?*.conf of all
 * three, in the order of their file names, a file in etc hiding those of the same name in run and usr/lib (an
 * empty file or a link to /dev/null masks). Missing files are fine; lines that make no sense are reported and
 * ignored, and what target had stays. Fails only for want of memory or when a file exists and can't be read;
 * target may have been written in part then.
 */
int config_file_load(int root_fd, const char *name, const ConfigSection *sections, size_t n_sections,
                     void *target, ConfigReport report, void *userdata);

#define CONFIG_TIMEOUT_MAX_USEC (UINT64_C(7) * 24 * 3600 * 1000000)
#define CONFIG_PATH_MAX 256U

/* "90", "90s", "1min 30s", "500ms", "2h"; a plain number is seconds. -EINVAL, or -ERANGE beyond
 * CONFIG_TIMEOUT_MAX_USEC. */
int config_parse_timespan(const char *text, uint64_t *ret_usec);

/* For tables of keys. */
int parse_timespan(const char *value, void *field);          /* uint64_t, microseconds */
int parse_positive_timespan(const char *value, void *field); /* the same, 0 is -ERANGE */
int parse_boolean(const char *value, void *field);           /* bool */
int parse_path(const char *value, void *field); /* char[CONFIG_PATH_MAX]: absolute, of a file; "": none */
