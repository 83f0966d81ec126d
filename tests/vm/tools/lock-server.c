/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lock-server PORT FILE: a FleetLock server for tests, on loopback, for one host; not for use, it keeps nothing and
 * checks nobody. Each request is a line "PATH BODY" in FILE. It says yes to everything, or, while FILE.deny is
 * there, no to whoever asks for a slot.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void answer(int fd, const char *file)
{
        static const char yes[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        static const char body[] = "{\"kind\":\"failed_lock_semaphore_full\",\"value\":\"all slots are taken\"}";
        char request[8192], path[256] = "", deny[512], no[256];
        size_t n = 0, length = 0;
        const char *end = NULL, *reply = yes;
        FILE *log;

        while (n < sizeof(request) - 1 && (!end || n < (size_t) (end - request) + length)) {
                ssize_t k = read(fd, request + n, sizeof(request) - 1 - n);
                const char *p;

                if (k <= 0)
                        return;
                n += (size_t) k;
                request[n] = 0;
                end = strstr(request, "\r\n\r\n");
                if (!end)
                        continue;
                end += 4;
                p = strstr(request, "Content-Length: ");
                length = p && p < end ? strtoul(p + 16, NULL, 10) : 0;
        }
        if (!end || sscanf(request, "POST %255s", path) != 1 || !strstr(request, "fleet-lock-protocol: true"))
                return;
        log = fopen(file, "ae");
        if (!log)
                return;
        fprintf(log, "%s %s\n", path, end);
        fclose(log);
        snprintf(deny, sizeof(deny), "%s.deny", file);
        snprintf(no, sizeof(no), "HTTP/1.1 409 Conflict\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                 strlen(body), body);
        if (strcmp(path, "/v1/pre-reboot") == 0 && access(deny, F_OK) == 0)
                reply = no;
        if (write(fd, reply, strlen(reply)) < 0)
                perror("lock-server");
}

int main(int argc, char *argv[])
{
        struct sockaddr_in address = { .sin_family = AF_INET };
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

        if (argc != 3) {
                fprintf(stderr, "usage: lock-server PORT FILE\n");
                return 2;
        }
        address.sin_port = htons((uint16_t) atoi(argv[1]));
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) < 0 ||
            bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 || listen(fd, 16) < 0) {
                perror("lock-server");
                return 1;
        }
        for (;;) {
                int c = accept(fd, NULL, NULL);

                if (c < 0)
                        continue;
                answer(c, argv[2]);
                close(c);
        }
}
