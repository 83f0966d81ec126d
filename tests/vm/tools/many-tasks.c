/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * many-tasks N READY: N tasks that sleep, threads of one process with a page of stack each; makes the file READY when
 * they are there, and ends with all of them when it gets a signal.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK 4096UL

static int sleeper(void *arg) {
        (void) arg;
        while (pause() < 0)
                ;
        return 0;
}

int main(int argc, char *argv[]) {
        unsigned long n;
        char *stacks;
        int fd;

        n = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
        if (n == 0 || n > 1000000) {
                fprintf(stderr, "many-tasks N READY\n");
                return 2;
        }
        stacks = mmap(NULL, n * STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED) {
                perror("mmap");
                return 1;
        }
        for (unsigned long i = 0; i < n; i++)
                if (clone(sleeper, stacks + (i + 1) * STACK,
                          CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL) < 0) {
                        fprintf(stderr, "task %lu: %s\n", i, strerror(errno));
                        return 1;
                }
        fd = open(argv[2], O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0) {
                perror(argv[2]);
                return 1;
        }
        close(fd);
        pause();
        return 0;
}
