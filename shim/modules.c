// SPDX-License-Identifier: GPL-2.0-only
/*
 * Livepatch modules coming and going, plain ones included.
 *
 * Whatever a plan depends on moves the generation.  A plain patch is enabled
 * by its own init and disabled through sysfs, and nobody announces the latter;
 * what can be seen of it is its module's reference count (at each command) and,
 * in the hook of an enable, the core's list itself.  Those that are there when
 * the shim comes are looked up once.
 *
 * Locking: records under klp_shim_mutex; a module that has a record exists,
 * since its going is announced before it is freed.
 */
#include <linux/notifier.h>
#include <linux/slab.h>

#include "internal.h"

struct livepatch_module {
	struct list_head node;
	struct module *mod;
	bool live;			/* LOADED was sent */
	bool used;			/* its reference count was not 0 */
	bool listed;			/* was with the core when last looked at */
};

static LIST_HEAD(modules);

static struct livepatch_module *find_module_record(const struct module *mod)
{
	struct livepatch_module *m;

	list_for_each_entry(m, &modules, node)
		if (m->mod == mod)
			return m;
	return NULL;
}

bool klp_shim_is_managed(const struct module *mod)
{
	struct klp_shim_reg *reg;

	list_for_each_entry(reg, &klp_shim_regs, node)
		if (reg->mod == mod)
			return true;
	return false;
}

/* Has a plain patch been let go of, or picked up, since the last look? */
void klp_shim_modules_refresh(void)
{
	struct livepatch_module *m;

	list_for_each_entry(m, &modules, node) {
		bool used = module_refcount(m->mod) > 0;

		if (klp_shim_is_managed(m->mod) || m->used == used)
			continue;
		m->used = used;
		/* The core lets go of a module last of all. */
		if (!used)
			m->listed = false;
		klp_shim_changed();
	}
}

/*
 * In the hook of an enable: the plain patches that the core has, against what
 * was known.  Each difference counts once, so a module that stays referenced
 * for good after a forced disable doesn't make every later enable stale.
 */
void klp_shim_modules_compare(struct list_head *core_head)
{
	struct livepatch_module *m;
	struct klp_patch *patch;

	list_for_each_entry(m, &modules, node) {
		bool listed = false;

		if (!m->live || klp_shim_is_managed(m->mod))
			continue;
		klp_shim_for_each_core_patch(patch, core_head)
			listed = listed || patch->mod == m->mod;
		if (listed == m->listed)
			continue;
		m->listed = listed;
		klp_shim_changed();
	}
}

static struct livepatch_module *add_record(struct module *mod, gfp_t gfp)
{
	struct livepatch_module *m = kzalloc(sizeof(*m), gfp);

	if (!m)
		return NULL;
	m->mod = mod;
	/* A plain patch: enabled by its init, which runs next. */
	m->used = true;
	m->listed = true;
	list_add_tail(&m->node, &modules);
	return m;
}

static int module_coming(struct module *mod)
{
	/* record_present() may have been first. */
	if (!find_module_record(mod) && !add_record(mod, GFP_KERNEL))
		return -ENOMEM;
	klp_shim_changed();
	return 0;
}

static bool module_live(struct module *mod)
{
	struct livepatch_module *m = find_module_record(mod);

	if (!m)		/* on its way when the shim came */
		m = add_record(mod, GFP_KERNEL);
	if (m)
		m->live = true;
	klp_shim_changed();
	return true;
}

static bool module_going(struct module *mod)
{
	struct livepatch_module *m;
	bool was_live;

	klp_shim_purge_module(mod);
	m = find_module_record(mod);
	klp_shim_changed();
	if (!m)
		return false;
	was_live = m->live;
	list_del(&m->node);
	kfree(m);
	return was_live;
}

static int module_event(struct notifier_block *nb, unsigned long action, void *data)
{
	struct module *mod = data;
	enum klp_shim_event event = 0;
	int ret = 0;

	if (!is_livepatch_module(mod))
		return NOTIFY_DONE;

	mutex_lock(&klp_shim_mutex);
	switch (action) {
	case MODULE_STATE_COMING:
		ret = module_coming(mod);
		break;
	case MODULE_STATE_LIVE:
		if (module_live(mod))
			event = KLP_SHIM_EVENT_MODULE_LOADED;
		break;
	case MODULE_STATE_GOING:
		if (module_going(mod))
			event = KLP_SHIM_EVENT_MODULE_UNLOADED;
		break;
	}
	mutex_unlock(&klp_shim_mutex);

	if (event)
		klp_shim_event(event, &(struct klp_shim_event_info) { .name = mod->name });
	return notifier_from_errno(ret);
}

static struct notifier_block module_nb = {
	.notifier_call = module_event,
};

/*
 * Modules that were loaded before this one.  All are in the kset of /sys/module,
 * and while one is there it isn't freed; one that goes is announced after its
 * state says so, and the notifier waits for klp_shim_mutex.
 */
static int record_present(void)
{
	struct kset *kset = THIS_MODULE->mkobj.kobj.kset;
	struct kobject *kobj;
	int ret = 0;

	lockdep_assert_held(&klp_shim_mutex);

	spin_lock(&kset->list_lock);
	list_for_each_entry(kobj, &kset->list, entry) {
		struct module *mod = container_of(kobj, struct module_kobject, kobj)->mod;
		enum module_state state = mod ? READ_ONCE(mod->state) : MODULE_STATE_GOING;
		struct livepatch_module *m;

		/* What is built in has no module. */
		if (state == MODULE_STATE_GOING || !is_livepatch_module(mod) ||
		    find_module_record(mod))
			continue;
		m = add_record(mod, GFP_ATOMIC);
		if (!m) {
			ret = -ENOMEM;
			break;
		}
		m->live = state == MODULE_STATE_LIVE;
		if (m->live) {
			/* Enabled or not: the core's list isn't known yet. */
			m->used = module_refcount(mod) > 0;
			m->listed = m->used;
		}
	}
	spin_unlock(&kset->list_lock);
	return ret;
}

int klp_shim_modules_init(void)
{
	int ret;

	ret = register_module_notifier(&module_nb);
	if (ret)
		return ret;

	mutex_lock(&klp_shim_mutex);
	ret = record_present();
	mutex_unlock(&klp_shim_mutex);
	if (ret)
		klp_shim_modules_exit();
	return ret;
}

void klp_shim_modules_exit(void)
{
	struct livepatch_module *m, *tmp;

	unregister_module_notifier(&module_nb);
	/* Commands still look at them until the family is gone. */
	mutex_lock(&klp_shim_mutex);
	list_for_each_entry_safe(m, tmp, &modules, node) {
		list_del(&m->node);
		kfree(m);
	}
	mutex_unlock(&klp_shim_mutex);
}
