/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test-util.h"

#include "fake-hands.h"
#include "klpd/repository.h"
#include "klpd/state-file.h"

#define RELEASE "6.1.0-47-amd64"
#define VENDOR_DIR "usr/lib/klpd/patches/" RELEASE "/"
#define IMPORT_DIR "var/lib/klpd/patches/" RELEASE "/"

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Repository *repository;
        RepositoryWait *wait;
        bool done;
} Fixture;

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, RELEASE, &f->hands), 0);
        assert_int_equal(repository_new(f->event, f->hands, f->tree.fd, RELEASE, &f->repository), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        repository_free(f->repository);
        hands_free(f->hands);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

static void on_done(void *userdata) {
        Fixture *f = userdata;

        f->done = true;
        f->wait = repository_wait_free(f->wait);
}

static void refresh(Fixture *f) {
        f->done = false;
        assert_int_equal(repository_refresh(f->repository, on_done, f, &f->wait), 0);
        assert_false(f->done);
        loop_until(f->event, &f->done);
}

static void test_a_missing_directory_is_an_empty_repository(void **state) {
        Fixture *f = *state;
        size_t n;

        refresh(f);
        (void) repository_entries(f->repository, &n);
        assert_int_equal(n, 0);
        assert_null(repository_find(f->repository, "x"));
}

static void test_entries_are_ordered_by_level_as_a_number(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;
        size_t n;

        tree_write(&f->tree, VENDOR_DIR "a10.ko", "{\"name\": \"a10\", \"level\": 10}");
        tree_write(&f->tree, VENDOR_DIR "a9.ko", "{\"name\": \"a9\", \"level\": 9}");
        tree_write(&f->tree, IMPORT_DIR "acme.ko.xz",
                   "{\"name\": \"acme\", \"vendor\": \"acme\", \"level\": 99}");
        tree_write(&f->tree, VENDOR_DIR "README", "no module");
        refresh(f);
        e = repository_entries(f->repository, &n);
        assert_int_equal(n, 3);
        assert_string_equal(e[0].patch->name, "acme");
        assert_string_equal(e[1].patch->name, "a9");
        assert_string_equal(e[2].patch->name, "a10");
        assert_true(e[0].imported);
        assert_false(e[1].imported);
}

static void test_a_broken_file_is_listed_with_its_problem_and_not_offered(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;
        size_t n;

        tree_write(&f->tree, VENDOR_DIR "bad-one.ko", "garbage");
        tree_write(&f->tree, VENDOR_DIR "good.ko", "{\"name\": \"good\"}");
        assert_int_equal(mkdirat(f->tree.fd, VENDOR_DIR "dir.ko", 0755), 0);
        refresh(f);
        e = repository_find(f->repository, "bad_one");
        assert_non_null(e);
        assert_string_equal(e->problem, "not a module (fake)");
        e = repository_find(f->repository, "dir");
        assert_non_null(e);
        assert_non_null(e->problem);
        (void) repository_patches(f->repository, &n);
        assert_int_equal(n, 1);
}

static void test_a_package_hides_an_import_of_the_same_name_but_not_if_it_is_broken(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;
        size_t n;

        tree_write(&f->tree, VENDOR_DIR "p.ko", "{\"name\": \"p\", \"level\": 1}");
        tree_write(&f->tree, IMPORT_DIR "p.ko", "{\"name\": \"p\", \"level\": 2}");
        tree_write(&f->tree, VENDOR_DIR "q.ko", "garbage");
        tree_write(&f->tree, IMPORT_DIR "q.ko", "{\"name\": \"q\", \"level\": 2}");
        refresh(f);
        e = repository_find(f->repository, "p");
        assert_int_equal(e->patch->level, 1);
        e = repository_find(f->repository, "q");
        assert_int_equal(e->patch->level, 2);
        (void) repository_entries(f->repository, &n);
        assert_int_equal(n, 4);
        (void) repository_patches(f->repository, &n);
        assert_int_equal(n, 2);
}

static void test_changed_new_and_removed_files_are_noticed_at_the_next_refresh(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, VENDOR_DIR "p.ko", "{\"name\": \"p\", \"level\": 1}");
        tree_write(&f->tree, VENDOR_DIR "q.ko", "{\"name\": \"q\"}");
        refresh(f);
        assert_int_equal(repository_find(f->repository, "p")->patch->level, 1);

        tree_write(&f->tree, VENDOR_DIR "p.ko", "{\"name\": \"p\", \"level\": 17}");
        tree_write(&f->tree, VENDOR_DIR "r.ko", "{\"name\": \"r\"}");
        assert_int_equal(unlinkat(f->tree.fd, VENDOR_DIR "q.ko", 0), 0);
        refresh(f);
        assert_int_equal(repository_find(f->repository, "p")->patch->level, 17);
        assert_null(repository_find(f->repository, "q"));
        assert_non_null(repository_find(f->repository, "r"));
}

static void test_a_manifest_gives_a_plain_patch_its_metadata(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;

        tree_write(&f->tree, IMPORT_DIR "plain.ko", "{\"name\": \"plain\", \"kind\": \"plain\"}");
        tree_write(&f->tree, IMPORT_DIR "plain.klp.json",
                   "{\"name\": \"plain\", \"kind\": \"plain\", \"vendor\": \"acme\", \"level\": 7, "
                   "\"cumulative\": true}");
        tree_write(&f->tree, IMPORT_DIR "other.ko", "{\"name\": \"other\", \"kind\": \"plain\"}");
        tree_write(&f->tree, IMPORT_DIR "other.klp.json", "{\"name\": \"plain\", \"kind\": \"plain\"}");
        tree_write(&f->tree, IMPORT_DIR "broken.ko", "{\"name\": \"broken\", \"kind\": \"plain\"}");
        tree_write(&f->tree, IMPORT_DIR "broken.klp.json", "{\"name\": \"broken\", \"level\": -1}");
        refresh(f);
        e = repository_find(f->repository, "plain");
        assert_null(e->problem);
        assert_string_equal(e->patch->vendor, "acme");
        assert_int_equal(e->patch->level, 7);
        assert_true(e->patch->cumulative);
        assert_int_equal(e->patch->kind, PATCH_PLAIN);
        assert_non_null(e->patch->build_id);
        e = repository_find(f->repository, "other");
        assert_non_null(strstr(e->problem, "another patch"));
        e = repository_find(f->repository, "broken");
        assert_non_null(strstr(e->problem, "broken.klp.json"));
}

static void test_what_others_may_write_is_said(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, VENDOR_DIR "ok.ko", "{\"name\": \"ok\"}");
        tree_write(&f->tree, VENDOR_DIR "open.ko", "{\"name\": \"open\"}");
        assert_int_equal(fchmodat(f->tree.fd, VENDOR_DIR "open.ko", 0666, 0), 0);
        refresh(f);
        assert_null(repository_find(f->repository, "ok")->writable);
        assert_string_equal(repository_find(f->repository, "open")->writable, VENDOR_DIR "open.ko");

        assert_int_equal(fchmodat(f->tree.fd, "usr/lib/klpd/patches", 0777, 0), 0);
        refresh(f);
        assert_string_equal(repository_find(f->repository, "ok")->writable, "usr/lib/klpd/patches");
}

static void on_second(void *userdata) {
        Fixture *f = userdata;

        f->done = true;
}

static void test_who_asks_during_a_refresh_gets_what_was_there_when_he_asked(void **state) {
        RepositoryWait *second = NULL;
        Fixture *f = *state;

        tree_write(&f->tree, VENDOR_DIR "p.ko", "{\"name\": \"p\"}");
        assert_int_equal(repository_refresh(f->repository, on_done, f, &f->wait), 0);
        assert_true(sd_event_run(f->event, 0) >=
                    0); /* the look at the directories; the inspection is under way */
        tree_write(&f->tree, VENDOR_DIR "q.ko", "{\"name\": \"q\"}");
        assert_int_equal(repository_refresh(f->repository, on_second, f, &second), 0);
        loop_until(f->event, &f->done);
        f->done = false;
        loop_until(f->event, &f->done);
        assert_non_null(repository_find(f->repository, "q"));
        repository_wait_free(second);
}

static void test_a_freed_wait_is_not_called(void **state) {
        Fixture *f = *state;
        RepositoryWait *wait;

        tree_write(&f->tree, VENDOR_DIR "p.ko", "{\"name\": \"p\"}");
        assert_int_equal(repository_refresh(f->repository, on_second, f, &wait), 0);
        repository_wait_free(wait);
        for (unsigned i = 0; i < 20; i++)
                assert_true(sd_event_run(f->event, 5000) >= 0);
        assert_false(f->done);
}

/* ---- the cache ---- */

#define CACHED 70U /* more than are left to be inspected again after a restart */

static void write_cached(Fixture *f, unsigned i, unsigned level) {
        char path[256], text[256];

        (void) snprintf(path, sizeof(path), VENDOR_DIR "p%u.ko", i);
        (void) snprintf(text, sizeof(text),
                        "{\"name\": \"p%u\", \"level\": %u, \"summary\": \"a \\\"quote\\\"\", \"severity\": "
                        "\"high\", \"fixes\": [\"CVE-2026-%u\"]}",
                        i, level, i);
        tree_write(&f->tree, path, text);
}

/* As after a restart of klpd; says how many were inspected. */
static unsigned restart(Fixture *f) {
        unsigned before = fake_inspections(f->hands);

        repository_free(f->repository);
        assert_int_equal(repository_new(f->event, f->hands, f->tree.fd, RELEASE, &f->repository), 0);
        refresh(f);
        return fake_inspections(f->hands) - before;
}

static void fill_cache(Fixture *f) {
        tree_write(&f->tree, "var/lib/klpd/here", "");
        for (unsigned i = 0; i < CACHED; i++)
                write_cached(f, i, i);
        tree_write(&f->tree, VENDOR_DIR "broken.ko", "garbage");
        tree_write(&f->tree, IMPORT_DIR "imported.ko", "{\"name\": \"imported\", \"kind\": \"plain\"}");
        tree_write(&f->tree, IMPORT_DIR "imported.klp.json",
                   "{\"name\": \"imported\", \"kind\": \"plain\", \"vendor\": \"acme\", \"level\": 7}");
        tree_write(&f->tree, IMPORT_DIR "imported.klp.import",
                   "{\"version\":1,\"digest\":\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\","
                   "\"time_usec\":1,\"uid\":0}");
        refresh(f);
        assert_int_equal(fake_inspections(f->hands), CACHED + 2);
}

static void test_a_restart_inspects_only_what_the_cache_does_not_know(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;
        size_t n;

        fill_cache(f);
        assert_int_equal(restart(f), 1); /* the broken one */
        (void) repository_entries(f->repository, &n);
        assert_int_equal(n, CACHED + 2);
        e = repository_find(f->repository, "p17");
        assert_int_equal(e->patch->level, 17);
        assert_string_equal(e->patch->summary, "a \"quote\"");
        assert_string_equal(e->patch->severity, "high");
        assert_string_equal(e->patch->fixes[0], "CVE-2026-17");
        assert_int_equal(strlen(e->patch->digest), 64);
        e = repository_find(f->repository, "imported");
        assert_string_equal(e->patch->vendor, "acme");
        assert_true(repository_entry_altered(e)); /* the record's digest came along */

        refresh(f);
        assert_int_equal(restart(f), 1);
}

static void test_what_changed_since_is_inspected_whatever_the_cache_says(void **state) {
        Fixture *f = *state;

        fill_cache(f);
        write_cached(f, 3, 4711);
        tree_write(&f->tree, IMPORT_DIR "imported.klp.json",
                   "{\"name\": \"imported\", \"kind\": \"plain\", \"vendor\": \"acme\", \"level\": 8}");
        assert_int_equal(unlinkat(f->tree.fd, VENDOR_DIR "p5.ko", 0), 0);
        assert_int_equal(restart(f), 3);
        assert_int_equal(repository_find(f->repository, "p3")->patch->level, 4711);
        assert_int_equal(repository_find(f->repository, "imported")->patch->level, 8);
        assert_null(repository_find(f->repository, "p5"));
}

static void test_a_cache_that_can_not_be_trusted_is_none(void **state) {
        static const char path[] = "var/lib/klpd/repository.cache";
        Fixture *f = *state;
        char *text, *level;
        size_t size;

        fill_cache(f);
        assert_int_equal(state_file_read(f->tree.fd, path, 1U << 20, &text, &size), 0);
        level = strstr(text, "\"level\":17");
        assert_non_null(level);
        level[strlen("\"level\":")] = '9';
        tree_write(&f->tree, path, text);
        assert_int_equal(restart(f), CACHED + 2);
        assert_int_equal(repository_find(f->repository, "p17")->patch->level, 17);

        assert_int_equal(restart(f), 1); /* written anew */
        assert_int_equal(fchmodat(f->tree.fd, path, 0666, 0), 0);
        assert_int_equal(restart(f), CACHED + 2);

        text[strlen(text) / 2] = 0; /* torn */
        tree_write(&f->tree, path, text);
        assert_int_equal(restart(f), CACHED + 2);
        free(text);
        tree_write(&f->tree, path, "");
        assert_int_equal(restart(f), CACHED + 2);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_a_missing_directory_is_an_empty_repository),
                T(test_entries_are_ordered_by_level_as_a_number),
                T(test_a_broken_file_is_listed_with_its_problem_and_not_offered),
                T(test_a_package_hides_an_import_of_the_same_name_but_not_if_it_is_broken),
                T(test_changed_new_and_removed_files_are_noticed_at_the_next_refresh),
                T(test_a_manifest_gives_a_plain_patch_its_metadata),
                T(test_what_others_may_write_is_said),
                T(test_who_asks_during_a_refresh_gets_what_was_there_when_he_asked),
                T(test_a_freed_wait_is_not_called),
                T(test_a_restart_inspects_only_what_the_cache_does_not_know),
                T(test_what_changed_since_is_inspected_whatever_the_cache_says),
                T(test_a_cache_that_can_not_be_trusted_is_none),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
