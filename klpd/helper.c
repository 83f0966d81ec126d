/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd-helper: the one program that changes the kernel. It loads, enables, disables and removes livepatch
 * modules and reads kernel stacks, when klpd says so; it decides nothing and parses nothing.
 *
 * Model: started by its socket (klpd-helper.socket: ListenSequentialPacket=/run/klpd/helper.sock,
 * SocketMode=0600, Accept=no), serves one connection at a time, one request at a time, and exits when nobody
 * has connected for a while. All of it may block in the kernel: that is why it is a process of its own. Two
 * klpds (a killed one's request still runs, the next is there already) are thereby served one after the
 * other.
 *
 * What it needs: uid 0 with CAP_SYS_MODULE (finit_module, delete_module, ENABLE), CAP_NET_ADMIN (generic
 * netlink), CAP_SYS_ADMIN and CAP_SYS_PTRACE (/proc/PID/stack); AF_UNIX and AF_NETLINK; the initial network
 * namespace; /sys/kernel/ livepatch writable; /proc of all processes; /usr/lib/modules and /etc/modprobe.d
 * readable; all CPUs.
 *
 * Errors: exit status 1 if it could not start. What a request met is in its reply; who was sent away is in
 * the journal.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "klpd/helper-server.h"
#include "klpd/livepatch-sysfs-read.h"

#define IDLE_EXIT_MSEC 30000
#define SILENT_PEER_MSEC 30000

static void serve_connection(int root_fd, int fd) {
        _cleanup_close_ int pidfd = -EBADF;
        PolicyError error;
        int r;

        r = helper_peer_check(fd, &pidfd, &error);
        if (r < 0) {
                fprintf(stderr, SD_WARNING "Refused a connection: %s.\n", error.message);
                return;
        }

        r = helper_serve(root_fd, fd, pidfd, SILENT_PEER_MSEC);
        if (r < 0)
                fprintf(stderr, SD_WARNING "Dropped the connection of klpd: %s.\n", strerror(-r));
}

static int serve(int root_fd, int listen_fd) {
        struct pollfd p = { .fd = listen_fd, .events = POLLIN };

        for (;;) {
                _cleanup_close_ int fd = -EBADF;
                int r;

                /* Whoever connects between this timeout and our exit stays in the socket's queue: systemd
                 * starts us again. */
                r = poll(&p, 1, IDLE_EXIT_MSEC);
                if (r < 0)
                        return -errno;
                if (r == 0)
                        return 0;

                fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0) {
                        if (errno == EINTR || errno == EAGAIN || errno == ECONNABORTED)
                                continue;
                        return -errno;
                }
                serve_connection(root_fd, fd);
        }
}

int main(int argc, char *argv[]) {
        _cleanup_close_ int root_fd = -EBADF;
        int r;

        if (argc > 1) {
                bool version = argc == 2 && streq(argv[1], "--version");

                if (version)
                        puts("klpd-helper " KLPD_VERSION);
                else
                        fprintf(stderr,
                                "klpd-helper takes no arguments: it is started by klpd-helper.socket.\n");
                return version ? EXIT_SUCCESS : EXIT_FAILURE;
        }

        if (sd_listen_fds(true) != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_SEQPACKET, 1) <= 0) {
                fprintf(stderr, SD_ERR
                        "klpd-helper must be started by klpd-helper.socket (one SOCK_SEQPACKET socket).\n");
                return EXIT_FAILURE;
        }

        root_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (root_fd < 0) {
                fprintf(stderr, SD_ERR "Failed to open /: %s\n", strerror(errno));
                return EXIT_FAILURE;
        }

        r = serve(root_fd, SD_LISTEN_FDS_START);
        if (r < 0) {
                fprintf(stderr, SD_ERR "Failed to wait for connections: %s\n", strerror(-r));
                return EXIT_FAILURE;
        }
        return EXIT_SUCCESS;
}
