/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon on a real bus: requests and jobs, what is shown and announced. The kernel is played
 * (fake-klpd.c). Argument: fake-klpd, from meson.
 */
#include "bus-fixture.h"

static const char *program;

/* ---- jobs ---- */

static void test_apply_downgrade_disable_end_in_job_removed(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;

        bus_watch(bus, &removed);
        bus_add_patch("level1", "\"stream\": \"jobs\", \"level\": 1, \"cumulative\": true");
        bus_add_patch("level2", "\"stream\": \"jobs\", \"level\": 2, \"cumulative\": true");
        bus_complete(bus, "Apply", "level1", &removed);
        assert_string_equal(removed.result, "done");
        assert_string_equal(removed.error, "");
        assert_string_equal(removed.message, "");
        assert_non_null(strstr(removed.plan, "\"verdict\""));
        bus_complete(bus, "Apply", "level2", &removed);
        assert_string_equal(removed.result, "done");
        bus_complete(bus, "Apply", "level2", &removed);
        assert_string_equal(removed.result, "nothing-to-do");
        bus_complete(bus, "Downgrade", "level1", &removed);
        assert_string_equal(removed.result, "done");
        bus_complete(bus, "Disable", "level1", &removed);
        assert_string_equal(removed.result, "done");
        bus_complete(bus, "Apply", "no_such", &removed);
        assert_string_equal(removed.result, "failed");
        assert_string_equal(removed.error, "org.klpd1.Error.NoSuchPatch");
        sd_bus_flush_close_unref(bus);
}

/* Whether the plan of that request has a part; NULL part: whether the call is refused as making no sense. */
static bool plan_has(sd_bus *bus, const char *request, const char *patch, const char *part) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *plan;
        bool has;
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Plan", &error, &reply, "ssa{sv}", request,
                               patch, 0);
        if (!part)
                return streq(bus_error_of(r, &error), INVALID);
        assert_true(r >= 0);
        assert_true(sd_bus_message_read(reply, "s", &plan) > 0);
        has = strstr(plan, part);
        sd_bus_message_unref(reply);
        return has;
}

/* "NAME VALUE" of the text that klpd answers, which is the one that the file has in the end. */
static bool metrics_have(sd_bus *bus, const char *sample) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char path[256], line[256];
        const char *text;
        int fd;

        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Metrics", &error, &reply, "") >= 0);
        assert_true(sd_bus_message_read(reply, "s", &text) > 0);
        (void) snprintf(path, sizeof(path), "%s/var/lib/prometheus/node-exporter/klpd.prom", bus_tree.path);
        for (unsigned i = 0; i < 3000; i++) {
                char file[32768];
                ssize_t n;

                fd = open(path, O_RDONLY | O_CLOEXEC);
                n = fd < 0 ? 0 : read(fd, file, sizeof(file) - 1);
                if (fd >= 0)
                        close(fd);
                file[n] = 0;
                if (streq(file, text)) {
                        (void) snprintf(line, sizeof(line), "\n%s\n", sample);
                        return strstr(text, line);
                }
                usleep(10000);
        }
        fail_msg("klpd.prom doesn't become what Metrics says:\n%s", text);
        return false;
}

static void test_metrics_say_what_happened_in_the_file_too(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;

        bus_watch(bus, &removed);
        bus_add_patch("metric1", "\"stream\": \"metrics\", \"level\": 1, \"cumulative\": true");
        bus_add_patch("metric2", "\"stream\": \"metrics\", \"level\": 2, \"cumulative\": true");
        bus_complete(bus, "Apply", "metric2", &removed);
        assert_true(metrics_have(bus, "klpd_level{stream=\"local/metrics\"} 2"));
        assert_true(metrics_have(bus, "klpd_refusals_total{rule=\"level-order\"} 0"));
        bus_complete(bus, "Apply", "metric1", &removed);
        assert_string_equal(removed.result, "refused");
        assert_true(metrics_have(bus, "klpd_refusals_total{rule=\"level-order\"} 1"));
        assert_true(metrics_have(bus, "klpd_requests_total{result=\"refused\"} 1"));
        assert_true(metrics_have(bus, "klpd_level{stream=\"local/metrics\"} 2"));
        bus_complete(bus, "Disable", "metric2", &removed);
        assert_false(metrics_have(bus, "klpd_level{stream=\"local/metrics\"} 2"));
        sd_bus_flush_close_unref(bus);
}

static void test_a_plan_may_be_asked_for_that_no_job_carries_out(void **state) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = bus_connect();
        int r;

        bus_add_patch("level1", "\"stream\": \"jobs\", \"level\": 1, \"cumulative\": true");
        assert_true(plan_has(bus, "converge", "level1", "\"request\":\"converge\",\"patch\":\"level1\""));
        assert_true(plan_has(bus, "converge", "", NULL));
        assert_true(plan_has(bus, "apply", "", NULL));
        assert_true(plan_has(bus, "disable", "", "\"verdict\":\"nothing-to-do\",\"request\":\"disable\""));
        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Disable", &error, NULL, "sa{sv}", "", 0);
        assert_string_equal(bus_error_of(r, &error), INVALID);
        sd_bus_flush_close_unref(bus);
}

static void test_a_refusal_carries_error_message_and_plan(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;

        bus_watch(bus, &removed);
        bus_add_patch("final", "\"states\": [{\"id\": 9, \"version\": 1, \"flags\": [\"block-disable\"]}]");
        bus_complete(bus, "Apply", "final", &removed);
        assert_string_equal(removed.result, "refused");
        assert_string_equal(removed.error, "org.klpd1.Error.Refused");
        assert_non_null(strstr(removed.message, "irreversible"));
        assert_non_null(strstr(removed.plan, "\"irreversible\""));
        sd_bus_flush_close_unref(bus);
}

static void test_a_second_request_is_told_what_runs_and_another_client_may_cancel(void **state) {
        sd_bus *bus = bus_connect(), *other = bus_connect();
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        const char *job, *type, *patch, *step;
        char path[64], second[64];
        Removed removed;
        uint32_t id;
        int r;

        bus_watch(bus, &removed);
        bus_add_patch("stall_busy", "\"tags\": [\"test.stall\"]");
        assert_true(bus_apply(bus, "stall_busy", path, sizeof(path), NULL) >= 0);
        r = bus_apply(other, "level1", second, sizeof(second), &error);
        assert_true(r < 0);
        assert_non_null(strstr(error.message, "stall_busy"));
        assert_string_equal(bus_error_of(r, &error), "org.klpd1.Error.Busy");

        assert_true(sd_bus_call_method(other, DESTINATION, PATH, INTERFACE, "ListJobs", NULL, &reply, "") >=
                    0);
        assert_true(sd_bus_message_enter_container(reply, 'a', "(uosss)") > 0);
        assert_true(sd_bus_message_read(reply, "(uosss)", &id, &job, &type, &patch, &step) > 0);
        assert_string_equal(job, path);
        assert_string_equal(type, "apply");
        assert_string_equal(patch, "stall_busy");
        sd_bus_message_unref(reply);

        assert_true(bus_cancel(other, path, NULL) >= 0);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        r = bus_cancel(other, path, &error);
        assert_string_equal(bus_error_of(r, &error), "org.freedesktop.DBus.Error.UnknownObject");
        sd_bus_flush_close_unref(other);
        sd_bus_flush_close_unref(bus);
}

static void test_a_job_goes_on_when_its_client_has_left(void **state) {
        sd_bus *bus = bus_connect(), *other = bus_connect();
        Removed removed;
        char path[64];

        bus_watch(other, &removed);
        bus_add_patch("slow_left", "\"tags\": [\"test.slow\"]");
        assert_true(bus_apply(bus, "slow_left", path, sizeof(path), NULL) >= 0);
        sd_bus_flush_close_unref(bus);
        bus_wait_removed(other, &removed, path);
        assert_string_equal(removed.result, "done");
        bus_complete(other, "Disable", "slow_left", &removed);
        sd_bus_flush_close_unref(other);
}

static void test_many_calls_at_once_are_answered_or_refused_but_none_is_lost(void **state) {
        sd_bus *bus = bus_connect();
        sd_bus_message *replies[120];
        size_t n_good = 0, n_limit = 0;
        uint64_t cookies[120];

        for (size_t i = 0; i < ELEMENTSOF(cookies); i++) {
                sd_bus_message *m = NULL;

                assert_true(sd_bus_message_new_method_call(bus, &m, DESTINATION, PATH, INTERFACE, "Plan") >=
                            0);
                assert_true(sd_bus_message_append(m, "ssa{sv}", "apply", "level1", 0) >= 0);
                assert_true(sd_bus_send(bus, m, &cookies[i]) >= 0);
                sd_bus_message_unref(m);
        }
        for (size_t n = 0; n < ELEMENTSOF(replies);) {
                uint8_t type;

                if (sd_bus_process(bus, &replies[n]) == 0) {
                        assert_true(sd_bus_wait(bus, 10000000) > 0);
                        continue;
                }
                if (!replies[n])
                        continue;
                assert_true(sd_bus_message_get_type(replies[n], &type) >= 0);
                if (type == SD_BUS_MESSAGE_METHOD_RETURN) {
                        n_good++;
                        n++;
                } else if (type == SD_BUS_MESSAGE_METHOD_ERROR) {
                        assert_true(sd_bus_message_is_method_error(
                                        replies[n], "org.freedesktop.DBus.Error.LimitsExceeded"));
                        n_limit++;
                        n++;
                } else
                        sd_bus_message_unref(replies[n]);
        }
        for (size_t i = 0; i < ELEMENTSOF(replies); i++)
                sd_bus_message_unref(replies[i]);
        assert_int_equal(n_good + n_limit, ELEMENTSOF(replies));
        assert_true(n_good >= 64);
        sd_bus_flush_close_unref(bus);
}

/* ---- what is shown ---- */

/* The position of a patch in an answer to ListPatches; INT32_MIN: it isn't there, or isn't as it should be. */
static int32_t listed_position(sd_bus_message *reply, const char *name) {
        const char *listed, *vendor, *stream, *kind, *state;
        int32_t position, found = INT32_MIN;
        int cumulative, in_repository;
        uint32_t level;

        assert_true(sd_bus_message_enter_container(reply, 'a', "(sssubssibasssssss)") > 0);
        while (sd_bus_message_enter_container(reply, 'r', "sssubssibasssssss") > 0) {
                assert_true(sd_bus_message_read(reply, "sssubssib", &listed, &vendor, &stream, &level, &cumulative,
                                                &kind, &state, &position, &in_repository) > 0);
                if (strcmp(listed, name) == 0 && level > 0 && in_repository &&
                    (position >= 0) == (strcmp(state, "enabled") == 0))
                        found = position;
                assert_true(sd_bus_message_skip(reply, "asssssss") > 0);
                assert_true(sd_bus_message_exit_container(reply) >= 0);
        }
        return found;
}

static void test_patches_and_levels_are_shown(void **state) {
        sd_bus *bus = bus_connect();
        sd_bus_message *reply = NULL;
        const char *json;
        Removed removed;
        bool found = false;

        bus_watch(bus, &removed);
        bus_complete(bus, "Apply", "level1", &removed);
        assert_true(sd_bus_get_property(bus, DESTINATION, PATH, INTERFACE, "Levels", NULL, &reply,
                                        "a{su}") >= 0);
        assert_true(sd_bus_message_enter_container(reply, 'a', "{su}") > 0);
        for (const char *stream; ;) {
                uint32_t level;

                if (sd_bus_message_read(reply, "{su}", &stream, &level) <= 0)
                        break;
                if (streq(stream, "local/jobs") && level == 1)
                        found = true;
        }
        assert_true(found);
        reply = sd_bus_message_unref(reply);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "DescribePatch", NULL, &reply, "s",
                                       "level1") >= 0);
        assert_true(sd_bus_message_read(reply, "s", &json) >= 0);
        assert_non_null(strstr(json, "\"enabled\""));
        reply = sd_bus_message_unref(reply);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Inventory", NULL, &reply, "") >=
                    0);
        assert_true(sd_bus_message_read(reply, "s", &json) >= 0);
        assert_non_null(strstr(json, "level1"));
        reply = sd_bus_message_unref(reply);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListStates", NULL, &reply, "") >=
                    0);
        assert_true(sd_bus_message_has_signature(reply, "aa{sv}"));
        reply = sd_bus_message_unref(reply);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListPatches", NULL, &reply, "") >=
                    0);
        assert_int_equal(listed_position(reply, "level1"), 0);
        sd_bus_message_unref(reply);
        bus_complete(bus, "Disable", "level1", &removed);
        assert_true(sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ListPatches", NULL, &reply, "") >=
                    0);
        assert_int_equal(listed_position(reply, "level1"), -1);
        sd_bus_message_unref(reply);
        sd_bus_flush_close_unref(bus);
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        *(bool *) userdata = true;
        return 0;
}

static void test_changes_are_announced(void **state) {
        bool properties = false, patches = false;
        sd_bus *bus = bus_connect();
        Removed removed;

        bus_watch(bus, &removed);
        assert_true(sd_bus_match_signal(bus, NULL, DESTINATION, PATH, "org.freedesktop.DBus.Properties",
                                        "PropertiesChanged", on_changed, &properties) >= 0);
        assert_true(sd_bus_match_signal(bus, NULL, DESTINATION, PATH, INTERFACE, "PatchesChanged",
                                        on_changed, &patches) >= 0);
        bus_complete(bus, "Apply", "level1", &removed);
        for (unsigned i = 0; i < 500 && !(properties && patches); i++)
                if (sd_bus_process(bus, NULL) == 0)
                        assert_true(sd_bus_wait(bus, 10000) >= 0);
        assert_true(properties);
        assert_true(patches);
        bus_complete(bus, "Disable", "level1", &removed);
        sd_bus_flush_close_unref(bus);
}

static void test_force_is_refused_unless_the_policy_allows_it_and_something_is_under_way(void **state) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = bus_connect();
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Force", &error, NULL, "sa{sv}", "", 0);
        assert_non_null(error.message);
        assert_non_null(strstr(error.message, "allow_force"));
        assert_string_equal(bus_error_of(r, &error), "org.klpd1.Error.Refused");
        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Force", &error, NULL, "sa{sv}", "", 1,
                               "accept-irreversible", "b", 1);
        assert_string_equal(bus_error_of(r, &error), SD_BUS_ERROR_INVALID_ARGS);
        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Force", &error, NULL, "sa{sv}", "../x", 0);
        assert_string_equal(bus_error_of(r, &error), SD_BUS_ERROR_INVALID_ARGS);
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
                cmocka_unit_test(test_apply_downgrade_disable_end_in_job_removed),
                cmocka_unit_test(test_metrics_say_what_happened_in_the_file_too),
                cmocka_unit_test(test_a_plan_may_be_asked_for_that_no_job_carries_out),
                cmocka_unit_test(test_a_refusal_carries_error_message_and_plan),
                cmocka_unit_test(test_a_second_request_is_told_what_runs_and_another_client_may_cancel),
                cmocka_unit_test(test_a_job_goes_on_when_its_client_has_left),
                cmocka_unit_test(test_many_calls_at_once_are_answered_or_refused_but_none_is_lost),
                cmocka_unit_test(test_patches_and_levels_are_shown),
                cmocka_unit_test(test_changes_are_announced),
                cmocka_unit_test(test_force_is_refused_unless_the_policy_allows_it_and_something_is_under_way),
        };

        if (argc < 2)
                return 2;
        program = argv[1];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
