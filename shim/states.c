// SPDX-License-Identifier: GPL-2.0-only
/*
 * State ids: which are live, who holds them, and what authors may ask.
 *
 * Model: one record per id that any registered patch has.  Its holder is the
 * topmost copy of the stack with that id (SEMANTICS.md section 2), found anew
 * after each change.
 *
 * Locking: records and holders under klp_shim_mutex.  The op's slots are read
 * in hooks, under the core's lock.
 */
#include <linux/slab.h>

#include "internal.h"

static DEFINE_HASHTABLE(ids, 8);

/* Finds or makes the record; klp_shim_mutex is held.  NULL: out of memory. */
struct klp_shim_id *klp_shim_id_get(u64 id)
{
	struct klp_shim_id *rec;

	hash_for_each_possible(ids, rec, node, id) {
		if (rec->id == id) {
			rec->refs++;
			return rec;
		}
	}

	rec = kzalloc(sizeof(*rec), GFP_KERNEL);
	if (!rec)
		return NULL;
	rec->id = id;
	rec->refs = 1;
	hash_add(ids, &rec->node, id);
	return rec;
}

void klp_shim_id_put(struct klp_shim_id *rec)
{
	if (!rec || --rec->refs > 0)
		return;
	hash_del(&rec->node);
	kfree(rec);
}

void klp_shim_update_holders(void)
{
	struct klp_shim_copy *copy;
	struct klp_shim_id *rec;
	u32 i;
	int bucket;

	lockdep_assert_held(&klp_shim_mutex);

	hash_for_each(ids, bucket, rec, node)
		rec->holder = NULL;

	list_for_each_entry(copy, &klp_shim_stack, stack_node) {
		for (i = 0; i < copy->n_diff; i++) {
			rec = copy->reg->patch->states[copy->index[i]].shim_id;
			rec->holder = copy;
			rec->holder_state = copy->index[i];
		}
	}
}

/* The author's entry for a state of the op, or NULL if its patch is a plain one. */
struct klp_shim_state *klp_shim_slot_state(u32 patch, u32 state)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_copy *copy;

	copy = patch == op->change.n_stack ? op->copy : op->slots[patch].copy;
	return copy ? &copy->reg->patch->states[copy->index[state]] : NULL;
}

static void prev_of(const struct klp_shim_state *state, struct klp_shim_prev_state *ret_prev)
{
	ret_prev->id = state->id;
	ret_prev->version = state->version;
	ret_prev->flags = state->flags;
	ret_prev->data = state->data;
}

void klp_shim_slot_prev(u32 patch, u32 state, struct klp_shim_prev_state *ret_prev)
{
	const struct klp_shim_state *managed = klp_shim_slot_state(patch, state);
	const struct klp_state *plain;

	if (managed) {
		prev_of(managed, ret_prev);
		return;
	}
	plain = &klp_shim_op.slots[patch].plain[state];
	ret_prev->id = plain->id;
	ret_prev->version = plain->version;
	ret_prev->flags = 0;
	ret_prev->data = plain->data;
}

struct klp_shim_state *klp_shim_get_state(struct klp_shim_patch *patch, u64 id)
{
	struct klp_shim_state *state;

	for (state = patch->states; state && state->id; state++)
		if (state->id == id)
			return state;
	return NULL;
}
EXPORT_SYMBOL_GPL(klp_shim_get_state);

int klp_shim_get_prev_state(u64 id, struct klp_shim_prev_state *ret_prev)
{
	struct klp_shim_op *op = &klp_shim_op;
	struct klp_shim_copy *copy;
	int ret = -ENOENT;
	u32 i;

	mutex_lock(&klp_shim_mutex);

	/* From the hook on the op knows, plain patches included. */
	if (op->active) {
		for (i = 0; i < op->n_entries + op->n_orphans; i++) {
			struct klp_diff_entry *entry = &op->entries[i];

			if (entry->id != id || entry->from_patch == KLP_DIFF_NONE)
				continue;
			klp_shim_slot_prev(entry->from_patch, entry->from_state, ret_prev);
			ret = 0;
		}
		goto out;
	}

	/* A per-object pre_patch runs before the hook: what is on the stack now is before. */
	if (!klp_shim_enabling)
		goto out;
	list_for_each_entry(copy, &klp_shim_stack, stack_node) {
		for (i = 0; i < copy->n_diff; i++) {
			if (copy->diff[i].id != id)
				continue;
			prev_of(&copy->reg->patch->states[copy->index[i]], ret_prev);
			ret = 0;
		}
	}
out:
	mutex_unlock(&klp_shim_mutex);
	return ret;
}
EXPORT_SYMBOL_GPL(klp_shim_get_prev_state);
