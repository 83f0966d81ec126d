/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the bus shows of patches and states: what the repository has, put together with what the kernel says,
 * read now. One Listed per patch; where a name is in both, the kernel's word counts for what runs and the
 * file's for the rest.
 */
#include <json-c/json.h>

#include "klpd/manager.h"
#include "policy/json.h"

typedef struct Listed {
        const Patch *patch;
        const RepositoryEntry *entry; /* or NULL */
        const char *state;
        int32_t position; /* in the stack; -1: not enabled */
} Listed;

typedef struct Listing {
        Inventory *inventory;
        ShimSnapshot *shim;
        Listed *items;
        size_t n_items;
} Listing;

static void listing_done(Listing *l) {
        inventory_free(l->inventory);
        shim_snapshot_free(l->shim);
        free(l->items);
}

static Listed *listing_find(Listing *l, const char *name) {
        for (size_t i = 0; i < l->n_items; i++)
                if (patch_name_equal(l->items[i].patch->name, name))
                        return &l->items[i];
        return NULL;
}

static bool is_loaded(const Inventory *inventory, const char *name) {
        for (size_t i = 0; i < inventory->n_loaded; i++)
                if (patch_name_equal(inventory->loaded[i].name, name))
                        return true;
        return false;
}

static const char *state_of(const Listing *l, const Patch *p) {
        const ShimPatch *sp;

        if (!l->inventory->transition || !patch_name_equal(l->inventory->transition, p->name))
                return "enabled";
        sp = shim_snapshot_find(l->shim, p->name);
        return sp && (sp->flags & KLP_SHIM_PATCH_UNPATCHING) ? "disabling" : "enabling";
}

static int listed_compare(const void *a, const void *b) {
        const Listed *x = a, *y = b;

        return patch_compare(x->patch, y->patch);
}

static void listing_add_kernel(Listing *l) {
        int32_t position = 0;

        for (size_t i = 0; i < l->inventory->n_patches; i++) {
                const Patch *p = l->inventory->patches[i];

                if (p->orphan)
                        continue;
                l->items[l->n_items++] = (Listed){
                                .patch = p,
                                .state = state_of(l, p),
                                .position = position++,
                };
        }
        for (size_t i = 0; l->shim && i < l->shim->n_patches; i++) {
                const Patch *p = l->shim->patches[i].patch;

                if (!listing_find(l, p->name))
                        l->items[l->n_items++] = (Listed) { .patch = p, .state = "loaded", .position = -1 };
        }
}

static void listing_add_repository(Listing *l, const RepositoryEntry *entries, size_t n) {
        size_t n_kernel = l->n_items;

        for (size_t i = 0; i < n; i++) {
                const RepositoryEntry *e = &entries[i];
                Listed *present = NULL;

                for (size_t k = 0; k < n_kernel && !e->shadowed; k++)
                        if (patch_name_equal(l->items[k].patch->name, e->patch->name))
                                present = &l->items[k];
                if (!present)
                        l->items[l->n_items++] = (Listed){
                                        .patch = e->patch,
                                        .entry = e,
                                        .state = !e->shadowed && is_loaded(l->inventory, e->patch->name)
                                                                 ? "loaded"
                                                                 : "available",
                                        .position = -1,
                        };
                else if (patch_same_content(present->patch, e->patch) &&
                         present->patch->kind != PATCH_FOREIGN) {
                        present->entry = e;
                        if (!e->problem)
                                present->patch = e->patch; /* the same, with what only the file says */
                }
        }
}

static int manager_make_listing(Manager *m, Listing *ret) {
        const RepositoryEntry *entries;
        Listing l = {};
        size_t n;
        int r;

        r = m->hands->vtable->read_inventory(m->hands, &l.inventory);
        if (r < 0)
                return r;
        r = m->hands->vtable->read_snapshot(m->hands, &l.shim);
        if (r < 0 && r != -ENOENT) {
                listing_done(&l);
                return r;
        }
        entries = repository_entries(m->repository, &n);
        l.items = calloc(n + l.inventory->n_patches + (l.shim ? l.shim->n_patches : 0) + 1, sizeof(Listed));
        if (!l.items) {
                listing_done(&l);
                return -ENOMEM;
        }
        listing_add_kernel(&l);
        listing_add_repository(&l, entries, n);
        qsort(l.items, l.n_items, sizeof(Listed), listed_compare);
        *ret = l;
        return 0;
}

/* ---- ListPatches ---- */

static int append_strings(sd_bus_message *reply, const char *key, char *const *strings) {
        int r;

        r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", key);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, (char **) strings);
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const char *entry_problem(const RepositoryEntry *e) {
        if (!e)
                return "";
        if (e->problem)
                return e->problem;
        return repository_entry_altered(e) ? "its content is not what was imported" : "";
}

/* A struct and not a{sv}, which would double what ten thousand patches cost both ends and the bus. */
static int append_listed(sd_bus_message *reply, const Listed *l, const char *standing) {
        const Patch *p = l->patch;
        int r;

        r = sd_bus_message_open_container(reply, 'r', MANAGER_LISTED_PATCH);
        if (r >= 0)
                r = sd_bus_message_append(reply, "sssubssib", p->name, p->vendor, p->stream, p->level,
                                          (int) p->cumulative, patch_kind_to_string(p->kind), l->state,
                                          l->position, (int) !!l->entry);
        if (r >= 0)
                r = sd_bus_message_append_strv(reply, p->fixes);
        if (r >= 0)
                r = sd_bus_message_append(reply, "ssssss", p->summary ?: "", p->severity ?: "", p->kernel ?: "",
                                          p->digest ?: "", entry_problem(l->entry), standing);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int manager_append_patches(Manager *m, sd_bus_message *reply) {
        Listing l;
        int r;

        r = manager_make_listing(m, &l);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "(" MANAGER_LISTED_PATCH ")");
        for (size_t i = 0; r >= 0 && i < l.n_items; i++)
                r = append_listed(reply, &l.items[i], probation_standing(m->probation, l.items[i].patch));
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        listing_done(&l);
        return r;
}

/* ---- DescribePatch ---- */

/* Adds value under key; takes it over, NULL is want of memory. */
static int add_json(struct json_object *object, const char *key, struct json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(object, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

static int add_text(struct json_object *object, const char *key, const char *text) {
        return text && *text ? add_json(object, key, json_object_new_string(text)) : 0;
}

static int listed_to_line(const Listed *l, char **ret) {
        struct json_object *json;
        int r;

        json = patch_to_json(l->patch);
        if (!json)
                return -ENOMEM;
        r = add_text(json, "state", l->state);
        if (r >= 0)
                r = add_json(json, "in_repository", json_object_new_boolean(l->entry != NULL));
        if (r >= 0 && l->position >= 0)
                r = add_json(json, "position", json_object_new_int64(l->position));
        if (r >= 0)
                r = add_text(json, "summary", l->patch->summary);
        if (r >= 0)
                r = add_text(json, "severity", l->patch->severity);
        if (r >= 0)
                r = add_text(json, "digest", l->patch->digest);
        if (r >= 0 && l->entry)
                r = add_text(json, "problem", entry_problem(l->entry));
        if (r >= 0)
                r = json_to_line(json, ret);
        json_object_put(json);
        return r;
}

int manager_describe(Manager *m, const char *name, char **ret) {
        const Listed *found = NULL;
        Listing l;
        int r;

        r = manager_make_listing(m, &l);
        if (r < 0)
                return r;
        /* The one that runs, or else the one that would be used. */
        for (size_t i = 0; i < l.n_items; i++)
                if (patch_name_equal(l.items[i].patch->name, name) &&
                    (!found || l.items[i].position >= 0 || (found->entry && found->entry->shadowed)))
                        found = &l.items[i];
        r = found ? listed_to_line(found, ret) : -ENOENT;
        listing_done(&l);
        return r;
}

/* ---- ListStates ---- */

static int append_flags(sd_bus_message *reply, uint32_t flags) {
        int r;

        r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", "flags");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (uint32_t bit = 1; r >= 0 && bit <= PATCH_STATE_FLAGS_ALL; bit <<= 1)
                if ((flags & bit) && patch_state_flag_to_string(bit))
                        r = sd_bus_message_append(reply, "s", patch_state_flag_to_string(bit));
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(reply);
        return r;
}

static int append_state(sd_bus_message *reply, const ShimState *s) {
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "id", "t", s->id, "version",
                                          "u", s->version, "name", "s", s->name, "holder", "s", s->holder,
                                          "orphan", "b", (int) s->orphan, "shadow-count", "t",
                                          s->shadow_count, "shadow-bytes", "t", s->shadow_bytes);
        if (r >= 0)
                r = append_flags(reply, s->flags);
        if (r >= 0)
                r = append_strings(reply, "owners", s->owners);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

int manager_append_states(Manager *m, sd_bus_message *reply) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *shim = NULL;
        int r;

        r = m->hands->vtable->read_snapshot(m->hands, &shim);
        if (r < 0)
                return r;
        r = sd_bus_message_open_container(reply, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < shim->n_states; i++)
                r = append_state(reply, &shim->states[i]);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}
