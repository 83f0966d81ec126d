/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's side of the netlink protocol of klp_shim (shim/klp_shim_abi.h). Only this and shim-socket.h know libnl.
 *
 * Model: one ShimClient for the life of the program. It watches the family come and go (the kernel's own
 * notifications of generic netlink, no polling), joins the group of events when the family is there, and
 * hands events to the caller's handlers from the sd-event loop. Subscribe before you read: by the time that
 * available() is called, or that shim_client_new() returns with the shim there, the group is joined; then
 * shim_client_read() and apply events with a sequence number above ShimInfo.seq. After a gap or an overflow
 * resync() is called instead of the events: read again.
 *
 * Reading is synchronous on purpose: a netlink dump runs inside sendmsg() and recvmsg() of the one who asks,
 * the answer is there when they return, and the shim's dumps take only its own short locks, never the
 * livepatch core's. A dump that brings nothing for two seconds is given up (-ETIMEDOUT). ENABLE, which does
 * wait for the core, is not for the daemon: shim_enable() is called by klpd-helper alone.
 *
 * Ownership: who gets a snapshot or an array frees it. Handlers may call everything here but
 * shim_client_free().
 *
 * Errors: -ENOENT the shim isn't there; -EPROTONOSUPPORT it speaks another ABI; -EPERM the caller lacks a
 * capability; -EBADMSG a message that breaks the protocol; -E2BIG more than the model's bounds; -EAGAIN the
 * kernel's state changed under every one of several attempts; -ETIMEDOUT; -ENOMEM. `error` may be NULL, and
 * has a sentence on failure.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/error.h"
#include "policy/model.h"
#include "shim/klp_shim_abi.h"

typedef struct ShimClient ShimClient;

typedef struct ShimInfo {
        uint32_t abi;
        uint64_t generation;
        uint64_t seq;                         /* of the last event sent */
        char kernel[65];
        char transition[KLP_SHIM_NAME_LEN];   /* managed patch in transition, or "" */
} ShimInfo;

typedef struct ShimPatch {
        Patch *patch;                         /* PATCH_MANAGED; all that the shim knows of it */
        uint32_t flags;                       /* KLP_SHIM_PATCH_* */
        bool on_stack;
        /* if on_stack: among the enabled managed patches, 0 is the bottom */
        uint32_t position;
} ShimPatch;

typedef struct ShimState {
        uint64_t id;
        uint32_t version, flags;
        char name[KLP_SHIM_NAME_LEN];         /* or "" */
        char holder[KLP_SHIM_NAME_LEN];
        char **owners;
        bool orphan;
        uint64_t shadow_count, shadow_bytes;
} ShimState;

/* Patches, states and info of one and the same generation. */
typedef struct ShimSnapshot {
        ShimInfo info;
        ShimPatch *patches;
        size_t n_patches;
        ShimState *states;
        size_t n_states;
} ShimSnapshot;

typedef struct ShimTask {
        uint32_t pid, tid;
        char comm[16];
        bool kthread;
} ShimTask;

/* One event; which fields mean something is said in klp_shim_abi.h, the others are zero. */
typedef struct ShimEvent {
        enum klp_shim_event kind;
        uint64_t seq, generation;
        uint64_t time_nsec;                   /* CLOCK_MONOTONIC */
        char name[KLP_SHIM_NAME_LEN];         /* patch */
        enum klp_shim_operation operation;
        enum klp_shim_end end;
        int error;                            /* negative errno or 0 */
        bool forced, unasked;
        uint64_t state_id;
        uint32_t state_version, state_flags;
        char state_name[KLP_SHIM_NAME_LEN];
        bool has_previous_version;
        uint32_t previous_version;
        uint64_t shadow_count, shadow_bytes;
} ShimEvent;

/* All but event may be NULL. */
typedef struct ShimHandlers {
        void (*available)(ShimClient *c, void *userdata);                    /* the shim has been loaded */
        void (*gone)(ShimClient *c, void *userdata);                         /* the shim has been unloaded */
        void (*event)(ShimClient *c, const ShimEvent *event, void *userdata);
        /* events are missing: read again */
        void (*resync)(ShimClient *c, void *userdata);
} ShimHandlers;

/* event may be NULL: then no handler is ever called (for one-shot readers). Succeeds also while the shim
 * isn't there. */
int shim_client_new(sd_event *event, const ShimHandlers *handlers, void *userdata, ShimClient **ret);
ShimClient *shim_client_free(ShimClient *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ShimClient *, shim_client_free);
#define _cleanup_shim_client_free_ _cleanup_(shim_client_freep)

/* 0: not there, or of another ABI. */
uint32_t shim_client_abi(const ShimClient *c);
/* Why the shim can't be used, one sentence, or NULL if it can. The client's, until the next call. */
const char *shim_client_problem(const ShimClient *c);
/* Looks again, now; what the loop would do by itself soon after the shim was loaded. No handler is
 * called. */
int shim_client_connect(ShimClient *c, PolicyError *error);

/*
 * Leaves events in the kernel's queue (hold), or takes them again. To be held while klpd-helper assists a
 * change: the event that tells of its preparation would wake klpd at the very moment in which no other task
 * should be running, and klpd itself would be what the transition waits for, a second or more. Release it in
 * the request's callback: the handlers are called for what has come meanwhile, before this returns.
 */
int shim_client_hold_events(ShimClient *c);
int shim_client_release_events(ShimClient *c);

int shim_client_info(ShimClient *c, ShimInfo *ret, PolicyError *error);
int shim_client_read(ShimClient *c, ShimSnapshot **ret, PolicyError *error);
ShimSnapshot *shim_snapshot_free(ShimSnapshot *s); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ShimSnapshot *, shim_snapshot_free);
#define _cleanup_shim_snapshot_free_ _cleanup_(shim_snapshot_freep)

/* Tasks that the transition under way still waits for; *ret is one free()able array, NULL for none. At most
 * max of them are returned (the ones that the kernel lists first). Needs CAP_SYS_PTRACE. */
int shim_client_tasks(ShimClient *c, size_t max, ShimTask **ret, size_t *ret_n, PolicyError *error);

/* For klpd-helper: enables on a socket of its own; blocks as long as the kernel does. Errors are those of
 * ENABLE in klp_shim_abi.h, error->message is the kernel's extended-ack text where there is one. */
int shim_enable(const char *name, uint64_t generation, PolicyError *error);

const char *shim_event_to_string(enum klp_shim_event kind);            /* "registered" …; NULL if unknown */
const char *shim_operation_to_string(enum klp_shim_operation op);      /* "enable", "replace", "disable" */
const char *shim_end_to_string(enum klp_shim_end end);                 /* "patched" … */
