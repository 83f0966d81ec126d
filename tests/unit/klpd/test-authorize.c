/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may ask for what: without polkit, and with one that is played, on a real bus. The kernel is played, too
 * (fake-klpd.c). Argument: fake-klpd, from meson.
 */
#include "bus-fixture.h"

#include <grp.h>

static const char *program;

static const char *granted; /* actions, space-separated */
static char asked[1024];
static bool challenge;

/* As polkit answers; remembers what it was asked. */
static int on_check(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *kind, *key, *name, *action;
        char word[128];
        size_t n = strlen(asked);
        bool yes;

        assert_true(sd_bus_message_read(m, "(sa{sv})s", &kind, 1, &key, "s", &name, &action) >= 0);
        assert_string_equal(kind, "system-bus-name");
        assert_string_equal(key, "name");
        assert_int_equal(name[0], ':');
        (void) snprintf(asked + n, sizeof(asked) - n, "%s%s", n > 0 ? " " : "", action);
        (void) snprintf(word, sizeof(word), " %s ", action);
        yes = strstr(granted, word);
        return sd_bus_reply_method_return(m, "(bba{ss})", (int) yes, (int) (!yes && challenge), 0);
}

static const sd_bus_vtable polkit_vtable[] = {
                SD_BUS_VTABLE_START(0),
                SD_BUS_METHOD("CheckAuthorization", "(sa{sv})sa{ss}us", "(bba{ss})", on_check,
                              SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_VTABLE_END,
};

/* What a caller who isn't root is told, as the exit status of a child that calls and becomes nobody. */
enum { CALL_DONE, CALL_DENIED, CALL_INTERACTIVE, CALL_OTHER };

static int exit_status_of(int r, const sd_bus_error *error) {
        if (r >= 0)
                return CALL_DONE;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                return CALL_DENIED;
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED))
                return CALL_INTERACTIVE;
        return CALL_OTHER;
}

static void call_as_nobody(const char *method, bool override) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = NULL;
        int r;

        if (setgroups(0, NULL) < 0 || setresgid(65534, 65534, 65534) < 0 ||
            setresuid(65534, 65534, 65534) < 0 || sd_bus_open_system(&bus) < 0)
                _exit(100);
        if (streq(method, "Plan"))
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, &error, NULL, "ssa{sv}",
                                       "apply", "level1", 0);
        else if (streq(method, "ListPatches") || streq(method, "Inventory"))
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, &error, NULL, "");
        else if (streq(method, "ListBlocking"))
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, &error, NULL, "b",
                                       override);
        else if (override)
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, &error, NULL, "sa{sv}",
                                       "no_such", 2, "accept-irreversible", "b", 1, "replace-foreign", "b",
                                       1);
        else
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, method, &error, NULL, "sa{sv}",
                                       "no_such", 1, "interactive", "b", 0);
        _exit(exit_status_of(r, &error));
}

/* polkit: a connection that serves as polkit meanwhile, or NULL. */
static int as_nobody(const char *method, bool override, sd_bus *polkit) {
        int status;
        pid_t pid;

        asked[0] = 0;
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0)
                call_as_nobody(method, override);
        for (;;) {
                pid_t r = waitpid(pid, &status, polkit ? WNOHANG : 0);

                assert_true(r >= 0);
                if (r == pid)
                        break;
                if (sd_bus_process(polkit, NULL) == 0)
                        (void) sd_bus_wait(polkit, 10000);
        }
        assert_true(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void need_root(void) {
        if (geteuid() != 0)
                skip();
}

static void test_without_polkit_only_root_changes_anything(void **state) {
        need_root();
        assert_int_equal(as_nobody("Apply", false, NULL), CALL_DENIED);
        assert_int_equal(as_nobody("Downgrade", false, NULL), CALL_DENIED);
        assert_int_equal(as_nobody("Disable", false, NULL), CALL_DENIED);
        assert_int_equal(as_nobody("ListBlocking", true, NULL), CALL_DENIED);
        assert_int_equal(as_nobody("Plan", false, NULL), CALL_DONE);
        assert_int_equal(as_nobody("ListPatches", false, NULL), CALL_DONE);
        assert_int_equal(as_nobody("Inventory", false, NULL), CALL_DONE);
        assert_int_equal(as_nobody("ListBlocking", false, NULL), CALL_DONE);
}

static void wait_idle(sd_bus *bus) {
        for (unsigned i = 0; i < 1000; i++) {
                sd_bus_message *reply = NULL;
                bool idle;

                assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListJobs", NULL, &reply,
                                               "") >= 0);
                assert_true(sd_bus_message_enter_container(reply, 'a', "(uosss)") >= 0);
                idle = sd_bus_message_at_end(reply, false) > 0;
                sd_bus_message_unref(reply);
                if (idle)
                        return;
                usleep(5000);
        }
        fail();
}

static void test_polkit_is_asked_about_each_action_of_its_own(void **state) {
        sd_bus *polkit, *bus;

        need_root();
        polkit = bus_connect();
        bus = bus_connect();
        assert_true(sd_bus_add_object_vtable(polkit, NULL, "/org/freedesktop/PolicyKit1/Authority",
                                             "org.freedesktop.PolicyKit1.Authority", polkit_vtable,
                                             NULL) >= 0);
        assert_true(sd_bus_request_name(polkit, "org.freedesktop.PolicyKit1", 0) >= 0);

        granted = " ";
        challenge = false;
        assert_int_equal(as_nobody("Apply", false, polkit), CALL_DENIED);
        assert_string_equal(asked, "org.klpd1.apply");
        challenge = true;
        assert_int_equal(as_nobody("Apply", false, polkit), CALL_INTERACTIVE);
        challenge = false;

        granted = " org.klpd1.apply ";
        assert_int_equal(as_nobody("Apply", false, polkit), CALL_DONE);
        wait_idle(bus);
        assert_int_equal(as_nobody("Downgrade", false, polkit), CALL_DENIED);
        assert_string_equal(asked, "org.klpd1.downgrade");
        assert_int_equal(as_nobody("Disable", false, polkit), CALL_DENIED);
        assert_string_equal(asked, "org.klpd1.disable");
        assert_int_equal(as_nobody("Force", false, polkit), CALL_DENIED);
        assert_string_equal(asked, "org.klpd1.force");
        assert_int_equal(as_nobody("Apply", true, polkit), CALL_DENIED);
        assert_string_equal(asked, "org.klpd1.apply org.klpd1.accept-irreversible");
        granted = " org.klpd1.apply org.klpd1.accept-irreversible ";
        assert_int_equal(as_nobody("Apply", true, polkit), CALL_DENIED);
        assert_string_equal(asked,
                            "org.klpd1.apply org.klpd1.accept-irreversible org.klpd1.replace-foreign");
        granted = " org.klpd1.apply org.klpd1.accept-irreversible org.klpd1.replace-foreign ";
        assert_int_equal(as_nobody("Apply", true, polkit), CALL_DONE);
        wait_idle(bus);
        sd_bus_flush_close_unref(bus);
        sd_bus_flush_close_unref(polkit);
}

static int group_setup(void **state) {
        int r = bus_start(program);

        if (r == 0)
                bus_add_patch("level1", "\"stream\": \"jobs\", \"level\": 1, \"cumulative\": true");
        return r;
}

static int group_teardown(void **state) {
        return bus_stop();
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_without_polkit_only_root_changes_anything),
                cmocka_unit_test(test_polkit_is_asked_about_each_action_of_its_own),
        };

        if (argc < 2)
                return 2;
        program = argv[1];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
