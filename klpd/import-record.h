/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is written down when a patch is imported (NAME.klp.import beside the module): the digest of its
 * content, which later counts as pinned (SEMANTICS.md section 4, `integrity`), when, and for whom. A small
 * versioned JSON document; one that can't be trusted is an error, never an absent one.
 */
#pragma once

#include <sys/types.h>

#include "policy/error.h"

#define IMPORT_RECORD_SUFFIX ".klp.import"
#define IMPORT_RECORD_VERSION 1U
#define IMPORT_RECORD_BYTES_MAX 4096U

typedef struct ImportRecord {
        char *digest;
        uint64_t time_usec; /* CLOCK_REALTIME */
        uint32_t uid;
} ImportRecord;

void import_record_done(ImportRecord *r);

/* -EBADMSG: not acceptable, error says why; -ENOMEM. */
int import_record_parse(const char *text, size_t size, ImportRecord *ret, PolicyError *error);
int import_record_format(const ImportRecord *record, char **ret);
/* path below root_fd. -ENOENT: there is none; otherwise error says what is wrong. */
int import_record_read(int root_fd, const char *path, ImportRecord *ret, PolicyError *error);
