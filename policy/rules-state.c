/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules about states: what may happen to the entries of the state diff. An entry's "from" is the live state, its
 * "to" what it would become; the words are those of SEMANTICS.md sections 2 and 4.
 */
#include "policy/evaluation.h"

static void report_lower(Evaluation *e, const Patch *holder, const PatchState *from, const PatchState *to) {
        Violation *v = violate(e, e->change.patch);

        violation_set_state(v, from);
        v->have = TEXT(e, "version %" PRIu32 " in %s", to->version, e->change.patch->name);
        v->want = TEXT(e, "version %" PRIu32 " or higher", from->version);
        v->message = TEXT(e, "%s is live in version %" PRIu32 " (held by %s), and %s has only version %" PRIu32,
                          state_text(e, from), from->version, holder->name, e->change.patch->name, to->version);
        v->remedy = e->change.kind == CHANGE_APPLY && e->change.patch->kind != PATCH_PLAIN
                ? TEXT(e, "apply a patch that has the state in version %" PRIu32 " or higher, or ask for a downgrade",
                       from->version)
                : TEXT(e, "use a patch that has the state in version %" PRIu32 " or higher", from->version);
}

static void check_versions(Evaluation *e) {
        const Patch *candidate = e->change.patch;

        if (!candidate)
                return;
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from = entry_from(e, entry), *to = entry_to(e, entry);

                if (from && to && entry->to_patch == e->n_stack && to->version < from->version)
                        report_lower(e, entry_patch(e, entry->from_patch), from, to);
        }

        /* The kernel compares a plain patch with every enabled one (klp_is_patch_compatible()), not only with holders. */
        if (candidate->kind != PATCH_PLAIN)
                return;
        for (size_t p = 0; p < e->n_stack; p++)
                for (size_t s = 0; s < e->stack[p]->n_states; s++) {
                        const PatchState *from = &e->stack[p]->states[s], *to = patch_find_state(candidate, from->id);

                        if (!to || to->version >= from->version || e->stack[p]->orphan)
                                continue;
                        for (uint32_t i = 0; i < e->n_entries; i++)
                                if (e->entries[i].id == from->id && entry_from(e, &e->entries[i]) != from)
                                        report_lower(e, e->stack[p], from, to);
                }
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
                const PatchState *from = entry_from(e, entry);
                Violation *v;

                if (entry->fate != KLP_DIFF_REMOVE)
                        continue;
                v = violate(e, e->change.patch);
                violation_set_state(v, from);
                v->have = TEXT(e, "no such state in %s", e->change.patch->name);
                v->want = TEXT(e, "version %" PRIu32 " or higher", from->version);
                v->message = TEXT(e, "%s is live (version %" PRIu32 ", held by %s), and the cumulative patch %s lacks it",
                                  state_text(e, from), from->version, entry_patch(e, entry->from_patch)->name,
                                  e->change.patch->name);
                v->remedy = TEXT(e, "use a cumulative patch that has state %" PRIu64 " in version %" PRIu32 " or higher",
                                 from->id, from->version);
        }
}

static const char *fate_text(Evaluation *e, const struct klp_diff_entry *entry, const PatchState *from) {
        const PatchState *to = entry_to(e, entry);

        if (!to)
                return "removed";
        return TEXT(e, "exchanged for version %" PRIu32 " of %s", to->version, entry_patch(e, entry->to_patch)->name);
}

void check_block_disable(Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from = entry_from(e, entry), *to = entry_to(e, entry);
                const Patch *holder = entry_patch(e, entry->from_patch);
                bool blocked, plain;
                Violation *v;

                if (entry->fate != KLP_DIFF_REMOVE && entry->fate != KLP_DIFF_EXCHANGE)
                        continue; /* what is kept or taken over doesn't get a lower version */

                blocked = from->flags & PATCH_STATE_BLOCK_DISABLE;
                plain = change_replaces(e) && holder->kind == PATCH_PLAIN;
                if (!blocked && !plain)
                        continue;

                v = violate(e, holder);
                violation_set_state(v, from);
                v->have = to ? TEXT(e, "version %" PRIu32 " after the change", to->version) : "not there after the change";
                v->want = blocked && !plain ? TEXT(e, "version %" PRIu32 ", or a higher one by takeover", from->version)
                                            : TEXT(e, "version %" PRIu32 " kept, or a takeover", from->version);
                if (blocked) {
                        v->message = TEXT(e, "%s of %s (version %" PRIu32 ") can't be reverted while the system runs, and "
                                             "would be %s", state_text(e, from), holder->name, from->version,
                                          fate_text(e, entry, from));
                        v->remedy = e->change.kind == CHANGE_DISABLE
                                ? "leave the patch enabled, or reboot without it"
                                : TEXT(e, "use a patch that has state %" PRIu64 " in version %" PRIu32
                                          " (or takes it over into a higher one), or reboot without it",
                                       from->id, from->version);
                } else {
                        v->message = TEXT(e, "%s of the plain patch %s (version %" PRIu32 ") would be %s, and the kernel "
                                             "calls no callback of a plain patch that is replaced",
                                          state_text(e, from), holder->name, from->version, fate_text(e, entry, from));
                        v->remedy = TEXT(e, "use a patch that keeps state %" PRIu64 " or takes it over, or disable %s first",
                                         from->id, holder->name);
                }
        }
}

void check_unsafe_exchange(Evaluation *e) {
        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from = entry_from(e, entry), *to = entry_to(e, entry);
                const char *why, *remedy;
                Violation *v;

                if (!entry->unsafe)
                        continue;
                switch (e->diff.op) {
                case KLP_DIFF_ENABLE:
                        why = "a patch that isn't cumulative can't exchange a state";
                        remedy = TEXT(e, "use a cumulative patch, or one that has state %" PRIu64 " in version %" PRIu32
                                         " or takes it over", from->id, from->version);
                        break;
                case KLP_DIFF_DISABLE:
                        why = "a disable can't fall back to another version of a state";
                        remedy = TEXT(e, "replace both patches by a cumulative one, or disable %s first",
                                      entry_patch(e, entry->to_patch)->name);
                        break;
                case KLP_DIFF_REPLACE:
                default:
                        why = "both generations of its shadow variables would share one id";
                        remedy = TEXT(e, "use a patch that has state %" PRIu64 " in version %" PRIu32
                                         ", or a higher one with takeover callbacks", from->id, from->version);
                        break;
                }
                v = violate(e, entry_patch(e, entry->to_patch));
                violation_set_state(v, from);
                v->have = TEXT(e, "version %" PRIu32 " in %s", to->version, entry_patch(e, entry->to_patch)->name);
                v->want = TEXT(e, "version %" PRIu32 " in %s", from->version, entry_patch(e, entry->from_patch)->name);
                v->message = TEXT(e, "%s would be exchanged (version %" PRIu32 " of %s for version %" PRIu32 " of %s), which "
                                     "isn't safe: %s", state_text(e, from), from->version,
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
                v->message = TEXT(e, "%s of %s (version %" PRIu32 ") would be %s, and can't be reverted while the system "
                                     "runs: there is no way back but a reboot", state_text(e, to),
                                  entry_patch(e, entry->to_patch)->name, to->version, how);
                v->remedy = "ask for it explicitly (--accept-irreversible), or use a patch without that state";
        }
}
