/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A child process: pkttyagent, told to register as the fallback agent of this process and to close a pipe
 * when it has done so. It talks to the terminal itself; klpctl only keeps it alive while a call may need it.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define AGENT_PATH "/usr/bin/pkttyagent"
#define AGENT_START_MSEC 5000

static void run_agent(int notify_fd, pid_t parent) {
        char fd[16];

        /* It must not outlive klpctl. */
        (void) prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
                _exit(1);
        if (fcntl(notify_fd, F_SETFD, 0) < 0)
                _exit(1);

        snprintf(fd, sizeof(fd), "%d", notify_fd);
        execl(AGENT_PATH, AGENT_PATH, "--notify-fd", fd, "--fallback", NULL);
        _exit(1);
}

int agent_start(pid_t *ret_pid) {
        struct pollfd p = { .events = POLLHUP };
        pid_t pid, parent = getpid();
        int fds[2], r;

        *ret_pid = 0;
        if (geteuid() == 0 || !isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) ||
            access(AGENT_PATH, X_OK) < 0)
                return 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;

        pid = fork();
        if (pid < 0) {
                r = -errno;
                close(fds[0]);
                close(fds[1]);
                return r;
        }
        if (pid == 0)
                run_agent(fds[1], parent);

        close(fds[1]);
        p.fd = fds[0];
        do
                r = poll(&p, 1, AGENT_START_MSEC); /* it closes its end when it is registered, or gone */
        while (r < 0 && errno == EINTR);
        close(fds[0]);

        *ret_pid = pid;
        return 0;
}

void agent_stop(pid_t pid) {
        if (pid <= 0)
                return;

        (void) kill(pid, SIGTERM);
        (void) kill(pid, SIGCONT);
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
}
