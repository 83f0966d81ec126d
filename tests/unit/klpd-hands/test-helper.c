/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The helper: what it takes and refuses (messages of every length, wrong descriptors), and what it does below a made
 * root. The kernel isn't touched: the requests that would do so end at a check, or at a file of the made tree. Its
 * client: test-helper-client.c.
 */
#include "test-util.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
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
        Settle *settle;
        HelperReply a;

        helper_execute(t->fd, q, fd, &a, data, &settle);
        settle_stop(settle);
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
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
