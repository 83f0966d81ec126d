/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What a change of the stack of patches means for their states: the fates of
 * SEMANTICS.md section 2 and the ordered callbacks of section 3, as a pure
 * function.  This file is compiled into klp_shim.ko and, unchanged, into
 * policy/: what klpd predicts and what the kernel calls is the same code.
 *
 * No allocation, no lock, no kernel service: every buffer is the caller's, and
 * must not change during a call.  Cost: n log n in the number of states.
 */
#ifndef KLP_SHIM_DIFF_H
#define KLP_SHIM_DIFF_H

#ifdef __KERNEL__
#include <linux/types.h>
#else
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
typedef __UINT64_TYPE__ u64;
typedef __UINT32_TYPE__ u32;
#endif

/* One entry of a patch's table of states; flags are KLP_SHIM_STATE_* of klp_shim_abi.h. */
struct klp_diff_state {
	u64 id;
	u32 version;
	u32 flags;
};

struct klp_diff_patch {
	const struct klp_diff_state *states;	/* array order is callback order */
	u32 n_states;
	bool managed;				/* false: no per-state callbacks */
};

enum klp_diff_fate {
	KLP_DIFF_INTRODUCE = 1,
	KLP_DIFF_KEEP,
	KLP_DIFF_TAKEOVER,
	KLP_DIFF_EXCHANGE,
	KLP_DIFF_REMOVE,
};

enum klp_diff_op {
	KLP_DIFF_ENABLE = 1,	/* new patch on top, the others stay */
	KLP_DIFF_REPLACE,	/* new patch instead of all others */
	KLP_DIFF_DISABLE,	/* one patch taken out, wherever it stands */
};

#define KLP_DIFF_NONE ((u32)-1)

/* The fate of one id.  Patches are indices into klp_diff_change.stack; the new patch is n_stack. */
struct klp_diff_entry {
	u64 id;
	enum klp_diff_fate fate;
	u32 from_patch, from_state;	/* holder before, or KLP_DIFF_NONE */
	u32 to_patch, to_state;		/* holder after, or KLP_DIFF_NONE */
	bool unsafe;			/* an unsafe exchange (section 2); in a disable each is */
};

struct klp_diff_change {
	enum klp_diff_op op;
	const struct klp_diff_patch *stack;	/* before, bottom first */
	u32 n_stack;
	const struct klp_diff_patch *new_patch;	/* ENABLE, REPLACE */
	u32 disabled;				/* DISABLE: index into stack */
};

enum klp_diff_callback {
	KLP_DIFF_PRE_PATCH = 1,
	KLP_DIFF_POST_PATCH,
	KLP_DIFF_PRE_UNPATCH,
	KLP_DIFF_POST_UNPATCH,		/* then at once its shadow variables are freed */
	KLP_DIFF_PRE_TAKEOVER,
	KLP_DIFF_POST_TAKEOVER,
	KLP_DIFF_CANCEL_TAKEOVER,
};

struct klp_diff_call {
	enum klp_diff_callback callback;
	u32 patch, state;	/* whose code: index as in klp_diff_entry */
	u32 entry;		/* index into the entries */
};

/* When, in the life of one change, calls are made. */
enum klp_diff_phase {
	KLP_DIFF_PREPARE = 1,	/* in the hook, before any task has switched */
	KLP_DIFF_UNDO,		/* call number `failed` of PREPARE failed: undoes the ones before */
	KLP_DIFF_COMPLETE,	/* the transition has completed */
	KLP_DIFF_REVERSE,	/* the transition was reversed, or cancelled after PREPARE */
};

/* Room that klp_diff_fates() needs in entries[]: all states of the stack and of the new patch. */
u32 klp_diff_max_entries(const struct klp_diff_change *change);

/*
 * Writes the fate of every id that is in either stack to entries[].  scratch
 * holds max_entries elements too.  Entries come in the order in which callbacks
 * visit them: first those whose "after" side is visited (new holder's array
 * order), then those that only go, from the top of the stack down in array
 * order, then the rest of what is kept.  Returns their number.
 *
 * Tables with duplicate ids are the caller's to refuse beforehand.
 */
u32 klp_diff_fates(const struct klp_diff_change *change,
		   struct klp_diff_entry *entries, struct klp_diff_entry *scratch);

/*
 * The same for KLP_DIFF_DISABLE and KLP_DIFF_ENABLE restricted to the ids of
 * the patch that comes or goes: entries[] needs only room for its n_states and
 * no scratch, so a disable can't fail for want of memory.  Slower: looks every
 * id up in every table.
 */
u32 klp_diff_fates_of_patch(const struct klp_diff_change *change, struct klp_diff_entry *entries);

/*
 * Writes the calls of one phase, in order, to calls[] (room: 2 * n_entries) and
 * returns their number.  failed: for KLP_DIFF_UNDO, the index into PREPARE's
 * calls of the one that returned an error; ignored otherwise.
 *
 * Nobody is called for an unsafe exchange: it is refused before, or, when it
 * happens behind the shim's back, leaves an orphan.  A plain patch has no hook,
 * so nobody at all is called when one comes or goes; and when one is replaced,
 * nothing of its own is called.
 */
u32 klp_diff_calls(const struct klp_diff_change *change,
		   const struct klp_diff_entry *entries, u32 n_entries,
		   enum klp_diff_phase phase, u32 failed, struct klp_diff_call *calls);

/* "introduce" ..., "pre_patch" ..., NULL if out of range */
const char *klp_diff_fate_name(enum klp_diff_fate fate);
const char *klp_diff_callback_name(enum klp_diff_callback callback);

#endif /* KLP_SHIM_DIFF_H */
