/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which modules are to be removed, and when, for the klpd that comes after this one: run/klpd/collector. It
 * is of this boot only, as modules are. A first line "klpd-collector 1 BOOT-ID", then "NAME USEC" for each, in
 * CLOCK_MONOTONIC.
 */
#pragma once

#include "policy/model.h"

#define COLLECTOR_RECORD_PATH "run/klpd/collector"
#define COLLECTOR_RECORD_BYTES_MAX (512U * 1024U)
#define COLLECTOR_ITEMS_MAX 4096U

typedef struct CollectorEntry {
        char name[PATCH_NAME_MAX + 1];
        uint64_t due_usec;
} CollectorEntry;

/* malloc'ed. */
int collector_record_format(const char *boot_id, const CollectorEntry *entries, size_t n, char **ret);
/* -EBADMSG: not what this writes; -ESTALE: of another boot. *ret is malloc'ed. */
int collector_record_parse(const char *text, size_t size, const char *boot_id, CollectorEntry **ret,
                           size_t *ret_n);
