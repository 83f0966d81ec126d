/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules about states: what may happen to the entries of the state diff. An entry's "from" is the live
 * state, its "to" what it would become; the words are those of SEMANTICS.md sections 2 and 4.
 */
#include "policy/evaluation.h"

static void report_lower(Evaluation *e, const Patch *holder, const PatchState *from, const PatchState *to) {
        Violation *v = violate(e, e->change.patch);

        violation_set_state(v, from);
        v->have = TEXT(e, "version %" PRIu32 " in %s", to->version, e->change.patch->name);
        v->want = TEXT(e, "version %" PRIu32 " or higher", from->version);
        v->message = TEXT(e, "%s has version %" PRIu32 " in %s, and %s has only version %" PRIu32,
                          state_text(e, from), from->version, holder->name, e->change.patch->name,
                          to->version);
        v->remedy = e->change.kind == CHANGE_APPLY && e->change.patch->kind != PATCH_PLAIN
                                    ? TEXT(e,
                                           "apply a patch that has the state in version %" PRIu32
                                           " or higher, or ask for a downgrade",
                                           from->version)
                                    : TEXT(e,
                                           "use a patch that has the state in version %" PRIu32 " or higher",
                                           from->version);
}

/* A live state: what counts is its holder. */
static void check_versions_of_holders(Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from, *to;

                /* no other fate gets a lower version */
                if (entry->fate != KLP_DIFF_EXCHANGE || entry->to_patch != e->n_stack)
                        continue;
                from = entry_from(e, entry);
                to = entry_to(e, entry);
                if (to->version < from->version)
                        report_lower(e, entry_patch(e, entry->from_patch), from, to);
        }
}

/*
 * The kernel compares a plain patch with every enabled one (klp_is_patch_compatible()), not only with
 * holders: one diff against each patch alone.
 */
static void check_versions_of_all(Evaluation *e) {
        for (size_t p = 0; p < e->n_stack; p++) {
                const struct klp_diff_change change = {
                                .op = KLP_DIFF_ENABLE,
                                .stack = &e->diff_stack[p],
                                .n_stack = 1,
                                .new_patch = &e->diff_new,
                };
                size_t room = klp_diff_max_entries(&change);
                struct klp_diff_entry *entries = arena_alloc(e->arena, room, sizeof(*entries));
                struct klp_diff_entry *scratch = arena_alloc(e->arena, room, sizeof(*scratch));
                uint32_t n;

                if (!entries || !scratch)
                        return; /* remembered by the arena */
                n = klp_diff_fates(&change, entries, scratch);
                for (uint32_t i = 0; i < n; i++) {
                        const PatchState *from, *to;

                        if (entries[i].from_patch == KLP_DIFF_NONE || entries[i].to_patch != 1)
                                continue;
                        from = &e->stack[p]->states[entries[i].from_state];
                        to = &e->change.patch->states[entries[i].to_state];
                        if (to->version < from->version)
                                report_lower(e, e->stack[p], from, to);
                }
        }
}

static void check_versions(Evaluation *e) {
        if (!e->change.patch)
                return;
        if (e->change.patch->kind == PATCH_PLAIN)
                check_versions_of_all(e);
        else
                check_versions_of_holders(e);
}

void check_state_version(Evaluation *e) {
        check_versions(e);
}

void check_downgrade_version(Evaluation *e) {
        check_versions(e);
}

void check_cumulative_states(Evaluation *e) {
        if (!change_replaces(e))
                return;
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from;
                Violation *v;

                if (entry->fate != KLP_DIFF_REMOVE)
                        continue;
                from = entry_from(e, entry);
                v = violate(e, e->change.patch);
                violation_set_state(v, from);
                v->have = TEXT(e, "no such state in %s", e->change.patch->name);
                v->want = TEXT(e, "version %" PRIu32 " or higher", from->version);
                v->message = TEXT(e,
                                  "%s is live (version %" PRIu32
                                  ", held by %s), and the cumulative patch %s lacks it",
                                  state_text(e, from), from->version,
                                  entry_patch(e, entry->from_patch)->name, e->change.patch->name);
                v->remedy = TEXT(e,
                                 "use a cumulative patch that has state %" PRIu64 " in version %" PRIu32
                                 " or higher",
                                 from->id, from->version);
        }
}

static const char *fate_text(Evaluation *e, const struct klp_diff_entry *entry) {
        const PatchState *to = entry_to(e, entry);

        if (!to)
                return "removed";
        return TEXT(e, "exchanged for version %" PRIu32 " of %s", to->version,
                    entry_patch(e, entry->to_patch)->name);
}

/*
 * Disable all is one request over several changes. Whether a state may go is asked of its holder before all of
 * them: below it there may be a patch that has the same version without the flag, and that would be held on to
 * only until its turn comes.
 */
static const Patch *holder_at_first(const Evaluation *e, uint64_t id) {
        const Inventory *inventory = e->input->inventory;

        for (size_t i = inventory->n_patches; i > 0; i--)
                if (patch_find_state(inventory->patches[i - 1], id))
                        return inventory->patches[i - 1];
        return NULL;
}

void check_block_disable(Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from, *to;
                const Patch *holder;
                bool blocked, plain;
                Violation *v;

                if (entry->fate != KLP_DIFF_REMOVE && entry->fate != KLP_DIFF_EXCHANGE)
                        continue; /* what is kept or taken over doesn't get a lower version */

                from = entry_from(e, entry);
                to = entry_to(e, entry);
                holder = entry_patch(e, entry->from_patch);
                if (e->index > 0 && e->change.kind == CHANGE_DISABLE &&
                    !(from->flags & PATCH_STATE_BLOCK_DISABLE)) {
                        holder = holder_at_first(e, entry->id) ?: holder;
                        from = patch_find_state(holder, entry->id);
                }
                blocked = from->flags & PATCH_STATE_BLOCK_DISABLE;
                plain = change_replaces(e) && holder->kind == PATCH_PLAIN;
                if (!blocked && !plain)
                        continue;

                v = violate(e, holder);
                violation_set_state(v, from);
                v->have = to ? TEXT(e, "version %" PRIu32 " after the change", to->version)
                             : "not there after the change";
                v->want = blocked && !plain ? TEXT(e, "version %" PRIu32 ", or a higher one by takeover",
                                                   from->version)
                                            : TEXT(e, "version %" PRIu32 " kept, or a takeover",
                                                   from->version);
                if (blocked) {
                        v->message = TEXT(e,
                                          "%s of %s (version %" PRIu32
                                          ") can't be reverted while the system runs, and "
                                          "would be %s",
                                          state_text(e, from), holder->name, from->version,
                                          fate_text(e, entry));
                        v->remedy = e->change.kind == CHANGE_DISABLE
                                ? "leave the patch enabled, or reboot without it"
                                : TEXT(e, "use a patch that has state %" PRIu64 " in version %" PRIu32
                                          " (or takes it over into a higher one), or reboot without it",
                                       from->id, from->version);
                } else {
                        v->message = TEXT(e,
                                          "%s of the plain patch %s (version %" PRIu32
                                          ") would be %s, and the kernel "
                                          "calls no callback of a plain patch that is replaced",
                                          state_text(e, from), holder->name, from->version,
                                          fate_text(e, entry));
                        v->remedy = TEXT(e,
                                         "use a patch that keeps state %" PRIu64
                                         " or takes it over, or disable %s first",
                                         from->id, holder->name);
                }
        }
}

void check_unsafe_exchange(Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from, *to;
                const char *why, *remedy;
                Violation *v;

                if (!entry->unsafe)
                        continue;
                from = entry_from(e, entry);
                to = entry_to(e, entry);
                switch (e->diff.op) {
                case KLP_DIFF_ENABLE:
                        why = "a patch that isn't cumulative can't exchange a state";
                        remedy = TEXT(e,
                                      "use a cumulative patch, or one that has state %" PRIu64
                                      " in version %" PRIu32 " or takes it over",
                                      from->id, from->version);
                        break;
                case KLP_DIFF_DISABLE:
                        why = "a disable can't fall back to another version of a state";
                        remedy = TEXT(e, "replace both patches by a cumulative one, or disable %s first",
                                      entry_patch(e, entry->to_patch)->name);
                        break;
                case KLP_DIFF_REPLACE:
                default:
                        why = "both generations of its shadow variables would share one id";
                        remedy = TEXT(e,
                                      "use a patch that has state %" PRIu64 " in version %" PRIu32
                                      ", or a higher one with takeover callbacks",
                                      from->id, from->version);
                        break;
                }
                v = violate(e, entry_patch(e, entry->to_patch));
                violation_set_state(v, from);
                v->have = TEXT(e, "version %" PRIu32 " in %s", to->version,
                               entry_patch(e, entry->to_patch)->name);
                v->want = TEXT(e, "version %" PRIu32 " in %s", from->version,
                               entry_patch(e, entry->from_patch)->name);
                v->message = TEXT(e,
                                  "%s would be exchanged (version %" PRIu32 " of %s for version %" PRIu32
                                  " of %s), which "
                                  "isn't safe: %s",
                                  state_text(e, from), from->version,
                                  entry_patch(e, entry->from_patch)->name, to->version,
                                  entry_patch(e, entry->to_patch)->name, why);
                v->remedy = remedy;
        }
}

void check_irreversible(Evaluation *e) {
        if (e->input->request->accept_irreversible)
                return;
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *to = entry_to(e, entry);
                const char *how;
                Violation *v;

                if (!to || !(to->flags & PATCH_STATE_BLOCK_DISABLE) || entry->fate == KLP_DIFF_KEEP)
                        continue;
                how = entry->fate == KLP_DIFF_INTRODUCE ? "introduced"
                        : entry->fate == KLP_DIFF_TAKEOVER ? "taken over" : "exchanged";
                v = violate(e, entry_patch(e, entry->to_patch));
                violation_set_state(v, to);
                v->have = TEXT(e, "block-disable in version %" PRIu32 " of %s", to->version,
                               entry_patch(e, entry->to_patch)->name);
                v->want = "accept-irreversible in the request";
                v->message = TEXT(e,
                                  "%s of %s (version %" PRIu32
                                  ") would be %s, and can't be reverted while the system "
                                  "runs: there is no way back but a reboot",
                                  state_text(e, to), entry_patch(e, entry->to_patch)->name, to->version,
                                  how);
                v->remedy = "ask for it explicitly (--accept-irreversible), or use a patch without that "
                            "state";
        }
}
