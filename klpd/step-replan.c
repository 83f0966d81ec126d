/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `replan`: the second decision, on what the kernel says now. What the module registered must be what
 * its file said when the first plan was made: any difference is a refusal, since one of the two isn't true.
 * A disable was planned a moment ago, with nothing done in between, and comes here only when the kernel has
 * changed under it.
 */
#include <stdio.h>

#include "klpd/transaction.h"

static int function_compare(const void *a, const void *b) {
        const PatchFunction *x = *(const PatchFunction *const *) a, *y = *(const PatchFunction *const *) b;
        int c = strcmp(x->object, y->object);

        if (c == 0)
                c = strcmp(x->function, y->function);
        return c ? c : (x->sympos > y->sympos) - (x->sympos < y->sympos);
}

static const PatchFunction **sorted_functions(const Patch *p) {
        const PatchFunction **l;

        l = calloc(p->n_functions + 1, sizeof(*l));
        if (!l)
                return NULL;
        for (size_t i = 0; i < p->n_functions; i++)
                l[i] = &p->functions[i];
        qsort(l, p->n_functions, sizeof(*l), function_compare);
        return l;
}

/* 1: the same functions, 0: text names the first that differs, or -ENOMEM. */
static int compare_functions(const Patch *file, const Patch *kernel, char *text, size_t size) {
        _cleanup_free_ const PatchFunction **a = NULL, **b = NULL;

        a = sorted_functions(file);
        b = sorted_functions(kernel);
        if (!a || !b)
                return -ENOMEM;
        for (size_t i = 0; i < file->n_functions || i < kernel->n_functions; i++) {
                if (i < file->n_functions && i < kernel->n_functions && function_compare(&a[i], &b[i]) == 0)
                        continue;
                if (i < file->n_functions &&
                    (i >= kernel->n_functions || function_compare(&a[i], &b[i]) < 0))
                        (void) snprintf(text, size, "function %s:%s is in the file only", a[i]->object,
                                        a[i]->function);
                else
                        (void) snprintf(text, size, "function %s:%s is registered, but not in the file",
                                        b[i]->object, b[i]->function);
                return 0;
        }
        return 1;
}

static int compare_states(const Patch *file, const Patch *kernel, char *text, size_t size) {
        if (file->n_states != kernel->n_states) {
                (void) snprintf(text, size, "%zu states in the file, %zu registered", file->n_states,
                                kernel->n_states);
                return 0;
        }
        for (size_t i = 0; i < file->n_states; i++) {
                const PatchState *a = &file->states[i], *b = &kernel->states[i];

                if (a->id == b->id && a->version == b->version && a->flags == b->flags &&
                    streq(a->name ?: "", b->name ?: ""))
                        continue;
                (void) snprintf(text, size,
                                "state number %zu is 0x%" PRIx64
                                " version %u flags 0x%x '%s' in the file, 0x%" PRIx64
                                " version %u flags 0x%x '%s' registered",
                                i, a->id, a->version, a->flags, a->name ?: "", b->id, b->version, b->flags,
                                b->name ?: "");
                return 0;
        }
        return 1;
}

static int compare_metadata(const Patch *file, const Patch *kernel, char *text, size_t size) {
        int r;

        if (!streq(file->vendor, kernel->vendor) || !streq(file->stream, kernel->stream)) {
                (void) snprintf(text, size, "stream %s/%s in the file, %s/%s registered", file->vendor,
                                file->stream, kernel->vendor, kernel->stream);
                return 0;
        }
        if (file->level != kernel->level) {
                (void) snprintf(text, size, "level %u in the file, %u registered", file->level,
                                kernel->level);
                return 0;
        }
        if (file->cumulative != kernel->cumulative) {
                (void) snprintf(text, size, "%s by the file, %s as registered",
                                file->cumulative ? "cumulative" : "not cumulative",
                                kernel->cumulative ? "cumulative" : "not cumulative");
                return 0;
        }
        r = compare_states(file, kernel, text, size);
        return r == 1 ? compare_functions(file, kernel, text, size) : r;
}

/* False: the transaction is failing. */
static bool replan_compare(Transaction *t) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        Hands *hands = t->world->hands;
        const ShimPatch *registered;
        char text[512] = "";
        int r;

        r = hands->vtable->read_snapshot(hands, &snapshot);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_SHIM_UNAVAILABLE,
                                 "Can't read what is registered: %s", strerror(-r));
                return false;
        }
        registered = shim_snapshot_find(snapshot, t->name);
        if (!registered) {
                transaction_fail(t, TRANSACTION_FAILED, -ENOENT, ERROR_FAILED,
                                 "'%s' is loaded, but hasn't registered with the shim", t->name);
                return false;
        }
        if (t->candidate.module_fd < 0)
                return true; /* what is registered is all that is known of it */
        r = compare_metadata(t->candidate.patch, registered->patch, text, sizeof(text));
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Can't compare metadata: %s",
                                 strerror(-r));
        else if (r == 0)
                transaction_fail(t, TRANSACTION_REFUSED, -EBADMSG, ERROR_REFUSED,
                                 "The metadata of '%s' contradicts what its module registered: %s; it has "
                                 "to be built "
                                 "again so that both agree",
                                 t->name, text);
        return r > 0;
}

static void replan_start(Transaction *t) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        _cleanup_plan_free_ Plan *plan = NULL;
        Failure failure = {};
        int r;

        if (t->disable && t->n_replans == 0) {
                transaction_next(t);
                return;
        }
        if (!t->disable && !transaction_is_plain(t) && !replan_compare(t))
                return;
        r = world_plan(t->world, t->spec, &t->candidate, NULL, &plan, &inventory, &failure);
        if (r < 0)
                transaction_fail(t, TRANSACTION_FAILED, r, failure.name, "%s", failure_message(&failure));
        else if (transaction_take_plan(t, TAKE_PTR(plan), inventory))
                transaction_next(t);
        failure_done(&failure);
}

const TransactionStep step_replan = {
        .name = "replan",
        .start = replan_start,
};
