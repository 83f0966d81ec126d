// SPDX-License-Identifier: GPL-2.0-only
/* See klp_bench.h. */
#include "klp_bench.h"

static ulong enable_ns;
module_param(enable_ns, ulong, 0444);

static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int __init klp_bench_plain_init(void)
{
	int ret = fill_funcs();
	u64 start;

	if (ret)
		return ret;
	start = ktime_get_ns();
	ret = klp_enable_patch(&patch);
	enable_ns = ktime_get_ns() - start;
	return ret;
}
module_init(klp_bench_plain_init);

static void __exit klp_bench_plain_exit(void)
{
}
module_exit(klp_bench_plain_exit);

MODULE_DESCRIPTION("klpd: a plain livepatch for measurements");
