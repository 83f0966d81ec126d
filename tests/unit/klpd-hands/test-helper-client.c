/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The helper's client: how it wakes the helper, queues, times out and recovers. The helper is played by the test, on a
 * socket of its own; in one test it is the real server, below a made root.
 */
#include "test-util.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/helper-client.h"
#include "klpd/helper-server.h"

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
