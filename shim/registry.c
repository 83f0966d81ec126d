// SPDX-License-Identifier: GPL-2.0-only
/*
 * The registry: patches from their module's init to its exit.
 *
 * Registration checks all that can be checked without the core, so that what
 * remains to fail at enable is the state of the system, not the patch.
 *
 * Ownership: a registration belongs to its module; it ends in the module's
 * exit, where a reference count of 0 proves that the core is done with every
 * copy.  A module whose init fails after it registered is purged when the
 * notifier says that it goes.
 *
 * Locking: klp_shim_mutex.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/kallsyms.h>
#include <linux/slab.h>
#include <linux/sort.h>

#include "internal.h"

/* Registry, stack, holders, generation: see internal.h. */
DEFINE_MUTEX(klp_shim_mutex);
LIST_HEAD(klp_shim_regs);
LIST_HEAD(klp_shim_stack);
u64 klp_shim_generation = 1;

static u64 next_serial = 1;

/* Something that a plan depends on is different now. */
void klp_shim_changed(void)
{
	lockdep_assert_held(&klp_shim_mutex);
	WRITE_ONCE(klp_shim_generation, klp_shim_generation + 1);
}

struct klp_shim_reg *klp_shim_find_reg(const char *name)
{
	struct klp_shim_reg *reg;

	list_for_each_entry(reg, &klp_shim_regs, node)
		if (!strcmp(reg->name, name))
			return reg;
	return NULL;
}

/*
 * Books what the core did without asking: a cumulative patch that isn't ours
 * replaced a managed one without states (one with states has the guard).
 */
void klp_shim_refresh(void)
{
	struct klp_shim_copy *copy, *tmp;

	lockdep_assert_held(&klp_shim_mutex);
	klp_shim_modules_refresh();
	if (klp_shim_op.active)
		return;

	list_for_each_entry_safe(copy, tmp, &klp_shim_stack, stack_node) {
		if (copy->status != KLP_SHIM_COPY_ENABLED || klp_shim_core_enabled(&copy->patch))
			continue;
		pr_notice("%s was replaced by a patch that isn't managed\n", copy->reg->name);
		copy->reg->copy = NULL;
		if (klp_shim_core_forced(&copy->patch))
			copy->reg->forced = true;
		if (copy->n_diff)
			copy->status = KLP_SHIM_COPY_ORPHAN;
		else
			klp_shim_copy_retire(copy);
		klp_shim_changed();
		klp_shim_event(KLP_SHIM_EVENT_ENDED, &(struct klp_shim_event_info) {
			       .name = copy->reg->name, .operation = KLP_SHIM_OP_DISABLE,
			       .end = KLP_SHIM_END_UNPATCHED, .unasked = true });
	}
}

static bool name_is_valid(const char *name, bool may_be_empty)
{
	size_t i;

	if (!name || (!*name && !may_be_empty))
		return false;
	for (i = 0; name[i]; i++) {
		if (i + 1 >= KLP_SHIM_NAME_LEN)
			return false;
		/* For isalnum() half of Latin-1 are letters, too. */
		if (!isascii(name[i]) || (!isalnum(name[i]) && !strchr("._+-", name[i])))
			return false;
	}
	return true;
}

static int cmp_u64(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

static int check_state(const struct klp_shim_patch *patch, const struct klp_shim_state *state)
{
	const char *name = patch->mod->name, *what = NULL;
	bool takeover = state->pre_takeover || state->post_takeover || state->cancel_takeover;

	if (state->id == KLP_SHIM_GUARD_STATE)
		what = "the id is reserved";
	else if (state->flags & ~(KLP_SHIM_STATE_BLOCK_DISABLE | KLP_SHIM_STATE_SHADOW |
				  KLP_SHIM_STATE_TAKEOVER))
		what = "unknown flags";
	else if (!!(state->flags & KLP_SHIM_STATE_TAKEOVER) != takeover)
		what = "flag TAKEOVER and takeover callbacks go together";
	else if (!!(state->flags & KLP_SHIM_STATE_SHADOW) != !!state->shadow_size)
		what = "flag SHADOW and a shadow size go together";
	else if (state->shadow_size > KLP_SHIM_MAX_SHADOW_SIZE)
		what = "shadow size too big";
	else if (state->shadow_dtor && !state->shadow_size)
		what = "a destructor without shadow variables";
	else if (!name_is_valid(state->name ?: "", true))
		what = "bad name";

	if (!what)
		return 0;
	pr_err("%s: state %llu: %s\n", name, state->id, what);
	return -EINVAL;
}

static int check_states(const struct klp_shim_patch *patch, u32 *ret_n)
{
	const struct klp_shim_state *state;
	u32 i, n = 0;
	u64 *ids;
	int ret = 0;

	for (state = patch->states; state && state->id; state++, n++) {
		if (n >= KLP_SHIM_MAX_STATES) {
			pr_err("%s: more than %d states\n", patch->mod->name, KLP_SHIM_MAX_STATES);
			return -EINVAL;
		}
		ret = check_state(patch, state);
		if (ret)
			return ret;
	}

	ids = kvmalloc_array(n + 1, sizeof(*ids), GFP_KERNEL);
	if (!ids)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		ids[i] = patch->states[i].id;
	sort(ids, n, sizeof(*ids), cmp_u64, NULL);
	for (i = 1; i < n; i++) {
		if (ids[i] != ids[i - 1])
			continue;
		pr_err("%s: state %llu is there twice\n", patch->mod->name, ids[i]);
		ret = -EINVAL;
		break;
	}
	kvfree(ids);
	if (!ret)
		*ret_n = n;
	return ret;
}

static int cmp_func(const void *a, const void *b)
{
	const struct klp_func *x = *(const struct klp_func **)a, *y = *(const struct klp_func **)b;
	int cmp = strcmp(x->old_name, y->old_name);

	if (cmp)
		return cmp;
	/* For the core 0 and 1 name the same place in sysfs. */
	return (int)(max(x->old_sympos, 1UL) > max(y->old_sympos, 1UL)) -
	       (int)(max(x->old_sympos, 1UL) < max(y->old_sympos, 1UL));
}

static int check_unique_funcs(const char *mod, const struct klp_object *obj, u32 n)
{
	const struct klp_func **funcs;
	u32 i;
	int ret = 0;

	funcs = kvmalloc_array(n + 1, sizeof(*funcs), GFP_KERNEL);
	if (!funcs)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		funcs[i] = &obj->funcs[i];
	sort(funcs, n, sizeof(*funcs), cmp_func, NULL);
	for (i = 1; i < n; i++) {
		if (cmp_func(&funcs[i - 1], &funcs[i]))
			continue;
		pr_err("%s: function %s is there twice\n", mod, funcs[i]->old_name);
		ret = -EINVAL;
		break;
	}
	kvfree(funcs);
	return ret;
}

/* Checks one object and counts its functions. */
static int check_object(const struct klp_shim_patch *patch, const struct klp_object *obj,
			u32 *n_funcs)
{
	const char *mod = patch->mod->name, *name = obj->name ?: "vmlinux";
	const struct klp_object *other;
	const struct klp_func *func;
	u32 n = 0;

	if (!obj->funcs) {
		pr_err("%s: object %s has no functions\n", mod, name);
		return -EINVAL;
	}
	/* An empty name makes sysfs complain with a stack dump. */
	if (!*name || strlen(name) >= MODULE_NAME_LEN || !strcmp(name, THIS_MODULE->name)) {
		pr_err("%s: object %s can't be patched\n", mod, name);
		return -EINVAL;
	}
	for (other = patch->objs; other != obj; other++) {
		if (!strcmp(other->name ?: "vmlinux", name)) {
			pr_err("%s: object %s is there twice\n", mod, name);
			return -EINVAL;
		}
	}
	klp_for_each_func_static(obj, func) {
		if (!func->old_name || !func->new_func || strlen(func->old_name) >= KSYM_NAME_LEN) {
			pr_err("%s: object %s: function %u is incomplete\n", mod, name, n);
			return -EINVAL;
		}
		n++;
		if (++*n_funcs > KLP_SHIM_MAX_FUNCS) {
			pr_err("%s: more than %d functions\n", mod, KLP_SHIM_MAX_FUNCS);
			return -EINVAL;
		}
	}
	return check_unique_funcs(mod, obj, n);
}

static int check_patch(const struct klp_shim_patch *patch, struct klp_shim_reg *reg)
{
	const struct klp_object *obj;
	int ret;

	if (!is_livepatch_module(patch->mod)) {
		pr_err("%s is not marked as a livepatch module\n", patch->mod->name);
		return -EINVAL;
	}
	if (!name_is_valid(patch->vendor, false) || !name_is_valid(patch->stream, false) ||
	    (patch->summary && strlen(patch->summary) >= KLP_SHIM_SUMMARY_LEN)) {
		pr_err("%s: bad vendor, stream or summary\n", patch->mod->name);
		return -EINVAL;
	}
	if (!patch->objs)
		return -EINVAL;

	klp_for_each_object_static(patch, obj) {
		if (++reg->n_objs > KLP_SHIM_MAX_OBJECTS) {
			pr_err("%s: more than %d objects\n", patch->mod->name,
			       KLP_SHIM_MAX_OBJECTS);
			return -EINVAL;
		}
		ret = check_object(patch, obj, &reg->n_funcs);
		if (ret)
			return ret;
	}
	return check_states(patch, &reg->n_states);
}

static void put_ids(struct klp_shim_patch *patch, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		klp_shim_id_put(patch->states[i].shim_id);
		patch->states[i].shim_id = NULL;
	}
}

static int add_reg(struct klp_shim_reg *reg)
{
	struct klp_shim_patch *patch = reg->patch;
	u32 i;

	if (klp_shim_find_reg(reg->name))
		return -EEXIST;

	for (i = 0; i < reg->n_states; i++) {
		patch->states[i].shim_id = klp_shim_id_get(patch->states[i].id);
		if (!patch->states[i].shim_id) {
			put_ids(patch, i);
			return -ENOMEM;
		}
	}
	reg->serial = next_serial++;
	patch->shim_reg = reg;
	list_add_tail(&reg->node, &klp_shim_regs);
	klp_shim_changed();
	return 0;
}

int klp_shim_register_patch(struct klp_shim_patch *patch)
{
	struct klp_shim_reg *reg;
	int ret;

	if (!patch || !patch->mod)
		return -EINVAL;

	reg = kzalloc(sizeof(*reg), GFP_KERNEL);
	if (!reg)
		return -ENOMEM;
	reg->patch = patch;
	reg->mod = patch->mod;
	strscpy(reg->name, patch->mod->name, sizeof(reg->name));
	INIT_LIST_HEAD(&reg->retired);

	ret = check_patch(patch, reg);
	if (ret)
		goto err;

	mutex_lock(&klp_shim_mutex);
	ret = add_reg(reg);
	mutex_unlock(&klp_shim_mutex);
	if (ret)
		goto err;

	klp_shim_event(KLP_SHIM_EVENT_REGISTERED,
		       &(struct klp_shim_event_info) { .name = reg->name });
	return 0;
err:
	kfree(reg);
	return ret;
}
EXPORT_SYMBOL_GPL(klp_shim_register_patch);

/* klp_shim_mutex is held; the caller frees reg. */
static void remove_reg(struct klp_shim_reg *reg)
{
	/* Only a forced module unload gets here with a patch in use; the core has lost by then. */
	WARN_ON_ONCE(reg->copy || reg->own_refs);

	klp_shim_free_retired(reg);
	list_del(&reg->node);
	put_ids(reg->patch, reg->n_states);
	reg->patch->shim_reg = NULL;
	klp_shim_changed();
}

void klp_shim_unregister_patch(struct klp_shim_patch *patch)
{
	struct klp_shim_reg *reg;

	mutex_lock(&klp_shim_mutex);
	klp_shim_refresh();
	reg = patch->shim_reg;
	if (reg)
		remove_reg(reg);
	mutex_unlock(&klp_shim_mutex);
	if (!reg)
		return;

	klp_shim_event(KLP_SHIM_EVENT_UNREGISTERED,
		       &(struct klp_shim_event_info) { .name = reg->name });
	kfree(reg);
}
EXPORT_SYMBOL_GPL(klp_shim_unregister_patch);

/* The module goes without having unregistered: its init failed.  klp_shim_mutex is held. */
void klp_shim_purge_module(struct module *mod)
{
	struct klp_shim_reg *reg, *tmp;

	list_for_each_entry_safe(reg, tmp, &klp_shim_regs, node) {
		if (reg->mod != mod)
			continue;
		pr_warn("%s goes without having unregistered\n", reg->name);
		remove_reg(reg);
		klp_shim_event(KLP_SHIM_EVENT_UNREGISTERED,
			       &(struct klp_shim_event_info) { .name = reg->name });
		kfree(reg);
	}
}
