/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages between klpd and klpd-helper, over a SOCK_SEQPACKET socket of this host and this build: fixed
 * size, native byte order, no pointers, nothing to parse. One request, one reply, in turn; a connection may
 * carry several.
 *
 *   request  exactly sizeof(HelperRequest); one file descriptor with it for HELPER_LOAD, none for all others
 *   reply    exactly sizeof(HelperReply), followed by data_size bytes (the stacks, one behind the other)
 *
 * Strings are NUL-terminated inside their field; what a field isn't used for is zero. Whoever gets a message
 * that breaks one of these rules drops the connection.
 */
#pragma once

#include "klpd/helper-client.h"

#define HELPER_MAGIC 0x6b6c7068U /* "klph" */
#define HELPER_VERSION 1U

#define HELPER_NAME_SIZE 64U
#define HELPER_PARAMS_SIZE 1024U
#define HELPER_TEXT_SIZE 400U
#define HELPER_STACK_MAX 4096U
#define HELPER_DATA_MAX (HELPER_TASKS_MAX * HELPER_STACK_MAX)

typedef enum HelperOperation {
        HELPER_LOAD = 1,
        HELPER_LOAD_SHIM,
        HELPER_ENABLE,
        HELPER_WRITE_ENABLED,
        HELPER_UNLOAD,
        HELPER_READ_STACKS,
        HELPER_FORCE,
        _HELPER_OPERATION_MAX,
} HelperOperation;

#define HELPER_FLAG_VALUE (1U << 0)  /* WRITE_ENABLED: write 1 */
#define HELPER_FLAG_SETTLE (1U << 1) /* LOAD, ENABLE, WRITE_ENABLED */

typedef struct HelperRequest {
        uint32_t magic, version;
        uint64_t cookie;
        uint32_t operation; /* HelperOperation */
        uint32_t flags;
        uint64_t generation; /* ENABLE */
        uint32_t settle_max_cpus, settle_max_usec;
        uint32_t n_tasks;    /* READ_STACKS */
        uint32_t reserved;
        HelperTask tasks[HELPER_TASKS_MAX];
        char name[HELPER_NAME_SIZE];     /* all but LOAD_SHIM and READ_STACKS */
        char params[HELPER_PARAMS_SIZE]; /* LOAD */
} HelperRequest;

typedef struct HelperReply {
        uint32_t magic, version;
        uint64_t cookie;   /* of the request */
        int32_t error;     /* negative errno or 0 */
        uint32_t n_stacks; /* READ_STACKS: as many as tasks were asked for */
        uint32_t data_size;
        uint32_t reserved;
        uint32_t stack_size[HELPER_TASKS_MAX]; /* 0: could not be read */
        char text[HELPER_TEXT_SIZE];           /* a sentence if error is set */
} HelperReply;

/* 0, or -EBADMSG: this is no request of this protocol. has_fd: a descriptor came with it. */
int helper_request_check(const void *bytes, size_t size, bool has_fd);
/* The same for the reply to a request with that cookie and that number of tasks. */
int helper_reply_check(const void *bytes, size_t size, const HelperRequest *request);

const char *helper_operation_to_string(HelperOperation op); /* "load", … ; NULL if out of range */
/* "enable of 'x'"; returns buf. */
char *helper_request_describe(const HelperRequest *request, char *buf, size_t size);
