/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon on a real bus: members against the XML, hostile arguments, requests and jobs, who may. The
 * kernel is played (fake-klpd.c). Arguments: fake-klpd and the directory of the XML files, from meson.
 */
#include "bus-fixture.h"

#include <grp.h>

static const char *program, *xml_directory;

/* ---- the interface and its XML ---- */

typedef struct Members {
        char list[128][256];
        size_t n;
} Members;

/* Value of an attribute in a tag, or "". */
static void attribute(const char *tag, const char *name, char *buf, size_t size) {
        char pattern[32];
        const char *p;
        size_t n;

        (void) snprintf(pattern, sizeof(pattern), " %s=\"", name);
        p = strstr(tag, pattern);
        buf[0] = 0;
        if (!p)
                return;
        p += strlen(pattern);
        n = strcspn(p, "\"");
        assert_true(n < size);
        memcpy(buf, p, n);
        buf[n] = 0;
}

/* "Apply(s patch, a{sv} options)->(o job)" piece by piece: a line per element, of one interface. */
static void collect(const char *xml, const char *interface, Members *ret) {
        char member[64] = "", kind[16] = "", tag[512], name[64], type[32], extra[16];
        bool inside = false;

        ret->n = 0;
        for (const char *p = xml; (p = strchr(p, '<'));) {
                const char *end;

                if (strncmp(p, "<!--", 4) == 0) {
                        p = strstr(p, "-->");
                        assert_non_null(p);
                        continue;
                }
                end = strchr(p, '>');
                assert_non_null(end);
                (void) snprintf(tag, sizeof(tag), "%.*s", (int) (end - p < 500 ? end - p : 500), p);
                p = end;
                attribute(tag, "name", name, sizeof(name));
                attribute(tag, "type", type, sizeof(type));
                if (strncmp(tag, "<interface", 10) == 0)
                        inside = streq(name, interface);
                if (!inside || ret->n >= ELEMENTSOF(ret->list))
                        continue;
                if (strncmp(tag, "<method", 7) == 0 || strncmp(tag, "<signal", 7) == 0) {
                        (void) snprintf(member, sizeof(member), "%s", name);
                        (void) snprintf(kind, sizeof(kind), "%.6s", tag + 1);
                        (void) snprintf(ret->list[ret->n++], sizeof(ret->list[0]), "%s %s", kind, member);
                } else if (strncmp(tag, "<arg", 4) == 0) {
                        attribute(tag, "direction", extra, sizeof(extra));
                        (void) snprintf(ret->list[ret->n++], sizeof(ret->list[0]), "%s %s: %s %s %s", kind,
                                        member, streq(extra, "out") ? "out" : "in", type, name);
                } else if (strncmp(tag, "<property", 9) == 0) {
                        attribute(tag, "access", extra, sizeof(extra));
                        (void) snprintf(ret->list[ret->n++], sizeof(ret->list[0]), "property %s %s %s", name,
                                        type, extra);
                }
        }
}

static int compare_text(const void *a, const void *b) {
        return strcmp(a, b);
}

static void compare_with_xml(sd_bus *bus, const char *path, const char *interface, const char *file) {
        static Members want, have;
        static char text[32768];
        sd_bus_message *reply = NULL;
        char name[512];
        const char *xml;
        ssize_t n;
        int fd;

        (void) snprintf(name, sizeof(name), "%s/%s", xml_directory, file);
        fd = open(name, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, text, sizeof(text) - 1);
        assert_true(n > 0);
        close(fd);
        text[n] = 0;
        collect(text, interface, &want);
        assert_true(sd_bus_call_method(bus, DESTINATION, path, "org.freedesktop.DBus.Introspectable",
                                       "Introspect", NULL, &reply, "") >= 0);
        assert_true(sd_bus_message_read(reply, "s", &xml) >= 0);
        collect(xml, interface, &have);
        sd_bus_message_unref(reply);

        /* Arguments stay in their order within a member; members may come in any. */
        for (size_t i = 0; i < want.n && i < have.n; i++)
                if (strchr(want.list[i], ':') && i > 0)
                        assert_non_null(strchr(want.list[i], ' '));
        qsort(want.list, want.n, sizeof(want.list[0]), compare_text);
        qsort(have.list, have.n, sizeof(have.list[0]), compare_text);
        assert_true(want.n > 3);
        for (size_t i = 0; i < want.n && i < have.n; i++)
                assert_string_equal(have.list[i], want.list[i]);
        assert_int_equal(have.n, want.n);
}

static int apply(sd_bus *bus, const char *patch, char *path, size_t size, sd_bus_error *error) {
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

static int request(sd_bus *bus, const char *method, const char *patch, char *path, size_t size) {
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

static int cancel(sd_bus *bus, const char *path, sd_bus_error *error) {
        return sd_bus_call_method(bus, DESTINATION, path, "org.klpd1.Job", "Cancel", error, NULL, "");
}

/* Runs to its end; the result is in removed. */
static void complete(sd_bus *bus, const char *method, const char *patch, Removed *removed) {
        char path[64];

        removed->seen = false;
        assert_true(request(bus, method, patch, path, sizeof(path)) >= 0);
        bus_wait_removed(bus, removed, path);
}

static void test_the_interface_is_what_the_xml_says(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;
        char path[64];

        compare_with_xml(bus, PATH, INTERFACE, "org.klpd1.xml");
        compare_with_xml(bus, PATH, "org.klpd1.Fleet", "org.klpd1.Fleet.xml");
        compare_with_xml(bus, PATH, "org.klpd1.Slot", "org.klpd1.Slot.xml");
        bus_watch(bus, &removed);
        bus_add_patch("stall_xml", "\"tags\": [\"test.stall\"]");
        assert_true(apply(bus, "stall_xml", path, sizeof(path), NULL) >= 0);
        compare_with_xml(bus, path, "org.klpd1.Job", "org.klpd1.Job.xml");
        assert_true(cancel(bus, path, NULL) >= 0);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        sd_bus_flush_close_unref(bus);
}

/* ---- hostile arguments ---- */

#define INVALID "org.freedesktop.DBus.Error.InvalidArgs"

static void test_names_that_are_none_are_refused(void **state) {
        static const char *const names[] = {
                "/etc/passwd", "../x", "a/b", "a b", "x\n", "\xc3\xa9",
                "0123456789012345678901234567890123456789012345678901234567890123",
        };
        sd_bus *bus = bus_connect();

        for (size_t i = 0; i < ELEMENTSOF(names); i++) {
                sd_bus_error error = SD_BUS_ERROR_NULL;
                int r;

                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Apply", &error, NULL, "sa{sv}",
                                       names[i], 0);
                assert_string_equal(bus_error_of(r, &error), INVALID);
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "DescribePatch", &error, NULL, "s",
                                       names[i]);
                assert_string_equal(bus_error_of(r, &error), INVALID);
                r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Plan", &error, NULL, "ssa{sv}",
                                       "apply", names[i], 0);
                assert_string_equal(bus_error_of(r, &error), INVALID);
        }
        sd_bus_flush_close_unref(bus);
}

#define assert_refused_options(bus, patch, ...)                                                             \
        do {                                                                                                \
                sd_bus_error error_ = SD_BUS_ERROR_NULL;                                                    \
                int r_ = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Apply", &error_, NULL,      \
                                            "sa{sv}", patch, __VA_ARGS__);                                  \
                assert_string_equal(bus_error_of(r_, &error_), INVALID);                                    \
        } while (false)

static void test_options_that_make_no_sense_are_refused(void **state) {
        sd_bus *bus = bus_connect();
        char reason[300];

        memset(reason, 'x', sizeof(reason));
        reason[257] = 0;
        assert_refused_options(bus, "one", 1, "unknown", "b", 1);
        assert_refused_options(bus, "one", 1, "reason", "u", 1);
        assert_refused_options(bus, "one", 1, "reason", "s", reason);
        assert_refused_options(bus, "one", 1, "reason", "s", "two\nlines");
        assert_refused_options(bus, "one", 2, "reason", "s", "a", "reason", "s", "b");
        assert_refused_options(bus, "one", 1, "timeout-usec", "t", UINT64_C(0));
        assert_refused_options(bus, "one", 1, "timeout-usec", "t", UINT64_MAX);
        assert_refused_options(bus, "one", 1, "timeout-usec", "u", 1);
        assert_refused_options(bus, "one", 1, "level", "u", 1);
        assert_refused_options(bus, "one", 1, "stream", "s", "local/base");
        assert_refused_options(bus, "", 2, "level", "u", 1, "stream", "s", "nostream");
        assert_refused_options(bus, "", 0);
        assert_refused_options(bus, "one", 1, "allow-vendor", "s", "acme");
        assert_refused_options(bus, "one", 1, "allow-vendor", "as", 1, "no/vendor");
        assert_refused_options(bus, "one", 1, "accept-irreversible", "s", "yes");
        sd_bus_flush_close_unref(bus);
}

static const char *apply_file_error(sd_bus *bus, int fd) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "ApplyFile", &error, NULL, "ha{sv}", fd,
                               0);
        return bus_error_of(r, &error);
}

static void test_descriptors_that_could_hang_or_hurt_are_refused(void **state) {
        sd_bus *bus = bus_connect();
        int fds[2], fd;

        assert_int_equal(pipe(fds), 0);
        assert_string_equal(apply_file_error(bus, fds[0]), INVALID);
        close(fds[0]);
        close(fds[1]);
        fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_string_equal(apply_file_error(bus, fd), INVALID);
        close(fd);
        fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        assert_string_equal(apply_file_error(bus, fd), INVALID);
        close(fd);
        fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC); /* of a file system that isn't for files */
        assert_string_equal(apply_file_error(bus, fd), INVALID);
        close(fd);
        fd = openat(bus_tree.fd, "large", O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        assert_int_equal(ftruncate(fd, 200 * 1024 * 1024), 0);
        assert_string_equal(apply_file_error(bus, fd), INVALID);
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_string_equal(apply_file_error(bus, fd), "org.klpd1.Error.NotModule");
        close(fd);
        fd = openat(bus_tree.fd, "large", O_WRONLY | O_CLOEXEC);
        assert_string_equal(apply_file_error(bus, fd), INVALID);
        close(fd);
        sd_bus_flush_close_unref(bus);
}

static void test_unknown_members_and_wrong_signatures_are_refused(void **state) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus *bus = bus_connect();
        int r;

        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Explode", &error, NULL, "");
        assert_string_equal(bus_error_of(r, &error), "org.freedesktop.DBus.Error.UnknownMethod");
        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Apply", &error, NULL, "u", 1);
        assert_string_equal(bus_error_of(r, &error), INVALID);
        r = sd_bus_call_method(bus, DESTINATION, PATH, INTERFACE, "Plan", &error, NULL, "ssa{sv}", "explode",
                               "one", 0);
        assert_string_equal(bus_error_of(r, &error), INVALID);
        r = cancel(bus, "/org/klpd1/job/_4711", &error);
        assert_string_equal(bus_error_of(r, &error), "org.freedesktop.DBus.Error.UnknownObject");
        sd_bus_flush_close_unref(bus);
}

/* ---- jobs
 * ----------------------------------------------------------------------------------------------------------
 */

static void test_apply_downgrade_disable_end_in_job_removed(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;

        bus_watch(bus, &removed);
        bus_add_patch("level1", "\"stream\": \"jobs\", \"level\": 1, \"cumulative\": true");
        bus_add_patch("level2", "\"stream\": \"jobs\", \"level\": 2, \"cumulative\": true");
        complete(bus, "Apply", "level1", &removed);
        assert_string_equal(removed.result, "done");
        assert_string_equal(removed.error, "");
        assert_string_equal(removed.message, "");
        assert_non_null(strstr(removed.plan, "\"verdict\""));
        complete(bus, "Apply", "level2", &removed);
        assert_string_equal(removed.result, "done");
        complete(bus, "Apply", "level2", &removed);
        assert_string_equal(removed.result, "nothing-to-do");
        complete(bus, "Downgrade", "level1", &removed);
        assert_string_equal(removed.result, "done");
        complete(bus, "Disable", "level1", &removed);
        assert_string_equal(removed.result, "done");
        complete(bus, "Apply", "no_such", &removed);
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
        complete(bus, "Apply", "metric2", &removed);
        assert_true(metrics_have(bus, "klpd_level{stream=\"local/metrics\"} 2"));
        assert_true(metrics_have(bus, "klpd_refusals_total{rule=\"level-order\"} 0"));
        complete(bus, "Apply", "metric1", &removed);
        assert_string_equal(removed.result, "refused");
        assert_true(metrics_have(bus, "klpd_refusals_total{rule=\"level-order\"} 1"));
        assert_true(metrics_have(bus, "klpd_requests_total{result=\"refused\"} 1"));
        assert_true(metrics_have(bus, "klpd_level{stream=\"local/metrics\"} 2"));
        complete(bus, "Disable", "metric2", &removed);
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
        complete(bus, "Apply", "final", &removed);
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
        assert_true(apply(bus, "stall_busy", path, sizeof(path), NULL) >= 0);
        r = apply(other, "level1", second, sizeof(second), &error);
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

        assert_true(cancel(other, path, NULL) >= 0);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        r = cancel(other, path, &error);
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
        assert_true(apply(bus, "slow_left", path, sizeof(path), NULL) >= 0);
        sd_bus_flush_close_unref(bus);
        bus_wait_removed(other, &removed, path);
        assert_string_equal(removed.result, "done");
        complete(other, "Disable", "slow_left", &removed);
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

static void test_patches_and_levels_are_shown(void **state) {
        sd_bus *bus = bus_connect();
        sd_bus_message *reply = NULL;
        const char *json;
        Removed removed;
        bool found = false;

        bus_watch(bus, &removed);
        complete(bus, "Apply", "level1", &removed);
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
        assert_true(sd_bus_message_has_signature(reply, "aa{sv}"));
        sd_bus_message_unref(reply);
        complete(bus, "Disable", "level1", &removed);
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
        complete(bus, "Apply", "level1", &removed);
        for (unsigned i = 0; i < 500 && !(properties && patches); i++)
                if (sd_bus_process(bus, NULL) == 0)
                        assert_true(sd_bus_wait(bus, 10000) >= 0);
        assert_true(properties);
        assert_true(patches);
        complete(bus, "Disable", "level1", &removed);
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

/* ---- who may ---- */

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
        return bus_start(program);
}

static int group_teardown(void **state) {
        return bus_stop();
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_interface_is_what_the_xml_says),
                cmocka_unit_test(test_names_that_are_none_are_refused),
                cmocka_unit_test(test_options_that_make_no_sense_are_refused),
                cmocka_unit_test(test_descriptors_that_could_hang_or_hurt_are_refused),
                cmocka_unit_test(test_unknown_members_and_wrong_signatures_are_refused),
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
                cmocka_unit_test(test_without_polkit_only_root_changes_anything),
                cmocka_unit_test(test_polkit_is_asked_about_each_action_of_its_own),
        };

        if (argc < 3)
                return 2;
        program = argv[1];
        xml_directory = argv[2];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
