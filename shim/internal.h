/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the files of klp_shim share.
 *
 * Objects:
 *   klp_shim_reg	a registered patch; from registration to unregistration
 *   klp_shim_copy	one use of it: the struct klp_patch that the core gets;
 *			composed for each enable, freed when the core is done
 *   klp_shim_id	a state id that any registered patch has: its holder and
 *			the count of its shadow variables
 *   klp_shim_op	the change under way; there is never more than one
 *
 * The stack is a list of copies, bottom first: the enabled ones, and at their
 * old places those that were disabled but hold orphaned states.
 *
 * Locks, outermost first:
 *   klp_mutex		the core's.  Held in every hook; serialises changes, so
 *			the op is stable for hooks and authors' callbacks.
 *   klp_shim_mutex	registry, stack, ids' holders, generation; the op is
 *			begun and ended under both.  Never held across an
 *			author's callback or klp_enable_patch().
 *   event_mutex	(events.c) leaf: sequence number and multicast together.
 *   shadow_lock	(shadow.c) leaf spinlock: counts; klp_shadow_lock inside.
 */
#ifndef KLP_SHIM_INTERNAL_H
#define KLP_SHIM_INTERNAL_H

#include <linux/hashtable.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <net/genetlink.h>

#include "compat.h"
#include "klp_shim.h"
#include "klp_shim_diff.h"

/*
 * A state that only the shim's copies have.  A cumulative patch that isn't
 * enabled through the shim lacks it, so the core itself refuses it while
 * managed states are live (SEMANTICS.md, plain-over-managed).
 */
#define KLP_SHIM_GUARD_STATE	0x6b6c705f7368696dUL	/* "klp_shim" */

/* Bounds; a table beyond them is refused at registration or enable. */
#define KLP_SHIM_MAX_STATES		4096	/* of one patch */
#define KLP_SHIM_MAX_FUNCS		65536
#define KLP_SHIM_MAX_OBJECTS		256
#define KLP_SHIM_MAX_SHADOW_SIZE	65536
#define KLP_SHIM_MAX_STACK		128	/* patches with states at one time */
#define KLP_SHIM_MAX_PLAIN_STATES	1024	/* of all plain patches together */

/*
 * Not seen by genksyms: the versions of exported symbols are those of what
 * klp_shim.h shows, so a patch that was built for another klp_shim.ko loads.
 */
#ifndef __GENKSYMS__
struct klp_shim_id {
	struct hlist_node node;
	u64 id;
	unsigned int refs;		/* registered patches that have it */
	struct klp_shim_copy *holder;	/* or NULL: not live */
	u32 holder_state;		/* index into the author's table */

	/* shadow_lock */
	bool open;			/* variables may be allocated */
	bool leaked;			/* some were left by a forced transition */
	bool stays;			/* a patch that one removed had them: never freed all */
	bool opened;			/* ... by the change under way; klp_shim_mutex */
	u32 epoch;			/* of being open */
	u64 shadow_count;
};

struct klp_shim_reg {
	struct list_head node;		/* in order of serial */
	u64 serial;
	struct klp_shim_patch *patch;
	struct module *mod;
	char name[KLP_SHIM_NAME_LEN];
	u32 n_objs, n_funcs, n_states;
	struct klp_shim_copy *copy;	/* the use under way, or NULL */
	struct list_head retired;	/* former uses; the core may not be done with them */
	unsigned int own_refs;		/* references on the module that are the shim's */
	bool used;			/* was given to the core before */
	bool forced;			/* never enabled again */
};

enum klp_shim_copy_status {
	KLP_SHIM_COPY_ENABLING,		/* with the core, not on the stack */
	KLP_SHIM_COPY_ENABLED,		/* on the stack, also while in transition */
	KLP_SHIM_COPY_ORPHAN,		/* disabled, on the stack for some of its states */
	KLP_SHIM_COPY_RETIRED,
};

struct klp_shim_hook {
	struct klp_func terminator;
	struct klp_shim_copy *copy;
};

struct klp_shim_copy {
	struct klp_patch patch;
	struct klp_shim_reg *reg;
	enum klp_shim_copy_status status;
	struct list_head stack_node;
	struct list_head retired_node;
	bool pinned;			/* one of reg->own_refs is this copy's */

	/* Its states as klp_shim_diff sees them: all, or of an orphan the orphaned ones. */
	struct klp_diff_state *diff;
	u32 *index;			/* place in the author's table */
	u32 n_diff;

	struct klp_state *admit;	/* klp_patch.states until the hook has run */
	struct klp_state *own;		/* ... and after it */

	/* The enable: what the command wants checked in the hook, and what it learns. */
	u64 generation;
	struct task_struct *enabler;	/* while in klp_enable_patch() */
	const char *reason;
	bool prepared;			/* PREPARING was sent */

	/* For a disable, whose hook can't fail. */
	struct klp_diff_entry *entries;
	struct klp_diff_call *calls;

	struct klp_shim_hook hook;
	struct klp_func *funcs;
	struct klp_object objs[];
};
#endif /* __GENKSYMS__ */

/* A patch of the stack before a change: a managed one's copy or a plain one's states. */
struct klp_shim_slot {
	struct klp_shim_copy *copy;
	struct klp_state *plain;
};

struct klp_shim_op {
	bool active;
	struct klp_shim_copy *copy;	/* the core's transition patch */
	struct klp_diff_change change;
	struct klp_diff_patch new_patch;
	struct klp_diff_patch stack[KLP_SHIM_MAX_STACK];
	struct klp_shim_slot slots[KLP_SHIM_MAX_STACK];
	struct klp_diff_state plain_states[KLP_SHIM_MAX_PLAIN_STATES];
	struct klp_diff_entry *entries;
	u32 n_entries;
	u32 n_orphans;			/* of a disable, behind the n_entries */
	struct klp_diff_call *calls;
};

extern struct mutex klp_shim_mutex;
extern struct klp_shim_op klp_shim_op;
extern struct list_head klp_shim_regs;
extern struct list_head klp_shim_stack;
extern u64 klp_shim_generation;
extern struct klp_shim_reg *klp_shim_enabling;	/* one ENABLE at a time */

/* registry.c */
struct klp_shim_reg *klp_shim_find_reg(const char *name);
void klp_shim_changed(void);
void klp_shim_refresh(void);
void klp_shim_purge_module(struct module *mod);

/* modules.c */
bool klp_shim_is_managed(const struct module *mod);
void klp_shim_modules_refresh(void);
void klp_shim_modules_compare(struct list_head *core_head);
int klp_shim_modules_init(void);
void klp_shim_modules_exit(void);

/* copy.c */
struct klp_shim_copy *klp_shim_copy_new(struct klp_shim_reg *reg);
struct klp_shim_copy *klp_shim_copy_free(struct klp_shim_copy *copy);
struct klp_shim_copy *klp_shim_copy_of_core(const struct klp_patch *patch);
void klp_shim_copy_pin(struct klp_shim_copy *copy);
void klp_shim_copy_unpin(struct klp_shim_copy *copy);
void klp_shim_copy_retire(struct klp_shim_copy *copy);
bool klp_shim_core_is_done(struct klp_shim_reg *reg);
void klp_shim_free_retired(struct klp_shim_reg *reg);

/* lifecycle.c */
int klp_shim_hook_pre_patch(struct klp_object *obj);
void klp_shim_hook_post_patch(struct klp_object *obj);
void klp_shim_hook_pre_unpatch(struct klp_object *obj);
void klp_shim_hook_post_unpatch(struct klp_object *obj);
int klp_shim_run_calls(enum klp_diff_phase phase, u32 failed);

/* finish.c */
enum klp_shim_operation klp_shim_operation(void);
void klp_shim_hand_over(void);
void klp_shim_abandon(struct klp_shim_copy *copy);
void klp_shim_finish_enable(void);
void klp_shim_finish_disable(void);
void klp_shim_finish_back(bool cancelled);

/* enable.c */
int klp_shim_enable(const char *name, u64 generation, struct netlink_ext_ack *extack);

/* states.c */
struct klp_shim_id *klp_shim_id_get(u64 id);
void klp_shim_id_put(struct klp_shim_id *rec);
void klp_shim_update_holders(void);
struct klp_shim_state *klp_shim_slot_state(u32 patch, u32 state);
void klp_shim_slot_prev(u32 patch, u32 state, struct klp_shim_prev_state *ret_prev);

/* shadow.c */
bool klp_shim_shadow_open(struct klp_shim_id *rec);
void klp_shim_shadow_close(struct klp_shim_state *state, const char *patch, bool leave);
void klp_shim_shadow_stay(struct klp_shim_id *rec);
u64 klp_shim_shadow_count(struct klp_shim_id *rec);
bool klp_shim_shadow_leaked(struct klp_shim_id *rec);

/* events.c */
struct klp_shim_event_info {
	const char *name;
	u32 operation;
	u32 end;
	s32 error;
	bool forced;
	bool unasked;
	const struct klp_shim_state *state;
	bool has_prev;
	u32 prev_version;
	u64 shadow_count;		/* SHADOW_FREED */
};

u64 klp_shim_event_seq(void);
void klp_shim_event(enum klp_shim_event event, const struct klp_shim_event_info *info);

/* netlink.c */
extern struct genl_family klp_shim_family;

/* dump.c, tasks.c */
int klp_shim_nl_patches(struct sk_buff *skb, struct netlink_callback *cb);
int klp_shim_nl_states_start(struct netlink_callback *cb);
int klp_shim_nl_states(struct sk_buff *skb, struct netlink_callback *cb);
int klp_shim_nl_tasks_start(struct netlink_callback *cb);
int klp_shim_nl_tasks(struct sk_buff *skb, struct netlink_callback *cb);
int klp_shim_nl_tasks_done(struct netlink_callback *cb);

#endif /* KLP_SHIM_INTERNAL_H */
