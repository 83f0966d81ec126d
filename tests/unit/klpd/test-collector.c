/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Modules that are no longer used go late, also when klpd was restarted meanwhile, and what keeps them is said. */
#include "test-util.h"

#include "fake-hands.h"
#include "klpd/collector-record.h"
#include "klpd/collector.h"

#define BOOT "0123456789abcdef0123456789abcdef"

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Audit *audit;
        Config config;
        World world;
        Collector *collector;
        bool busy, removed, kept;
        size_t n_kept;
        char records[2048];
} Fixture;

static int keep_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;

        for (size_t i = 0; i < n_fields; i++)
                if (fields[i].iov_len > 8 && memcmp(fields[i].iov_base, "MESSAGE=", 8) == 0) {
                        size_t n = strlen(f->records);

                        (void) snprintf(f->records + n, sizeof(f->records) - n, "%.*s\n",
                                        (int) fields[i].iov_len - 8, (const char *) fields[i].iov_base + 8);
                }
        return 0;
}

static bool is_busy(void *userdata) {
        const Fixture *f = userdata;

        return f->busy;
}

static void on_removed(const char *module, void *userdata) {
        Fixture *f = userdata;

        f->removed = true;
}

static void on_kept(const char *module, void *userdata) {
        Fixture *f = userdata;

        f->kept = true;
}

static int count_kept(const char *module, const char *why, void *userdata) {
        Fixture *f = userdata;

        f->n_kept++;
        return 0;
}

static size_t n_kept(Fixture *f) {
        f->n_kept = 0;
        assert_int_equal(collector_foreach_kept(f->collector, count_kept, f), 0);
        return f->n_kept;
}

/* klpd, once more. */
static void start(Fixture *f) {
        f->collector = collector_free(f->collector);
        assert_int_equal(collector_new(&f->world,
                                       &(CollectorHandlers){.busy = is_busy,
                                                            .removed = on_removed,
                                                            .kept = on_kept,
                                                            .userdata = f},
                                       &f->collector),
                         0);
        collector_load(f->collector);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        tree_write(&f->tree, "run/klpd/README", "");
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, "6.1", &f->hands), 0);
        assert_int_equal(audit_new(keep_record, f, &f->audit), 0);
        config_init(&f->config);
        f->world = (World) {
                .event = f->event,
                .hands = f->hands,
                .root_fd = f->tree.fd,
                .audit = f->audit,
                .config = &f->config,
                .boot_id = BOOT,
        };
        start(f);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        collector_free(f->collector);
        hands_free(f->hands);
        audit_free(f->audit);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

static void load(Fixture *f, const char *more, bool enabled) {
        char json[256];

        (void) snprintf(json, sizeof(json), "{\"name\": \"a\", \"kernel\": \"6.1\"%s}", more);
        assert_int_equal(fake_insmod(f->hands, json, enabled), 0);
}

static void test_a_module_goes_when_its_grace_is_over_whoever_put_it_there(void **state) {
        Fixture *f = *state;

        load(f, "", false);
        assert_true(collector_add(f->collector, "a") >= 0);
        start(f); /* restarted within the grace period of 600 s */
        assert_int_equal(collector_pending(f->collector), 1);
        assert_true(fake_is_loaded(f->hands, "a"));
        f->config.module_grace_usec = 0;
        assert_true(collector_add(f->collector, "a") >= 0);
        start(f);
        loop_until(f->event, &f->removed);
        assert_false(fake_is_loaded(f->hands, "a"));
        assert_non_null(strstr(f->records, "Removed livepatch module 'a'"));
        start(f);
        assert_int_equal(collector_pending(f->collector), 0);
}

static void test_who_is_used_again_is_forgotten(void **state) {
        Fixture *f = *state;

        load(f, "", true);
        f->config.module_grace_usec = 0;
        assert_true(collector_add(f->collector, "a") >= 0);
        while (collector_pending(f->collector) > 0)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_true(fake_is_loaded(f->hands, "a"));
        start(f);
        assert_int_equal(collector_pending(f->collector), 0);
}

static void test_who_cannot_be_removed_is_recorded_once_with_the_reason(void **state) {
        Fixture *f = *state;

        load(f, ", \"tags\": [\"test.busymod\"]", false);
        f->config.module_grace_usec = 0;
        assert_true(collector_add(f->collector, "a") >= 0);
        assert_null(collector_why(f->collector, "a"));
        loop_until(f->event, &f->kept);
        assert_non_null(strstr(f->records, "can't be removed"));
        assert_non_null(strstr(f->records, "in use (fake)"));
        assert_non_null(strstr(collector_why(f->collector, "a"), "in use (fake)"));
        assert_int_equal(n_kept(f), 1);
        assert_int_equal(collector_pending(f->collector), 1);
        start(f);
        assert_int_equal(collector_pending(f->collector), 1);
}

static void test_who_holds_it_is_said(void **state) {
        Fixture *f = *state;

        load(f, ", \"tags\": [\"test.held\"]", false);
        f->config.module_grace_usec = 0;
        assert_true(collector_add(f->collector, "a") >= 0);
        loop_until(f->event, &f->kept);
        assert_non_null(strstr(collector_why(f->collector, "a"), "reference count is 1"));
        tree_write(&f->tree, "sys/module/a/holders/b", "");
        start(f);
        assert_int_equal(n_kept(f), 0);
        f->kept = false;
        loop_until(f->event, &f->kept);
        assert_string_equal(collector_why(f->collector, "a"), "used by module 'b'");
        assert_int_equal(n_kept(f), 1);
        assert_true(fake_is_loaded(f->hands, "a"));
}

static void test_what_is_of_another_boot_or_makes_no_sense_is_not_believed(void **state) {
        static const char *const odd[] = {
                        "klpd-collector 1 " BOOT "\na 1",
                        "klpd-collector 1 " BOOT "\na\n",
                        "klpd-collector 2 " BOOT "\n",
                        "klpd-collector 1 " BOOT "\n../a 1\n",
                        "klpd-collector 1 " BOOT "\na -1\n",
                        "",
                        "klpd-collector 1 " BOOT "\na 99999999999999999999\n",
        };
        Fixture *f = *state;
        CollectorEntry *entries;
        size_t n;

        tree_write(&f->tree, COLLECTOR_RECORD_PATH,
                   "klpd-collector 1 ffffffffffffffffffffffffffffffff\na 1\n");
        start(f);
        assert_int_equal(collector_pending(f->collector), 0);
        for (size_t i = 0; i < ELEMENTSOF(odd); i++)
                assert_int_equal(collector_record_parse(odd[i], strlen(odd[i]), BOOT, &entries, &n),
                                 -EBADMSG);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_a_module_goes_when_its_grace_is_over_whoever_put_it_there),
                T(test_who_is_used_again_is_forgotten),
                T(test_who_cannot_be_removed_is_recorded_once_with_the_reason),
                T(test_who_holds_it_is_said),
                T(test_what_is_of_another_boot_or_makes_no_sense_is_not_believed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
