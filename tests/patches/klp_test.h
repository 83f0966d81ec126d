/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A managed patch for tests whose states and behaviour are module parameters;
 * klp_test_a, _b ... are this file under several names.  (Real patches have
 * static tables and the macros of klp_shim.h; see klp_demo_1.c.)
 *
 *   states=ID:VERSION:FLAGS,...  flags as in klp_shim_abi.h, takeover and
 *			shadow members follow them; with `shadow` each pre_patch
 *			and pre_takeover makes one variable, bound to the entry
 *   cumulative, level, vendor, stream, summary	as in struct klp_shim_patch
 *   statename	the name of every state
 *   vmlinux, target	patch cmdline_proc_show, the functions of klp_test_target
 *   fail=ID		pre_patch and pre_takeover of that state return -EIO
 *   objfail=N		per-object pre_patch callbacks return -EIO: 1 every one, 2 that of
 *			klp_test_target alone
 *   initwait		init waits, after it has registered, until `hold` is N
 *   initfail		init fails after it has registered, and leaves that behind
 *   twice		init registers twice
 *   hold=Y		post_patch and post_takeover sleep, with the core's lock held,
 *			until `hold` is N; with holdpre=Y pre_patch, too
 *   api=Y		callbacks trace what klp_shim_get_state() and
 *			klp_shim_get_prev_state() say: "klp_trace: PATCH api ..."
 *   data=ID:NUMBER	becomes the state's data
 *   idle		reads what klp_shim_get_prev_state(1) answers, in no callback
 *   stall=Y		tasks that read /proc/cmdline sleep in the patched function
 *			until `stall` is N, or they are killed
 *   device		there is a device /dev/PATCH: who has it open holds the module
 *   quiet		no lines in the kernel log
 *
 * Each callback is one line: "klp_trace: PATCH STATE CALLBACK", of takeover
 * callbacks with " from VERSION data N"; destructors are counted in parameter
 * `destroyed`.
 *
 * Locking: callbacks are serialised by the core; parameters are read once.
 */
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include "klp_shim.h"

#define MAX_STATES	16

static char *states = "";
module_param(states, charp, 0444);
static bool cumulative;
module_param(cumulative, bool, 0444);
static uint level;
module_param(level, uint, 0444);
static bool vmlinux = true;
module_param(vmlinux, bool, 0444);
static bool target;
module_param(target, bool, 0444);
static ulong fail;
module_param(fail, ulong, 0644);
static uint objfail;
module_param(objfail, uint, 0644);
static bool initfail;
module_param(initfail, bool, 0444);
static bool twice;
module_param(twice, bool, 0444);
static bool initwait;
module_param(initwait, bool, 0444);
static bool api;
module_param(api, bool, 0644);
static bool objtrace;
module_param(objtrace, bool, 0644);
static bool holdpre;
module_param(holdpre, bool, 0444);
static bool device;
module_param(device, bool, 0444);
static bool quiet;
module_param(quiet, bool, 0644);
static uint destroyed;
module_param(destroyed, uint, 0444);
static char *vendor = "test", *stream = "base", *summary = "A patch for tests", *statename = "test";
module_param(vendor, charp, 0444);
module_param(stream, charp, 0444);
module_param(summary, charp, 0444);
module_param(statename, charp, 0444);

static bool stall, hold;
static DECLARE_WAIT_QUEUE_HEAD(stalled);

static int stall_set(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&stalled);
	return ret;
}

static const struct kernel_param_ops stall_ops = { .set = stall_set, .get = param_get_bool };
module_param_cb(stall, &stall_ops, &stall, 0644);
module_param_cb(hold, &stall_ops, &hold, 0644);

static struct klp_shim_state table[MAX_STATES + 1];
static bool made[MAX_STATES];	/* by the last pre_takeover */
static struct klp_shim_patch patch;

#define klp_trace(fmt, ...)							\
	do {								\
		if (!READ_ONCE(quiet))				\
			pr_info("klp_trace: %s " fmt "\n", THIS_MODULE->name, ##__VA_ARGS__); \
	} while (0)

static void destroy(void *obj, void *shadow_data)
{
	destroyed++;
}

static int make_shadow(struct klp_shim_state *state)
{
	if (!(state->flags & KLP_SHIM_STATE_SHADOW))
		return 0;
	return klp_shim_shadow_get_or_alloc(state, state, GFP_KERNEL, NULL, NULL) ? 0 : -ENOMEM;
}

static void hold_on(void)
{
	wait_event_idle(stalled, !READ_ONCE(hold));
}

static void trace_prev(u64 id, const char *where)
{
	struct klp_shim_prev_state prev;
	int ret;

	if (!READ_ONCE(api))
		return;
	ret = klp_shim_get_prev_state(id, &prev);
	if (ret)
		klp_trace("api %s: prev %llu: %d", where, id, ret);
	else
		klp_trace("api %s: prev %llu: version %u data %lu", where, prev.id, prev.version,
			  (unsigned long)prev.data);
}

/* What a ported patch does in its per-object callbacks. */
static void trace_states(const char *where)
{
	struct klp_shim_state *state;

	if (!READ_ONCE(api))
		return;
	for (state = table; state->id; state++) {
		struct klp_shim_state *found = klp_shim_get_state(&patch, state->id);

		klp_trace("api %s: state %llu: version %u%s", where, state->id,
			  found ? found->version : 0, found == state ? "" : " BUG");
		trace_prev(state->id, where);
	}
	klp_trace("api %s: state 99: %s", where, klp_shim_get_state(&patch, 99) ? "BUG" : "none");
	trace_prev(99, where);
}

static int idle_get(char *buffer, const struct kernel_param *kp)
{
	struct klp_shim_prev_state prev;

	return sysfs_emit(buffer, "%d\n", klp_shim_get_prev_state(1, &prev));
}

static const struct kernel_param_ops idle_ops = { .get = idle_get };
module_param_cb(idle, &idle_ops, NULL, 0444);

static int data_set(const char *val, const struct kernel_param *kp)
{
	struct klp_shim_state *state;
	unsigned long number;
	u64 id;

	if (sscanf(val, "%llu:%lu", &id, &number) != 2)
		return -EINVAL;
	state = klp_shim_get_state(&patch, id);
	if (!state)
		return -ENOENT;
	state->data = (void *)number;
	return 0;
}

static const struct kernel_param_ops data_ops = { .set = data_set };
module_param_cb(data, &data_ops, NULL, 0200);

static int pre_patch(struct klp_shim_state *state)
{
	int ret;

	klp_trace("%llu %s", state->id, __func__);
	trace_prev(state->id, __func__);
	ret = make_shadow(state);
	if (ret)
		return ret;
	state->data = (void *)(unsigned long)state->id;
	if (holdpre)
		hold_on();
	return READ_ONCE(fail) == state->id ? -EIO : 0;
}

static void post_patch(struct klp_shim_state *state)
{
	klp_trace("%llu %s", state->id, __func__);
	trace_prev(state->id, __func__);
	hold_on();
}

static void pre_unpatch(struct klp_shim_state *state)
{
	klp_trace("%llu %s", state->id, __func__);
	trace_prev(state->id, __func__);
}

static void post_unpatch(struct klp_shim_state *state)
{
	klp_trace("%llu %s", state->id, __func__);
	trace_prev(state->id, __func__);
}

static int pre_takeover(struct klp_shim_state *state, const struct klp_shim_prev_state *prev)
{
	struct klp_shim_prev_state again = { };

	klp_trace("%llu %s from %u data %lu", state->id, __func__, prev->version,
		  (unsigned long)prev->data);
	/* The interface for ported patches says the same. */
	if (klp_shim_get_prev_state(state->id, &again) || again.version != prev->version ||
	    state->data != prev->data)
		klp_trace("%llu BUG: prev state differs", state->id);
	if (READ_ONCE(fail) == state->id)
		return -EIO;
	made[state - table] = !klp_shim_shadow_get(state, state);
	return make_shadow(state);
}

static void post_takeover(struct klp_shim_state *state, const struct klp_shim_prev_state *prev)
{
	klp_trace("%llu %s from %u data %lu", state->id, __func__, prev->version,
		  (unsigned long)prev->data);
	hold_on();
}

static void cancel_takeover(struct klp_shim_state *state, const struct klp_shim_prev_state *prev)
{
	if (made[state - table])
		klp_shim_shadow_free(state, state);
	klp_trace("%llu %s from %u data %lu", state->id, __func__, prev->version,
		  (unsigned long)prev->data);
}

static int obj_pre_patch(struct klp_object *obj)
{
	if (objtrace)
		klp_trace("%s %s", obj->name ?: "vmlinux", __func__);
	trace_states(__func__);
	return READ_ONCE(objfail) == 1 || (READ_ONCE(objfail) == 2 && obj->name) ? -EIO : 0;
}

static void obj_post_patch(struct klp_object *obj)
{
	if (objtrace)
		klp_trace("%s %s", obj->name ?: "vmlinux", __func__);
}

static void obj_pre_unpatch(struct klp_object *obj)
{
	if (objtrace)
		klp_trace("%s %s", obj->name ?: "vmlinux", __func__);
}

static void obj_post_unpatch(struct klp_object *obj)
{
	if (objtrace)
		klp_trace("%s %s", obj->name ?: "vmlinux", __func__);
	trace_states(__func__);
}

static noinline int klp_cmdline_proc_show(struct seq_file *m, void *v)
{
	if (READ_ONCE(stall) && wait_event_killable(stalled, !READ_ONCE(stall)))
		return -EINTR;
	seq_printf(m, "%s\n", THIS_MODULE->name);
	return 0;
}

static noinline int klp_target_value(void)
{
	return level;
}

static struct klp_func vmlinux_funcs[] = {
	{ .old_name = "cmdline_proc_show", .new_func = klp_cmdline_proc_show },
	{ }
};

static struct klp_func target_funcs[] = {
	{ .old_name = "klp_test_target_value", .new_func = klp_target_value },
	{ .old_name = "klp_test_target_sleep", .new_func = klp_target_value },
	{ }
};

static struct klp_object objs[3];

static struct klp_shim_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
	.states = table,
};

static void add_object(struct klp_object *obj, const char *name, struct klp_func *funcs)
{
	obj->name = name;
	obj->funcs = funcs;
	obj->callbacks.pre_patch = obj_pre_patch;
	obj->callbacks.post_patch = obj_post_patch;
	obj->callbacks.pre_unpatch = obj_pre_unpatch;
	obj->callbacks.post_unpatch = obj_post_unpatch;
}

static int parse_states(void)
{
	const char *p = states;
	int i, n = 0;

	for (i = 0; *p; i++, p += n) {
		struct klp_shim_state *state = &table[i];

		if (i >= MAX_STATES ||
		    sscanf(p, "%llu:%u:%u%n", &state->id, &state->version, &state->flags, &n) != 3)
			return -EINVAL;
		if (p[n] == ',')
			n++;
		state->name = statename;
		state->pre_patch = pre_patch;
		state->post_patch = post_patch;
		state->pre_unpatch = pre_unpatch;
		state->post_unpatch = post_unpatch;
		if (state->flags & KLP_SHIM_STATE_TAKEOVER) {
			state->pre_takeover = pre_takeover;
			state->post_takeover = post_takeover;
			state->cancel_takeover = cancel_takeover;
		}
		if (state->flags & KLP_SHIM_STATE_SHADOW) {
			state->shadow_size = sizeof(u64);
			state->shadow_dtor = destroy;
		}
	}
	return 0;
}

/* The core takes a reference on the owner for each open file. */
static const struct file_operations device_ops = { .owner = THIS_MODULE };
static struct miscdevice misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = KBUILD_MODNAME,
	.fops = &device_ops,
};

static int __init klp_test_init(void)
{
	struct klp_object *next = objs;
	int ret = parse_states();

	if (ret)
		return ret;
	patch.vendor = vendor;
	patch.stream = stream;
	patch.summary = summary;
	patch.level = level;
	patch.cumulative = cumulative;
	if (vmlinux)
		add_object(next++, NULL, vmlinux_funcs);
	if (target)
		add_object(next++, "klp_test_target", target_funcs);
	if (device) {
		ret = misc_register(&misc);
		if (ret)
			return ret;
	}
	ret = klp_shim_register_patch(&patch);
	if (ret) {
		if (device)
			misc_deregister(&misc);
		return ret;
	}
	if (twice) {
		ret = klp_shim_register_patch(&patch);
		pr_info("klp_trace: %s registered twice: %d\n", THIS_MODULE->name, ret);
	}
	if (initwait)
		hold_on();
	return initfail ? -EIO : 0;
}
module_init(klp_test_init);

static void __exit klp_test_exit(void)
{
	if (device)
		misc_deregister(&misc);
	klp_shim_unregister_patch(&patch);
}
module_exit(klp_test_exit);

MODULE_INFO(livepatch, "Y");
MODULE_DESCRIPTION("klpd: a livepatch for tests, by parameters");
MODULE_LICENSE("GPL");
