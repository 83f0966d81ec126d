/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ends a process, or the whole guest, at a moment that can be chosen and repeated, without any help of the process:
 * it is traced (ptrace), and its system calls are counted.
 *
 *   crash-at PID N entry|exit kill|reset REPORT [any|sync]
 *
 * At the entry or the exit of the Nth fdatasync() of PID from now on: SIGKILL, or a reset of the machine that writes
 * nothing back. With `any` each system call counts, not only fdatasync(); with `sync` fsync() as well. For klpd each
 * step is recorded, with fdatasync(), before it begins: so these are the moments before and after each step; and what
 * it knows beyond a step is in small files, each replaced with an fsync().
 *
 * REPORT is made, empty, when the process is traced; when it is over it has one line: "crashed", or "K" if it ended by
 * itself or this got SIGTERM after K of those calls. Exit status 0; 1 with a message if that couldn't be done.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/ptrace.h>
#include <unistd.h>

static _Noreturn void die(const char *what) {
        fprintf(stderr, "crash-at: %s: %s\n", what, strerror(errno));
        exit(1);
}

static void report(const char *path, const char *text) {
        char temporary[4096];
        FILE *f;

        snprintf(temporary, sizeof(temporary), "%s.new", path);
        f = fopen(temporary, "w");
        if (!f || fputs(text, f) < 0 || fclose(f) != 0 || rename(temporary, path) < 0)
                die(path);
}

static void crash(pid_t pid, bool reset) {
        if (reset) {
                int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);

                if (fd < 0 || write(fd, "b", 1) != 1)
                        die("/proc/sysrq-trigger");
                pause();
        }
        if (kill(pid, SIGKILL) < 0)
                die("kill");
}

static bool counts(pid_t pid, bool any, bool sync, bool *entry) {
        struct ptrace_syscall_info info;

        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, (void *) sizeof(info), &info) < 0)
                return false;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                *entry = true;
                return any || info.entry.nr == SYS_fdatasync || (sync && info.entry.nr == SYS_fsync);
        }
        *entry = false;
        return info.op == PTRACE_SYSCALL_INFO_EXIT;
}

int main(int argc, char **argv) {
        bool at_entry, reset, any, sync, inside = false, entry;
        unsigned long n, seen = 0;
        sigset_t mask;
        char text[32];
        pid_t pid;
        int status;

        if (argc < 6 || argc > 7) {
                fputs("usage: crash-at PID N entry|exit kill|reset REPORT [any|sync]\n", stderr);
                return 1;
        }
        pid = (pid_t) atol(argv[1]);
        n = strtoul(argv[2], NULL, 10);
        at_entry = strcmp(argv[3], "entry") == 0;
        reset = strcmp(argv[4], "reset") == 0;
        any = argc == 7 && strcmp(argv[6], "any") == 0;
        sync = argc == 7 && strcmp(argv[6], "sync") == 0;
        if (sigemptyset(&mask) < 0 || sigaddset(&mask, SIGTERM) < 0 || sigaddset(&mask, SIGCHLD) < 0 ||
            sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                die("sigprocmask");

        if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0 || ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
                die("ptrace");
        report(argv[5], "");
        for (;;) {
                pid_t which = waitpid(pid, &status, __WALL | WNOHANG);
                long sig = 0;

                if (which < 0)
                        die("waitpid");
                if (which == 0) {
                        if (sigwaitinfo(&mask, NULL) == SIGTERM)
                                break;
                        continue;
                }
                if (WIFEXITED(status) || WIFSIGNALED(status))
                        break;
                if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
                        if (counts(pid, any, sync, &entry) && (entry || inside)) {
                                inside = entry;
                                seen += entry;
                                if (seen == n && entry == at_entry) {
                                        crash(pid, reset);
                                        report(argv[5], "crashed\n");
                                        return 0;
                                }
                        }
                } else if (status >> 16 != PTRACE_EVENT_STOP)
                        sig = WSTOPSIG(status);
                if (ptrace(PTRACE_SYSCALL, pid, NULL, (void *) sig) < 0 && errno != ESRCH)
                        die("ptrace");
        }
        snprintf(text, sizeof(text), "%lu\n", seen);
        report(argv[5], text);
        return 0;
}
