/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See shim-socket.h. */
#include "klpd/shim-socket.h"

#include <netlink/genl/ctrl.h>
#include <netlink/genl/family.h>
#include <netlink/genl/genl.h>
#include <poll.h>
#include <sys/socket.h>

#include "klpd/shim-client-message.h"

int nl_to_errno(int r) {
        switch (r < 0 ? -r : r) {
        case NLE_SUCCESS:
                return 0;
        case NLE_OBJ_NOTFOUND:
        case NLE_NODEV:
                return -ENOENT;
        case NLE_PERM:
        case NLE_NOACCESS:
                return -EPERM;
        case NLE_NOMEM:
                return -ENOMEM;
        case NLE_AF_NOSUPPORT:
        case NLE_PROTO_MISMATCH:
                return -EAFNOSUPPORT;
        default:
                return -EIO;
        }
}

int shim_socket_new(struct nl_sock **ret) {
        _cleanup_nl_socket_free_ struct nl_sock *s = NULL;
        int one = 1, r;

        s = nl_socket_alloc();
        if (!s)
                return -ENOMEM;
        nl_socket_disable_auto_ack(s);

        r = genl_connect(s);
        if (r < 0)
                return nl_to_errno(r);

        /* Texts of refusals, without our own request echoed in front of them. */
        if (setsockopt(nl_socket_get_fd(s), SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof(one)) < 0 ||
            setsockopt(nl_socket_get_fd(s), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof(one)) < 0)
                return -errno;

        *ret = TAKE_PTR(s);
        return 0;
}

int shim_socket_receive(int fd, int timeout_msec, void *buffer, size_t size, size_t *ret_size) {
        struct sockaddr_nl from = {};
        struct iovec iov = { .iov_base = buffer, .iov_len = size };
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &iov, .msg_iovlen = 1};
        struct pollfd p = { .fd = fd, .events = POLLIN };
        ssize_t n;
        int r;

        for (;;) {
                /* Mostly the kernel has answered before it returned from the call that asked. */
                n = recvmsg(fd, &m, MSG_DONTWAIT);
                if (n >= 0 && from.nl_pid == 0)
                        break;
                if (n < 0 && errno != EINTR && errno != EAGAIN)
                        return -errno;
                if (n >= 0 || errno != EAGAIN)
                        continue;
                r = poll(&p, 1, timeout_msec);
                if (r < 0 && errno != EINTR)
                        return -errno;
                if (r == 0)
                        return -EAGAIN;
        }

        if (m.msg_flags & MSG_TRUNC)
                return -EBADMSG;
        *ret_size = (size_t) n;
        return 0;
}

static int exchange_error(const struct nlmsghdr *h, ShimExchange *x) {
        char text[256];
        int r, e;

        r = shim_message_error(h, &e, text, sizeof(text));
        if (r < 0)
                return policy_error_set(x->error, r, "klp_shim sent a broken answer");
        if (e < 0)
                return policy_error_set(x->error, e, "%s", text[0] ? text : strerror(-e));
        x->done = true; /* acknowledged */
        return 0;
}

static int exchange_message(const struct nlmsghdr *h, ShimExchange *x) {
        int r;

        if (h->nlmsg_seq != x->seq)
                return 0; /* a leftover of a request that was given up */
        if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                x->interrupted = true;

        switch (h->nlmsg_type) {
        case NLMSG_NOOP:
                return 0;
        case NLMSG_ERROR:
                return exchange_error(h, x);
        case NLMSG_OVERRUN:
                return policy_error_set(x->error, -EBADMSG, "klp_shim's answer overran");
        case NLMSG_DONE:
                x->done = true;
                if (h->nlmsg_len >= NLMSG_LENGTH(sizeof(int))) {
                        int e;

                        memcpy(&e, NLMSG_DATA(h), sizeof(e));
                        if (e < 0)
                                return policy_error_set(x->error, e < -4095 ? -EBADMSG : e,
                                                        "klp_shim gave up a dump: %s", strerror(-e));
                }
                return 0;
        default:
                if (x->handler) {
                        r = x->handler(h, x->userdata);
                        if (r == -EAGAIN)
                                /* read on, so that the socket is empty for the next attempt */
                                x->interrupted = true;
                        else if (r < 0)
                                return policy_error_set(
                                                x->error, r,
                                                "klp_shim sent a message that breaks its protocol: %s",
                                                strerror(-r));
                }
                if (!x->dump && x->handler)
                        x->done = true;
                return 0;
        }
}

int shim_socket_exchange(struct nl_sock *s, uint8_t *buffer, size_t size, struct nl_msg *msg, int timeout_msec,
                         ShimExchange *x) {
        int r;

        if (nl_send(s, msg) < 0)
                return policy_error_set(x->error, -errno, "can't send to klp_shim: %s", strerror(errno));

        while (!x->done) {
                const struct nlmsghdr *h;
                const void *p = buffer;
                bool broken;
                size_t n;

                r = shim_socket_receive(nl_socket_get_fd(s), timeout_msec, buffer, size, &n);
                if (r == -EAGAIN)
                        return policy_error_set(x->error, -ETIMEDOUT, "klp_shim doesn't answer");
                if (r < 0)
                        return policy_error_set(x->error, r, "can't receive from klp_shim: %s",
                                                strerror(-r));

                while (!x->done && (h = shim_message_next(&p, &n, &broken))) {
                        r = exchange_message(h, x);
                        if (r < 0)
                                return r;
                }
                if (!x->done && broken)
                        return policy_error_set(x->error, -EBADMSG,
                                                "klp_shim sent a message with a wrong length");
        }

        return x->interrupted ? policy_error_set(x->error, -EAGAIN,
                                                 "the kernel's livepatches changed while they were read")
                              : 0;
}

int shim_request_new(int family, enum klp_shim_cmd command, int flags, uint32_t seq, struct nl_msg **ret) {
        _cleanup_nlmsg_free_ struct nl_msg *msg = NULL;

        msg = nlmsg_alloc();
        if (!msg)
                return -ENOMEM;
        if (!genlmsg_put(msg, NL_AUTO_PORT, seq, family, 0, NLM_F_REQUEST | flags, (uint8_t) command,
                         KLP_SHIM_GENL_VERSION))
                return -ENOMEM;

        *ret = TAKE_PTR(msg);
        return 0;
}

/*
 * The number of the family, from a dump of all of them: asking for it by name would make the kernel run
 * modprobe for it, and klpd decides itself when the shim is loaded.
 */
int shim_find_family(struct nl_sock *s, int *ret) {
        struct genl_family *family;
        struct nl_cache *cache;
        int r;

        r = genl_ctrl_alloc_cache(s, &cache);
        if (r < 0)
                return nl_to_errno(r);

        family = genl_ctrl_search_by_name(cache, KLP_SHIM_GENL_NAME);
        if (family) {
                *ret = (int) genl_family_get_id(family);
                r = 0;
                genl_family_put(family);
        } else
                r = -ENOENT;

        nl_cache_free(cache);
        return r;
}
