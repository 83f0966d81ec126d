// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow variables by hand.  State 1 declares them, state 2 doesn't.
 *
 *   do="VERB ID OBJECT"	alloc, get, get-or-alloc, free, free-all of the state, and
 *			core-alloc, core-get, core-free of the kernel's own interface;
 *			objects are numbers that stand for pointers
 *   did		what came of it: the value of the variable, which the constructor
 *			made of the object's number, or "none"
 *   ctorfail=Y	constructors fail
 *   undeclared=Y	pre_patch of state 2 wants a variable
 *   constructed, destroyed	how often
 *
 * Callbacks of both are traced as in klp_test.h.
 *
 * Locking: the lock of the module's parameters serialises `do`.
 */
#include <linux/module.h>
#include <linux/seq_file.h>
#include "klp_shim.h"

struct counted {
	u64 value, other;
};

static bool ctorfail;
module_param(ctorfail, bool, 0644);
static bool undeclared;
module_param(undeclared, bool, 0644);
static uint constructed, destroyed;
module_param(constructed, uint, 0444);
module_param(destroyed, uint, 0444);

static int construct(void *obj, void *shadow_data, void *ctor_data)
{
	struct counted *counted = shadow_data;

	if (READ_ONCE(ctorfail))
		return -EINVAL;
	constructed++;
	counted->value = (unsigned long)obj + (unsigned long)ctor_data;
	return 0;
}

static void destroy(void *obj, void *shadow_data)
{
	destroyed++;
}

static void trace(const struct klp_shim_state *state, const char *callback)
{
	pr_info("klp_trace: %s %llu %s\n", THIS_MODULE->name, state->id, callback);
}

static int pre_patch(struct klp_shim_state *state)
{
	trace(state, __func__);
	if (state->id != 2 || !READ_ONCE(undeclared))
		return 0;
	return klp_shim_shadow_alloc(state, state, GFP_KERNEL, construct, NULL) ? 0 : -ENODATA;
}

static void post_patch(struct klp_shim_state *state)
{
	trace(state, __func__);
}

static void pre_unpatch(struct klp_shim_state *state)
{
	trace(state, __func__);
}

static void post_unpatch(struct klp_shim_state *state)
{
	trace(state, __func__);
}

#define CALLBACKS							\
	.pre_patch = pre_patch, .post_patch = post_patch,		\
	.pre_unpatch = pre_unpatch, .post_unpatch = post_unpatch
#define STATES(STATE)							\
	STATE(counted, 1, 1, SHADOW, "counted", CALLBACKS,		\
	      .shadow_size = sizeof(struct counted), .shadow_dtor = destroy)	\
	STATE(bare, 2, 1, NONE, "bare", CALLBACKS)
KLP_SHIM_DECLARE_STATES(STATES);

static noinline int klp_cmdline_proc_show(struct seq_file *m, void *v)
{
	seq_printf(m, "%s\n", THIS_MODULE->name);
	return 0;
}

#define VMLINUX(FUNC, o) FUNC(o, cmdline_proc_show, 0, klp_cmdline_proc_show)
KLP_SHIM_OBJECT(vmlinux, VMLINUX);

KLP_SHIM_SUMMARY("Shadow variables by hand");
KLP_SHIM_PATCH("test", "shadow", 1, STACKED, STATES, KLP_SHIM_OBJ(vmlinux));
MODULE_DESCRIPTION("klpd: a livepatch for tests of shadow variables");
MODULE_LICENSE("GPL");

static struct counted *found;

static int do_set(const char *val, const struct kernel_param *kp)
{
	struct klp_shim_state *state;
	unsigned long id, number;
	void *obj, *data = (void *)1000UL;
	char verb[16];

	if (sscanf(val, "%15s %lu %lu", verb, &id, &number) != 3)
		return -EINVAL;
	obj = (void *)number;
	state = klp_shim_get_state(&klp_shim_this_patch, id);
	found = NULL;
	if (!strcmp(verb, "core-alloc"))
		found = klp_shadow_alloc(obj, id, sizeof(*found), GFP_KERNEL, construct, data);
	else if (!strcmp(verb, "core-get"))
		found = klp_shadow_get(obj, id);
	else if (!strcmp(verb, "core-free"))
		klp_shadow_free(obj, id, NULL);
	else if (!state)
		return -ENOENT;
	else if (!strcmp(verb, "alloc"))
		found = klp_shim_shadow_alloc(state, obj, GFP_KERNEL, construct, data);
	else if (!strcmp(verb, "get"))
		found = klp_shim_shadow_get(state, obj);
	else if (!strcmp(verb, "get-or-alloc"))
		found = klp_shim_shadow_get_or_alloc(state, obj, GFP_KERNEL, construct, data);
	else if (!strcmp(verb, "free"))
		klp_shim_shadow_free(state, obj);
	else if (!strcmp(verb, "free-all"))
		klp_shim_shadow_free_all(state);
	else
		return -EINVAL;
	return 0;
}

static const struct kernel_param_ops do_ops = { .set = do_set };
module_param_cb(do, &do_ops, NULL, 0200);

static int did_get(char *buffer, const struct kernel_param *kp)
{
	return found ? sysfs_emit(buffer, "%llu\n", found->value) : sysfs_emit(buffer, "none\n");
}

static const struct kernel_param_ops did_ops = { .get = did_get };
module_param_cb(did, &did_ops, NULL, 0444);
