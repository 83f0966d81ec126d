/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hash table of redirected functions, in an arena; internal to policy/. Two entries are the same function
 * if object and name are, and the sympos is: 0 ("the only one") and 1 ("the first one") mean the same
 * symbol, since kpatch-build writes 1 where hand-written patches write 0.
 */
#pragma once

#include "policy/arena.h"
#include "policy/model.h"

typedef struct FunctionSlot {
        const PatchFunction *function;      /* NULL: free */
        const Patch *before, *after; /* whose code runs; NULL: nobody's. For the caller. */
} FunctionSlot;

typedef struct FunctionTable {
        FunctionSlot *slots;
        FunctionSlot **order; /* in the order of adding */
        size_t n, mask;
} FunctionTable;

/* For at most n functions. -ENOMEM, also remembered by the arena. */
int function_table_init(FunctionTable *t, Arena *arena, size_t n);
/* The slot of that function, a new one with before and after NULL if it wasn't there. */
FunctionSlot *function_table_add(FunctionTable *t, const PatchFunction *f);
FunctionSlot *function_table_find(const FunctionTable *t, const PatchFunction *f);
