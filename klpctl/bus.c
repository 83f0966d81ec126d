/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The connection to klpd: for root its own socket, which needs no bus and no third process between the two; for
 * everybody else, and where klpd isn't running, the system bus, which starts it. Calls have no time limit of their own,
 * since the user may be asked for a password meanwhile; a daemon that goes away ends the call.
 */
#include <unistd.h>

#include "agent.h"
#include "bus.h"

int ctl_error_status(const char *name) {
        if (streq_ptr(name, KLPD_ERROR "Refused"))
                return EXIT_REFUSED;
        if (streq_ptr(name, SD_BUS_ERROR_ACCESS_DENIED) ||
            streq_ptr(name, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED) ||
            streq_ptr(name, SD_BUS_ERROR_AUTH_FAILED))
                return EXIT_DENIED;
        if (streq_ptr(name, SD_BUS_ERROR_INVALID_ARGS))
                return EXIT_USAGE;

        return EXIT_FAILED;
}

int ctl_bus_error(Ctl *c, const sd_bus_error *error, int r, const char *what) {
        const char *name = error && error->name ? error->name : "";
        const char *message = error && error->message && *error->message ? error->message : strerror(-r);
        int status = ctl_error_status(name);

        if (streq(name, SD_BUS_ERROR_SERVICE_UNKNOWN) || streq(name, SD_BUS_ERROR_NAME_HAS_NO_OWNER) ||
            strncmp(name, "org.freedesktop.DBus.Error.Spawn.", 33) == 0 ||
            strncmp(name, "org.freedesktop.systemd1.", 25) == 0)
                ctl_error(c,
                          "Failed to %s: klpd is not running and could not be started (%s). "
                          "See 'systemctl status klpd.service'.",
                          what, message);
        else if (streq(name, SD_BUS_ERROR_NO_REPLY) || streq(name, SD_BUS_ERROR_DISCONNECTED) ||
                 r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE)
                ctl_error(c,
                          "Failed to %s: klpd went away before it answered (%s). What it was doing goes on "
                          "or back "
                          "when it is started again; see 'klpctl status'.",
                          what, message);
        else if (streq(name, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                ctl_error(c,
                          "Not authorised to %s: a password is needed, and nobody may be asked for one%s.",
                          what, c->args.no_ask_password ? " (--no-ask-password)" : "");
        else if (status == EXIT_DENIED)
                ctl_error(c, "Not authorised to %s: %s", what, message);
        else if (status == EXIT_REFUSED)
                ctl_error(c, "Refused to %s: %s", what, message);
        else
                ctl_error(c, "Failed to %s: %s", what, message);

        return ctl_failure(c, status, name, message);
}

/* Of a bus that is named in the environment it is meant that it be used. */
static int connect_privately(sd_bus **ret) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        if (geteuid() != 0 || getenv("DBUS_SYSTEM_BUS_ADDRESS"))
                return -EPERM;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, "unix:path=" KLPD_PRIVATE);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(bus);
        return 0;
}

int ctl_bus(Ctl *c) {
        int r;

        if (c->bus)
                return EXIT_DONE;

        r = connect_privately(&c->bus);
        if (r < 0)
                r = sd_bus_open_system_with_description(&c->bus, "klpctl");
        if (r < 0) {
                ctl_error(c, "Failed to connect to the system bus: %s", strerror(-r));
                return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_NO_SERVER, strerror(-r));
        }

        /* Where nobody may be asked, polkit is told so with every message. */
        (void) sd_bus_set_allow_interactive_authorization(c->bus, !c->args.no_ask_password);
        return EXIT_DONE;
}

int ctl_bus_new_call(Ctl *c, const char *member, sd_bus_message **ret) {
        int r;

        r = ctl_bus(c);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_message_new_method_call(c->bus, ret, KLPD_NAME, KLPD_PATH, KLPD_MANAGER, member);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");

        return EXIT_DONE;
}

int ctl_bus_send(Ctl *c, sd_bus_message *m, const char *what, sd_bus_message **ret_reply) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call(c->bus, m, UINT64_MAX, &error, ret_reply);
        if (r < 0)
                return ctl_bus_error(c, &error, r, what);

        return EXIT_DONE;
}

/* The answer of an argumentless method, or of one with a string. */
static int call(Ctl *c, const char *member, const char *argument, const char *what, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = ctl_bus_new_call(c, member, &m);
        if (r != EXIT_DONE)
                return r;

        if (argument) {
                r = sd_bus_message_append_basic(m, 's', argument);
                if (r < 0)
                        return ctl_bus_error(c, NULL, r, what);
        }

        return ctl_bus_send(c, m, what, ret);
}

/* r: of the function that was to read the answer. */
static int check_answer(Ctl *c, int r, const char *what) {
        if (r >= 0)
                return EXIT_DONE;

        ctl_error(c, "Failed to %s: klpd's answer can't be read: %s", what, strerror(-r));
        return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_INCONSISTENT_MESSAGE, strerror(-r));
}

int ctl_bus_get(Ctl *c, const char *member, const char *argument, const char *what, json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = call(c, member, argument, what, &reply);
        return r == EXIT_DONE ? check_answer(c, json_from_message(reply, ret), what) : r;
}

int ctl_bus_jobs(Ctl *c, json_object **ret) {
        static const char *const names[] = { "id", "path", "type", "patch", "step" };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = call(c, "ListJobs", NULL, "list jobs", &reply);
        return r == EXIT_DONE ? check_answer(c, json_from_structs(reply, names, ELEMENTSOF(names), ret), "list jobs") : r;
}

int ctl_bus_patches(Ctl *c, json_object **ret) {
        static const char *const names[] = {
                "name",  "vendor",   "stream",        "level", "cumulative", "kind",
                "state", "position", "in-repository", "fixes", "summary",    "severity",
                "kernel", "digest", "problem", "standing",
        };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = call(c, "ListPatches", NULL, "list patches", &reply);
        if (r != EXIT_DONE)
                return r;
        r = check_answer(c, json_from_structs(reply, names, ELEMENTSOF(names), ret), "list patches");
        if (r != EXIT_DONE)
                return r;
        for (size_t i = 0; i < json_length(*ret); i++) {
                json_object *patch = json_item(*ret, i);

                if (json_object_get_int(json_member(patch, "position")) < 0)
                        json_object_object_del(patch, "position");
        }
        return EXIT_DONE;
}

int ctl_bus_properties(Ctl *c, json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        const char *what = "read the state of klpd";
        int r;

        r = ctl_bus(c);
        if (r != EXIT_DONE)
                return r;

        r = sd_bus_call_method(c->bus, KLPD_NAME, KLPD_PATH, "org.freedesktop.DBus.Properties", "GetAll",
                               &error, &reply, "s", KLPD_MANAGER);
        if (r < 0)
                return ctl_bus_error(c, &error, r, what);

        return check_answer(c, json_from_message(reply, ret), what);
}

void ctl_agent(Ctl *c) {
        int r;

        if (c->args.no_ask_password || c->agent > 0)
                return;

        r = agent_start(&c->agent);
        if (r < 0)
                ctl_error(c, "Nobody can be asked for a password, the agent can't be started: %s",
                          strerror(-r));
}
