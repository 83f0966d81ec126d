/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Step `load`: a managed patch's module comes into the kernel, where it registers with the shim and changes
 * nothing yet. One that is registered already is used as it is (its content is rule `identity`'s affair),
 * unless it carries relocations for modules, which the kernel applies only while loading (KERNEL-FACTS.md).
 * Plain patches are enabled by being loaded: that is step `enable`.
 *
 * Undo: the module is removed again. Its last use may take a moment to end, so that is tried several times;
 * then it is left to the collector.
 */
#include "klpd/log.h"
#include "klpd/transaction.h"

#define UNLOAD_RETRY_FIRST_USEC UINT64_C(10000)
#define UNLOAD_RETRY_LAST_USEC UINT64_C(3000000)

static void load_fail(Transaction *t, int r, const char *what, const char *text) {
        transaction_fail(t, TRANSACTION_FAILED, r, ERROR_FAILED, "Failed to %s '%s': %s", what, t->name,
                         text && *text ? text : strerror(-r));
}

/* The answer got lost: what is there, `undo` takes out again; what has registered too, can be gone on with. */
static bool load_is_done(Transaction *t) {
        Hands *hands = t->world->hands;
        KernelPatch kernel;

        if (hands->vtable->read_patch(hands, t->name, &kernel) < 0)
                kernel = (KernelPatch) { .module = true };
        t->loaded = t->loaded_unsaid = kernel.module;
        t->loaded_usec = now_usec(CLOCK_REALTIME);
        return kernel.registered;
}

static void on_loaded(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        if (hands_lost(r) && load_is_done(t)) {
                log_warning("%s. The kernel has loaded '%s'", text, t->name);
                r = 0;
        }
        if (r < 0) {
                load_fail(t, r, "load livepatch", text);
                return;
        }
        t->loaded = t->loaded_unsaid = true;
        t->loaded_usec = now_usec(CLOCK_REALTIME);
        transaction_next(t);
}

static void load_module(Transaction *t) {
        Hands *hands = t->world->hands;
        int r;

        t->loads = true;
        if (!transaction_record(t))
                return;
        r = hands->vtable->load(hands, t->candidate.module_fd, t->name, false, on_loaded,
                                transaction_ref(t));
        if (r < 0) {
                transaction_unref(t);
                load_fail(t, r, "have the helper load livepatch", NULL);
                return;
        }
        t->pending = true;
}

static void on_old_unloaded(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        r = hands_unload_result(t->world->hands, t->name, r);
        if (r < 0 && r != -ENOENT) {
                load_fail(t, r,
                          "unload (to load it afresh, which its relocations for modules need) livepatch",
                          text);
                return;
        }
        transaction_audit_unloaded(t);
        if (t->cancel_requested)
                transaction_fail(t, TRANSACTION_CANCELLED, -ECANCELED, ERROR_FAILED,
                                 "Cancelled before the change of '%s' began", t->name);
        else
                load_module(t);
}

static void load_start(Transaction *t) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *snapshot = NULL;
        Hands *hands = t->world->hands;
        int r;

        if (t->disable || !t->candidate.patch || transaction_is_plain(t) || t->candidate.module_fd < 0) {
                transaction_next(t);
                return;
        }
        r = hands->vtable->read_snapshot(hands, &snapshot);
        if (r < 0) {
                transaction_fail(t, TRANSACTION_FAILED, r, ERROR_SHIM_UNAVAILABLE,
                                 "Can't read what is registered: %s", strerror(-r));
                return;
        }
        if (!shim_snapshot_find(snapshot, t->name)) {
                load_module(t);
                return;
        }
        if (!t->candidate.has_module_relocations) {
                transaction_next(t);
                return;
        }
        t->loads = true;
        if (!transaction_record(t))
                return;
        r = hands->vtable->unload(hands, t->name, on_old_unloaded, transaction_ref(t));
        if (r < 0) {
                transaction_unref(t);
                load_fail(t, r, "have the helper unload livepatch", NULL);
                return;
        }
        t->pending = true;
}

/* ---- undo ---- */

static void unload(Transaction *t);

static void unload_give_up(Transaction *t, int r, const char *text) {
        log_notice("Module '%s' can't be removed yet (%s), it is left for later", t->name,
                   *text ? text : strerror(-r));
        if (t->handlers.retire)
                t->handlers.retire(t, t->name, t->handlers.userdata);
        transaction_undone(t);
}

static void on_unloaded(int r, const char *text, void *userdata) {
        _cleanup_(transaction_unrefp) Transaction *t = userdata;

        t->pending = false;
        if (t->finished)
                return;
        r = hands_unload_result(t->world->hands, t->name, r);
        if (r >= 0 || r == -ENOENT) {
                t->loaded = false;
                transaction_audit_unloaded(t);
                transaction_undone(t);
                return;
        }
        if ((r == -EWOULDBLOCK || r == -EBUSY || r == -ECONNRESET) && t->check_usec < UNLOAD_RETRY_LAST_USEC) {
                t->check_usec *= 2;
                if (transaction_set_timer(t, t->check_usec, unload) >= 0)
                        return;
        }
        unload_give_up(t, r, text);
}

static void unload(Transaction *t) {
        Hands *hands = t->world->hands;
        int r;

        r = hands->vtable->unload(hands, t->name, on_unloaded, transaction_ref(t));
        if (r < 0) {
                transaction_unref(t);
                unload_give_up(t, r, "");
                return;
        }
        t->pending = true;
}

static void load_undo(Transaction *t) {
        if (!t->loaded || t->completed) {
                transaction_undone(t);
                return;
        }
        t->check_usec = UNLOAD_RETRY_FIRST_USEC;
        unload(t);
}

const TransactionStep step_load = {
        .name = "load",
        .start = load_start,
        .undo = load_undo,
};
