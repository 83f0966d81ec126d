/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Many clients, and bad ones: 200 at once, one that doesn't read what it is sent, one that dies, and a polkit that
 * doesn't answer. Whatever they do, klpd answers the others. The bus is a real one (bus-fixture.h), the kernel is
 * played. Argument: fake-klpd, from meson.
 */
#include "bus-fixture.h"

#include <grp.h>

#define N_CLIENTS 200U
#define BUSY "org.klpd1.Error.Busy"
#define LIMITS "org.freedesktop.DBus.Error.LimitsExceeded"

static const char *program;

/* A call and what became of it. */
typedef struct Call {
        bool done;
        char error[128]; /* "": it was answered */
} Call;

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *unused) {
        Call *c = userdata;

        c->done = true;
        if (sd_bus_message_is_method_error(m, NULL))
                (void) snprintf(c->error, sizeof(c->error), "%s", sd_bus_message_get_error(m)->name);
        return 0;
}

static void send_call(sd_bus *bus, Call *call, const char *method, const char *types, ...) {
        sd_bus_message *m = NULL;
        va_list ap;

        *call = (Call) {};
        assert_true(sd_bus_message_new_method_call(bus, &m, DESTINATION, PATH, INTERFACE, method) >= 0);
        va_start(ap, types);
        assert_true(sd_bus_message_appendv(m, types, ap) >= 0);
        va_end(ap);
        assert_true(sd_bus_call_async(bus, NULL, m, on_answer, call, UINT64_MAX) >= 0);
        sd_bus_message_unref(m);
}

static void wait_until(sd_bus *bus, const bool *condition) {
        while (!*condition)
                if (sd_bus_process(bus, NULL) == 0)
                        assert_true(sd_bus_wait(bus, 60000000) > 0);
}

static const char *answer(sd_bus *bus, Call *call) {
        wait_until(bus, &call->done);
        return call->error;
}

/* dbus-daemon takes only so many connections that haven't said who they are. */
static sd_bus *client(void) {
        sd_bus *bus = bus_connect();
        const char *name;

        assert_true(sd_bus_get_unique_name(bus, &name) >= 0);
        return bus;
}

static void cancel_job(sd_bus *bus, const char *path) {
        assert_true(sd_bus_call_method(bus, DESTINATION, path, "org.klpd1.Job", "Cancel", NULL, NULL, "") >= 0);
}

/* The path of the job under way. */
static void the_job(sd_bus *bus, char *path, size_t size) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *job, *type, *patch, *step;
        uint32_t id;

        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListJobs", NULL, &reply, "") >= 0);
        assert_true(sd_bus_message_enter_container(reply, 'a', "(uosss)") > 0);
        assert_true(sd_bus_message_read(reply, "(uosss)", &id, &job, &type, &patch, &step) > 0);
        (void) snprintf(path, size, "%s", job);
}

static void test_of_two_hundred_requests_at_once_one_runs_and_the_others_are_told_which(void **state) {
        static Call requests[N_CLIENTS], lists[N_CLIENTS];
        sd_bus *clients[N_CLIENTS], *bus = client();
        unsigned n_accepted = 0;
        Removed removed;
        char path[64];

        bus_add_patch("stall_many", "\"tags\": [\"test.stall\"]");
        bus_watch(bus, &removed);
        for (unsigned i = 0; i < N_CLIENTS; i++)
                clients[i] = client();
        for (unsigned i = 0; i < N_CLIENTS; i++) {
                send_call(clients[i], &requests[i], "Apply", "sa{sv}", "stall_many", 0);
                send_call(clients[i], &lists[i], "ListJobs", "");
        }
        for (unsigned i = 0; i < N_CLIENTS; i++) {
                assert_string_equal(answer(clients[i], &lists[i]), "");
                if (*answer(clients[i], &requests[i]))
                        assert_string_equal(requests[i].error, BUSY);
                else
                        n_accepted++;
                sd_bus_flush_close_unref(clients[i]);
        }
        assert_int_equal(n_accepted, 1);
        the_job(bus, path, sizeof(path));
        cancel_job(bus, path);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        sd_bus_flush_close_unref(bus);
}

static void test_two_hundred_plans_at_once_are_all_made(void **state) {
        static Call plans[N_CLIENTS];
        sd_bus *clients[N_CLIENTS];

        bus_add_patch("planned", "");
        for (unsigned i = 0; i < N_CLIENTS; i++)
                clients[i] = client();
        for (unsigned i = 0; i < N_CLIENTS; i++)
                send_call(clients[i], &plans[i], "Plan", "ssa{sv}", "apply", "planned", 0);
        for (unsigned i = 0; i < N_CLIENTS; i++) {
                assert_string_equal(answer(clients[i], &plans[i]), "");
                sd_bus_flush_close_unref(clients[i]);
        }
}

static void test_one_client_has_a_share_of_what_may_wait(void **state) {
        sd_bus *greedy = client(), *bus = client();
        static Call calls[120];
        unsigned n_limit = 0;
        Call call;

        bus_add_patch("planned", "");
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                send_call(greedy, &calls[i], "Plan", "ssa{sv}", "apply", "planned", 0);
        assert_true(sd_bus_flush(greedy) >= 0);
        send_call(bus, &call, "Plan", "ssa{sv}", "apply", "planned", 0);
        assert_string_equal(answer(bus, &call), "");
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++)
                if (*answer(greedy, &calls[i])) {
                        assert_string_equal(calls[i].error, LIMITS);
                        n_limit++;
                }
        assert_true(n_limit <= ELEMENTSOF(calls) - 64);
        sd_bus_flush_close_unref(bus);
        sd_bus_flush_close_unref(greedy);
}

static void change(sd_bus *bus, Removed *removed, const char *method, const char *patch) {
        Call call;

        removed->seen = false;
        send_call(bus, &call, method, "sa{sv}", patch, 0);
        assert_string_equal(answer(bus, &call), "");
        wait_until(bus, &removed->seen);
        assert_string_equal(removed->result, "done");
}

static void test_a_client_that_does_not_read_holds_up_nobody(void **state) {
        sd_bus *deaf = client(), *bus = client();
        Removed removed, unread;
        static Call calls[100]; /* the bus itself bounds how many may be open */
        Call call;

        bus_watch(deaf, &unread);
        bus_watch(bus, &removed);
        bus_add_patch("heard", "");
        for (unsigned i = 0; i < ELEMENTSOF(calls); i++) {
                send_call(deaf, &calls[i], "Inventory", "");
                assert_true(sd_bus_flush(deaf) >= 0);
        }
        send_call(bus, &call, "Inventory", "");
        assert_string_equal(answer(bus, &call), "");
        change(bus, &removed, "Apply", "heard");
        change(bus, &removed, "Disable", "heard");
        sd_bus_close(deaf); /* it dies with everything still unread */
        sd_bus_unref(deaf);
        change(bus, &removed, "Apply", "heard");
        change(bus, &removed, "Disable", "heard");
        sd_bus_flush_close_unref(bus);
}

/* ---- a polkit that doesn't answer ---- */

/* A child of another user that asks n times and waits until it is killed; it says on the pipe how many of its calls
 * have been refused. */
static pid_t ask_as(uid_t uid, unsigned n, int output) {
        pid_t pid = fork();
        unsigned char n_refused = 0;
        static Call calls[64];
        sd_bus *bus = NULL;

        assert_true(pid >= 0 && n <= ELEMENTSOF(calls));
        if (pid > 0)
                return pid;
        if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0 ||
            sd_bus_open_system(&bus) < 0)
                _exit(100);
        for (unsigned i = 0; i < n; i++)
                send_call(bus, &calls[i], "Apply", "sa{sv}", "heard", 0);
        for (;;) {
                unsigned char n_now = 0;

                if (sd_bus_process(bus, NULL) == 0 && sd_bus_wait(bus, UINT64_MAX) < 0)
                        _exit(101);
                for (unsigned i = 0; i < n; i++)
                        n_now += streq(calls[i].error, LIMITS);
                if (n_now != n_refused && write(output, &n_now, 1) != 1)
                        _exit(102);
                n_refused = n_now;
        }
}

static void read_until(int fd, unsigned char want) {
        unsigned char n = 0;

        while (n < want)
                assert_int_equal(read(fd, &n, 1), 1);
}

static void test_a_polkit_that_does_not_answer_holds_up_neither_root_nor_other_users(void **state) {
        sd_bus *silent, *bus;
        Removed removed;
        char path[64];
        int first[2], second[2];
        pid_t pids[2];
        Call call;

        if (geteuid() != 0)
                skip();
        silent = client(); /* has the name, and is never read from again */
        bus = client();
        assert_true(sd_bus_request_name(silent, "org.freedesktop.PolicyKit1", 0) >= 0);
        assert_int_equal(pipe(first), 0);
        assert_int_equal(pipe(second), 0);
        pids[0] = ask_as(65534, 40, first[1]);
        read_until(first[0], 40 - 16);
        pids[1] = ask_as(1, 17, second[1]); /* daemon: has a share of his own */
        read_until(second[0], 1);

        bus_watch(bus, &removed);
        bus_add_patch("stall_polkit", "\"tags\": [\"test.stall\"]");
        send_call(bus, &call, "Apply", "sa{sv}", "stall_polkit", 0);
        assert_string_equal(answer(bus, &call), "");
        the_job(bus, path, sizeof(path));
        cancel_job(bus, path);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");

        for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(kill(pids[i], SIGKILL), 0);
                assert_int_equal(waitpid(pids[i], NULL, 0), pids[i]);
                close((i ? second : first)[0]);
                close((i ? second : first)[1]);
        }
        sd_bus_close(silent);
        sd_bus_unref(silent);
        sd_bus_flush_close_unref(bus);
}

static int group_setup(void **state) {
        return bus_start(program);
}

static int group_teardown(void **state) {
        return bus_stop();
}

/* Refused before anything is recorded as begun: only its number is left of it. */
static unsigned refused_job(void) {
        sd_bus *bus = client();
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Removed removed;
        const char *path;
        unsigned id;

        bus_watch(bus, &removed);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Apply", NULL, &reply, "sa{sv}", "numbered",
                                       0) >= 0);
        assert_true(sd_bus_message_read(reply, "o", &path) >= 0);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "refused");
        assert_int_equal(sscanf(path, PATH "/job/_%u", &id), 1);
        sd_bus_flush_close_unref(bus);
        return id;
}

static void test_the_numbers_of_jobs_go_on_after_klpd_was_killed(void **state) {
        unsigned id;

        bus_add_patch("numbered", "\"states\": [{\"id\": 9, \"version\": 1, \"flags\": [\"block-disable\"]}]");
        id = refused_job();
        assert_int_equal(refused_job(), id + 1);
        bus_kill_and_restart(program);
        assert_int_equal(refused_job(), id + 2);
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_of_two_hundred_requests_at_once_one_runs_and_the_others_are_told_which),
                cmocka_unit_test(test_two_hundred_plans_at_once_are_all_made),
                cmocka_unit_test(test_one_client_has_a_share_of_what_may_wait),
                cmocka_unit_test(test_a_client_that_does_not_read_holds_up_nobody),
                cmocka_unit_test(test_a_polkit_that_does_not_answer_holds_up_neither_root_nor_other_users),
                cmocka_unit_test(test_the_numbers_of_jobs_go_on_after_klpd_was_killed),
        };

        if (argc < 2)
                return 2;
        program = argv[1];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
