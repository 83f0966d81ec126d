/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See helper-client.h. A queue of requests, the first of which may be with the helper ("sent"); everything
 * happens from three event sources: a defer source that sends the next request, the socket's, and the
 * deadline's timer.
 *
 *   idle ──request──▶ sent ──reply──▶ idle, or next        (not connected while idle, but for a moment after it
 *                      │                                     was woken for a request that may come)
 *                      └─deadline──▶ hung ──late reply, or end of connection──▶ idle
 */
#include "klpd/helper-client.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "klpd/helper-protocol.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/sealed-memfd.h"
#include "policy/model.h"

#define DEADLINE_USEC_DEFAULT (60 * 1000000ULL)
#define QUEUE_MAX 64U
/* So long it is kept awake for a request that doesn't come. */
#define AWAKE_USEC (5 * 1000000ULL)

typedef struct Pending Pending;
struct Pending {
        Pending *next;
        HelperRequest request;
        int fd; /* or negative */
        uint64_t deadline_usec;
        HelperCallback callback;
        HelperStacksCallback stacks_callback;
        void *userdata;
};

struct HelperClient {
        sd_event *event;
        sd_event_source *send_source;     /* defer: sends the head of the queue */
        sd_event_source *socket_source;   /* while connected */
        sd_event_source *deadline_source; /* while sent and not hung */
        sd_event_source *awake_source;    /* while connected for a request that may come */
        char *socket_path;
        int fd;
        uint64_t cookie;
        Pending *queue;
        size_t n_queue;
        bool sent;                  /* the head of the queue, or hung_request, is with the helper */
        bool hung;
        HelperRequest hung_request; /* its callback has been told -ETIMEDOUT */
        char hung_text[128];
        uint8_t buffer[sizeof(HelperReply) + HELPER_DATA_MAX];
};

static Pending *pending_free(Pending *p) {
        if (!p)
                return NULL;

        if (p->fd >= 0)
                close(p->fd);
        free(p);
        return NULL;
}

static void pending_finish(Pending *p, int error, const char *text, const char *const *stacks,
                           size_t n_stacks) {
        if (p->stacks_callback)
                p->stacks_callback(error, text, stacks, n_stacks, p->userdata);
        else
                p->callback(error, text, p->userdata);
        pending_free(p);
}

static Pending *queue_pop(HelperClient *c) {
        Pending *p = c->queue;

        c->queue = p->next;
        c->n_queue--;
        return p;
}

static void disconnect(HelperClient *c) {
        c->socket_source = sd_event_source_disable_unref(c->socket_source);
        c->deadline_source = sd_event_source_disable_unref(c->deadline_source);
        c->awake_source = sd_event_source_disable_unref(c->awake_source);
        if (c->fd >= 0)
                close(TAKE_FD(c->fd));
        c->sent = c->hung = false;
}

/* The next request, if any, from the event loop; with none the helper is let go. */
static void schedule_next(HelperClient *c) {
        if (c->queue && !c->hung)
                (void) sd_event_source_set_enabled(c->send_source, SD_EVENT_ONESHOT);
        else if (!c->queue && !c->hung)
                disconnect(c);
}

/* The head of the queue failed before or while it was with the helper. */
static void fail_head(HelperClient *c, int error, const char *text) {
        Pending *p = queue_pop(c);

        disconnect(c);
        pending_finish(p, error, text, NULL, 0);
        schedule_next(c);
}

static void take_reply(HelperClient *c, const HelperReply *a, const char *data) {
        char stack_text[HELPER_TASKS_MAX][HELPER_STACK_MAX + 1];
        const char *stacks[HELPER_TASKS_MAX] = {};
        Pending *p = queue_pop(c);

        c->sent = false;
        c->deadline_source = sd_event_source_disable_unref(c->deadline_source);

        for (uint32_t i = 0; i < a->n_stacks; i++) {
                if (a->stack_size[i] > 0) {
                        memcpy(stack_text[i], data, a->stack_size[i]);
                        stack_text[i][a->stack_size[i]] = 0;
                        stacks[i] = stack_text[i];
                }
                data += a->stack_size[i];
        }

        pending_finish(p, a->error, a->text, stacks, a->n_stacks);
        schedule_next(c);
}

static int on_socket(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        HelperClient *c = userdata;
        const HelperRequest *request;
        HelperReply a;
        ssize_t n;

        if (!c->sent) { /* between two requests: nothing to say but that the connection is over */
                disconnect(c);
                schedule_next(c);
                return 0;
        }

        request = c->hung ? &c->hung_request : &c->queue->request;
        n = recv(fd, c->buffer, sizeof(c->buffer), MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;

        if (n > 0 && helper_reply_check(c->buffer, (size_t) n, request) >= 0) {
                if (c->hung) { /* too late: its callback has been told; the client is usable again */
                        disconnect(c);
                        schedule_next(c);
                        return 0;
                }
                memcpy(&a, c->buffer, sizeof(a));
                take_reply(c, &a, (const char *) c->buffer + sizeof(a));
                return 0;
        }

        if (c->hung) {
                disconnect(c);
                schedule_next(c);
        } else if (n > 0)
                fail_head(c, -EBADMSG, "klpd-helper sent an answer that breaks its protocol");
        else if (n == 0)
                fail_head(c, -ECONNRESET,
                          "klpd-helper closed the connection without an answer: it refused us (see its "
                          "journal), or died on the request; what became of it only the kernel can tell");
        else
                fail_head(c, -errno, "can't receive from klpd-helper");
        return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *userdata) {
        HelperClient *c = userdata;
        Pending *p = queue_pop(c), *rest = c->queue;
        char text[300], what[128];

        c->hung = true;
        c->hung_request = p->request;
        c->deadline_source = sd_event_source_disable_unref(c->deadline_source);
        helper_request_describe(&c->hung_request, what, sizeof(what));
        snprintf(c->hung_text, sizeof(c->hung_text), "%s", what);
        c->queue = NULL;
        c->n_queue = 0;

        snprintf(text, sizeof(text),
                 "klpd-helper hasn't answered the %s within %" PRIu64 " ms; the kernel may still "
                 "carry it out",
                 what, p->deadline_usec / 1000);
        pending_finish(p, -ETIMEDOUT, text, NULL, 0);

        snprintf(text, sizeof(text), "klpd-helper hangs in the %s", what);
        while (rest) {
                Pending *next = rest->next;

                pending_finish(rest, -EBUSY, text, NULL, 0);
                rest = next;
        }
        return 0;
}

static int connect_socket(const HelperClient *c) {
        struct sockaddr_un sa = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;

        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;

        /* length checked in helper_client_new() */
        memcpy(sa.sun_path, c->socket_path, strlen(c->socket_path));
        if (connect(fd, (struct sockaddr *) &sa, sizeof(sa)) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int connect_helper(HelperClient *c) {
        _cleanup_close_ int fd = -EBADF;
        int r;

        fd = connect_socket(c);
        if (fd < 0)
                return fd;

        r = sd_event_add_io(c->event, &c->socket_source, fd, EPOLLIN, on_socket, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->socket_source, "helper-socket");

        c->fd = TAKE_FD(fd);
        return 0;
}

static int on_awake(sd_event_source *s, uint64_t usec, void *userdata) {
        HelperClient *c = userdata;

        c->awake_source = sd_event_source_disable_unref(c->awake_source);
        if (!c->sent)
                schedule_next(c);
        return 0;
}

/* The connection starts the socket's service, and the request finds it made. */
void helper_client_wake(HelperClient *c) {
        if (c->fd >= 0 || c->queue || connect_helper(c) < 0)
                return;
        if (sd_event_add_time_relative(c->event, &c->awake_source, CLOCK_MONOTONIC, AWAKE_USEC, 0, on_awake, c) < 0)
                disconnect(c);
        else
                (void) sd_event_source_set_description(c->awake_source, "helper-awake");
}

static int send_request(int socket_fd, const HelperRequest *request, int fd) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec iov = { .iov_base = (void *) request, .iov_len = sizeof(*request) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1 };

        if (fd >= 0) {
                struct cmsghdr *cmsg;

                message.msg_control = &control;
                message.msg_controllen = sizeof(control);
                cmsg = CMSG_FIRSTHDR(&message);
                cmsg->cmsg_level = SOL_SOCKET;
                cmsg->cmsg_type = SCM_RIGHTS;
                cmsg->cmsg_len = CMSG_LEN(sizeof(int));
                memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
        }

        if (sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                return -errno;
        return 0;
}

/* The helper may have gone since the connection was made for what might come. */
static void drop_stale(HelperClient *c) {
        char byte;

        if (c->fd >= 0 && (recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN))
                disconnect(c);
}

/* Returns only what makes the head fail. */
static int send_head(HelperClient *c, const char **ret_text) {
        Pending *p = c->queue;
        int r;

        drop_stale(c);
        if (c->fd < 0) {
                r = connect_helper(c);
                if (r < 0) {
                        *ret_text = "can't connect to klpd-helper: is klpd-helper.socket started?";
                        return r;
                }
        }

        *ret_text = "can't hand the request to klpd-helper";
        c->awake_source = sd_event_source_disable_unref(c->awake_source);
        r = sd_event_add_time_relative(c->event, &c->deadline_source, CLOCK_MONOTONIC, p->deadline_usec, 0,
                                       on_deadline, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->deadline_source, "helper-deadline");

        return send_request(c->fd, &p->request, p->fd);
}

static int on_send(sd_event_source *s, void *userdata) {
        HelperClient *c = userdata;
        const char *text;
        int r;

        if (!c->queue || c->sent)
                return 0;

        r = send_head(c, &text);
        if (r < 0) {
                fail_head(c, r, text);
                return 0;
        }

        c->sent = true;
        if (c->queue->fd >= 0)
                close(TAKE_FD(c->queue->fd)); /* the helper has its own now */
        return 0;
}

int helper_client_new(sd_event *event, const char *socket_path, HelperClient **ret) {
        _cleanup_helper_client_free_ HelperClient *c = NULL;
        int r;

        if (!socket_path)
                socket_path = HELPER_SOCKET_PATH;
        if (strlen(socket_path) >= sizeof(((struct sockaddr_un *) NULL)->sun_path))
                return -ENAMETOOLONG;

        c = calloc(1, sizeof(HelperClient));
        if (!c)
                return -ENOMEM;
        c->fd = -EBADF;
        c->event = sd_event_ref(event);
        c->socket_path = strdup(socket_path);
        if (!c->socket_path)
                return -ENOMEM;

        r = sd_event_add_defer(event, &c->send_source, on_send, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->send_source, "helper-send");
        r = sd_event_source_set_enabled(c->send_source, SD_EVENT_OFF);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}

HelperClient *helper_client_free(HelperClient *c) {
        if (!c)
                return NULL;

        disconnect(c);
        c->send_source = sd_event_source_disable_unref(c->send_source);
        while (c->queue)
                pending_finish(queue_pop(c), -ECANCELED, "klpd is stopping", NULL, 0);
        c->event = sd_event_unref(c->event);
        free(c->socket_path);
        free(c);
        return NULL;
}

const char *helper_client_hung(const HelperClient *c) {
        return c->hung ? c->hung_text : NULL;
}

/* A request with what they all have; its callback and specifics are the caller's to set before
 * queue_push(). */
static int pending_new(HelperClient *c, HelperOperation op, const char *name, uint64_t deadline_usec,
                       Pending **ret) {
        Pending *p;

        if (c->hung || c->n_queue >= QUEUE_MAX)
                return -EBUSY;
        if (name && (!patch_name_is_valid(name) || name[0] == '.'))
                return -EINVAL;

        p = calloc(1, sizeof(Pending));
        if (!p)
                return -ENOMEM;

        p->fd = -EBADF;
        p->deadline_usec = deadline_usec ?: DEADLINE_USEC_DEFAULT;
        p->request.magic = HELPER_MAGIC;
        p->request.version = HELPER_VERSION;
        p->request.cookie = ++c->cookie;
        p->request.operation = op;
        if (name)
                memcpy(p->request.name, name, strlen(name)); /* valid names are shorter than the field */

        *ret = p;
        return 0;
}

static int queue_push(HelperClient *c, Pending *p) {
        Pending **tail = &c->queue;
        int r;

        /* Enabling can fail only where the event loop is being torn down. */
        r = c->sent ? 0 : sd_event_source_set_enabled(c->send_source, SD_EVENT_ONESHOT);
        if (r < 0) {
                pending_free(p);
                return r;
        }

        while (*tail)
                tail = &(*tail)->next;
        *tail = p;
        c->n_queue++;
        return 0;
}

static void set_settle(Pending *p, const HelperSettle *settle) {
        if (!settle || !settle->assist)
                return;

        p->request.flags |= HELPER_FLAG_SETTLE;
        p->request.settle_max_cpus = settle->max_cpus;
        p->request.settle_max_usec = settle->max_usec;
}

int helper_client_load(HelperClient *c, int fd, const char *name, const char *params,
                       const HelperSettle *settle, uint64_t deadline_usec, HelperCallback callback,
                       void *userdata) {
        Pending *p;
        int r;

        if (params && strlen(params) >= HELPER_PARAMS_SIZE)
                return -EINVAL;
        if (sealed_memfd_check(fd) < 0)
                return -EINVAL;

        r = pending_new(c, HELPER_LOAD, name, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        set_settle(p, settle);
        if (params)
                memcpy(p->request.params, params, strlen(params));
        p->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (p->fd < 0) {
                r = -errno;
                pending_free(p);
                return r;
        }
        return queue_push(c, p);
}

int helper_client_load_shim(HelperClient *c, uint64_t deadline_usec, HelperCallback callback,
                            void *userdata) {
        Pending *p;
        int r;

        r = pending_new(c, HELPER_LOAD_SHIM, NULL, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        return queue_push(c, p);
}

int helper_client_enable(HelperClient *c, const char *name, uint64_t generation, const HelperSettle *settle,
                         uint64_t deadline_usec, HelperCallback callback, void *userdata) {
        Pending *p;
        int r;

        r = pending_new(c, HELPER_ENABLE, name, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        p->request.generation = generation;
        set_settle(p, settle);
        return queue_push(c, p);
}

int helper_client_write_enabled(HelperClient *c, const char *name, bool enabled, const HelperSettle *settle,
                                uint64_t deadline_usec, HelperCallback callback, void *userdata) {
        Pending *p;
        int r;

        r = pending_new(c, HELPER_WRITE_ENABLED, name, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        p->request.flags |= enabled ? HELPER_FLAG_VALUE : 0;
        set_settle(p, settle);
        return queue_push(c, p);
}

int helper_client_force(HelperClient *c, const char *name, uint64_t deadline_usec, HelperCallback callback,
                         void *userdata) {
        Pending *p;
        int r;

        r = pending_new(c, HELPER_FORCE, name, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        return queue_push(c, p);
}

int helper_client_unload(HelperClient *c, const char *name, uint64_t deadline_usec, HelperCallback callback,
                         void *userdata) {
        Pending *p;
        int r;

        r = pending_new(c, HELPER_UNLOAD, name, deadline_usec, &p);
        if (r < 0)
                return r;

        p->callback = callback;
        p->userdata = userdata;
        return queue_push(c, p);
}

int helper_client_read_stacks(HelperClient *c, const HelperTask *tasks, size_t n_tasks,
                              uint64_t deadline_usec, HelperStacksCallback callback, void *userdata) {
        Pending *p;
        int r;

        if (n_tasks == 0 || n_tasks > HELPER_TASKS_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n_tasks; i++)
                if (tasks[i].pid == 0 || tasks[i].tid == 0)
                        return -EINVAL;

        r = pending_new(c, HELPER_READ_STACKS, NULL, deadline_usec, &p);
        if (r < 0)
                return r;

        p->stacks_callback = callback;
        p->userdata = userdata;
        p->request.n_tasks = (uint32_t) n_tasks;
        memcpy(p->request.tasks, tasks, n_tasks * sizeof(HelperTask));
        return queue_push(c, p);
}
