// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demo patch, level 3: level 2, one more real fix, and a state that can't be
 * reverted while the system runs.
 */
#include <linux/module.h>
#include "klp_shim.h"

#define STATES(STATE)							\
	STATE(refused, 1, 1, SHADOW, "refused-options",			\
	      .shadow_size = sizeof(struct klp_demo_counter))		\
	STATE(async, 2, 2, SHADOW, "async-undone",			\
	      .pre_patch = klp_demo_async_pre_patch,			\
	      .post_patch = klp_demo_post_patch,			\
	      .pre_unpatch = klp_demo_pre_unpatch,			\
	      .post_unpatch = klp_demo_post_unpatch,			\
	      .shadow_size = sizeof(struct klp_demo_counter))		\
	STATE(oneway, 3, 1, BLOCK_DISABLE, "one-way",			\
	      .post_patch = klp_demo_post_patch,			\
	      .pre_unpatch = klp_demo_pre_unpatch,			\
	      .post_unpatch = klp_demo_post_unpatch)
KLP_SHIM_DECLARE_STATES(STATES);

#define KLP_DEMO_HAS_ASYNC
#define KLP_DEMO_HAS_SOCK
#include "klp_demo_managed.h"

#define VMLINUX(FUNC, o)						\
	FUNC(o, ip_options_get, 0, klp_ip_options_get)			\
	FUNC(o, pipe_fasync, 0, klp_pipe_fasync)			\
	FUNC(o, inet_sock_destruct, 0, klp_inet_sock_destruct)
KLP_SHIM_OBJECT(vmlinux, VMLINUX);

KLP_SHIM_SUMMARY("Level 2, and a socket's options are freed after a grace period");
KLP_SHIM_SEVERITY("important");
KLP_SHIM_DEFINE_PATCH("local", "base", 3, CUMULATIVE, STATES, KLP_SHIM_OBJ(vmlinux));
KLP_DEMO_INIT_EXIT();

MODULE_DESCRIPTION("klpd demo patch, level 3");
MODULE_LICENSE("GPL");
