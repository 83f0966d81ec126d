/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-util.h"

#include "klpd/config.h"

static char reported[4096];

static void report(const char *text, void *userdata) {
        size_t n = strlen(reported);

        (void) snprintf(reported + n, sizeof(reported) - n, "%s\n", text);
}

static int load(const Tree *t, Config *ret) {
        reported[0] = 0;
        return config_load(t->fd, report, NULL, ret);
}

static void assert_same(const Config *a, const Config *b) {
        assert_int_equal(a->transition_timeout_usec, b->transition_timeout_usec);
        assert_int_equal(a->helper_timeout_usec, b->helper_timeout_usec);
        assert_int_equal(a->module_grace_usec, b->module_grace_usec);
        assert_int_equal(a->settle_assist, b->settle_assist);
        assert_int_equal(a->settle_assist_cpus, b->settle_assist_cpus);
}

static void test_without_files_the_defaults_hold(void **state) {
        Config config, defaults;
        Tree t;

        tree_new(&t);
        config_init(&defaults);
        assert_int_equal(load(&t, &config), 0);
        assert_same(&config, &defaults);
        assert_string_equal(reported, "");
        tree_done(&t);
}

static void test_values_are_read_and_comments_are_not(void **state) {
        Config config;
        Tree t;

        tree_new(&t);
        tree_write(&t, "etc/klpd/klpd.conf",
                   "# a comment\n; another\n\n[Manager]\n TransitionTimeoutSec = 1min 30s "
                   "\r\nModuleGraceSec=0\n"
                   "SettleAssist=no\nSettleAssistMaxCPUs=4\n#HelperTimeoutSec=1");
        assert_int_equal(load(&t, &config), 0);
        assert_int_equal(config.transition_timeout_usec, 90000000);
        assert_int_equal(config.module_grace_usec, 0);
        assert_false(config.settle_assist);
        assert_int_equal(config.settle_assist_cpus, 4);
        assert_int_equal(config.helper_timeout_usec, 60000000);
        assert_string_equal(reported, "");
        tree_done(&t);
}

static void test_nonsense_is_reported_with_its_line_and_changes_nothing(void **state) {
        Config config, defaults;
        Tree t;

        tree_new(&t);
        config_init(&defaults);
        tree_write(&t, "etc/klpd/klpd.conf",
                   "Early=1\n[Other]\nTransitionTimeoutSec=1\n[Manager]\nTransitionTimeoutSec="
                   "0\nTransitionTimeoutSec=-1\n"
                   "HelperTimeoutSec=soon\nSettleAssist=perhaps\nSettleAssistMaxCPUs=0\nSettleAssistMaxCPUs="
                   "5000\n"
                   "Typo=1\nnothing\n=x\nModuleGraceSec=99999999999999999999999\n");
        assert_int_equal(load(&t, &config), 0);
        assert_same(&config, &defaults);
        for (unsigned line = 1; line <= 14; line++) {
                char where[64];

                (void) snprintf(where, sizeof(where), "/etc/klpd/klpd.conf:%u: ", line);
                if (line == 3 || line == 4) /* in a section that isn't ours; our own header */
                        assert_null(strstr(reported, where));
                else
                        assert_non_null(strstr(reported, where));
        }
        tree_done(&t);
}

static void test_dropins_apply_in_the_order_of_their_names_whatever_the_directory(void **state) {
        Config config;
        Tree t;

        tree_new(&t);
        tree_write(&t, "etc/klpd/klpd.conf", "[Manager]\nModuleGraceSec=1\n");
        tree_write(&t, "usr/lib/klpd/klpd.conf.d/50-b.conf", "[Manager]\nModuleGraceSec=50\n");
        tree_write(&t, "etc/klpd/klpd.conf.d/10-a.conf",
                   "[Manager]\nModuleGraceSec=10\nHelperTimeoutSec=10\n");
        tree_write(&t, "run/klpd/klpd.conf.d/40-c.conf", "[Manager]\nModuleGraceSec=40\n");
        tree_write(&t, "run/klpd/klpd.conf.d/99-not.conf.bak", "[Manager]\nModuleGraceSec=99\n");
        assert_int_equal(load(&t, &config), 0);
        assert_int_equal(config.module_grace_usec, 50000000);
        assert_int_equal(config.helper_timeout_usec, 10000000);
        tree_done(&t);
}

static void test_a_dropin_in_etc_hides_its_namesake_and_dev_null_masks(void **state) {
        Config config;
        Tree t;

        tree_new(&t);
        tree_write(&t, "usr/lib/klpd/klpd.conf", "[Manager]\nHelperTimeoutSec=7\n");
        tree_write(&t, "usr/lib/klpd/klpd.conf.d/10.conf",
                   "[Manager]\nModuleGraceSec=1\nHelperTimeoutSec=8\n");
        tree_write(&t, "etc/klpd/klpd.conf.d/10.conf", "[Manager]\nModuleGraceSec=2\n");
        tree_write(&t, "run/klpd/klpd.conf.d/20.conf", "[Manager]\nModuleGraceSec=3\n");
        assert_int_equal(symlinkat("/dev/null", t.fd, "etc/klpd/klpd.conf.d/20.conf"), 0);
        assert_int_equal(load(&t, &config), 0);
        assert_int_equal(config.module_grace_usec, 2000000);
        assert_int_equal(config.helper_timeout_usec, 7000000);
        tree_done(&t);
}

static void test_files_that_are_too_long_or_binary_are_ignored_and_reported(void **state) {
        static char large[70000];
        Config config, defaults;
        Tree t;

        tree_new(&t);
        config_init(&defaults);
        memset(large, '#', sizeof(large));
        tree_write_n(&t, "etc/klpd/klpd.conf", large, sizeof(large));
        tree_write_n(&t, "etc/klpd/klpd.conf.d/1.conf", "[Manager]\nModuleGraceSec=3\0\n", 28);
        assert_int_equal(load(&t, &config), 0);
        assert_same(&config, &defaults);
        assert_non_null(strstr(reported, "/etc/klpd/klpd.conf: larger"));
        assert_non_null(strstr(reported, "/etc/klpd/klpd.conf.d/1.conf: contains a NUL"));
        tree_done(&t);
}

static void test_timespans(void **state) {
        static const struct {
                const char *text;
                int r;
                uint64_t usec;
        } cases[] = {
                        {"0", 0, 0},
                        {"90", 0, 90000000},
                        {"500ms", 0, 500000},
                        {"1min 30s", 0, 90000000},
                        {"2h", 0, 7200000000},
                        {" 1 s ", 0, 1000000},
                        {"7us", 0, 7},
                        {"7d", 0, CONFIG_TIMEOUT_MAX_USEC},
                        {"8d", -ERANGE, 0},
                        {"18446744073709551616", -ERANGE, 0},
                        {"", -EINVAL, 0},
                        {"s", -EINVAL, 0},
                        {"1.5s", -EINVAL, 0},
                        {"-1", -EINVAL, 0},
                        {"1fortnight", -EINVAL, 0},
                        {"6d 25h", -ERANGE, 0},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                uint64_t usec = 4711;

                assert_int_equal(config_parse_timespan(cases[i].text, &usec), cases[i].r);
                assert_int_equal(usec, cases[i].r == 0 ? cases[i].usec : 4711);
        }
}

static void test_health_checks_add_up_over_lines_and_an_empty_one_clears(void **state) {
        Config config;
        Tree t;

        tree_new(&t);
        tree_write(&t, "etc/klpd/klpd.conf",
                   "[Manager]\nHealthUnits=old.service\nHealthUnits=\nHealthUnits=a.service  "
                   "check@b.service\n"
                   "HealthUnits=c.target\nHealthCommand=/bin/one \"a "
                   "b\"\nHealthCommand=/bin/two\nHealthTimeoutSec=5\n");
        assert_int_equal(load(&t, &config), 0);
        assert_string_equal(reported, "");
        assert_true(config_checks_health(&config));
        assert_int_equal(strv_length(config.health_units), 3);
        assert_string_equal(config.health_units[1], "check@b.service");
        assert_int_equal(strv_length(config.health_commands), 2);
        assert_string_equal(config.health_commands[0], "/bin/one \"a b\"");
        assert_int_equal(config.health_timeout_usec, 5000000);
        config_done(&config);
        tree_write(&t, "etc/klpd/klpd.conf",
                   "[Manager]\nHealthUnits=../"
                   "x.service\nHealthUnits=nodot\nHealthCommand=relative\nHealthTimeoutSec=0\n");
        assert_int_equal(load(&t, &config), 0);
        assert_non_null(strstr(reported, "klpd.conf:2"));
        assert_non_null(strstr(reported, "klpd.conf:3"));
        assert_non_null(strstr(reported, "klpd.conf:4"));
        assert_non_null(strstr(reported, "klpd.conf:5"));
        assert_false(config_checks_health(&config));
        tree_done(&t);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_without_files_the_defaults_hold),
                cmocka_unit_test(test_values_are_read_and_comments_are_not),
                cmocka_unit_test(test_nonsense_is_reported_with_its_line_and_changes_nothing),
                cmocka_unit_test(test_dropins_apply_in_the_order_of_their_names_whatever_the_directory),
                cmocka_unit_test(test_a_dropin_in_etc_hides_its_namesake_and_dev_null_masks),
                cmocka_unit_test(test_files_that_are_too_long_or_binary_are_ignored_and_reported),
                cmocka_unit_test(test_timespans),
                cmocka_unit_test(test_health_checks_add_up_over_lines_and_an_empty_one_clears),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
