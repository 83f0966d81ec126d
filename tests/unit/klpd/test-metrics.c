/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd tells monitoring: held to the text format by a reader written from its description, and by promtool
 * where there is one.
 */
#include "test-util.h"

#include <ctype.h>

#include "klpd/metrics.h"

/* ---- a reader of the format ---- */

#define SAMPLES_MAX 256

typedef struct Sample {
        char name[128], labels[2][2][1024], value[64];
        unsigned n_labels;
} Sample;

typedef struct Reading {
        Sample samples[SAMPLES_MAX];
        size_t n;
        char names[SAMPLES_MAX][128], types[SAMPLES_MAX][16];
        size_t n_names;
} Reading;

static size_t name_length(const char *p) {
        size_t n = 0;

        while (isalpha((unsigned char) p[n]) || p[n] == '_' || (n > 0 && isdigit((unsigned char) p[n])))
                n++;
        return n;
}

static const char *read_name(const char *p, char *ret) {
        size_t n = name_length(p);

        assert_in_range(n, 1, 127);
        memcpy(ret, p, n);
        ret[n] = 0;
        return p + n;
}

static const char *read_labels(const char *p, Sample *s) {
        do {
                char *out = s->labels[s->n_labels][1];

                p = read_name(p + 1, s->labels[s->n_labels][0]);
                assert_int_equal(*p++, '=');
                assert_int_equal(*p++, '"');
                for (; *p != '"'; p++) {
                        assert_true(*p && *p != '\n');
                        if (*p == '\\') {
                                p++;
                                assert_true(*p == '\\' || *p == '"' || *p == 'n');
                                *out++ = *p == 'n' ? '\n' : *p;
                        } else
                                *out++ = *p;
                }
                *out = 0;
                p++;
                s->n_labels++;
        } while (*p == ',');
        assert_int_equal(*p++, '}');
        return p;
}

static void read_sample(const char *p, Reading *r) {
        Sample *s = &r->samples[r->n++];
        size_t n;

        assert_true(r->n < SAMPLES_MAX);
        p = read_name(p, s->name);
        if (*p == '{')
                p = read_labels(p, s);
        assert_int_equal(*p++, ' ');
        n = strspn(p, "0123456789.");
        assert_true(n > 0 && p[n] == 0);
        (void) snprintf(s->value, sizeof(s->value), "%s", p);
        /* Of the metric that was begun last. */
        assert_true(r->n_names > 0);
        assert_string_equal(s->name, r->names[r->n_names - 1]);
        if (streq(r->types[r->n_names - 1], "counter"))
                assert_string_equal(s->name + strlen(s->name) - 6, "_total");
        for (size_t i = 0; i + 1 < r->n; i++)
                assert_false(streq(r->samples[i].name, s->name) &&
                             memcmp(r->samples[i].labels, s->labels, sizeof(s->labels)) == 0);
}

static void read_text(const char *text, Reading *r) {
        char *copy = strdup(text), *next = copy, *line;
        char name[128];

        memset(r, 0, sizeof(*r));
        assert_non_null(copy);
        assert_int_equal(text[strlen(text) - 1], '\n');
        while ((line = strsep(&next, "\n")) && next) {
                if (strncmp(line, "# HELP ", 7) == 0) {
                        const char *p = read_name(line + 7, name);

                        assert_true(*p == ' ' && p[1] && !strchr(p, '\\'));
                        for (size_t i = 0; i < r->n_names; i++)
                                assert_string_not_equal(r->names[i], name);
                        (void) strcpy(r->names[r->n_names], name);
                        assert_int_equal(strncmp(name, "klpd_", 5), 0);
                        line = strsep(&next, "\n");
                        assert_int_equal(strncmp(line, "# TYPE ", 7), 0);
                        p = read_name(line + 7, name);
                        assert_string_equal(name, r->names[r->n_names]);
                        assert_true(streq(p, " gauge") || streq(p, " counter"));
                        (void) strcpy(r->types[r->n_names++], p + 1);
                } else
                        read_sample(line, r);
        }
        free(copy);
}

/* The value of the sample with that label (NULL: of the only one), or NULL. */
static const char *find(const Reading *r, const char *name, const char *label) {
        for (size_t i = 0; i < r->n; i++)
                if (streq(r->samples[i].name, name) && (!label || streq(r->samples[i].labels[0][1], label)))
                        return r->samples[i].value;
        return NULL;
}

/* ---- the tests ---- */

static Reading reading;
static FleetStatus fleet;
static Metrics metrics;

static int setup(void **state) {
        fleet = (FleetStatus){.stream = "", .rule = "", .document = ""};
        metrics = (Metrics){.version = "1", .kernel = "6.1", .fleet = &fleet, .record = true};
        return 0;
}

static void format(void) {
        _cleanup_free_ char *text = NULL;

        assert_int_equal(metrics_format(&metrics, &text), 0);
        read_text(text, &reading);
}

static void push(Inventory *inventory, const char *name, const char *vendor, uint32_t level, PatchKind kind) {
        Patch *p;

        assert_int_equal(patch_new(name, &p), 0);
        free(p->vendor);
        p->vendor = strdup(vendor);
        p->level = level;
        p->kind = kind;
        assert_int_equal(inventory_push(inventory, p), 0);
        patch_unref(p);
}

static void test_nothing_known_is_zeros_and_no_level(void **state) {
        format();
        assert_null(find(&reading, "klpd_level", NULL));
        assert_null(find(&reading, "klpd_desired_level", NULL));
        assert_string_equal(find(&reading, "klpd_drift", NULL), "0");
        assert_string_equal(find(&reading, "klpd_mode", "normal"), "1");
        assert_string_equal(find(&reading, "klpd_mode", "off"), "0");
        assert_string_equal(find(&reading, "klpd_last_success_timestamp_seconds", NULL), "0.000000");
        for (Rule rule = 0; rule < _RULE_MAX; rule++)
                assert_string_equal(find(&reading, "klpd_refusals_total", rule_to_string(rule)), "0");
}

static void test_record_that_cannot_be_read_says_nothing_of_quarantine(void **state) {
        metrics.n_quarantined = 3;
        format();
        assert_string_equal(find(&reading, "klpd_quarantined_patches", NULL), "3");
        metrics.record = false;
        format();
        assert_null(find(&reading, "klpd_quarantined_patches", NULL));
}

static void test_levels_are_one_for_each_stream(void **state) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;

        assert_int_equal(inventory_new("6.1", &inventory), 0);
        push(inventory, "a1", "acme", 1, PATCH_MANAGED);
        push(inventory, "a2", "acme", 2, PATCH_MANAGED);
        push(inventory, "b", "beta", 7, PATCH_PLAIN);
        push(inventory, "x", "local", 9, PATCH_FOREIGN);
        metrics.inventory = inventory;
        format();
        assert_string_equal(find(&reading, "klpd_level", "acme/base"), "2");
        assert_string_equal(find(&reading, "klpd_level", "beta/base"), "7");
        assert_null(find(&reading, "klpd_level", "local/base"));
        assert_string_equal(find(&reading, "klpd_patches", NULL), "4");
}

static void test_fleet_and_requests_are_said(void **state) {
        fleet.managed = fleet.has_desired = fleet.drift = true;
        fleet.stream = "acme/base";
        fleet.desired = 3;
        fleet.last_success_usec = UINT64_C(1795285955000042);
        fleet.last_transition_usec = 1500000;
        fleet.n_done = UINT64_MAX;
        fleet.refused_by_rule[RULE_BLOCK_DISABLE] = 2;
        metrics.slot_held = true;
        metrics.n_stalled = 4;
        format();
        assert_string_equal(find(&reading, "klpd_desired_level", "acme/base"), "3");
        assert_string_equal(find(&reading, "klpd_drift", NULL), "1");
        assert_string_equal(find(&reading, "klpd_last_success_timestamp_seconds", NULL), "1795285955.000042");
        assert_string_equal(find(&reading, "klpd_last_transition_seconds", NULL), "1.500000");
        assert_string_equal(find(&reading, "klpd_requests_total", "done"), "18446744073709551615");
        assert_string_equal(find(&reading, "klpd_refusals_total", "block-disable"), "2");
        assert_string_equal(find(&reading, "klpd_slot", "held"), "1");
        assert_string_equal(find(&reading, "klpd_slot", "wanted"), "0");
        assert_string_equal(find(&reading, "klpd_stalled_tasks", NULL), "4");
}

/* Whatever a label's value is, the reader gets it back. */
static void test_values_of_labels_survive(void **state) {
        static const char alphabet[] = "\\\\\"\"\nn{}=, a\t\xc3\xa4#";
        uint32_t random = 1;
        char value[65];

        fleet.managed = fleet.has_desired = true;
        for (unsigned i = 0; i < 2000; i++) {
                size_t n = i % sizeof(value);

                for (size_t k = 0; k < n; k++) {
                        random = random * 1664525 + 1013904223;
                        value[k] = alphabet[(random >> 16) % (sizeof(alphabet) - 1)];
                }
                value[n] = 0;
                fleet.stream = metrics.kernel = value;
                format();
                assert_non_null(find(&reading, "klpd_desired_level", value));
                assert_string_equal(reading.samples[0].labels[1][1], value);
        }
}

static void test_file_is_replaced_at_once_and_readable(void **state) {
        char path[128], command[256];
        struct stat st;
        mode_t mask;
        char *text;
        Tree t;

        tree_new(&t);
        mask = umask(0077);
        assert_int_equal(metrics_write(t.fd, "/dir/klpd.prom", "a 1\n"), -ENOENT);
        assert_int_equal(mkdirat(t.fd, "dir", 0755), 0);
        assert_int_equal(metrics_write(t.fd, "/dir/klpd.prom", "a 1\n"), 0);
        assert_int_equal(fstatat(t.fd, "dir/klpd.prom", &st, 0), 0);
        assert_int_equal(st.st_mode & 07777, 0644);
        /* A link in its place isn't followed, and what a killed klpd left behind isn't in the way. */
        assert_int_equal(unlinkat(t.fd, "dir/klpd.prom", 0), 0);
        assert_int_equal(symlinkat("elsewhere", t.fd, "dir/klpd.prom"), 0);
        tree_write_n(&t, "dir/.klpd.prom.new", "half of something long", 22);
        assert_int_equal(metrics_format(&metrics, &text), 0);
        assert_int_equal(metrics_write(t.fd, "/dir/klpd.prom", text), 0);
        assert_int_equal(fstatat(t.fd, "dir/klpd.prom", &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(S_ISREG(st.st_mode));
        assert_int_equal(st.st_size, strlen(text));
        assert_int_equal(faccessat(t.fd, "dir/.klpd.prom.new", F_OK, 0), -1);
        free(text);
        umask(mask);

        (void) snprintf(path, sizeof(path), "%s/dir/klpd.prom", t.path);
        (void) snprintf(command, sizeof(command), "! command -v promtool >/dev/null || promtool check metrics <%s",
                        path);
        assert_int_equal(system(command), 0);
        tree_done(&t);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup(test_nothing_known_is_zeros_and_no_level, setup),
                cmocka_unit_test_setup(test_record_that_cannot_be_read_says_nothing_of_quarantine, setup),
                cmocka_unit_test_setup(test_levels_are_one_for_each_stream, setup),
                cmocka_unit_test_setup(test_fleet_and_requests_are_said, setup),
                cmocka_unit_test_setup(test_values_of_labels_survive, setup),
                cmocka_unit_test_setup(test_file_is_replaced_at_once_and_readable, setup),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
