/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A patch for measurements: parameter n says how many functions of
 * klp_bench_target it redirects, states how many states it has (managed only).
 * klp_bench_plain enables in its init and says in enable_ns how long
 * klp_enable_patch() took; klp_bench_managed registers.
 */
#include <linux/kernel.h>
#include <linux/ktime.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/slab.h>

#define MAX_FUNCS	1000

static uint n = 1;
module_param(n, uint, 0444);

static char names[MAX_FUNCS][sizeof("klp_bench_f1099")];
static struct klp_func funcs[MAX_FUNCS + 1];

static struct klp_object objs[] = {
	{ .name = "klp_bench_target", .funcs = funcs },
	{ }
};

static noinline int klp_bench_new(int x)
{
	barrier();
	return x + 2;
}

static int fill_funcs(void)
{
	uint i;

	if (!n || n > MAX_FUNCS)
		return -EINVAL;
	for (i = 0; i < n; i++) {
		snprintf(names[i], sizeof(names[i]), "klp_bench_f%u", 100 + i);
		funcs[i].old_name = names[i];
		funcs[i].new_func = klp_bench_new;
	}
	return 0;
}

MODULE_INFO(livepatch, "Y");
MODULE_LICENSE("GPL");
