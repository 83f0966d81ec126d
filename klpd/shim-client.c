/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See shim-client.h. Two sockets (shim-socket.h): one for requests, used synchronously, and one that listens to two
 * multicast groups, the generic netlink controller's (families that come and go) and, while the shim is there, its
 * events.
 */
#include "klpd/shim-client.h"

#include <linux/genetlink.h>
#include <netlink/genl/ctrl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "klpd/shim-client-message.h"
#include "klpd/shim-socket.h"

#define RECEIVE_SIZE 65536U /* dumps come in pieces of at most 32 KiB */
#define EVENT_QUEUE_BYTES (4 * 1024 * 1024)
#define DUMP_TIMEOUT_MSEC 2000
#define READ_ATTEMPTS 10
#define EVENTS_PER_WAKEUP 64

struct ShimClient {
        struct nl_sock *request;
        struct nl_sock *listener; /* NULL without an event loop */
        sd_event_source *source;
        ShimHandlers handlers;
        void *userdata;

        int family; /* 0: not there */
        int group;  /* joined, or 0 */
        uint32_t abi;
        uint32_t next_request;
        uint64_t last_seq;
        bool seq_known;
        char problem[256];
        int problem_errno;
        uint8_t buffer[RECEIVE_SIZE] __attribute__((aligned(8)));
};

static int query(ShimClient *c, enum klp_shim_cmd command, bool dump, ShimMessageHandler handler, void *userdata,
                 PolicyError *error) {
        _cleanup_nlmsg_free_ struct nl_msg *msg = NULL;
        ShimExchange x = { .dump = dump, .handler = handler, .userdata = userdata, .error = error };
        int r;

        if (c->family == 0)
                return policy_error_set(error, c->problem_errno, "%s", c->problem);

        x.seq = ++c->next_request;
        r = shim_request_new(c->family, command, dump ? NLM_F_DUMP : 0, x.seq, &msg);
        if (r < 0)
                return policy_error_set(error, r, "%s", strerror(-r));

        r = shim_socket_exchange(c->request, c->buffer, sizeof(c->buffer), msg, DUMP_TIMEOUT_MSEC, &x);
        if (r < 0 && r != -EAGAIN) {
                struct nl_sock *fresh;

                /* What may be left of a dump would be in the way of the next one: a new socket has nothing
                 * of it. */
                if (shim_socket_new(&fresh) >= 0) {
                        nl_socket_free(c->request);
                        c->request = fresh;
                }
        }
        return r;
}

static int forget_family(ShimClient *c, int r, const char *problem) {
        if (c->listener && c->group > 0)
                (void) nl_socket_drop_membership(c->listener, c->group);
        c->family = c->group = 0;
        c->abi = 0;
        c->seq_known = false;
        c->problem_errno = r;
        snprintf(c->problem, sizeof(c->problem), "%s", problem);
        return r;
}

static int on_info(const struct nlmsghdr *h, void *userdata) {
        return shim_message_info(h, userdata);
}

static int join_events(ShimClient *c) {
        int group, r;

        if (!c->listener)
                return 0;

        group = genl_ctrl_resolve_grp(c->request, KLP_SHIM_GENL_NAME, KLP_SHIM_MCGRP_EVENTS);
        if (group < 0)
                return nl_to_errno(group);
        r = nl_socket_add_membership(c->listener, group);
        if (r < 0)
                return nl_to_errno(r);
        c->group = group;
        return 0;
}

static int connect_family(ShimClient *c) {
        char text[sizeof(c->problem)];
        PolicyError e = {};
        ShimInfo info;
        int r;

        r = shim_find_family(c->request, &c->family);
        if (r < 0) {
                c->family = 0;
                return forget_family(c, r,
                                     r == -ENOENT ? "the kernel module klp_shim isn't loaded"
                                                  : "can't ask the kernel for its generic netlink families");
        }

        r = join_events(c);
        if (r < 0)
                return forget_family(c, r,
                                     r == -EPERM ? "no permission to listen to klp_shim (CAP_NET_ADMIN)"
                                                 : "can't join the events of klp_shim");

        r = query(c, KLP_SHIM_CMD_INFO, false, on_info, &info, &e);
        if (r < 0) {
                snprintf(text, sizeof(text), "klp_shim doesn't tell about itself: %.200s", e.message);
                return forget_family(c, r, text);
        }
        if (info.abi != KLP_SHIM_ABI) {
                snprintf(text, sizeof(text),
                         "klp_shim speaks ABI %" PRIu32 ", this klpd speaks ABI %u: install and load "
                         "the one that belongs to it",
                         info.abi, KLP_SHIM_ABI);
                return forget_family(c, -EPROTONOSUPPORT, text);
        }

        c->abi = info.abi;
        c->last_seq = info.seq; /* joined before: nothing after this number is missed */
        c->seq_known = true;
        c->problem[0] = 0;
        return 0;
}

int shim_client_connect(ShimClient *c, PolicyError *error) {
        int r;

        if (c->family > 0)
                return 0;

        r = connect_family(c);
        return r < 0 ? policy_error_set(error, r, "%s", c->problem) : 0;
}

/* Events were lost: the caller reads again; the next event's number can't be known. */
static void lose_events(ShimClient *c) {
        c->seq_known = false;
        if (c->handlers.resync)
                c->handlers.resync(c, c->userdata);
}

static void handle_event(ShimClient *c, const struct nlmsghdr *h) {
        uint8_t command;
        ShimEvent e;

        if (shim_message_command(h, &command) < 0 || command != KLP_SHIM_CMD_EVENT)
                return;
        if (shim_message_event(h, &e) < 0) {
                lose_events(c);
                return;
        }

        if (c->seq_known && e.seq <= c->last_seq)
                return; /* was in the queue before the shim was asked for its number */
        if (c->seq_known && e.seq != c->last_seq + 1) {
                c->last_seq = e.seq;
                if (c->handlers.resync)
                        c->handlers.resync(c, c->userdata);
                return;
        }

        c->last_seq = e.seq;
        c->seq_known = true;
        c->handlers.event(c, &e, c->userdata);
}

static void handle_family(ShimClient *c, const struct nlmsghdr *h) {
        int r;

        r = shim_message_family(h);
        if (r == -ENODEV && c->family > 0) {
                forget_family(c, -ENOENT, "the kernel module klp_shim has been unloaded");
                if (c->handlers.gone)
                        c->handlers.gone(c, c->userdata);
        } else if (r == 1 && c->family == 0) {
                r = shim_client_connect(c, NULL);
                /* Also if it is one that can't be used: shim_client_problem() says why. */
                if (c->handlers.available && r != -ENOENT)
                        c->handlers.available(c, c->userdata);
        }
}

static int on_listener(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        /* Not c->buffer: a handler may read from the shim meanwhile. */
        uint8_t buffer[RECEIVE_SIZE] __attribute__((aligned(8)));
        ShimClient *c = userdata;

        /* A bound, so that a flood of events doesn't keep the loop from everything else. */
        for (unsigned i = 0; i < EVENTS_PER_WAKEUP; i++) {
                const struct nlmsghdr *h;
                const void *p = buffer;
                bool broken;
                size_t n;
                int r;

                r = shim_socket_receive(fd, 0, buffer, sizeof(buffer), &n);
                if (r == -EAGAIN)
                        return 0;
                /* ENOBUFS: the queue ran over; others: whatever it was, events may be missing */
                if (r < 0) {
                        lose_events(c);
                        return 0;
                }

                while ((h = shim_message_next(&p, &n, &broken))) {
                        if (h->nlmsg_type == GENL_ID_CTRL)
                                handle_family(c, h);
                        else if (c->family > 0 && h->nlmsg_type == c->family)
                                handle_event(c, h);
                }
        }
        return 0;
}

static int listen_new(sd_event *event, ShimClient *c) {
        int size = EVENT_QUEUE_BYTES, r;

        r = shim_socket_new(&c->listener);
        if (r < 0)
                return r;
        /* Without CAP_NET_ADMIN the default has to do. */
        (void) setsockopt(nl_socket_get_fd(c->listener), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));

        r = genl_ctrl_resolve_grp(c->request, "nlctrl", "notify");
        if (r < 0)
                return nl_to_errno(r);
        r = nl_socket_add_membership(c->listener, r);
        if (r < 0)
                return nl_to_errno(r);

        r = sd_event_add_io(event, &c->source, nl_socket_get_fd(c->listener), EPOLLIN, on_listener, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->source, "shim-events");
        return 0;
}

int shim_client_new(sd_event *event, const ShimHandlers *handlers, void *userdata, ShimClient **ret) {
        _cleanup_shim_client_free_ ShimClient *c = NULL;
        int r;

        c = calloc(1, sizeof(ShimClient));
        if (!c)
                return -ENOMEM;

        r = shim_socket_new(&c->request);
        if (r < 0)
                return r;
        if (event) {
                c->handlers = *handlers;
                c->userdata = userdata;
                r = listen_new(event, c);
                if (r < 0)
                        return r;
        }

        (void) shim_client_connect(c, NULL); /* shim_client_problem() keeps why not */

        *ret = TAKE_PTR(c);
        return 0;
}

ShimClient *shim_client_free(ShimClient *c) {
        if (!c)
                return NULL;

        c->source = sd_event_source_disable_unref(c->source);
        if (c->listener)
                nl_socket_free(c->listener);
        if (c->request)
                nl_socket_free(c->request);
        free(c);
        return NULL;
}

int shim_client_hold_events(ShimClient *c) {
        return c->source ? sd_event_source_set_enabled(c->source, SD_EVENT_OFF) : 0;
}

int shim_client_release_events(ShimClient *c) {
        if (!c->source)
                return 0;
        (void) on_listener(c->source, nl_socket_get_fd(c->listener), EPOLLIN, c);
        return sd_event_source_set_enabled(c->source, SD_EVENT_ON);
}

uint32_t shim_client_abi(const ShimClient *c) {
        return c->abi;
}

const char *shim_client_problem(const ShimClient *c) {
        return c->problem[0] ? c->problem : NULL;
}

int shim_client_info(ShimClient *c, ShimInfo *ret, PolicyError *error) {
        ShimInfo info;
        int r;

        r = query(c, KLP_SHIM_CMD_INFO, false, on_info, &info, error);
        if (r < 0)
                return r;

        *ret = info;
        return 0;
}

ShimSnapshot *shim_snapshot_free(ShimSnapshot *s) {
        if (!s)
                return NULL;

        for (size_t i = 0; i < s->n_patches; i++)
                patch_unref(s->patches[i].patch);
        for (size_t i = 0; i < s->n_states; i++)
                strv_free(s->states[i].owners);
        free(s->patches);
        free(s->states);
        free(s);
        return NULL;
}

static int on_patch(const struct nlmsghdr *h, void *userdata) {
        return shim_message_add_patch(h, userdata);
}

static int on_state(const struct nlmsghdr *h, void *userdata) {
        return shim_message_add_state(h, userdata);
}

/* One attempt. -EAGAIN: the kernel changed under it. */
static int read_once(ShimClient *c, ShimSnapshot **ret, PolicyError *error) {
        _cleanup_shim_snapshot_free_ ShimSnapshot *s = NULL;
        ShimDump dump = {};
        ShimInfo after;
        int r;

        s = calloc(1, sizeof(ShimSnapshot));
        if (!s)
                return policy_error_set(error, -ENOMEM, "%s", strerror(ENOMEM));
        dump.snapshot = s;

        r = shim_client_info(c, &s->info, error);
        if (r < 0)
                return r;
        r = query(c, KLP_SHIM_CMD_PATCH_GET, true, on_patch, &dump, error);
        if (r < 0)
                return r;
        r = query(c, KLP_SHIM_CMD_STATE_GET, true, on_state, &dump, error);
        if (r < 0)
                return r;

        /* An empty dump has no message to carry its generation. */
        r = shim_client_info(c, &after, error);
        if (r < 0)
                return r;
        if (after.generation != s->info.generation)
                return policy_error_set(error, -EAGAIN,
                                        "the kernel's livepatches changed while they were read");

        *ret = TAKE_PTR(s);
        return 0;
}

int shim_client_read(ShimClient *c, ShimSnapshot **ret, PolicyError *error) {
        int r = -EAGAIN;

        for (unsigned i = 0; r == -EAGAIN && i < READ_ATTEMPTS; i++)
                r = read_once(c, ret, error);
        return r;
}

typedef struct TaskList {
        ShimTask *tasks;
        size_t n, max;
} TaskList;

static int on_task(const struct nlmsghdr *h, void *userdata) {
        TaskList *l = userdata;
        ShimTask task;
        int r;

        r = shim_message_task(h, &task);
        if (r < 0 || l->n >= l->max)
                return r;

        if ((l->n & (l->n - 1)) == 0) {
                ShimTask *array = reallocarray(l->tasks, l->n ? l->n * 2 : 1, sizeof(ShimTask));

                if (!array)
                        return -ENOMEM;
                l->tasks = array;
        }
        l->tasks[l->n++] = task;
        return 0;
}

int shim_client_tasks(ShimClient *c, size_t max, ShimTask **ret, size_t *ret_n, PolicyError *error) {
        TaskList l = { .max = max };
        int r;

        /* Tasks come and go all the time: an interrupted dump of them is as good as any. */
        r = query(c, KLP_SHIM_CMD_TASK_GET, true, on_task, &l, error);
        if (r < 0 && r != -EAGAIN) {
                free(l.tasks);
                return r;
        }

        *ret = l.tasks;
        *ret_n = l.n;
        return 0;
}
