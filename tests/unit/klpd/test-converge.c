/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Convergence (klpd/converge.h) with the manager as it is, hands that play a kernel, and a clock that a test sets:
 * documents are files in a tree, and what the host does about them is what the fake kernel was told.
 */
#include "test-util.h"

#include <sys/utsname.h>

#include "fake-hands.h"
#include "klpd/fleet-kept.h"
#include "klpd/manager.h"
#include "klpd/state-file.h"

#define NOW UINT64_C(1795251600000000) /* 2026-11-21T09:00:00Z */
#define HOUR (UINT64_C(3600) * 1000000)

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Manager *m;
        struct utsname uts;
        uint64_t now;
        bool unsynchronized;
        char results[2048]; /* KLPD_RESULT of the records of edge "fleet", each behind a blank */
} Fixture;

static uint64_t fake_now(void *userdata) {
        return ((Fixture *) userdata)->now;
}

static bool fake_synchronized(void *userdata) {
        return !((Fixture *) userdata)->unsynchronized;
}

static int keep_result(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;
        const char *result = NULL;
        bool fleet = false;
        int length = 0;

        for (size_t i = 0; i < n_fields; i++) {
                const char *s = fields[i].iov_base;

                if (fields[i].iov_len == strlen("KLPD_EDGE=fleet") && memcmp(s, "KLPD_EDGE=fleet", 15) == 0)
                        fleet = true;
                if (fields[i].iov_len > 12 && memcmp(s, "KLPD_RESULT=", 12) == 0) {
                        result = s + 12;
                        length = (int) fields[i].iov_len - 12;
                }
        }
        if (fleet && result) {
                size_t n = strlen(f->results);

                (void) snprintf(f->results + n, sizeof(f->results) - n, " %.*s", length, result);
        }
        return 0;
}

static bool told(const Fixture *f, const char *result) {
        char text[64];
        const char *p;

        (void) snprintf(text, sizeof(text), " %s", result);
        for (p = f->results; (p = strstr(p, text)); p++)
                if (p[strlen(text)] == ' ' || !p[strlen(text)])
                        return true;
        return false;
}

static void add_patch(const Fixture *f, const char *name, const char *rest) {
        char path[256], text[1024];

        (void) snprintf(path, sizeof(path), "usr/lib/klpd/patches/%s/%s.ko", f->uts.release, name);
        (void) snprintf(text, sizeof(text), "{\"name\": \"%s\", \"kernel\": \"%s\"%s%s%s}", name, f->uts.release,
                        strstr(rest, "cumulative") ? "" : ", \"cumulative\": true", *rest ? ", " : "", rest);
        tree_write(&f->tree, path, text);
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        f->now = NOW;
        assert_int_equal(uname(&f->uts), 0);
        tree_write(&f->tree, "var/lib/README", "klpd makes its directory itself\n");
        tree_write(&f->tree, "proc/sys/kernel/hostname", "web-1\n");
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", "one");
        tree_write(&f->tree, "etc/machine-id", "0123456789abcdef0123456789abcdef\n");
        tree_write(&f->tree, "etc/os-release", "NAME=x\nID=debian\nVERSION_ID=\"12\"\n");
        tree_write(&f->tree, "etc/machine-info", "CHASSIS=vm\nTAGS=blue:canary\n");
        tree_write(&f->tree, "etc/klpd/klpd.conf",
                   "[Manager]\nProbationSec=0\nFleetRetrySec=1ms\nFleetTries=2\nTransitionTimeoutSec=50ms\n");
        add_patch(f, "p1", "\"level\": 1");
        add_patch(f, "p2", "\"level\": 2");
        *state = f;
        return 0;
}

static void start(Fixture *f) {
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, f->uts.release, &f->hands), 0);
        assert_int_equal(manager_new(f->event, f->tree.fd, f->hands, keep_result, f, &f->m), 0);
        f->m->converge->clock = (ConvergeClock) { fake_now, fake_synchronized, f };
        assert_int_equal(manager_start(f->m), 0);
}

static int teardown(void **state) {
        Fixture *f = *state;

        manager_free(f->m);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

static const FleetStatus *status(const Fixture *f) {
        return &f->m->fleet_status;
}

/* The loop runs until it is so; the deadline is for a machine that does much else. */
#define UNTIL(f, condition)                                                                                \
        do {                                                                                               \
                uint64_t _end = now_usec(CLOCK_MONOTONIC) + UINT64_C(120) * 1000000;                       \
                while (!(condition) && now_usec(CLOCK_MONOTONIC) < _end)                                   \
                        assert_true(sd_event_run((f)->event, 10000) >= 0);                                 \
                if (!(condition))                                                                          \
                        print_error("%s: phase %s: %s; told%s\n", #condition, status(f)->phase,            \
                                    (f)->m->converge->message ?: "", (f)->results);                        \
                assert_true(condition);                                                                    \
        } while (false)

/* Nothing happens for a while; the only thing that can be shown by waiting. */
static void idle(Fixture *f) {
        for (unsigned i = 0; i < 30; i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
}

static bool phase_is(const Fixture *f, const char *phase) {
        return streq(status(f)->phase, phase);
}

static void document(const Fixture *f, const char *name, const char *text) {
        char path[128], other[160];

        /* As people replace files: written beside, renamed. */
        (void) snprintf(path, sizeof(path), "etc/klpd/fleet.d/%s", name);
        (void) snprintf(other, sizeof(other), "%s.new", path);
        tree_write(&f->tree, other, text);
        assert_int_equal(renameat(f->tree.fd, other, f->tree.fd, path), 0);
}

static void want(const Fixture *f, const char *level) {
        char text[512];

        (void) snprintf(text, sizeof(text), "{\"rules\": [{\"name\": \"all\", \"level\": %s}]}", level);
        document(f, "a.json", text);
}

static void test_the_host_goes_up_down_and_to_nothing_as_documents_change(void **state) {
        Fixture *f = *state;

        want(f, "2");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_true(status(f)->managed && status(f)->has_level && !status(f)->drift);
        assert_int_equal(status(f)->level, 2);
        assert_int_equal(status(f)->last_success_usec, NOW);
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && !fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        want(f, "\"none\"");
        UNTIL(f, !fake_is_enabled(f->hands, "p1") && phase_is(f, "idle") && streq(status(f)->verdict, "done"));
        want(f, "\"latest\"");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_true(told(f, "converged"));
        /* Taken away: stays. */
        fake_log_clear(f->hands);
        assert_int_equal(unlinkat(f->tree.fd, "etc/klpd/fleet.d/a.json", 0), 0);
        UNTIL(f, !status(f)->managed);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_a_directory_that_comes_later_is_noticed(void **state) {
        Fixture *f = *state;

        start(f);
        UNTIL(f, f->m->converge->loaded);
        assert_false(status(f)->managed);
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

static void test_a_level_that_arrives_in_the_repository_is_taken(void **state) {
        Fixture *f = *state;

        want(f, "3");
        start(f);
        UNTIL(f, streq(status(f)->reason, "no-level"));
        add_patch(f, "p3", "\"level\": 3");
        UNTIL(f, fake_is_enabled(f->hands, "p3"));
}

static void test_a_broken_file_leaves_the_last_good_one_in_force(void **state) {
        Fixture *f = *state;

        want(f, "1");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        fake_log_clear(f->hands);
        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": \"none\"}]"); /* no end */
        UNTIL(f, told(f, "broken"));
        UNTIL(f, status(f)->n_problems == 1);
        assert_int_equal(status(f)->n_documents, 1);
        assert_true(status(f)->managed);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        want(f, "2");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && status(f)->n_problems == 0);
        /* One that anybody may write isn't the administrator's. */
        assert_int_equal(fchmodat(f->tree.fd, "etc/klpd/fleet.d/a.json", 0666, 0), 0);
        UNTIL(f, status(f)->n_problems == 1 && told(f, "refused"));
}

static void test_nothing_is_decided_while_a_document_never_was_good(void **state) {
        Fixture *f = *state;

        document(f, "a.json", "{\"rules\": ");
        document(f, "b.json", "{\"rules\": [{\"name\": \"all\", \"level\": 2}]}");
        start(f);
        UNTIL(f, told(f, "broken") && phase_is(f, "refused"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        document(f, "a.json", "{\"rules\": [{\"name\": \"first\", \"level\": 1}]}");
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
        assert_false(fake_is_enabled(f->hands, "p2"));
}

static void restart(Fixture *f) {
        manager_free(f->m);
        f->m = NULL;
        f->event = sd_event_unref(f->event);
        f->results[0] = 0;
        start(f);
}

static void test_a_file_that_is_broken_at_the_start_leaves_in_force_what_was_kept(void **state) {
        _cleanup_free_ char *kept = NULL, *json = NULL;
        Fixture *f = *state;
        size_t size;

        document(f, "b.json", "{\"rules\": [{\"name\": \"second\", \"level\": 1}]}");
        want(f, "2");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": \"none\"}]"); /* no end */
        restart(f);
        /* Another host, as far as the fake kernel is concerned: it is brought to what the earlier version says. */
        UNTIL(f, told(f, "broken") && fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_false(fake_is_enabled(f->hands, "p1"));
        assert_int_equal(status(f)->n_problems, 1);
        assert_int_equal(status(f)->n_documents, 2);
        assert_int_equal(converge_describe(f->m->converge, &json), 0);
        assert_non_null(strstr(json, "\"kept\":true"));
        document(f, "a.json", "{");
        UNTIL(f, status(f)->n_problems == 1 && phase_is(f, "idle"));
        idle(f);
        assert_true(fake_is_enabled(f->hands, "p2"));
        /* What was kept is damaged: as if klpd had never seen a good one. */
        assert_int_equal(state_file_read(f->tree.fd, FLEET_KEPT_DIRECTORY "/a.json", 4096, &kept, &size), 0);
        assert_non_null(strstr(kept, "\"level\": 2"));
        *strstr(kept, "\"level\": 2") = 'x';
        tree_write(&f->tree, FLEET_KEPT_DIRECTORY "/a.json", kept);
        restart(f);
        UNTIL(f, told(f, "broken") && phase_is(f, "refused"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        /* Mended, then taken away: nothing is kept of it. */
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && status(f)->n_problems == 0);
        assert_int_equal(faccessat(f->tree.fd, FLEET_KEPT_DIRECTORY "/a.json", F_OK, 0), 0);
        assert_int_equal(unlinkat(f->tree.fd, "etc/klpd/fleet.d/a.json", 0), 0);
        UNTIL(f, status(f)->n_documents == 1);
        assert_int_equal(faccessat(f->tree.fd, FLEET_KEPT_DIRECTORY "/a.json", F_OK, 0), -1);
        assert_int_equal(faccessat(f->tree.fd, FLEET_KEPT_DIRECTORY "/b.json", F_OK, 0), 0);
}

static void test_only_what_is_whole_is_taken_for_what_was_kept(void **state) {
        char text[] = "{ \"rules\": [] }\n", signature[] = "not\0really", big[] = "b.json";
        FleetKept k = { text, strlen(text), signature, sizeof(signature) }, back = {};
        _cleanup_free_ char *bytes = NULL;
        Fixture *f = *state;
        size_t size;

        assert_int_equal(fleet_kept_read(f->tree.fd, "a.json", &back), -ENOENT);
        assert_int_equal(fleet_kept_write(f->tree.fd, "a.json", &k), 0);
        assert_int_equal(fleet_kept_write(f->tree.fd, "../a.json", &k), -EINVAL);
        assert_int_equal(fleet_kept_read(f->tree.fd, "a.json", &back), 0);
        assert_int_equal(back.size, k.size);
        assert_string_equal(back.text, text);
        assert_int_equal(back.signature_size, sizeof(signature));
        assert_memory_equal(back.signature, signature, sizeof(signature));
        fleet_kept_done(&back);
        assert_int_equal(state_file_read(f->tree.fd, FLEET_KEPT_DIRECTORY "/a.json", 4096, &bytes, &size), 0);
        for (size_t i = 0; i < size; i++) {
                assert_int_equal(fleet_kept_parse(bytes, i, &back), -EBADMSG);
                bytes[i] ^= 1;
                assert_int_equal(fleet_kept_parse(bytes, size, &back), -EBADMSG);
                bytes[i] ^= 1;
        }
        assert_int_equal(fleet_kept_parse(bytes, size + 1, &back), -EBADMSG);
        /* One that is too large takes the place of the old one all the same: that isn't the last good one any more. */
        k.size = FLEET_KEPT_BYTES_MAX;
        assert_int_equal(fleet_kept_write(f->tree.fd, "a.json", &k), -E2BIG);
        assert_int_equal(fleet_kept_read(f->tree.fd, "a.json", &back), -ENOENT);
        k = (FleetKept) { .text = text, .size = strlen(text) };
        assert_int_equal(fleet_kept_write(f->tree.fd, "a.json", &k), 0);
        assert_int_equal(fleet_kept_write(f->tree.fd, big, &k), 0);
        assert_int_equal(fleet_kept_read(f->tree.fd, big, &back), 0);
        assert_null(back.signature);
        fleet_kept_done(&back);
        assert_int_equal(fleet_kept_tidy(f->tree.fd, (const char *const[]) { "a.json" }, 1), 0);
        assert_int_equal(fleet_kept_read(f->tree.fd, "a.json", &back), 0);
        fleet_kept_done(&back);
        assert_int_equal(fleet_kept_read(f->tree.fd, big, &back), -ENOENT);
}

static void test_a_document_from_the_network_without_a_signature_is_refused(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, "run/klp-fleet/fleet.d/a.json", "{\"rules\": [{\"name\": \"all\", \"level\": 2}]}");
        start(f);
        UNTIL(f, status(f)->n_problems == 1);
        idle(f);
        assert_false(status(f)->managed);
        assert_string_equal(fake_log(f->hands), "");
        /* And doesn't stand in the way of what the host's own say. */
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

/* With its signature first, as klp-fleet does it. */
static void network_document(const Fixture *f, const char *name, const char *signature, const char *text) {
        char path[128], other[160];

        (void) snprintf(path, sizeof(path), "run/klp-fleet/fleet.d/%s.json.p7s", name);
        tree_write(&f->tree, path, signature);
        (void) snprintf(path, sizeof(path), "run/klp-fleet/fleet.d/%s.json", name);
        (void) snprintf(other, sizeof(other), "run/klp-fleet/fleet.d/.%s.new", name);
        tree_write(&f->tree, other, text);
        assert_int_equal(renameat(f->tree.fd, other, f->tree.fd, path), 0);
}

#define SERIAL(serial, level) "{\"serial\": " serial ", \"rules\": [{\"name\": \"all\", \"level\": " level "}]}"

static void test_an_older_document_of_that_signer_is_a_replay_until_it_is_reset(void **state) {
        Fixture *f = *state;
        Failure failure = {};

        network_document(f, "net", "good somebody", SERIAL("7", "2"));
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        network_document(f, "net", "good somebody", SERIAL("6", "1"));
        UNTIL(f, told(f, "refused") && status(f)->n_problems == 1);
        idle(f);
        assert_true(fake_is_enabled(f->hands, "p2"));
        assert_int_equal(status(f)->n_documents, 1);
        /* The next klpd knows it, too; and has no other version to go by. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, status(f)->n_problems == 1);
        idle(f);
        assert_int_equal(status(f)->n_documents, 0);
        assert_string_equal(fake_log(f->hands), "");
        /* Another signer has serials of his own. */
        network_document(f, "net", "good another", SERIAL("1", "2"));
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        network_document(f, "net", "good somebody", SERIAL("6", "1"));
        UNTIL(f, status(f)->n_problems == 1);
        assert_int_equal(converge_reset_serial(f->m->converge, "other.json", 0, &failure), -ENOENT);
        failure_done(&failure);
        failure = (Failure) {};
        assert_int_equal(converge_reset_serial(f->m->converge, "net.json", 0, &failure), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && status(f)->n_problems == 0);
        assert_true(told(f, "serial-reset"));
}

static void test_only_good_signatures_count_and_what_vanishes_stays(void **state) {
        Fixture *f = *state;

        network_document(f, "net", "bad", SERIAL("1", "2"));
        start(f);
        UNTIL(f, told(f, "refused"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        network_document(f, "net", "error", SERIAL("1", "2"));
        UNTIL(f, told(f, "broken"));
        network_document(f, "net", "good somebody", SERIAL("1", "2"));
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle") && status(f)->n_problems == 0);
        assert_int_equal(unlinkat(f->tree.fd, "run/klp-fleet/fleet.d/net.json", 0), 0);
        UNTIL(f, status(f)->n_problems == 1);
        assert_true(status(f)->managed);
        /* The host's own come first. */
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
        manager_reload(f->m);
        UNTIL(f, status(f)->n_problems == 0);
}

static void test_the_hosts_own_need_a_signature_where_the_policy_says_so(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, "etc/klpd/policy.json", "{\"require_signature\": true, \"rules\": {\"integrity\": \"off\"}}");
        want(f, "2");
        start(f);
        UNTIL(f, told(f, "refused") && phase_is(f, "refused"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        tree_write(&f->tree, "etc/klpd/fleet.d/a.json.p7s", "good somebody");
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_labels_and_facts_choose_the_rule(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, "etc/klpd/labels.json", "{\"role\": \"web\", \"chassis\": \"said\"}");
        document(f, "a.json",
                 "{\"rules\": ["
                 "{\"name\": \"no\", \"level\": \"none\", \"match\": {\"labels\": {\"chassis\": [\"vm\"]}}},"
                 "{\"name\": \"yes\", \"level\": 1, \"match\": {\"hostname\": [\"WEB-*\"], \"os\": [\"debian:12\"],"
                 " \"machine_id\": [\"0123456789abcdef0123456789abcdef\"],"
                 " \"labels\": {\"role\": [\"w*\"], \"chassis\": [\"said\"], \"tag.canary\": [\"*\"]}}}]}");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
        assert_string_equal(status(f)->rule, "yes");
        tree_write(&f->tree, "etc/klpd/labels.json", "{\"role\": \"db\"}"); /* noticed, too */
        UNTIL(f, streq(status(f)->rule, "no"));
        UNTIL(f, !fake_is_enabled(f->hands, "p1"));
}

static void test_a_window_is_waited_for(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"*-*-* 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "window"));
        assert_int_equal(status(f)->until_usec, NOW + HOUR);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        f->now = NOW + HOUR + 1000000;
        converge_kick(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

static void test_a_window_that_cant_be_expanded_is_a_broken_document(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"Blursday 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, told(f, "broken"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_while_the_clock_is_uncertain_nothing_that_depends_on_time_begins(void **state) {
        Fixture *f = *state;

        f->unsynchronized = true;
        document(f, "a.json",
                 "{\"not_after\": \"2027-01-01T00:00:00Z\", \"rules\": [{\"name\": \"all\", \"level\": 1}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "clock"));
        f->unsynchronized = false;
        converge_kick(f->m->converge);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_int_equal(f->m->converge->record.last_trusted_usec, NOW);
        /* A clock that is back where it can't be. */
        f->now = NOW - HOUR;
        document(f, "a.json",
                 "{\"not_after\": \"2027-01-01T00:00:00Z\", \"rules\": [{\"name\": \"all\", \"level\": 2}]}");
        UNTIL(f, phase_is(f, "waiting") && streq(status(f)->reason, "clock"));
        idle(f);
        assert_false(fake_is_enabled(f->hands, "p2"));
}

static void request(Fixture *f, RequestKind kind, const char *patch) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        JobSpec *spec;
        Job *job;

        assert_int_equal(job_spec_new(kind, &spec), 0);
        assert_int_equal(job_spec_set_patch(spec, patch, NULL), 0);
        spec->by_hand = true;
        spec->uid = 0;
        assert_int_equal(manager_start_job(f->m, spec, &job, &error), 0);
        UNTIL(f, !f->m->job);
}

static void test_what_is_decided_by_hand_counts_until_it_is_given_back(void **state) {
        _cleanup_strv_free_ char **problems = NULL;
        Fixture *f = *state;
        Failure failure = {};

        want(f, "2");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        request(f, REQUEST_DOWNGRADE, "p1");
        UNTIL(f, status(f)->overridden);
        assert_true(status(f)->drift);
        assert_true(told(f, "override"));
        assert_true(manager_problems(f->m, &problems) >= 0);
        assert_int_equal(strv_length(problems), 1);
        assert_non_null(strstr(problems[0], "Drift"));
        idle(f);
        assert_true(fake_is_enabled(f->hands, "p1"));
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_false(status(f)->overridden);
        assert_false(status(f)->drift);
}

static void test_by_hand_to_where_the_document_wants_it_is_no_override(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"windows\": [{\"calendar\": \"*-*-* 10:00\","
                 " \"duration\": \"1h\"}]}]}");
        start(f);
        UNTIL(f, phase_is(f, "waiting"));
        request(f, REQUEST_APPLY, "p1");
        UNTIL(f, streq(status(f)->verdict, "done"));
        assert_false(status(f)->overridden);
}

static void test_a_rule_that_holds_holds_everything_and_says_so(void **state) {
        Fixture *f = *state;

        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": 2, \"hold\": \"audit until Friday\"}]}");
        start(f);
        UNTIL(f, streq(status(f)->reason, "hold-rule"));
        assert_true(told(f, "hold-rule"));
        request(f, REQUEST_APPLY, "p2");
        assert_false(fake_is_enabled(f->hands, "p2"));
        assert_int_equal(status(f)->refused_by_rule[RULE_HOLD], 1);
        want(f, "2");
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_what_failed_is_tried_again_and_then_never_for_that_document(void **state) {
        Fixture *f = *state;
        Failure failure = {};

        add_patch(f, "p3", "\"level\": 3, \"tags\": [\"test.fail\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        assert_true(status(f)->drift);
        assert_true(told(f, "retry"));
        assert_true(told(f, "failed"));
        assert_int_equal(status(f)->n_failed, 2); /* FleetTries= */
        fake_log_clear(f->hands);
        /* Not by another klpd either. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        /* An operator says so. */
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, status(f)->n_failed == 2);
        UNTIL(f, phase_is(f, "failed"));
        /* Another document, too. */
        want(f, "2");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
}

static void test_what_somebody_takes_back_is_not_brought_about_for_ever(void **state) {
        Fixture *f = *state;
        unsigned n = 0;

        want(f, "1");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        for (; n < 10 && !phase_is(f, "failed"); n++) {
                /* Behind klpd's back: the same kernel, another klpd that finds nothing enabled. */
                f->m = manager_free(f->m);
                f->event = sd_event_unref(f->event);
                start(f);
                UNTIL(f, phase_is(f, "idle") || phase_is(f, "failed"));
        }
        assert_true(phase_is(f, "failed"));
        assert_int_equal(n, 2);
}

static void test_a_refusal_is_said_with_its_rules_and_asked_again_when_something_changed(void **state) {
        Fixture *f = *state;

        add_patch(f, "p3", "\"level\": 3, \"conflicts\": [\"tag:never\"], \"requires\": [\"acme/base>=1\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "refused"));
        assert_true(told(f, "policy"));
        assert_true(status(f)->drift);
        assert_true(strv_contains(f->m->converge->refused_rules, "requires"));
        assert_int_equal(status(f)->n_failed, 0);
        idle(f);
        assert_int_equal(status(f)->refused_by_rule[RULE_REQUIRES], 1); /* asked once */
        add_patch(f, "p3", "\"level\": 3");
        UNTIL(f, fake_is_enabled(f->hands, "p3"));
}

static void test_a_goal_is_reached_over_an_intermediate_where_the_rule_names_one(void **state) {
        Fixture *f = *state;

        add_patch(f, "step", "\"level\": 2, \"stream\": \"other\", \"tags\": [\"half-way\"], \"cumulative\": false");
        add_patch(f, "p3", "\"level\": 3, \"requires\": [\"tag:half-way\"], \"cumulative\": false");
        document(f, "a.json",
                 "{\"rules\": [{\"name\": \"all\", \"level\": 3, \"intermediates\": [\"nonexistent\", \"step\"]}]}");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p3") && phase_is(f, "idle"));
        assert_true(fake_is_enabled(f->hands, "step"));
}

static void test_a_digest_that_a_document_pins_is_held_to(void **state) {
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"levels\": [{\"kernel\": \"*\", \"level\": 1, \"digest\": "
                 "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"}],"
                 " \"rules\": [{\"name\": \"all\", \"level\": 1}]}");
        start(f);
        UNTIL(f, streq(status(f)->reason, "no-level"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
}

static void test_quarantine_meets_the_desired_level(void **state) {
        const RepositoryEntry *entry;
        Fixture *f = *state;
        Failure failure = {};
        char digest[65];

        start(f);
        UNTIL(f, f->m->converge->loaded && (entry = repository_find(f->m->repository, "p2")));
        (void) snprintf(digest, sizeof(digest), "%s", entry->patch->digest);
        assert_int_equal(probation_quarantine(f->m->probation, digest, "p2", "test"), 0);
        want(f, "2");
        UNTIL(f, streq(status(f)->reason, "quarantine"));
        assert_true(status(f)->drift);
        /* latest goes past it */
        want(f, "\"latest\"");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_false(status(f)->drift);
        assert_int_equal(probation_unquarantine(f->m->probation, "p2", 0, &failure), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2"));
}

static void test_a_change_waits_for_its_slot_and_gives_it_back(void **state) {
        Fixture *f = *state;
        char token[SLOT_TOKEN_MAX + 1];

        document(f, "a.json", "{\"rules\": [{\"name\": \"all\", \"level\": 1, \"slot\": true}]}");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_WANTED);
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_true(*token);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_int_equal(converge_grant(f->m->converge, "another"), -ENOENT);
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_string_equal(converge_slot_wanted(f->m->converge), "");
        assert_int_equal(converge_grant(f->m->converge, token), -ENOENT);
        /* By hand needs none. */
        request(f, REQUEST_APPLY, "p2");
        assert_true(fake_is_enabled(f->hands, "p2"));
}

static void test_a_slot_is_kept_by_a_host_that_failed(void **state) {
        Fixture *f = *state;
        Failure failure = {};
        char token[SLOT_TOKEN_MAX + 1];

        tree_write(&f->tree, "etc/klpd/klpd.conf",
                   "[Manager]\nProbationSec=0\nFleetRetrySec=1ms\nFleetTries=2\nFleetSlot=yes\n");
        add_patch(f, "p3", "\"level\": 3, \"tags\": [\"test.fail\"]");
        want(f, "3");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, phase_is(f, "failed"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        /* Given back by an operator: what was granted before counts no more. */
        fake_log_clear(f->hands);
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
        UNTIL(f, phase_is(f, "slot"));
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_string_not_equal(converge_slot_wanted(f->m->converge), token);
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, phase_is(f, "failed"));
        /* Also by the next klpd. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "failed"));
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
        want(f, "2"); /* another document: with the same slot, once it is known to be there */
        UNTIL(f, phase_is(f, "slot"));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "idle"));
        assert_string_equal(converge_slot_wanted(f->m->converge), "");
        assert_int_equal(converge_resume(f->m->converge, 0, &failure), 0);
}

static void test_a_crash_on_trial_is_a_failure_that_keeps_the_slot(void **state) {
        Fixture *f = *state;
        char token[SLOT_TOKEN_MAX + 1];

        tree_write(&f->tree, "etc/klpd/klpd.conf", "[Manager]\nProbationSec=600\nFleetSlot=yes\n");
        want(f, "2");
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        (void) snprintf(token, sizeof(token), "%s", converge_slot_wanted(f->m->converge));
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "probation"));
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_HELD);
        assert_int_equal(status(f)->last_success_usec, 0);
        /* Killed, in the same boot: nothing is known yet, and the slot stays. (This kernel forgets what was
         * enabled, so it is tried once more, when the slot is known to be there.) */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        start(f);
        UNTIL(f, phase_is(f, "slot"));
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_grant(f->m->converge, token), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && phase_is(f, "probation"));
        /* The host crashes. */
        f->m = manager_free(f->m);
        f->event = sd_event_unref(f->event);
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", "two");
        start(f);
        UNTIL(f, streq(status(f)->reason, "quarantine") && told(f, "failed"));
        assert_true(status(f)->drift);
        idle(f);
        assert_string_equal(fake_log(f->hands), "");
        assert_string_equal(converge_slot_wanted(f->m->converge), token);
        assert_int_equal(converge_slot_state(f->m->converge), SLOT_FAILED);
}

static void test_a_record_that_cant_be_trusted_is_said_and_left_alone(void **state) {
        static const char *const bad[] = {
                "",
                "{}",
                "{\"version\":1}",
                "{\"version\":2,\"last_trusted_usec\":0,\"last_success_usec\":0,\"goal\":null,\"goal_since_usec\":0,"
                "\"overridden\":false,\"override_stream\":null,\"override_by\":null,\"override_usec\":0,\"serials\":[],"
                "\"failed\":[],\"attempt\":{\"document\":null,\"content\":null,\"boot_id\":null,\"slot\":null,"
                "\"tries\":0,\"job\":0,\"open\":false,\"failed\":false}}",
                "{\"version\":1,\"last_trusted_usec\":0,\"last_success_usec\":0,\"goal\":null,\"goal_since_usec\":0,"
                "\"overridden\":false,\"override_stream\":null,\"override_by\":null,\"override_usec\":0,\"serials\":[],"
                "\"failed\":[],\"attempt\":{\"document\":null,\"content\":null,\"boot_id\":null,\"slot\":null,"
                "\"tries\":0,\"job\":0,\"open\":true,\"failed\":false}}",
        };
        Fixture *f = *state;

        want(f, "1");
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                tree_write(&f->tree, FLEET_RECORD_PATH, bad[i]);
                start(f);
                UNTIL(f, phase_is(f, "refused"));
                idle(f);
                assert_string_equal(fake_log(f->hands), "");
                f->m = manager_free(f->m);
                f->event = sd_event_unref(f->event);
        }
        assert_int_equal(unlinkat(f->tree.fd, FLEET_RECORD_PATH, 0), 0);
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
}

static void test_the_record_is_read_as_it_was_written(void **state) {
        _cleanup_free_ char *text = NULL, *again = NULL;
        FleetRecord r = { .last_trusted_usec = 7, .overridden = true }, copy = {};

        for (unsigned i = 0; i < FLEET_RECORD_FAILED_MAX + 3; i++) {
                char content[32];

                (void) snprintf(content, sizeof(content), "a/b=%u", i);
                assert_int_equal(fleet_record_add_failed(&r, "document", content, "wh\"y\n", i), 0);
        }
        assert_int_equal(r.n_failed, FLEET_RECORD_FAILED_MAX);
        assert_null(fleet_record_find_failed(&r, "document", "a/b=2")); /* the oldest went */
        assert_non_null(fleet_record_find_failed(&r, "document", "a/b=3"));
        assert_int_equal(fleet_record_set_serial(&r, "key", "name", 17), 0);
        assert_int_equal(fleet_record_set_serial(&r, "key", "other", UINT64_MAX), 0);
        assert_int_equal(fleet_record_set_serial(&r, "key", "name", 18), 0);
        assert_int_equal(fleet_record_serial(&r, "key", "name"), 18);
        assert_int_equal(fleet_record_serial(&r, "another", "name"), 0);
        assert_int_equal(fleet_record_format(&r, &text), 0);
        assert_int_equal(fleet_record_parse(text, strlen(text), &copy, NULL), 0);
        assert_int_equal(fleet_record_format(&copy, &again), 0);
        assert_string_equal(again, text);
        assert_int_equal(fleet_record_forget_serial(&copy, "name"), 1);
        assert_int_equal(fleet_record_serial(&copy, "key", "name"), 0);
        assert_true(fleet_record_serial(&copy, "key", "other") == UINT64_MAX);
        fleet_record_done(&r);
        fleet_record_done(&copy);
}

static void test_describe_is_json_with_the_reason_for_it(void **state) {
        _cleanup_free_ char *text = NULL;
        Fixture *f = *state;

        document(f, "a.json",
                 "{\"levels\": [{\"kernel\": \"*\", \"level\": 2, \"fixes\": [\"CVE-2026-0107\"]}], \"rules\": ["
                 "{\"name\": \"others\", \"level\": 1, \"match\": {\"hostname\": [\"db-*\"]}},"
                 "{\"name\": \"web\", \"level\": 2, \"hold\": \"audit\"}]}");
        start(f);
        UNTIL(f, streq(status(f)->rule, "web"));
        assert_int_equal(converge_describe(f->m->converge, &text), 0);
        assert_non_null(strstr(text, "\"reason\":\"hold-rule\""));
        assert_non_null(strstr(text, "\"open_fixes\":[\"CVE-2026-0107\"]"));
        assert_non_null(strstr(text, "\"why\":\"hostname\""));
        assert_non_null(strstr(text, "\"label\":\"tag.blue\""));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_the_host_goes_up_down_and_to_nothing_as_documents_change),
                T(test_a_directory_that_comes_later_is_noticed),
                T(test_a_level_that_arrives_in_the_repository_is_taken),
                T(test_a_broken_file_leaves_the_last_good_one_in_force),
                T(test_a_file_that_is_broken_at_the_start_leaves_in_force_what_was_kept),
                T(test_only_what_is_whole_is_taken_for_what_was_kept),
                T(test_nothing_is_decided_while_a_document_never_was_good),
                T(test_a_document_from_the_network_without_a_signature_is_refused),
                T(test_an_older_document_of_that_signer_is_a_replay_until_it_is_reset),
                T(test_only_good_signatures_count_and_what_vanishes_stays),
                T(test_the_hosts_own_need_a_signature_where_the_policy_says_so),
                T(test_labels_and_facts_choose_the_rule),
                T(test_a_window_is_waited_for),
                T(test_a_window_that_cant_be_expanded_is_a_broken_document),
                T(test_while_the_clock_is_uncertain_nothing_that_depends_on_time_begins),
                T(test_what_is_decided_by_hand_counts_until_it_is_given_back),
                T(test_by_hand_to_where_the_document_wants_it_is_no_override),
                T(test_a_rule_that_holds_holds_everything_and_says_so),
                T(test_what_failed_is_tried_again_and_then_never_for_that_document),
                T(test_what_somebody_takes_back_is_not_brought_about_for_ever),
                T(test_a_refusal_is_said_with_its_rules_and_asked_again_when_something_changed),
                T(test_a_goal_is_reached_over_an_intermediate_where_the_rule_names_one),
                T(test_a_digest_that_a_document_pins_is_held_to),
                T(test_quarantine_meets_the_desired_level),
                T(test_a_change_waits_for_its_slot_and_gives_it_back),
                T(test_a_slot_is_kept_by_a_host_that_failed),
                T(test_a_crash_on_trial_is_a_failure_that_keeps_the_slot),
                T(test_a_record_that_cant_be_trusted_is_said_and_left_alone),
                cmocka_unit_test(test_the_record_is_read_as_it_was_written),
                T(test_describe_is_json_with_the_reason_for_it),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
