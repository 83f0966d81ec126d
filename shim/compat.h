/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Everything that differs between kernels, and every look at a field that the
 * livepatch core calls internal.  Features are probed for by name, never by
 * version: distributions backport.
 */
#ifndef KLP_SHIM_COMPAT_H
#define KLP_SHIM_COMPAT_H

#include <linux/livepatch.h>
#include <net/genetlink.h>

#ifndef CONFIG_LIVEPATCH
#error "klp_shim needs a kernel with CONFIG_LIVEPATCH"
#endif
#ifndef CONFIG_64BIT
#error "klp_shim needs a 64-bit kernel: state ids are u64, the core's unsigned long"
#endif

/*
 * Permission to join a multicast group.  Newer kernels have flags of their own
 * for groups and ignore the flag of operations; where only the latter exists,
 * it closes the group.  Checked by an unprivileged join on both.
 */
#if defined(GENL_MCAST_CAP_NET_ADMIN)
#define KLP_SHIM_MCGRP_FLAGS	GENL_MCAST_CAP_NET_ADMIN
#elif defined(GENL_UNS_ADMIN_PERM)
#define KLP_SHIM_MCGRP_FLAGS	GENL_UNS_ADMIN_PERM
#else
#error "no way to close a generic netlink multicast group on this kernel"
#endif

/* NL_SET_ERR_MSG() for a text that isn't a literal; it must be constant for good. */
static inline void klp_shim_set_extack(struct netlink_ext_ack *extack, const char *text)
{
	if (extack)
		extack->_msg = text;
}

/*
 * The head of the core's list of patches.  Right only in a callback of an
 * enable: the new patch is the tail, so what follows is the head.  The head is
 * a static object of the core and never moves.
 */
static inline struct list_head *klp_shim_core_head(struct klp_patch *tail)
{
	return tail->list.next;
}

/* Under klp_mutex only, which means in a callback of the core. */
#define klp_shim_for_each_core_patch(pos, head) \
	list_for_each_entry(pos, head, list)

/* Written by the core under its lock, read without by others. */
static inline bool klp_shim_core_enabled(const struct klp_patch *patch)
{
	return READ_ONCE(patch->enabled);
}

static inline bool klp_shim_core_forced(const struct klp_patch *patch)
{
	return READ_ONCE(patch->forced);
}

#endif /* KLP_SHIM_COMPAT_H */
