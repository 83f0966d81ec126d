// SPDX-License-Identifier: GPL-2.0-only
/*
 * The functions of klp_demo_1 as a plain patch: loading it enables it.
 */
#include <linux/livepatch.h>
#include <linux/module.h>
#include "klp_demo.h"

static struct klp_func funcs[] = {
	{ .old_name = "ip_options_get", .new_func = klp_ip_options_get },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
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
MODULE_DESCRIPTION("klpd demo patch, level 1, as a plain patch");
MODULE_LICENSE("GPL");
