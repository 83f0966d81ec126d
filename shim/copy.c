// SPDX-License-Identifier: GPL-2.0-only
/*
 * Composed copies: what the livepatch core gets.
 *
 * A struct klp_patch can't be used twice, not even after an enable that failed.
 * So each enable gets a fresh copy of the author's public fields, with one more
 * object behind the author's: the hook, named after this module and without
 * functions.  Its pre_patch runs when every real object has been hooked, so
 * nothing of the core can fail behind a per-state callback.
 *
 * Ownership: a copy belongs to its registration.  The core uses it from
 * klp_enable_patch() until it drops its module reference, which happens later
 * than anything that a callback sees; a retired copy is therefore freed when
 * the module's reference count equals the shim's own references, at the latest
 * at unregistration.  A copy in a forced transition is never freed.
 *
 * Locking: klp_shim_mutex.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/slab.h>
#include <linux/sort.h>

#include "internal.h"

struct klp_shim_copy *klp_shim_copy_free(struct klp_shim_copy *copy)
{
	if (!copy)
		return NULL;
	kvfree(copy->diff);
	kvfree(copy->index);
	kvfree(copy->admit);
	kvfree(copy->own);
	kvfree(copy->entries);
	kvfree(copy->calls);
	kvfree(copy->funcs);
	kvfree(copy);
	return NULL;
}

static void copy_objects(struct klp_shim_copy *copy)
{
	struct klp_shim_patch *author = copy->reg->patch;
	struct klp_object *from, *to = copy->objs;
	struct klp_func *func, *next = copy->funcs;

	klp_for_each_object_static(author, from) {
		/* For the core a name of NULL is the kernel itself. */
		to->name = from->name && strcmp(from->name, "vmlinux") ? from->name : NULL;
		to->callbacks.pre_patch = from->callbacks.pre_patch;
		to->callbacks.post_patch = from->callbacks.post_patch;
		to->callbacks.pre_unpatch = from->callbacks.pre_unpatch;
		to->callbacks.post_unpatch = from->callbacks.post_unpatch;
		to->funcs = next;
		klp_for_each_func_static(from, func) {
			next->old_name = func->old_name;
			next->new_func = func->new_func;
			next->old_sympos = func->old_sympos;
			next++;
		}
		next++;		/* the terminator, zeroed */
		to++;
	}

	copy->hook.copy = copy;
	to->name = THIS_MODULE->name;
	to->funcs = &copy->hook.terminator;
	to->callbacks.pre_patch = klp_shim_hook_pre_patch;
	to->callbacks.post_patch = klp_shim_hook_post_patch;
	to->callbacks.pre_unpatch = klp_shim_hook_pre_unpatch;
	to->callbacks.post_unpatch = klp_shim_hook_post_unpatch;
}

static void copy_states(struct klp_shim_copy *copy)
{
	struct klp_shim_reg *reg = copy->reg;
	u32 i;

	for (i = 0; i < reg->n_states; i++) {
		const struct klp_shim_state *state = &reg->patch->states[i];

		copy->diff[i].id = state->id;
		copy->diff[i].version = state->version;
		copy->diff[i].flags = state->flags;
		copy->index[i] = i;
		copy->own[i].id = state->id;
		copy->own[i].version = state->version;
	}
	copy->n_diff = reg->n_states;
	if (reg->n_states)
		copy->own[i].id = KLP_SHIM_GUARD_STATE;
}

static int cmp_state(const void *a, const void *b)
{
	const struct klp_state *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->version > y->version ? -1 : x->version < y->version;
}

/*
 * The table with which the core admits the copy.  The core would compare with
 * its own, narrower rule the states of managed patches, which are the policy's
 * and the hook's to judge: so the table has those too, at the highest version.
 * States of plain patches are left to the core's own check.
 */
static int make_admit(struct klp_shim_copy *copy)
{
	struct klp_state *admit, *state;
	struct klp_shim_copy *other;
	size_t n, room = copy->reg->n_states + 2, i, out = 0;

	list_for_each_entry(other, &klp_shim_stack, stack_node)
		room += other->reg->n_states + 1;
	admit = kvcalloc(room, sizeof(*admit), GFP_KERNEL);
	if (!admit)
		return -ENOMEM;

	for (n = 0; copy->own[n].id; n++)
		admit[n] = copy->own[n];
	list_for_each_entry(other, &klp_shim_stack, stack_node)
		for (state = other->own; state->id; state++)
			admit[n++] = *state;

	sort(admit, n, sizeof(*admit), cmp_state, NULL);
	for (i = 0; i < n; i++)
		if (!out || admit[out - 1].id != admit[i].id)
			admit[out++] = admit[i];
	memset(&admit[out], 0, (room - out) * sizeof(*admit));
	copy->admit = admit;
	return 0;
}

struct klp_shim_copy *klp_shim_copy_new(struct klp_shim_reg *reg)
{
	struct klp_shim_copy *copy;

	lockdep_assert_held(&klp_shim_mutex);

	/* The author's objects, the hook, the terminator. */
	copy = kvzalloc(struct_size(copy, objs, reg->n_objs + 2), GFP_KERNEL);
	if (!copy)
		return NULL;
	copy->reg = reg;
	copy->status = KLP_SHIM_COPY_ENABLING;
	INIT_LIST_HEAD(&copy->stack_node);
	INIT_LIST_HEAD(&copy->retired_node);

	copy->funcs = kvcalloc(reg->n_funcs + reg->n_objs + 1, sizeof(*copy->funcs), GFP_KERNEL);
	copy->diff = kvcalloc(reg->n_states + 1, sizeof(*copy->diff), GFP_KERNEL);
	copy->index = kvcalloc(reg->n_states + 1, sizeof(*copy->index), GFP_KERNEL);
	copy->own = kvcalloc(reg->n_states + 2, sizeof(*copy->own), GFP_KERNEL);
	copy->entries = kvcalloc(reg->n_states + 1, sizeof(*copy->entries), GFP_KERNEL);
	copy->calls = kvcalloc(2 * reg->n_states + 1, sizeof(*copy->calls), GFP_KERNEL);
	if (!copy->funcs || !copy->diff || !copy->index || !copy->own || !copy->entries ||
	    !copy->calls)
		return klp_shim_copy_free(copy);

	copy_objects(copy);
	copy_states(copy);
	if (make_admit(copy))
		return klp_shim_copy_free(copy);

	copy->patch.mod = reg->mod;
	copy->patch.objs = copy->objs;
	copy->patch.states = copy->admit;
	copy->patch.replace = reg->patch->cumulative;
	return copy;
}

/* The copy that the core knows as patch, or NULL: it isn't ours. */
struct klp_shim_copy *klp_shim_copy_of_core(const struct klp_patch *patch)
{
	struct klp_shim_copy *copy;

	list_for_each_entry(copy, &klp_shim_stack, stack_node)
		if (copy->status == KLP_SHIM_COPY_ENABLED && &copy->patch == patch)
			return copy;
	return NULL;
}

/*
 * An own reference on the module, besides the core's, for as long as its states
 * may be called: the core drops its own when it pleases.
 */
void klp_shim_copy_pin(struct klp_shim_copy *copy)
{
	lockdep_assert_held(&klp_shim_mutex);
	if (copy->pinned)
		return;
	__module_get(copy->reg->mod);
	copy->reg->own_refs++;
	copy->pinned = true;
}

void klp_shim_copy_unpin(struct klp_shim_copy *copy)
{
	lockdep_assert_held(&klp_shim_mutex);
	if (!copy->pinned)
		return;
	copy->pinned = false;
	copy->reg->own_refs--;
	module_put(copy->reg->mod);
}

/* Off the stack.  What a forced transition left stays pinned and allocated for good. */
void klp_shim_copy_retire(struct klp_shim_copy *copy)
{
	lockdep_assert_held(&klp_shim_mutex);
	list_del_init(&copy->stack_node);
	copy->status = KLP_SHIM_COPY_RETIRED;
	list_add_tail(&copy->retired_node, &copy->reg->retired);
	if (!copy->reg->forced)
		klp_shim_copy_unpin(copy);
}

/* Only the shim refers to the module: the core has dropped its reference, with its last access. */
bool klp_shim_core_is_done(struct klp_shim_reg *reg)
{
	return !reg->forced && module_refcount(reg->mod) <= (int)reg->own_refs;
}

void klp_shim_free_retired(struct klp_shim_reg *reg)
{
	struct klp_shim_copy *copy, *tmp;

	lockdep_assert_held(&klp_shim_mutex);
	if (reg->forced)
		return;
	list_for_each_entry_safe(copy, tmp, &reg->retired, retired_node) {
		list_del(&copy->retired_node);
		klp_shim_copy_free(copy);
	}
}
