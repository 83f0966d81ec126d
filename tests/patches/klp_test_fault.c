// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fault behind the shim's hook.  Of a stock core nothing can fail there: the
 * hook is the last object, and those that the core adds behind it for a replace
 * have their ftrace ops already.  So the core's klp_patch_object() is made to
 * say -EBUSY of one object, when it has done its work.
 *
 *   object	its name
 *   hits	how often that has happened
 */
#include <linux/kprobes.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/string.h>

static char *object = "klp_shim";
module_param(object, charp, 0444);
static uint hits;
module_param(hits, uint, 0444);

/* Anything but 0: this call returns as it is. */
static int entered(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	const struct klp_object *obj = (void *)regs_get_kernel_argument(regs, 0);

	return !obj->name || strcmp(obj->name, object);
}

static int returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	hits++;
	regs_set_return_value(regs, -EBUSY);
	return 0;
}

static struct kretprobe probe = {
	.kp.symbol_name = "klp_patch_object",
	.entry_handler = entered,
	.handler = returns,
};

static int __init klp_test_fault_init(void)
{
	return register_kretprobe(&probe);
}
module_init(klp_test_fault_init);

static void __exit klp_test_fault_exit(void)
{
	unregister_kretprobe(&probe);
}
module_exit(klp_test_fault_exit);

MODULE_DESCRIPTION("klpd: the livepatch core gives up late");
MODULE_LICENSE("GPL");
