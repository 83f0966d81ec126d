/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Has a module's bytes read by a sandboxed child, klpd-inspect, asynchronously: a sealed memfd goes in; a
 * Patch, its digest, and a sealed memfd with the decompressed content come out. Whatever the bytes do to the
 * parser, the child has no file, socket, capability or right to make any, and is bounded in time, memory and
 * output; what it prints is hostile to klpd, and read with policy's strict parser. The digest is computed by
 * this side, from the sealed content.
 *
 * The result's content fd is what is to be measured, planned with and loaded: nothing can change it any
 * more.
 *
 * What was said of the same bytes before is taken from a memory, where there is one (inspect-memory.h): no child then.
 *
 * The callback comes once, from the event loop, unless the request is freed before: that ends it without a
 * callback (the child is killed). Errors: those of patch-file.h; -ETIMEDOUT; -EPROTO the child died or
 * printed nonsense; -EPERM no seals on fd; what fork/exec say. `text` is a sentence, never NULL.
 */
#pragma once

#include <systemd/sd-event.h>

#include "klpd/inspect-memory.h"
#include "klpd/sealed-memfd.h"
#include "policy/model.h"

typedef struct InspectRequest InspectRequest;

typedef struct InspectResult {
        Patch *patch;             /* with digest, build_id and so on; take a reference to keep it */
        char *vermagic;
        int content_fd;           /* sealed memfd of the decompressed module; dup to keep it */
        size_t signature_size;    /* appended signature, 0: none */
        bool has_module_relocations;
        bool remembered;          /* no child was asked: no time has passed */
} InspectResult;

typedef struct InspectSpec {
        const char *program;    /* NULL: the installed klpd-inspect */
        uint64_t timeout_usec;  /* 0: 10 s */
        InspectMemory *memory;  /* NULL: none; outlives the request */
} InspectSpec;

/* result is NULL on error, and the callback's only for its duration. The request is finished: free it any
 * time. */
typedef void (*InspectCallback)(InspectRequest *r, int error, const char *text, const InspectResult *result,
                                void *userdata);

/* Starts. fd: memfd with F_SEAL_WRITE|GROW|SHRINK|SEAL, duplicated. */
int inspect_request_new(sd_event *event, int fd, const InspectSpec *spec, InspectCallback callback, void *userdata,
                        InspectRequest **ret);
InspectRequest *inspect_request_free(InspectRequest *r); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(InspectRequest *, inspect_request_free);
#define _cleanup_inspect_request_free_ _cleanup_(inspect_request_freep)
