/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fake-kernel.h. */
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "fake-kernel.h"

#define SLOW_USEC UINT64_C(300000)

bool fake_tagged(const FakeModule *m, const char *tag) {
        return strv_contains(m->patch->tags, tag);
}

FakeModule *fake_find(const FakeKernel *k, const char *name) {
        for (size_t i = 0; i < k->n_modules; i++)
                if (patch_name_equal(k->modules[i].patch->name, name))
                        return (FakeModule *) &k->modules[i];
        return NULL;
}

FakeModule *fake_under_way(const FakeKernel *k) {
        for (size_t i = 0; i < k->n_modules; i++)
                if (k->modules[i].transition)
                        return (FakeModule *) &k->modules[i];
        return NULL;
}

/* ---- later ---- */

void fake_later_free(Later *l) {
        for (Later **i = &l->kernel->laters; *i; i = &(*i)->next)
                if (*i == l) {
                        *i = l->next;
                        break;
                }
        sd_event_source_disable_unref(l->source);
        patch_unref(l->result.patch);
        if (l->result.content_fd > 0)
                close(l->result.content_fd);
        free(l);
}

/* Events are delivered in the order in which they were sent, whichever timer the loop picks first: takes
 * the oldest, and moves the younger ones up, so that it is l's place in the queue that becomes free. */
static ShimEvent next_event(FakeKernel *k, Later *l) {
        Later *first = k->laters, *to;
        ShimEvent event;

        while (!first->is_event)
                first = first->next;
        event = first->event;
        for (to = first; to != l;) {
                Later *from = to->next;

                while (!from->is_event)
                        from = from->next;
                to->event = from->event;
                to = from;
        }
        return event;
}

static int on_later(sd_event_source *s, uint64_t usec, void *userdata) {
        Later *l = userdata;
        FakeKernel *k = l->kernel;

        if (l->is_event) {
                ShimEvent event = next_event(k, l);

                if (k->listener.event)
                        k->listener.event(&event, k->listener.userdata);
        } else if (l->completes) {
                FakeModule *m = l->module < k->n_modules ? &k->modules[l->module] : NULL;

                if (m && m->transition)
                        fake_finish(k, m, m->target ? KLP_SHIM_END_PATCHED : KLP_SHIM_END_UNPATCHED);
        } else if (l->stacks_callback)
                l->stacks_callback(l->r, l->text, NULL, 0, l->userdata);
        else
                l->callback(l->r, l->text, l->userdata);
        fake_later_free(l);
        return 0;
}

Later *fake_later(FakeKernel *k, uint64_t usec) {
        Later *l = calloc(1, sizeof(*l)), **end = &k->laters;

        if (!l)
                abort();
        l->kernel = k;
        while (*end)
                end = &(*end)->next;
        *end = l;
        if (sd_event_add_time_relative(k->event, &l->source, CLOCK_MONOTONIC, usec / k->haste, 1, on_later,
                                       l) < 0)
                abort();
        return l;
}

void fake_send_event(FakeKernel *k, const FakeModule *m, enum klp_shim_event kind,
                       enum klp_shim_operation operation, enum klp_shim_end end) {
        struct timespec ts;
        Later *l;

        if (!k->shim || fake_tagged(m, "test.deaf") || m->patch->kind != PATCH_MANAGED)
                return;
        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        l = fake_later(k, 500);
        l->is_event = true;
        l->event = (ShimEvent){
                        .kind = kind,
                        .seq = ++k->seq,
                        .generation = k->generation,
                        .operation = operation,
                        .end = end,
                        .time_nsec = (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec,
        };
        (void) snprintf(l->event.name, sizeof(l->event.name), "%s", m->patch->name);
}

/* ---- the livepatch core ---- */

static enum klp_shim_operation operation_of(const FakeModule *m, bool target) {
        return !target                ? KLP_SHIM_OP_DISABLE
               : m->patch->cumulative ? KLP_SHIM_OP_REPLACE
                                      : KLP_SHIM_OP_ENABLE;
}

void fake_finish(FakeKernel *k, FakeModule *m, enum klp_shim_end end) {
        m->transition = false;
        m->enabled = m->target;
        if (end == KLP_SHIM_END_PATCHED && m->patch->cumulative)
                for (size_t i = 0; i < k->n_modules; i++)
                        if (&k->modules[i] != m)
                                k->modules[i].enabled = false;
        k->generation++;
        fake_send_event(k, m, KLP_SHIM_EVENT_ENDED,
                   operation_of(m, end == KLP_SHIM_END_REVERSED ? !m->target : m->target), end);
}

void fake_begin(FakeKernel *k, FakeModule *m, bool target) {
        m->target = target;
        m->transition = true;
        m->enabled = target;
        if (target)
                m->birth = ++k->births;
        k->generation++;
        fake_send_event(k, m, KLP_SHIM_EVENT_PREPARING, operation_of(m, target), 0);
        if (fake_tagged(m, "test.stall") || fake_tagged(m, "test.stuck") || fake_tagged(m, "test.late") ||
            fake_tagged(m, "test.toolate"))
                return;
        if (fake_tagged(m, "test.slow")) {
                Later *l = fake_later(k, SLOW_USEC);

                l->completes = true;
                l->module = (size_t) (m - k->modules);
        } else
                fake_finish(k, m, target ? KLP_SHIM_END_PATCHED : KLP_SHIM_END_UNPATCHED);
}

bool fake_on_stack(const FakeModule *m) {
        return m->enabled || m->transition;
}

int fake_insert(FakeKernel *k, Patch *patch) {
        FakeModule *m;

        if (k->n_modules >= MODULES_MAX)
                return -E2BIG;
        m = &k->modules[k->n_modules++];
        *m = (FakeModule) { .patch = patch };
        k->generation++;
        fake_send_event(k, m, KLP_SHIM_EVENT_MODULE_LOADED, 0, 0);
        if (patch->kind != PATCH_MANAGED || fake_tagged(m, "test.mute"))
                return 0;
        m->registered = true;
        k->generation++;
        fake_send_event(k, m, KLP_SHIM_EVENT_REGISTERED, 0, 0);
        return 0;
}

void fake_reverse(FakeKernel *k, FakeModule *m, bool value) {
        if (fake_tagged(m, "test.stuck")) {
                m->target = value;
                m->enabled = value;
                return;
        }
        if (m->target && (fake_tagged(m, "test.late") || fake_tagged(m, "test.toolate"))) {
                fake_finish(k, m, KLP_SHIM_END_PATCHED);
                fake_begin(k, m, false);
                if (fake_tagged(m, "test.toolate"))
                        fake_finish(k, m, KLP_SHIM_END_UNPATCHED);
                strv_free(m->patch->tags); /* once */
                m->patch->tags = NULL;
                return;
        }
        m->target = value;
        fake_finish(k, m, KLP_SHIM_END_REVERSED);
}
