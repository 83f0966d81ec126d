// SPDX-License-Identifier: GPL-2.0-only
/*
 * The second half of every change: it completed, or it went back.
 *
 * Each function runs the calls that are due, tells the fates, and ends the op;
 * what left the stack is retired, and what it held as the last one is freed.
 *
 * Locking: called from hooks, under the core's klp_mutex; klp_shim_mutex for
 * the bookkeeping, not across calls.
 */
#include <linux/slab.h>

#include "internal.h"

enum klp_shim_operation klp_shim_operation(void)
{
	switch (klp_shim_op.change.op) {
	case KLP_DIFF_ENABLE:
		return KLP_SHIM_OP_ENABLE;
	case KLP_DIFF_REPLACE:
		return KLP_SHIM_OP_REPLACE;
	case KLP_DIFF_DISABLE:
		break;
	}
	return KLP_SHIM_OP_DISABLE;
}

/* Kept or taken over by the patch that is being enabled. */
static bool is_handed_over(const struct klp_diff_entry *entry)
{
	return (entry->fate == KLP_DIFF_KEEP || entry->fate == KLP_DIFF_TAKEOVER) &&
	       entry->to_patch == klp_shim_op.change.n_stack;
}

/* data goes to the new holder before its first callback, and it may have shadow variables. */
void klp_shim_hand_over(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i;

	for (i = 0; i < op->n_entries; i++) {
		const struct klp_diff_entry *entry = &op->entries[i];
		struct klp_shim_prev_state prev;
		struct klp_shim_state *to;

		if (!is_handed_over(entry))
			continue;
		to = klp_shim_slot_state(entry->to_patch, entry->to_state);
		klp_shim_slot_prev(entry->from_patch, entry->from_state, &prev);
		to->data = prev.data;
		/* The holder before may have had none. */
		to->shim_id->opened = (to->flags & KLP_SHIM_STATE_SHADOW) &&
				      klp_shim_shadow_open(to->shim_id);
	}
}

/* The change went back: the old holder has its data still. */
static void take_back(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i;

	for (i = 0; i < op->n_entries; i++) {
		const struct klp_diff_entry *entry = &op->entries[i];
		struct klp_shim_state *to;

		if (!is_handed_over(entry))
			continue;
		to = klp_shim_slot_state(entry->to_patch, entry->to_state);
		/* An orphan that its own patch was to take home shares the entry with it. */
		if (to == klp_shim_slot_state(entry->from_patch, entry->from_state))
			continue;
		to->data = NULL;
		if (to->shim_id->opened)
			klp_shim_shadow_close(to, op->copy->reg->name,
					      klp_shim_core_forced(&op->copy->patch));
	}
}

static void end_op(void)
{
	struct klp_shim_op *op = &klp_shim_op;

	/* A disable's arrays are its copy's. */
	if (op->change.op != KLP_DIFF_DISABLE) {
		kvfree(op->entries);
		kvfree(op->calls);
	}
	op->entries = NULL;
	op->calls = NULL;
	op->n_entries = 0;
	op->n_orphans = 0;
	op->active = false;
	klp_shim_update_holders();
	klp_shim_changed();
}

static void ended_event(const char *name, enum klp_shim_operation operation,
			enum klp_shim_end end, bool forced)
{
	klp_shim_event(KLP_SHIM_EVENT_ENDED, &(struct klp_shim_event_info) {
		       .name = name, .operation = operation, .end = end, .forced = forced,
		       .unasked = operation == KLP_SHIM_OP_DISABLE });
}

static void state_event(enum klp_shim_event event, u32 patch, u32 state,
			const struct klp_diff_entry *entry)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_event_info info = { };
	struct klp_shim_prev_state prev;
	struct klp_shim_copy *copy;

	copy = patch == op->change.n_stack ? op->copy : op->slots[patch].copy;
	if (!copy)
		return;		/* a plain patch's: never anything but kept */
	info.name = copy->reg->name;
	info.state = klp_shim_slot_state(patch, state);
	if (event == KLP_SHIM_EVENT_STATE_TAKEN_OVER || event == KLP_SHIM_EVENT_STATE_EXCHANGED) {
		klp_shim_slot_prev(entry->from_patch, entry->from_state, &prev);
		info.prev_version = prev.version;
		info.has_prev = true;
	}
	klp_shim_event(event, &info);
}

/* What became of each state.  What has the same holder as before isn't mentioned. */
static void state_events(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i;

	for (i = 0; i < op->n_entries; i++) {
		const struct klp_diff_entry *entry = &op->entries[i];

		switch (entry->fate) {
		case KLP_DIFF_INTRODUCE:
			state_event(KLP_SHIM_EVENT_STATE_INTRODUCED, entry->to_patch,
				    entry->to_state, entry);
			break;
		case KLP_DIFF_KEEP:
			if (entry->to_patch != entry->from_patch)
				state_event(KLP_SHIM_EVENT_STATE_KEPT, entry->to_patch,
					    entry->to_state, entry);
			break;
		case KLP_DIFF_TAKEOVER:
			state_event(KLP_SHIM_EVENT_STATE_TAKEN_OVER, entry->to_patch,
				    entry->to_state, entry);
			break;
		case KLP_DIFF_EXCHANGE:
			state_event(KLP_SHIM_EVENT_STATE_EXCHANGED, entry->to_patch,
				    entry->to_state, entry);
			break;
		case KLP_DIFF_REMOVE:
			state_event(KLP_SHIM_EVENT_STATE_REMOVED, entry->from_patch,
				    entry->from_state, entry);
			break;
		}
	}
	for (; i < op->n_entries + op->n_orphans; i++)
		state_event(KLP_SHIM_EVENT_STATE_ORPHANED, op->entries[i].from_patch,
			    op->entries[i].from_state, &op->entries[i]);
}

/*
 * SEMANTICS.md section 3: of a patch that a forced transition removed tasks may
 * run the code for good.
 */
static void note_forced(struct klp_shim_copy *copy)
{
	struct klp_shim_reg *reg = copy->reg;
	u32 i;

	if (!klp_shim_core_forced(&copy->patch))
		return;
	reg->forced = true;
	for (i = 0; i < reg->n_states; i++)
		if (reg->patch->states[i].flags & KLP_SHIM_STATE_SHADOW)
			klp_shim_shadow_stay(reg->patch->states[i].shim_id);
}

/* An enabled copy leaves the stack, with what a forced transition means for it. */
static void leave_stack(struct klp_shim_copy *copy)
{
	struct klp_shim_reg *reg = copy->reg;

	note_forced(copy);
	if (reg->copy == copy)
		reg->copy = NULL;
	klp_shim_copy_retire(copy);
}

/* The new patch has adopted some states of orphans. */
static void dissolve_orphans(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_copy *orphan, *tmp;
	u32 i, j, out;

	list_for_each_entry_safe(orphan, tmp, &klp_shim_stack, stack_node) {
		if (orphan->status != KLP_SHIM_COPY_ORPHAN)
			continue;
		for (i = 0, out = 0; i < orphan->n_diff; i++) {
			bool adopted = false;

			for (j = 0; j < op->copy->n_diff; j++)
				adopted = adopted || op->copy->diff[j].id == orphan->diff[i].id;
			if (adopted)
				continue;
			orphan->diff[out] = orphan->diff[i];
			orphan->index[out] = orphan->index[i];
			out++;
		}
		orphan->n_diff = out;
		if (!out)
			klp_shim_copy_retire(orphan);
	}
}

void klp_shim_finish_enable(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	enum klp_shim_operation operation = klp_shim_operation();
	struct klp_shim_copy *copy, *tmp, *self = op->copy;
	bool forced = false;

	klp_shim_run_calls(KLP_DIFF_COMPLETE, 0);
	state_events();

	mutex_lock(&klp_shim_mutex);
	if (op->change.op == KLP_DIFF_REPLACE) {
		list_for_each_entry_safe(copy, tmp, &klp_shim_stack, stack_node) {
			if (copy == self)
				continue;
			forced = forced || klp_shim_core_forced(&copy->patch);
			leave_stack(copy);
		}
	} else {
		dissolve_orphans();
	}
	end_op();
	mutex_unlock(&klp_shim_mutex);

	ended_event(self->reg->name, operation, KLP_SHIM_END_PATCHED, forced);
}

/* Leaves self with the orphaned states only. */
static void become_orphan(struct klp_shim_copy *self)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i, j, out = 0;

	for (i = 0; i < self->n_diff; i++) {
		for (j = 0; j < op->n_orphans; j++)
			if (op->entries[op->n_entries + j].id == self->diff[i].id)
				break;
		if (j == op->n_orphans)
			continue;
		self->diff[out] = self->diff[i];
		self->index[out] = self->index[i];
		out++;
	}
	self->n_diff = out;
	self->status = KLP_SHIM_COPY_ORPHAN;
	note_forced(self);
	self->reg->copy = NULL;
}

/* A state falls back to a lower patch of the same version, with its data. */
static void fall_back(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	u32 i;

	for (i = 0; i < op->n_entries; i++) {
		const struct klp_diff_entry *entry = &op->entries[i];
		struct klp_shim_prev_state prev;
		struct klp_shim_state *to;

		if (entry->fate != KLP_DIFF_KEEP || entry->from_patch == entry->to_patch)
			continue;
		to = klp_shim_slot_state(entry->to_patch, entry->to_state);
		klp_shim_slot_prev(entry->from_patch, entry->from_state, &prev);
		if (to)
			to->data = prev.data;
		else	/* a plain patch's, which has the field too */
			op->slots[entry->to_patch].plain[entry->to_state].data = prev.data;
	}
}

void klp_shim_finish_disable(void)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_copy *self = op->copy;
	bool forced = klp_shim_core_forced(&self->patch);
	struct klp_shim_reg *reg = self->reg;

	klp_shim_run_calls(KLP_DIFF_COMPLETE, 0);
	state_events();

	mutex_lock(&klp_shim_mutex);
	fall_back();
	if (op->n_orphans)
		become_orphan(self);
	else
		leave_stack(self);
	end_op();
	mutex_unlock(&klp_shim_mutex);

	ended_event(reg->name, KLP_SHIM_OP_DISABLE, KLP_SHIM_END_UNPATCHED, forced);
}

/* The new patch is off the stack again, as if it had never been on it. */
void klp_shim_abandon(struct klp_shim_copy *copy)
{
	mutex_lock(&klp_shim_mutex);
	take_back();
	list_del_init(&copy->stack_node);
	copy->status = KLP_SHIM_COPY_ENABLING;
	klp_shim_copy_unpin(copy);
	end_op();
	mutex_unlock(&klp_shim_mutex);
}

/*
 * The change was reversed, or (cancelled) the core gave the enable up before
 * any task had switched; then the command tells the end, with the error.
 */
void klp_shim_finish_back(bool cancelled)
{
	struct klp_shim_op *op = &klp_shim_op;
	enum klp_shim_operation operation = klp_shim_operation();
	struct klp_shim_copy *self = op->copy;
	bool forced = klp_shim_core_forced(&self->patch);
	struct klp_shim_reg *reg = self->reg;

	klp_shim_run_calls(KLP_DIFF_REVERSE, 0);

	if (cancelled) {
		klp_shim_abandon(self);
		return;
	}

	mutex_lock(&klp_shim_mutex);
	if (operation != KLP_SHIM_OP_DISABLE) {
		take_back();
		leave_stack(self);
	}
	end_op();
	mutex_unlock(&klp_shim_mutex);

	ended_event(reg->name, operation, KLP_SHIM_END_REVERSED, forced);
}
