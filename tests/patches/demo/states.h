/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The states of the demo patches.  Every level includes this file and so has
 * its own copy of the code; the counters themselves are shadow variables, which
 * stay while the state is kept from one level to another.
 *
 * Locking: a counter is allocated in pre_patch or on first use and lives until
 * the state goes; the counters are atomic.  Both hang on init_net, which is
 * never freed.
 */
#include <linux/atomic.h>
#include <linux/moduleparam.h>
#include <net/net_namespace.h>

struct klp_demo_counter {
	atomic64_t count;
};

/*
 * State 1: how many source routes were refused.  A shadow variable and no
 * callbacks: it is made at the first refusal.
 */
#define KLP_DEMO_REFUSED(STATE)						\
	STATE(refused, 1, 1, SHADOW, "refused-options",			\
	      .shadow_size = sizeof(struct klp_demo_counter))

static struct klp_shim_state *klp_demo_state(u64 id);

/* Counting is best effort: without memory the refusal stands all the same. */
static void klp_demo_count(u64 id)
{
	struct klp_demo_counter *counter;

	counter = klp_shim_shadow_get_or_alloc(klp_demo_state(id), &init_net, GFP_KERNEL,
					       NULL, NULL);
	if (counter)
		atomic64_inc(&counter->count);
}

static s64 klp_demo_counted(u64 id)
{
	struct klp_demo_counter *counter;

	counter = klp_shim_shadow_get(klp_demo_state(id), &init_net);
	return counter ? atomic64_read(&counter->count) : 0;
}

#define klp_demo_refused() klp_demo_count(1)

#ifdef KLP_DEMO_WITH_FASYNC
/* State 2: how often pipe_fasync() was called; its callbacks say when they run. */
static int klp_demo_fasync_pre_patch(struct klp_shim_state *state)
{
	if (!klp_shim_shadow_alloc(state, &init_net, GFP_KERNEL, NULL, NULL))
		return -ENOMEM;
	pr_info("%s: state %llu pre_patch\n", KBUILD_MODNAME, state->id);
	return 0;
}

static void klp_demo_fasync_post_patch(struct klp_shim_state *state)
{
	pr_info("%s: state %llu post_patch\n", KBUILD_MODNAME, state->id);
}

static void klp_demo_fasync_pre_unpatch(struct klp_shim_state *state)
{
	pr_info("%s: state %llu pre_unpatch\n", KBUILD_MODNAME, state->id);
}

static void klp_demo_fasync_post_unpatch(struct klp_shim_state *state)
{
	pr_info("%s: state %llu post_unpatch\n", KBUILD_MODNAME, state->id);
}

/* Under a spinlock, with interrupts off. */
static void klp_demo_fasync_dtor(void *obj, void *shadow_data)
{
	struct klp_demo_counter *counter = shadow_data;

	pr_info("%s: state 2 shadow variable freed, count %lld\n", KBUILD_MODNAME,
		atomic64_read(&counter->count));
}

#define KLP_DEMO_FASYNC(STATE, version)					\
	STATE(fasync, 2, version, SHADOW, "fasync-counter",		\
	      .shadow_size = sizeof(struct klp_demo_counter),		\
	      .shadow_dtor = klp_demo_fasync_dtor,			\
	      .pre_patch = klp_demo_fasync_pre_patch,			\
	      .post_patch = klp_demo_fasync_post_patch,			\
	      .pre_unpatch = klp_demo_fasync_pre_unpatch,		\
	      .post_unpatch = klp_demo_fasync_post_unpatch)

#define klp_demo_fasync() klp_demo_count(2)
#endif /* KLP_DEMO_WITH_FASYNC */

/* /sys/module/klp_demo_N/parameters/{refused,fasync}: the counters, read-only. */
static int klp_demo_get_refused(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%lld\n", klp_demo_counted(1));
}

static const struct kernel_param_ops klp_demo_refused_ops = {
	.get = klp_demo_get_refused,
};
module_param_cb(refused, &klp_demo_refused_ops, NULL, 0444);
MODULE_PARM_DESC(refused, "source routes refused so far");

#ifdef KLP_DEMO_WITH_FASYNC
static int klp_demo_get_fasync(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(buffer, "%lld\n", klp_demo_counted(2));
}

static const struct kernel_param_ops klp_demo_fasync_ops = {
	.get = klp_demo_get_fasync,
};
module_param_cb(fasync, &klp_demo_fasync_ops, NULL, 0444);
MODULE_PARM_DESC(fasync, "calls of pipe_fasync() since level 2");
#endif
