/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See bus-fixture.h. */
#include "bus-fixture.h"

static const char bus_config[] =
                "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN\" "
                "\"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">\n"
                "<busconfig><type>system</type><listen>unix:path=%s/bus</listen><auth>EXTERNAL</auth>"
                "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow "
                "send_type=\"method_call\"/>"
                "<allow send_type=\"signal\"/><allow send_requested_reply=\"true\"/><allow "
                "receive_type=\"signal\"/>"
                "<allow receive_type=\"method_call\"/><allow receive_type=\"method_return\"/><allow "
                "receive_type=\"error\"/>"
                "</policy></busconfig>\n";

Tree bus_tree;
struct utsname bus_uts;
static pid_t dbus_daemon, fake_klpd;

/* Starts a program whose standard output is read until its first line that begins with expected. */
static pid_t start(char *const argv[], const char *expected) {
        char line[512];
        FILE *output;
        int fds[2];
        pid_t pid;

        assert_int_equal(pipe(fds), 0);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                (void) dup2(fds[1], STDOUT_FILENO);
                (void) close(fds[0]);
                (void) close(fds[1]);
                (void) execvp(argv[0], argv);
                _exit(127);
        }
        close(fds[1]);
        output = fdopen(fds[0], "r");
        assert_non_null(output);
        do
                assert_non_null(fgets(line, sizeof(line), output));
        while (strncmp(line, expected, strlen(expected)) != 0);
        /* Left open: a program that writes more would get SIGPIPE. It ends with this process. */
        return pid;
}

void bus_start_daemon(void) {
        char path[128], text[2048], address[160];

        tree_new(&bus_tree);
        assert_int_equal(chmod(bus_tree.path, 0755), 0); /* for callers of another user */
        assert_int_equal(uname(&bus_uts), 0);
        (void) snprintf(text, sizeof(text), bus_config, bus_tree.path);
        tree_write(&bus_tree, "bus.conf", text);
        tree_write(&bus_tree, "var/lib/README", "klpd makes its directory itself\n");
        tree_write(&bus_tree, "run/klpd/README", "tmpfiles.d makes it\n");
        tree_write(&bus_tree, "var/lib/prometheus/node-exporter/README", "for klpd.prom\n");
        (void) snprintf(path, sizeof(path), "--config-file=%s/bus.conf", bus_tree.path);
        dbus_daemon = start((char *[]){(char *) "dbus-daemon", path, (char *) "--nofork",
                                       (char *) "--print-address", NULL},
                            "unix:");
        (void) snprintf(address, sizeof(address), "unix:path=%s/bus", bus_tree.path);
        assert_int_equal(setenv("DBUS_SYSTEM_BUS_ADDRESS", address, true), 0);
}

void bus_stop_daemon(void) {
        assert_int_equal(kill(dbus_daemon, SIGTERM), 0);
        (void) waitpid(dbus_daemon, NULL, 0);
        tree_done(&bus_tree);
}

void bus_kill_daemon(void) {
        siginfo_t info;

        assert_int_equal(kill(dbus_daemon, SIGKILL), 0);
        assert_int_equal(waitid(P_PID, (id_t) dbus_daemon, &info, WEXITED | WNOWAIT), 0);
}

int bus_start(const char *program) {
        bus_start_daemon();
        fake_klpd = start((char *[]) { (char *) program, bus_tree.path, NULL }, "ready 0");
        return 0;
}

void bus_kill_and_restart(const char *program) {
        assert_int_equal(kill(fake_klpd, SIGKILL), 0);
        assert_int_equal(waitpid(fake_klpd, NULL, 0), fake_klpd);
        fake_klpd = start((char *[]) { (char *) program, bus_tree.path, NULL }, "ready 0");
}

int bus_stop(void) {
        int status = 0;

        assert_int_equal(kill(fake_klpd, SIGTERM), 0);
        assert_int_equal(waitpid(fake_klpd, &status, 0), fake_klpd);
        bus_stop_daemon();
        assert_int_equal(status, 0); /* also: no leak, where the sanitizers look for them */
        return 0;
}

void bus_add_patch(const char *name, const char *rest) {
        char path[256], text[1024];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/%s.ko", bus_uts.release, name);
        (void) snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kernel\": \"%s\"%s%s}", name,
                        bus_uts.release, *rest ? ", " : "", rest);
        tree_write(&bus_tree, path, text);
}

sd_bus *bus_connect(void) {
        sd_bus *bus = NULL;

        assert_true(sd_bus_open_system(&bus) >= 0);
        return bus;
}

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *path, *result, *name, *message, *plan;
        Removed *removed = userdata;
        uint32_t id;

        assert_true(sd_bus_message_read(m, "uossss", &id, &path, &result, &name, &message, &plan) >= 0);
        (void) snprintf(removed->path, sizeof(removed->path), "%s", path);
        (void) snprintf(removed->result, sizeof(removed->result), "%s", result);
        (void) snprintf(removed->error, sizeof(removed->error), "%s", name);
        (void) snprintf(removed->message, sizeof(removed->message), "%s", message);
        (void) snprintf(removed->plan, sizeof(removed->plan), "%s", plan);
        removed->seen = true;
        return 0;
}

void bus_watch(sd_bus *bus, Removed *removed) {
        *removed = (Removed) {};
        assert_true(sd_bus_match_signal(bus, NULL, DESTINATION, PATH, INTERFACE, "JobRemoved", on_removed,
                                        removed) >= 0);
}

void bus_wait_removed(sd_bus *bus, Removed *removed, const char *path) {
        for (unsigned i = 0; i < 4000 && !(removed->seen && streq(removed->path, path)); i++) {
                int r = sd_bus_process(bus, NULL);

                assert_true(r >= 0);
                if (r == 0)
                        assert_true(sd_bus_wait(bus, 5000) >= 0);
        }
        assert_true(removed->seen);
        assert_string_equal(removed->path, path);
}

const char *bus_error_of(int r, sd_bus_error *error) {
        static char name[128];

        (void) snprintf(name, sizeof(name), "%s", r >= 0 ? "(succeeded)" : error->name ?: "(no error)");
        sd_bus_error_free(error);
        return name;
}

int bus_apply(sd_bus *bus, const char *patch, char *path, size_t size, sd_bus_error *error) {
        sd_bus_message *reply = NULL;
        const char *job;
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Apply", error, &reply, "sa{sv}", patch,
                               0);
        if (r >= 0) {
                assert_true(sd_bus_message_read(reply, "o", &job) >= 0);
                (void) snprintf(path, size, "%s", job);
        }
        sd_bus_message_unref(reply);
        return r;
}

int bus_request(sd_bus *bus, const char *method, const char *patch, char *path, size_t size) {
        sd_bus_message *reply = NULL;
        const char *job;
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, NULL, &reply, "sa{sv}", patch, 0);
        if (r >= 0) {
                assert_true(sd_bus_message_read(reply, "o", &job) >= 0);
                (void) snprintf(path, size, "%s", job);
        }
        sd_bus_message_unref(reply);
        return r;
}

int bus_cancel(sd_bus *bus, const char *path, sd_bus_error *error) {
        return sd_bus_call_method(bus, DESTINATION, path, "org.klpd1.Job", "Cancel", error, NULL, "");
}

/* Runs to its end; the result is in removed. */
void bus_complete(sd_bus *bus, const char *method, const char *patch, Removed *removed) {
        char path[64];

        removed->seen = false;
        assert_true(bus_request(bus, method, patch, path, sizeof(path)) >= 0);
        bus_wait_removed(bus, removed, path);
}
