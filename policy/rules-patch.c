/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules about patches as wholes: what they were made for, who they are, whose they replace, what they
 * redirect.
 */
#include "policy/evaluation.h"
#include "policy/functions.h"

void check_kernel_release(Evaluation *e) {
        const Inventory *inventory = e->input->inventory;
        const Patch *p = e->change.patch;
        Violation *v;

        if (!p)
                return;
        if (p->kernel && !streq(p->kernel, inventory->kernel)) {
                v = violate(e, p);
                v->have = TEXT(e, "%s", p->kernel);
                v->want = TEXT(e, "%s", inventory->kernel);
                v->message = TEXT(e, "%s was built for kernel %s, and %s is running", p->name, p->kernel,
                                  inventory->kernel);
                v->remedy = TEXT(e, "use the build of the patch for %s, or boot %s", inventory->kernel,
                                 p->kernel);
        }
        if (p->kernel_build_id && inventory->kernel_build_id &&
            !streq(p->kernel_build_id, inventory->kernel_build_id)) {
                v = violate(e, p);
                v->have = TEXT(e, "%s", p->kernel_build_id);
                v->want = TEXT(e, "%s", inventory->kernel_build_id);
                v->message = TEXT(
                                e,
                                "%s was built for the vmlinux with build id %s, and the running one has %s",
                                p->name, p->kernel_build_id, inventory->kernel_build_id);
                v->remedy = "use the build of the patch for exactly this kernel package";
        }
}

static const char *content_text(Evaluation *e, const char *build_id, const char *srcversion) {
        if (build_id)
                return TEXT(e, "build id %s", build_id);
        if (srcversion)
                return TEXT(e, "srcversion %s", srcversion);
        return "other metadata";
}

static void check_loaded_name(Evaluation *e) {
        const Patch *p = e->change.patch;
        const Inventory *inventory = e->input->inventory;

        for (size_t i = 0; i < inventory->n_loaded; i++) {
                const LoadedModule *m = &inventory->loaded[i];
                Violation *v;
                bool other;

                if (!patch_name_equal(m->name, p->name))
                        continue;
                other = m->build_id && p->build_id       ? !streq(m->build_id, p->build_id)
                        : m->srcversion && p->srcversion ? !streq(m->srcversion, p->srcversion)
                                                         : false;
                if (!other)
                        continue;
                v = violate(e, p);
                v->have = content_text(e, m->build_id, m->srcversion);
                v->want = content_text(e, p->build_id, p->srcversion);
                v->message = TEXT(e, "a module %s is loaded with other content (%s, the patch has %s)",
                                  m->name, v->have, v->want);
                v->remedy = TEXT(e, "remove the loaded module (rmmod %s), or give the patch another name",
                                 m->name);
        }
}

static void check_same_level(Evaluation *e, const Patch *q) {
        const Patch *p = e->change.patch;
        Violation *v;

        if (!patch_same_stream(p, q) || p->level == 0 || p->level != q->level ||
            (patch_name_equal(p->name, q->name) && patch_same_content(p, q)))
                return;
        v = violate(e, q);
        v->have = TEXT(e, "%s at level %" PRIu32, q->name, q->level);
        v->want = TEXT(e, "%s at level %" PRIu32, p->name, p->level);
        v->message = TEXT(e, "%s/%s level %" PRIu32 " is enabled as %s, and %s claims the same level",
                          q->vendor, q->stream, q->level, q->name,
                          patch_name_equal(p->name, q->name) ? "other content of that name" : p->name);
        v->remedy = "give the new patch a level of its own";
}

/* One id and version must mean one thing: flags that decide about lifetime can't differ. */
static void check_state_flags(Evaluation *e) {
        const uint32_t mask = PATCH_STATE_BLOCK_DISABLE | PATCH_STATE_SHADOW;

        for (uint32_t i = 0; i < e->n_entries; i++) {
                const struct klp_diff_entry *entry = &e->entries[i];
                const PatchState *from, *to;

                if (entry->fate != KLP_DIFF_KEEP || entry->to_patch != e->n_stack)
                        continue;
                from = entry_from(e, entry);
                to = entry_to(e, entry);
                if (!((from->flags ^ to->flags) & mask))
                        continue;
                for (uint32_t bit = 1; bit <= PATCH_STATE_FLAGS_ALL; bit <<= 1) {
                        const char *flag = patch_state_flag_to_string(bit);
                        Violation *v;

                        if (!((from->flags ^ to->flags) & mask & bit))
                                continue;
                        v = violate(e, entry_patch(e, entry->from_patch));
                        violation_set_state(v, from);
                        v->have = TEXT(e, "%s%s in %s", from->flags & bit ? "" : "no ", flag,
                                       entry_patch(e, entry->from_patch)->name);
                        v->want = TEXT(e, "%s%s in %s", to->flags & bit ? "" : "no ", flag,
                                       e->change.patch->name);
                        v->message = TEXT(e,
                                          "%s is live in version %" PRIu32
                                          " %s %s, and %s declares the same version %s it",
                                          state_text(e, from), from->version,
                                          from->flags & bit ? "with" : "without", flag,
                                          e->change.patch->name, to->flags & bit ? "with" : "without");
                        v->remedy = "give the changed state a new version";
                }
        }
}

void check_identity(Evaluation *e) {
        const Patch *p = e->change.patch;

        if (!p)
                return;
        check_loaded_name(e);
        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];

                if (!q->orphan && patch_name_equal(p->name, q->name) && !patch_same_content(p, q)) {
                        Violation *v = violate(e, q);

                        v->have = content_text(e, q->build_id, q->srcversion);
                        v->want = content_text(e, p->build_id, p->srcversion);
                        v->message = TEXT(e,
                                          "a patch %s is enabled with other content (%s, the candidate has "
                                          "%s)",
                                          q->name, v->have, v->want);
                        v->remedy = "give the new patch another name";
                } else if (!q->orphan)
                        check_same_level(e, q);
        }
        check_state_flags(e);
}

void check_level_order(Evaluation *e) {
        const Patch *p = e->change.patch, *highest = NULL;
        bool downgrade = e->change.kind == CHANGE_DOWNGRADE;
        Violation *v;

        for (size_t i = 0; p && i < e->n_stack; i++) {
                const Patch *q = e->stack[i];

                if (!q->orphan && patch_same_stream(p, q) && (!highest || q->level > highest->level))
                        highest = q;
        }

        if (!p || !highest) {
                const Request *request = e->input->request;
                const char *vendor = p ? p->vendor : request->vendor ?: "";
                const char *stream = p ? p->stream : request->stream ?: "";

                if (!downgrade)
                        return;
                v = violate(e, p);
                v->have = "nothing enabled";
                v->want = p ? TEXT(e, "a level above %" PRIu32, p->level) : "an enabled patch";
                v->message = p || *vendor ? TEXT(e,
                                                 "nothing of %s/%s is enabled, so there is nothing to go "
                                                 "down from",
                                                 vendor, stream)
                                          : "nothing is enabled, so there is nothing to go down from";
                v->remedy = p ? TEXT(e, "apply %s instead", p->name) : "apply a patch";
                return;
        }

        if (p->level == 0 || highest->level == 0 ||
            (downgrade ? p->level < highest->level : p->level > highest->level))
                return;
        v = violate(e, p);
        v->have = TEXT(e, "%" PRIu32, p->level);
        v->want = TEXT(e, "%s %" PRIu32, downgrade ? "below" : "above", highest->level);
        v->message = TEXT(e, "%s has level %" PRIu32 ", and %s/%s is at level %" PRIu32 " (%s)", p->name,
                          p->level, p->vendor, p->stream, highest->level, highest->name);
        v->remedy = p->level == highest->level
                                    ? TEXT(e, "use a patch with a %s level", downgrade ? "lower" : "higher")
                    : downgrade ? TEXT(e, "apply %s, if going up is meant", p->name)
                                : TEXT(e, "downgrade to %s, if going down is meant", p->name);
}

/* The state that the i-th patch of the stack holds, as far as the diff goes; NULL: none. */
static const PatchState *held_state(const Evaluation *e, size_t i) {
        for (uint32_t k = 0; k < e->n_entries; k++)
                if (e->entries[k].from_patch == i)
                        return entry_from(e, &e->entries[k]);
        return NULL;
}

static bool plain_replaces(const Evaluation *e) {
        return e->change.patch && e->change.patch->kind == PATCH_PLAIN && change_replaces(e);
}

void check_plain_over_managed(Evaluation *e) {
        const Patch *p = e->change.patch;

        for (size_t q = 0; plain_replaces(e) && q < e->n_stack; q++) {
                const PatchState *held = e->stack[q]->kind == PATCH_MANAGED ? held_state(e, q) : NULL;
                Violation *v;

                if (!held)
                        continue;
                v = violate(e, e->stack[q]);
                violation_set_state(v, held);
                v->have = TEXT(e, "plain patch %s", p->name);
                v->want = "a managed patch";
                v->message = TEXT(e,
                                  "the plain patch %s would replace %s, which holds %s: the kernel would call "
                                  "none of its callbacks",
                                  p->name, e->stack[q]->name, state_text(e, held));
                v->remedy = TEXT(e, "disable %s first, or replace it by a managed patch without states",
                                 e->stack[q]->name);
        }
}

/*
 * Where plain-over-managed is off or warns, the kernel still refuses: the shim has given it a guard state that
 * no plain patch knows (DESIGN.md). Said by the rule `ready`, and only where the shim is known to be there.
 */
const Patch *find_guarded(const Evaluation *e) {
        for (size_t q = 0; plain_replaces(e) && q < e->n_stack; q++)
                if (e->stack[q]->kind == PATCH_MANAGED && !e->stack[q]->orphan && held_state(e, q))
                        return e->stack[q];
        return NULL;
}

void check_vendor(Evaluation *e) {
        const Patch *p = e->change.patch;

        if (!p || !change_replaces(e))
                return;
        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];
                Violation *v;

                if (q->kind == PATCH_FOREIGN || q->orphan || streq(p->vendor, q->vendor) ||
                    policy_vendors_compatible(e->policy, p->vendor, q->vendor) ||
                    strv_contains(e->input->request->allow_vendor, q->vendor))
                        continue;
                v = violate(e, q);
                v->have = TEXT(e, "%s", q->vendor);
                if (p->kind == PATCH_FOREIGN) {
                        v->want = "a patch of a known vendor";
                        v->message = TEXT(e, "%s, of which no vendor is known, would replace %s of vendor %s",
                                          p->name, q->name, q->vendor);
                        v->remedy = TEXT(e, "give %s a manifest, or allow it for this request "
                                            "(--allow-vendor %s)",
                                         p->name, q->vendor);
                        continue;
                }
                v->want = TEXT(e, "%s", p->vendor);
                v->message = TEXT(e, "%s (vendor %s) would replace %s of vendor %s", p->name, p->vendor,
                                  q->name, q->vendor);
                v->remedy = TEXT(e,
                                 "allow it for this request (--allow-vendor %s), or list %s and %s as "
                                 "compatible vendors "
                                 "in the policy",
                                 q->vendor, p->vendor, q->vendor);
        }
}

void check_foreign(Evaluation *e) {
        const Patch *p = e->change.patch;

        if (!p || !change_replaces(e) || e->input->request->replace_foreign)
                return;
        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];
                Violation *v;

                if (q->kind != PATCH_FOREIGN || q->orphan)
                        continue;
                v = violate(e, q);
                v->have = "foreign";
                v->want = "a patch that klpd knows, or replace-foreign in the request";
                v->message = TEXT(e,
                                  "%s would replace %s, which klpd did not enable and knows nothing about",
                                  p->name, q->name);
                v->remedy = TEXT(e, "ask for it explicitly (--replace-foreign), or import a manifest for %s",
                                 q->name);
        }
}

/* A foreign patch counts as another vendor's (SEMANTICS.md section 1). */
void check_function_overlap(Evaluation *e) {
        const Patch *p = e->change.patch;
        FunctionTable table;

        if (!p || change_replaces(e) || p->n_functions == 0)
                return;
        if (function_table_init(&table, e->arena, p->n_functions) < 0)
                return; /* remembered by the arena */
        for (size_t i = 0; i < p->n_functions; i++)
                function_table_add(&table, &p->functions[i])->after = p;

        for (size_t i = 0; i < e->n_stack; i++) {
                const Patch *q = e->stack[i];

                if (q->orphan || (q->kind != PATCH_FOREIGN && streq(p->vendor, q->vendor)))
                        continue;
                for (size_t k = 0; k < q->n_functions; k++) {
                        const PatchFunction *f = &q->functions[k];
                        Violation *v;

                        if (!function_table_find(&table, f))
                                continue;
                        v = violate(e, q);
                        v->function = TEXT(e, "%s:%s", f->object, f->function);
                        v->have = q->kind == PATCH_FOREIGN
                                                  ? TEXT(e, "redirected by the foreign patch %s", q->name)
                                                  : TEXT(e, "redirected by %s of vendor %s", q->name,
                                                         q->vendor);
                        v->want = TEXT(e, "not redirected by another vendor than %s", p->vendor);
                        v->message = TEXT(e, "%s redirects %s, which %s %s redirects already", p->name,
                                          f->function,
                                          q->kind == PATCH_FOREIGN ? "the foreign patch"
                                                                   : "another vendor's patch",
                                          q->name);
                        v->remedy = TEXT(e, "disable %s first, or use a patch that has both changes",
                                         q->name);
                }
        }
}
