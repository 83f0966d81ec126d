// SPDX-License-Identifier: GPL-2.0-only
/*
 * Shadow variables of states: counted wrappers over klp_shadow_*().
 *
 * A state is open for them from just before its pre_patch until its last
 * post_unpatch has returned (SEMANTICS.md section 2); closing frees them all.
 * An allocation reserves its place in the count first, since it may sleep, and
 * looks afterwards whether the state was closed meanwhile (by an exiting task
 * that still ran old code): then it is undone.
 *
 * Locking: shadow_lock, a leaf above the core's klp_shadow_lock.  It also
 * guards `freeing`, by which the core's destructor, which has no private
 * argument, knows what is being freed.
 */
#include <linux/spinlock.h>

#include "internal.h"

static DEFINE_SPINLOCK(shadow_lock);

static struct {
	klp_shadow_dtor_t dtor;
	u64 count;
} freeing;

static void count_and_destroy(void *obj, void *shadow_data)
{
	freeing.count++;
	if (freeing.dtor)
		freeing.dtor(obj, shadow_data);
}

/* Frees one variable (obj) or all (NULL); shadow_lock is held. */
static u64 free_locked(struct klp_shim_state *state, void *obj)
{
	struct klp_shim_id *rec = state->shim_id;

	freeing.dtor = state->shadow_dtor;
	freeing.count = 0;
	if (obj)
		klp_shadow_free(obj, state->id, count_and_destroy);
	else
		klp_shadow_free_all(state->id, count_and_destroy);
	/* A patch that made some of the same id past the shim shall not turn the count round. */
	rec->shadow_count -= min(freeing.count, rec->shadow_count);
	return freeing.count;
}

/* False: it was open already. */
bool klp_shim_shadow_open(struct klp_shim_id *rec)
{
	unsigned long flags;
	bool opened;

	spin_lock_irqsave(&shadow_lock, flags);
	opened = !rec->open;
	rec->open = true;
	if (opened)
		rec->epoch++;
	spin_unlock_irqrestore(&shadow_lock, flags);
	return opened;
}

/*
 * The state is gone.  leave: by a forced transition, tasks may still use the
 * variables, so they stay for good.  patch: the name of the one that had it.
 */
void klp_shim_shadow_close(struct klp_shim_state *state, const char *patch, bool leave)
{
	struct klp_shim_id *rec = state->shim_id;
	unsigned long flags;
	u64 freed = 0;

	spin_lock_irqsave(&shadow_lock, flags);
	rec->open = false;
	rec->epoch++;
	if (leave || rec->stays)
		rec->leaked = rec->leaked || rec->shadow_count > 0;
	else if (rec->shadow_count > 0)
		freed = free_locked(state, NULL);
	spin_unlock_irqrestore(&shadow_lock, flags);

	if (freed)
		klp_shim_event(KLP_SHIM_EVENT_SHADOW_FREED, &(struct klp_shim_event_info) {
			       .name = patch, .state = state, .shadow_count = freed });
}

/*
 * A forced transition removed a patch that had the state, which lives on: tasks
 * may run that patch's code for good, so its variables outlive the state.
 */
void klp_shim_shadow_stay(struct klp_shim_id *rec)
{
	unsigned long flags;

	spin_lock_irqsave(&shadow_lock, flags);
	rec->stays = true;
	spin_unlock_irqrestore(&shadow_lock, flags);
}

u64 klp_shim_shadow_count(struct klp_shim_id *rec)
{
	unsigned long flags;
	u64 count;

	spin_lock_irqsave(&shadow_lock, flags);
	count = rec->shadow_count;
	spin_unlock_irqrestore(&shadow_lock, flags);
	return count;
}

bool klp_shim_shadow_leaked(struct klp_shim_id *rec)
{
	return READ_ONCE(rec->leaked);
}

struct ctor_info {
	klp_shadow_ctor_t ctor;
	void *data;
	bool made;
};

static int note_and_construct(void *obj, void *shadow_data, void *ctor_data)
{
	struct ctor_info *info = ctor_data;
	int ret = info->ctor ? info->ctor(obj, shadow_data, info->data) : 0;

	info->made = !ret;
	return ret;
}

/* Variables of the id are the shim's to count and to free only where the state declares them. */
static bool has_shadows(const struct klp_shim_state *state)
{
	return state->shim_id && (state->flags & KLP_SHIM_STATE_SHADOW);
}

static bool reserve(struct klp_shim_state *state, u32 *ret_epoch)
{
	struct klp_shim_id *rec = state->shim_id;
	unsigned long flags;
	bool open;

	if (!has_shadows(state))
		return false;

	spin_lock_irqsave(&shadow_lock, flags);
	open = rec->open;
	if (open) {
		rec->shadow_count++;
		*ret_epoch = rec->epoch;
	}
	spin_unlock_irqrestore(&shadow_lock, flags);
	return open;
}

/* Makes the reservation good, or gives it back.  Returns what the caller may use. */
static void *settle(struct klp_shim_state *state, void *obj, void *shadow, bool made, u32 epoch)
{
	struct klp_shim_id *rec = state->shim_id;
	unsigned long flags;

	spin_lock_irqsave(&shadow_lock, flags);
	if (!made) {
		rec->shadow_count -= min(rec->shadow_count, 1ULL);
	} else if (!rec->open || rec->epoch != epoch) {
		free_locked(state, obj);
		shadow = NULL;
	}
	spin_unlock_irqrestore(&shadow_lock, flags);
	return shadow;
}

static void *shadow_alloc(struct klp_shim_state *state, void *obj, gfp_t gfp,
			  klp_shadow_ctor_t ctor, void *ctor_data, bool or_get)
{
	struct ctor_info info = { .ctor = ctor, .data = ctor_data };
	void *shadow;
	u32 epoch;

	if (!obj || !reserve(state, &epoch))
		return NULL;

	if (or_get)
		shadow = klp_shadow_get_or_alloc(obj, state->id, state->shadow_size, gfp,
						 note_and_construct, &info);
	else
		shadow = klp_shadow_alloc(obj, state->id, state->shadow_size, gfp,
					  note_and_construct, &info);
	return settle(state, obj, shadow, info.made, epoch);
}

void *klp_shim_shadow_alloc(struct klp_shim_state *state, void *obj, gfp_t gfp,
			    klp_shadow_ctor_t ctor, void *ctor_data)
{
	return shadow_alloc(state, obj, gfp, ctor, ctor_data, false);
}
EXPORT_SYMBOL_GPL(klp_shim_shadow_alloc);

void *klp_shim_shadow_get_or_alloc(struct klp_shim_state *state, void *obj, gfp_t gfp,
				   klp_shadow_ctor_t ctor, void *ctor_data)
{
	void *shadow = klp_shim_shadow_get(state, obj);

	/* The common case, without the lock. */
	if (shadow)
		return shadow;
	return shadow_alloc(state, obj, gfp, ctor, ctor_data, true);
}
EXPORT_SYMBOL_GPL(klp_shim_shadow_get_or_alloc);

void klp_shim_shadow_free(struct klp_shim_state *state, void *obj)
{
	unsigned long flags;

	if (!obj || !has_shadows(state))
		return;

	spin_lock_irqsave(&shadow_lock, flags);
	if (!state->shim_id->leaked)
		free_locked(state, obj);
	spin_unlock_irqrestore(&shadow_lock, flags);
}
EXPORT_SYMBOL_GPL(klp_shim_shadow_free);

void klp_shim_shadow_free_all(struct klp_shim_state *state)
{
	unsigned long flags;

	if (!has_shadows(state))
		return;

	spin_lock_irqsave(&shadow_lock, flags);
	if (!state->shim_id->leaked)
		free_locked(state, NULL);
	spin_unlock_irqrestore(&shadow_lock, flags);
}
EXPORT_SYMBOL_GPL(klp_shim_shadow_free_all);
