// SPDX-License-Identifier: GPL-2.0-only
/*
 * A patch whose new function reads a static variable of the module that it
 * patches.  "ko-edit relocate" turns the weak symbol into a livepatch
 * relocation, as kpatch-build and klp-build make them; it is never loaded
 * without that.  Callbacks of its state are traced as in klp_test.h.
 */
#include <linux/compiler.h>
#include <linux/module.h>
#include "klp_shim.h"

extern int klp_test_reloc_hidden __weak;

static int trace(const char *callback)
{
	pr_info("klp_trace: %s 1 %s\n", THIS_MODULE->name, callback);
	return 0;
}

static int pre_patch(struct klp_shim_state *state)
{
	return trace(__func__);
}

static void post_patch(struct klp_shim_state *state)
{
	trace(__func__);
}

static void pre_unpatch(struct klp_shim_state *state)
{
	trace(__func__);
}

static void post_unpatch(struct klp_shim_state *state)
{
	trace(__func__);
}

#define STATES(STATE)								\
	STATE(only, 1, 1, NONE, "only", .pre_patch = pre_patch, .post_patch = post_patch,	\
	      .pre_unpatch = pre_unpatch, .post_unpatch = post_unpatch)
KLP_SHIM_DECLARE_STATES(STATES);

static noinline int klp_target_value(void)
{
	return 1000 + READ_ONCE(klp_test_reloc_hidden);
}

#define TARGET(FUNC, o) FUNC(o, klp_test_target_value, 0, klp_target_value)
KLP_SHIM_OBJECT(klp_test_target, TARGET);

KLP_SHIM_SUMMARY("Relocations for a module");
KLP_SHIM_PATCH("test", "reloc", 1, STACKED, STATES, KLP_SHIM_OBJ(klp_test_target));
MODULE_DESCRIPTION("klpd: a livepatch for tests of relocations");
MODULE_LICENSE("GPL");
