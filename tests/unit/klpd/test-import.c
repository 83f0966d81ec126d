/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The repository's imports: what is written, what is refused, what a disk that is full or a record that was
 * altered leaves behind.
 */
#include "test-util.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

#include "fake-hands.h"
#include "klpd/import-record.h"
#include "klpd/import.h"
#include "klpd/sealed-memfd.h"
#include "klpd/state-file.h"

#define RELEASE "6.1.0-47-amd64"
#define PACKAGES "usr/lib/klpd/patches/" RELEASE "/"
#define IMPORTED "var/lib/klpd/patches/" RELEASE "/"

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Repository *repository;
        RepositoryWait *wait;
        Audit *audit;
        Config config;
        World world;
        Import *import;
        unsigned n_records;
        bool done;
        int r;
        char outcome[32], path[256], error[64], message[1024];
} Fixture;

static int count_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        Fixture *f = userdata;

        f->n_records++;
        return 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, RELEASE, &f->hands), 0);
        assert_int_equal(repository_new(f->event, f->hands, f->tree.fd, RELEASE, &f->repository), 0);
        assert_int_equal(audit_new(count_record, f, &f->audit), 0);
        config_init(&f->config);
        f->world = (World){
                        .event = f->event,
                        .hands = f->hands,
                        .root_fd = f->tree.fd,
                        .release = RELEASE,
                        .repository = f->repository,
                        .audit = f->audit,
                        .config = &f->config,
        };
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        import_free(f->import);
        repository_free(f->repository);
        hands_free(f->hands);
        audit_free(f->audit);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

static void on_imported(int r, const ImportResult *result, const Failure *failure, void *userdata) {
        Fixture *f = userdata;

        f->r = r;
        (void) snprintf(f->outcome, sizeof(f->outcome), "%s",
                        result ? import_outcome_to_string(result->outcome) : "");
        (void) snprintf(f->path, sizeof(f->path), "%s", result ? result->path : "");
        (void) snprintf(f->error, sizeof(f->error), "%s", failure->name ?: "");
        (void) snprintf(f->message, sizeof(f->message), "%s", failure->message ?: "");
        f->done = true;
}

static int memfd(const char *content) {
        int fd;

        assert_int_equal(sealed_memfd_new_from_bytes(content, strlen(content), "test", &fd), 0);
        return fd;
}

/* Signatures are texts (fake-signature.c), or NULL. */
static int import_signed(Fixture *f, int fd, const char *manifest, const char *signature,
                         const char *manifest_signature, bool replace) {
        ImportSpec spec = { .module_fd = fd, .replace = replace };

        if (manifest)
                spec.manifest = strdup(manifest);
        if (signature) {
                spec.signature = strdup(signature);
                spec.n_signature = strlen(signature);
        }
        if (manifest_signature) {
                spec.manifest_signature = strdup(manifest_signature);
                spec.n_manifest_signature = strlen(manifest_signature);
        }
        f->done = false;
        f->import = import_free(f->import);
        assert_int_equal(import_start(&f->world, &spec, on_imported, f, &f->import), 0);
        loop_until(f->event, &f->done);
        return f->r;
}

static int import_fd(Fixture *f, int fd, const char *manifest, bool replace) {
        return import_signed(f, fd, manifest, NULL, NULL, replace);
}

static int import(Fixture *f, const char *content, const char *manifest, bool replace) {
        return import_fd(f, memfd(content), manifest, replace);
}

static void on_done(void *userdata) {
        Fixture *f = userdata;

        f->done = true;
        f->wait = repository_wait_free(f->wait);
}

static const RepositoryEntry *listed(Fixture *f, const char *name) {
        f->done = false;
        assert_int_equal(repository_refresh(f->repository, on_done, f, &f->wait), 0);
        loop_until(f->event, &f->done);
        return repository_find(f->repository, name);
}

static bool exists(const Fixture *f, const char *path) {
        return faccessat(f->tree.fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Names in the imports' directory. */
static unsigned count_files(const Fixture *f) {
        unsigned n = 0;
        struct dirent *de;
        DIR *d;
        int fd = openat(f->tree.fd, IMPORTED, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        if (fd < 0)
                return 0;
        d = fdopendir(fd);
        assert_non_null(d);
        while ((de = readdir(d)))
                n += !streq(de->d_name, ".") && !streq(de->d_name, "..");
        closedir(d);
        return n;
}

#define P1 "{\"name\": \"p\", \"kernel\": \"" RELEASE "\", \"level\": 1}"
#define P2 "{\"name\": \"p\", \"kernel\": \"" RELEASE "\", \"level\": 2}"

static void test_what_is_imported_is_listed_with_its_digest_recorded(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;

        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_string_equal(f->outcome, "imported");
        assert_string_equal(f->path, IMPORTED "p.ko");
        assert_int_equal(count_files(f), 2); /* module and record, nothing temporary */
        e = listed(f, "p");
        assert_non_null(e);
        assert_null(e->problem);
        assert_true(e->imported);
        assert_string_equal(e->recorded, e->patch->digest);
        assert_false(repository_entry_altered(e));
        assert_int_equal(f->n_records, 1);
}

static void test_the_same_content_again_changes_nothing(void **state) {
        Fixture *f = *state;

        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_string_equal(f->outcome, "unchanged");
        assert_int_equal(f->n_records, 1);
}

static void test_other_content_under_the_same_name_is_refused_unless_it_is_to_be_replaced(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;

        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_int_equal(import(f, P2, NULL, false), -EEXIST);
        assert_string_equal(f->error, ERROR_EXISTS);
        assert_non_null(strstr(f->message, "--replace"));
        assert_int_equal(listed(f, "p")->patch->level, 1);
        assert_int_equal(import(f, P2, NULL, true), 0);
        assert_string_equal(f->outcome, "replaced");
        e = listed(f, "p");
        assert_int_equal(e->patch->level, 2);
        assert_false(repository_entry_altered(e));
}

static void test_a_packages_patch_is_never_replaced(void **state) {
        Fixture *f = *state;

        tree_write(&f->tree, PACKAGES "p.ko", P1);
        assert_int_equal(import(f, P2, NULL, true), -EEXIST);
        assert_non_null(strstr(f->message, "package"));
        assert_int_equal(count_files(f), 0);
        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_string_equal(f->outcome, "unchanged");
        assert_string_equal(f->path, PACKAGES "p.ko");
}

static void test_what_is_no_module_isnt_imported(void **state) {
        Fixture *f = *state;

        assert_true(import(f, "garbage", NULL, false) < 0);
        assert_string_equal(f->error, ERROR_NOT_MODULE);
        assert_int_equal(count_files(f), 0);
}

static void test_a_release_that_is_a_path_is_refused(void **state) {
        Fixture *f = *state;

        assert_int_equal(import(f, "{\"name\": \"p\", \"kernel\": \"../../../etc\"}", NULL, false), -EBADMSG);
        assert_false(exists(f, "etc"));
        assert_int_equal(import(f, "{\"name\": \"p\", \"kernel\": \"..\"}", NULL, false), -EBADMSG);
        assert_int_equal(import(f, "{\"name\": \"p\"}", NULL, false), -EBADMSG);
}

static void test_a_patch_for_another_kernel_goes_to_its_directory(void **state) {
        Fixture *f = *state;
        unsigned n = 0;
        Failure failure = {};

        assert_int_equal(import(f, "{\"name\": \"p\", \"kernel\": \"7.0\"}", NULL, false), 0);
        assert_true(exists(f, "var/lib/klpd/patches/7.0/p.ko"));
        assert_int_equal(import(f, "{\"name\": \"p\", \"kernel\": \"7.0\"}", NULL, false), 0);
        assert_string_equal(f->outcome, "unchanged");
        assert_int_equal(import(f, "{\"name\": \"p\", \"kernel\": \"7.0\", \"level\": 9}", NULL, false),
                         -EEXIST);
        assert_int_equal(import_remove(&f->world, "p", "7.0", &n, &failure), 0);
        assert_int_equal(n, 1);
        assert_false(exists(f, "var/lib/klpd/patches/7.0/p.ko"));
        assert_false(exists(f, "var/lib/klpd/patches/7.0/p" IMPORT_RECORD_SUFFIX));
        assert_int_equal(import_remove(&f->world, "p", "../7.0", &n, &failure), -EINVAL);
        failure_done(&failure);
}

static void test_a_plain_patch_is_imported_with_its_manifest(void **state) {
        static const char plain[] = "{\"name\": \"q\", \"kind\": \"plain\", \"kernel\": \"" RELEASE "\"}";
        Fixture *f = *state;

        assert_int_equal(import(f, plain, "{\"name\": \"q\", \"level\": 7}", false), 0);
        assert_true(exists(f, IMPORTED "q.klp.json"));
        assert_int_equal(listed(f, "q")->patch->level, 7);
        /* ... and one for another patch, or for a managed one, isn't. */
        assert_true(import(f, plain, "{\"name\": \"z\"}", true) < 0);
        assert_true(import(f, plain, "{\"name\":", true) < 0);
        assert_int_equal(import(f, P1, "{\"name\": \"p\"}", false), -EINVAL);
        assert_int_equal(listed(f, "q")->patch->level, 7);
}

static void test_altered_content_and_a_broken_record_are_noticed(void **state) {
        const RepositoryEntry *e;
        Fixture *f = *state;

        assert_int_equal(import(f, P1, NULL, false), 0);
        tree_write(&f->tree, IMPORTED "p.ko", P2);
        e = listed(f, "p");
        assert_true(repository_entry_altered(e));
        tree_write(&f->tree, IMPORTED "p" IMPORT_RECORD_SUFFIX, "{\"version\":1,\"digest\":\"00\"");
        e = listed(f, "p");
        assert_non_null(e->problem);
        assert_non_null(strstr(e->problem, "record of its import"));
        /* The way out that the problem names. */
        assert_int_equal(import(f, P2, NULL, true), 0);
        e = listed(f, "p");
        assert_null(e->problem);
        assert_false(repository_entry_altered(e));
}

static void test_a_disk_that_is_full_leaves_the_repository_as_it_was(void **state) {
        static char big[8192];
        struct rlimit old, small;
        Fixture *f = *state;
        int fd;

        assert_int_equal(import(f, P1, NULL, false), 0);
        (void) snprintf(big, sizeof(big), "{\"name\": \"p\", \"kernel\": \"%s\", \"level\": 3%*s}", RELEASE,
                        6000, "");
        fd = memfd(big);
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        small = old;
        small.rlim_cur = 4096; /* the record fits, the module doesn't */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        (void) import_fd(f, fd, NULL, true);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(f->r, -EFBIG);
        assert_non_null(strstr(f->message, "File too large"));
        assert_int_equal(count_files(f), 2); /* no temporary file */
        assert_int_equal(listed(f, "p")->patch->level, 1);
        assert_false(repository_entry_altered(listed(f, "p")));
}

static void test_removing_takes_module_manifest_and_record_but_no_packages_file(void **state) {
        Fixture *f = *state;
        Failure failure = {};
        unsigned n = 0;

        assert_int_equal(import(f, P1, NULL, false), 0);
        (void) listed(f, "p");
        assert_int_equal(import_remove(&f->world, "p", NULL, &n, &failure), 0);
        assert_int_equal(count_files(f), 0);
        (void) listed(f, "p");
        assert_int_equal(import_remove(&f->world, "p", NULL, &n, &failure), -ENOENT);
        assert_string_equal(failure.name, ERROR_NO_SUCH_PATCH);
        tree_write(&f->tree, PACKAGES "p.ko", P1);
        (void) listed(f, "p");
        assert_int_equal(import_remove(&f->world, "p", NULL, &n, &failure), -EROFS);
        assert_true(exists(f, PACKAGES "p.ko"));
        failure_done(&failure);
}

static void test_an_enabled_patch_isnt_removed(void **state) {
        Fixture *f = *state;
        Failure failure = {};
        unsigned n = 0;

        assert_int_equal(import(f, P1, NULL, false), 0);
        assert_int_equal(fake_insmod(f->hands, P1, true), 0);
        (void) listed(f, "p");
        assert_int_equal(import_remove(&f->world, "p", NULL, &n, &failure), -EBUSY);
        assert_string_equal(failure.name, ERROR_IN_USE);
        assert_true(exists(f, IMPORTED "p.ko"));
        failure_done(&failure);
}

static void test_a_record_is_read_strictly(void **state) {
        static const char *const bad[] = {
                "", "{}", "[]", "{\"version\":2,\"digest\":\"%s\",\"time_usec\":1,\"uid\":0}",
                "{\"version\":1,\"digest\":\"abc\",\"time_usec\":1,\"uid\":0}",
                "{\"version\":1,\"digest\":null,\"time_usec\":1,\"uid\":0}",
                "{\"version\":1,\"time_usec\":1,\"uid\":0}",
        };
        char digest[65], text[256];
        ImportRecord record;
        PolicyError error;

        memset(digest, 'a', 64);
        digest[64] = 0;
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                const char *p = strstr(bad[i], "%s");

                (void) snprintf(text, sizeof(text), "%.*s%s%s", p ? (int) (p - bad[i]) : (int) strlen(bad[i]),
                                bad[i], p ? digest : "", p ? p + 2 : "");
                error = (PolicyError) {};
                assert_true(import_record_parse(text, strlen(text), &record, &error) < 0);
                assert_true(error.message[0]);
        }
        (void) snprintf(text, sizeof(text),
                        "{\"version\":1,\"digest\":\"%s\",\"time_usec\":18446744073709551615,\"uid\":7}", digest);
        assert_int_equal(import_record_parse(text, strlen(text), &record, &error), 0);
        assert_int_equal(record.uid, 7);
        import_record_done(&record);
}

#define PLAIN "{\"name\": \"plain\", \"kind\": \"plain\", \"kernel\": \"" RELEASE "\"}"
#define PLAIN_MANIFEST "{\"name\": \"plain\", \"kind\": \"plain\", \"vendor\": \"acme\", \"level\": 1}"

static void test_signatures_are_kept_beside_the_module_and_go_with_it(void **state) {
        const RepositoryEntry *e;
        Failure failure = {};
        Fixture *f = *state;
        unsigned n;

        assert_int_equal(import_signed(f, memfd(PLAIN), PLAIN_MANIFEST, "good me", "bad", false), 0);
        e = listed(f, "plain");
        assert_string_equal(e->signature, IMPORTED "plain.ko.p7s");
        assert_string_equal(e->manifest_signature, IMPORTED "plain.klp.json.p7s");
        assert_int_equal(count_files(f), 5);
        /* other content has no signature by what was there */
        assert_int_equal(import(f, "{\"name\": \"plain\", \"kind\": \"plain\", \"kernel\": \"" RELEASE "\", \"level\": 2}",
                                PLAIN_MANIFEST, true),
                         0);
        e = listed(f, "plain");
        assert_null(e->signature);
        assert_null(e->manifest_signature);
        assert_int_equal(count_files(f), 3);
        /* the same content, now signed */
        assert_int_equal(import_signed(f, memfd(PLAIN), PLAIN_MANIFEST, "good me", "good me", true), 0);
        assert_non_null(listed(f, "plain")->signature);
        assert_int_equal(import_remove(&f->world, "plain", NULL, &n, &failure), 0);
        assert_int_equal(count_files(f), 0);
}

static void test_where_the_policy_requires_it_only_what_is_signed_is_imported(void **state) {
        Policy *policy;
        Fixture *f = *state;

        assert_int_equal(policy_new_profile(POLICY_PROFILE_DEFAULT, &policy), 0);
        policy->require_signature = true;
        f->world.policy = policy;
        assert_int_equal(import(f, P1, NULL, false), -EKEYREJECTED);
        assert_string_equal(f->error, ERROR_REFUSED);
        assert_non_null(strstr(f->message, "it has no signature"));
        assert_int_equal(import_signed(f, memfd(P1), NULL, "bad", NULL, false), -EKEYREJECTED);
        assert_non_null(strstr(f->message, "isn't trusted"));
        assert_int_equal(import_signed(f, memfd(P1), NULL, "error", NULL, false), -EKEYREJECTED);
        assert_non_null(strstr(f->message, "can't be checked"));
        assert_int_equal(count_files(f), 0);
        assert_int_equal(f->n_records, 0);
        assert_int_equal(import_signed(f, memfd(P1), NULL, "good me", NULL, false), 0);
        /* a manifest says what the module is, and counts as much */
        assert_int_equal(import_signed(f, memfd(PLAIN), PLAIN_MANIFEST, "good me", NULL, false), -EKEYREJECTED);
        assert_non_null(strstr(f->message, "its manifest: it has no signature"));
        assert_int_equal(import_signed(f, memfd(PLAIN), PLAIN_MANIFEST, "good me", "good me", false), 0);
        f->world.policy = NULL;
        policy_free(policy);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_what_is_imported_is_listed_with_its_digest_recorded, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_the_same_content_again_changes_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(
                                test_other_content_under_the_same_name_is_refused_unless_it_is_to_be_replaced,
                                setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_packages_patch_is_never_replaced, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_no_module_isnt_imported, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_release_that_is_a_path_is_refused, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_patch_for_another_kernel_goes_to_its_directory, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_a_plain_patch_is_imported_with_its_manifest, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_altered_content_and_a_broken_record_are_noticed, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(test_a_disk_that_is_full_leaves_the_repository_as_it_was, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(
                                test_removing_takes_module_manifest_and_record_but_no_packages_file, setup,
                                teardown),
                cmocka_unit_test_setup_teardown(test_an_enabled_patch_isnt_removed, setup, teardown),
                cmocka_unit_test_setup_teardown(test_signatures_are_kept_beside_the_module_and_go_with_it, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(
                                test_where_the_policy_requires_it_only_what_is_signed_is_imported, setup, teardown),
                cmocka_unit_test(test_a_record_is_read_strictly),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
