/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd-inspect has said of the last few modules, by the SHA-256 of the bytes that it read. The answer depends on
 * nothing else (a signature is checked elsewhere, each time), so that the same bytes needn't be parsed once more: a file
 * is inspected when it is found or imported, and again when it is applied, and starting a sandbox is most of what that
 * takes.
 *
 * Bounded: the last INSPECT_MEMORY_MAX answers of at most INSPECT_ANSWER_MAX bytes each, and only in memory. Of a
 * compressed module nothing is kept, because its content would have to be, too. Refusals aren't kept either: their
 * reason may be that memory was short.
 */
#pragma once

#include <json-c/json.h>

#include "klpd/sha256.h"
#include "policy/util.h"

#define INSPECT_MEMORY_MAX 16U
#define INSPECT_ANSWER_MAX (32U * 1024U)

typedef struct InspectMemory {
        struct {
                uint8_t key[SHA256_SIZE];
                char *answer; /* NULL: free */
        } entries[INSPECT_MEMORY_MAX];
        size_t next; /* the one that goes next: the oldest */
} InspectMemory;

void inspect_memory_done(InspectMemory *m);

/* SHA-256 of what is behind fd, a sealed memfd. */
int inspect_memory_key(int fd, uint8_t ret[static SHA256_SIZE]);

/* The answer about these bytes: json_object_put() it. NULL: not known, or no memory. */
struct json_object *inspect_memory_find(const InspectMemory *m, const uint8_t key[static SHA256_SIZE]);
/* What doesn't fit isn't kept, which is no error. */
void inspect_memory_keep(InspectMemory *m, const uint8_t key[static SHA256_SIZE], struct json_object *answer);
