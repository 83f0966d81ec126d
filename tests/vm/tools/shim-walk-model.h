/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What SEMANTICS.md sections 2 and 3 say klp_shim must do, written for shim-walk alone and from the text: nothing of
 * klp_shim_diff.c is used here, so that a mistake there can't hide.
 *
 * Model: a stack of slots, bottom first. A slot is an enabled patch, or a disabled one that stays for its orphaned
 * states. The holder of an id is the topmost slot that has it. A change is predicted in three steps, each of which adds
 * to `want` the callbacks that it expects, in order, as the test patches trace them:
 *
 *   model_begin()   fates; an error, or prepare (an enable's copy is on the stack from here on)
 *   model_finish()  it completed
 *   model_back()    it was reversed
 *
 * Shadow variables: per id the set of those that exist. A test patch makes one for its own table entry, so a variable
 * is known by (address of the module's table, index).
 */
#ifndef SHIM_WALK_MODEL_H
#define SHIM_WALK_MODEL_H

#define N_PATCHES 5
#define N_IDS 6
#define MAX_STATES 5
#define MAX_SLOTS 16
#define MAX_KEYS 32
#define MAX_CALLS 64

enum {
        BLOCK = KLP_SHIM_STATE_BLOCK_DISABLE,
        SHADOW = KLP_SHIM_STATE_SHADOW,
        TAKEOVER = KLP_SHIM_STATE_TAKEOVER,
};

typedef struct State {
        unsigned id, version, flags;
} State;

typedef struct Patch {
        const char *name;
        bool plain, loaded, enabled;
        unsigned long order; /* of loading */
        bool cumulative, vmlinux, target, objfail;
        unsigned level, fail;
        State states[MAX_STATES];
        unsigned n_states;
        uint64_t base;      /* where its data is: tells its shadow variables from others' */
        unsigned destroyed; /* variables that its destructor has seen */
} Patch;

typedef struct Slot {
        Patch *patch;
        bool orphan;
        unsigned has; /* bit per index into patch->states */
} Slot;

typedef struct Keys {
        uint64_t key[MAX_KEYS];
        unsigned n;
} Keys;

enum Fate { ABSENT, INTRODUCE, KEEP, TAKE_OVER, EXCHANGE, REMOVE, ORPHANED, N_FATES };

typedef struct Change {
        bool active, disable;
        Patch *patch;
        enum Fate fate[N_IDS + 1];
        Slot from_slot[N_IDS + 1];
        const State *from[N_IDS + 1], *to[N_IDS + 1];
        unsigned took; /* bit per index: pre_takeover made a variable */
} Change;

static struct {
        Slot stack[MAX_SLOTS];
        unsigned n;
        Keys keys[N_IDS + 1];
        Change change;
        unsigned long fates[N_FATES];
} model;

static char want[MAX_CALLS][96];
static unsigned n_want;

static void expect_call(const Patch *p, const State *s, const char *callback, const State *prev) {
        char from[48] = "";

        if (n_want >= MAX_CALLS)
                die(125, "more calls than there is room for");
        /* data is the id, from the first pre_patch on, and is handed over. */
        if (prev)
                snprintf(from, sizeof(from), " from %u data %u", prev->version, prev->id);
        snprintf(want[n_want++], sizeof(want[0]), "%s %u %s%s", p->name, s->id, callback, from);
}

/* ---- Holders ---- */

static const State *slot_state(const Slot *slot, unsigned id) {
        for (unsigned i = 0; i < slot->patch->n_states; i++)
                if ((slot->has & (1U << i)) && slot->patch->states[i].id == id)
                        return &slot->patch->states[i];
        return NULL;
}

/* The topmost slot that has the id, but for `without`; NULL: none. */
static Slot *holder(unsigned id, const Slot *without) {
        for (unsigned i = model.n; i > 0; i--)
                if (&model.stack[i - 1] != without && slot_state(&model.stack[i - 1], id))
                        return &model.stack[i - 1];
        return NULL;
}

static Slot *enabled_slot(const Patch *p) {
        for (unsigned i = 0; i < model.n; i++)
                if (model.stack[i].patch == p && !model.stack[i].orphan)
                        return &model.stack[i];
        return NULL;
}

static bool has_orphan(const Patch *p) {
        for (unsigned i = 0; i < model.n; i++)
                if (model.stack[i].patch == p && model.stack[i].orphan)
                        return true;
        return false;
}

static void push_slot(Patch *p) {
        if (model.n >= MAX_SLOTS)
                die(125, "the model's stack is full");
        model.stack[model.n++] = (Slot) { .patch = p, .has = (1U << p->n_states) - 1 };
}

/* Keeps the order of the others. */
static void drop_slot(Slot *slot) {
        Slot *end = model.stack + model.n--;

        for (slot++; slot < end; slot++)
                slot[-1] = *slot;
}

/* The enabled patch whose function runs: the topmost with that object. */
static Patch *active(bool target) {
        for (unsigned i = model.n; i > 0; i--) {
                Slot *slot = &model.stack[i - 1];

                if (!slot->orphan && (target ? slot->patch->target : slot->patch->vmlinux))
                        return slot->patch;
        }
        return NULL;
}

/* ---- Shadow variables ---- */

static uint64_t key_of(const Patch *p, const State *s) {
        return p->base * MAX_STATES + (uint64_t) (s - p->states);
}

static bool add_key(const Patch *p, const State *s) {
        Keys *k = &model.keys[s->id];

        for (unsigned i = 0; i < k->n; i++)
                if (k->key[i] == key_of(p, s))
                        return false;
        if (k->n >= MAX_KEYS)
                die(125, "more shadow variables than there is room for");
        k->key[k->n++] = key_of(p, s);
        return true;
}

static void drop_key(Patch *p, const State *s) {
        Keys *k = &model.keys[s->id];

        for (unsigned i = 0; i < k->n; i++)
                if (k->key[i] == key_of(p, s)) {
                        k->key[i] = k->key[--k->n];
                        p->destroyed++;
                        return;
                }
}

static void free_keys(Patch *p, const State *s) {
        if (s->flags & SHADOW)
                p->destroyed += model.keys[s->id].n;
        model.keys[s->id].n = 0;
}

/* ---- Fates: the table of SEMANTICS.md section 2 ---- */

static bool unsafe(const Change *c, const State *from, const State *to) {
        return c->disable || !c->patch->cumulative || ((from->flags | to->flags) & SHADOW);
}

static int decide(Change *c, unsigned id) {
        Slot *self = c->disable ? enabled_slot(c->patch) : NULL, *before = holder(id, NULL), *after;
        const State *from = before ? slot_state(before, id) : NULL, *to;

        if (c->disable) {
                after = holder(id, self);
                to = after ? slot_state(after, id) : NULL;
                if (before != self) /* another holds it and goes on to */
                        to = from;
        } else {
                Slot new = { .patch = c->patch, .has = (1U << c->patch->n_states) - 1 };

                to = slot_state(&new, id);
                if (!to && !c->patch->cumulative)
                        to = from;
        }

        c->from[id] = from;
        c->to[id] = to;
        if (before)
                c->from_slot[id] = *before;
        if (!from && !to)
                c->fate[id] = ABSENT;
        else if (!from)
                c->fate[id] = INTRODUCE;
        else if (!to)
                c->fate[id] = c->disable && (from->flags & BLOCK) ? ORPHANED : REMOVE;
        else if (from->version == to->version) {
                c->fate[id] = KEEP;
                if (!c->disable && ((from->flags ^ to->flags) & SHADOW))
                        return EINVAL;
        } else if (!c->disable && to->version > from->version && (to->flags & TAKEOVER))
                c->fate[id] = TAKE_OVER;
        else if (!unsafe(c, from, to))
                c->fate[id] = EXCHANGE;
        else if (c->disable)
                c->fate[id] = ORPHANED;
        else
                return EINVAL;
        return 0;
}

/* ---- Callbacks: SEMANTICS.md section 3 ---- */

static bool goes(const Change *c, unsigned id) {
        return c->fate[id] == REMOVE || c->fate[id] == EXCHANGE;
}

/* The old holders, from the top of the stack down, each in the order of its table. */
static void call_old(const Change *c, const char *callback) {
        for (unsigned i = model.n; i > 0; i--) {
                Slot *slot = &model.stack[i - 1];

                for (unsigned j = 0; j < slot->patch->n_states; j++) {
                        const State *s = &slot->patch->states[j];

                        if ((slot->has & (1U << j)) && goes(c, s->id) && c->from[s->id] == s &&
                            c->from_slot[s->id].orphan == slot->orphan) {
                                expect_call(slot->patch, s, callback, NULL);
                                if (strcmp(callback, "post_unpatch") == 0 && c->fate[s->id] == REMOVE)
                                        free_keys(slot->patch, s);
                        }
                }
        }
}

static void undo_new(Change *c, unsigned index) {
        Patch *p = c->patch;
        const State *s = &p->states[index];

        if (c->fate[s->id] == INTRODUCE || c->fate[s->id] == EXCHANGE) {
                expect_call(p, s, "post_unpatch", NULL);
                if (c->fate[s->id] == INTRODUCE)
                        free_keys(p, s);
        } else if (c->fate[s->id] == TAKE_OVER) {
                if (c->took & (1U << index))
                        drop_key(p, s);
                expect_call(p, s, "cancel_takeover", c->from[s->id]);
        }
}

static int prepare_new(Change *c) {
        Patch *p = c->patch;

        for (unsigned i = 0; i < p->n_states; i++) {
                const State *s = &p->states[i];

                if (c->fate[s->id] == INTRODUCE || c->fate[s->id] == EXCHANGE) {
                        expect_call(p, s, "pre_patch", NULL);
                        if (s->flags & SHADOW)
                                (void) add_key(p, s);
                        if (p->fail == s->id && c->fate[s->id] == INTRODUCE)
                                free_keys(p, s);
                } else if (c->fate[s->id] == TAKE_OVER) {
                        expect_call(p, s, "pre_takeover", c->from[s->id]);
                        if (p->fail != s->id && (s->flags & SHADOW) && add_key(p, s))
                                c->took |= 1U << i;
                } else
                        continue;
                if (p->fail == s->id) {
                        while (i-- > 0)
                                undo_new(c, i);
                        return EIO;
                }
        }
        return 0;
}

/* For an enable: 0 or the error of the hook. The new patch is on the stack afterwards. */
static int model_begin(Patch *p, bool disable) {
        Change *c = &model.change;
        int r = 0;

        *c = (Change) { .patch = p, .disable = disable };
        for (unsigned id = 1; id <= N_IDS && r == 0; id++)
                r = decide(c, id);
        if (r == 0 && !disable)
                r = prepare_new(c);
        if (r != 0)
                return r;
        call_old(c, "pre_unpatch");
        if (!disable) {
                push_slot(p);
                p->enabled = true;
        }
        c->active = true;
        return 0;
}

/* An orphan's states that the new patch has are at home again, or have a new one. */
static void adopt_orphans(const Patch *p) {
        for (unsigned i = model.n; i > 0; i--) {
                Slot *slot = &model.stack[i - 1];

                if (!slot->orphan)
                        continue;
                for (unsigned j = 0; j < p->n_states; j++)
                        for (unsigned k = 0; k < slot->patch->n_states; k++)
                                if (slot->patch->states[k].id == p->states[j].id)
                                        slot->has &= ~(1U << k);
                if (!slot->has)
                        drop_slot(slot);
        }
}

static void finish_disable(Change *c) {
        Slot *slot = enabled_slot(c->patch);

        c->patch->enabled = false;
        for (unsigned i = 0; i < c->patch->n_states; i++) {
                unsigned id = c->patch->states[i].id;

                if (c->from[id] != &c->patch->states[i] || c->fate[id] != ORPHANED)
                        slot->has &= ~(1U << i);
        }
        slot->orphan = true;
        if (!slot->has)
                drop_slot(slot);
}

static void model_finish(void) {
        Change *c = &model.change;
        Patch *p = c->patch;

        /* Its own slot is not among the old ones, whatever stands in its table. */
        if (!c->disable)
                model.n--;
        call_old(c, "post_unpatch");
        if (!c->disable) {
                for (unsigned i = 0; i < p->n_states; i++) {
                        const State *s = &p->states[i];

                        if (c->fate[s->id] == INTRODUCE || c->fate[s->id] == EXCHANGE)
                                expect_call(p, s, "post_patch", NULL);
                        else if (c->fate[s->id] == TAKE_OVER)
                                expect_call(p, s, "post_takeover", c->from[s->id]);
                }
                if (p->cumulative) {
                        for (unsigned i = 0; i < model.n; i++)
                                if (!model.stack[i].orphan)
                                        model.stack[i].patch->enabled = false;
                        model.n = 0;
                } else
                        adopt_orphans(p);
                push_slot(p);
        } else
                finish_disable(c);
        for (unsigned id = 1; id <= N_IDS; id++)
                model.fates[c->fate[id]]++;
        c->active = false;
}

static void model_back(void) {
        Change *c = &model.change;

        if (!c->disable)
                model.n--;
        call_old(c, "post_patch");
        if (!c->disable) {
                c->patch->enabled = false;
                for (unsigned i = 0; i < c->patch->n_states; i++)
                        undo_new(c, i);
        }
        c->active = false;
}

#endif
