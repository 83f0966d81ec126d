// SPDX-License-Identifier: GPL-2.0-only
/*
 * From the command to the transition: the first half of every change.
 *
 * The command checks, composes a copy and calls klp_enable_patch().  The core
 * calls the hook, the last object of that copy:
 *
 *	pre_patch	an enable or replace: compares the generation, reads the
 *			exact stack, decides all fates, prepares
 *	post_patch	the enable completed, or a disable was reversed
 *	pre_unpatch	somebody wrote 0 to sysfs: a disable; nothing can veto it
 *	post_unpatch	the disable completed, or an enable was reversed, or the
 *			core gave it up late
 *
 * The op tells which of the two it is; finish.c has the second half.
 *
 * Locking: hooks run under the core's klp_mutex, which makes them, and the op,
 * one at a time.  klp_shim_mutex is taken for short moments inside, never
 * across an author's callback.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/slab.h>

#include "internal.h"

struct klp_shim_op klp_shim_op;
struct klp_shim_reg *klp_shim_enabling;

/* Of the core, learned in the first enable; see compat.h. */
static struct list_head *core_head;

static struct klp_shim_copy *copy_of(struct klp_object *obj)
{
	return container_of(obj->funcs, struct klp_shim_hook, terminator)->copy;
}

static int add_slot(struct klp_shim_copy *copy, struct klp_state *plain,
		    const struct klp_diff_state *states, u32 n_states)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 n = op->change.n_stack;

	if (n >= KLP_SHIM_MAX_STACK)
		return -E2BIG;
	op->slots[n].copy = copy;
	op->slots[n].plain = plain;
	op->stack[n].states = states;
	op->stack[n].n_states = n_states;
	op->stack[n].managed = copy;
	op->change.n_stack++;
	return 0;
}

static int add_plain(struct klp_patch *patch, u32 *used)
{
	struct klp_diff_state *states = klp_shim_op.plain_states + *used;
	struct klp_state *state;
	u32 n = 0;

	for (state = patch->states; state && state->id; state++, n++) {
		if (*used + n >= KLP_SHIM_MAX_PLAIN_STATES)
			return -E2BIG;
		states[n].id = state->id;
		states[n].version = state->version;
		states[n].flags = 0;
	}
	*used += n;
	return n ? add_slot(NULL, patch->states, states, n) : 0;
}

/*
 * The exact stack before the change: the core's list, and between its patches
 * the orphans at their old places.  Patches without states don't matter for
 * fates and are left out, but for the one that is being disabled.
 */
static int read_stack(struct klp_shim_copy *self, u32 *ret_self)
{
	struct klp_shim_copy *copy, *orphan;
	struct klp_patch *patch;
	u32 used = 0;
	int ret;

	klp_shim_op.change.stack = klp_shim_op.stack;
	klp_shim_op.change.n_stack = 0;

	orphan = list_first_entry(&klp_shim_stack, struct klp_shim_copy, stack_node);
	klp_shim_for_each_core_patch(patch, core_head) {
		if (patch == &self->patch && self->status == KLP_SHIM_COPY_ENABLING)
			break;

		copy = klp_shim_copy_of_core(patch);
		if (!copy) {
			ret = add_plain(patch, &used);
			if (ret)
				return ret;
			continue;
		}

		/* What the shim's own stack has below this one. */
		for (; orphan != copy; orphan = list_next_entry(orphan, stack_node)) {
			if (list_entry_is_head(orphan, &klp_shim_stack, stack_node))
				break;
			if (orphan->status != KLP_SHIM_COPY_ORPHAN)
				continue;
			ret = add_slot(orphan, NULL, orphan->diff, orphan->n_diff);
			if (ret)
				return ret;
		}
		if (copy == self)
			*ret_self = klp_shim_op.change.n_stack;
		if (copy->n_diff || copy == self) {
			ret = add_slot(copy, NULL, copy->diff, copy->n_diff);
			if (ret)
				return ret;
		}
	}

	list_for_each_entry_from(orphan, &klp_shim_stack, stack_node) {
		if (orphan->status != KLP_SHIM_COPY_ORPHAN)
			continue;
		ret = add_slot(orphan, NULL, orphan->diff, orphan->n_diff);
		if (ret)
			return ret;
	}
	return 0;
}

static int call_int(const struct klp_diff_call *call, struct klp_shim_state *state,
		    const struct klp_shim_prev_state *prev)
{
	if (call->callback == KLP_DIFF_PRE_PATCH)
		return state->pre_patch ? state->pre_patch(state) : 0;
	return state->pre_takeover ? state->pre_takeover(state, prev) : 0;
}

static void call_void(const struct klp_diff_call *call, struct klp_shim_state *state,
		      const struct klp_shim_prev_state *prev)
{
	switch (call->callback) {
	case KLP_DIFF_POST_PATCH:
		if (state->post_patch)
			state->post_patch(state);
		break;
	case KLP_DIFF_PRE_UNPATCH:
		if (state->pre_unpatch)
			state->pre_unpatch(state);
		break;
	case KLP_DIFF_POST_UNPATCH:
		if (state->post_unpatch)
			state->post_unpatch(state);
		break;
	case KLP_DIFF_POST_TAKEOVER:
		if (state->post_takeover)
			state->post_takeover(state, prev);
		break;
	case KLP_DIFF_CANCEL_TAKEOVER:
		if (state->cancel_takeover)
			state->cancel_takeover(state, prev);
		break;
	case KLP_DIFF_PRE_PATCH:
	case KLP_DIFF_PRE_TAKEOVER:
		break;
	}
}

/* The shadow variables of the state go, or stay for good after a forced transition. */
static void close_shadows(const struct klp_diff_call *call, struct klp_shim_state *state)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_copy *copy;

	copy = call->patch == op->change.n_stack ? op->copy : op->slots[call->patch].copy;
	klp_shim_shadow_close(state, copy->reg->name, klp_shim_core_forced(&copy->patch));
}

/*
 * Runs the calls of one phase in order.  PREPARE stops at the first refusal:
 * *ret_failed is the number of that call.
 */
static int run_calls(enum klp_diff_phase phase, u32 failed, u32 *ret_failed)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i, n;

	n = klp_diff_calls(&op->change, op->entries, op->n_entries, phase, failed, op->calls);
	for (i = 0; i < n; i++) {
		const struct klp_diff_call *call = &op->calls[i];
		const struct klp_diff_entry *entry = &op->entries[call->entry];
		struct klp_shim_state *state = klp_shim_slot_state(call->patch, call->state);
		struct klp_shim_prev_state prev = { };
		int ret;

		if (entry->from_patch != KLP_DIFF_NONE)
			klp_shim_slot_prev(entry->from_patch, entry->from_state, &prev);

		if (call->callback == KLP_DIFF_PRE_PATCH ||
		    call->callback == KLP_DIFF_PRE_TAKEOVER) {
			if (call->callback == KLP_DIFF_PRE_PATCH)
				klp_shim_shadow_open(state->shim_id);
			ret = call_int(call, state, &prev);
			if (!ret)
				continue;
			/* The failing one cleans up after itself, but for what the shim counts. */
			if (call->callback == KLP_DIFF_PRE_PATCH)
				close_shadows(call, state);
			*ret_failed = i;
			/* A positive number isn't an error for the core. */
			return ret < 0 ? ret : -EINVAL;
		}

		call_void(call, state, &prev);
		/* Freed at once: SEMANTICS.md section 3. */
		if (call->callback == KLP_DIFF_POST_UNPATCH && entry->fate != KLP_DIFF_EXCHANGE)
			close_shadows(call, state);
	}
	return 0;
}

int klp_shim_run_calls(enum klp_diff_phase phase, u32 failed)
{
	u32 unused;

	return run_calls(phase, failed, &unused);
}

/* SEMANTICS.md section 2: what the shim refuses whatever the policy says. */
static int judge(const char **ret_reason)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i;

	for (i = 0; i < op->n_entries; i++) {
		const struct klp_diff_entry *entry = &op->entries[i];
		bool goes = entry->fate == KLP_DIFF_REMOVE || entry->fate == KLP_DIFF_EXCHANGE;
		struct klp_shim_state *from = NULL, *to = NULL;

		if (entry->from_patch != KLP_DIFF_NONE)
			from = klp_shim_slot_state(entry->from_patch, entry->from_state);
		if (entry->to_patch != KLP_DIFF_NONE)
			to = klp_shim_slot_state(entry->to_patch, entry->to_state);

		if (entry->unsafe) {
			*ret_reason = "a live state would be exchanged unsafely";
			return -EINVAL;
		}
		if (goes && !from) {
			*ret_reason = "a state held by a plain patch would be removed or exchanged";
			return -EINVAL;
		}
		if (entry->fate == KLP_DIFF_KEEP && from && to &&
		    (from->flags ^ to->flags) & KLP_SHIM_STATE_SHADOW) {
			*ret_reason = "a state keeps its version but not its shadow flag";
			return -EINVAL;
		}
		if (entry->fate == KLP_DIFF_INTRODUCE && to &&
		    klp_shim_shadow_leaked(to->shim_id)) {
			*ret_reason = "a forced transition left shadow variables of a state";
			return -EPERM;
		}
	}
	return 0;
}

/* Reads the stack and decides.  Both locks are held. */
static int begin_enable(struct klp_shim_copy *copy)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_diff_entry *scratch;
	u32 room, self;
	int ret;

	klp_shim_modules_compare(core_head);
	klp_shim_refresh();
	if (klp_shim_generation != copy->generation) {
		copy->reason = "the kernel has changed since the plan was made";
		return -ESTALE;
	}

	op->copy = copy;
	op->change.op = copy->patch.replace ? KLP_DIFF_REPLACE : KLP_DIFF_ENABLE;
	op->new_patch.states = copy->diff;
	op->new_patch.n_states = copy->n_diff;
	op->new_patch.managed = true;
	op->change.new_patch = &op->new_patch;
	ret = read_stack(copy, &self);
	/* Room for this one on top, or its own disable would have none. */
	if (!ret && !copy->patch.replace && op->change.n_stack >= KLP_SHIM_MAX_STACK)
		ret = -E2BIG;
	if (ret) {
		copy->reason = "too many livepatches or states are enabled";
		return ret;
	}

	room = klp_diff_max_entries(&op->change) + 1;
	op->entries = kvcalloc(room, sizeof(*op->entries), GFP_KERNEL);
	op->calls = kvcalloc(2 * (size_t)room, sizeof(*op->calls), GFP_KERNEL);
	scratch = kvcalloc(room, sizeof(*scratch), GFP_KERNEL);
	if (op->entries && op->calls && scratch) {
		op->n_entries = klp_diff_fates(&op->change, op->entries, scratch);
		op->n_orphans = 0;
		ret = judge(&copy->reason);
	} else {
		ret = -ENOMEM;
	}
	kvfree(scratch);
	if (ret) {
		kvfree(op->entries);
		kvfree(op->calls);
		op->entries = NULL;
		op->calls = NULL;
		return ret;
	}

	op->active = true;
	copy->status = KLP_SHIM_COPY_ENABLED;
	list_add_tail(&copy->stack_node, &klp_shim_stack);
	if (copy->n_diff)
		klp_shim_copy_pin(copy);
	klp_shim_update_holders();
	klp_shim_hand_over();
	klp_shim_changed();
	return 0;
}

static void preparing_event(void)
{
	klp_shim_event(KLP_SHIM_EVENT_PREPARING, &(struct klp_shim_event_info) {
		       .name = klp_shim_op.copy->reg->name, .operation = klp_shim_operation(),
		       .unasked = klp_shim_op.change.op == KLP_DIFF_DISABLE });
}

int klp_shim_hook_pre_patch(struct klp_object *obj)
{
	struct klp_shim_copy *copy = copy_of(obj);
	u32 failed = 0;
	int ret;

	if (WARN_ON_ONCE(copy->status != KLP_SHIM_COPY_ENABLING))
		return -EINVAL;

	mutex_lock(&klp_shim_mutex);
	core_head = klp_shim_core_head(&copy->patch);
	ret = begin_enable(copy);
	mutex_unlock(&klp_shim_mutex);
	if (ret)
		return ret;

	copy->prepared = true;
	preparing_event();
	ret = run_calls(KLP_DIFF_PREPARE, 0, &failed);
	if (ret) {
		copy->reason = "a pre_patch or pre_takeover callback of the patch refused";
		klp_shim_run_calls(KLP_DIFF_UNDO, failed);
		klp_shim_abandon(copy);
		return ret;
	}

	/* From here on the core itself protects these states from plain cumulative patches. */
	copy->patch.states = copy->own;
	return 0;
}

void klp_shim_hook_post_patch(struct klp_object *obj)
{
	struct klp_shim_copy *copy = copy_of(obj);

	if (WARN_ON_ONCE(!klp_shim_op.active || klp_shim_op.copy != copy))
		return;
	if (klp_shim_op.change.op == KLP_DIFF_DISABLE)
		klp_shim_finish_back(false);
	else
		klp_shim_finish_enable();
}

/*
 * SEMANTICS.md section 3, behind our back: states that must not go this way
 * stay, as orphans.  They are moved behind the others, out of sight of calls.
 */
static void set_orphans_apart(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_diff_entry entry;
	u32 i, out = 0;

	op->n_orphans = 0;
	for (i = 0; i < op->n_entries; i++) {
		const struct klp_shim_state *from;
		bool goes, held;

		entry = op->entries[i];
		goes = entry.fate == KLP_DIFF_REMOVE || entry.fate == KLP_DIFF_EXCHANGE;
		held = entry.from_patch == op->change.disabled;
		from = klp_shim_slot_state(entry.from_patch, entry.from_state);
		if (held && goes && from &&
		    (entry.unsafe || (from->flags & KLP_SHIM_STATE_BLOCK_DISABLE))) {
			op->n_orphans++;
			continue;
		}
		/* Rotate it over the orphans seen so far, which keep their order. */
		if (op->n_orphans) {
			memmove(&op->entries[out + 1], &op->entries[out],
				op->n_orphans * sizeof(entry));
			op->entries[out] = entry;
		}
		out++;
	}
	op->n_entries = out;
}

void klp_shim_hook_pre_unpatch(struct klp_object *obj)
{
	struct klp_shim_copy *copy = copy_of(obj);
	struct klp_shim_op *op = &klp_shim_op;
	u32 self = 0;

	if (WARN_ON_ONCE(op->active || copy->status != KLP_SHIM_COPY_ENABLED))
		return;

	mutex_lock(&klp_shim_mutex);
	klp_shim_refresh();
	op->copy = copy;
	op->change.op = KLP_DIFF_DISABLE;
	op->change.new_patch = NULL;
	if (read_stack(copy, &self)) {
		/*
		 * More plain patches with states than there is room for came
		 * after this one: judge by what is below, all of which was
		 * there when this one was enabled.
		 */
		pr_warn_once("too many livepatches with states, ignoring the topmost\n");
	}
	op->change.disabled = self;
	op->entries = copy->entries;
	op->calls = copy->calls;
	op->n_entries = klp_diff_fates_of_patch(&op->change, op->entries);
	set_orphans_apart();
	op->active = true;
	klp_shim_changed();
	mutex_unlock(&klp_shim_mutex);

	preparing_event();
	klp_shim_run_calls(KLP_DIFF_PREPARE, 0);
}

void klp_shim_hook_post_unpatch(struct klp_object *obj)
{
	struct klp_shim_copy *copy = copy_of(obj);

	if (WARN_ON_ONCE(!klp_shim_op.active || klp_shim_op.copy != copy))
		return;
	if (klp_shim_op.change.op == KLP_DIFF_DISABLE)
		klp_shim_finish_disable();
	else
		/* In the enabler's own context the core gave up before it started. */
		klp_shim_finish_back(READ_ONCE(copy->enabler) == current);
}
