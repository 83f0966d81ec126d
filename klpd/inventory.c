/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See inventory.h. Every patch of the stack becomes an Item that knows what the sources say of its place;
 * the items are sorted once, then pushed. Orphans go in first: they are no part of the stack, but of the
 * live states.
 */
#include "klpd/hands.h"
#include "klpd/inventory.h"

typedef struct Item {
        Patch *patch;            /* owned */
        bool managed;
        uint32_t position;       /* managed: by the shim */
        size_t exact;            /* by the core, where it says */
        uint64_t birth;
        unsigned load_order;
} Item;

typedef struct Builder {
        const InventorySources *sources;
        Inventory *inventory;
        Item *items;
        size_t n_items;
} Builder;

static const SysfsModule *find_module(const InventorySources *s, const char *name) {
        for (size_t i = 0; s->modules && i < s->modules->n_modules; i++)
                if (patch_name_equal(s->modules->modules[i].name, name))
                        return &s->modules->modules[i];
        return NULL;
}

static const SysfsPatch *find_sysfs(const InventorySources *s, const char *name, size_t *ret_index) {
        for (size_t i = 0; s->sysfs && i < s->sysfs->n_patches; i++)
                if (patch_name_equal(s->sysfs->patches[i].name, name)) {
                        if (ret_index)
                                *ret_index = i;
                        return &s->sysfs->patches[i];
                }
        return NULL;
}

static Patch *lookup(const InventorySources *s, const char *name, const char *build_id) {
        return s->lookup ? s->lookup(name, build_id, s->userdata) : NULL;
}

static int set_content(Patch *p, const SysfsModule *module, const char *kernel) {
        int r = 0;

        if (module) {
                r = free_and_strdup(&p->build_id, module->build_id);
                if (r >= 0)
                        r = free_and_strdup(&p->srcversion, module->srcversion);
        }
        if (r >= 0 && !p->kernel)
                r = free_and_strdup(&p->kernel, kernel);
        return r;
}

/* What only the file says. digest: the content is the same by what is known of both, so the file's digest
 * is this patch's. */
static int copy_lists(Patch *to, const Patch *from) {
        char **const lists[] = { from->fixes, from->requires, from->conflicts, from->tags };
        char ***const targets[] = { &to->fixes, &to->requires, &to->conflicts, &to->tags };
        int r;

        for (size_t i = 0; i < ELEMENTSOF(lists); i++) {
                char **s;

                if (*targets[i])
                        continue;
                STRV_FOREACH(s, lists[i]) {
                        r = strv_extend(targets[i], *s);
                        if (r < 0)
                                return r;
                }
        }
        if (!to->digest) {
                r = free_and_strdup(&to->digest, from->digest);
                if (r < 0)
                        return r;
        }
        if (!to->severity) {
                r = free_and_strdup(&to->severity, from->severity);
                if (r < 0)
                        return r;
        }
        if (!to->summary)
                return free_and_strdup(&to->summary, from->summary);
        return 0;
}

static int builder_add(Builder *b, Patch *patch, bool managed, uint32_t position) {
        const InventorySources *s = b->sources;
        const SysfsModule *module = find_module(s, patch->name);
        Item *item = &b->items[b->n_items];

        *item = (Item) { .patch = patch, .managed = managed, .position = position };
        (void) find_sysfs(s, patch->name, &item->exact);
        item->birth = s->birth ? s->birth(patch->name, s->userdata) : 0;
        item->load_order = module ? module->load_order : UINT32_MAX;
        b->n_items++;
        return 0;
}

static int builder_add_managed(Builder *b, const ShimPatch *sp) {
        const InventorySources *s = b->sources;
        Patch *p = sp->patch, *known;
        int r;

        r = set_content(p, find_module(s, p->name), s->kernel);
        if (r < 0)
                return r;
        known = lookup(s, p->name, p->build_id);
        if (known) {
                r = copy_lists(p, known);
                if (r < 0)
                        return r;
        }
        p->forced = sp->flags & KLP_SHIM_PATCH_FORCED;
        return builder_add(b, patch_ref(p), true, sp->position);
}

static int fill_plain(Patch *p, const Patch *known) {
        int r;

        p->kind = PATCH_PLAIN;
        p->level = known->level;
        p->cumulative = known->cumulative;
        r = free_and_strdup(&p->vendor, known->vendor);
        if (r >= 0)
                r = free_and_strdup(&p->stream, known->stream);
        for (size_t i = 0; r >= 0 && i < known->n_states; i++)
                r = patch_add_state(p, known->states[i].id, known->states[i].version, known->states[i].flags,
                                    known->states[i].name);
        return r < 0 ? r : copy_lists(p, known);
}

static int builder_add_other(Builder *b, const SysfsPatch *sp) {
        _cleanup_patch_unref_ Patch *p = NULL;
        const InventorySources *s = b->sources;
        Patch *known;
        int r;

        r = patch_new(sp->name, &p);
        if (r >= 0)
                r = set_content(p, find_module(s, sp->name), s->kernel);
        if (r < 0)
                return r;
        known = lookup(s, sp->name, p->build_id);
        if (known && known->kind == PATCH_PLAIN)
                r = fill_plain(p, known);
        else {
                p->kind = PATCH_FOREIGN;
                p->cumulative = sp->replace == 1;
                r = free_and_strdup(&p->vendor, "");
                if (r >= 0)
                        r = free_and_strdup(&p->stream, "");
        }
        for (size_t i = 0; r >= 0 && i < sp->n_functions; i++) {
                r = patch_add_function(p, sp->functions[i].object, sp->functions[i].function,
                                       sp->functions[i].sympos);
                if (r == -EEXIST)
                        r = 0;
        }
        if (r < 0)
                return r;
        return builder_add(b, TAKE_PTR(p), false, 0);
}

static int builder_add_orphan(Builder *b, const ShimPatch *sp) {
        _cleanup_patch_unref_ Patch *p = NULL;
        const ShimSnapshot *shim = b->sources->shim;
        int r;

        r = patch_new(sp->patch->name, &p);
        if (r >= 0)
                r = free_and_strdup(&p->vendor, sp->patch->vendor);
        if (r >= 0)
                r = free_and_strdup(&p->stream, sp->patch->stream);
        for (size_t i = 0; r >= 0 && i < shim->n_states; i++) {
                const ShimState *st = &shim->states[i];

                if (st->orphan && patch_name_equal(st->holder, sp->patch->name))
                        r = patch_add_state(p, st->id, st->version, st->flags,
                                            st->name[0] ? st->name : NULL);
        }
        if (r < 0)
                return r;
        p->orphan = true;
        p->level = sp->patch->level;
        p->forced = sp->flags & KLP_SHIM_PATCH_FORCED;
        return inventory_push(b->inventory, p);
}

static int compare_exact(const void *a, const void *b) {
        const Item *x = a, *y = b;

        return (x->exact > y->exact) - (x->exact < y->exact);
}

static int compare_birth(const void *a, const void *b) {
        const Item *x = a, *y = b;

        return (x->birth > y->birth) - (x->birth < y->birth);
}

/* Managed ones first, by the shim; then the others by load order. */
static int compare_kind(const void *a, const void *b) {
        const Item *x = a, *y = b;

        if (x->managed != y->managed)
                return x->managed ? -1 : 1;
        if (x->managed)
                return (x->position > y->position) - (x->position < y->position);
        return (x->load_order > y->load_order) - (x->load_order < y->load_order);
}

/* The births are usable if all are known and the managed ones among them are in the order that the shim
 * gives. */
static bool births_agree(const Item *items, size_t n) {
        const Item *last = NULL;

        for (size_t i = 0; i < n; i++)
                if (items[i].birth == 0)
                        return false;
        for (size_t i = 0; i < n; i++) {
                if (!items[i].managed)
                        continue;
                if (last && last->birth >= items[i].birth)
                        return false;
                last = &items[i];
        }
        return true;
}

/* items come sorted by compare_kind(): puts each plain one above the managed ones whose modules are
 * older. */
static void place_by_load_order(Item *items, size_t n) {
        for (size_t i = 1; i < n; i++) {
                Item item = items[i];
                size_t k = i;

                if (item.managed)
                        continue;
                while (k > 0 && items[k - 1].load_order > item.load_order) {
                        items[k] = items[k - 1];
                        k--;
                }
                items[k] = item;
        }
}

static void builder_sort(Builder *b) {
        if (b->n_items < 2)
                return;
        if (b->sources->sysfs && b->sources->sysfs->exact_order) {
                qsort(b->items, b->n_items, sizeof(Item), compare_exact);
                return;
        }
        qsort(b->items, b->n_items, sizeof(Item), compare_kind);
        if (births_agree(b->items, b->n_items))
                qsort(b->items, b->n_items, sizeof(Item), compare_birth);
        else
                place_by_load_order(b->items, b->n_items);
}

static int builder_collect(Builder *b) {
        const InventorySources *s = b->sources;
        int r;

        for (size_t i = 0; s->shim && i < s->shim->n_patches; i++) {
                const ShimPatch *sp = &s->shim->patches[i];

                if (sp->on_stack)
                        r = builder_add_managed(b, sp);
                else if (sp->flags & KLP_SHIM_PATCH_ORPHAN)
                        r = builder_add_orphan(b, sp);
                else
                        continue;
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; s->sysfs && i < s->sysfs->n_patches; i++) {
                const SysfsPatch *sp = &s->sysfs->patches[i];

                /* Neither enabled nor on the way: the core is letting go of it. What is registered is the
                 * shim's to say. */
                if ((!sp->enabled && !sp->transition) || shim_snapshot_find(s->shim, sp->name))
                        continue;
                r = builder_add_other(b, sp);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int builder_finish(Builder *b) {
        const InventorySources *s = b->sources;
        Inventory *inventory = b->inventory;
        const char *transition = s->shim && s->shim->info.transition[0] ? s->shim->info.transition : NULL;
        int r;

        builder_sort(b);
        for (size_t i = 0; i < b->n_items; i++) {
                r = inventory_push(inventory, b->items[i].patch);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; !transition && s->sysfs && i < s->sysfs->n_patches; i++)
                if (s->sysfs->patches[i].transition)
                        transition = s->sysfs->patches[i].name;
        if (transition) {
                inventory->transition = strdup(transition);
                if (!inventory->transition)
                        return -ENOMEM;
        }
        for (size_t i = 0; s->modules && i < s->modules->n_modules; i++) {
                const SysfsModule *m = &s->modules->modules[i];
                const ShimPatch *sp = shim_snapshot_find(s->shim, m->name);

                if (inventory_find(inventory, m->name))
                        continue;
                r = inventory_add_loaded(inventory, m->name, m->build_id, m->srcversion,
                                         sp ? sp->flags & KLP_SHIM_PATCH_FORCED : m->pinned);
                if (r < 0)
                        return r;
        }
        return 0;
}

int inventory_build(const InventorySources *sources, Inventory **ret) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        Builder b = { .sources = sources };
        size_t n = (sources->shim ? sources->shim->n_patches : 0) +
                   (sources->sysfs ? sources->sysfs->n_patches : 0);
        int r;

        r = inventory_new(sources->kernel, &inventory);
        if (r < 0)
                return r;
        b.inventory = inventory;
        b.items = calloc(n + 1, sizeof(Item));
        if (!b.items)
                return -ENOMEM;
        inventory->generation = sources->shim ? sources->shim->info.generation : 0;
        if (sources->kernel_build_id) {
                inventory->kernel_build_id = strdup(sources->kernel_build_id);
                r = inventory->kernel_build_id ? 0 : -ENOMEM;
        }
        if (r >= 0)
                r = builder_collect(&b);
        if (r >= 0)
                r = builder_finish(&b);
        for (size_t i = 0; i < b.n_items; i++)
                patch_unref(b.items[i].patch);
        free(b.items);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(inventory);
        return 0;
}
