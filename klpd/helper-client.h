/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How klpd has the kernel changed: requests to klpd-helper, asynchronously, one at a time.
 *
 * Model: requests queue up here and are sent one after the other; the helper is connected to when there is
 * something to send and let go when there isn't (so that it can exit). Each request has a deadline, counted
 * from when it is sent. When it has passed, the callback is told -ETIMEDOUT, once, and the client is *hung*
 * until the helper answers after all or goes away: the kernel may still carry the request out, so nothing
 * else is sent; every request, queued or new, fails with -EBUSY and a text that names what the helper hangs
 * in. Look at the kernel (sysfs, shim events), never at the request, to learn what became of it.
 *
 * Callbacks come from the event loop, never from inside a call here; exactly one per request that was
 * accepted, also at helper_client_free() (-ECANCELED; the only ones that come from inside). The strings are
 * the callback's for its duration. A callback may make new requests, but not free the client.
 *
 * Errors in callbacks: what the kernel said (helper.c lists them by operation), -ETIMEDOUT, -EBUSY (hung),
 * -ECONNRESET (the helper died on it), -ENOENT/-ECONNREFUSED (no helper socket), -EACCES (it doesn't take us
 * for klpd), -EBADMSG (an answer that breaks the protocol). `text` is a sentence, never NULL, "" on success.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/util.h"

#define HELPER_SOCKET_PATH "/run/klpd/helper.sock"
#define HELPER_TASKS_MAX 32U   /* per read-stacks */

typedef struct HelperClient HelperClient;

typedef struct HelperTask {
        uint32_t pid, tid;
} HelperTask;

/* Settle assist for one request (KERNEL-FACTS.md, settle.h). Zeroed: off. */
typedef struct HelperSettle {
        bool assist;
        uint32_t max_cpus;   /* 0: settle.h's cap */
        uint32_t max_usec;   /* 0: settle.h's bound */
} HelperSettle;

typedef void (*HelperCallback)(int error, const char *text, void *userdata);

/* stacks[i] is the kernel stack of tasks[i], one frame per line, or NULL if it could not be read (task
 * gone). */
typedef void (*HelperStacksCallback)(int error, const char *text, const char *const *stacks, size_t n,
                                     void *userdata);

/* socket_path NULL: HELPER_SOCKET_PATH. Doesn't connect yet. */
int helper_client_new(sd_event *event, const char *socket_path, HelperClient **ret);
HelperClient *helper_client_free(HelperClient *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(HelperClient *, helper_client_free);
#define _cleanup_helper_client_free_ _cleanup_(helper_client_freep)

/* Connects, which has the helper started, for a request that may come in the next seconds. For speed only: nothing
 * depends on it. */
void helper_client_wake(HelperClient *c);

/* What the helper hangs in ("enable of 'x'"), or NULL. */
const char *helper_client_hung(const HelperClient *c);

/*
 * deadline_usec: relative, 0 means 60 s. All return 0 if the request was accepted, else -EINVAL (bad name,
 * no seals), -EBUSY (hung, or 64 are queued), -ENOMEM.
 */

/* finit_module() of a memfd with all of F_SEAL_WRITE, GROW, SHRINK, SEAL; fd is duplicated. params may be
 * NULL. name is only for texts; settle is for plain patches, which loading enables. -EEXIST: a module of
 * that name is loaded. */
int helper_client_load(HelperClient *c, int fd, const char *name, const char *params,
                       const HelperSettle *settle, uint64_t deadline_usec, HelperCallback callback,
                       void *userdata);
/* modprobe klp_shim, by libkmod. 0 also if it is loaded already. */
int helper_client_load_shim(HelperClient *c, uint64_t deadline_usec, HelperCallback callback,
                            void *userdata);
/* ENABLE of the shim. */
int helper_client_enable(HelperClient *c, const char *name, uint64_t generation, const HelperSettle *settle,
                         uint64_t deadline_usec, HelperCallback callback, void *userdata);
/* Writes /sys/kernel/livepatch/NAME/enabled. settle: for a disable; NULL or off for a reversal. -EINVAL from
 * the kernel means that it has that value already, or that the change is no reversal of what is under way.
 */
int helper_client_write_enabled(HelperClient *c, const char *name, bool enabled, const HelperSettle *settle,
                                uint64_t deadline_usec, HelperCallback callback, void *userdata);
/* Writes 1 to /sys/kernel/livepatch/NAME/force: the transition under way ends without the tasks that it waits for.
 * -EINVAL: it isn't in transition. */
int helper_client_force(HelperClient *c, const char *name, uint64_t deadline_usec, HelperCallback callback,
                        void *userdata);
/* delete_module(O_NONBLOCK). -EWOULDBLOCK: still referenced; -ENOENT: not loaded. */
int helper_client_unload(HelperClient *c, const char *name, uint64_t deadline_usec, HelperCallback callback,
                         void *userdata);
/* /proc/PID/task/TID/stack of at most HELPER_TASKS_MAX tasks. */
int helper_client_read_stacks(HelperClient *c, const HelperTask *tasks, size_t n_tasks,
                              uint64_t deadline_usec, HelperStacksCallback callback, void *userdata);
