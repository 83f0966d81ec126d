/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See blocking.h. A read whose helper call is out when it is freed lives on, silent, until that is back. */
#include <stdio.h>

#include "klpd/blocking.h"
#include "klpd/tasks.h"

struct BlockersRead {
        const World *world;
        BlockersCallback callback;
        void *userdata;
        sd_event_source *later;
        Blocker *blockers;
        HelperTask *wanted;
        size_t n, n_read;
        bool pending, freed;
};

static void destroy(BlockersRead *b) {
        for (size_t i = 0; i < b->n; i++) {
                free(b->blockers[i].unit);
                free(b->blockers[i].stack);
        }
        sd_event_source_disable_unref(b->later);
        free(b->blockers);
        free(b->wanted);
        free(b);
}

BlockersRead *blockers_read_free(BlockersRead *b) {
        if (!b)
                return NULL;
        b->freed = true;
        if (!b->pending)
                destroy(b);
        return NULL;
}

bool stack_frame_function(const char *line, char *buf, size_t size) {
        const char *p = line;
        size_t n;

        if (*p == '[') {
                p = strchr(p, ']');
                if (!p)
                        return false;
                p += 1 + strspn(p + 1, " ");
        }
        n = strcspn(p, "+ \n");
        if (n == 0 || n >= size)
                return false;
        memcpy(buf, p, n);
        buf[n] = 0;
        return true;
}

bool stack_frame_module(const char *line, char *buf, size_t size) {
        size_t end = strcspn(line, "\n"), n;
        const char *p = memchr(line, '+', end);

        p = p ? memchr(p, '[', end - (size_t) (p - line)) : NULL;
        if (!p)
                return false;
        n = strcspn(++p, "]\n");
        if (n == 0 || n >= size || p[n] != ']')
                return false;
        memcpy(buf, p, n);
        buf[n] = 0;
        return true;
}

/* A function that a livepatch redirects, or a livepatch's own: where it is being taken out, that is what is in the way. */
static bool is_patched(const Inventory *inventory, const char *function, const char *module) {
        for (size_t i = 0; i < inventory->n_patches; i++) {
                const Patch *p = inventory->patches[i];

                if (patch_name_equal(p->name, module))
                        return true;
                for (size_t k = 0; k < p->n_functions; k++)
                        if (streq(p->functions[k].function, function))
                                return true;
        }
        return false;
}

static void find_function(Blocker *blocker, const Inventory *inventory) {
        for (const char *line = blocker->stack; line && *line;) {
                size_t n = strcspn(line, "\n");
                char function[sizeof(blocker->function)], module[PATCH_NAME_MAX + 1];

                if (!stack_frame_module(line, module, sizeof(module)))
                        module[0] = 0;
                if (stack_frame_function(line, function, sizeof(function)) && is_patched(inventory, function, module)) {
                        memcpy(blocker->function, function, sizeof(function));
                        return;
                }
                line += n + (line[n] == '\n');
        }
}

static void finish(BlockersRead *b, int r, const char *text) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        Hands *hands = b->world->hands;

        if (b->n_read > 0 && hands->vtable->read_inventory(hands, &inventory) >= 0)
                for (size_t i = 0; i < b->n; i++)
                        find_function(&b->blockers[i], inventory);
        b->pending = true; /* may be freed in the callback */
        b->callback(r, text, b->blockers, b->n, b->userdata);
        b->pending = false;
        if (b->freed)
                destroy(b);
}

static int read_batch(BlockersRead *b);

static void on_stacks(int r, const char *text, const char *const *stacks, size_t n, void *userdata) {
        BlockersRead *b = userdata;

        b->pending = false;
        if (b->freed) {
                destroy(b);
                return;
        }
        for (size_t i = 0; r >= 0 && i < n && b->n_read + i < b->n; i++)
                if (stacks[i])
                        b->blockers[b->n_read + i].stack = strdup(stacks[i]);
        b->n_read += n > 0 ? n : b->n;
        if (r >= 0 && b->n_read < b->n) {
                r = read_batch(b);
                if (r >= 0)
                        return;
                text = "";
        }
        finish(b, r, r < 0 && !*text ? strerror(-r) : text);
}

static int read_batch(BlockersRead *b) {
        Hands *hands = b->world->hands;
        size_t n = b->n - b->n_read;
        int r;

        if (n > HELPER_TASKS_MAX)
                n = HELPER_TASKS_MAX;
        r = hands->vtable->read_stacks(hands, b->wanted + b->n_read, n, on_stacks, b);
        if (r >= 0)
                b->pending = true;
        return r;
}

static int on_later(sd_event_source *source, void *userdata) {
        BlockersRead *b = userdata;

        b->later = sd_event_source_disable_unref(b->later);
        finish(b, 0, "");
        return 0;
}

static int take_tasks(BlockersRead *b, const ShimTask *tasks, size_t n) {
        if (n > BLOCKERS_MAX)
                n = BLOCKERS_MAX;
        b->blockers = calloc(n + 1, sizeof(*b->blockers));
        b->wanted = calloc(n + 1, sizeof(*b->wanted));
        if (!b->blockers || !b->wanted)
                return -ENOMEM;
        for (b->n = 0; b->n < n; b->n++) {
                Blocker *blocker = &b->blockers[b->n];

                *blocker = (Blocker) { .task = tasks[b->n], .patch_state = -1 };
                b->wanted[b->n] = (HelperTask) { .pid = tasks[b->n].pid, .tid = tasks[b->n].tid };
                (void) task_patch_state(blocker->task.pid, blocker->task.tid, &blocker->patch_state);
                if (!blocker->task.kthread && task_unit(blocker->task.pid, &blocker->unit) < 0)
                        blocker->unit = NULL;
        }
        return 0;
}

int blockers_read(const World *w, bool with_stacks, BlockersCallback callback, void *userdata,
                  BlockersRead **ret) {
        _cleanup_free_ ShimTask *tasks = NULL;
        Hands *hands = w->hands;
        size_t n_tasks = 0;
        BlockersRead *b;
        int r;

        r = hands->vtable->read_tasks(hands, &tasks, &n_tasks);
        if (r < 0)
                return r;
        b = calloc(1, sizeof(*b));
        if (!b)
                return -ENOMEM;
        b->world = w;
        b->callback = callback;
        b->userdata = userdata;
        r = take_tasks(b, tasks, n_tasks);
        if (r >= 0 && with_stacks && b->n > 0)
                r = read_batch(b);
        else if (r >= 0)
                r = sd_event_add_defer(w->event, &b->later, on_later, b);
        if (r < 0) {
                destroy(b);
                return r;
        }
        *ret = b;
        return 0;
}
