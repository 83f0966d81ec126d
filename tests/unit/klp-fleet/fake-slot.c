/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NOT klpd: a fake that owns org.klpd1 on a private bus, so that klp-fleet's side of klpd/fleet-slot.h can be
 * tested. What it wants at first is its argument; what it wants then comes in lines on standard input:
 *
 *   want TOKEN      Wanted becomes TOKEN ("want" alone: "")
 *   level N         Levels of org.klpd1.Manager and Level of org.klpd1.Fleet become N
 *
 * Each Grant that it gets is a line "grant TOKEN" on standard output, with " refused" behind it where that isn't
 * what it wants.
 */
#include <stdio.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "klpd/fleet-slot.h"

#define PATH "/org/klpd1"

typedef struct Fake {
        sd_event *event;
        sd_bus *bus;
        char wanted[256], line[256];
        size_t n;
        uint32_t level;
} Fake;

static void check(int r, const char *what) {
        if (r < 0) {
                fprintf(stderr, "fake-slot: %s: %s\n", what, strerror(-r));
                exit(1);
        }
}

static int get_wanted(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Fake *f = userdata;

        return sd_bus_message_append(reply, "s", f->wanted);
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Fake *f = userdata;

        return sd_bus_message_append(reply, "s", *f->wanted ? "wanted" : "none");
}

static int get_level(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Fake *f = userdata;

        return sd_bus_message_append(reply, "u", f->level);
}

static int get_levels(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Fake *f = userdata;

        return sd_bus_message_append(reply, "a{su}", 1, "acme/base", f->level);
}

static int on_grant(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const Fake *f = userdata;
        const char *token;
        int r;

        r = sd_bus_message_read(m, "s", &token);
        if (r < 0)
                return r;
        printf("grant %s%s\n", token, streq(token, f->wanted) ? "" : " refused");
        fflush(stdout);
        if (!streq(token, f->wanted))
                return sd_bus_error_set(error, ERROR_NO_SUCH_SLOT, "Nobody wants that one");
        return sd_bus_reply_method_return(m, NULL);
}

static int on_blocking(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_reply_method_return(m, "aa{sv}", 1, 3, "pid", "u", 42U, "comm", "s", "busy \"one\"",
                                          "patch-state", "i", -1);
}

static const sd_bus_vtable slot_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Wanted", "s", get_wanted, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("State", "s", get_state, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_METHOD("Grant", "s", "", on_grant, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Levels", "a{su}", get_levels, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_METHOD("ListBlocking", "b", "aa{sv}", on_blocking, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static const sd_bus_vtable fleet_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Level", "u", get_level, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_VTABLE_END,
};

static void command(Fake *f) {
        unsigned level;

        if (strncmp(f->line, "want", 4) == 0) {
                (void) strcpy(f->wanted, f->line[4] ? f->line + 5 : "");
                check(sd_bus_emit_properties_changed(f->bus, PATH, SLOT_INTERFACE, "Wanted", "State", NULL),
                      "signal");
        } else if (sscanf(f->line, "level %u", &level) == 1) {
                f->level = level;
                check(sd_bus_emit_properties_changed(f->bus, PATH, "org.klpd1.Manager", "Levels", NULL), "signal");
        } else
                check(-EINVAL, f->line);
}

static int on_input(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Fake *f = userdata;
        char c;

        if (read(fd, &c, 1) <= 0)
                return sd_event_exit(f->event, 0);
        if (c != '\n' && f->n < sizeof(f->line) - 1) {
                f->line[f->n++] = c;
                return 0;
        }
        f->line[f->n] = 0;
        f->n = 0;
        command(f);
        return 0;
}

int main(int argc, char *argv[]) {
        Fake f = { .level = 1 };

        (void) snprintf(f.wanted, sizeof(f.wanted), "%s", argc > 1 ? argv[1] : "");
        check(sd_event_default(&f.event), "event loop");
        check(sd_bus_open_system(&f.bus), "bus");
        check(sd_bus_add_object_vtable(f.bus, NULL, PATH, SLOT_INTERFACE, slot_vtable, &f), "object");
        check(sd_bus_add_object_vtable(f.bus, NULL, PATH, "org.klpd1.Manager", manager_vtable, &f), "object");
        check(sd_bus_add_object_vtable(f.bus, NULL, PATH, "org.klpd1.Fleet", fleet_vtable, &f), "object");
        check(sd_bus_attach_event(f.bus, f.event, 0), "bus");
        check(sd_event_add_io(f.event, NULL, STDIN_FILENO, 1 /* EPOLLIN */, on_input, &f), "input");
        check(sd_bus_request_name(f.bus, "org.klpd1", 0), "name");
        puts("ready");
        fflush(stdout);
        check(sd_event_loop(f.event), "loop");
        sd_bus_flush_close_unref(f.bus);
        sd_event_unref(f.event);
        return 0;
}
