/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What tests/bench/daemon can't measure from a shell. Prints milliseconds, the median of 11.
 *
 *   daemon-measure list          from the call of ListPatches on the system bus to the whole answer
 *   daemon-measure make ROOT N   plays /proc of N tasks below ROOT: one thread each, 5 of them still to be switched
 *   daemon-measure tasks ROOT    looks for the tasks that a transition waits for, with klpd's own code; also for
 *                                ROOT "/" on a kernel with livepatch
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>

#include "klpd/tasks.h"

#define ROUNDS 11

static double now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double) t.tv_sec * 1e3 + (double) t.tv_nsec / 1e6;
}

static int compare(const void *a, const void *b) {
        double x = *(const double *) a, y = *(const double *) b;

        return (x > y) - (x < y);
}

static int list_once(sd_bus *bus) {
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, "org.klpd1", "/org/klpd1", "org.klpd1.Manager", "ListPatches", NULL, &reply, "");
        sd_bus_message_unref(reply);
        return r;
}

static int tasks_once(int root_fd) {
        BlockingTask *tasks;
        size_t n, total;
        int r;

        r = tasks_blocking(root_fd, true, 1024, &tasks, &n, &total);
        if (r < 0)
                return r;
        free(tasks);
        return (int) total;
}

static int write_file(int fd, const char *path, const char *text) {
        int file, r = 0;

        file = openat(fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
        if (file < 0 || write(file, text, strlen(text)) != (ssize_t) strlen(text))
                r = -errno;
        if (file >= 0)
                close(file);
        return r;
}

static int make_tasks(int fd, unsigned n) {
        char path[64], stat[160];
        int r = 0;

        if (mkdirat(fd, "proc", 0755) < 0)
                return -errno;
        for (unsigned i = 1; r >= 0 && i <= n; i++) {
                (void) snprintf(path, sizeof(path), "proc/%u", i);
                r = mkdirat(fd, path, 0755) < 0 ? -errno : 0;
                (void) snprintf(path, sizeof(path), "proc/%u/task", i);
                if (r >= 0 && mkdirat(fd, path, 0755) < 0)
                        r = -errno;
                (void) snprintf(path, sizeof(path), "proc/%u/task/%u", i, i);
                if (r >= 0 && mkdirat(fd, path, 0755) < 0)
                        r = -errno;
                (void) snprintf(path, sizeof(path), "proc/%u/patch_state", i);
                if (r >= 0)
                        r = write_file(fd, path, i % (n / 5) == 0 ? "0\n" : "1\n");
                (void) snprintf(path, sizeof(path), "proc/%u/stat", i);
                (void) snprintf(stat, sizeof(stat), "%u (task) S 1 1 1 0 -1 4194560 0 0\n", i);
                if (r >= 0)
                        r = write_file(fd, path, stat);
        }
        return r;
}

static int measure(sd_bus *bus, int root_fd) {
        double ms[ROUNDS];

        for (unsigned i = 0; i < ROUNDS; i++) {
                double began = now_ms();
                int r = bus ? list_once(bus) : tasks_once(root_fd);

                if (r < 0)
                        return r;
                ms[i] = now_ms() - began;
        }
        qsort(ms, ROUNDS, sizeof(ms[0]), compare);
        printf("%.1f\n", ms[ROUNDS / 2]);
        return 0;
}

int main(int argc, char *argv[]) {
        sd_bus *bus = NULL;
        int fd = -1, r = -EINVAL;

        if (argc == 2 && streq(argv[1], "list")) {
                r = sd_bus_open_system(&bus);
                if (r >= 0)
                        r = measure(bus, -1);
        } else if (argc >= 3) {
                fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                if (fd < 0)
                        r = -errno;
                else if (argc == 4 && streq(argv[1], "make"))
                        r = make_tasks(fd, (unsigned) strtoul(argv[3], NULL, 10));
                else if (argc == 3 && streq(argv[1], "tasks"))
                        r = measure(NULL, fd);
        }
        if (fd >= 0)
                close(fd);
        sd_bus_flush_close_unref(bus);
        if (r < 0)
                fprintf(stderr, "daemon-measure: %s\n", strerror(-r));
        return r < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
