/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's connections: to the system bus, made at the start, and again, every two seconds, whenever it is lost, and
 * those that root makes to klpd (private-bus.h); klpd works on without any. The same objects are on all of them, and
 * signals go to all. What hangs on the system bus (calls that aren't answered, questions to polkit and systemd) ends
 * with it; what must survive begins anew on the next.
 */
#include "klpd/log.h"
#include "klpd/manager.h"

#define RECONNECT_USEC UINT64_C(2000000)

static int on_reconnect(sd_event_source *source, uint64_t usec, void *userdata);

static void manager_connect_later(Manager *m) {
        int r;

        m->bus_timer = sd_event_source_disable_unref(m->bus_timer);
        r = sd_event_add_time_relative(m->event, &m->bus_timer, CLOCK_MONOTONIC, RECONNECT_USEC, 0,
                                       on_reconnect, m);
        if (r < 0)
                log_error("Can't try again to connect to the bus: %s", strerror(-r));
}

static void manager_bus_outcome(Manager *m, int r) {
        void (*ready)(int r, void *userdata) = TAKE_PTR(m->bus_ready);

        if (ready)
                ready(r, m->bus_ready_userdata);
}

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;

        log_warning("The connection to the bus is lost");
        manager_connect_later(m);
        return 0;
}

static int on_name(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        Manager *m = userdata;
        uint32_t answer = 0;
        int r = 0;

        if (e) {
                log_error("The bus doesn't give us the name org.klpd1: %s", e->message ?: e->name);
                r = -EACCES;
        } else if (sd_bus_message_read(reply, "u", &answer) >= 0 && answer != 1 && answer != 4) {
                log_error("Somebody else owns the name org.klpd1 on the bus");
                r = -EEXIST;
        }
        manager_bus_outcome(m, r);
        return 0;
}

/* The objects of klpd: the manager, and the job under way. */
static int export(sd_bus *bus, void *userdata) {
        Manager *m = userdata;
        int r;

        r = sd_bus_add_object_vtable(bus, NULL, MANAGER_PATH, MANAGER_INTERFACE, manager_vtable, m);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, MANAGER_PATH, FLEET_INTERFACE, manager_fleet_vtable, m);
        if (r >= 0)
                r = sd_bus_add_object_vtable(bus, NULL, MANAGER_PATH, SLOT_INTERFACE, manager_slot_vtable, m);
        return r < 0 ? r : job_export(m, bus);
}

/* ---- signals ---- */

typedef struct Emission {
        Manager *manager;
        ManagerEmit emit;
        const void *data;
} Emission;

static int emit_private(sd_bus *bus, void *userdata) {
        const Emission *e = userdata;

        return e->emit(e->manager, bus, e->data);
}

void manager_emit(Manager *m, ManagerEmit emit, const void *data, const char *what) {
        Emission e = { .manager = m, .emit = emit, .data = data };
        int r;

        private_bus_emit(m->private, emit_private, &e);
        r = m->bus ? emit(m, m->bus, data) : 0;
        if (r < 0 && r != -ENOTCONN) /* the loss of the bus has been said */
                log_warning("Can't announce %s: %s", what, strerror(-r));
}

bool manager_is_connected(const Manager *m) {
        return m->bus || private_bus_n_connections(m->private) > 0;
}

/* ---- the system bus ---- */

static int manager_try_connect(Manager *m) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_open_system_with_description(&bus, "klpd");
        if (r >= 0)
                r = sd_bus_attach_event(bus, m->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = export(bus, m);
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local",
                                              "/org/freedesktop/DBus/Local", "org.freedesktop.DBus.Local",
                                              "Disconnected", on_disconnected, NULL, m);
        if (r >= 0)
                r = sd_bus_request_name_async(bus, NULL, "org.klpd1", 0, on_name, m);
        if (r < 0)
                return r;
        m->bus = TAKE_PTR(bus);
        manager_thaw(m);
        manager_health_connected(m);
        return 0;
}

void manager_disconnect(Manager *m) {
        m->bus_timer = sd_event_source_disable_unref(m->bus_timer);
        if (!m->bus)
                return;
        query_drop_bus(m, m->bus);
        /* Its calls won't be answered: what it froze is thawed over the next connection. */
        m->nudge = nudge_free(m->nudge);
        manager_health_disconnected(m);
        authorizer_clear(m->authorizer, m->bus);
        m->bus = sd_bus_flush_close_unref(m->bus);
}

static int on_reconnect(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;
        int r;

        manager_disconnect(m);
        r = manager_try_connect(m);
        if (r < 0) {
                manager_bus_outcome(m, r);
                manager_connect_later(m);
        }
        return 0;
}

int manager_connect(Manager *m, void (*ready)(int r, void *userdata), void *userdata) {
        int r;

        m->bus_ready = ready;
        m->bus_ready_userdata = userdata;
        r = private_bus_new(m->event, m->root_fd, export, m, &m->private);
        if (r < 0)
                log_warning("Can't listen on /" PRIVATE_BUS_PATH ", root has to take the system bus, too: %s",
                            strerror(-r));
        r = manager_try_connect(m);
        if (r < 0) {
                log_warning("Can't connect to the bus yet: %s", strerror(-r));
                manager_bus_outcome(m, r);
                manager_connect_later(m);
        }
        return 0;
}
