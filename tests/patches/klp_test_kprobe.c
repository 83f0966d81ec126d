// SPDX-License-Identifier: GPL-2.0-only
/*
 * A kprobe in the way: with a post_handler it wants to change the instruction
 * pointer, as a livepatch does, and ftrace lets only one of them.
 *
 *   symbol	where it sits
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static char *symbol = "";
module_param(symbol, charp, 0444);

static void post_handler(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
}

static struct kprobe probe = { .post_handler = post_handler };

static int __init klp_test_kprobe_init(void)
{
	probe.symbol_name = symbol;
	return register_kprobe(&probe);
}
module_init(klp_test_kprobe_init);

static void __exit klp_test_kprobe_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(klp_test_kprobe_exit);

MODULE_DESCRIPTION("klpd: a kprobe in the way of a livepatch");
MODULE_LICENSE("GPL");
