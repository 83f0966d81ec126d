/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See helper-server.h. */
#include "klpd/helper-server.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "klpd/helper-kernel.h"
#include "klpd/livepatch-sysfs-read.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* Linux 6.5 */
#endif

static const char *const allowed_units[] = { "klpd.service", "klpd-boot.service" };

bool helper_peer_allowed(uint32_t uid, const char *unit) {
        if (uid != 0 || !unit)
                return false;
        for (size_t i = 0; i < ELEMENTSOF(allowed_units); i++)
                if (streq(unit, allowed_units[i]))
                        return true;
        return false;
}

/* Readable means that the process has ended. */
static bool pidfd_is_dead(int pidfd) {
        struct pollfd p = { .fd = pidfd, .events = POLLIN };

        return poll(&p, 1, 0) != 0;
}

static int peer_pidfd(int fd, pid_t pid, int *ret) {
        socklen_t size = sizeof(int);
        int pidfd;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &size) < 0) {
                if (errno != ENOPROTOOPT)
                        return -errno;
                /* Before 6.5: by number. Only root can connect, and the unit is looked up while we hold the
                 * process. */
                pidfd = (int) syscall(SYS_pidfd_open, pid, 0);
                if (pidfd < 0)
                        return -errno;
        }

        *ret = pidfd;
        return 0;
}

int helper_peer_check(int fd, int *ret_pidfd, PolicyError *error) {
        _cleanup_close_ int pidfd = -EBADF;
        _cleanup_free_ char *unit = NULL;
        struct ucred cred;
        socklen_t size = sizeof(cred);
        int r;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return policy_error_set(error, -errno, "can't read who connects: %s", strerror(errno));

        r = peer_pidfd(fd, cred.pid, &pidfd);
        if (r < 0)
                return policy_error_set(error, r, "can't get hold of process %d that connects: %s",
                                        (int) cred.pid, strerror(-r));

        r = sd_pid_get_unit(cred.pid, &unit);
        if (r < 0 && r != -ENODATA)
                return policy_error_set(error, r, "can't tell the unit of process %d: %s", (int) cred.pid,
                                        strerror(-r));
        /* Still alive, so the number was its own all the time. */
        if (pidfd_is_dead(pidfd))
                return policy_error_set(error, -ESRCH, "process %d has ended after it connected",
                                        (int) cred.pid);

        if (!helper_peer_allowed(cred.uid, unit))
                return policy_error_set(error, -EACCES, "process %d of uid %u, unit %s, is not klpd",
                                        (int) cred.pid, (unsigned) cred.uid, unit ?: "(none)");

        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
}

/* Takes the one descriptor that may come; more than one, or anything else, is refused, and all are
 * closed. */
static int take_fds(struct msghdr *message, int *ret_fd) {
        int first = -EBADF;
        size_t n = 0;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                size_t n_fds;

                if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
                        continue;
                n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < n_fds; i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
                        if (n++ == 0)
                                first = fd;
                        else
                                close(fd);
                }
        }

        if (n > 1 || (message->msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
                if (first >= 0)
                        close(first);
                return -EBADMSG;
        }

        *ret_fd = first;
        return 0;
}

int helper_receive(int fd, int timeout_msec, HelperRequest *ret, int *ret_fd) {
        union {
                struct cmsghdr header;
                uint8_t bytes[CMSG_SPACE(sizeof(int) * 4)];
        } control;
        uint8_t buffer[sizeof(HelperRequest) + 1]; /* one more: to notice what is too long */
        struct iovec iov = { .iov_base = buffer, .iov_len = sizeof(buffer) };
        struct msghdr message = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
                                  .msg_controllen = sizeof(control) };
        struct pollfd p = { .fd = fd, .events = POLLIN };
        _cleanup_close_ int received = -EBADF;
        ssize_t n;
        int r;

        r = poll(&p, 1, timeout_msec);
        if (r < 0)
                return -errno;
        if (r == 0)
                return -ETIMEDOUT;

        n = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        if (n < 0)
                return errno == ECONNRESET ? 0 : -errno;

        r = take_fds(&message, &received);
        if (r < 0)
                return r;
        if (n == 0 && received < 0)
                return 0;

        r = helper_request_check(buffer, (size_t) n, received >= 0);
        if (r < 0)
                return r;

        memcpy(ret, buffer, sizeof(*ret));
        *ret_fd = TAKE_FD(received);
        return 1;
}

int helper_send_reply(int fd, const HelperReply *reply, const char *data) {
        struct iovec iov[] = {
                { .iov_base = (void *) reply, .iov_len = sizeof(*reply) },
                { .iov_base = (void *) data, .iov_len = reply->data_size },
        };
        struct msghdr message = { .msg_iov = iov, .msg_iovlen = ELEMENTSOF(iov) };

        return sendmsg(fd, &message, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int helper_serve(int root_fd, int fd, int pidfd, int timeout_msec) {
        _cleanup_free_ char *data = NULL;
        int r;

        data = malloc(HELPER_DATA_MAX);
        if (!data)
                return -ENOMEM;

        for (;;) {
                _cleanup_close_ int module_fd = -EBADF;
                HelperRequest request;
                HelperReply reply;
                Settle *settle;

                r = helper_receive(fd, timeout_msec, &request, &module_fd);
                if (r <= 0)
                        return r;
                if (pidfd >= 0 && pidfd_is_dead(pidfd))
                        return 0;

                helper_execute(root_fd, &request, module_fd, &reply, data, &settle);
                r = helper_send_reply(fd, &reply, data);
                settle_stop(settle);
                if (r < 0) /* klpd has gone; whoever comes next reads the kernel */
                        return r == -EPIPE || r == -ECONNRESET ? 0 : r;
        }
}
