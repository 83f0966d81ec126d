// SPDX-License-Identifier: GPL-2.0-only
/*
 * Something to be patched for measurements: a thousand functions, and a
 * parameter that says how long a call of the first one takes.
 *
 *   parameters/call_ps	picoseconds per call, of a million calls
 *
 * Locking: none; nothing is shared.
 */
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/preempt.h>
#include <linux/sched.h>

#define CALLS	1000000UL

#define ONE(n)								\
	static noinline __used int klp_bench_f##n(int x)		\
	{								\
		barrier();						\
		return x + 1;						\
	}
#define TEN(n)		ONE(n##0) ONE(n##1) ONE(n##2) ONE(n##3) ONE(n##4)	\
			ONE(n##5) ONE(n##6) ONE(n##7) ONE(n##8) ONE(n##9)
#define HUNDRED(n)	TEN(n##0) TEN(n##1) TEN(n##2) TEN(n##3) TEN(n##4)	\
			TEN(n##5) TEN(n##6) TEN(n##7) TEN(n##8) TEN(n##9)

/* klp_bench_f100 ... klp_bench_f1099, a thousand of them. */
HUNDRED(1)
HUNDRED(2)
HUNDRED(3)
HUNDRED(4)
HUNDRED(5)
HUNDRED(6)
HUNDRED(7)
HUNDRED(8)
HUNDRED(9)
TEN(100)
TEN(101)
TEN(102)
TEN(103)
TEN(104)
TEN(105)
TEN(106)
TEN(107)
TEN(108)
TEN(109)

static int call_ps_get(char *buffer, const struct kernel_param *kp)
{
	u64 best = U64_MAX;
	unsigned long i;
	int round, x = 0;

	/* The best of several rounds: what disturbs only adds. */
	for (round = 0; round < 5; round++) {
		u64 start = ktime_get_ns(), took;

		for (i = 0; i < CALLS; i++)
			x = klp_bench_f100(x);
		took = ktime_get_ns() - start;
		best = min(best, took);
		cond_resched();
	}
	OPTIMIZER_HIDE_VAR(x);
	return sysfs_emit(buffer, "%llu\n", div64_u64(best * 1000, CALLS));
}

static const struct kernel_param_ops call_ps_ops = { .get = call_ps_get };
module_param_cb(call_ps, &call_ps_ops, NULL, 0444);

static int __init klp_bench_target_init(void)
{
	return 0;
}
module_init(klp_bench_target_init);

static void __exit klp_bench_target_exit(void)
{
}
module_exit(klp_bench_target_exit);

MODULE_DESCRIPTION("klpd: a module to be patched by measurements");
MODULE_LICENSE("GPL");
