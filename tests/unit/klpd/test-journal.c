/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of records to the journal: with a journald that reads, that doesn't, that isn't there, and across the end of
 * klpd. journald is played by two sockets of this process. */
#include "test-util.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "klpd/audit.h"

#define MESSAGES_MAX 600U

typedef struct Fixture {
        Tree tree;
        sd_event *event;
        int fd, sync_fd;
        sd_event_source *source, *sync_source;
        char *messages[MESSAGES_MAX];
        size_t sizes[MESSAGES_MAX];
        size_t n_messages, n_want, n_syncs;
        bool enough;
        Wal *wal;
        Journal *journal;
        Audit *audit;
} Fixture;

static int bind_socket(const Tree *t, const char *path, int type) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s/%s", t->path, path);
        (void) unlink(address.sun_path);
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof(address)), 0);
        if (type == SOCK_STREAM)
                assert_int_equal(listen(fd, 8), 0);
        return fd;
}

/* A datagram, or the memfd that came with it. */
static ssize_t receive(int fd, char *buffer, size_t size) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec iov = { .iov_base = buffer, .iov_len = size };
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control),
        };
        ssize_t n;
        int memfd;

        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n < 0 || !CMSG_FIRSTHDR(&message))
                return n;
        memcpy(&memfd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        assert_true(fcntl(memfd, F_GET_SEALS) & F_SEAL_WRITE);
        n = pread(memfd, buffer, size, 0);
        close(memfd);
        return n;
}

static int on_message(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        static char buffer[1024 * 1024];
        Fixture *f = userdata;
        ssize_t n;

        n = receive(fd, buffer, sizeof(buffer) - 1);
        assert_true(n >= 0 && f->n_messages < MESSAGES_MAX);
        f->messages[f->n_messages] = malloc((size_t) n + 1);
        assert_non_null(f->messages[f->n_messages]);
        memcpy(f->messages[f->n_messages], buffer, (size_t) n);
        f->messages[f->n_messages][n] = 0;
        f->sizes[f->n_messages++] = (size_t) n;
        f->enough = f->n_messages >= f->n_want;
        return 0;
}

static int on_sync(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        static const char answer[] = "{\"parameters\":{}}";
        Fixture *f = userdata;
        char call[256];
        int client;

        client = accept(fd, NULL, NULL);
        assert_true(client >= 0);
        assert_true(recv(client, call, sizeof(call), 0) > 0);
        assert_non_null(strstr(call, "io.systemd.Journal.Synchronize"));
        assert_int_equal(send(client, answer, sizeof(answer), 0), (ssize_t) sizeof(answer));
        close(client);
        f->n_syncs++;
        return 0;
}

static void journald_start(Fixture *f) {
        f->fd = bind_socket(&f->tree, JOURNAL_SOCKET, SOCK_DGRAM);
        f->sync_fd = bind_socket(&f->tree, JOURNAL_SYNC_SOCKET, SOCK_STREAM);
}

static void journald_read(Fixture *f) {
        assert_true(sd_event_add_io(f->event, &f->source, f->fd, EPOLLIN, on_message, f) >= 0);
        assert_true(sd_event_add_io(f->event, &f->sync_source, f->sync_fd, EPOLLIN, on_sync, f) >= 0);
}

static void journald_stop(Fixture *f) {
        f->source = sd_event_source_disable_unref(f->source);
        f->sync_source = sd_event_source_disable_unref(f->sync_source);
        if (f->fd >= 0)
                close(f->fd);
        if (f->sync_fd >= 0)
                close(f->sync_fd);
        f->fd = f->sync_fd = -EBADF;
}

static void klpd_start(Fixture *f) {
        assert_int_equal(wal_open(f->tree.fd, "log", &f->wal), 0);
        assert_int_equal(journal_new(f->event, f->tree.fd, f->wal, 100, &f->journal), 0);
}

static void klpd_stop(Fixture *f) {
        f->journal = journal_free(f->journal);
        f->wal = wal_free(f->wal);
}

static void setup(Fixture *f) {
        *f = (Fixture) { .fd = -EBADF, .sync_fd = -EBADF };
        tree_new(&f->tree);
        tree_write(&f->tree, "run/systemd/journal/README", "two sockets\n");
        assert_true(sd_event_new(&f->event) >= 0);
}

static void done(Fixture *f) {
        journald_stop(f);
        klpd_stop(f);
        for (size_t i = 0; i < f->n_messages; i++)
                free(f->messages[i]);
        sd_event_unref(f->event);
        tree_done(&f->tree);
}

static void submit(Fixture *f, unsigned i, const char *more) {
        char number[32], *fields[] = { number, (char *) "MESSAGE=two\nlines", (char *) more };
        struct iovec iov[ELEMENTSOF(fields)];

        (void) snprintf(number, sizeof(number), "KLPD_JOB=%u", i);
        for (size_t k = 0; k < ELEMENTSOF(fields); k++)
                iov[k] = (struct iovec) { .iov_base = fields[k], .iov_len = strlen(fields[k]) };
        journal_submit(f->journal, iov, ELEMENTSOF(iov));
}

static void wait_messages(Fixture *f, size_t n) {
        f->n_want = n;
        f->enough = f->n_messages >= n;
        loop_until(f->event, &f->enough);
        assert_int_equal(f->n_messages, n);
}

static void wait_idle(Fixture *f) {
        for (unsigned i = 0; i < 4000 && !journal_is_idle(f->journal); i++)
                assert_true(sd_event_run(f->event, 10000) >= 0);
        assert_true(journal_is_idle(f->journal));
}

static void count(const WalRecord *r, void *userdata) {
        (*(size_t *) userdata)++;
}

static size_t n_unsent(const Wal *w) {
        size_t n = 0;

        wal_unsent(w, count, &n);
        return n;
}

static void assert_number(const Fixture *f, size_t at, unsigned i) {
        char line[32];

        (void) snprintf(line, sizeof(line), "KLPD_JOB=%u\n", i);
        assert_memory_equal(f->messages[at], line, strlen(line));
}

static void test_a_record_arrives_as_it_is_and_counts_as_sent_when_the_journal_has_stored_it(void **state) {
        static const char want[] = "KLPD_JOB=7\nMESSAGE\n\11\0\0\0\0\0\0\0two\nlines\nKLPD_EDGE=state\n";
        Fixture f;

        setup(&f);
        journald_start(&f);
        klpd_start(&f);
        submit(&f, 7, "KLPD_EDGE=state");
        assert_int_equal(n_unsent(f.wal), 1);
        journald_read(&f);
        wait_messages(&f, 1);
        assert_int_equal(f.sizes[0], sizeof(want) - 1);
        assert_memory_equal(f.messages[0], want, sizeof(want) - 1);
        wait_idle(&f);
        assert_int_equal(f.n_syncs, 1);
        assert_int_equal(n_unsent(f.wal), 0);

        /* A new klpd has nothing to send again. */
        klpd_stop(&f);
        klpd_start(&f);
        assert_true(journal_is_idle(f.journal));
        done(&f);
}

static void test_what_the_journal_has_not_confirmed_is_sent_again_with_the_same_fields(void **state) {
        Wal *killed_wal;
        Journal *killed;
        Fixture f;

        setup(&f);
        journald_start(&f);
        klpd_start(&f);
        for (unsigned i = 0; i < 3; i++)
                submit(&f, i, "KLPD_RECORD=000102030405060708090a0b0c0d0e0f");
        assert_true(sd_event_run(f.event, 0) > 0); /* with nothing else to do it hands them to the socket */
        /* It is killed: what it would do at its end isn't done. */
        killed = TAKE_PTR(f.journal);
        killed_wal = TAKE_PTR(f.wal);
        klpd_start(&f);
        journald_read(&f);
        wait_messages(&f, 6);
        for (unsigned i = 0; i < 3; i++) {
                assert_number(&f, i, i);
                assert_number(&f, 3 + i, i);
                assert_memory_equal(f.messages[3 + i], f.messages[i], f.sizes[i]);
                assert_string_equal(f.messages[3 + i] + f.sizes[i], "KLPD_RESENT=1\n");
        }
        wait_idle(&f);
        assert_int_equal(n_unsent(f.wal), 0);
        journald_stop(&f);
        journal_free(killed);
        wal_free(killed_wal);
        done(&f);
}

static void test_a_journal_that_does_not_read_holds_up_nothing_and_gets_all_when_it_reads(void **state) {
        enum { N = 200 };
        Fixture f;

        setup(&f);
        journald_start(&f);
        klpd_start(&f);
        for (unsigned i = 0; i < N; i++)
                submit(&f, i, "KLPD_PLAN=...................................................................");
        assert_false(journal_is_idle(f.journal));
        assert_int_equal(n_unsent(f.wal), N);
        journald_read(&f);
        wait_messages(&f, N);
        for (unsigned i = 0; i < N; i++)
                assert_number(&f, i, i);
        wait_idle(&f);
        assert_int_equal(n_unsent(f.wal), 0);
        done(&f);
}

static void test_more_than_may_wait_is_lost_oldest_first(void **state) {
        enum { N = 500 };
        Fixture f;

        setup(&f);
        klpd_start(&f); /* without a journal */
        for (unsigned i = 0; i < N; i++)
                submit(&f, i, "KLPD_EDGE=state");
        journald_start(&f);
        journald_read(&f);
        wait_messages(&f, JOURNAL_WAITING_MAX);
        assert_number(&f, 0, N - JOURNAL_WAITING_MAX);
        assert_number(&f, JOURNAL_WAITING_MAX - 1, N - 1);
        wait_idle(&f);
        done(&f);
}

static void test_a_large_record_arrives_whole_and_is_cut_where_it_is_sent_again(void **state) {
        static char stack[400 * 1024];
        Wal *killed_wal;
        Journal *killed;
        Fixture f;

        memset(stack, 'x', sizeof(stack) - 1);
        memcpy(stack, "KLPD_STACK=", 11);
        setup(&f);
        journald_start(&f);
        klpd_start(&f);
        submit(&f, 1, stack);
        journald_read(&f);
        wait_messages(&f, 1);
        assert_true(f.sizes[0] > sizeof(stack));
        killed = TAKE_PTR(f.journal);
        killed_wal = TAKE_PTR(f.wal);
        klpd_start(&f);
        wait_messages(&f, 2);
        assert_number(&f, 1, 1);
        assert_true(f.sizes[1] < 200);
        assert_non_null(memmem(f.messages[1], f.sizes[1], "KLPD_MISSING=1\nKLPD_RESENT=1\n", 29));
        journald_stop(&f);
        journal_free(killed);
        wal_free(killed_wal);
        done(&f);
}

static void test_the_record_of_an_end_is_in_the_log_with_it_or_not_at_all(void **state) {
        const struct rlimit small = { .rlim_cur = 1, .rlim_max = RLIM_INFINITY };
        struct rlimit before;
        Wal *other;
        Fixture f;

        setup(&f);
        klpd_start(&f);
        journal_hold(f.journal);
        submit(&f, 1, "KLPD_EDGE=completed");
        assert_int_equal(wal_open(f.tree.fd, "log", &other), 0);
        assert_int_equal(n_unsent(other), 0);
        wal_free(other);
        assert_int_equal(wal_append(f.wal, WAL_STATE, "over\n", 5, true, NULL), 0);
        assert_int_equal(wal_open(f.tree.fd, "log", &other), 0);
        assert_int_equal(n_unsent(other), 1);
        assert_int_equal(wal_last_state(other)->size, 5);
        wal_free(other);
        journal_release(f.journal);
        assert_int_equal(n_unsent(f.wal), 1);

        assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
        assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
        journal_hold(f.journal);
        submit(&f, 2, "KLPD_EDGE=completed");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        assert_true(wal_append(f.wal, WAL_STATE, "more\n", 5, true, NULL) < 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        journal_release(f.journal);
        assert_int_equal(n_unsent(f.wal), 1);
        /* It is sent all the same. */
        journald_start(&f);
        journald_read(&f);
        wait_messages(&f, 2);
        assert_number(&f, 1, 2);
        done(&f);
}

static void test_a_burst_does_not_wait_until_klpd_has_nothing_else_to_do(void **state) {
        enum { BURST = JOURNAL_WAITING_MAX / 8 };
        struct pollfd p = { .events = POLLIN };
        Fixture f;

        setup(&f);
        journald_start(&f);
        klpd_start(&f);
        p.fd = f.fd;
        for (unsigned i = 0; i < BURST - 1; i++)
                submit(&f, i, "KLPD_EDGE=state");
        assert_int_equal(poll(&p, 1, 0), 0);
        submit(&f, BURST - 1, "KLPD_EDGE=state");
        assert_int_equal(poll(&p, 1, 0), 1);
        journald_read(&f);
        wait_messages(&f, BURST);
        for (unsigned i = 0; i < BURST; i++)
                assert_number(&f, i, i);
        done(&f);
}

static void test_a_record_has_a_number_and_a_time(void **state) {
        char *first, *second;
        AuditRecord *earlier;
        Fixture f;

        setup(&f);
        journald_start(&f);
        journald_read(&f);
        assert_int_equal(wal_open(f.tree.fd, "log", &f.wal), 0);
        assert_int_equal(audit_new(NULL, NULL, &f.audit), 0);
        assert_int_equal(audit_attach(f.audit, f.event, f.tree.fd, f.wal), 0);
        for (unsigned i = 0; i < 2; i++)
                audit_send(f.audit, audit_begin(KLPD_MESSAGE_DAEMON, "daemon"), 6, "number %u", i);
        earlier = audit_begin(KLPD_MESSAGE_DAEMON, "daemon");
        audit_time(earlier, 17);
        audit_send(f.audit, earlier, 6, "of what was before");
        wait_messages(&f, 3);
        first = strstr(f.messages[0], "\nKLPD_RECORD=");
        second = strstr(f.messages[1], "\nKLPD_RECORD=");
        assert_true(first && second);
        assert_int_equal(strspn(first + 13, "0123456789abcdef"), 32);
        assert_memory_not_equal(first, second, 13 + 32);
        assert_non_null(strstr(f.messages[0], "\nKLPD_REALTIME_USEC=1"));
        assert_non_null(strstr(f.messages[0], "MESSAGE_ID=" KLPD_MESSAGE_DAEMON "\n"));
        assert_non_null(strstr(f.messages[1], "\nMESSAGE=number 1\n"));
        assert_non_null(strstr(f.messages[2], "\nKLPD_REALTIME_USEC=17\n"));
        journald_stop(&f);
        audit_free(f.audit);
        done(&f);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_record_arrives_as_it_is_and_counts_as_sent_when_the_journal_has_stored_it),
                cmocka_unit_test(test_what_the_journal_has_not_confirmed_is_sent_again_with_the_same_fields),
                cmocka_unit_test(test_a_journal_that_does_not_read_holds_up_nothing_and_gets_all_when_it_reads),
                cmocka_unit_test(test_more_than_may_wait_is_lost_oldest_first),
                cmocka_unit_test(test_a_large_record_arrives_whole_and_is_cut_where_it_is_sent_again),
                cmocka_unit_test(test_the_record_of_an_end_is_in_the_log_with_it_or_not_at_all),
                cmocka_unit_test(test_a_burst_does_not_wait_until_klpd_has_nothing_else_to_do),
                cmocka_unit_test(test_a_record_has_a_number_and_a_time),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
