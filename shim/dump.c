// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dumps of patches and states.
 *
 * A dump can take many messages, between which the registry may change: each
 * message is checked against the generation of the first, and a change is
 * marked with NLM_F_DUMP_INTR, upon which the reader dumps again.  A patch
 * whose table doesn't fit into one message goes on in a further part.
 *
 * Locking: klp_shim_mutex for each message.
 */
#include "internal.h"

/* Where a dump of patches goes on; lives in the callback's context. */
struct patch_cursor {
	u64 serial;		/* of the patch to go on with, or a later one */
	u32 part;
	u32 state;
	u32 object;
	u32 func;
};

static void begin_message(struct netlink_callback *cb)
{
	/* 0 would mean that there is nothing to compare with. */
	cb->seq = (u32)klp_shim_generation ?: 1;
}

static int put_state_base(struct sk_buff *skb, const struct klp_shim_state *state)
{
	if (nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_ID, state->id, KLP_SHIM_STATE_A_PAD) ||
	    nla_put_u32(skb, KLP_SHIM_STATE_A_VERSION, state->version) ||
	    nla_put_u32(skb, KLP_SHIM_STATE_A_FLAGS, state->flags) ||
	    nla_put_string(skb, KLP_SHIM_STATE_A_NAME, state->name ?: ""))
		return -EMSGSIZE;
	return 0;
}

static int put_patch_state(struct sk_buff *skb, const struct klp_shim_state *state)
{
	struct nlattr *nest = nla_nest_start(skb, KLP_SHIM_PATCH_A_STATE);

	if (!nest)
		return -EMSGSIZE;
	if (put_state_base(skb, state)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static int put_func(struct sk_buff *skb, const struct klp_object *obj, const struct klp_func *func)
{
	struct nlattr *nest = nla_nest_start(skb, KLP_SHIM_PATCH_A_FUNC);

	if (!nest)
		return -EMSGSIZE;
	if (nla_put_string(skb, KLP_SHIM_FUNC_A_OBJECT, obj->name ?: "vmlinux") ||
	    nla_put_string(skb, KLP_SHIM_FUNC_A_FUNCTION, func->old_name) ||
	    nla_put_u32(skb, KLP_SHIM_FUNC_A_SYMPOS, (u32)func->old_sympos)) {
		nla_nest_cancel(skb, nest);
		return -EMSGSIZE;
	}
	nla_nest_end(skb, nest);
	return 0;
}

static bool has_orphan(const struct klp_shim_reg *reg)
{
	struct klp_shim_copy *copy;

	list_for_each_entry(copy, &klp_shim_stack, stack_node)
		if (copy->reg == reg && copy->status == KLP_SHIM_COPY_ORPHAN)
			return true;
	return false;
}

static u32 patch_flags(struct klp_shim_reg *reg)
{
	struct klp_shim_copy *copy = reg->copy;
	u32 flags = 0;

	if (copy && copy->status == KLP_SHIM_COPY_ENABLED)
		flags |= KLP_SHIM_PATCH_ENABLED;
	if (klp_shim_op.active && klp_shim_op.copy == copy) {
		flags |= KLP_SHIM_PATCH_TRANSITION;
		/* Also unset before an enable has started, which is the enabler's time. */
		if (!klp_shim_core_enabled(&copy->patch) && !READ_ONCE(copy->enabler))
			flags |= KLP_SHIM_PATCH_UNPATCHING;
	}
	if (reg->forced)
		flags |= KLP_SHIM_PATCH_FORCED;
	if (has_orphan(reg))
		flags |= KLP_SHIM_PATCH_ORPHAN;
	if (reg->used && !reg->forced && !copy && !klp_shim_core_is_done(reg))
		flags |= KLP_SHIM_PATCH_RETIRING;
	return flags;
}

/* Place among the enabled managed patches, or -1. */
static int patch_position(const struct klp_shim_reg *reg)
{
	struct klp_shim_copy *copy;
	int position = 0;

	list_for_each_entry(copy, &klp_shim_stack, stack_node) {
		if (copy->status != KLP_SHIM_COPY_ENABLED)
			continue;
		if (copy->reg == reg)
			return position;
		position++;
	}
	return -1;
}

static int put_patch_base(struct sk_buff *skb, struct klp_shim_reg *reg)
{
	const struct klp_shim_patch *patch = reg->patch;
	int position = patch_position(reg);

	if (nla_put_string(skb, KLP_SHIM_PATCH_A_VENDOR, patch->vendor) ||
	    nla_put_string(skb, KLP_SHIM_PATCH_A_STREAM, patch->stream) ||
	    nla_put_u32(skb, KLP_SHIM_PATCH_A_LEVEL, patch->level) ||
	    (patch->cumulative && nla_put_flag(skb, KLP_SHIM_PATCH_A_CUMULATIVE)) ||
	    nla_put_u32(skb, KLP_SHIM_PATCH_A_FLAGS, patch_flags(reg)) ||
	    (position >= 0 && nla_put_u32(skb, KLP_SHIM_PATCH_A_POSITION, position)) ||
	    nla_put_string(skb, KLP_SHIM_PATCH_A_SUMMARY, patch->summary ?: ""))
		return -EMSGSIZE;
	return 0;
}

/* As many entries of the tables as fit.  True: the patch is complete. */
static bool put_tables(struct sk_buff *skb, struct klp_shim_reg *reg, struct patch_cursor *at)
{
	const struct klp_shim_patch *patch = reg->patch;

	for (; at->state < reg->n_states; at->state++)
		if (put_patch_state(skb, &patch->states[at->state]))
			return false;

	for (; at->object < reg->n_objs; at->object++, at->func = 0) {
		const struct klp_object *obj = &patch->objs[at->object];

		for (; obj->funcs[at->func].old_name; at->func++)
			if (put_func(skb, obj, &obj->funcs[at->func]))
				return false;
	}
	return true;
}

/*
 * One message.  1: the patch is complete; 0: it goes on in the next part;
 * -EMSGSIZE: nothing was put.
 */
static int put_patch(struct sk_buff *skb, struct netlink_callback *cb, struct klp_shim_reg *reg,
		     struct patch_cursor *at)
{
	struct patch_cursor before = *at;
	struct nlattr *nest;
	bool complete;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &klp_shim_family,
			  NLM_F_MULTI, KLP_SHIM_CMD_PATCH_GET);
	if (!hdr)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, hdr);

	if (nla_put_u64_64bit(skb, KLP_SHIM_A_GENERATION, klp_shim_generation, KLP_SHIM_A_PAD))
		goto cancel;
	nest = nla_nest_start(skb, KLP_SHIM_A_PATCH);
	if (!nest || nla_put_string(skb, KLP_SHIM_PATCH_A_NAME, reg->name) ||
	    nla_put_u32(skb, KLP_SHIM_PATCH_A_PART, at->part) ||
	    (!at->part && put_patch_base(skb, reg)))
		goto cancel;

	complete = put_tables(skb, reg, at);
	/* A part without progress is better sent with the room of a fresh buffer. */
	if (!complete && at->state == before.state && at->object == before.object &&
	    at->func == before.func)
		goto cancel;

	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	at->part++;
	return complete;
cancel:
	*at = before;
	genlmsg_cancel(skb, hdr);
	return -EMSGSIZE;
}

int klp_shim_nl_patches(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct patch_cursor *at = (void *)cb->ctx;
	struct klp_shim_reg *reg;
	int ret = 0;

	BUILD_BUG_ON(sizeof(*at) > sizeof(cb->ctx));

	mutex_lock(&klp_shim_mutex);
	klp_shim_refresh();
	begin_message(cb);
	list_for_each_entry(reg, &klp_shim_regs, node) {
		if (reg->serial < at->serial)
			continue;
		/* The one to go on with is gone: the dump is marked, this one starts afresh. */
		if (reg->serial > at->serial)
			*at = (struct patch_cursor) { .serial = reg->serial };

		ret = put_patch(skb, cb, reg, at);
		if (ret < 1)
			break;
		*at = (struct patch_cursor) { .serial = reg->serial + 1 };
	}
	mutex_unlock(&klp_shim_mutex);

	if (ret < 0 && !skb->len)
		return ret;
	return skb->len;
}

static bool has_id(const struct klp_shim_copy *copy, u64 id)
{
	u32 i;

	for (i = 0; i < copy->n_diff; i++)
		if (copy->diff[i].id == id)
			return true;
	return false;
}

static int put_live(struct sk_buff *skb, const struct klp_shim_state *state,
		    const struct klp_shim_copy *holder)
{
	const struct klp_shim_copy *copy;
	u64 count = klp_shim_shadow_count(state->shim_id);

	if (put_state_base(skb, state) ||
	    nla_put_string(skb, KLP_SHIM_STATE_A_HOLDER, holder->reg->name))
		return -EMSGSIZE;
	list_for_each_entry(copy, &klp_shim_stack, stack_node)
		if (has_id(copy, state->id) &&
		    nla_put_string(skb, KLP_SHIM_STATE_A_OWNER, copy->reg->name))
			return -EMSGSIZE;
	if ((holder->status == KLP_SHIM_COPY_ORPHAN &&
	     nla_put_flag(skb, KLP_SHIM_STATE_A_ORPHAN)) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_SHADOW_COUNT, count, KLP_SHIM_STATE_A_PAD) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_STATE_A_SHADOW_BYTES, count * state->shadow_size,
			      KLP_SHIM_STATE_A_PAD))
		return -EMSGSIZE;
	return 0;
}

static int put_state(struct sk_buff *skb, struct netlink_callback *cb,
		     const struct klp_shim_state *state, const struct klp_shim_copy *holder)
{
	struct nlattr *nest;
	void *hdr;

	hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid, cb->nlh->nlmsg_seq, &klp_shim_family,
			  NLM_F_MULTI, KLP_SHIM_CMD_STATE_GET);
	if (!hdr)
		return -EMSGSIZE;
	genl_dump_check_consistent(cb, hdr);

	if (nla_put_u64_64bit(skb, KLP_SHIM_A_GENERATION, klp_shim_generation, KLP_SHIM_A_PAD))
		goto cancel;
	nest = nla_nest_start(skb, KLP_SHIM_A_STATE);
	if (!nest || put_live(skb, state, holder))
		goto cancel;
	nla_nest_end(skb, nest);
	genlmsg_end(skb, hdr);
	return 0;
cancel:
	genlmsg_cancel(skb, hdr);
	return -EMSGSIZE;
}

/* The message of a state is never split: room for one that every patch of the stack has. */
int klp_shim_nl_states_start(struct netlink_callback *cb)
{
	cb->min_dump_alloc = 512 + (KLP_SHIM_MAX_STACK + 2) * nla_total_size(KLP_SHIM_NAME_LEN);
	return 0;
}

/* cb->args: place on the stack, place in its table. */
int klp_shim_nl_states(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct klp_shim_copy *copy;
	long position = 0;
	int ret = 0;

	mutex_lock(&klp_shim_mutex);
	klp_shim_refresh();
	begin_message(cb);
	list_for_each_entry(copy, &klp_shim_stack, stack_node) {
		if (position++ < cb->args[0])
			continue;
		for (; cb->args[1] < copy->n_diff; cb->args[1]++) {
			u32 index = copy->index[cb->args[1]];
			const struct klp_shim_state *state = &copy->reg->patch->states[index];

			if (state->shim_id->holder != copy)
				continue;
			ret = put_state(skb, cb, state, copy);
			if (ret)
				goto out;
		}
		cb->args[0]++;
		cb->args[1] = 0;
	}
out:
	mutex_unlock(&klp_shim_mutex);

	if (ret && !skb->len)
		return ret;
	return skb->len;
}
