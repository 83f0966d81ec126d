/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/functions.h"

int function_table_init(FunctionTable *t, Arena *arena, size_t n) {
        size_t size = 8;

        while (size < 2 * n)
                size *= 2;
        *t = (FunctionTable) { .mask = size - 1 };
        t->slots = arena_alloc(arena, size, sizeof(*t->slots));
        t->order = arena_alloc(arena, n, sizeof(*t->order));
        if (!t->slots || !t->order)
                return -ENOMEM;
        memset(t->slots, 0, size * sizeof(*t->slots));
        return 0;
}

static bool same_function(const PatchFunction *a, const PatchFunction *b) {
        return a->hash == b->hash && (a->sympos ?: 1) == (b->sympos ?: 1) &&
               streq(a->function, b->function) && streq(a->object, b->object);
}

static FunctionSlot *lookup(const FunctionTable *t, const PatchFunction *f) {
        size_t i = f->hash & t->mask;

        /* At most half full, so there is always a free slot to stop at. */
        while (t->slots[i].function && !same_function(t->slots[i].function, f))
                i = (i + 1) & t->mask;
        return &t->slots[i];
}

FunctionSlot *function_table_add(FunctionTable *t, const PatchFunction *f) {
        FunctionSlot *slot = lookup(t, f);

        if (!slot->function) {
                slot->function = f;
                t->order[t->n++] = slot;
        }
        return slot;
}

FunctionSlot *function_table_find(const FunctionTable *t, const PatchFunction *f) {
        FunctionSlot *slot = lookup(t, f);

        return slot->function ? slot : NULL;
}
