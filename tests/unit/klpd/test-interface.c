/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's interface on a real bus: members against the XML, and hostile arguments. The kernel is played
 * (fake-klpd.c). Arguments: fake-klpd and the directory of the XML files, from meson.
 */
#include "bus-fixture.h"

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

static void test_the_interface_is_what_the_xml_says(void **state) {
        sd_bus *bus = bus_connect();
        Removed removed;
        char path[64];

        compare_with_xml(bus, PATH, INTERFACE, "org.klpd1.xml");
        compare_with_xml(bus, PATH, "org.klpd1.Fleet", "org.klpd1.Fleet.xml");
        compare_with_xml(bus, PATH, "org.klpd1.Slot", "org.klpd1.Slot.xml");
        bus_watch(bus, &removed);
        bus_add_patch("stall_xml", "\"tags\": [\"test.stall\"]");
        assert_true(bus_apply(bus, "stall_xml", path, sizeof(path), NULL) >= 0);
        compare_with_xml(bus, path, "org.klpd1.Job", "org.klpd1.Job.xml");
        assert_true(bus_cancel(bus, path, NULL) >= 0);
        bus_wait_removed(bus, &removed, path);
        assert_string_equal(removed.result, "cancelled");
        sd_bus_flush_close_unref(bus);
}

/* ---- hostile arguments ---- */

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
        r = bus_cancel(bus, "/org/klpd1/job/_4711", &error);
        assert_string_equal(bus_error_of(r, &error), "org.freedesktop.DBus.Error.UnknownObject");
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
                cmocka_unit_test(test_the_interface_is_what_the_xml_says),
                cmocka_unit_test(test_names_that_are_none_are_refused),
                cmocka_unit_test(test_options_that_make_no_sense_are_refused),
                cmocka_unit_test(test_descriptors_that_could_hang_or_hurt_are_refused),
                cmocka_unit_test(test_unknown_members_and_wrong_signatures_are_refused),
        };

        if (argc < 3)
                return 2;
        program = argv[1];
        xml_directory = argv[2];
        return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
