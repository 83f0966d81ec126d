/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's own socket: the same objects and signals as on the bus, for root alone, without the bus, and whatever those
 * who connect do. The kernel is played (fake-klpd.c). Argument: fake-klpd, from meson.
 */
#include "bus-fixture.h"

#include <grp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "klpd/private-bus.h"

#define INTROSPECTABLE "org.freedesktop.DBus.Introspectable"

static const char *program;

static void socket_path(char *path, size_t size) {
        (void) snprintf(path, size, "%s/" PRIVATE_BUS_PATH, bus_tree.path);
}

/* Only connected: says nothing. */
static int connect_raw(void) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        socket_path(address.sun_path, sizeof(address.sun_path));
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) >= 0)
                return fd;
        close(fd);
        return -errno;
}

static int connect_private(sd_bus **ret) {
        char address[256], path[200];
        sd_bus *bus = NULL;
        int r;

        socket_path(path, sizeof(path));
        (void) snprintf(address, sizeof(address), "unix:path=%s", path);
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                sd_bus_close_unref(bus);
                return r;
        }
        *ret = bus;
        return 0;
}

static sd_bus *private_client(void) {
        sd_bus *bus = NULL;

        assert_true(connect_private(&bus) >= 0);
        return bus;
}

/* Any call that is answered. */
static int ping(sd_bus *bus) {
        return sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListJobs", NULL, NULL, "");
}

static void need_root(void) {
        if (geteuid() != 0)
                skip();
}

static void test_a_request_is_carried_out_and_everybody_is_told(void **state) {
        Removed mine, theirs;
        sd_bus *bus, *other;
        char path[64];

        need_root();
        bus = private_client();
        other = bus_connect();
        bus_add_patch("private", "");
        bus_watch(bus, &mine);
        bus_watch(other, &theirs);
        assert_true(bus_request(bus, "Apply", "private", path, sizeof(path)) >= 0);
        bus_wait_removed(bus, &mine, path);
        assert_string_equal(mine.result, "done");
        bus_wait_removed(other, &theirs, path);
        assert_string_equal(theirs.result, "done");

        theirs.seen = mine.seen = false;
        assert_true(bus_request(other, "Disable", "private", path, sizeof(path)) >= 0);
        bus_wait_removed(bus, &mine, path);
        assert_string_equal(mine.result, "done");
        bus_wait_removed(other, &theirs, path);
        sd_bus_flush_close_unref(bus);
        sd_bus_flush_close_unref(other);
}

static void test_the_job_is_an_object_on_both(void **state) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *reason = NULL;
        sd_bus *bus, *other;
        const char *xml;
        Removed removed;
        char path[64];

        need_root();
        bus = private_client();
        other = bus_connect();
        bus_add_patch("stall_private", "\"tags\": [\"test.stall\"]");
        bus_watch(other, &removed);
        assert_true(bus_request(other, "Apply", "stall_private", path, sizeof(path)) >= 0);
        assert_true(sd_bus_get_property_string(bus, DESTINATION, path, "org.klpd1.Job", "Type", NULL, &reason) >= 0);
        assert_string_equal(reason, "apply");
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH "/job", INTROSPECTABLE, "Introspect", NULL, &reply,
                                       "") >= 0);
        assert_true(sd_bus_message_read(reply, "s", &xml) >= 0);
        assert_non_null(strstr(xml, strrchr(path, '/') + 1));
        assert_true(bus_cancel(bus, PATH "/job/_4000000000", NULL) < 0); /* that is none */
        assert_true(bus_cancel(bus, path, NULL) >= 0);
        bus_wait_removed(other, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        /* It is over: no object any more. */
        assert_true(bus_cancel(bus, path, NULL) < 0);
        assert_true(bus_cancel(other, path, NULL) < 0);
        sd_bus_flush_close_unref(bus);
        sd_bus_flush_close_unref(other);
}

/* ---- nobody but root ---- */

enum { CALL_DONE, CALL_NOT_CONNECTED, CALL_CLOSED };

static int ping_as_nobody(void) {
        int status;
        pid_t pid;

        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                sd_bus *bus = NULL;

                if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
                    setresuid(65534, 65534, 65534) < 0)
                        _exit(100);
                if (connect_private(&bus) < 0)
                        _exit(CALL_NOT_CONNECTED);
                _exit(ping(bus) < 0 ? CALL_CLOSED : CALL_DONE);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void test_only_root_gets_in(void **state) {
        struct stat st;
        char path[200];
        sd_bus *bus;

        need_root();
        socket_path(path, sizeof(path));
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        assert_int_equal(ping_as_nobody(), CALL_NOT_CONNECTED);
        /* Even where somebody has opened it: closed, before or after the first word. */
        assert_int_equal(chmod(path, 0666), 0);
        assert_int_not_equal(ping_as_nobody(), CALL_DONE);
        assert_int_equal(chmod(path, 0600), 0);
        bus = private_client();
        assert_true(ping(bus) >= 0);
        sd_bus_flush_close_unref(bus);
}

/* ---- bad ones ---- */

static bool is_closed(int fd) {
        char c;

        for (;;) {
                ssize_t n = read(fd, &c, 1);

                if (n <= 0)
                        return n == 0 || errno == ECONNRESET;
        }
}

static bool is_hung_up(int fd) {
        struct pollfd p = { .fd = fd };

        assert_true(poll(&p, 1, 0) >= 0);
        return p.revents & POLLHUP;
}

static void test_what_is_no_dbus_is_closed(void **state) {
        static const char *const texts[] = { "GET / HTTP/1.0\r\n\r\n", "\0AUTH EXTERNAL zz\r\nBEGIN\r\n\1\2\3\4",
                                             "\0AUTH ANONYMOUS\r\nBEGIN\r\n" };
        static const size_t sizes[] = { 18, 31, 24 };
        sd_bus *bus;

        need_root();
        bus = private_client();
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                int fd = connect_raw();

                assert_true(fd >= 0);
                assert_int_equal(write(fd, texts[i], sizes[i]), sizes[i]);
                assert_int_equal(shutdown(fd, SHUT_WR), 0);
                assert_true(is_closed(fd));
                close(fd);
        }
        assert_true(ping(bus) >= 0);
        sd_bus_flush_close_unref(bus);
}

/* Asks, and never reads what it is told. */
static void test_who_does_not_read_is_dropped_and_holds_up_nobody(void **state) {
        sd_bus *deaf, *bus;
        unsigned i;
        int r = 0;

        need_root();
        deaf = private_client();
        bus = private_client();
        assert_true(ping(deaf) >= 0);
        for (i = 0; r >= 0 && i < 100000; i++) {
                sd_bus_message *m = NULL;

                assert_true(sd_bus_message_new_method_call(deaf, &m, DESTINATION, PATH, INTROSPECTABLE,
                                                           "Introspect") >= 0);
                r = sd_bus_send(deaf, m, &(uint64_t) { 0 });
                if (r >= 0)
                        r = sd_bus_flush(deaf);
                sd_bus_message_unref(m);
                if (i % 100 == 0)
                        assert_true(ping(bus) >= 0);
        }
        print_message("dropped after %u calls\n", i);
        assert_true(r == -ECONNRESET || r == -EPIPE || r == -ENOTCONN);
        assert_true(i > PRIVATE_BUS_QUEUE_MAX);
        assert_true(ping(bus) >= 0);
        sd_bus_close_unref(deaf);
        sd_bus_flush_close_unref(bus);
}

static void test_there_is_room_for_so_many_and_again_when_one_has_gone(void **state) {
        int fds[PRIVATE_BUS_CONNECTIONS_MAX];
        sd_bus *bus = NULL;
        int fd, r = -EAGAIN;

        need_root();
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) {
                fds[i] = connect_raw();
                assert_true(fds[i] >= 0);
        }
        fd = connect_raw();
        assert_true(fd >= 0);
        assert_true(is_closed(fd));
        close(fd);
        for (size_t i = 0; i < ELEMENTSOF(fds); i++) { /* not because its time was over: theirs isn't */
                assert_false(is_hung_up(fds[i]));
                close(fds[i]);
        }
        /* klpd hears of that one by one. */
        for (unsigned i = 0; r < 0 && i < 10000; i++) {
                sd_bus_close_unref(bus);
                bus = NULL;
                r = connect_private(&bus);
                if (r >= 0)
                        r = ping(bus);
        }
        assert_true(r >= 0);
        sd_bus_flush_close_unref(bus);
}

/* ---- without a bus, and after a crash ---- */

static void test_a_new_klpd_takes_the_place_of_a_killed_one(void **state) {
        sd_bus *bus;

        need_root();
        bus = private_client();
        assert_true(ping(bus) >= 0);
        bus_kill_and_restart(program);
        assert_true(ping(bus) < 0); /* that was the old one's */
        sd_bus_close_unref(bus);
        bus = private_client();
        assert_true(ping(bus) >= 0);
        sd_bus_flush_close_unref(bus);
}

static void test_the_bus_may_go(void **state) {
        Removed removed;
        sd_bus *bus;

        need_root();
        bus = private_client();
        bus_watch(bus, &removed);
        bus_add_patch("unbussed", "");
        bus_kill_daemon();
        bus_complete(bus, "Apply", "unbussed", &removed);
        assert_string_equal(removed.result, "done");
        bus_complete(bus, "Disable", "unbussed", &removed);
        assert_string_equal(removed.result, "done");
        sd_bus_flush_close_unref(bus);
}

static int group_setup(void **state) {
        return bus_start(program);
}

static int group_teardown(void **state) {
        return bus_stop();
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_request_is_carried_out_and_everybody_is_told),
                cmocka_unit_test(test_the_job_is_an_object_on_both),
                cmocka_unit_test(test_only_root_gets_in),
                cmocka_unit_test(test_what_is_no_dbus_is_closed),
                cmocka_unit_test(test_who_does_not_read_is_dropped_and_holds_up_nobody),
                cmocka_unit_test(test_there_is_room_for_so_many_and_again_when_one_has_gone),
                cmocka_unit_test(test_a_new_klpd_takes_the_place_of_a_killed_one),
                cmocka_unit_test(test_the_bus_may_go),
        };

        if (argc < 2)
                return 2;
        program = argv[1];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
