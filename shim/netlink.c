// SPDX-License-Identifier: GPL-2.0-only
/*
 * The generic netlink family: klp_shim_abi.h in code.
 *
 * Everything needs CAP_NET_ADMIN over the initial user namespace (the flag of
 * the operations and of the group), ENABLE also CAP_SYS_MODULE, TASK_GET also
 * CAP_SYS_PTRACE; netlink_capable() looks at who opened the socket and at who
 * sends.  The family isn't there in other network namespaces.
 *
 * Locking: commands run in parallel; klp_shim_mutex inside.
 */
#include <linux/utsname.h>

#include "internal.h"

static const struct nla_policy policy[KLP_SHIM_A_MAX + 1] = {
	[KLP_SHIM_A_NAME] = { .type = NLA_NUL_STRING, .len = KLP_SHIM_NAME_LEN - 1 },
	[KLP_SHIM_A_GENERATION] = { .type = NLA_U64 },
};

static int put_info(struct sk_buff *skb)
{
	u64 seq = klp_shim_event_seq();
	int ret = 0;

	mutex_lock(&klp_shim_mutex);
	klp_shim_refresh();
	if (nla_put_u32(skb, KLP_SHIM_A_ABI, KLP_SHIM_ABI) ||
	    nla_put_string(skb, KLP_SHIM_A_KERNEL, init_utsname()->release) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_A_GENERATION, klp_shim_generation, KLP_SHIM_A_PAD) ||
	    nla_put_u64_64bit(skb, KLP_SHIM_A_SEQ, seq, KLP_SHIM_A_PAD) ||
	    (klp_shim_op.active &&
	     nla_put_string(skb, KLP_SHIM_A_TRANSITION, klp_shim_op.copy->reg->name)))
		ret = -EMSGSIZE;
	mutex_unlock(&klp_shim_mutex);
	return ret;
}

static int cmd_info(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *reply;
	void *hdr;
	int ret;

	reply = genlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	hdr = genlmsg_put_reply(reply, info, &klp_shim_family, 0, KLP_SHIM_CMD_INFO);
	ret = hdr ? put_info(reply) : -EMSGSIZE;
	if (ret) {
		nlmsg_free(reply);
		return ret;
	}
	genlmsg_end(reply, hdr);
	return genlmsg_reply(reply, info);
}

static int cmd_enable(struct sk_buff *skb, struct genl_info *info)
{
	u64 generation;
	int ret;

	if (!netlink_capable(skb, CAP_SYS_MODULE)) {
		NL_SET_ERR_MSG(info->extack, "CAP_SYS_MODULE is needed to enable a livepatch");
		return -EPERM;
	}
	if (!info->attrs[KLP_SHIM_A_NAME] || !info->attrs[KLP_SHIM_A_GENERATION]) {
		NL_SET_ERR_MSG(info->extack, "NAME and GENERATION are needed");
		return -EINVAL;
	}

	generation = nla_get_u64(info->attrs[KLP_SHIM_A_GENERATION]);
	ret = klp_shim_enable(nla_data(info->attrs[KLP_SHIM_A_NAME]), generation, info->extack);
	if (ret == -ENOENT || ret == -EALREADY)
		NL_SET_BAD_ATTR(info->extack, info->attrs[KLP_SHIM_A_NAME]);
	else if (ret == -ESTALE)
		NL_SET_BAD_ATTR(info->extack, info->attrs[KLP_SHIM_A_GENERATION]);
	return ret;
}

static const struct genl_ops ops[] = {
	{
		.cmd = KLP_SHIM_CMD_INFO,
		.flags = GENL_ADMIN_PERM,
		.doit = cmd_info,
	}, {
		.cmd = KLP_SHIM_CMD_PATCH_GET,
		.flags = GENL_ADMIN_PERM,
		.dumpit = klp_shim_nl_patches,
	}, {
		.cmd = KLP_SHIM_CMD_STATE_GET,
		.flags = GENL_ADMIN_PERM,
		.start = klp_shim_nl_states_start,
		.dumpit = klp_shim_nl_states,
	}, {
		.cmd = KLP_SHIM_CMD_TASK_GET,
		.flags = GENL_ADMIN_PERM,
		.start = klp_shim_nl_tasks_start,
		.dumpit = klp_shim_nl_tasks,
		.done = klp_shim_nl_tasks_done,
	}, {
		.cmd = KLP_SHIM_CMD_ENABLE,
		.flags = GENL_ADMIN_PERM,
		.doit = cmd_enable,
	},
};

static const struct genl_multicast_group groups[] = {
	{ .name = KLP_SHIM_MCGRP_EVENTS, .flags = KLP_SHIM_MCGRP_FLAGS },
};

struct genl_family klp_shim_family __ro_after_init = {
	.name = KLP_SHIM_GENL_NAME,
	.version = KLP_SHIM_GENL_VERSION,
	.maxattr = KLP_SHIM_A_MAX,
	.policy = policy,
	.netnsok = false,
	.parallel_ops = true,
	.module = THIS_MODULE,
	.ops = ops,
	.n_ops = ARRAY_SIZE(ops),
	.mcgrps = groups,
	.n_mcgrps = ARRAY_SIZE(groups),
};
