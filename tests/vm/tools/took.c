/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * took FILE COMMAND [ARG...]: runs COMMAND, appends how many microseconds it took, from just before its process is made
 * to when it has been waited for, to FILE as a line, and ends with its status. A shell would have to start date(1)
 * twice for that, and count it. COMMAND is looked up in PATH before the clock starts: a shell remembers where it is.
 */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long long now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (long long) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* Where execvp() would find it, or, if nowhere, its name, for the error. */
static const char *find_program(const char *name) {
        static char path[4096];
        const char *p = getenv("PATH");

        if (strchr(name, '/'))
                return name;
        while (p && *p) {
                size_t n = strcspn(p, ":");

                if (snprintf(path, sizeof(path), "%.*s/%s", (int) n, p, name) < (int) sizeof(path) &&
                    access(path, X_OK) == 0)
                        return path;
                p += n + (p[n] == ':');
        }
        return name;
}

int main(int argc, char *argv[]) {
        const char *program;
        long long begun, took;
        int status, r;
        pid_t pid;
        FILE *f;

        if (argc < 3) {
                fprintf(stderr, "took FILE COMMAND [ARG...]\n");
                return 2;
        }
        f = fopen(argv[1], "ae");
        if (!f) {
                perror(argv[1]);
                return 2;
        }
        program = find_program(argv[2]);
        begun = now();
        r = posix_spawn(&pid, program, NULL, NULL, argv + 2, environ);
        if (r != 0) {
                fprintf(stderr, "%s: %s\n", argv[2], strerror(r));
                return 127;
        }
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR) {
                        perror("waitpid");
                        return 2;
                }
        took = now() - begun;
        if (fprintf(f, "%lld\n", took) < 0 || fclose(f) != 0) {
                perror(argv[1]);
                return 2;
        }
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
