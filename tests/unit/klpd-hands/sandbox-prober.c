/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Takes klpd-inspect's place in test-inspect: enters its sandbox, then tries what its standard input names,
 * and reports the errno as klpd-inspect reports errors. What the sandbox kills for never gets to report.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "klpd/inspect-sandbox.h"

static int result(long r) {
        return r < 0 ? errno : 0;
}

static int try(const char *what) {
        char *none[] = { NULL };

        if (strncmp(what, "open", 4) == 0)
                return result(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
        if (strncmp(what, "socket", 6) == 0)
                return result(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (strncmp(what, "fork", 4) == 0)
                return result(fork());
        if (strncmp(what, "exec", 5) == 0)
                return result(execve("/bin/true", none, none));
        if (strncmp(what, "ptrace", 6) == 0)
                return result(ptrace(PTRACE_TRACEME, 0, NULL, NULL));
        return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
                                               MAP_FAILED
                               ? errno
                               : 0;
}

int main(void) {
        char what[64] = {};
        int e;

        if (read(STDIN_FILENO, what, sizeof(what) - 1) <= 0 || inspect_sandbox_enter() < 0)
                return EXIT_FAILURE;

        e = try(what);
        printf("{\"error\": %d, \"message\": \"%s\"}\n", e, what);
        fflush(stdout);
        _exit(EXIT_SUCCESS);
}
