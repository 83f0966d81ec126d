/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The functions of klp_demo_1, with KLP_DEMO_HAS_ASYNC those of klp_demo_2, as
 * a plain patch: loading it enables it.  With KLP_DEMO_PLAIN_REPLACE it is
 * cumulative, as those are.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include "klp_demo.h"

#ifndef KLP_DEMO_PLAIN_REPLACE
#define KLP_DEMO_PLAIN_REPLACE	false
#endif

static struct klp_func funcs[] = {
	{ .old_name = "ip_options_get", .new_func = klp_ip_options_get },
#ifdef KLP_DEMO_HAS_ASYNC
	{ .old_name = "pipe_fasync", .new_func = klp_pipe_fasync },
#endif
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
	.replace = KLP_DEMO_PLAIN_REPLACE,
};

static int __init klp_demo_plain_init(void)
{
	return klp_enable_patch(&patch);
}
module_init(klp_demo_plain_init);

static void __exit klp_demo_plain_exit(void)
{
}
module_exit(klp_demo_plain_exit);

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("klpd demo patch, as a plain patch");
MODULE_LICENSE("GPL");
