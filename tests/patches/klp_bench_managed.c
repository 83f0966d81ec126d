// SPDX-License-Identifier: GPL-2.0-only
/*
 * See klp_bench.h.  Parameters shim_get_ps and core_get_ps: picoseconds per
 * klp_shim_shadow_get() and klp_shadow_get() of the same variable, once enabled.
 * With `trace` its states have all callbacks, traced as in klp_test.h.
 */
#include "klp_bench.h"
#include "klp_shim.h"
#include <linux/math64.h>
#include <linux/sched.h>

#define GETS		1000000UL
#define MAX_BENCH_STATES	4000

static uint states;
module_param(states, uint, 0444);
static bool trace;
module_param(trace, bool, 0444);

static struct klp_shim_state table[MAX_BENCH_STATES + 1];

static struct klp_shim_patch patch = {
	.mod = THIS_MODULE,
	.vendor = "test",
	.stream = "bench",
	.objs = objs,
	.states = table,
};

static void trace_call(const struct klp_shim_state *state, const char *callback)
{
	if (trace)
		pr_info("klp_trace: %s %llu %s\n", THIS_MODULE->name, state->id, callback);
}

static int pre_patch(struct klp_shim_state *state)
{
	trace_call(state, __func__);
	if (!state->shadow_size)
		return 0;
	return klp_shim_shadow_get_or_alloc(state, &patch, GFP_KERNEL, NULL, NULL) ? 0 : -ENOMEM;
}

static void post_patch(struct klp_shim_state *state)
{
	trace_call(state, __func__);
}

static void pre_unpatch(struct klp_shim_state *state)
{
	trace_call(state, __func__);
}

static void post_unpatch(struct klp_shim_state *state)
{
	trace_call(state, __func__);
}

static u64 measure(bool shim)
{
	void *found = NULL;
	u64 best = U64_MAX;
	unsigned long i;
	int round;

	for (round = 0; round < 5; round++) {
		u64 start = ktime_get_ns(), took;

		if (shim)
			for (i = 0; i < GETS; i++)
				found = klp_shim_shadow_get(&table[0], &patch);
		else
			for (i = 0; i < GETS; i++)
				found = klp_shadow_get(&patch, 1);
		took = ktime_get_ns() - start;
		best = min(best, took);
		cond_resched();
	}
	return found ? div64_u64(best * 1000, GETS) : 0;
}

static int get_ps(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%llu\n", measure(kp->arg));
}

static const struct kernel_param_ops get_ps_ops = { .get = get_ps };
module_param_cb(shim_get_ps, &get_ps_ops, &patch, 0444);
module_param_cb(core_get_ps, &get_ps_ops, NULL, 0444);

static int __init klp_bench_managed_init(void)
{
	int ret = fill_funcs();
	uint i;

	if (ret || states > MAX_BENCH_STATES)
		return ret ?: -EINVAL;
	for (i = 0; i < states; i++) {
		table[i].id = i + 1;
		table[i].version = 1;
		table[i].name = "bench";
		if (!trace)
			continue;
		table[i].pre_patch = pre_patch;
		table[i].post_patch = post_patch;
		table[i].pre_unpatch = pre_unpatch;
		table[i].post_unpatch = post_unpatch;
	}
	if (states) {
		table[0].flags = KLP_SHIM_STATE_SHADOW;
		table[0].shadow_size = sizeof(u64);
		table[0].pre_patch = pre_patch;
	}
	return klp_shim_register_patch(&patch);
}
module_init(klp_bench_managed_init);

static void __exit klp_bench_managed_exit(void)
{
	klp_shim_unregister_patch(&patch);
}
module_exit(klp_bench_managed_exit);

MODULE_DESCRIPTION("klpd: a managed livepatch for measurements");
