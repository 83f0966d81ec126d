/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See collector.h. One list, one timer set to the earliest of its times, one removal at a time; idle
 * means asleep. */
#include <syslog.h>

#include "klpd/collector.h"
#include "klpd/log.h"
#include "klpd/transaction.h"

#define RETRY_FIRST_USEC UINT64_C(5000000)
#define RETRY_LAST_USEC UINT64_C(3600000000)
#define ITEMS_MAX 4096U

typedef struct Item {
        struct Item *next;
        uint64_t due_usec, retry_usec;
        bool told;
        char name[];
} Item;

struct Collector {
        const World *world;
        CollectorHandlers handlers;
        Item *items;
        size_t n_items;
        sd_event_source *timer;
        bool pending; /* the helper is at it */
        bool orphaned; /* freed while the helper was at it */
};

static int collector_arm(Collector *c);

int collector_new(const World *world, const CollectorHandlers *handlers, Collector **ret) {
        Collector *c;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->world = world;
        c->handlers = *handlers;
        *ret = c;
        return 0;
}

static void collector_remove_item(Collector *c, const char *name) {
        for (Item **i = &c->items; *i; i = &(*i)->next)
                if (streq((*i)->name, name)) {
                        Item *gone = *i;

                        *i = gone->next;
                        c->n_items--;
                        free(gone);
                        return;
                }
}

Collector *collector_free(Collector *c) {
        if (!c)
                return NULL;
        while (c->items)
                collector_remove_item(c, c->items->name);
        c->timer = sd_event_source_disable_unref(c->timer);
        if (c->pending)
                c->orphaned = true; /* the helper's answer frees it */
        else
                free(c);
        return NULL;
}

size_t collector_pending(const Collector *c) {
        return c->n_items;
}

static Item *collector_find(Collector *c, const char *name) {
        for (Item *i = c->items; i; i = i->next)
                if (streq(i->name, name))
                        return i;
        return NULL;
}

static void item_postpone(Item *i, uint64_t now) {
        i->due_usec = now + i->retry_usec;
        i->retry_usec = i->retry_usec * 2 < RETRY_LAST_USEC ? i->retry_usec * 2 : RETRY_LAST_USEC;
}

typedef struct Removal {
        Collector *collector;
        char name[];
} Removal;

static void on_removed(int r, const char *text, void *userdata) {
        _cleanup_free_ Removal *removal = userdata;
        Collector *c = removal->collector;
        Item *item;

        c->pending = false;
        if (c->orphaned) {
                free(c);
                return;
        }
        item = collector_find(c, removal->name);
        if (r >= 0) {
                audit_send(c->world->audit, ({
                                   AuditRecord *record = audit_begin(KLPD_MESSAGE_UNLOADED, "unloaded");
                                   audit_field(record, "KLPD_PATCH", removal->name);
                                   record;
                           }),
                           LOG_INFO, "Removed livepatch module '%s', which was no longer used",
                           removal->name);
                c->handlers.removed(removal->name, c->handlers.userdata);
        }
        if (item && (r >= 0 || r == -ENOENT))
                collector_remove_item(c, removal->name);
        else if (item) {
                if (!item->told)
                        log_warning("Module '%s' is no longer used, but can't be removed: %s. Trying again "
                                    "later",
                                    item->name, *text ? text : strerror(-r));
                item->told = true;
                item_postpone(item, now_usec(CLOCK_MONOTONIC));
        }
        (void) collector_arm(c);
}

static int collector_unload(Collector *c, const Item *item) {
        Hands *hands = c->world->hands;
        Removal *removal;
        size_t n = strlen(item->name);
        int r;

        removal = malloc(sizeof(*removal) + n + 1);
        if (!removal)
                return -ENOMEM;
        removal->collector = c;
        memcpy(removal->name, item->name, n + 1);
        r = hands->vtable->unload(hands, item->name, on_removed, removal);
        if (r < 0) {
                free(removal);
                return r;
        }
        c->pending = true;
        return 0;
}

/* One that is due: remove, forget, or look again later. */
static void collector_visit(Collector *c, Item *item, uint64_t now) {
        const uint32_t pinned = KLP_SHIM_PATCH_ORPHAN | KLP_SHIM_PATCH_FORCED;
        const uint32_t used = KLP_SHIM_PATCH_ENABLED | KLP_SHIM_PATCH_TRANSITION;
        Hands *hands = c->world->hands;
        KernelPatch kernel;
        int r;

        r = hands->vtable->read_patch(hands, item->name, &kernel);
        if (r < 0) {
                item_postpone(item, now);
                return;
        }
        if (!kernel.module || kernel.enabled || kernel.transition ||
            (kernel.registered && (kernel.flags & used))) {
                collector_remove_item(c, item->name);
                return;
        }
        if (kernel.registered && (kernel.flags & pinned)) {
                log_notice("Module '%s' stays loaded: %s", item->name,
                           kernel.flags & KLP_SHIM_PATCH_FORCED ? "a forced transition has pinned it" :
                                                                  "it holds an orphaned state");
                collector_remove_item(c, item->name);
                return;
        }
        if (kernel.listed || kernel.refcount != 0 ||
            (kernel.registered && (kernel.flags & KLP_SHIM_PATCH_RETIRING)) || collector_unload(c, item) < 0)
                item_postpone(item, now);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        Collector *c = userdata;
        Item *next;

        if (c->handlers.busy(c->handlers.userdata)) {
                for (Item *i = c->items; i; i = i->next)
                        if (i->due_usec <= now)
                                i->due_usec = now + RETRY_FIRST_USEC;
        } else
                for (Item *i = c->items; i && !c->pending; i = next) {
                        next = i->next;
                        if (i->due_usec <= now)
                                collector_visit(c, i, now);
                }
        return collector_arm(c);
}

static int collector_arm(Collector *c) {
        uint64_t first = UINT64_MAX;
        int r;

        c->timer = sd_event_source_disable_unref(c->timer);
        if (c->pending)
                return 0; /* armed again by its answer */
        for (const Item *i = c->items; i; i = i->next)
                if (i->due_usec < first)
                        first = i->due_usec;
        if (first == UINT64_MAX)
                return 0;
        r = sd_event_add_time(c->world->event, &c->timer, CLOCK_MONOTONIC, first, 0, on_timer, c);
        if (r < 0) {
                log_error("Can't watch the time for modules to be removed: %s", strerror(-r));
                return 0;
        }
        return sd_event_source_set_description(c->timer, "collector");
}

int collector_add(Collector *c, const char *module) {
        uint64_t due = now_usec(CLOCK_MONOTONIC) + c->world->config->module_grace_usec;
        size_t n = strlen(module);
        Item *item;

        item = collector_find(c, module);
        if (!item) {
                if (c->n_items >= ITEMS_MAX)
                        return -E2BIG;
                item = malloc(sizeof(*item) + n + 1);
                if (!item)
                        return -ENOMEM;
                memcpy(item->name, module, n + 1);
                item->next = c->items;
                c->items = item;
                c->n_items++;
        }
        item->due_usec = due;
        item->retry_usec = RETRY_FIRST_USEC;
        item->told = false;
        return collector_arm(c);
}
