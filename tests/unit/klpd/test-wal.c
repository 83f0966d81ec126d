/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The write-ahead log: what is read back after the file was cut, flipped, filled up or made read-only. */
#include "test-util.h"

#include <sys/resource.h>
#include <signal.h>

#include "klpd/wal.h"

#define N_RECORDS 7U

static void state_text(unsigned i, char *text, size_t size) {
        (void) snprintf(text, size, "state number %u%.*s\n", i, (int) (i * 13), "................................................................................................");
}

static Wal *open_wal(const Tree *t) {
        Wal *w;

        assert_int_equal(wal_open(t->fd, "log", &w), 0);
        return w;
}

static void append_state(Wal *w, unsigned i) {
        char text[256];

        state_text(i, text, sizeof(text));
        assert_int_equal(wal_append(w, WAL_STATE, text, strlen(text), true, NULL), 0);
}

static void assert_last(const Wal *w, unsigned i) {
        const WalRecord *last = wal_last_state(w);
        char text[256];

        state_text(i, text, sizeof(text));
        assert_non_null(last);
        assert_int_equal(last->size, strlen(text));
        assert_memory_equal(last->bytes, text, last->size);
}

/* Without the zeros behind the last record. */
static size_t read_log(const Tree *t, uint8_t *buffer, size_t size) {
        static uint8_t bytes[WAL_BYTES_MAX + 1];
        size_t valid;
        ssize_t n;
        int fd;

        fd = openat(t->fd, "log/" WAL_FILE, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        n = read(fd, bytes, sizeof(bytes));
        close(fd);
        assert_in_range(n, 0, WAL_BYTES_MAX);
        if (wal_scan(bytes, (size_t) n, NULL, NULL, &valid) != WAL_WHOLE)
                valid = (size_t) n;
        assert_true(valid <= size);
        memcpy(buffer, bytes, valid);
        return valid;
}

static void test_what_was_appended_is_there_after_opening_again(void **state) {
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        assert_null(wal_problem(w));
        assert_null(wal_last_state(w));
        for (unsigned i = 0; i < N_RECORDS; i++) {
                append_state(w, i);
                assert_last(w, i);
        }
        wal_free(w);
        w = open_wal(&tree);
        assert_null(wal_problem(w));
        assert_null(wal_damage(w));
        assert_last(w, N_RECORDS - 1);
        wal_free(w);
        tree_done(&tree);
}

/* Cut at every byte: the records before the cut are there, nothing else is, and appending goes on. */
static void test_a_file_cut_anywhere_has_the_records_before_the_cut(void **state) {
        static uint8_t bytes[16384];
        size_t ends[N_RECORDS + 1], size;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        ends[0] = read_log(&tree, bytes, sizeof(bytes));
        for (unsigned i = 0; i < N_RECORDS; i++) {
                append_state(w, i);
                ends[i + 1] = read_log(&tree, bytes, sizeof(bytes));
        }
        wal_free(w);
        size = ends[N_RECORDS];
        for (size_t cut = ends[0]; cut < size; cut++) {
                unsigned n = 0;

                while (ends[n + 1] <= cut)
                        n++;
                tree_write_n(&tree, "log/" WAL_FILE, bytes, cut);
                w = open_wal(&tree);
                assert_null(wal_damage(w));
                if (n > 0)
                        assert_last(w, n - 1);
                else
                        assert_null(wal_last_state(w));
                append_state(w, 5);
                wal_free(w);
                w = open_wal(&tree);
                assert_null(wal_damage(w));
                assert_last(w, 5);
                wal_free(w);
        }
        /* The same with the rest of the file as zeros: the size was on the disk before the bytes were. */
        for (size_t cut = ends[0]; cut < size; cut++) {
                static uint8_t zeroed[16384];
                unsigned n = 0;

                while (ends[n + 1] <= cut)
                        n++;
                memcpy(zeroed, bytes, cut);
                memset(zeroed + cut, 0, size - cut);
                tree_write_n(&tree, "log/" WAL_FILE, zeroed, size);
                w = open_wal(&tree);
                assert_null(wal_damage(w));
                if (n > 0)
                        assert_last(w, n - 1);
                wal_free(w);
        }
        tree_done(&tree);
}

/* A flipped bit is damage, wherever it is; then nothing in the file is believed, and it is put aside. */
static void test_a_flipped_bit_makes_the_file_unbelievable(void **state) {
        static uint8_t bytes[16384];
        size_t size, valid;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        for (unsigned i = 0; i < N_RECORDS; i++)
                append_state(w, i);
        size = read_log(&tree, bytes, sizeof(bytes));
        wal_free(w);
        assert_int_equal(wal_scan(bytes, size, NULL, NULL, &valid), WAL_WHOLE);
        assert_int_equal(valid, size);
        for (size_t bit = 0; bit < size * 8; bit++) {
                bytes[bit / 8] ^= (uint8_t) (1U << bit % 8);
                assert_int_equal(wal_scan(bytes, size, NULL, NULL, &valid), WAL_DAMAGED);
                bytes[bit / 8] ^= (uint8_t) (1U << bit % 8);
        }
        bytes[size / 2] ^= 4;
        tree_write_n(&tree, "log/" WAL_FILE, bytes, size);
        w = open_wal(&tree);
        assert_non_null(wal_damage(w));
        assert_null(wal_last_state(w));
        assert_null(wal_problem(w));
        assert_int_equal(faccessat(tree.fd, "log/" WAL_FILE_DAMAGED, F_OK, 0), 0);
        append_state(w, 3);
        wal_free(w);
        w = open_wal(&tree);
        assert_null(wal_damage(w));
        assert_last(w, 3);
        wal_free(w);
        tree_done(&tree);
}

/* What a disk may have of a write when the power goes: any of its sectors, the others as they were, which is zero. */
static void test_sectors_that_never_got_to_the_disk_are_a_torn_end(void **state) {
        static uint8_t whole[16384], torn[16384];
        static char big[1500];
        size_t before, after, first, n, valid;
        uint64_t sequence;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        append_state(w, 1);
        append_state(w, 2);
        before = read_log(&tree, whole, sizeof(whole));
        memset(big, 'b', sizeof(big));
        /* Three records in one write. */
        assert_int_equal(wal_stage(w, WAL_JOURNAL, big, sizeof(big), &sequence), 0);
        assert_int_equal(wal_stage(w, WAL_HOST, big, 700, &sequence), 0);
        append_state(w, 3);
        after = read_log(&tree, whole, sizeof(whole));
        wal_free(w);
        first = before / 512;
        n = (after + 511) / 512 - first;
        assert_true(n >= 5 && n < 10);
        for (unsigned present = 0; present < 1U << n; present++) {
                memcpy(torn, whole, sizeof(torn));
                for (size_t i = 0; i < n; i++)
                        if (!(present >> i & 1)) {
                                size_t from = (first + i) * 512, to = from + 512;

                                memset(torn + (from < before ? before : from), 0, to - (from < before ? before : from));
                        }
                tree_write_n(&tree, "log/" WAL_FILE, torn, sizeof(torn));
                w = open_wal(&tree);
                assert_null(wal_damage(w));
                assert_last(w, present == (1U << n) - 1 ? 3 : 2);
                append_state(w, 4);
                wal_free(w);
                w = open_wal(&tree); /* nothing of it shows through */
                assert_null(wal_damage(w));
                assert_last(w, 4);
                wal_free(w);
        }
        /* What was on the disk before something later was written can't have been torn by that. */
        tree_write_n(&tree, "log/" WAL_FILE, whole, after);
        w = open_wal(&tree);
        append_state(w, 4);
        append_state(w, 5);
        append_state(w, 6);
        wal_free(w);
        after = read_log(&tree, whole, sizeof(whole));
        for (size_t i = 1; i < n; i++) {
                memcpy(torn, whole, after);
                memset(torn + (first + i) * 512, 0, 512);
                assert_int_equal(wal_scan(torn, after, NULL, NULL, &valid), WAL_DAMAGED);
        }
        tree_done(&tree);
}

/* Records are data in their place: the file doesn't grow with them. */
static void test_the_file_has_its_size_from_the_beginning(void **state) {
        struct stat st;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        for (unsigned i = 0; i < 3 * WAL_COMPACT_BYTES / 100; i++) {
                append_state(w, i % N_RECORDS);
                assert_int_equal(fstatat(tree.fd, "log/" WAL_FILE, &st, 0), 0);
                assert_int_equal(st.st_size, WAL_COMPACT_BYTES);
        }
        wal_free(w);
        w = open_wal(&tree);
        assert_null(wal_damage(w));
        wal_free(w);
        tree_done(&tree);
}

static void test_what_is_no_log_at_all_is_put_aside(void **state) {
        static const char *const texts[] = { "hello", "klpX and more of it, long enough to be a header", "\1" };
        Tree tree;
        Wal *w;

        tree_new(&tree);
        for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
                tree_write(&tree, "log/" WAL_FILE, texts[i]);
                w = open_wal(&tree);
                assert_non_null(wal_damage(w));
                assert_null(wal_problem(w));
                wal_free(w);
        }
        assert_int_equal(unlinkat(tree.fd, "log/" WAL_FILE, 0), 0);
        assert_int_equal(symlinkat("/etc/passwd", tree.fd, "log/" WAL_FILE), 0);
        w = open_wal(&tree);
        assert_non_null(strstr(wal_damage(w), "symbolic link"));
        append_state(w, 1);
        wal_free(w);
        tree_done(&tree);
}

static void test_the_file_stays_bounded_and_keeps_what_counts(void **state) {
        static uint8_t bytes[WAL_BYTES_MAX + 1];
        static char text[20000];
        uint64_t sequence = 0;
        Tree tree;
        Wal *w;

        memset(text, 'x', sizeof(text));
        tree_new(&tree);
        w = open_wal(&tree);
        for (unsigned i = 0; i < 100; i++) {
                assert_int_equal(wal_append(w, WAL_JOURNAL, text, sizeof(text), false, &sequence), 0);
                append_state(w, i % N_RECORDS);
                assert_true(read_log(&tree, bytes, sizeof(bytes)) <= WAL_BYTES_MAX);
        }
        assert_int_equal(wal_sent(w, sequence), 0);
        for (unsigned i = 0; i < 2000; i++)
                append_state(w, i % N_RECORDS);
        assert_true(read_log(&tree, bytes, sizeof(bytes)) <= WAL_COMPACT_BYTES);
        wal_free(w);
        w = open_wal(&tree);
        assert_last(w, 1999 % N_RECORDS);
        assert_int_equal(wal_append(w, WAL_STATE, text, 0, true, NULL), -EINVAL);
        assert_int_equal(wal_append(w, WAL_STATE, "x\0", 2, true, NULL), -EINVAL);
        assert_int_equal(wal_append(w, WAL_STATE, text, WAL_RECORD_MAX + 1, true, NULL), -E2BIG);
        wal_free(w);
        tree_done(&tree);
}

static void count_record(const WalRecord *record, void *userdata) {
        char *seen = userdata;
        size_t n = strlen(seen);

        (void) snprintf(seen + n, 64 - n, "%.*s", (int) record->size, (const char *) record->bytes);
}

static void test_records_for_the_journal_are_there_until_they_were_sent(void **state) {
        char seen[64] = "";
        uint64_t one, two;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        assert_int_equal(wal_append(w, WAL_JOURNAL, "one ", 4, false, &one), 0);
        append_state(w, 2);
        assert_int_equal(wal_append(w, WAL_JOURNAL, "two ", 4, false, &two), 0);
        assert_true(two > one);
        wal_free(w);

        w = open_wal(&tree);
        wal_unsent(w, count_record, seen);
        assert_string_equal(seen, "one two ");
        assert_int_equal(wal_sent(w, one), 0);
        wal_free(w);

        w = open_wal(&tree);
        seen[0] = 0;
        wal_unsent(w, count_record, seen);
        assert_string_equal(seen, "two ");
        assert_last(w, 2);
        wal_free(w);
        tree_done(&tree);
}

static void assert_host(const Wal *w, const char *text) {
        const WalRecord *last = wal_last_host(w);

        if (!text) {
                assert_null(last);
                return;
        }
        assert_non_null(last);
        assert_int_equal(last->size, strlen(text));
        assert_memory_equal(last->bytes, text, last->size);
}

static void stage_host(Wal *w, const char *text, uint64_t *sequence) {
        assert_int_equal(wal_stage(w, WAL_HOST, text, strlen(text), sequence), 0);
}

static void test_the_hosts_record_is_there_until_it_is_filed(void **state) {
        static char bulk[4000];
        uint64_t sequence;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        assert_host(w, NULL);
        stage_host(w, "old", &sequence);
        append_state(w, 1);
        stage_host(w, "new", &sequence);
        assert_int_equal(sequence, 0);
        append_state(w, 2);
        assert_true(sequence > 0);
        assert_host(w, "new");
        wal_free(w);

        /* Through as many compactions as it takes. */
        w = open_wal(&tree);
        assert_host(w, "new");
        memset(bulk, 'x', sizeof(bulk));
        for (unsigned i = 0; i < 2 * WAL_COMPACT_BYTES / sizeof(bulk); i++)
                assert_int_equal(wal_append(w, WAL_STATE, bulk, sizeof(bulk), false, NULL), 0);
        append_state(w, 3);
        wal_free(w);
        w = open_wal(&tree);
        assert_host(w, "new");
        assert_last(w, 3);
        assert_int_equal(wal_host_filed(w), 0);
        assert_host(w, NULL);
        wal_free(w);
        w = open_wal(&tree);
        assert_host(w, NULL);
        assert_last(w, 3);
        wal_free(w);
        tree_done(&tree);
}

static void test_peeking_changes_nothing(void **state) {
        uint8_t before[4096], after[4096];
        uint64_t sequence;
        Tree tree;
        size_t n;
        Wal *w;

        tree_new(&tree);
        assert_int_equal(wal_peek(tree.fd, "log", &w), 0); /* there is no log */
        assert_host(w, NULL);
        wal_free(w);
        assert_int_equal(faccessat(tree.fd, "log", F_OK, 0), -1);

        w = open_wal(&tree);
        stage_host(w, "host", &sequence);
        append_state(w, 1);
        wal_free(w);
        n = read_log(&tree, before, sizeof(before));
        assert_int_equal(wal_peek(tree.fd, "log", &w), 0);
        assert_host(w, "host");
        assert_last(w, 1);
        wal_free(w);
        assert_int_equal(read_log(&tree, after, sizeof(after)), n);
        assert_memory_equal(before, after, n);

        before[40] ^= 1;
        tree_write_n(&tree, "log/" WAL_FILE, before, n);
        assert_int_equal(wal_peek(tree.fd, "log", &w), 0);
        assert_host(w, NULL);
        wal_free(w);
        assert_int_equal(read_log(&tree, after, sizeof(after)), n); /* for klpd to find */
        assert_int_equal(faccessat(tree.fd, "log/" WAL_FILE_DAMAGED, F_OK, 0), -1);
        tree_done(&tree);
}

/* No room: the limit of this process for files stands in for a full disk; the VM scenarios have a real one. */
static void test_without_room_appending_fails_and_works_again_with_it(void **state) {
        struct rlimit old, none;
        Tree tree;
        Wal *w;

        tree_new(&tree);
        w = open_wal(&tree);
        append_state(w, 1);
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        none = (struct rlimit) { .rlim_cur = 100, .rlim_max = old.rlim_max };
        (void) signal(SIGXFSZ, SIG_IGN);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
        assert_int_equal(wal_append(w, WAL_STATE, "no room\n", 8, true, NULL), -EFBIG);
        assert_non_null(strstr(wal_problem(w), "log/" WAL_FILE));
        assert_last(w, 1);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        append_state(w, 2);
        assert_null(wal_problem(w));
        wal_free(w);
        w = open_wal(&tree);
        assert_null(wal_damage(w));
        assert_last(w, 2);
        wal_free(w);
        tree_done(&tree);
}

static void test_in_a_directory_that_cannot_be_written_it_opens_and_says_so(void **state) {
        Tree tree;
        Wal *w;

        tree_new(&tree);
        /* Nobody writes into a file's place, root neither. */
        tree_write(&tree, "log", "not a directory");
        w = open_wal(&tree);
        assert_non_null(wal_problem(w));
        assert_int_equal(wal_append(w, WAL_STATE, "x", 1, true, NULL), -ENOTDIR);
        assert_int_equal(unlinkat(tree.fd, "log", 0), 0);
        append_state(w, 4);
        assert_null(wal_problem(w));
        wal_free(w);

        if (geteuid() != 0) {
                assert_int_equal(fchmodat(tree.fd, "log/" WAL_FILE, 0400, 0), 0);
                w = open_wal(&tree);
                assert_last(w, 4); /* what is in it can still be read */
                assert_non_null(wal_problem(w));
                assert_int_equal(wal_append(w, WAL_STATE, "x", 1, true, NULL), -EACCES);
                wal_free(w);
        }
        tree_done(&tree);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_what_was_appended_is_there_after_opening_again),
                cmocka_unit_test(test_a_file_cut_anywhere_has_the_records_before_the_cut),
                cmocka_unit_test(test_a_flipped_bit_makes_the_file_unbelievable),
                cmocka_unit_test(test_sectors_that_never_got_to_the_disk_are_a_torn_end),
                cmocka_unit_test(test_the_file_has_its_size_from_the_beginning),
                cmocka_unit_test(test_what_is_no_log_at_all_is_put_aside),
                cmocka_unit_test(test_the_file_stays_bounded_and_keeps_what_counts),
                cmocka_unit_test(test_records_for_the_journal_are_there_until_they_were_sent),
                cmocka_unit_test(test_the_hosts_record_is_there_until_it_is_filed),
                cmocka_unit_test(test_peeking_changes_nothing),
                cmocka_unit_test(test_without_room_appending_fails_and_works_again_with_it),
                cmocka_unit_test(test_in_a_directory_that_cannot_be_written_it_opens_and_says_so),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
