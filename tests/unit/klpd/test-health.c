/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd asks of systemd to find out how the host is, and what it makes of the answers: on a bus of its own,
 * with a systemd that is played in the same program and event loop. What the unit of that name does is told by
 * its name; that systemd really does it, and what the sandbox of a command keeps from it, the VM scenario
 * `health` shows.
 *
 *   good       its job is done                        bad      its job fails, exit status 3
 *   early      done, said before the call is answered hung     its job never ends
 *   dead       done, but it has failed then           missing  can't be started
 *   alias      done, under another name
 */
#include "bus-fixture.h"

#include "klpd/health.h"

typedef struct Systemd {
        sd_bus *bus;
        const char *state; /* of the system */
        char log[1024];
        unsigned n_jobs;
        char command[512]; /* words of the last transient unit, joined by | */
        bool sandboxed, referenced;
} Systemd;

typedef struct Fixture {
        sd_event *event;
        sd_bus *bus;
        Systemd systemd;
        Config config;
        Health *health;
        bool done;
        int r;
        char text[512];
} Fixture;

/* ---- systemd ---- */

static void note(Systemd *s, const char *what, const char *unit) {
        size_t n = strlen(s->log);

        (void) snprintf(s->log + n, sizeof(s->log) - n, "%s%s %s", n > 0 ? "; " : "", what, unit);
}

static void end_job(Systemd *s, const char *path, const char *unit, const char *result) {
        assert_true(sd_bus_emit_signal(s->bus, "/org/freedesktop/systemd1",
                                       "org.freedesktop.systemd1.Manager", "JobRemoved", "uoss", s->n_jobs,
                                       path, unit, result) >= 0);
}

static int answer_start(Systemd *s, sd_bus_message *m, const char *unit, const char *kind) {
        char path[128];

        (void) snprintf(path, sizeof(path), "/org/freedesktop/systemd1/job/%u", ++s->n_jobs);
        /* Jobs of others, too: nobody may take them for his own. */
        end_job(s, "/org/freedesktop/systemd1/job/9999", "other.service", "failed");
        if (strstr(kind, "missing"))
                return sd_bus_reply_method_errorf(m, "org.freedesktop.systemd1.NoSuchUnit",
                                                  "Unit %s not found.", unit);
        if (strstr(kind, "early"))
                end_job(s, path, unit, "done");
        assert_true(sd_bus_reply_method_return(m, "o", path) >= 0);
        if (strstr(kind, "good") || strstr(kind, "dead"))
                end_job(s, path, unit, "done");
        else if (strstr(kind, "alias"))
                end_job(s, path, "real-name.service", "done");
        else if (strstr(kind, "bad"))
                end_job(s, path, unit, "failed");
        return 1;
}

static int on_start_unit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *unit, *mode;
        Systemd *s = userdata;

        assert_true(sd_bus_message_read(m, "ss", &unit, &mode) >= 0);
        note(s, "start", unit);
        return answer_start(s, m, unit, unit);
}

static void read_exec(sd_bus_message *m, Systemd *s) {
        const char *path, *word;

        assert_true(sd_bus_message_enter_container(m, 'v', "a(sasb)") > 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "(sasb)") > 0);
        assert_true(sd_bus_message_enter_container(m, 'r', "sasb") > 0);
        assert_true(sd_bus_message_read(m, "s", &path) > 0);
        s->command[0] = 0;
        assert_true(sd_bus_message_enter_container(m, 'a', "s") > 0);
        while (sd_bus_message_read(m, "s", &word) > 0) {
                size_t n = strlen(s->command);

                (void) snprintf(s->command + n, sizeof(s->command) - n, "%s|", word);
        }
        assert_true(sd_bus_message_exit_container(m) >= 0);
        assert_true(sd_bus_message_skip(m, "b") >= 0);
        for (unsigned i = 0; i < 3; i++)
                assert_true(sd_bus_message_exit_container(m) >= 0);
}

static int on_start_transient(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *unit, *mode, *key;
        Systemd *s = userdata;
        int value;

        assert_true(sd_bus_message_read(m, "ss", &unit, &mode) >= 0);
        assert_true(sd_bus_message_enter_container(m, 'a', "(sv)") > 0);
        while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
                assert_true(sd_bus_message_read(m, "s", &key) > 0);
                if (streq(key, "ExecStart"))
                        read_exec(m, s);
                else if (streq(key, "DynamicUser") || streq(key, "AddRef")) {
                        assert_true(sd_bus_message_read(m, "v", "b", &value) > 0);
                        *(streq(key, "AddRef") ? &s->referenced : &s->sandboxed) = value;
                } else
                        assert_true(sd_bus_message_skip(m, "v") >= 0);
                assert_true(sd_bus_message_exit_container(m) >= 0);
        }
        assert_true(sd_bus_message_exit_container(m) >= 0);
        note(s, "run", s->command);
        return answer_start(s, m, unit, s->command);
}

static int on_stop_unit(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *unit, *mode;
        Systemd *s = userdata;

        assert_true(sd_bus_message_read(m, "ss", &unit, &mode) >= 0);
        note(s, "stop", strncmp(unit, "klpd-health-7-", 14) == 0 ? "command" : unit);
        return sd_bus_reply_method_return(m, "o", "/job");
}

static int on_subscribe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_reply_method_return(m, NULL);
}

static int get_state(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Systemd *s = userdata;

        return sd_bus_message_append(reply, "s", s->state);
}

static const sd_bus_vtable manager_vtable[] = {
                SD_BUS_VTABLE_START(0),
                SD_BUS_METHOD("Subscribe", "", "", on_subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD("Unsubscribe", "", "", on_subscribe, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD("StartUnit", "ss", "o", on_start_unit, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD("StartTransientUnit", "ssa(sv)a(sa(sv))", "o", on_start_transient,
                              SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD("StopUnit", "ss", "o", on_stop_unit, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_PROPERTY("SystemState", "s", get_state, 0, 0),
                SD_BUS_SIGNAL("JobRemoved", "uoss", 0),
                SD_BUS_VTABLE_END,
};

static int get_active(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Systemd *s = userdata;
        bool failed = strstr(path, "bad") || strstr(path, "dead") || strstr(s->command, "bad");

        return sd_bus_message_append(reply, "s", failed ? "failed" : "active");
}

static int get_result(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", strstr(path, "dead") ? "signal" : "exit-code");
}

static int get_status(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "i", 3);
}

static const sd_bus_vtable unit_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("ActiveState", "s", get_active, 0, 0),
        SD_BUS_PROPERTY("Result", "s", get_result, 0, 0),
        SD_BUS_PROPERTY("ExecMainStatus", "i", get_status, 0, 0),
        SD_BUS_VTABLE_END,
};

static int find_unit(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret,
                     sd_bus_error *error) {
        *ret = userdata;
        return 1;
}

/* ---- the fixture ---- */

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));
        sd_bus *bus;

        assert_non_null(f);
        assert_true(sd_event_new(&f->event) >= 0);
        f->systemd.state = "running";
        bus = f->systemd.bus = bus_connect();
        assert_true(sd_bus_add_object_vtable(bus, NULL, "/org/freedesktop/systemd1",
                                             "org.freedesktop.systemd1.Manager", manager_vtable,
                                             &f->systemd) >= 0);
        assert_true(sd_bus_add_fallback_vtable(bus, NULL, "/org/freedesktop/systemd1/unit",
                                               "org.freedesktop.systemd1.Service", unit_vtable, find_unit,
                                               &f->systemd) >= 0);
        assert_true(sd_bus_request_name(bus, "org.freedesktop.systemd1", 0) >= 0);
        assert_true(sd_bus_attach_event(bus, f->event, 0) >= 0);
        f->bus = bus_connect();
        assert_true(sd_bus_attach_event(f->bus, f->event, 0) >= 0);
        config_init(&f->config);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        health_free(f->health);
        config_done(&f->config);
        sd_bus_flush_close_unref(f->bus);
        sd_bus_flush_close_unref(f->systemd.bus);
        sd_event_unref(f->event);
        free(f);
        return 0;
}

static void on_health(int r, const char *text, void *userdata) {
        Fixture *f = userdata;

        assert_false(f->done);
        f->done = true;
        f->r = r;
        (void) snprintf(f->text, sizeof(f->text), "%s", text);
        f->health = health_free(f->health); /* allowed here */
}

static void begin(Fixture *f, const char *unit, const char *command) {
        if (unit)
                assert_int_equal(strv_extend(&f->config.health_units, unit), 0);
        if (command)
                assert_int_equal(strv_extend(&f->config.health_commands, command), 0);
        f->done = false;
        assert_int_equal(health_run(f->event, f->bus, &f->config, 7, on_health, f, &f->health), 0);
        config_done(&f->config); /* a reload meanwhile */
}

static int check(Fixture *f, const char *unit, const char *command) {
        begin(f, unit, command);
        loop_until(f->event, &f->done);
        return f->r;
}

/* ---- the tests ---- */

static void test_all_that_are_well_one_after_the_other(void **state) {
        Fixture *f = *state;

        assert_int_equal(strv_extend(&f->config.health_units, "good.service"), 0);
        assert_int_equal(strv_extend(&f->config.health_units, "early.service"), 0);
        assert_int_equal(check(f, "alias.service", "/bin/good a \"b c\""), 0);
        assert_string_equal(f->systemd.log, "start good.service; start early.service; start alias.service; "
                                            "run /bin/good|a|b c|");
        assert_string_equal(f->text, "4 checks passed");
        assert_true(f->systemd.sandboxed);
        assert_true(f->systemd.referenced);
}

static void test_the_first_that_isnt_ends_it_and_is_named(void **state) {
        Fixture *f = *state;

        assert_int_equal(strv_extend(&f->config.health_units, "bad.service"), 0);
        assert_int_equal(check(f, "good.service", NULL), -EREMOTEIO);
        assert_string_equal(f->systemd.log, "start bad.service");
        assert_string_equal(f->text, "unit 'bad.service' failed with exit status 3");
}

static void test_a_service_that_has_failed_after_it_was_started_isnt_well(void **state) {
        Fixture *f = *state;

        assert_int_equal(check(f, "dead.service", NULL), -EREMOTEIO);
        assert_string_equal(f->text, "unit 'dead.service' failed: signal");
}

static void test_a_unit_that_isnt_there_isnt_well(void **state) {
        Fixture *f = *state;

        assert_int_equal(check(f, "missing.service", NULL), -EREMOTEIO);
        assert_non_null(strstr(f->text, "not found"));
}

static void test_a_command_that_fails_is_named_as_it_was_written(void **state) {
        Fixture *f = *state;

        assert_int_equal(check(f, "good.service", "/bin/bad now"), -EREMOTEIO);
        assert_string_equal(f->text, "command '/bin/bad now' failed with exit status 3");
}

static void test_what_takes_too_long_has_failed_and_a_command_is_stopped(void **state) {
        Fixture *f = *state;

        f->config.health_timeout_usec = 100000;
        assert_int_equal(check(f, NULL, "/bin/hung"), -ETIMEDOUT);
        assert_string_equal(f->text, "command '/bin/hung' wasn't done within 0.1 s");
        while (!strstr(f->systemd.log, "stop"))
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_string_equal(f->systemd.log, "run /bin/hung|; stop command");
        /* What the administrator started isn't klpd's to stop. */
        f->config.health_timeout_usec = 100000;
        assert_int_equal(check(f, "hung.service", NULL), -ETIMEDOUT);
        assert_null(strstr(f->systemd.log, "stop hung"));
}

static void test_when_the_system_is_shut_down_nothing_is_concluded(void **state) {
        Fixture *f = *state;

        f->systemd.state = "stopping";
        assert_int_equal(check(f, "bad.service", NULL), -ECANCELED);
}

static void test_ended_early_it_stops_its_command_and_calls_nobody(void **state) {
        Fixture *f = *state;

        begin(f, NULL, "/bin/hung");
        while (!strstr(f->systemd.log, "run"))
                assert_true(sd_event_run(f->event, 10000) >= 0);
        f->health = health_free(f->health);
        while (!strstr(f->systemd.log, "stop"))
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_false(f->done);
}

static void test_without_systemd_it_cant_be_asked(void **state) {
        Fixture *f = *state;

        assert_true(sd_bus_release_name(f->systemd.bus, "org.freedesktop.systemd1") >= 0);
        assert_true(check(f, "good.service", NULL) < 0);
        assert_non_null(strstr(f->text, "systemd can't be asked"));
}

static void test_a_command_line_is_words_and_quotes_and_nothing_else(void **state) {
        char **words = NULL;

        assert_int_equal(health_split_command("  /bin/a\t\"\" x\"y z\" $HOME ", &words), 0);
        assert_int_equal(strv_length(words), 4);
        assert_string_equal(words[1], "");
        assert_string_equal(words[2], "xy z");
        assert_string_equal(words[3], "$HOME");
        words = strv_free(words);
        assert_int_equal(health_split_command("/bin/a \"open", &words), -EINVAL);
        assert_int_equal(health_split_command("  ", &words), -EINVAL);
}

static int group_setup(void **state) {
        bus_start_daemon();
        return 0;
}

static int group_teardown(void **state) {
        bus_stop_daemon();
        return 0;
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_all_that_are_well_one_after_the_other),
                T(test_the_first_that_isnt_ends_it_and_is_named),
                T(test_a_service_that_has_failed_after_it_was_started_isnt_well),
                T(test_a_unit_that_isnt_there_isnt_well),
                T(test_a_command_that_fails_is_named_as_it_was_written),
                T(test_what_takes_too_long_has_failed_and_a_command_is_stopped),
                T(test_when_the_system_is_shut_down_nothing_is_concluded),
                T(test_ended_early_it_stops_its_command_and_calls_nobody),
                T(test_without_systemd_it_cant_be_asked),
                cmocka_unit_test(test_a_command_line_is_words_and_quotes_and_nothing_else),
        };

        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
