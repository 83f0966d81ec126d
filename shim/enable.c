// SPDX-License-Identifier: GPL-2.0-only
/*
 * The command ENABLE: everything around klp_enable_patch().
 *
 * One at a time.  The command runs under generic netlink's cb_lock, held for
 * reading, until the core has returned; that is as long as the core's lock is
 * taken by somebody else's callbacks.  Other commands go on meanwhile, but a
 * family that is registered or unregistered just then waits, and with it all
 * later generic netlink traffic.
 *
 * Locking: klp_shim_mutex before and after, not across klp_enable_patch().
 */
#include "internal.h"

/* SEMANTICS.md section 5: checked here, and the generation once more in the hook. */
static int check_enable(struct klp_shim_reg *reg, u64 generation, const char **ret_reason)
{
	if (!reg) {
		*ret_reason = "no such patch is registered";
		return -ENOENT;
	}
	if (reg->copy) {
		*ret_reason = "the patch is enabled";
		return -EALREADY;
	}
	if (reg->forced) {
		*ret_reason = "a forced transition has left the patch behind for good";
		return -EPERM;
	}
	/* Before that, a failing init frees the module whatever its reference count. */
	if (READ_ONCE(reg->mod->state) != MODULE_STATE_LIVE) {
		*ret_reason = "the module of the patch is not live";
		return -EAGAIN;
	}
	if (reg->used && !klp_shim_core_is_done(reg)) {
		*ret_reason = "the last use of the patch is not over yet";
		return -EAGAIN;
	}
	if (reg->used && klp_shim_has_module_relocs(reg->mod)) {
		*ret_reason = "the patch has relocations for a module, it must be loaded anew";
		return -EPERM;
	}
	if (klp_shim_enabling || klp_shim_op.active) {
		*ret_reason = "a transition is under way";
		return -EBUSY;
	}
	if (generation != klp_shim_generation) {
		*ret_reason = "the kernel has changed since the plan was made";
		return -ESTALE;
	}
	return 0;
}

/* Returns the copy to enable, with a reference on its module. */
static int prepare_enable(const char *name, u64 generation, const char **ret_reason,
			  struct klp_shim_copy **ret_copy)
{
	struct klp_shim_reg *reg;
	struct klp_shim_copy *copy;
	int ret;

	klp_shim_refresh();
	reg = klp_shim_find_reg(name);
	ret = check_enable(reg, generation, ret_reason);
	if (ret)
		return ret;

	klp_shim_free_retired(reg);
	if (!try_module_get(reg->mod)) {
		*ret_reason = "the module of the patch is being removed";
		return -EAGAIN;
	}
	copy = klp_shim_copy_new(reg);
	if (!copy) {
		module_put(reg->mod);
		return -ENOMEM;
	}
	reg->own_refs++;
	reg->copy = copy;
	reg->used = true;
	copy->generation = generation;
	WRITE_ONCE(copy->enabler, current);
	klp_shim_enabling = reg;
	*ret_copy = copy;
	return 0;
}

int klp_shim_enable(const char *name, u64 generation, struct netlink_ext_ack *extack)
{
	struct klp_shim_copy *copy;
	struct klp_shim_reg *reg;
	const char *reason = NULL;
	bool prepared = false;
	enum klp_shim_operation operation;
	int ret;

	mutex_lock(&klp_shim_mutex);
	ret = prepare_enable(name, generation, &reason, &copy);
	mutex_unlock(&klp_shim_mutex);
	if (ret) {
		if (reason)
			klp_shim_set_extack(extack, reason);
		return ret;
	}
	reg = copy->reg;

	ret = klp_enable_patch(&copy->patch);

	mutex_lock(&klp_shim_mutex);
	klp_shim_enabling = NULL;
	/* On success the copy may be retired already, but is freed only under this reference. */
	WRITE_ONCE(copy->enabler, NULL);
	if (ret) {
		reason = copy->reason ?:
			 "the livepatch core refused, the kernel log has its reason";
		prepared = copy->prepared;
		operation = copy->patch.replace ? KLP_SHIM_OP_REPLACE : KLP_SHIM_OP_ENABLE;
		/* The core has let go of it before it returned. */
		reg->copy = NULL;
		klp_shim_copy_free(copy);
	}
	mutex_unlock(&klp_shim_mutex);

	if (ret) {
		klp_shim_set_extack(extack, reason);
		if (prepared)
			klp_shim_event(KLP_SHIM_EVENT_ENDED, &(struct klp_shim_event_info) {
				       .name = name, .operation = operation,
				       .end = KLP_SHIM_END_CANCELLED, .error = ret });
	}

	mutex_lock(&klp_shim_mutex);
	reg->own_refs--;
	mutex_unlock(&klp_shim_mutex);
	module_put(reg->mod);
	return ret;
}
