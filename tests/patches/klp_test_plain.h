/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A plain patch for tests: loading it enables it.  Parameters: replace, and
 * states=ID:VERSION,... in the core's own table.
 */
#include <linux/kernel.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#define MAX_STATES	16

#ifndef KLP_TEST_PLAIN_REPLACE
#define KLP_TEST_PLAIN_REPLACE	false
#endif

static bool replace = KLP_TEST_PLAIN_REPLACE;
module_param(replace, bool, 0444);
static char *states = "";
module_param(states, charp, 0444);

static struct klp_state table[MAX_STATES + 1];

static int klp_cmdline_proc_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%s\n", THIS_MODULE->name);
	return 0;
}

static struct klp_func funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klp_cmdline_proc_show },
	{ }
};

static struct klp_object objs[] = {
	{ .funcs = funcs },
	{ }
};

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
	.states = table,
};

static int __init klp_test_plain_init(void)
{
	const char *p = states;
	int i, n = 0;

	for (i = 0; *p; i++, p += n) {
		if (i >= MAX_STATES ||
		    sscanf(p, "%lu:%u%n", &table[i].id, &table[i].version, &n) != 2)
			return -EINVAL;
		if (p[n] == ',')
			n++;
	}
	patch.replace = replace;
	return klp_enable_patch(&patch);
}
module_init(klp_test_plain_init);

static void __exit klp_test_plain_exit(void)
{
}
module_exit(klp_test_plain_exit);

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("klpd: a plain livepatch for tests");
MODULE_LICENSE("GPL");
