/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd concludes about contents, boot after boot (SEMANTICS.md section 6): the record is a file in a
 * tree, a boot is a boot_id in it, the kernel is played.
 */
#include "test-util.h"

#include "fake-hands.h"
#include "klpd/boot.h"
#include "klpd/host-record-store.h"
#include "klpd/probation.h"
#include "klpd/state-file.h"

#define RELEASE "6.1.0-47-amd64"
#define DIGEST_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define DIGEST_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        Hands *hands;
        Audit *audit;
        Config config;
        World world;
        Probation *probation;
        Failure failure;
        Wal *wal; /* NULL: without a log */
} Fixture;

static int drop_record(const struct iovec *fields, size_t n_fields, void *userdata) {
        return 0;
}

static int setup(void **state) {
        Fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        tree_new(&f->tree);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(fake_hands_new(f->event, RELEASE, &f->hands), 0);
        assert_int_equal(audit_new(drop_record, NULL, &f->audit), 0);
        config_init(&f->config);
        f->world = (World){
                        .event = f->event,
                        .hands = f->hands,
                        .root_fd = f->tree.fd,
                        .release = RELEASE,
                        .audit = f->audit,
                        .config = &f->config,
        };
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        probation_free(f->probation);
        wal_free(f->wal);
        failure_done(&f->failure);
        hands_free(f->hands);
        audit_free(f->audit);
        sd_event_unref(f->event);
        tree_done(&f->tree);
        free(f);
        return 0;
}

/* A klpd that starts in the boot of that id. */
static void boot(Fixture *f, const char *boot_id) {
        f->probation = probation_free(f->probation);
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", boot_id);
        assert_int_equal(probation_new(&f->world, &(ProbationHandlers) {}, &f->probation), 0);
        probation_start(f->probation);
}

/* A request for a patch of that name and content has ended well. */
static void enabled(Fixture *f, RequestKind kind, const char *name, const char *digest) {
        JobSpec spec = { .kind = kind, .module_fd = -EBADF, .accept_irreversible = true };
        Transaction t = { .spec = &spec, .disable = kind == REQUEST_DISABLE, .name = (char *) name,
                          .digest = (char *) digest };
        char json[256];

        if (!t.disable) {
                (void) snprintf(json, sizeof(json), "{\"name\": \"%s\", \"kernel\": \"%s\"}", name, RELEASE);
                assert_int_equal(fake_insmod(f->hands, json, true), 0);
        }
        probation_changed(f->probation, &t);
}

static const HostRecord *record(const Fixture *f) {
        return probation_record(f->probation);
}

static void test_a_patch_is_on_trial_until_it_is_accepted(void **state) {
        Fixture *f = *state;

        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(record(f)->n_trial, 1);
        assert_int_equal(record(f)->n_accepted, 0);
        assert_int_equal(probation_accept(f->probation, "a", 0, &f->failure), 0);
        assert_int_equal(record(f)->n_trial, 0);
        assert_int_equal(record(f)->n_accepted, 1);
        assert_true(record(f)->accepted[0].accept_irreversible); /* as granted ... */
        assert_false(record(f)->accepted[0].replace_foreign);    /* ... and nothing else */
        /* Enabled again, it needs no new trial. */
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(record(f)->n_trial, 0);
        /* Other content under its name does. */
        enabled(f, REQUEST_APPLY, "a", DIGEST_B);
        assert_int_equal(record(f)->n_trial, 1);
        assert_string_equal(record(f)->accepted[0].digest, DIGEST_A);
}

/* ---- health ---- */

typedef struct Asked {
        unsigned n;
        int r; /* of asking */
        char rejected[256];
} Asked;

static int on_check(void *userdata) {
        Asked *a = userdata;

        a->n++;
        return a->r;
}

static int on_reject(const HostPatch *trial, const char *reason, void *userdata) {
        Asked *a = userdata;

        (void) snprintf(a->rejected, sizeof(a->rejected), "%s: %s", trial->name, reason);
        return 0;
}

static void boot_asking(Fixture *f, Asked *a) {
        const ProbationHandlers handlers = { .check_health = on_check, .reject = on_reject, .userdata = a };

        f->probation = probation_free(f->probation);
        tree_write(&f->tree, "proc/sys/kernel/random/boot_id", "1");
        assert_int_equal(probation_new(&f->world, &handlers, &f->probation), 0);
        probation_start(f->probation);
        assert_int_equal(strv_extend(&f->config.health_units, "x.service"), 0);
        f->config.probation_usec = 1000;
}

static void until_asked(Fixture *f, Asked *a, unsigned n) {
        while (a->n < n)
                assert_true(sd_event_run(f->event, UINT64_C(5000000)) >= 0);
        assert_int_equal(a->n, n);
}

static void test_a_trial_is_over_when_its_time_is_and_the_host_is_well(void **state) {
        Fixture *f = *state;
        Asked a = {};

        boot_asking(f, &a);
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        until_asked(f, &a, 1);
        assert_int_equal(record(f)->n_accepted, 0);
        /* Nobody could be asked after all: asked again. */
        probation_health_done(f->probation, -EAGAIN, "");
        until_asked(f, &a, 2);
        probation_health_done(f->probation, 0, "1 check passed");
        assert_int_equal(record(f)->n_accepted, 1);
        assert_string_equal(a.rejected, "");
        config_done(&f->config);
}

static void test_a_trial_whose_host_isnt_well_is_rejected(void **state) {
        Fixture *f = *state;
        Asked a = {};

        boot_asking(f, &a);
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        until_asked(f, &a, 1);
        /* The host is shut down: that says nothing. */
        probation_health_done(f->probation, -ECANCELED, "");
        assert_string_equal(a.rejected, "");
        probation_health_done(f->probation, -EREMOTEIO, "unit 'x.service' failed");
        assert_non_null(strstr(a.rejected, "a: at the end of its probation"));
        assert_non_null(strstr(a.rejected, "x.service"));
        assert_int_equal(record(f)->n_accepted, 0);
        config_done(&f->config);
}

static void test_on_trial_before_its_health_is_checked_what_was_accepted_stays(void **state) {
        Fixture *f = *state;
        JobSpec spec = { .kind = REQUEST_DOWNGRADE, .module_fd = -EBADF };
        Transaction t = { .spec = &spec, .name = (char *) "b", .digest = (char *) DIGEST_B };
        Asked a = {};

        boot_asking(f, &a);
        f->config.probation_usec = 0;
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(record(f)->n_accepted, 1);
        f->config.probation_usec = UINT64_C(1000000000);
        probation_on_trial(f->probation, &t);
        probation_on_trial(f->probation, &t);
        assert_int_equal(record(f)->n_trial, 1);
        assert_string_equal(record(f)->trial[0].name, "b");
        assert_int_equal(record(f)->n_accepted, 1);
        config_done(&f->config);
}

static void test_probation_ends_by_itself(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 1;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        for (unsigned i = 0; i < 1000 && record(f)->n_accepted == 0; i++)
                assert_true(sd_event_run(f->event, 5000000) >= 0);
        assert_int_equal(record(f)->n_accepted, 1);
}

static void test_what_is_disabled_isnt_accepted_any_more(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 0;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(record(f)->n_accepted, 1);
        hands_free(f->hands); /* a kernel without it */
        assert_int_equal(fake_hands_new(f->event, RELEASE, &f->hands), 0);
        f->world.hands = f->hands;
        enabled(f, REQUEST_DISABLE, "a", DIGEST_A);
        assert_int_equal(record(f)->n_accepted, 0);
}

static void test_a_crash_on_trial_means_quarantine_and_an_orderly_shutdown_doesnt(void **state) {
        const HostPatch *h;
        Fixture *f = *state;

        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(boot_shutdown(f->tree.fd), 0);
        boot(f, "two");
        h = probation_next_resumed(f->probation);
        assert_non_null(h);
        assert_string_equal(h->name, "a");
        assert_null(probation_next_resumed(f->probation));
        /* It wasn't enabled again in this boot: a crash of this one isn't its fault. */
        boot(f, "three");
        assert_int_equal(record(f)->n_quarantine, 0);
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        boot(f, "four");
        assert_int_equal(record(f)->n_quarantine, 1);
        assert_int_equal(record(f)->n_trial, 0);
        assert_string_equal(probation_quarantined(f->probation)[0], DIGEST_A);
        assert_false(probation_boot_failed(f->probation));
        assert_int_equal(probation_unquarantine(f->probation, "aaaaaaa", 0, &f->failure), -ENOENT);
        assert_int_equal(probation_unquarantine(f->probation, "aaaaaaaa", 0, &f->failure), 0);
        assert_int_equal(record(f)->n_quarantine, 0);
}

static void test_a_mark_found_at_the_next_boot_means_quarantine_even_of_what_was_accepted(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 0;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(boot_shutdown(f->tree.fd), 0);
        boot(f, "two");
        assert_false(probation_boot_goes_on(f->probation));
        assert_int_equal(probation_mark(f->probation), 0);
        /* The daemon of the same boot, a soft reboot: nothing is concluded. */
        boot(f, "two");
        assert_true(probation_boot_goes_on(f->probation));
        assert_int_equal(record(f)->n_mark, 1);
        assert_int_equal(record(f)->n_accepted, 1);
        assert_int_equal(boot_shutdown(f->tree.fd), 0);
        boot(f, "two");
        assert_false(record(f)->orderly);
        boot(f, "three");
        assert_false(probation_boot_goes_on(f->probation));
        assert_true(probation_boot_failed(f->probation));
        assert_int_equal(record(f)->n_accepted, 0);
        assert_int_equal(record(f)->n_quarantine, 1);
        /* Once. */
        boot(f, "four");
        assert_false(probation_boot_failed(f->probation));
}

/* Accepted, applied at boot, replaced meanwhile: no list has it any more when the host crashes. */
static void test_what_was_replaced_before_the_crash_goes_into_quarantine_by_its_name(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 0;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(boot_shutdown(f->tree.fd), 0);
        boot(f, "two");
        assert_int_equal(probation_mark(f->probation), 0);
        enabled(f, REQUEST_APPLY, "a", DIGEST_B); /* other content under its name */
        boot(f, "three");
        assert_int_equal(record(f)->n_quarantine, 1);
        assert_string_equal(record(f)->quarantine[0].digest, DIGEST_A);
        assert_string_equal(record(f)->quarantine[0].name, "a");
}

static void test_a_mark_of_an_older_klpd_has_digests_only(void **state) {
        Fixture *f = *state;
        char text[512];

        (void) snprintf(text, sizeof(text),
                        "{\"version\":1,\"boot_id\":\"one\",\"orderly\":false,\"mark\":[\"%s\"],\"trial\":[],"
                        "\"accepted\":[],\"quarantine\":[]}\n",
                        DIGEST_A);
        tree_write(&f->tree, HOST_RECORD_PATH, text);
        boot(f, "two");
        assert_int_equal(record(f)->n_quarantine, 1);
        assert_string_equal(record(f)->quarantine[0].name, "unknown");
}

static void test_a_healthy_boot_clears_its_mark(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 0;
        f->config.boot_healthy_usec = 1;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(probation_mark(f->probation), 0);
        boot(f, "one");
        for (unsigned i = 0; i < 1000 && record(f)->n_mark > 0; i++)
                assert_true(sd_event_run(f->event, 5000000) >= 0);
        assert_int_equal(record(f)->n_mark, 0);
        boot(f, "two");
        assert_int_equal(record(f)->n_quarantine, 0);
        assert_int_equal(record(f)->n_accepted, 1);
}

static void test_a_record_that_cant_be_trusted_is_said_and_left_alone(void **state) {
        static const char *const bad[] = {
                "",
                "{}",
                "{\"version\":2,\"boot_id\":null,\"orderly\":false,\"mark\":[],\"trial\":[],\"accepted\":[],"
                "\"quarantine\":[]}",
                "{\"version\":1,\"boot_id\":null,\"orderly\":false,\"mark\":[\"12\"],\"trial\":[],"
                "\"accepted\":[],\"quarantine\":[]}",
                "{\"version\":1,\"boot_id\":null,\"orderly\":false,\"mark\":[],\"trial\":[{\"name\":\"a\"}],"
                "\"accepted\":[],\"quarantine\":[]}",
        };
        Fixture *f = *state;
        char text[256];
        ssize_t n;
        int fd;

        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                tree_write(&f->tree, HOST_RECORD_PATH, bad[i]);
                boot(f, "one");
                assert_non_null(probation_problem(f->probation));
                enabled(f, REQUEST_APPLY, "a", DIGEST_A);
                assert_true(probation_mark(f->probation) < 0);
                assert_true(probation_accept(f->probation, "a", 0, &f->failure) < 0);
                assert_true(probation_quarantine(f->probation, DIGEST_A, "a", "test") < 0);
                fd = openat(f->tree.fd, HOST_RECORD_PATH, O_RDONLY | O_CLOEXEC);
                n = read(fd, text, sizeof(text) - 1);
                close(fd);
                assert_true(n >= 0);
                text[n] = 0;
                assert_string_equal(text, bad[i]);
        }
        /* None at all is a host that never had one. */
        assert_int_equal(unlinkat(f->tree.fd, HOST_RECORD_PATH, 0), 0);
        boot(f, "one");
        assert_null(probation_problem(f->probation));
}

static void test_without_a_place_to_write_nothing_is_applied_at_boot(void **state) {
        Fixture *f = *state;

        f->config.probation_usec = 0;
        boot(f, "one");
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        assert_int_equal(unlinkat(f->tree.fd, HOST_RECORD_PATH, 0), 0);
        assert_int_equal(unlinkat(f->tree.fd, "var/lib/klpd", AT_REMOVEDIR), 0);
        tree_write(&f->tree, "var/lib/klpd", "a file in its place");
        assert_true(probation_mark(f->probation) < 0);
}

static void test_the_command_line_comes_before_the_configuration(void **state) {
        Config config;

        config_init(&config);
        config_apply_command_line(&config, "quiet klpd.mode=off ro\n", NULL, NULL);
        assert_int_equal(config.mode, MODE_OFF);
        config_apply_command_line(&config, "klpd.mode=normal", NULL, NULL);
        assert_int_equal(config.mode, MODE_NORMAL);
        config_apply_command_line(&config, "xklpd.mode=off klpd.modes=off", NULL, NULL);
        assert_int_equal(config.mode, MODE_NORMAL);
        config_apply_command_line(&config, "klpd.mode=quiet", NULL, NULL);
        assert_int_equal(config.mode, MODE_OBSERVE);
}

/* ---- by the write-ahead log ---- */

#define LOG_PATH "var/lib/klpd/" WAL_FILE

static void open_log(Fixture *f) {
        assert_int_equal(wal_open(f->tree.fd, "var/lib/klpd", &f->wal), 0);
        f->world.wal = f->wal;
}

/* As enabled(), but at the end of a request that the log knows. */
static void enabled_by_log(Fixture *f, const char *name, const char *digest) {
        probation_hold(f->probation);
        enabled(f, REQUEST_APPLY, name, digest);
        probation_stage(f->probation);
        (void) wal_append(f->wal, WAL_STATE, "over", 4, true, NULL);
        probation_release(f->probation);
}

/* The number of trials in the file; -1: there is no file. */
static int filed_trials(const Fixture *f) {
        HostRecord r = {};
        PolicyError error = {};
        int n;

        n = host_record_read(f->tree.fd, &r, &error);
        if (n < 0) {
                assert_int_equal(n, -ENOENT);
                return -1;
        }
        n = (int) r.n_trial;
        host_record_done(&r);
        return n;
}

typedef struct Saved {
        char *bytes[2];
        size_t size[2];
} Saved;

static const char *const saved_paths[] = { HOST_RECORD_PATH, LOG_PATH };

static void save(const Fixture *f, Saved *s) {
        for (size_t i = 0; i < ELEMENTSOF(saved_paths); i++)
                assert_int_equal(state_file_read(f->tree.fd, saved_paths[i], WAL_BYTES_MAX, &s->bytes[i], &s->size[i]),
                                 0);
}

/* klpd was killed when its files were those. */
static void killed(Fixture *f, Saved *s) {
        f->probation = probation_free(f->probation);
        f->wal = wal_free(f->wal);
        f->world.wal = NULL;
        for (size_t i = 0; i < ELEMENTSOF(saved_paths); i++) {
                tree_write_n(&f->tree, saved_paths[i], s->bytes[i], s->size[i]);
                free(s->bytes[i]);
        }
}

static void test_at_the_end_of_a_request_the_log_has_it_first_and_the_file_later(void **state) {
        Fixture *f = *state;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        assert_int_equal(record(f)->n_trial, 1);
        assert_int_equal(filed_trials(f), 0);
        assert_non_null(wal_last_host(f->wal));
        while (sd_event_run(f->event, 0) > 0)
                ;
        assert_int_equal(filed_trials(f), 1);
        assert_null(wal_last_host(f->wal));
        /* Whoever ends doesn't leave it there. */
        enabled_by_log(f, "b", DIGEST_B);
        assert_int_equal(filed_trials(f), 1);
        f->probation = probation_free(f->probation);
        assert_int_equal(filed_trials(f), 2);
}

static void test_killed_before_the_file_is_written_it_is_known_from_the_log(void **state) {
        Fixture *f = *state;
        Saved s;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        save(f, &s);
        killed(f, &s);
        assert_int_equal(filed_trials(f), 0);
        open_log(f);
        boot(f, "one");
        assert_int_equal(record(f)->n_trial, 1);
        assert_string_equal(record(f)->trial[0].digest, DIGEST_A);
        assert_int_equal(filed_trials(f), 1);
        assert_null(wal_last_host(f->wal));
        assert_int_equal(record(f)->n_quarantine, 0);
}

static void test_power_lost_before_the_file_is_written_is_a_crash_on_trial(void **state) {
        Fixture *f = *state;
        Saved s;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        save(f, &s);
        killed(f, &s);
        open_log(f);
        boot(f, "two");
        assert_int_equal(record(f)->n_trial, 0);
        assert_int_equal(record(f)->n_quarantine, 1);
        assert_string_equal(record(f)->quarantine[0].digest, DIGEST_A);
}

/* klpd --shutdown is another process, and comes after a klpd that was killed. */
static void test_a_shutdown_after_that_is_orderly_and_loses_nothing(void **state) {
        Fixture *f = *state;
        Saved s;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        save(f, &s);
        killed(f, &s);
        assert_int_equal(boot_shutdown(f->tree.fd), 0);
        assert_int_equal(filed_trials(f), 1);
        open_log(f);
        boot(f, "two");
        assert_int_equal(record(f)->n_quarantine, 0);
        assert_string_equal(probation_next_resumed(f->probation)->name, "a");
}

/* Not even where the log was never told that the file has had it since. */
static void test_a_newer_file_is_not_taken_back_to_what_the_log_has(void **state) {
        Saved before, s;
        Fixture *f = *state;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        save(f, &before);
        assert_int_equal(probation_accept(f->probation, "a", 0, &f->failure), 0);
        save(f, &s);
        free(s.bytes[1]);
        s.bytes[1] = before.bytes[1];
        s.size[1] = before.size[1];
        free(before.bytes[0]);
        killed(f, &s);
        open_log(f);
        assert_non_null(wal_last_host(f->wal));
        boot(f, "one");
        assert_int_equal(record(f)->n_trial, 0);
        assert_int_equal(record(f)->n_accepted, 1);
}

static void test_a_file_that_was_moved_away_does_not_come_back_from_the_log(void **state) {
        Fixture *f = *state;
        Saved s;

        open_log(f);
        boot(f, "one");
        enabled_by_log(f, "a", DIGEST_A);
        save(f, &s);
        killed(f, &s);
        assert_int_equal(unlinkat(f->tree.fd, HOST_RECORD_PATH, 0), 0);
        open_log(f);
        for (unsigned i = 0; i < 2; i++) { /* nor the next time */
                boot(f, "one");
                assert_int_equal(record(f)->n_trial, 0);
                assert_int_equal(filed_trials(f), 0);
        }
}

static void test_what_does_not_get_into_the_log_is_in_the_file_at_once(void **state) {
        Fixture *f = *state;

        open_log(f);
        boot(f, "one");
        /* A request that the log knows nothing of. */
        probation_hold(f->probation);
        enabled(f, REQUEST_APPLY, "a", DIGEST_A);
        probation_release(f->probation);
        assert_int_equal(filed_trials(f), 1);
        /* A log that can't be written: the places of its files are taken. */
        f->wal = wal_free(f->wal);
        (void) unlinkat(f->tree.fd, LOG_PATH, 0);
        tree_write(&f->tree, LOG_PATH "/taken", "");
        tree_write(&f->tree, "var/lib/klpd/" WAL_FILE_DAMAGED "/taken", "");
        open_log(f);
        assert_non_null(wal_problem(f->wal));
        enabled_by_log(f, "b", DIGEST_B);
        assert_int_equal(filed_trials(f), 2);
}

static void test_a_version_in_the_log_that_makes_no_sense_is_not_passed_over(void **state) {
        static const char text[] = "{\"version\": 99}";
        uint64_t sequence;
        Fixture *f = *state;

        open_log(f);
        boot(f, "one");
        assert_int_equal(wal_stage(f->wal, WAL_HOST, text, strlen(text), &sequence), 0);
        assert_int_equal(wal_append(f->wal, WAL_STATE, "over", 4, true, NULL), 0);
        boot(f, "one");
        assert_non_null(strstr(probation_problem(f->probation), "in the log"));
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_a_patch_is_on_trial_until_it_is_accepted),
                T(test_probation_ends_by_itself),
                T(test_a_trial_is_over_when_its_time_is_and_the_host_is_well),
                T(test_a_trial_whose_host_isnt_well_is_rejected),
                T(test_on_trial_before_its_health_is_checked_what_was_accepted_stays),
                T(test_what_is_disabled_isnt_accepted_any_more),
                T(test_a_crash_on_trial_means_quarantine_and_an_orderly_shutdown_doesnt),
                T(test_a_mark_found_at_the_next_boot_means_quarantine_even_of_what_was_accepted),
                T(test_what_was_replaced_before_the_crash_goes_into_quarantine_by_its_name),
                T(test_a_mark_of_an_older_klpd_has_digests_only),
                T(test_a_healthy_boot_clears_its_mark),
                T(test_a_record_that_cant_be_trusted_is_said_and_left_alone),
                T(test_without_a_place_to_write_nothing_is_applied_at_boot),
                cmocka_unit_test(test_the_command_line_comes_before_the_configuration),
                T(test_at_the_end_of_a_request_the_log_has_it_first_and_the_file_later),
                T(test_killed_before_the_file_is_written_it_is_known_from_the_log),
                T(test_power_lost_before_the_file_is_written_is_a_crash_on_trial),
                T(test_a_shutdown_after_that_is_orderly_and_loses_nothing),
                T(test_a_newer_file_is_not_taken_back_to_what_the_log_has),
                T(test_a_file_that_was_moved_away_does_not_come_back_from_the_log),
                T(test_what_does_not_get_into_the_log_is_in_the_file_at_once),
                T(test_a_version_in_the_log_that_makes_no_sense_is_not_passed_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
