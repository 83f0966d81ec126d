/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See link.h. Whatever klpd signals only ever leads to one thing: a moment later everything is asked for again,
 * and handed on when the answers are there. What it wants is handed on as soon as that is known.
 */
#include <stdio.h>
#include <sys/utsname.h>
#include <systemd/sd-bus.h>

#include "klpd/fleet-slot.h"
#include "klpd/klp-fleet/etcd-message.h"
#include "klpd/klp-fleet/host-status.h"
#include "klpd/klp-fleet/link.h"
#include "klpd/klp-fleet/wait.h"
#include "klpd/log.h"

#define KLPD_NAME "org.klpd1"
#define KLPD_PATH "/org/klpd1"
#define ASK_USEC UINT64_C(100000)
#define CONNECT_USEC UINT64_C(5000000)
#define ANSWER_USEC UINT64_C(25000000)

enum { ASK_MANAGER, ASK_FLEET, ASK_SLOT, ASK_BLOCKING, _ASK_MAX };

struct Link {
        sd_event *event;
        const char *id;
        LinkHandlers handlers;
        sd_bus *bus;
        sd_event_source *timer; /* to ask, or to connect */
        sd_bus_slot *asked[_ASK_MAX], *granting;
        sd_bus_message *answers[_ASK_MAX];
        unsigned pending; /* bits of asked */
        bool again;       /* something has changed meanwhile */
};

static void set_timer(Link *l, uint64_t usec) {
        if (wait_start(l->timer, usec) < 0)
                log_error("Can't set a timer");
}

/* Nothing that was asked is waited for any more, and nothing that was answered counts. */
static void forget(Link *l) {
        for (unsigned i = 0; i < _ASK_MAX; i++) {
                l->asked[i] = sd_bus_slot_unref(l->asked[i]);
                l->answers[i] = sd_bus_message_unref(l->answers[i]);
        }
        l->pending = 0;
        l->again = false;
        if (l->granting) {
                l->granting = sd_bus_slot_unref(l->granting);
                l->handlers.on_granted(false, l->handlers.userdata);
        }
        l->handlers.on_wanted(NULL, l->handlers.userdata);
}

static void ask_soon(Link *l) {
        int enabled = SD_EVENT_OFF;

        if (l->pending) {
                l->again = true;
                return;
        }
        (void) sd_event_source_get_enabled(l->timer, &enabled);
        if (enabled == SD_EVENT_OFF)
                set_timer(l, ASK_USEC);
}

/* ---- answers ---- */

/* The member Wanted of GetAll's reply, or NULL. */
static const char *find_wanted(sd_bus_message *m) {
        const char *key, *value, *contents;
        char type;

        if (sd_bus_message_rewind(m, true) < 0 || sd_bus_message_enter_container(m, 'a', "{sv}") < 0)
                return NULL;
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                if (sd_bus_message_read_basic(m, 's', &key) < 0)
                        return NULL;
                if (streq(key, "Wanted"))
                        return sd_bus_message_peek_type(m, &type, &contents) > 0 && type == 'v' &&
                                               streq(contents, "s") &&
                                               sd_bus_message_read(m, "v", "s", &value) > 0
                                       ? value
                                       : NULL;
                if (sd_bus_message_skip(m, "v") < 0 || sd_bus_message_exit_container(m) < 0)
                        return NULL;
        }
        return NULL;
}

static void publish(Link *l) {
        _cleanup_free_ char *text = NULL;
        struct utsname uts = {};
        StatusParts parts = {
                .id = l->id,
                .hostname = uts.nodename,
                .manager = l->answers[ASK_MANAGER],
                .fleet = l->answers[ASK_FLEET],
                .slot = l->answers[ASK_SLOT],
                .blockers = l->answers[ASK_BLOCKING],
        };
        int r;

        (void) uname(&uts);
        if (!parts.manager)
                return;
        r = status_format(&parts, ETCD_STATUS_MAX, &text);
        if (r < 0)
                log_warning("What klpd says of this host can't be published: %s", strerror(-r));
        else
                l->handlers.on_status(text, l->handlers.userdata);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Link *l = userdata;
        unsigned i = 0;

        while (i < _ASK_MAX && l->asked[i] != sd_bus_get_current_slot(l->bus))
                i++;
        if (i == _ASK_MAX)
                return 0;
        l->asked[i] = sd_bus_slot_unref(l->asked[i]);
        l->pending &= ~(1U << i);
        sd_bus_message_unref(l->answers[i]);
        l->answers[i] = sd_bus_message_is_method_error(m, NULL) ? NULL : sd_bus_message_ref(m);
        if (i == ASK_SLOT)
                l->handlers.on_wanted(l->answers[i] ? find_wanted(l->answers[i]) : NULL, l->handlers.userdata);
        if (l->pending)
                return 0;
        publish(l);
        if (l->again) {
                l->again = false;
                ask_soon(l);
        }
        return 0;
}

static int ask(Link *l, unsigned i, const char *interface, const char *member, const char *argument) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = sd_bus_message_new_method_call(l->bus, &m, KLPD_NAME, KLPD_PATH, interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = argument ? sd_bus_message_append(m, "s", argument) : sd_bus_message_append(m, "b", false);
        if (r >= 0)
                r = sd_bus_call_async(l->bus, &l->asked[i], m, on_answer, l, ANSWER_USEC);
        if (r >= 0)
                l->pending |= 1U << i;
        return r;
}

static void ask_all(Link *l) {
        static const struct {
                const char *interface, *member, *argument;
        } what[] = {
                [ASK_MANAGER] = { "org.freedesktop.DBus.Properties", "GetAll", "org.klpd1.Manager" },
                [ASK_FLEET] = { "org.freedesktop.DBus.Properties", "GetAll", "org.klpd1.Fleet" },
                [ASK_SLOT] = { "org.freedesktop.DBus.Properties", "GetAll", SLOT_INTERFACE },
                [ASK_BLOCKING] = { "org.klpd1.Manager", "ListBlocking", NULL },
        };

        for (unsigned i = 0; i < ELEMENTSOF(what); i++) {
                int r = ask(l, i, what[i].interface, what[i].member, what[i].argument);

                if (r < 0)
                        log_warning("Can't ask klpd: %s", strerror(-r));
        }
}

static int on_granted(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Link *l = userdata;

        l->granting = sd_bus_slot_unref(l->granting);
        if (e && !streq(e->name, ERROR_NO_SUCH_SLOT))
                log_warning("klpd doesn't take the slot: %s", e->message ?: e->name);
        if (e)
                ask_soon(l); /* it wants something else */
        l->handlers.on_granted(!e, l->handlers.userdata);
        return 0;
}

int link_grant(Link *l, const char *token) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        if (!l->bus)
                return -ENOTCONN;
        r = sd_bus_message_new_method_call(l->bus, &m, KLPD_NAME, KLPD_PATH, SLOT_INTERFACE, "Grant");
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", token);
        if (r >= 0)
                r = sd_bus_call_async(l->bus, &l->granting, m, on_granted, l, ANSWER_USEC);
        return r;
}

/* ---- signals, connection ---- */

static int on_change(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        ask_soon(userdata);
        return 0;
}

static int on_owner(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *before, *after;
        Link *l = userdata;

        if (sd_bus_message_read(m, "sss", &name, &before, &after) < 0)
                return 0;
        forget(l);
        if (*after)
                ask_soon(l);
        return 0;
}

static int on_disconnected(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Link *l = userdata;

        log_notice("The bus is gone");
        forget(l);
        sd_bus_close(l->bus);
        sd_bus_detach_event(l->bus);
        l->bus = sd_bus_unref(l->bus);
        set_timer(l, CONNECT_USEC);
        return 0;
}

static int connect_bus(Link *l) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system(&bus);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local",
                                              "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                              "Disconnected", on_disconnected, NULL, l);
        if (r >= 0)
                r = sd_bus_add_match_async(bus, NULL,
                                           "type='signal',sender='org.freedesktop.DBus',"
                                           "interface='org.freedesktop.DBus',member='NameOwnerChanged',"
                                           "arg0='" KLPD_NAME "'",
                                           on_owner, NULL, l);
        /* Properties, and whatever else it says. */
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, KLPD_NAME, KLPD_PATH, NULL, NULL, on_change, NULL, l);
        if (r >= 0)
                r = sd_bus_attach_event(bus, l->event, SD_EVENT_PRIORITY_NORMAL);
        if (r < 0)
                return r;
        l->bus = TAKE_PTR(bus);
        ask_soon(l);
        return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Link *l = userdata;
        int r;

        if (l->bus) {
                ask_all(l);
                return 0;
        }
        r = connect_bus(l);
        if (r < 0) {
                log_debug("Can't connect to the bus: %s", strerror(-r));
                set_timer(l, CONNECT_USEC);
        }
        return 0;
}

int link_new(sd_event *event, const char *id, const LinkHandlers *handlers, Link **ret) {
        Link *l = calloc(1, sizeof(*l));
        int r;

        if (!l)
                return -ENOMEM;
        l->event = sd_event_ref(event);
        l->id = id;
        l->handlers = *handlers;
        r = wait_new(event, CLOCK_MONOTONIC, 10000, "klpd", on_timer, l, &l->timer);
        if (r >= 0)
                r = wait_start(l->timer, 0);
        if (r < 0) {
                link_free(l);
                return r;
        }
        *ret = l;
        return 0;
}

Link *link_free(Link *l) {
        if (!l)
                return NULL;
        for (unsigned i = 0; i < _ASK_MAX; i++) {
                sd_bus_slot_unref(l->asked[i]);
                sd_bus_message_unref(l->answers[i]);
        }
        sd_bus_slot_unref(l->granting);
        sd_event_source_disable_unref(l->timer);
        if (l->bus) {
                sd_bus_detach_event(l->bus);
                sd_bus_flush_close_unref(l->bus);
        }
        sd_event_unref(l->event);
        free(l);
        return NULL;
}
