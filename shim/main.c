// SPDX-License-Identifier: GPL-2.0-only
/*
 * The module: a thin layer on the kernel's own livepatch core that enables
 * registered patches on command, runs per-state callbacks, and tells.
 *
 * Locking: none here.  Patches link to this module's symbols, so it can be
 * removed only when nothing is registered.
 *
 * "rmmod -f" of a patch, where the kernel has it, takes a module away under
 * whatever still uses it; nothing here can protect against that.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "internal.h"

static int __init klp_shim_init(void)
{
	int ret;

	ret = genl_register_family(&klp_shim_family);
	if (ret) {
		pr_err("can't register the generic netlink family: %d\n", ret);
		return ret;
	}

	ret = klp_shim_modules_init();
	if (ret) {
		pr_err("can't watch modules: %d\n", ret);
		genl_unregister_family(&klp_shim_family);
		return ret;
	}
	return 0;
}
module_init(klp_shim_init);

static void __exit klp_shim_exit(void)
{
	klp_shim_modules_exit();
	genl_unregister_family(&klp_shim_family);
}
module_exit(klp_shim_exit);

MODULE_DESCRIPTION("Managed livepatches: states, callbacks, events on top of kernel/livepatch");
MODULE_AUTHOR("klpd developers");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
