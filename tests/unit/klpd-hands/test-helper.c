/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The helper's two sides: what the server takes and refuses (messages of every length, wrong descriptors),
 * what it does below a made root, and how the client queues, times out and recovers. The kernel isn't
 * touched: the requests that would do so end at a check, or at a file of the made tree.
 */
#include "test-util.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/helper-kernel.h"
#include "klpd/helper-server.h"
#include "klpd/loader.h"
#include "klpd/sealed-memfd.h"

static HelperRequest request(HelperOperation op, const char *name) {
        HelperRequest q = { .magic = HELPER_MAGIC, .version = HELPER_VERSION, .cookie = 5, .operation = op };

        if (name)
                strcpy(q.name, name);
        return q;
}

static void test_good_requests_are_taken(void **state) {
        HelperRequest q;

        q = request(HELPER_LOAD, "klp_a");
        assert_int_equal(helper_request_check(&q, sizeof(q), true), 0);
        q = request(HELPER_LOAD_SHIM, NULL);
        assert_int_equal(helper_request_check(&q, sizeof(q), false), 0);
        q = request(HELPER_ENABLE, "klp_a");
        q.generation = 9;
        q.flags = HELPER_FLAG_SETTLE;
        q.settle_max_cpus = 4;
        assert_int_equal(helper_request_check(&q, sizeof(q), false), 0);
        q = request(HELPER_WRITE_ENABLED, "klp_a");
        q.flags = HELPER_FLAG_VALUE;
        assert_int_equal(helper_request_check(&q, sizeof(q), false), 0);
        q = request(HELPER_UNLOAD, "klp_a");
        assert_int_equal(helper_request_check(&q, sizeof(q), false), 0);
        q = request(HELPER_READ_STACKS, NULL);
        q.n_tasks = 1;
        q.tasks[0] = (HelperTask) { 1, 1 };
        assert_int_equal(helper_request_check(&q, sizeof(q), false), 0);
}

static void test_requests_of_another_length_are_refused(void **state) {
        HelperRequest q = request(HELPER_UNLOAD, "klp_a");
        uint8_t longer[sizeof(q) + 1] = {};

        memcpy(longer, &q, sizeof(q));
        for (size_t n = 0; n < sizeof(q); n++) {
                uint8_t *copy = malloc(n ?: 1);

                memcpy(copy, &q, n);
                assert_int_equal(helper_request_check(copy, n, false), -EBADMSG);
                free(copy);
        }
        assert_int_equal(helper_request_check(longer, sizeof(longer), false), -EBADMSG);
}

#define REFUSED(op, name, fd, statement)                                                        \
        do {                                                                                    \
                HelperRequest q = request(op, name);                                            \
                statement;                                                                      \
                assert_int_equal(helper_request_check(&q, sizeof(q), fd), -EBADMSG);            \
        } while (0)

static void test_hostile_requests_are_refused(void **state) {
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.magic ^= 1);
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.version++);
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.reserved = 1);
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.operation = 0);
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.operation = _HELPER_OPERATION_MAX);
        /* a descriptor that nobody wants */
        REFUSED(HELPER_UNLOAD, "klp_a", true, );
        REFUSED(HELPER_LOAD, "klp_a", false, );                           /* none where one is needed */
        REFUSED(HELPER_UNLOAD, "", false, );
        REFUSED(HELPER_UNLOAD, "..", false, );
        REFUSED(HELPER_UNLOAD, ".hidden", false, );
        REFUSED(HELPER_WRITE_ENABLED, "../../module/x", false, );
        REFUSED(HELPER_UNLOAD, "a b", false, );
        REFUSED(HELPER_UNLOAD, "klp_a", false, memset(q.name, 'x', sizeof(q.name)));
        /* something hidden behind the end */
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.name[40] = 'x');
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.flags = HELPER_FLAG_VALUE);
        REFUSED(HELPER_ENABLE, "klp_a", false, q.flags = 1U << 31);
        REFUSED(HELPER_ENABLE, "klp_a", false, q.settle_max_cpus = 1);    /* without the flag */
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.generation = 1);
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.params[0] = 'x');
        REFUSED(HELPER_LOAD, "klp_a", true, memset(q.params, 'x', sizeof(q.params)));
        REFUSED(HELPER_LOAD_SHIM, "klp_shim", false, );
        REFUSED(HELPER_READ_STACKS, NULL, false, );
        REFUSED(HELPER_READ_STACKS, NULL, false, q.n_tasks = HELPER_TASKS_MAX + 1);
        REFUSED(HELPER_READ_STACKS, NULL, false, (q.n_tasks = 1, q.tasks[0].tid = 1));
        REFUSED(HELPER_READ_STACKS, NULL, false,
                (q.n_tasks = 1, q.tasks[0] = q.tasks[1] = (HelperTask){1, 1}));
        REFUSED(HELPER_UNLOAD, "klp_a", false, q.n_tasks = 1);
}

static void test_replies_must_fit_their_request(void **state) {
        HelperRequest q = request(HELPER_READ_STACKS, NULL);
        struct {
                HelperReply a;
                char data[16];
        } m = {.a = {.magic = HELPER_MAGIC,
                     .version = HELPER_VERSION,
                     .cookie = 5,
                     .n_stacks = 1,
                     .data_size = 4,
                     .stack_size = {4}}},
          bad;

        q.n_tasks = 1;
        q.tasks[0] = (HelperTask) { 1, 1 };
        assert_int_equal(helper_reply_check(&m, sizeof(HelperReply) + 4, &q), 0);
        assert_int_equal(helper_reply_check(&m, sizeof(HelperReply) + 3, &q), -EBADMSG);
        assert_int_equal(helper_reply_check(&m, sizeof(HelperReply) + 5, &q), -EBADMSG);
        for (size_t n = 0; n < sizeof(HelperReply); n += 7)
                assert_int_equal(helper_reply_check(&m, n, &q), -EBADMSG);

        bad = m;
        bad.a.cookie++;
        assert_int_equal(helper_reply_check(&bad, sizeof(HelperReply) + 4, &q), -EBADMSG);
        bad = m;
        bad.a.error = 1;
        assert_int_equal(helper_reply_check(&bad, sizeof(HelperReply) + 4, &q), -EBADMSG);
        bad = m;
        bad.a.stack_size[1] = 4;
        bad.a.data_size = 8;
        assert_int_equal(helper_reply_check(&bad, sizeof(HelperReply) + 8, &q), -EBADMSG);
        bad = m;
        memset(bad.a.text, 'x', sizeof(bad.a.text));
        assert_int_equal(helper_reply_check(&bad, sizeof(HelperReply) + 4, &q), -EBADMSG);
}

static void send_with_fds(int socket_fd, const void *bytes, size_t size, const int *fds, size_t n_fds) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int) * 4)];
        } control = {};
        struct iovec iov = { .iov_base = (void *) bytes, .iov_len = size };
        struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (n_fds > 0) {
                struct cmsghdr *c;

                m.msg_control = &control;
                m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
                c = CMSG_FIRSTHDR(&m);
                c->cmsg_level = SOL_SOCKET;
                c->cmsg_type = SCM_RIGHTS;
                c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
                memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
        }
        assert_int_equal(sendmsg(socket_fd, &m, 0), size);
}

static void test_the_server_receives_one_descriptor_at_most(void **state) {
        HelperRequest q = request(HELPER_LOAD, "klp_a"), got;
        int s[2], fd = -1, null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        const int fds[2] = { null_fd, null_fd };

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
        send_with_fds(s[0], &q, sizeof(q), fds, 1);
        assert_int_equal(helper_receive(s[1], 1000, &got, &fd), 1);
        assert_true(fd >= 0);
        assert_string_equal(got.name, "klp_a");
        close(fd);

        send_with_fds(s[0], &q, sizeof(q), fds, 2);
        assert_int_equal(helper_receive(s[1], 1000, &got, &fd), -EBADMSG);
        send_with_fds(s[0], &q, sizeof(q), NULL, 0);
        assert_int_equal(helper_receive(s[1], 1000, &got, &fd), -EBADMSG);
        send_with_fds(s[0], &q, 10, fds, 1);
        assert_int_equal(helper_receive(s[1], 1000, &got, &fd), -EBADMSG);
        assert_int_equal(helper_receive(s[1], 10, &got, &fd), -ETIMEDOUT);
        close(s[0]);
        assert_int_equal(helper_receive(s[1], 1000, &got, &fd), 0);
        close(s[1]);
        close(null_fd);
}

static void test_only_klpd_is_let_in(void **state) {
        assert_true(helper_peer_allowed(0, "klpd.service"));
        assert_true(helper_peer_allowed(0, "klpd-boot.service"));
        assert_false(helper_peer_allowed(1000, "klpd.service"));
        assert_false(helper_peer_allowed(0, "sshd.service"));
        assert_false(helper_peer_allowed(0, "klpd.service.d"));
        assert_false(helper_peer_allowed(0, "user@0.service"));
        assert_false(helper_peer_allowed(0, NULL));
}

static void test_a_stranger_is_refused_by_name(void **state) {
        PolicyError error = {};
        int s[2], pidfd = -1;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
        assert_true(helper_peer_check(s[1], &pidfd, &error) < 0);
        assert_int_equal(pidfd, -1);
        assert_contains(error.message, "process ");
        close(s[0]);
        close(s[1]);
}

static HelperReply execute(Tree *t, const HelperRequest *q, int fd, char *data) {
        HelperReply a;

        helper_execute(t->fd, q, fd, &a, data);
        assert_int_equal(a.cookie, q->cookie);
        return a;
}

static void test_enabled_is_written_where_the_patch_is(void **state) {
        HelperRequest q = request(HELPER_WRITE_ENABLED, "klp_a");
        char data[HELPER_DATA_MAX];
        HelperReply a;
        char *text;
        Tree t;

        tree_init(&t);
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, -ENOENT);
        assert_string_equal(a.text, "'klp_a' isn't enabled");

        tree_write(&t, "sys/kernel/livepatch/klp_a/enabled", "1");
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, 0);
        text = tree_read(&t, "sys/kernel/livepatch/klp_a/enabled");
        assert_string_equal(text, "0");
        free(text);

        q.flags = HELPER_FLAG_VALUE | HELPER_FLAG_SETTLE;
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, 0);
        text = tree_read(&t, "sys/kernel/livepatch/klp_a/enabled");
        assert_string_equal(text, "1");
        free(text);
        tree_done(&t);
}

static void test_force_is_written_where_the_patch_is_and_nowhere_else(void **state) {
        HelperRequest q = request(HELPER_FORCE, "klp_a");
        char data[HELPER_DATA_MAX];
        HelperReply a;
        char *text;
        Tree t;

        tree_init(&t);
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, -ENOENT);
        assert_contains(a.text, "klp_a");
        tree_write(&t, "sys/kernel/livepatch/klp_a/force", "0");
        tree_write(&t, "sys/kernel/livepatch/klp_a/enabled", "1");
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, 0);
        text = tree_read(&t, "sys/kernel/livepatch/klp_a/force");
        assert_string_equal(text, "1");
        free(text);
        text = tree_read(&t, "sys/kernel/livepatch/klp_a/enabled");
        assert_string_equal(text, "1");
        free(text);
        tree_done(&t);
        q.flags = HELPER_FLAG_VALUE;
        assert_int_equal(helper_request_check(&q, sizeof(q), false), -EBADMSG);
        q.flags = HELPER_FLAG_SETTLE; /* there is no first pass to help */
        assert_int_equal(helper_request_check(&q, sizeof(q), false), -EBADMSG);
}

static void test_stacks_are_read_and_cut_at_a_line(void **state) {
        HelperRequest q = request(HELPER_READ_STACKS, NULL);
        char *data = malloc(HELPER_DATA_MAX), *big = malloc(2 * HELPER_STACK_MAX);
        HelperReply a;
        Tree t;

        tree_init(&t);
        tree_write(&t, "proc/7/task/8/stack", "[<0>] do_wait+0x1/0x2\n");
        for (size_t i = 0; i < 2 * HELPER_STACK_MAX; i++)
                big[i] = i % 10 == 9 ? '\n' : 'x';
        tree_write_bytes(&t, "proc/9/task/9/stack", big, 2 * HELPER_STACK_MAX);

        q.n_tasks = 3;
        q.tasks[0] = (HelperTask) { 7, 8 };
        q.tasks[1] = (HelperTask) { 1234, 1234 };
        q.tasks[2] = (HelperTask) { 9, 9 };
        a = execute(&t, &q, -1, data);
        assert_int_equal(a.error, 0);
        assert_int_equal(a.n_stacks, 3);
        assert_int_equal(a.stack_size[0], 22);
        assert_int_equal(a.stack_size[1], 0);
        assert_int_equal(a.stack_size[2], HELPER_STACK_MAX - HELPER_STACK_MAX % 10);
        assert_int_equal(a.data_size, a.stack_size[0] + a.stack_size[2]);
        assert_memory_equal(data, "[<0>] do_wait", 13);
        free(data);
        free(big);
        tree_done(&t);
}

static void test_what_is_not_sealed_is_not_loaded(void **state) {
        HelperRequest q = request(HELPER_LOAD, "klp_a");
        char data[16];
        HelperReply a;
        int fd;
        Tree t;

        tree_init(&t);
        fd = memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        assert_int_equal(write(fd, "x", 1), 1);
        a = execute(&t, &q, fd, data);
        assert_int_equal(a.error, -EPERM);
        assert_contains(a.text, "isn't sealed");

        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK), 0);
        a = execute(&t, &q, fd, data); /* seals could still be added, but one is missing */
        assert_int_equal(a.error, -EPERM);
        assert_contains(a.text, "isn't sealed");
        close(fd);
        tree_done(&t);
}

static void test_who_refuses_a_module_is_named(void **state) {
        PolicyError e = {};
        Tree t;

        tree_init(&t);
        tree_write(&t, "sys/kernel/security/lsm", "lockdown,capability,selinux");
        assert_int_equal(loader_explain(t.fd, "klp_a", -EPERM, &e), -EPERM);
        assert_contains(e.message, "lockdown,capability,selinux");
        tree_write(&t, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        assert_int_equal(loader_explain(t.fd, "klp_a", -EPERM, &e), -EPERM);
        assert_contains(e.message, "lockdown (integrity)");
        tree_write(&t, "proc/sys/kernel/modules_disabled", "1\n");
        assert_int_equal(loader_explain(t.fd, "klp_a", -EPERM, &e), -EPERM);
        assert_contains(e.message, "modules_disabled");
        assert_int_equal(loader_explain(t.fd, "klp_a", -ENOEXEC, &e), -ENOEXEC);
        assert_contains(e.message, "klp_a");
        assert_contains(e.message, "another kernel");
        tree_done(&t);
}

/* ---- the client ---- */

typedef struct Fixture {
        char path[64];
        int listen_fd;
        sd_event *event;
        HelperClient *client;
        unsigned n_answers;
        int errors[8];
        char texts[8][200];
} Fixture;

static int setup(void **state) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        Fixture *f = calloc(1, sizeof(Fixture));

        snprintf(f->path, sizeof(f->path), "/tmp/klpd-hands-%d.sock", getpid());
        unlink(f->path);
        strcpy(sa.sun_path, f->path);
        f->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(f->listen_fd, (struct sockaddr *) &sa, sizeof(sa)), 0);
        assert_int_equal(listen(f->listen_fd, 8), 0);
        assert_true(sd_event_new(&f->event) >= 0);
        assert_int_equal(helper_client_new(f->event, f->path, &f->client), 0);
        *state = f;
        return 0;
}

static int teardown(void **state) {
        Fixture *f = *state;

        helper_client_free(f->client);
        sd_event_unref(f->event);
        if (f->listen_fd >= 0)
                close(f->listen_fd);
        unlink(f->path);
        free(f);
        return 0;
}

static void on_answer(int error, const char *text, void *userdata) {
        Fixture *f = userdata;

        assert_true(f->n_answers < ELEMENTSOF(f->errors));
        snprintf(f->texts[f->n_answers], sizeof(f->texts[0]), "%s", text);
        f->errors[f->n_answers++] = error;
}

static void run_until(Fixture *f, unsigned n) {
        while (f->n_answers < n)
                assert_true(sd_event_run(f->event, 5000000) > 0); /* nothing for 5 s: it will never come */
}

/* Runs the loop until the client has sent something, and takes it. */
static int take_request(Fixture *f, int connection, HelperRequest *ret) {
        int fd = -1;

        for (;;) {
                if (connection < 0) {
                        (void) sd_event_run(f->event, 0);
                        connection = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
                        assert_true(connection >= 0);
                }
                (void) sd_event_run(f->event, 0);
                if (helper_receive(connection, 10, ret, &fd) == 1) {
                        if (fd >= 0)
                                close(fd);
                        return connection;
                }
        }
}

static void reply(int connection, const HelperRequest *q, int error, const char *text) {
        HelperReply a = {.magic = HELPER_MAGIC,
                         .version = HELPER_VERSION,
                         .cookie = q->cookie,
                         .error = error};

        strcpy(a.text, text);
        assert_int_equal(helper_send_reply(connection, &a, ""), 0);
}

static void test_requests_go_one_after_the_other(void **state) {
        Fixture *f = *state;
        HelperRequest q;
        int c, fd = -1;

        assert_int_equal(helper_client_enable(f->client, "klp_a", 7, NULL, 0, on_answer, f), 0);
        assert_int_equal(helper_client_unload(f->client, "klp_b", 0, on_answer, f), 0);

        c = take_request(f, -1, &q);
        assert_int_equal(q.operation, HELPER_ENABLE);
        assert_int_equal(q.generation, 7);
        assert_string_equal(q.name, "klp_a");
        /* the second waits for the first one's answer */
        assert_int_equal(helper_receive(c, 0, &q, &fd), -ETIMEDOUT);
        q.cookie = 1;
        reply(c, &q, -ESTALE, "the generation has changed");
        run_until(f, 1);
        assert_int_equal(f->errors[0], -ESTALE);
        assert_string_equal(f->texts[0], "the generation has changed");

        c = take_request(f, c, &q);
        assert_int_equal(q.operation, HELPER_UNLOAD);
        assert_string_equal(q.name, "klp_b");
        reply(c, &q, 0, "");
        run_until(f, 2);
        assert_int_equal(f->errors[1], 0);

        /* Nothing more to ask: the helper is let go. */
        assert_int_equal(helper_receive(c, 1000, &q, &fd), 0);
        close(c);
}

static void test_a_hung_helper_is_reported_and_recovers(void **state) {
        Fixture *f = *state;
        HelperRequest q, next;
        int c;

        assert_int_equal(helper_client_enable(f->client, "klp_a", 7, NULL, 20000, on_answer, f), 0);
        assert_int_equal(helper_client_unload(f->client, "klp_b", 0, on_answer, f), 0);
        c = take_request(f, -1, &q);
        run_until(f, 2);
        assert_int_equal(f->errors[0], -ETIMEDOUT);
        assert_contains(f->texts[0], "enable of 'klp_a'");
        assert_int_equal(f->errors[1], -EBUSY);
        assert_contains(f->texts[1], "hangs in the enable of 'klp_a'");
        assert_string_equal(helper_client_hung(f->client), "enable of 'klp_a'");
        assert_int_equal(helper_client_unload(f->client, "klp_b", 0, on_answer, f), -EBUSY);

        reply(c, &q, 0, ""); /* at last */
        while (helper_client_hung(f->client))
                assert_true(sd_event_run(f->event, 5000000) > 0);
        assert_int_equal(f->n_answers, 2); /* and no second answer to the same request */
        close(c);

        assert_int_equal(helper_client_unload(f->client, "klp_b", 0, on_answer, f), 0);
        c = take_request(f, -1, &next);
        reply(c, &next, 0, "");
        run_until(f, 3);
        assert_int_equal(f->errors[2], 0);
        close(c);
}

static void test_a_helper_that_dies_is_an_error_of_that_request_alone(void **state) {
        Fixture *f = *state;
        HelperRequest q;
        int c;

        assert_int_equal(helper_client_unload(f->client, "klp_a", 0, on_answer, f), 0);
        assert_int_equal(helper_client_unload(f->client, "klp_b", 0, on_answer, f), 0);
        c = take_request(f, -1, &q);
        close(c);
        run_until(f, 1);
        assert_int_equal(f->errors[0], -ECONNRESET);

        c = take_request(f, -1, &q);
        assert_string_equal(q.name, "klp_b");
        reply(c, &q, 0, "");
        run_until(f, 2);
        assert_int_equal(f->errors[1], 0);
        close(c);
}

static void test_nonsense_from_the_helper_is_an_error(void **state) {
        Fixture *f = *state;
        HelperRequest q;
        int c;

        assert_int_equal(helper_client_unload(f->client, "klp_a", 0, on_answer, f), 0);
        c = take_request(f, -1, &q);
        assert_int_equal(send(c, "nonsense", 8, 0), 8);
        run_until(f, 1);
        assert_int_equal(f->errors[0], -EBADMSG);
        close(c);
}

static void test_waking_makes_the_connection_of_the_request_that_comes(void **state) {
        Fixture *f = *state;
        struct pollfd p = { .fd = f->listen_fd, .events = POLLIN };
        HelperRequest q;
        int c, fd = -1;

        assert_int_equal(poll(&p, 1, 0), 0);
        helper_client_wake(f->client);
        helper_client_wake(f->client); /* it is awake */
        assert_int_equal(poll(&p, 1, 0), 1); /* connect() is over when the connection is in the queue */
        c = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(c >= 0);
        assert_int_equal(poll(&p, 1, 0), 0);
        assert_int_equal(helper_receive(c, 0, &q, &fd), -ETIMEDOUT); /* still there */

        assert_int_equal(helper_client_unload(f->client, "klp_a", 0, on_answer, f), 0);
        c = take_request(f, c, &q);
        reply(c, &q, 0, "");
        run_until(f, 1);
        assert_int_equal(f->errors[0], 0);
        assert_int_equal(helper_receive(c, 1000, &q, &fd), 0); /* and let go */
        close(c);
}

static void test_a_helper_that_was_woken_and_has_gone_is_asked_afresh(void **state) {
        Fixture *f = *state;
        HelperRequest q;
        int c;

        helper_client_wake(f->client);
        assert_int_equal(helper_client_unload(f->client, "klp_a", 0, on_answer, f), 0);
        c = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        close(c);
        c = take_request(f, -1, &q);
        reply(c, &q, 0, "");
        run_until(f, 1);
        assert_int_equal(f->errors[0], 0);
        close(c);
}

static void test_waking_nobody_is_no_error(void **state) {
        Fixture *f = *state;

        close(f->listen_fd);
        f->listen_fd = -1;
        helper_client_wake(f->client); /* the request will say so */
}

static void test_no_helper_at_all_is_an_error(void **state) {
        Fixture *f = *state;

        close(f->listen_fd);
        f->listen_fd = -1;
        unlink(f->path);
        assert_int_equal(helper_client_load_shim(f->client, 0, on_answer, f), 0);
        assert_int_equal(f->n_answers, 0); /* never from inside the call */
        run_until(f, 1);
        assert_int_equal(f->errors[0], -ENOENT);
        assert_contains(f->texts[0], "klpd-helper.socket");
}

static void test_bad_arguments_are_refused_at_once(void **state) {
        Fixture *f = *state;
        const HelperTask zero = {};
        int fd = memfd_create("x", MFD_CLOEXEC);

        assert_int_equal(helper_client_unload(f->client, "../x", 0, on_answer, f), -EINVAL);
        assert_int_equal(helper_client_load(f->client, fd, "klp_a", NULL, NULL, 0, on_answer, f), -EINVAL);
        assert_int_equal(helper_client_read_stacks(f->client, &zero, 1, 0, NULL, f), -EINVAL);
        assert_int_equal(helper_client_read_stacks(f->client, &zero, 0, 0, NULL, f), -EINVAL);
        close(fd);
}

static void test_freeing_the_client_answers_what_is_left(void **state) {
        Fixture *f = *state;

        assert_int_equal(helper_client_unload(f->client, "klp_a", 0, on_answer, f), 0);
        f->client = helper_client_free(f->client);
        assert_int_equal(f->n_answers, 1);
        assert_int_equal(f->errors[0], -ECANCELED);
}

static void on_stacks(int error, const char *text, const char *const *stacks, size_t n, void *userdata) {
        Fixture *f = userdata;

        assert_int_equal(n, 2);
        assert_string_equal(stacks[0], "abc\n");
        assert_null(stacks[1]);
        on_answer(error, text, f);
}

static void test_the_real_server_answers_the_real_client(void **state) {
        const HelperTask tasks[2] = { { 7, 8 }, { 7, 9 } };
        Fixture *f = *state;
        pid_t pid;
        Tree t;

        tree_init(&t);
        tree_write(&t, "proc/7/task/8/stack", "abc\n");
        pid = fork();
        if (pid == 0) {
                int c = accept4(f->listen_fd, NULL, NULL, SOCK_CLOEXEC);

                _exit(helper_serve(t.fd, c, -1, 5000) == 0 ? 0 : 1);
        }
        assert_int_equal(helper_client_read_stacks(f->client, tasks, 2, 0, on_stacks, f), 0);
        assert_int_equal(helper_client_write_enabled(f->client, "none", false, NULL, 0, on_answer, f), 0);
        run_until(f, 2);
        assert_int_equal(f->errors[0], 0);
        assert_int_equal(f->errors[1], -ENOENT);
        f->client = helper_client_free(f->client);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        tree_done(&t);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_good_requests_are_taken),
                cmocka_unit_test(test_requests_of_another_length_are_refused),
                cmocka_unit_test(test_hostile_requests_are_refused),
                cmocka_unit_test(test_replies_must_fit_their_request),
                cmocka_unit_test(test_the_server_receives_one_descriptor_at_most),
                cmocka_unit_test(test_only_klpd_is_let_in),
                cmocka_unit_test(test_a_stranger_is_refused_by_name),
                cmocka_unit_test(test_enabled_is_written_where_the_patch_is),
                cmocka_unit_test(test_force_is_written_where_the_patch_is_and_nowhere_else),
                cmocka_unit_test(test_stacks_are_read_and_cut_at_a_line),
                cmocka_unit_test(test_what_is_not_sealed_is_not_loaded),
                cmocka_unit_test(test_who_refuses_a_module_is_named),
                T(test_requests_go_one_after_the_other),
                T(test_a_hung_helper_is_reported_and_recovers),
                T(test_a_helper_that_dies_is_an_error_of_that_request_alone),
                T(test_nonsense_from_the_helper_is_an_error),
                T(test_waking_makes_the_connection_of_the_request_that_comes),
                T(test_a_helper_that_was_woken_and_has_gone_is_asked_afresh),
                T(test_waking_nobody_is_no_error),
                T(test_no_helper_at_all_is_an_error),
                T(test_bad_arguments_are_refused_at_once),
                T(test_freeing_the_client_answers_what_is_left),
                T(test_the_real_server_answers_the_real_client),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
