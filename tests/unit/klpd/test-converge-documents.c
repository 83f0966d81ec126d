/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Convergence (klpd/converge.h): which documents count, whose they are, and what klpd remembers of them. */
#include "converge-fixture.h"

#include "klpd/fleet-kept.h"
#include "klpd/state-file.h"

#define SERIAL(serial, level) "{\"serial\": " serial ", \"rules\": [{\"name\": \"all\", \"level\": " level "}]}"

static void test_a_directory_that_comes_later_is_noticed(void **state) {
        Fixture *f = *state;

        start(f);
        UNTIL(f, f->m->converge->loaded);
        assert_false(status(f)->managed);
        want(f, "1");
        UNTIL(f, fake_is_enabled(f->hands, "p1"));
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

static void test_names_hide_each_other_as_with_systemd_and_the_networks_hide_nothing(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, "usr/lib/klpd/fleet.d/a.json", "{\"rules\": [{\"name\": \"usr\", \"level\": 1}]}");
        network_document(f, "a", "good somebody", "{\"rules\": [{\"name\": \"net\", \"level\": \"none\"}]}");
        start(f);
        UNTIL(f, fake_is_enabled(f->hands, "p1") && phase_is(f, "idle"));
        assert_string_equal(status(f)->rule, "usr");
        assert_int_equal(status(f)->n_documents, 2);
        tree_write(&f->tree, "run/klpd/fleet.d/a.json", "{\"rules\": [{\"name\": \"run\", \"level\": 2}]}");
        UNTIL(f, fake_is_enabled(f->hands, "p2") && streq(status(f)->rule, "run"));
        assert_int_equal(status(f)->n_documents, 2);
        /* Another name counts beside it, in the order of names: 0.json comes before a.json. */
        document(f, "0.json", "{\"rules\": [{\"name\": \"first\", \"level\": 1, \"match\": {\"hostname\": [\"web-*\"]}}]}");
        UNTIL(f, fake_is_enabled(f->hands, "p1") && streq(status(f)->rule, "first"));
        assert_int_equal(status(f)->n_documents, 3);
        assert_int_equal(unlinkat(f->tree.fd, "etc/klpd/fleet.d/0.json", 0), 0);
        UNTIL(f, fake_is_enabled(f->hands, "p2") && streq(status(f)->rule, "run"));
        /* A link to /dev/null masks all of that name, but the network's, which comes last. */
        assert_int_equal(symlinkat("/dev/null", f->tree.fd, "etc/klpd/fleet.d/a.json"), 0);
        UNTIL(f, streq(status(f)->rule, "net") && !fake_is_enabled(f->hands, "p2"));
        assert_int_equal(status(f)->n_documents, 1);
        assert_int_equal(status(f)->n_problems, 0);
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

int main(void) {
        const struct CMUnitTest tests[] = {
                T(test_a_directory_that_comes_later_is_noticed),
                T(test_a_broken_file_leaves_the_last_good_one_in_force),
                T(test_names_hide_each_other_as_with_systemd_and_the_networks_hide_nothing),
                T(test_nothing_is_decided_while_a_document_never_was_good),
                T(test_a_file_that_is_broken_at_the_start_leaves_in_force_what_was_kept),
                T(test_only_what_is_whole_is_taken_for_what_was_kept),
                T(test_a_document_from_the_network_without_a_signature_is_refused),
                T(test_an_older_document_of_that_signer_is_a_replay_until_it_is_reset),
                T(test_only_good_signatures_count_and_what_vanishes_stays),
                T(test_the_hosts_own_need_a_signature_where_the_policy_says_so),
                T(test_a_record_that_cant_be_trusted_is_said_and_left_alone),
                cmocka_unit_test(test_the_record_is_read_as_it_was_written),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
