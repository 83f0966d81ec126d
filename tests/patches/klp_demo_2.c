// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demo patch, level 2: level 1, one more real fix, and a state with callbacks.
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
	      .shadow_size = sizeof(struct klp_demo_counter))
KLP_SHIM_DECLARE_STATES(STATES);

#define KLP_DEMO_HAS_ASYNC
#include "klp_demo_managed.h"

#define VMLINUX(FUNC, o)						\
	FUNC(o, ip_options_get, 0, klp_ip_options_get)			\
	FUNC(o, pipe_fasync, 0, klp_pipe_fasync)
KLP_SHIM_OBJECT(vmlinux, VMLINUX);

KLP_SHIM_SUMMARY("Level 1, and a failing FIOASYNC on a pipe undoes only its own");
KLP_SHIM_SEVERITY("moderate");
KLP_SHIM_DEFINE_PATCH("local", "base", 2, CUMULATIVE, STATES, KLP_SHIM_OBJ(vmlinux));
KLP_DEMO_INIT_EXIT();

MODULE_DESCRIPTION("klpd demo patch, level 2");
MODULE_LICENSE("GPL");
