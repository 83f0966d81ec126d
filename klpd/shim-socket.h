/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One request to klp_shim and its answer, on a generic netlink socket: what shim-client.c (klpd's client) and
 * shim-enable.c (klpd-helper's one request) share. Messages are taken from recv() as bytes and read by
 * shim-client-message.c; libnl makes sockets, looks up families and builds requests.
 *
 * Errors: as in shim-client.h. `error` may be NULL.
 */
#pragma once

#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "policy/error.h"
#include "shim/klp_shim_abi.h"

static inline void nl_socket_freep(struct nl_sock **s) {
        if (*s)
                nl_socket_free(*s);
}
#define _cleanup_nl_socket_free_ _cleanup_(nl_socket_freep)

static inline void nlmsg_freep(struct nl_msg **m) {
        if (*m)
                nlmsg_free(*m);
}
#define _cleanup_nlmsg_free_ _cleanup_(nlmsg_freep)

/* libnl's error codes. */
int nl_to_errno(int r);

/* Connected to generic netlink; answers come without acknowledgement, unless it is asked for. */
int shim_socket_new(struct nl_sock **ret);
/* One datagram from the kernel, and nobody else. -EAGAIN: none within the time (negative: for ever). */
int shim_socket_receive(int fd, int timeout_msec, void *buffer, size_t size, size_t *ret_size);

/* -ENOENT: the kernel has no such family. */
int shim_find_family(struct nl_sock *s, int *ret);
/* flags: NLM_F_* beside REQUEST. */
int shim_request_new(int family, enum klp_shim_cmd command, int flags, uint32_t seq, struct nl_msg **ret);

/* Called for each message of an answer. -EAGAIN: the kernel has changed meanwhile; other errors end the exchange. */
typedef int (*ShimMessageHandler)(const struct nlmsghdr *h, void *userdata);

/* seq, dump, handler, userdata, error are the caller's to set, the rest is zero at first. */
typedef struct ShimExchange {
        uint32_t seq;               /* that of the request */
        bool dump;                  /* the answer ends with NLMSG_DONE; else with the first message, or the acknowledgement */
        ShimMessageHandler handler; /* NULL: only the acknowledgement matters */
        void *userdata;
        PolicyError *error;
        bool done;
        bool interrupted;           /* what was dumped isn't of one moment */
} ShimExchange;

/* Sends msg and hands every message of the answer to the handler. timeout_msec: for each datagram; negative: for ever. */
int shim_socket_exchange(struct nl_sock *s, uint8_t *buffer, size_t size, struct nl_msg *msg, int timeout_msec,
                         ShimExchange *x);
