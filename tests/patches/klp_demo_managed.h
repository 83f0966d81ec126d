/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the managed demo patches share: the use of their states.  Included
 * after KLP_SHIM_DECLARE_STATES(), by patches that have the states `refused`
 * and, with KLP_DEMO_HAS_ASYNC, `async`.
 */
#ifndef KLP_DEMO_MANAGED_H
#define KLP_DEMO_MANAGED_H

#include <linux/atomic.h>
#include <linux/sched/task.h>
#include <net/net_namespace.h>

struct klp_demo_counter {
	atomic64_t count;
};

/* State 1: refused options, counted for each network namespace. */
static void klp_demo_refused(struct net *net)
{
	struct klp_demo_counter *counter;

	counter = klp_shim_shadow_get_or_alloc(KLP_SHIM_STATE(refused), net, GFP_KERNEL,
					       NULL, NULL);
	if (counter)
		atomic64_inc(&counter->count);
}

static void __net_exit klp_demo_net_exit(struct net *net)
{
	klp_shim_shadow_free(KLP_SHIM_STATE(refused), net);
}

static struct pernet_operations klp_demo_net_ops = {
	.exit = klp_demo_net_exit,
};

#define KLP_DEMO_REFUSED(net)	klp_demo_refused(net)

#ifdef KLP_DEMO_HAS_ASYNC
/* State 2: one counter, bound to a task that never ends. */
static int klp_demo_async_pre_patch(struct klp_shim_state *state)
{
	pr_info("klp_trace: %s %llu pre_patch\n", THIS_MODULE->name, state->id);
	return klp_shim_shadow_alloc(state, &init_task, GFP_KERNEL, NULL, NULL) ? 0 : -ENOMEM;
}

static void klp_demo_fasync_undone(void)
{
	struct klp_demo_counter *counter;

	counter = klp_shim_shadow_get(KLP_SHIM_STATE(async), &init_task);
	if (counter)
		atomic64_inc(&counter->count);
}

#define KLP_DEMO_FASYNC_UNDONE()	klp_demo_fasync_undone()
#endif

static void __maybe_unused klp_demo_post_patch(struct klp_shim_state *state)
{
	pr_info("klp_trace: %s %llu post_patch\n", THIS_MODULE->name, state->id);
}

static void __maybe_unused klp_demo_pre_unpatch(struct klp_shim_state *state)
{
	pr_info("klp_trace: %s %llu pre_unpatch\n", THIS_MODULE->name, state->id);
}

static void __maybe_unused klp_demo_post_unpatch(struct klp_shim_state *state)
{
	pr_info("klp_trace: %s %llu post_unpatch\n", THIS_MODULE->name, state->id);
}

#include "klp_demo.h"

/* Namespaces are watched from before registration until after unregistration. */
#define KLP_DEMO_INIT_EXIT()						\
	static int __init klp_demo_init(void)				\
	{								\
		int ret = register_pernet_subsys(&klp_demo_net_ops);	\
									\
		if (ret)						\
			return ret;					\
		ret = klp_shim_register_patch(&klp_shim_this_patch);	\
		if (ret)						\
			unregister_pernet_subsys(&klp_demo_net_ops);	\
		return ret;						\
	}								\
	module_init(klp_demo_init);					\
	static void __exit klp_demo_exit(void)				\
	{								\
		klp_shim_unregister_patch(&klp_shim_this_patch);	\
		unregister_pernet_subsys(&klp_demo_net_ops);		\
	}								\
	module_exit(klp_demo_exit)

#endif /* KLP_DEMO_MANAGED_H */
