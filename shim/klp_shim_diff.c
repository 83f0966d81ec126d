// SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later
/*
 * Fates of states and lists of calls: SEMANTICS.md sections 2 and 3.
 *
 * Model: every state of every patch becomes one record (id, patch, state).
 * Sorted by id, the records of one id stand together, patches from the bottom
 * of the stack up and the new patch last; so the holder before the change is
 * the last record of the group that is on the stack before, the holder after
 * it the last one that is on the stack after.  One comparison of the two gives
 * the fate.  The fates are then put into the order in which callbacks visit
 * them (by class, then sorted, which is mostly nothing to do), and the calls of
 * a phase are read off.
 *
 * Sorting is a natural merge sort between the caller's two buffers: no
 * recursion, no allocation, linear for tables that are already in order.
 *
 * Locking: none, the caller's.  Nothing here is kept between calls.
 */
#include "klp_shim_diff.h"
#include "klp_shim_abi.h"

/* Order of visiting: what the new holders are asked about, what goes, the rest. */
static u32 entry_class(const struct klp_diff_entry *entry)
{
	switch (entry->fate) {
	case KLP_DIFF_INTRODUCE:
	case KLP_DIFF_TAKEOVER:
	case KLP_DIFF_EXCHANGE:
		return 0;
	case KLP_DIFF_REMOVE:
		return 1;
	case KLP_DIFF_KEEP:
		break;
	}
	return 2;
}

/* True if a must not stand behind b.  While gathering only ids are set; ties keep their order. */
static bool id_in_order(const struct klp_diff_entry *a, const struct klp_diff_entry *b)
{
	return a->id <= b->id;
}

static bool visit_in_order(const struct klp_diff_entry *a, const struct klp_diff_entry *b)
{
	u32 class_a = entry_class(a), class_b = entry_class(b);

	if (class_a != class_b)
		return class_a < class_b;
	if (class_a == 1) {
		if (a->from_patch != b->from_patch)
			return a->from_patch > b->from_patch;
		return a->from_state <= b->from_state;
	}
	if (a->to_patch != b->to_patch)
		return a->to_patch > b->to_patch;
	return a->to_state <= b->to_state;
}

typedef bool (*in_order_fn)(const struct klp_diff_entry *a, const struct klp_diff_entry *b);

/*
 * End of the ascending run that begins at start.  Inlined together with its
 * comparison: a call for each would be most of the cost of a small diff.
 */
static __always_inline u32 run_end(const struct klp_diff_entry *v, u32 start, u32 n,
				   in_order_fn in_order)
{
	u32 end = start + 1;

	while (end < n && in_order(&v[end - 1], &v[end]))
		end++;
	return end;
}

/* Stable; the result is in entries[]. */
static __always_inline void merge_sort(struct klp_diff_entry *entries,
				       struct klp_diff_entry *scratch, u32 n,
				       in_order_fn in_order)
{
	struct klp_diff_entry *from = entries, *to = scratch, *tmp;
	u32 i;

	if (n < 2)
		return;

	while (run_end(from, 0, n, in_order) < n) {
		u32 start = 0;

		/* One pass merges each pair of neighbouring runs. */
		while (start < n) {
			u32 mid = run_end(from, start, n, in_order);
			u32 end = mid < n ? run_end(from, mid, n, in_order) : n;
			u32 a = start, b = mid, out = start;

			while (out < end) {
				if (b >= end || (a < mid && in_order(&from[a], &from[b])))
					to[out++] = from[a++];
				else
					to[out++] = from[b++];
			}
			start = end;
		}
		tmp = from;
		from = to;
		to = tmp;
	}

	if (from != entries)
		for (i = 0; i < n; i++)
			entries[i] = from[i];
}

/* In place, no second buffer; for klp_diff_fates_of_patch(), which is quadratic anyway. */
static void insertion_sort(struct klp_diff_entry *entries, u32 n, in_order_fn in_order)
{
	struct klp_diff_entry entry;
	u32 i, j;

	for (i = 1; i < n; i++) {
		if (in_order(&entries[i - 1], &entries[i]))
			continue;
		entry = entries[i];
		for (j = i; j > 0 && !in_order(&entries[j - 1], &entry); j--)
			entries[j] = entries[j - 1];
		entries[j] = entry;
	}
}

static const struct klp_diff_patch *patch_at(const struct klp_diff_change *change, u32 patch)
{
	return patch == change->n_stack ? change->new_patch : &change->stack[patch];
}

static const struct klp_diff_state *state_at(const struct klp_diff_change *change,
					     u32 patch, u32 state)
{
	return &patch_at(change, patch)->states[state];
}

static bool has_new_patch(const struct klp_diff_change *change)
{
	return change->op != KLP_DIFF_DISABLE;
}

static bool stays(const struct klp_diff_change *change, u32 patch)
{
	if (patch == change->n_stack)
		return true;
	switch (change->op) {
	case KLP_DIFF_ENABLE:
		return true;
	case KLP_DIFF_REPLACE:
		return false;
	case KLP_DIFF_DISABLE:
		break;
	}
	return patch != change->disabled;
}

/* The table of SEMANTICS.md section 2.  Both holders of entry are set. */
static __always_inline void decide(const struct klp_diff_change *change,
				   struct klp_diff_entry *entry)
{
	const struct klp_diff_state *from, *to;

	entry->unsafe = false;
	if (entry->from_patch == KLP_DIFF_NONE) {
		entry->fate = KLP_DIFF_INTRODUCE;
		return;
	}
	if (entry->to_patch == KLP_DIFF_NONE) {
		entry->fate = KLP_DIFF_REMOVE;
		return;
	}

	from = state_at(change, entry->from_patch, entry->from_state);
	to = state_at(change, entry->to_patch, entry->to_state);
	if (to->version == from->version) {
		entry->fate = KLP_DIFF_KEEP;
		return;
	}

	/*
	 * A disable has no place for a callback that may refuse: falling back
	 * to another version is never a takeover.
	 */
	if (to->version > from->version && (to->flags & KLP_SHIM_STATE_TAKEOVER) &&
	    change->op != KLP_DIFF_DISABLE) {
		entry->fate = KLP_DIFF_TAKEOVER;
		return;
	}

	entry->fate = KLP_DIFF_EXCHANGE;
	entry->unsafe = change->op != KLP_DIFF_REPLACE ||
			((from->flags | to->flags) & KLP_SHIM_STATE_SHADOW);
}

u32 klp_diff_max_entries(const struct klp_diff_change *change)
{
	u32 i, n = 0;

	for (i = 0; i < change->n_stack; i++)
		n += change->stack[i].n_states;
	if (has_new_patch(change))
		n += change->new_patch->n_states;
	return n;
}

/* One record for each state of one patch; its place is kept in to_patch, to_state for now. */
static u32 gather(const struct klp_diff_patch *patch, u32 index, struct klp_diff_entry *entries)
{
	u32 i;

	for (i = 0; i < patch->n_states; i++) {
		entries[i].id = patch->states[i].id;
		entries[i].to_patch = index;
		entries[i].to_state = i;
	}
	return patch->n_states;
}

/*
 * Field by field: a struct that was just written in parts and is copied in
 * larger pieces makes the processor wait for its store buffer.
 */
static __always_inline void put_entry(struct klp_diff_entry *to,
				      const struct klp_diff_entry *entry)
{
	to->id = entry->id;
	to->fate = entry->fate;
	to->from_patch = entry->from_patch;
	to->from_state = entry->from_state;
	to->to_patch = entry->to_patch;
	to->to_state = entry->to_state;
	to->unsafe = entry->unsafe;
}

u32 klp_diff_fates(const struct klp_diff_change *change,
		   struct klp_diff_entry *entries, struct klp_diff_entry *scratch)
{
	struct klp_diff_entry entry;
	u32 i, n = 0, n_fates = 0, n_removed = 0, n_kept = 0, max;

	for (i = 0; i < change->n_stack; i++)
		n += gather(&change->stack[i], i, entries + n);
	if (has_new_patch(change))
		n += gather(change->new_patch, change->n_stack, entries + n);
	merge_sort(entries, scratch, n, id_in_order);
	max = n;

	/*
	 * One group at a time.  Class 0 is written in place, which never
	 * overtakes what is read; the others wait in scratch, class 1 at its
	 * beginning, class 2 backwards from its end.
	 */
	for (i = 0; i < n;) {
		entry.id = entries[i].id;
		entry.from_patch = KLP_DIFF_NONE;
		entry.from_state = KLP_DIFF_NONE;
		entry.to_patch = KLP_DIFF_NONE;
		entry.to_state = KLP_DIFF_NONE;
		for (; i < n && entries[i].id == entry.id; i++) {
			u32 patch = entries[i].to_patch, state = entries[i].to_state;

			if (patch < change->n_stack) {
				entry.from_patch = patch;
				entry.from_state = state;
			}
			if (stays(change, patch)) {
				entry.to_patch = patch;
				entry.to_state = state;
			}
		}
		decide(change, &entry);
		switch (entry_class(&entry)) {
		case 0:
			put_entry(&entries[n_fates++], &entry);
			break;
		case 1:
			put_entry(&scratch[n_removed++], &entry);
			break;
		default:
			put_entry(&scratch[max - ++n_kept], &entry);
			break;
		}
	}

	/*
	 * Classes one after the other, each by id.  With one patch on either
	 * side and ids that ascend in their tables this is the whole order.
	 */
	for (i = 0; i < n_removed; i++)
		entries[n_fates++] = scratch[i];
	for (i = 1; i <= n_kept; i++)
		entries[n_fates++] = scratch[max - i];
	merge_sort(entries, scratch, n_fates, visit_in_order);
	return n_fates;
}

static u32 find_state(const struct klp_diff_patch *patch, u64 id)
{
	u32 i;

	for (i = 0; i < patch->n_states; i++)
		if (patch->states[i].id == id)
			return i;
	return KLP_DIFF_NONE;
}

u32 klp_diff_fates_of_patch(const struct klp_diff_change *change, struct klp_diff_entry *entries)
{
	u32 index = has_new_patch(change) ? change->n_stack : change->disabled;
	const struct klp_diff_patch *patch = patch_at(change, index);
	u32 i, j, state;

	for (i = 0; i < patch->n_states; i++) {
		struct klp_diff_entry *entry = &entries[i];

		entry->id = patch->states[i].id;
		entry->from_patch = KLP_DIFF_NONE;
		entry->from_state = KLP_DIFF_NONE;
		entry->to_patch = KLP_DIFF_NONE;
		entry->to_state = KLP_DIFF_NONE;
		for (j = 0; j < change->n_stack; j++) {
			state = j == index ? i : find_state(&change->stack[j], entry->id);
			if (state == KLP_DIFF_NONE)
				continue;
			entry->from_patch = j;
			entry->from_state = state;
			if (stays(change, j)) {
				entry->to_patch = j;
				entry->to_state = state;
			}
		}
		if (has_new_patch(change)) {
			entry->to_patch = index;
			entry->to_state = i;
		}
		decide(change, entry);
	}

	insertion_sort(entries, patch->n_states, visit_in_order);
	return patch->n_states;
}

/*
 * Whether the shim has a word in the change at all.  A plain patch that comes
 * or goes has no hook: the core calls nothing of the shim's then.
 */
static bool has_hook(const struct klp_diff_change *change)
{
	if (has_new_patch(change))
		return change->new_patch->managed;
	return change->stack[change->disabled].managed;
}

/* The new holder is called: it is the new patch, and an unsafe exchange is never carried out. */
static bool calls_after(const struct klp_diff_change *change, const struct klp_diff_entry *entry)
{
	return entry_class(entry) == 0 && !entry->unsafe && entry->to_patch == change->n_stack;
}

/* The old holder is called. */
static bool calls_before(const struct klp_diff_change *change, const struct klp_diff_entry *entry)
{
	if (entry->fate != KLP_DIFF_REMOVE && entry->fate != KLP_DIFF_EXCHANGE)
		return false;
	return !entry->unsafe && change->stack[entry->from_patch].managed;
}

static bool call_in_order(const struct klp_diff_call *a, const struct klp_diff_call *b)
{
	if (a->patch != b->patch)
		return a->patch > b->patch;
	return a->state <= b->state;
}

static void sift_down(struct klp_diff_call *calls, u32 root, u32 n)
{
	struct klp_diff_call call = calls[root];

	for (;;) {
		u32 child = 2 * root + 1;

		if (child >= n)
			break;
		if (child + 1 < n && call_in_order(&calls[child], &calls[child + 1]))
			child++;
		if (call_in_order(&calls[child], &call))
			break;
		calls[root] = calls[child];
		root = child;
	}
	calls[root] = call;
}

/* Heap sort, since calls[] has no second buffer; no two calls are equal. */
static void sort_calls(struct klp_diff_call *calls, u32 n)
{
	struct klp_diff_call call;
	u32 i;

	for (i = 1; i < n; i++)
		if (!call_in_order(&calls[i - 1], &calls[i]))
			break;
	if (i >= n)
		return;

	for (i = n / 2; i > 0; i--)
		sift_down(calls, i - 1, n);
	for (i = n - 1; i > 0; i--) {
		call = calls[0];
		calls[0] = calls[i];
		calls[i] = call;
		sift_down(calls, 0, i);
	}
}

static void set_call(struct klp_diff_call *call, enum klp_diff_callback callback,
		     u32 patch, u32 state, u32 entry)
{
	call->callback = callback;
	call->patch = patch;
	call->state = state;
	call->entry = entry;
}

/* New holders in the order of the entries: their array order. */
static u32 add_after(const struct klp_diff_change *change,
		     const struct klp_diff_entry *entries, u32 n_entries,
		     enum klp_diff_callback patch_cb, enum klp_diff_callback takeover_cb,
		     struct klp_diff_call *calls)
{
	u32 i, n = 0;

	for (i = 0; i < n_entries; i++) {
		const struct klp_diff_entry *entry = &entries[i];

		if (!calls_after(change, entry))
			continue;
		set_call(&calls[n++],
			 entry->fate == KLP_DIFF_TAKEOVER ? takeover_cb : patch_cb,
			 entry->to_patch, entry->to_state, i);
	}
	return n;
}

/* Old holders: patch by patch from the top of the stack down, each in array order. */
static u32 add_before(const struct klp_diff_change *change,
		      const struct klp_diff_entry *entries, u32 n_entries,
		      enum klp_diff_callback callback, struct klp_diff_call *calls)
{
	u32 i, n = 0;

	for (i = 0; i < n_entries; i++)
		if (calls_before(change, &entries[i]))
			set_call(&calls[n++], callback, entries[i].from_patch,
				 entries[i].from_state, i);
	sort_calls(calls, n);
	return n;
}

/* What had succeeded before call number `failed` of PREPARE, undone in reverse order. */
static u32 add_undo(const struct klp_diff_change *change,
		    const struct klp_diff_entry *entries, u32 n_entries, u32 failed,
		    struct klp_diff_call *calls)
{
	struct klp_diff_call call;
	u32 i, n;

	n = add_after(change, entries, n_entries, KLP_DIFF_POST_UNPATCH,
		      KLP_DIFF_CANCEL_TAKEOVER, calls);
	if (failed < n)
		n = failed;
	for (i = 0; i < n / 2; i++) {
		call = calls[i];
		calls[i] = calls[n - 1 - i];
		calls[n - 1 - i] = call;
	}
	return n;
}

u32 klp_diff_calls(const struct klp_diff_change *change,
		   const struct klp_diff_entry *entries, u32 n_entries,
		   enum klp_diff_phase phase, u32 failed, struct klp_diff_call *calls)
{
	u32 n = 0;

	if (!has_hook(change))
		return 0;

	switch (phase) {
	case KLP_DIFF_PREPARE:
		n = add_after(change, entries, n_entries, KLP_DIFF_PRE_PATCH,
			      KLP_DIFF_PRE_TAKEOVER, calls);
		n += add_before(change, entries, n_entries, KLP_DIFF_PRE_UNPATCH, calls + n);
		break;
	case KLP_DIFF_UNDO:
		n = add_undo(change, entries, n_entries, failed, calls);
		break;
	case KLP_DIFF_COMPLETE:
		n = add_before(change, entries, n_entries, KLP_DIFF_POST_UNPATCH, calls);
		n += add_after(change, entries, n_entries, KLP_DIFF_POST_PATCH,
			       KLP_DIFF_POST_TAKEOVER, calls + n);
		break;
	case KLP_DIFF_REVERSE:
		n = add_before(change, entries, n_entries, KLP_DIFF_POST_PATCH, calls);
		n += add_after(change, entries, n_entries, KLP_DIFF_POST_UNPATCH,
			       KLP_DIFF_CANCEL_TAKEOVER, calls + n);
		break;
	}
	return n;
}

const char *klp_diff_fate_name(enum klp_diff_fate fate)
{
	switch (fate) {
	case KLP_DIFF_INTRODUCE:
		return "introduce";
	case KLP_DIFF_KEEP:
		return "keep";
	case KLP_DIFF_TAKEOVER:
		return "takeover";
	case KLP_DIFF_EXCHANGE:
		return "exchange";
	case KLP_DIFF_REMOVE:
		return "remove";
	}
	return NULL;
}

const char *klp_diff_callback_name(enum klp_diff_callback callback)
{
	switch (callback) {
	case KLP_DIFF_PRE_PATCH:
		return "pre_patch";
	case KLP_DIFF_POST_PATCH:
		return "post_patch";
	case KLP_DIFF_PRE_UNPATCH:
		return "pre_unpatch";
	case KLP_DIFF_POST_UNPATCH:
		return "post_unpatch";
	case KLP_DIFF_PRE_TAKEOVER:
		return "pre_takeover";
	case KLP_DIFF_POST_TAKEOVER:
		return "post_takeover";
	case KLP_DIFF_CANCEL_TAKEOVER:
		return "cancel_takeover";
	}
	return NULL;
}
