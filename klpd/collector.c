/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See collector.h. One list, one timer set to the earliest of its times, one removal at a time; idle
 * means asleep. */
#include <syslog.h>

#include <stdio.h>

#include "klpd/collector-record.h"
#include "klpd/collector.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/state-file.h"
#include "klpd/transaction.h"

#define RETRY_FIRST_USEC UINT64_C(5000000)
#define RETRY_LAST_USEC UINT64_C(3600000000)
#define NEVER UINT64_MAX

typedef struct Item {
        struct Item *next;
        uint64_t due_usec, retry_usec; /* due_usec is NEVER: it stays for good */
        char *why;                     /* it was due and couldn't be removed; or NULL */
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
                        free(gone->why);
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

/* ---- for the next klpd ---- */

static void collector_save(Collector *c) {
        _cleanup_free_ CollectorEntry *entries = calloc(c->n_items + 1, sizeof(*entries));
        _cleanup_free_ char *text = NULL;
        size_t n = 0;
        int r;

        if (!*c->world->boot_id)
                return; /* tests of other things */
        for (const Item *i = c->items; entries && i; i = i->next) {
                (void) snprintf(entries[n].name, sizeof(entries[n].name), "%s", i->name);
                entries[n++].due_usec = i->due_usec == NEVER ? 0 : i->due_usec; /* the next one sees for itself */
        }
        r = entries ? collector_record_format(c->world->boot_id, entries, n, &text) : -ENOMEM;
        if (r >= 0)
                r = state_file_write(c->world->root_fd, COLLECTOR_RECORD_PATH, text, strlen(text), 0600);
        if (r < 0)
                log_warning("Can't write /" COLLECTOR_RECORD_PATH
                            ": %s. The modules that klpd still has to remove "
                            "stay loaded if it is restarted",
                            strerror(-r));
}

/* Newest first, as they are added: the order doesn't matter. */
static int collector_insert(Collector *c, const char *module, uint64_t due) {
        size_t n = strlen(module);
        Item *item;

        if (c->n_items >= COLLECTOR_ITEMS_MAX)
                return -E2BIG;
        item = malloc(sizeof(*item) + n + 1);
        if (!item)
                return -ENOMEM;
        *item = (Item) { .next = c->items, .due_usec = due, .retry_usec = RETRY_FIRST_USEC };
        memcpy(item->name, module, n + 1);
        c->items = item;
        c->n_items++;
        return 0;
}

void collector_load(Collector *c) {
        _cleanup_free_ CollectorEntry *entries = NULL;
        _cleanup_free_ char *text = NULL;
        size_t size, n = 0;
        int r;

        r = state_file_read(c->world->root_fd, COLLECTOR_RECORD_PATH, COLLECTOR_RECORD_BYTES_MAX, &text,
                            &size);
        if (r == -ENOENT)
                return;
        if (r >= 0)
                r = collector_record_parse(text, size, c->world->boot_id, &entries, &n);
        for (size_t i = 0; r >= 0 && i < n; i++)
                if (!collector_find(c, entries[i].name))
                        r = collector_insert(c, entries[i].name, entries[i].due_usec);
        if (r < 0 && r != -ESTALE)
                log_warning("Can't use /" COLLECTOR_RECORD_PATH
                            ": %s. Modules that an earlier klpd still had to remove "
                            "stay loaded",
                            strerror(-r));
        (void) collector_arm(c);
}

/* Why it stays loaded, for now or for good: shown from now on, recorded once for each module. */
static void collector_tell(Collector *c, Item *item, const char *why, bool for_good) {
        AuditRecord *record;

        if (free_and_strdup(&item->why, why) < 0)
                log_error("Out of memory");
        if (item->told)
                return;
        item->told = true;
        record = audit_begin(KLPD_MESSAGE_KEPT, "kept");
        audit_field(record, "KLPD_PATCH", item->name);
        audit_field(record, "KLPD_RESULT", for_good ? "for-good" : "later");
        audit_send(c->world->audit, record, LOG_WARNING,
                   "Module '%s' is no longer used, but can't be removed: %s. %s", item->name, why,
                   for_good ? "It stays until the next boot" : "Trying again later");
        c->handlers.kept(item->name, c->handlers.userdata);
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
        r = hands_unload_result(c->world->hands, removal->name, r);
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
        if (item && (r >= 0 || r == -ENOENT)) {
                collector_remove_item(c, removal->name);
                collector_save(c);
        } else if (item) {
                collector_tell(c, item, *text ? text : strerror(-r), false);
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

/* Who holds it: other modules by name; anything else has none that the kernel tells. */
static void describe_holders(int root_fd, const char *name, int refcount, char *text, size_t size) {
        char path[sizeof("sys/module//holders") + PATCH_NAME_MAX + 1];
        _cleanup_closedir_ DIR *dir = NULL;
        size_t used = 0;
        struct dirent *e;

        (void) snprintf(path, sizeof(path), "sys/module/%s/holders", name);
        if (sysfs_open_dir(root_fd, path, &dir) >= 0)
                while (used < size && (e = readdir(dir)))
                        if (e->d_name[0] != '.')
                                used += (size_t) snprintf(text + used, size - used, "%s'%.*s'",
                                                          used > 0 ? ", " : "used by module ", PATCH_NAME_MAX,
                                                          e->d_name);
        if (used == 0)
                (void) snprintf(text, size,
                                "its reference count is %d (a file of it is open, or the kernel still uses it)",
                                refcount);
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
                collector_tell(c, item,
                               kernel.flags & KLP_SHIM_PATCH_FORCED ? "a forced transition has pinned it" :
                                                                      "it holds an orphaned state", true);
                item->due_usec = NEVER;
                return;
        }
        if (kernel.listed || kernel.refcount != 0 ||
            (kernel.registered && (kernel.flags & KLP_SHIM_PATCH_RETIRING))) {
                char why[256];

                if (kernel.listed)
                        (void) snprintf(why, sizeof(why), "it is still in /sys/kernel/livepatch");
                else if (kernel.refcount != 0)
                        describe_holders(c->world->root_fd, item->name, kernel.refcount, why, sizeof(why));
                else
                        (void) snprintf(why, sizeof(why), "the kernel isn't done with it");
                collector_tell(c, item, why, false);
                item_postpone(item, now);
        } else if (collector_unload(c, item) < 0)
                item_postpone(item, now);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        uint64_t now = now_usec(CLOCK_MONOTONIC);
        Collector *c = userdata;
        size_t n = c->n_items;
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
        if (c->n_items != n)
                collector_save(c);
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
        if (first == NEVER)
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
        Item *item = collector_find(c, module);
        int r;

        if (item) {
                item->due_usec = due;
                item->retry_usec = RETRY_FIRST_USEC;
                item->told = false;
                item->why = (free(item->why), NULL);
        } else {
                r = collector_insert(c, module, due);
                if (r < 0)
                        return r;
        }
        collector_save(c);
        return collector_arm(c);
}

const char *collector_why(const Collector *c, const char *module) {
        for (const Item *i = c->items; i; i = i->next)
                if (patch_name_equal(i->name, module))
                        return i->why;
        return NULL;
}

int collector_foreach_kept(const Collector *c, int (*callback)(const char *module, const char *why, void *userdata),
                           void *userdata) {
        Hands *hands = c->world->hands;
        KernelPatch kernel;
        int r = 0;

        for (const Item *i = c->items; r >= 0 && i; i = i->next)
                if (i->why && hands->vtable->read_patch(hands, i->name, &kernel) >= 0 && kernel.module &&
                    !(kernel.listed && kernel.enabled))
                        r = callback(i->name, i->why, userdata);
        return r;
}
