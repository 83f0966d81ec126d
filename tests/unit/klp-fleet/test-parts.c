/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parts of klp-fleet that need no server: base64, back-off, messages, the slot's state machine, configuration, timers. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "klpd/klp-fleet/backoff.h"
#include "klpd/klp-fleet/base64.h"
#include "klpd/klp-fleet/document.h"
#include "klpd/klp-fleet/fleet-config.h"
#include "klpd/klp-fleet/http.h"
#include "klpd/klp-fleet/slot.h"
#include "klpd/klp-fleet/wait.h"

/* ---- base64, back-off ---- */

static void test_base64_is_the_one_of_the_rfc(void **state) {
        static const struct {
                const char *plain, *text;
        } cases[] = {
                { "", "" },
                { "f", "Zg==" },
                { "fo", "Zm8=" },
                { "foo", "Zm9v" },
                { "foob", "Zm9vYg==" },
                { "fooba", "Zm9vYmE=" },
                { "foobar", "Zm9vYmFy" },
                { "\xff\xfb\xef\xbe", "//vvvg==" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                _cleanup_free_ char *text = NULL, *plain = NULL;
                size_t n;

                assert_int_equal(base64_encode(cases[i].plain, strlen(cases[i].plain), &text), 0);
                assert_string_equal(text, cases[i].text);
                assert_int_equal(base64_decode(text, strlen(text), 100, &plain, &n), 0);
                assert_int_equal(n, strlen(cases[i].plain));
                assert_string_equal(plain, cases[i].plain);
        }
}

static void test_base64_refuses_every_other_form(void **state) {
        static const char *const bad[] = { "Z",    "Zg",   "Zg=",  "=",    "====", "Zg==Zg==", "Zh==", "Zm9=", "Zm 9",
                                           "Zm9-", "Zm9_", "\nZg=", "Zg=a", "Z===", "Zm8=Zm8=" };
        char *out = NULL;
        size_t n = 7;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++)
                assert_int_equal(base64_decode(bad[i], strlen(bad[i]), 100, &out, &n), -EBADMSG);
        assert_int_equal(base64_decode("Zm9v", 4, 2, &out, &n), -E2BIG);
        assert_null(out);
        assert_int_equal(n, 7);
}

static void test_backoff_doubles_up_to_its_limit_and_half_of_it_is_random(void **state) {
        Backoff b = { 100, 1000, 0 };
        static const uint64_t spans[] = { 100, 200, 400, 800, 1000, 1000 };

        for (size_t i = 0; i < ELEMENTSOF(spans); i++) {
                Backoff copy = b;
                uint64_t low = backoff_next(&copy, 0), high;

                copy = b;
                high = backoff_next(&copy, spans[i] / 2);
                assert_int_equal(low, spans[i] / 2);
                assert_int_equal(high, spans[i]);
                for (uint64_t random = 0; random < 5000; random += 7) {
                        uint64_t usec;

                        copy = b;
                        usec = backoff_next(&copy, random);
                        assert_true(usec >= low && usec <= high);
                }
                b = copy;
        }
        b.n = UINT32_MAX;
        assert_true(backoff_next(&b, UINT64_MAX) <= 1000);
        assert_int_equal(b.n, UINT32_MAX);
        backoff_reset(&b);
        assert_true(backoff_next(&b, 3) <= 100);
        /* The largest that can be configured. */
        b = (Backoff) { 1, UINT64_MAX, 200 };
        assert_true(backoff_next(&b, 0) >= UINT64_MAX / 4);
}

/* ---- messages ---- */

static void test_requests_are_what_the_servers_understand(void **state) {
        _cleanup_free_ char *read = NULL, *watch = NULL, *put = NULL, *grant = NULL, *user = NULL, *lock = NULL;

        assert_int_equal(etcd_request_read("/a", "/a.p7s", &read), 0);
        assert_string_equal(read, "{\"success\":[{\"request_range\":{\"key\":\"L2E=\"}},"
                                  "{\"request_range\":{\"key\":\"L2EucDdz\"}}]}");
        assert_int_equal(etcd_request_watch("/a", "/a.p7s", 8, &watch), 0);
        assert_string_equal(watch, "{\"create_request\":{\"key\":\"L2E=\",\"range_end\":\"L2EucDdzAA==\","
                                   "\"start_revision\":\"8\"}}");
        assert_int_equal(etcd_request_put("/h", "{}", UINT64_C(9007199254740993), &put), 0);
        assert_string_equal(put, "{\"key\":\"L2g=\",\"value\":\"e30=\",\"lease\":\"9007199254740993\"}");
        assert_int_equal(etcd_request_lease_grant(60, &grant), 0);
        assert_string_equal(grant, "{\"TTL\":\"60\"}");
        assert_int_equal(etcd_request_authenticate("u", "a\"b\n", &user), 0);
        assert_string_equal(user, "{\"name\":\"u\",\"password\":\"a\\\"b\\n\"}");
        assert_int_equal(lock_request("id", "default", &lock), 0);
        assert_string_equal(lock, "{\"client_params\":{\"group\":\"default\",\"id\":\"id\"}}");
}

static void test_read_gives_both_values_of_one_revision(void **state) {
        static const char text[] =
                "{\"header\":{\"cluster_id\":\"324952591200643719\",\"member_id\":\"3319814642761637952\","
                "\"revision\":\"2\",\"raft_term\":\"2\"},\"succeeded\":true,\"responses\":[{\"response_range\":"
                "{\"header\":{\"revision\":\"2\"},\"kvs\":[{\"key\":\"aw==\",\"create_revision\":\"2\","
                "\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"aGVsbG8=\"}],\"count\":\"1\"}},"
                "{\"response_range\":{\"header\":{\"revision\":\"2\"}}}]}";
        _cleanup_etcd_read_ EtcdRead read = {};
        PolicyError error;

        assert_int_equal(etcd_parse_read(text, strlen(text), &read, &error), 0);
        assert_int_equal(read.revision, 2);
        assert_int_equal(read.document_size, 5);
        assert_string_equal(read.document, "hello");
        assert_null(read.signature);
}

static int watch(const char *text, EtcdWatch *ret) {
        PolicyError error;

        return etcd_parse_watch(text, strlen(text), ret, &error);
}

static void test_watch_tells_change_from_end_from_nothing(void **state) {
        EtcdWatch what;

        assert_int_equal(watch("{\"result\":{\"header\":{},\"created\":true}}", &what), 0);
        assert_int_equal(what, ETCD_WATCH_NOTHING);
        assert_int_equal(watch("{\"result\":{\"events\":[{\"type\":\"DELETE\",\"kv\":{}}]}}", &what), 0);
        assert_int_equal(what, ETCD_WATCH_CHANGED);
        assert_int_equal(watch("{\"result\":{\"canceled\":true,\"compact_revision\":\"3\"}}", &what), 0);
        assert_int_equal(what, ETCD_WATCH_ENDED);
        assert_int_equal(watch("{\"error\":{\"grpc_code\":16}}", &what), 0);
        assert_int_equal(what, ETCD_WATCH_ENDED);
        assert_int_equal(watch("{\"result\":{\"events\":1}}", &what), -EBADMSG);
        assert_int_equal(watch("", &what), -EBADMSG);
}

static void test_leases_of_a_grant_and_of_a_stream(void **state) {
        static const char grant[] = "{\"header\":{},\"ID\":\"2324035525359594252\",\"TTL\":\"30\"}";
        static const char gone[] = "{\"result\":{\"header\":{},\"ID\":\"12345\"}}";
        uint64_t lease = 0, ttl = 0;

        assert_int_equal(etcd_parse_lease(grant, strlen(grant), &lease, &ttl, NULL), 0);
        assert_int_equal(lease, UINT64_C(2324035525359594252));
        assert_int_equal(ttl, 30);
        assert_int_equal(etcd_parse_lease(gone, strlen(gone), &lease, &ttl, NULL), 0);
        assert_int_equal(lease, 12345);
        assert_int_equal(ttl, 0);
}

static void test_errors_are_one_line_with_what_the_server_says(void **state) {
        static const char etcd[] = "{\"error\":\"x\",\"message\":\"etcdserver: lease\\nnot found\",\"code\":5}";
        static const char lock[] = "{\"kind\":\"failed_lock\",\"value\":\"semaphore \\u001b[31mfull\"}";
        char buf[512];

        assert_int_equal(etcd_describe_error(404, etcd, strlen(etcd), buf, sizeof(buf)), ETCD_CODE_NOT_FOUND);
        assert_string_equal(buf, "etcdserver: lease not found (404)");
        assert_int_equal(etcd_describe_error(500, "nonsense", 8, buf, sizeof(buf)), 0);
        assert_string_equal(buf, "status 500");
        assert_string_equal(lock_describe_error(409, lock, strlen(lock), buf, sizeof(buf)),
                            "failed_lock: semaphore  [31mfull (409)");
        assert_string_equal(lock_describe_error(409, "[]", 2, buf, sizeof(buf)), "status 409");
}

/* ---- the slot ---- */

static void test_slot_goes_through_a_change(void **state) {
        Slot s = {};

        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE); /* klpd isn't there */
        assert_int_equal(slot_set_wanted(&s, "t"), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_ACQUIRE);
        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE); /* one at a time */
        slot_done(&s, false);
        assert_int_equal(slot_next(&s), SLOT_ACTION_ACQUIRE);
        slot_done(&s, true);
        assert_int_equal(slot_next(&s), SLOT_ACTION_GRANT);
        slot_done(&s, true);
        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE);
        assert_int_equal(slot_set_wanted(&s, ""), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_RELEASE);
        slot_done(&s, true);
        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE);
}

static void test_slot_that_is_no_longer_wanted_is_given_back_however_far_it_had_come(void **state) {
        for (unsigned success = 0; success < 2; success++) {
                Slot s = {};

                assert_int_equal(slot_set_wanted(&s, "t"), 0);
                assert_int_equal(slot_next(&s), SLOT_ACTION_ACQUIRE);
                assert_int_equal(slot_set_wanted(&s, ""), 0);
                assert_int_equal(slot_next(&s), SLOT_ACTION_NONE);
                slot_done(&s, success); /* also a request that failed may have had its effect */
                assert_int_equal(slot_next(&s), SLOT_ACTION_RELEASE);
        }
}

static void test_slot_of_an_unreachable_klpd_is_left_alone(void **state) {
        Slot s = {};

        assert_int_equal(slot_set_wanted(&s, "t"), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_ACQUIRE);
        assert_int_equal(slot_set_wanted(&s, NULL), 0);
        slot_done(&s, true);
        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE);
        /* The next klpd wants the same one: it has it, and hasn't been told. */
        assert_int_equal(slot_set_wanted(&s, "t"), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_GRANT);
        slot_done(&s, true);
        assert_int_equal(slot_set_wanted(&s, NULL), 0);
        assert_int_equal(slot_set_wanted(&s, "t"), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_GRANT);
}

static void test_slot_grant_is_for_the_token_that_was_told(void **state) {
        Slot s = { .have = SLOT_HAVE_YES };

        assert_int_equal(slot_set_wanted(&s, "one"), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_GRANT);
        assert_int_equal(slot_set_wanted(&s, "two"), 0);
        slot_done(&s, true);
        assert_int_equal(slot_next(&s), SLOT_ACTION_GRANT);
        assert_string_equal(s.telling, "two");
}

static void test_slot_tokens_are_bounded(void **state) {
        char token[SLOT_TOKEN_MAX + 2];
        Slot s = {};

        memset(token, 'x', sizeof(token));
        token[SLOT_TOKEN_MAX + 1] = 0;
        assert_int_equal(slot_set_wanted(&s, token), -EINVAL);
        assert_int_equal(slot_next(&s), SLOT_ACTION_NONE); /* and nothing is given back */
        assert_int_equal(slot_set_wanted(&s, "a b"), -EINVAL);
        token[SLOT_TOKEN_MAX] = 0;
        assert_int_equal(slot_set_wanted(&s, token), 0);
        assert_int_equal(slot_next(&s), SLOT_ACTION_ACQUIRE);
}

/* ---- configuration, files ---- */

static void test_urls_are_http_without_secrets(void **state) {
        static const struct {
                const char *url;
                bool ok, plain;
        } cases[] = {
                { "https://lock.example:8443/x", true, false }, { "http://lock.example", true, true },
                { "http://127.0.0.1:2379", true, false },       { "http://[::1]:2379", true, false },
                { "http://localhost:2379", true, false },       { "http://127.0.0.1.example", true, true },
                { "ftp://x", false, false },                    { "file:///etc/shadow", false, false },
                { "https://u:p@x", false, false },              { "https://u@x", false, false },
                { "x", false, false },                          { "https://x/ y", false, false },
                { "", false, false },                           { "https://", false, false },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                bool plain = false;

                if (http_url_is_valid(cases[i].url, &plain) != cases[i].ok || plain != cases[i].plain)
                        fail_msg("%s", cases[i].url);
        }
}

typedef struct Tree {
        char path[64];
        int fd;
} Tree;

static int setup(void **state) {
        Tree *t = calloc(1, sizeof(*t));

        assert_non_null(t);
        (void) strcpy(t->path, "/tmp/klp-fleet-parts-XXXXXX");
        assert_non_null(mkdtemp(t->path));
        t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(t->fd >= 0);
        assert_int_equal(mkdirat(t->fd, "run", 0755), 0);
        assert_int_equal(mkdirat(t->fd, "etc", 0755), 0);
        assert_int_equal(mkdirat(t->fd, "etc/klpd", 0755), 0);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        char command[128];
        Tree *t = *state;

        close(t->fd);
        (void) snprintf(command, sizeof(command), "rm -rf '%s'", t->path);
        assert_int_equal(system(command), 0);
        free(t);
        return 0;
}

static void put(const Tree *t, const char *path, const char *text) {
        int fd = openat(t->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
}

static void count(const char *text, void *userdata) {
        (*(unsigned *) userdata)++;
}

static void test_configuration(void **state) {
        FleetConfig config;
        Tree *t = *state;
        unsigned n = 0;
        char why[600];

        assert_int_equal(fleet_config_load(t->fd, count, &n, &config), 0);
        assert_int_equal(n, 0);
        assert_int_equal(config.etcd.endpoints.n, 0);
        assert_string_equal(config.lock.url, "");
        assert_false(fleet_config_problem(&config, why, sizeof(why)));

        put(t, "etc/klpd/klp-fleet.conf",
            "[Host]\nId=h_1\n[FleetLock]\nUrl=https://l/\nGroup=a.b-c\nRetrySec=10min\nTimeoutSec=0\nGroup=a b\n"
            "[Etcd]\nEndpoints= https://a:1/  http://b:2 \nStatusPrefix=\nLeaseSec=2s\nUser=u\nWhat=x\n");
        assert_int_equal(fleet_config_load(t->fd, count, &n, &config), 0);
        assert_int_equal(n, 4);
        assert_string_equal(config.id, "h_1");
        assert_string_equal(config.lock.group, "a.b-c");
        assert_int_equal(config.lock.retry_max_usec, 600000000); /* not less than the first */
        assert_int_equal(config.lock.timeout_usec, 30000000);
        assert_int_equal(config.etcd.endpoints.n, 2);
        assert_string_equal(config.etcd.endpoints.urls[0], "https://a:1");
        assert_string_equal(config.etcd.endpoints.urls[1], "http://b:2");
        assert_string_equal(config.etcd.status_prefix, "");
        assert_int_equal(config.etcd.lease_usec, 60000000);
        assert_true(fleet_config_problem(&config, why, sizeof(why)));
        assert_non_null(strstr(why, "http://b:2"));
}

static void test_documents_that_are_there_are_not_written_again(void **state) {
        static const char path[] = "run/klp-fleet/fleet.d/etcd.json";
        struct stat before, after;
        Tree *t = *state;

        assert_int_equal(document_store(t->fd, "etcd", "one", 3, "s", 1), 1);
        assert_int_equal(fstatat(t->fd, path, &before, 0), 0);
        assert_int_equal(document_store(t->fd, "etcd", "one", 3, "s", 1), 0);
        assert_int_equal(fstatat(t->fd, path, &after, 0), 0);
        assert_int_equal(before.st_ino, after.st_ino);
        assert_int_equal(document_store(t->fd, "etcd", "two", 3, "s", 1), 1);
        assert_int_equal(fstatat(t->fd, path, &after, 0), 0);
        assert_int_not_equal(before.st_ino, after.st_ino);
        /* Somebody puts a link there: it is replaced, not followed. */
        assert_int_equal(unlinkat(t->fd, path, 0), 0);
        assert_int_equal(symlinkat("/dev/null", t->fd, path), 0);
        assert_int_equal(document_store(t->fd, "etcd", "two", 3, "s", 1), 1);
        assert_int_equal(fstatat(t->fd, path, &after, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(S_ISREG(after.st_mode));
}

/* ---- timers ---- */

#define SPAN UINT64_C(50000)

typedef struct Behind {
        sd_event_source *timer;
        uint64_t begun, over;
} Behind;

static int on_behind(sd_event_source *source, uint64_t usec, void *userdata) {
        Behind *b = userdata;

        /* The loop is behind: since it woke up more time has passed than is to be waited. */
        for (uint64_t woken = clock_usec(CLOCK_MONOTONIC); clock_usec(CLOCK_MONOTONIC) < woken + 2 * SPAN;)
                ;
        b->begun = clock_usec(CLOCK_BOOTTIME);
        return wait_start(b->timer, SPAN);
}

static int on_over(sd_event_source *source, uint64_t usec, void *userdata) {
        Behind *b = userdata;

        b->over = clock_usec(CLOCK_BOOTTIME);
        return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void test_a_pause_is_as_long_as_it_has_to_be_where_the_loop_is_behind(void **state) {
        sd_event_source *first = NULL;
        sd_event *event = NULL;
        clockid_t clock;
        Behind b = {};
        int enabled;

        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(wait_new(event, CLOCK_BOOTTIME, 1000, "pause", on_over, &b, &b.timer), 0);
        assert_true(sd_event_source_get_enabled(b.timer, &enabled) >= 0);
        assert_int_equal(enabled, SD_EVENT_OFF);
        assert_true(sd_event_source_get_time_clock(b.timer, &clock) >= 0);
        assert_int_equal(clock, CLOCK_BOOTTIME);
        assert_int_equal(wait_new(event, CLOCK_MONOTONIC, 0, "first", on_behind, &b, &first), 0);
        assert_int_equal(wait_start(b.timer, UINT64_MAX), 0); /* for ever, not in the past */
        assert_int_equal(wait_start(first, 0), 0);
        assert_true(sd_event_loop(event) >= 0);
        assert_true(b.over >= b.begun + SPAN);
        sd_event_source_disable_unref(first);
        sd_event_source_disable_unref(b.timer);
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_base64_is_the_one_of_the_rfc),
                cmocka_unit_test(test_base64_refuses_every_other_form),
                cmocka_unit_test(test_backoff_doubles_up_to_its_limit_and_half_of_it_is_random),
                cmocka_unit_test(test_requests_are_what_the_servers_understand),
                cmocka_unit_test(test_read_gives_both_values_of_one_revision),
                cmocka_unit_test(test_watch_tells_change_from_end_from_nothing),
                cmocka_unit_test(test_leases_of_a_grant_and_of_a_stream),
                cmocka_unit_test(test_errors_are_one_line_with_what_the_server_says),
                cmocka_unit_test(test_slot_goes_through_a_change),
                cmocka_unit_test(test_slot_that_is_no_longer_wanted_is_given_back_however_far_it_had_come),
                cmocka_unit_test(test_slot_of_an_unreachable_klpd_is_left_alone),
                cmocka_unit_test(test_slot_grant_is_for_the_token_that_was_told),
                cmocka_unit_test(test_slot_tokens_are_bounded),
                cmocka_unit_test(test_urls_are_http_without_secrets),
                cmocka_unit_test(test_a_pause_is_as_long_as_it_has_to_be_where_the_loop_is_behind),
                cmocka_unit_test_setup_teardown(test_configuration, setup, teardown),
                cmocka_unit_test_setup_teardown(test_documents_that_are_there_are_not_written_again, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
