/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * The generic netlink protocol of klp_shim, shared by the module and by klpd.
 * klp_shim.yaml describes the same in the kernel's own format; a unit test
 * holds the two together.
 *
 * Every command and the group "events" need CAP_NET_ADMIN over the initial
 * user namespace and exist in the initial network namespace only; ENABLE also
 * needs CAP_SYS_MODULE, TASK_GET also CAP_SYS_PTRACE.  A refusal carries an
 * extended-ack text and, where one attribute is to blame, its offset.
 *
 *  INFO (do)             -> ABI u32, KERNEL string, GENERATION u64, SEQ u64,
 *                           [TRANSITION string]
 *
 *  PATCH_GET (dump)      -> one or more messages per registered patch:
 *    GENERATION u64
 *    PATCH {
 *      NAME string                 the module's name
 *      PART u32                    0: a new patch; n: more STATE and FUNC of
 *                                  the patch named, in order
 *      (only in part 0:)
 *      VENDOR, STREAM string, LEVEL u32, CUMULATIVE flag, FLAGS u32,
 *      [POSITION u32]              place among the enabled managed patches,
 *                                  0 is the bottom; absent if not enabled
 *      SUMMARY string
 *      STATE { ID u64, VERSION u32, FLAGS u32, NAME string } ...
 *      FUNC  { OBJECT string, FUNCTION string, SYMPOS u32 } ...
 *    }
 *
 *  STATE_GET (dump)      -> one message per live state:
 *    GENERATION u64
 *    STATE { ID u64, VERSION u32, FLAGS u32, NAME string, HOLDER string,
 *            OWNER string ..., [ORPHAN flag],
 *            SHADOW_COUNT u64, SHADOW_BYTES u64 }
 *
 *  TASK_GET (dump)       -> one message per task that the transition under way
 *                           still waits for (idle tasks can't be listed):
 *    TASK { PID u32, TID u32, COMM string, [KTHREAD flag] }
 *
 *  ENABLE (do)           <- NAME string, GENERATION u64
 *                        -> acknowledged when klp_enable_patch() has returned,
 *                           errors: -ENOENT, -EALREADY, -EAGAIN (the last use
 *                           of the patch is not over yet), -ESTALE (the
 *                           generation has changed), -EBUSY (a transition is
 *                           under way), -EPERM, what the core or a callback
 *                           of the patch returned
 *
 *  EVENT (multicast)     EVENT u32, SEQ u64, GENERATION u64, TIME u64,
 *                        NAME string, and by kind:
 *    PREPARING           OPERATION u32, [UNASKED flag]
 *    ENDED               OPERATION u32, END u32, ERROR s32, [FORCED flag],
 *                        [UNASKED flag]
 *    STATE_*             STATE { ID, VERSION, FLAGS, NAME, [PREV_VERSION] }
 *    SHADOW_FREED        STATE { ID, SHADOW_COUNT, SHADOW_BYTES }
 *
 * Sequence numbers of events rise by one: a listener that sees a gap dumps
 * again.  The generation changes with everything that a plan depends on and
 * the shim can see: a livepatch module coming or going, a registration, the
 * start and the end of a transition.
 */
#ifndef KLP_SHIM_ABI_H
#define KLP_SHIM_ABI_H

#define KLP_SHIM_ABI			1
#define KLP_SHIM_GENL_NAME		"klp_shim"
#define KLP_SHIM_GENL_VERSION		1
#define KLP_SHIM_MCGRP_EVENTS		"events"

/* Longest name of a patch (MODULE_NAME_LEN), vendor, stream or state, with the NUL. */
#define KLP_SHIM_NAME_LEN		64

enum klp_shim_cmd {
	KLP_SHIM_CMD_UNSPEC,
	KLP_SHIM_CMD_INFO,
	KLP_SHIM_CMD_PATCH_GET,
	KLP_SHIM_CMD_STATE_GET,
	KLP_SHIM_CMD_TASK_GET,
	KLP_SHIM_CMD_ENABLE,
	KLP_SHIM_CMD_EVENT,
};

/* Top-level attributes of every command. */
enum klp_shim_attr {
	KLP_SHIM_A_UNSPEC,
	KLP_SHIM_A_PAD,
	KLP_SHIM_A_ABI,			/* u32 */
	KLP_SHIM_A_KERNEL,		/* string, utsname release */
	KLP_SHIM_A_GENERATION,		/* u64 */
	KLP_SHIM_A_SEQ,			/* u64 */
	KLP_SHIM_A_TRANSITION,		/* string, managed patch in transition */
	KLP_SHIM_A_NAME,		/* string, patch */
	KLP_SHIM_A_PATCH,		/* nest of klp_shim_patch_attr */
	KLP_SHIM_A_STATE,		/* nest of klp_shim_state_attr */
	KLP_SHIM_A_TASK,		/* nest of klp_shim_task_attr */
	KLP_SHIM_A_EVENT,		/* u32, klp_shim_event */
	KLP_SHIM_A_TIME,		/* u64, ns, CLOCK_MONOTONIC */
	KLP_SHIM_A_OPERATION,		/* u32, klp_shim_operation */
	KLP_SHIM_A_END,			/* u32, klp_shim_end */
	KLP_SHIM_A_ERROR,		/* s32, negative errno or 0 */
	KLP_SHIM_A_FORCED,		/* flag */
	KLP_SHIM_A_UNASKED,		/* flag: not started by ENABLE */
	__KLP_SHIM_A_MAX,
};

#define KLP_SHIM_A_MAX (__KLP_SHIM_A_MAX - 1)

enum klp_shim_patch_attr {
	KLP_SHIM_PATCH_A_UNSPEC,
	KLP_SHIM_PATCH_A_NAME,		/* string */
	KLP_SHIM_PATCH_A_PART,		/* u32 */
	KLP_SHIM_PATCH_A_VENDOR,	/* string */
	KLP_SHIM_PATCH_A_STREAM,	/* string */
	KLP_SHIM_PATCH_A_LEVEL,		/* u32 */
	KLP_SHIM_PATCH_A_CUMULATIVE,	/* flag */
	KLP_SHIM_PATCH_A_FLAGS,		/* u32, KLP_SHIM_PATCH_* */
	KLP_SHIM_PATCH_A_POSITION,	/* u32 */
	KLP_SHIM_PATCH_A_SUMMARY,	/* string */
	KLP_SHIM_PATCH_A_STATE,		/* nest of klp_shim_state_attr, repeated */
	KLP_SHIM_PATCH_A_FUNC,		/* nest of klp_shim_func_attr, repeated */
	__KLP_SHIM_PATCH_A_MAX,
};

#define KLP_SHIM_PATCH_A_MAX (__KLP_SHIM_PATCH_A_MAX - 1)

enum klp_shim_state_attr {
	KLP_SHIM_STATE_A_UNSPEC,
	KLP_SHIM_STATE_A_PAD,
	KLP_SHIM_STATE_A_ID,		/* u64 */
	KLP_SHIM_STATE_A_VERSION,	/* u32 */
	KLP_SHIM_STATE_A_FLAGS,		/* u32, KLP_SHIM_STATE_* */
	KLP_SHIM_STATE_A_NAME,		/* string */
	KLP_SHIM_STATE_A_HOLDER,	/* string, patch */
	KLP_SHIM_STATE_A_OWNER,		/* string, patch, repeated */
	KLP_SHIM_STATE_A_ORPHAN,	/* flag */
	KLP_SHIM_STATE_A_SHADOW_COUNT,	/* u64, variables alive */
	KLP_SHIM_STATE_A_SHADOW_BYTES,	/* u64, by the declared size */
	KLP_SHIM_STATE_A_PREV_VERSION,	/* u32, before a takeover or exchange */
	__KLP_SHIM_STATE_A_MAX,
};

#define KLP_SHIM_STATE_A_MAX (__KLP_SHIM_STATE_A_MAX - 1)

enum klp_shim_func_attr {
	KLP_SHIM_FUNC_A_UNSPEC,
	KLP_SHIM_FUNC_A_OBJECT,		/* string, "vmlinux" or a module */
	KLP_SHIM_FUNC_A_FUNCTION,	/* string */
	KLP_SHIM_FUNC_A_SYMPOS,		/* u32 */
	__KLP_SHIM_FUNC_A_MAX,
};

#define KLP_SHIM_FUNC_A_MAX (__KLP_SHIM_FUNC_A_MAX - 1)

enum klp_shim_task_attr {
	KLP_SHIM_TASK_A_UNSPEC,
	KLP_SHIM_TASK_A_PID,		/* u32, thread group */
	KLP_SHIM_TASK_A_TID,		/* u32 */
	KLP_SHIM_TASK_A_COMM,		/* string */
	KLP_SHIM_TASK_A_KTHREAD,	/* flag */
	__KLP_SHIM_TASK_A_MAX,
};

#define KLP_SHIM_TASK_A_MAX (__KLP_SHIM_TASK_A_MAX - 1)

/* KLP_SHIM_PATCH_A_FLAGS */
/* on the stack, also in transition to or from it */
#define KLP_SHIM_PATCH_ENABLED		(1U << 0)
#define KLP_SHIM_PATCH_TRANSITION	(1U << 1)  /* the transition under way is this patch's */
#define KLP_SHIM_PATCH_UNPATCHING	(1U << 2)  /* ... and leads to disabled */
#define KLP_SHIM_PATCH_FORCED		(1U << 3)  /* left by force: pinned, never enabled again */
#define KLP_SHIM_PATCH_ORPHAN		(1U << 4)  /* disabled, but holds an orphaned state */
/* its last use is not over yet: ENABLE says -EAGAIN */
#define KLP_SHIM_PATCH_RETIRING		(1U << 5)

/* KLP_SHIM_STATE_A_FLAGS; the same bits in the authors' table and in klp_shim_diff.h. */
#define KLP_SHIM_STATE_BLOCK_DISABLE	(1U << 0)
#define KLP_SHIM_STATE_SHADOW		(1U << 1)
#define KLP_SHIM_STATE_TAKEOVER		(1U << 2)  /* has takeover callbacks */

enum klp_shim_operation {
	KLP_SHIM_OP_ENABLE = 1,		/* nothing replaced */
	KLP_SHIM_OP_REPLACE,
	KLP_SHIM_OP_DISABLE,
};

enum klp_shim_end {
	KLP_SHIM_END_PATCHED = 1,	/* enable or replace completed */
	KLP_SHIM_END_UNPATCHED,		/* disable completed */
	KLP_SHIM_END_CANCELLED,		/* never started: ERROR says why */
	KLP_SHIM_END_REVERSED,		/* started, then went back */
};

enum klp_shim_event {
	KLP_SHIM_EVENT_MODULE_LOADED = 1,	/* any livepatch module */
	KLP_SHIM_EVENT_MODULE_UNLOADED,
	KLP_SHIM_EVENT_REGISTERED,
	KLP_SHIM_EVENT_UNREGISTERED,
	KLP_SHIM_EVENT_PREPARING,
	KLP_SHIM_EVENT_ENDED,
	KLP_SHIM_EVENT_STATE_INTRODUCED,
	KLP_SHIM_EVENT_STATE_KEPT,
	KLP_SHIM_EVENT_STATE_TAKEN_OVER,
	KLP_SHIM_EVENT_STATE_EXCHANGED,
	KLP_SHIM_EVENT_STATE_REMOVED,
	KLP_SHIM_EVENT_STATE_ORPHANED,
	KLP_SHIM_EVENT_SHADOW_FREED,
};

#endif /* KLP_SHIM_ABI_H */
