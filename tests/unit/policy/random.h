/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random models from a seed: small ranges of ids, versions, levels and names, so that everything collides
 * with everything. Shared by the property tests, which give a seed, and by the fuzz target of the planner,
 * which gives the bytes that decide.
 */
#pragma once

#include <stdio.h>

#include "policy/plan.h"

typedef struct Random {
        uint64_t state;
        const uint8_t *data; /* or NULL: from state */
        size_t size;
} Random;

static inline uint32_t random_below(Random *r, uint32_t n) {
        if (r->data) {
                if (r->size == 0)
                        return 0;
                r->size--;
                return *r->data++ % n;
        }
        r->state ^= r->state << 13;
        r->state ^= r->state >> 7;
        r->state ^= r->state << 17;
        return (uint32_t) ((r->state * UINT64_C(0x2545f4914f6cdd1d)) >> 33) % n;
}

static inline bool random_chance(Random *r, uint32_t percent) {
        return random_below(r, 100) < percent;
}

#define WORLD_PATCHES 8U

/* A repository, an inventory made of some of it, a policy and a request; all owned. */
typedef struct World {
        Patch *repository[WORLD_PATCHES];
        size_t n_repository;
        Inventory *inventory;
        Policy *policy;
        Request request;
        char name[16];
        char *allow_vendor[2], *intermediates[3];
} World;

static const char *const random_vendors[] = { "local", "acme" };
static const char *const random_streams[] = { "base", "net" };
static const char *const random_relations[] = {"local/base>=2", "local/net", "acme/base<3",
                                               "state:1",       "state:3",   "tag:t"};
static const char *const random_functions[] = { "f", "g", "h", "i" };

static inline void random_must(int r) {
        if (r < 0 && r != -EEXIST)
                abort();
}

static inline Patch *random_patch(Random *r, unsigned number) {
        Patch *p;
        char name[16];

        snprintf(name, sizeof(name), "p%u", number);
        random_must(patch_new(name, &p));
        p->kind = random_chance(r, 70) ? PATCH_MANAGED : random_chance(r, 70) ? PATCH_PLAIN : PATCH_FOREIGN;
        p->cumulative = random_chance(r, 60);
        for (unsigned i = random_below(r, 4); i > 0; i--)
                random_must(patch_add_function(p, "vmlinux", random_functions[random_below(r, 4)],
                                               random_below(r, 2)));
        if (p->kind == PATCH_FOREIGN) {
                random_must(free_and_strdup(&p->vendor, ""));
                random_must(free_and_strdup(&p->stream, ""));
                return p;
        }
        random_must(free_and_strdup(&p->vendor, random_vendors[random_chance(r, 20)]));
        random_must(free_and_strdup(&p->stream, random_streams[random_chance(r, 20)]));
        p->level = random_below(r, 6);
        if (random_chance(r, 5))
                random_must(free_and_strdup(&p->kernel, "other"));
        for (unsigned i = random_below(r, 4); i > 0; i--)
                random_must(patch_add_state(p, 1 + random_below(r, 4), 1 + random_below(r, 3),
                                            (random_chance(r, 15) ? PATCH_STATE_BLOCK_DISABLE : 0) |
                                                    (random_chance(r, 25) ? PATCH_STATE_SHADOW : 0) |
                                                    (random_chance(r, 40) ? PATCH_STATE_TAKEOVER : 0),
                                            random_chance(r, 30) ? "named" : NULL));
        if (random_chance(r, 10))
                random_must(patch_add_string(&p->requires, random_relations[random_below(r, 6)]));
        if (random_chance(r, 10))
                random_must(patch_add_string(&p->conflicts, random_relations[random_below(r, 6)]));
        if (random_chance(r, 20))
                random_must(patch_add_string(&p->tags, "t"));
        for (unsigned i = random_below(r, 3); i > 0; i--)
                random_must(patch_add_string(&p->fixes, random_chance(r, 50) ? "CVE-1" : "CVE-2"));
        p->forced = random_chance(r, 2);
        return p;
}

static inline void random_request(Random *r, World *w) {
        Request *q = &w->request;

        *q = (Request) { .kind = (RequestKind) random_below(r, _REQUEST_KIND_MAX) };
        if (q->kind == REQUEST_DISABLE) {
                if (random_chance(r, 70)) {
                        snprintf(w->name, sizeof(w->name), "p%u", random_below(r, WORLD_PATCHES));
                        q->patch = w->name;
                }
        } else if (random_chance(r, 60))
                q->candidate = w->repository[random_below(r, (uint32_t) w->n_repository)];
        else if (random_chance(r, 50)) {
                snprintf(w->name, sizeof(w->name), "p%u", random_below(r, WORLD_PATCHES));
                q->patch = w->name;
        } else if (random_chance(r, 80)) {
                q->has_level = true;
                q->level = random_below(r, 6);
        }
        q->replace_foreign = random_chance(r, 50);
        q->accept_irreversible = random_chance(r, 50);
        if (random_chance(r, 50)) {
                w->allow_vendor[0] = (char *) random_vendors[random_below(r, 2)];
                q->allow_vendor = w->allow_vendor;
        }
        if (random_chance(r, 70)) {
                w->intermediates[0] = w->repository[random_below(r, (uint32_t) w->n_repository)]->name;
                w->intermediates[1] = w->repository[random_below(r, (uint32_t) w->n_repository)]->name;
                q->intermediates = w->intermediates;
        }
}

static inline void random_world(Random *r, World *w) {
        *w = (World) {};
        random_must(inventory_new("k", &w->inventory));
        random_must(policy_new_profile(policy_profiles()[random_below(r, 3)], &w->policy));
        for (int i = 0; i < _RULE_MAX; i++)
                if (random_chance(r, 20))
                        w->policy->modes[i] = (RuleMode) random_below(r, _RULE_MODE_MAX);
        for (unsigned i = 0; i < WORLD_PATCHES; i++)
                w->repository[w->n_repository++] = random_patch(r, i);
        for (unsigned i = random_below(r, 4); i > 0; i--)
                random_must(inventory_push(w->inventory, w->repository[random_below(r, WORLD_PATCHES)]));
        if (random_chance(r, 3))
                random_must(free_and_strdup(&w->inventory->transition, "p1"));
        random_request(r, w);
}

static inline void world_done(World *w) {
        for (size_t i = 0; i < w->n_repository; i++)
                patch_unref(w->repository[i]);
        inventory_free(w->inventory);
        policy_free(w->policy);
}

static inline PlanInput world_input(const World *w) {
        return (PlanInput) {
                .policy = w->policy,
                .inventory = w->inventory,
                .request = &w->request,
                .repository = w->repository,
                .n_repository = w->n_repository,
        };
}
