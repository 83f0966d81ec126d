/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For authors of livepatches: what a managed livepatch includes.
 *
 * A managed patch registers with klp_shim; loading its module changes nothing
 * until the shim is told to enable it.  A whole patch, after
 * its includes, looks like this:
 *
 *	#define STATES(STATE)						\
 *		STATE(refused, 1, 1, SHADOW, "refused-options",		\
 *		      .shadow_size = sizeof(struct refused))
 *	KLP_SHIM_DECLARE_STATES(STATES);
 *
 *	static int klp_foo(...) { ... KLP_SHIM_STATE(refused) ... }
 *
 *	#define VMLINUX(FUNC, o)					\
 *		FUNC(o, foo, 0, klp_foo)				\
 *		FUNC(o, bar, 2, klp_bar)
 *	KLP_SHIM_OBJECT(vmlinux, VMLINUX);
 *
 *	KLP_SHIM_FIXES("CVE-2026-12345");
 *	KLP_SHIM_SUMMARY("Refuse source routes from the unprivileged");
 *	KLP_SHIM_PATCH("local", "base", 1, CUMULATIVE, STATES,
 *		       KLP_SHIM_OBJ(vmlinux));
 *	MODULE_LICENSE("GPL");
 *
 * Tables and .modinfo come from the same text, so they can't disagree.
 *
 * Ownership: the patch, its objects, functions and states are the author's,
 * constant after registration but for klp_shim_state.data, and must live as
 * long as the module.  The shim hands copies of objects and functions to the
 * kernel; per-object callbacks run as for any livepatch (on the copy), the
 * per-state ones below after them.
 *
 * Which callback runs when: SEMANTICS.md sections 2 and 3.  All run in process
 * context under the livepatch core's lock: they may sleep and allocate, and
 * must not load modules, write to /sys/kernel/livepatch, or wait for anybody
 * who does.  A task that is exiting may still run old code after post_unpatch.
 */
#ifndef KLP_SHIM_H
#define KLP_SHIM_H

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/stringify.h>
#include <linux/types.h>

#include "klp_shim_abi.h"

/* Longest summary of a patch, with the NUL. */
#define KLP_SHIM_SUMMARY_LEN	256

struct klp_shim_id;
struct klp_shim_reg;

/*
 * What a patch that takes a state over, or asks for its predecessor, learns of
 * the entry that was live before.  The data may be used as long as the state
 * lives; it must not point into a module.
 */
struct klp_shim_prev_state {
	u64 id;
	u32 version;
	u32 flags;
	void *data;
};

/**
 * struct klp_shim_state - one change of system state that a patch makes
 * @id:		identifies the state across patches, not 0
 * @version:	see SEMANTICS.md section 2: equal is kept, higher may be taken over
 * @flags:	KLP_SHIM_STATE_*
 * @name:	for people, [A-Za-z0-9._+-], may be empty
 * @pre_patch:	introduces the state; may refuse with a negative errno, and then
 *		cleans up after itself
 * @post_patch:	all tasks run the new code
 * @pre_unpatch: the patch is about to go, all tasks still run its code
 * @post_unpatch: no task on the task list runs it any more
 * @pre_takeover: a state of a lower version becomes this one; may refuse
 * @post_takeover: all tasks run the new code
 * @cancel_takeover: undoes @pre_takeover
 * @shadow_size: with KLP_SHIM_STATE_SHADOW: size of each shadow variable
 * @shadow_dtor: called for each one that is freed, under a spinlock with
 *		interrupts off (optional)
 * @data:	the author's; handed over when a state is kept or taken over
 */
struct klp_shim_state {
	u64 id;
	u32 version;
	u32 flags;
	const char *name;

	int (*pre_patch)(struct klp_shim_state *state);
	void (*post_patch)(struct klp_shim_state *state);
	void (*pre_unpatch)(struct klp_shim_state *state);
	void (*post_unpatch)(struct klp_shim_state *state);
	int (*pre_takeover)(struct klp_shim_state *state, const struct klp_shim_prev_state *prev);
	void (*post_takeover)(struct klp_shim_state *state, const struct klp_shim_prev_state *prev);
	void (*cancel_takeover)(struct klp_shim_state *state,
				const struct klp_shim_prev_state *prev);

	size_t shadow_size;
	klp_shadow_dtor_t shadow_dtor;
	void *data;

	/* private: the shim's */
	struct klp_shim_id *shim_id;
};

/**
 * struct klp_shim_patch - a managed livepatch
 * @mod:	the patch's module
 * @vendor:	with @stream: the namespace in which levels are ordered
 * @stream:	see @vendor
 * @level:	higher is newer, 0 opts out of ordering
 * @cumulative:	enabling it atomically replaces every enabled patch
 * @summary:	one line for people, or NULL
 * @objs:	as in struct klp_patch
 * @states:	ends with an entry of id 0; NULL if there are none
 */
struct klp_shim_patch {
	struct module *mod;
	const char *vendor;
	const char *stream;
	u32 level;
	bool cumulative;
	const char *summary;
	struct klp_object *objs;
	struct klp_shim_state *states;

	/* private: the shim's */
	struct klp_shim_reg *shim_reg;
};

/*
 * Called from the module's init and exit.  Registration checks everything that
 * can be checked without enabling, and names what is wrong in the kernel log:
 * -EINVAL (a table contradicts itself or a bound), -EEXIST, -ENOMEM.
 */
int klp_shim_register_patch(struct klp_shim_patch *patch);
void klp_shim_unregister_patch(struct klp_shim_patch *patch);

/* The entry of a patch's table, or NULL. */
struct klp_shim_state *klp_shim_get_state(struct klp_shim_patch *patch, u64 id);

/*
 * The entry that was live before the change under way.  To be called from a
 * per-state or per-object callback; -ENOENT if there was none or nothing is
 * under way.
 */
int klp_shim_get_prev_state(u64 id, struct klp_shim_prev_state *ret_prev);

/*
 * Shadow variables of a state, SEMANTICS.md section 2: they can be allocated
 * from its pre_patch on, are counted, and are freed when the state goes.  The
 * same rules as for klp_shadow_*() apply: free and use of the variable of one
 * object are the author's to order; constructor and destructor run under a
 * spinlock with interrupts off.  NULL also where the state isn't live or isn't
 * declared with KLP_SHIM_STATE_SHADOW.
 */
void *klp_shim_shadow_alloc(struct klp_shim_state *state, void *obj, gfp_t gfp,
			    klp_shadow_ctor_t ctor, void *ctor_data);
void *klp_shim_shadow_get_or_alloc(struct klp_shim_state *state, void *obj, gfp_t gfp,
				   klp_shadow_ctor_t ctor, void *ctor_data);
void klp_shim_shadow_free(struct klp_shim_state *state, void *obj);
void klp_shim_shadow_free_all(struct klp_shim_state *state);

static inline void *klp_shim_shadow_get(const struct klp_shim_state *state, void *obj)
{
	return klp_shadow_get(obj, state->id);
}

/* ---- Macros that fill the tables and .modinfo from the same text ---- */

/* Flags of a state, one word: digits, since they are also pasted into .modinfo. */
#define KLP_SHIM_FLAGS_NONE				0
#define KLP_SHIM_FLAGS_BLOCK_DISABLE			1
#define KLP_SHIM_FLAGS_SHADOW				2
#define KLP_SHIM_FLAGS_BLOCK_DISABLE_SHADOW		3
#define KLP_SHIM_FLAGS_TAKEOVER				4
#define KLP_SHIM_FLAGS_BLOCK_DISABLE_TAKEOVER		5
#define KLP_SHIM_FLAGS_SHADOW_TAKEOVER			6
#define KLP_SHIM_FLAGS_BLOCK_DISABLE_SHADOW_TAKEOVER	7

#define KLP_SHIM_IS_CUMULATIVE				true
#define KLP_SHIM_IS_STACKED				false
#define KLP_SHIM_TEXT_CUMULATIVE			"Y"
#define KLP_SHIM_TEXT_STACKED				"N"

/* A patch without states says KLP_SHIM_NO_STATES in KLP_SHIM_PATCH(). */
#define KLP_SHIM_NO_STATES(STATE)

#define KLP_SHIM_STATE_INDEX(ident, id, version, flags, name, ...)	\
	klp_shim_state_##ident,
#define KLP_SHIM_STATE_ENTRY(ident, id_, version_, flags_, name_, ...)	\
	[klp_shim_state_##ident] = {					\
		.id = id_,						\
		.version = version_,					\
		.flags = KLP_SHIM_FLAGS_##flags_,			\
		.name = name_,						\
		__VA_ARGS__						\
	},
#define KLP_SHIM_STATE_INFO(ident, id, version, flags, name, ...)	\
	"klp_state=" __stringify(id) ":" __stringify(version) ":"	\
	__stringify(KLP_SHIM_FLAGS_##flags) ":" name "\0"

/* Entries of .modinfo in one array: the compiler would turn the order of several round. */
#define KLP_SHIM_INFO_LIST(ident)					\
	static const char ident[] __used __section(".modinfo") __aligned(1)

/*
 * LIST is STATE(identifier, id, version, FLAGS, "name", further members...):
 * id and version are plain numbers.  Makes KLP_SHIM_STATE(identifier) usable.
 */
#define KLP_SHIM_DECLARE_STATES(LIST)					\
	enum { LIST(KLP_SHIM_STATE_INDEX) klp_shim_state_count };	\
	static struct klp_shim_state klp_shim_states[klp_shim_state_count + 1]

#define KLP_SHIM_STATE(ident)	(&klp_shim_states[klp_shim_state_##ident])

#define KLP_SHIM_FUNC_ENTRY(object, function, sympos, replacement)	\
	{ .old_name = __stringify(function), .old_sympos = sympos, .new_func = replacement },
#define KLP_SHIM_FUNC_INFO(object, function, sympos, replacement)	\
	"klp_func=" __stringify(object) ":" __stringify(function) "," __stringify(sympos) "\0"

/* LIST(FUNC, o) is FUNC(o, function, sympos, replacement) for each function of the object. */
#define KLP_SHIM_OBJECT(object, LIST)					\
	KLP_SHIM_INFO_LIST(klp_shim_func_info_##object) =		\
		LIST(KLP_SHIM_FUNC_INFO, object) "";			\
	static struct klp_func klp_shim_funcs_##object[] = {		\
		LIST(KLP_SHIM_FUNC_ENTRY, object)			\
		{ }							\
	}

/*
 * An entry of the table of objects: KLP_SHIM_OBJ(vmlinux), or with per-object
 * callbacks KLP_SHIM_OBJ(ext4, .pre_patch = ..., .post_unpatch = ...).
 */
#define KLP_SHIM_OBJ(object, ...)					\
	{								\
		.name = __stringify(object),				\
		.funcs = klp_shim_funcs_##object,			\
		.callbacks = { __VA_ARGS__ },				\
	}

/* One fix each, as often as wanted. */
#define KLP_SHIM_FIXES(fix)		MODULE_INFO(klp_fixes, fix)
/* "vendor/stream>=level", "state:ID" or "tag:NAME", as often as wanted. */
#define KLP_SHIM_REQUIRES(expression)	MODULE_INFO(klp_requires, expression)
#define KLP_SHIM_CONFLICTS(expression)	MODULE_INFO(klp_conflicts, expression)
#define KLP_SHIM_SEVERITY(word)		MODULE_INFO(klp_severity, word)
#define KLP_SHIM_SUMMARY(text)						\
	MODULE_INFO(klp_summary, text);					\
	static const char klp_shim_summary[KLP_SHIM_SUMMARY_LEN] = text

/*
 * The tables and .modinfo of the patch, as klp_shim_this_patch; for authors
 * with an init function of their own.  kind is CUMULATIVE or STACKED, further
 * arguments are the objects.
 */
#define KLP_SHIM_DEFINE_PATCH(vendor_, stream_, level_, kind, STATES, ...)	\
	MODULE_INFO(livepatch, "Y");					\
	MODULE_INFO(klp_vendor, vendor_);				\
	MODULE_INFO(klp_stream, stream_);				\
	MODULE_INFO(klp_level, __stringify(level_));			\
	MODULE_INFO(klp_cumulative, KLP_SHIM_TEXT_##kind);		\
	KLP_SHIM_INFO_LIST(klp_shim_state_info) = STATES(KLP_SHIM_STATE_INFO) "";	\
	static const char klp_shim_summary[KLP_SHIM_SUMMARY_LEN];	\
	static struct klp_object klp_shim_objs[] = { __VA_ARGS__, { } };	\
	static struct klp_shim_state klp_shim_states[] = {		\
		STATES(KLP_SHIM_STATE_ENTRY)				\
		{ }							\
	};								\
	static struct klp_shim_patch klp_shim_this_patch = {		\
		.mod = THIS_MODULE,					\
		.vendor = vendor_,					\
		.stream = stream_,					\
		.level = level_,					\
		.cumulative = KLP_SHIM_IS_##kind,			\
		.summary = klp_shim_summary,				\
		.objs = klp_shim_objs,					\
		.states = klp_shim_states,				\
	}

/* The same, with an init that registers and an exit that unregisters. */
#define KLP_SHIM_PATCH(vendor, stream, level, kind, STATES, ...)	\
	KLP_SHIM_DEFINE_PATCH(vendor, stream, level, kind, STATES, __VA_ARGS__);	\
	static int __init klp_shim_patch_init(void)			\
	{								\
		return klp_shim_register_patch(&klp_shim_this_patch);	\
	}								\
	module_init(klp_shim_patch_init);				\
	static void __exit klp_shim_patch_exit(void)			\
	{								\
		klp_shim_unregister_patch(&klp_shim_this_patch);	\
	}								\
	module_exit(klp_shim_patch_exit)

#endif /* KLP_SHIM_H */
