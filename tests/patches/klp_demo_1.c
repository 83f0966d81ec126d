// SPDX-License-Identifier: GPL-2.0-only
/*
 * Demo patch, level 1: one real fix, and a state that counts what it refuses.
 */
#include <linux/module.h>
#include "klp_shim.h"

#define STATES(STATE)							\
	STATE(refused, 1, 1, SHADOW, "refused-options",			\
	      .shadow_size = sizeof(struct klp_demo_counter))
KLP_SHIM_DECLARE_STATES(STATES);

#include "klp_demo_managed.h"

#define VMLINUX(FUNC, o)						\
	FUNC(o, ip_options_get, 0, klp_ip_options_get)
KLP_SHIM_OBJECT(vmlinux, VMLINUX);

KLP_SHIM_SUMMARY("Source-route options need CAP_NET_RAW");
KLP_SHIM_SEVERITY("moderate");
KLP_SHIM_DEFINE_PATCH("local", "base", 1, CUMULATIVE, STATES, KLP_SHIM_OBJ(vmlinux));
KLP_DEMO_INIT_EXIT();

MODULE_DESCRIPTION("klpd demo patch, level 1");
MODULE_LICENSE("GPL");
