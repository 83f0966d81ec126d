/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Does ip_options_get() let an unprivileged user set a source route? (REAL-FIXES.md) Drops to uid 65534 and asks the
 * running kernel. Prints "allowed" or "refused"; exit status 0: allowed, 1: refused, 2: could not be tried.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define NOBODY 65534

/* A loose source route with one hop, 127.0.0.1. */
static const unsigned char loose_source_route[] = { 0x83, 7, 4, 127, 0, 0, 1 };

static int failed(const char *what) {
        fprintf(stderr, "probe-ip-options: %s: %s\n", what, strerror(errno));
        return 2;
}

int main(void) {
        int fd;

        if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setresgid(NOBODY, NOBODY, NOBODY) < 0 ||
                               setresuid(NOBODY, NOBODY, NOBODY) < 0))
                return failed("could not become nobody");

        fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return failed("no socket");

        if (setsockopt(fd, IPPROTO_IP, IP_OPTIONS, loose_source_route, sizeof(loose_source_route)) >= 0) {
                puts("allowed: uid 65534 may set a source route");
                return 0;
        }
        if (errno == EPERM) {
                puts("refused: uid 65534 may not set a source route (EPERM)");
                return 1;
        }
        return failed("setsockopt(IP_OPTIONS)");
}
