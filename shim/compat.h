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

/*
 * Has the module relocations for other modules?  The core writes them when the
 * patch is enabled and doesn't clear them on every kernel, so they can be
 * written only once in the life of the module.
 */
static inline bool klp_shim_has_module_relocs(const struct module *mod)
{
	static const char prefix[] = ".klp.rela.", vmlinux[] = ".klp.rela.vmlinux.";
	const struct klp_modinfo *info = mod->klp_info;
	unsigned int i;

	if (!info)
		return false;
	for (i = 1; i < info->hdr.e_shnum; i++) {
		const char *name = info->secstrings + info->sechdrs[i].sh_name;

		if (!(info->sechdrs[i].sh_flags & SHF_RELA_LIVEPATCH))
			continue;
		if (!strncmp(name, prefix, sizeof(prefix) - 1) &&
		    strncmp(name, vmlinux, sizeof(vmlinux) - 1))
			return true;
	}
	return false;
}

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
