/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See tasks.h. For a process with one thread (most of them) /proc/PID has the thread's own patch_state, comm
 * and so on: its task directory isn't opened. How many threads there are tells the number of links of that
 * directory.
 */
#include "klpd/tasks.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-login.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"

#define PF_KTHREAD 0x00200000U /* the kernel's include/linux/sched.h; field 9 of /proc/PID/stat */

typedef struct Scan {
        int proc_fd;
        int target;
        size_t max;
        BlockingTask *tasks;
        size_t n, total;
} Scan;

static bool is_gone(int r) {
        return r == -ENOENT || r == -ESRCH;
}

/* -1, 0 or 1. One read, which gets all of it: this is what is done once for each task of a host. */
static int read_patch_state(int proc_fd, const char *dir, int *ret) {
        _cleanup_close_ int fd = -EBADF;
        char path[64], buf[16];
        ssize_t n;

        snprintf(path, sizeof(path), "%s/patch_state", dir);
        fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        n = read(fd, buf, sizeof(buf));
        if (n < 0)
                return -errno;

        if (n == 2 && memcmp(buf, "0\n", 2) == 0)
                *ret = 0;
        else if (n == 2 && memcmp(buf, "1\n", 2) == 0)
                *ret = 1;
        else if (n == 3 && memcmp(buf, "-1\n", 3) == 0)
                *ret = -1;
        else
                return -EBADMSG;
        return 0;
}

/* "PID (COMM) STATE PPID PGRP SESSION TTY TPGID FLAGS …"; COMM may contain anything, ')' and blanks too. */
static int parse_stat(const char *text, BlockingTask *task) {
        const char *open_paren = strchr(text, '('), *close_paren = strrchr(text, ')');
        unsigned flags;
        size_t n;

        if (!open_paren || !close_paren || close_paren < open_paren)
                return -EBADMSG;
        n = (size_t) (close_paren - open_paren - 1);
        if (n >= sizeof(task->comm)) /* kernel workers have longer ones here than comm can hold */
                n = sizeof(task->comm) - 1;
        memcpy(task->comm, open_paren + 1, n);
        task->comm[n] = 0;

        if (sscanf(close_paren + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
                return -EBADMSG;
        task->kthread = flags & PF_KTHREAD;
        return 0;
}

static int add_task(Scan *s, const char *dir, uint32_t pid, uint32_t tid, int state) {
        BlockingTask task = { .pid = pid, .tid = tid, .patch_state = state };
        char path[64], buf[SYSFS_VALUE_MAX];
        int r;

        s->total++;
        if (s->n >= s->max)
                return 0;

        snprintf(path, sizeof(path), "%s/stat", dir);
        r = sysfs_read_text(s->proc_fd, path, buf, sizeof(buf));
        if (is_gone(r)) {
                s->total--;
                return 0;
        }
        if (r < 0)
                return r;
        r = parse_stat(buf, &task);
        if (r < 0)
                return r;

        if ((s->n & (s->n - 1)) == 0) {
                BlockingTask *array = reallocarray(s->tasks, s->n ? s->n * 2 : 1, sizeof(BlockingTask));

                if (!array)
                        return -ENOMEM;
                s->tasks = array;
        }
        s->tasks[s->n++] = task;
        return 0;
}

static int scan_task(Scan *s, const char *dir, uint32_t pid, uint32_t tid) {
        int r, state;

        r = read_patch_state(s->proc_fd, dir, &state);
        if (is_gone(r))
                return 0;
        if (r < 0)
                return r;
        return state == 1 - s->target ? add_task(s, dir, pid, tid, state) : 0;
}

static int scan_threads(Scan *s, unsigned pid) {
        _cleanup_closedir_ DIR *d = NULL;
        struct dirent *de;
        char path[48];
        int r;

        snprintf(path, sizeof(path), "%u/task", pid);
        r = sysfs_open_dir(s->proc_fd, path, &d);
        if (r < 0)
                return is_gone(r) ? 0 : r;

        while (errno = 0, (de = readdir(d))) {
                unsigned tid;

                if (parse_unsigned(de->d_name, &tid) < 0)
                        continue;
                snprintf(path, sizeof(path), "%u/task/%u", pid, tid);
                r = scan_task(s, path, pid, tid);
                if (r < 0)
                        return r;
        }
        return is_gone(-errno) ? 0 : -errno;
}

static int scan_process(Scan *s, unsigned pid) {
        struct stat st;
        char path[48];

        snprintf(path, sizeof(path), "%u/task", pid);
        if (fstatat(s->proc_fd, path, &st, 0) < 0)
                return is_gone(-errno) ? 0 : -errno;
        if (st.st_nlink != 3)
                return scan_threads(s, pid);

        snprintf(path, sizeof(path), "%u", pid);
        return scan_task(s, path, pid, pid);
}

int tasks_blocking(int root_fd, bool target, size_t max, BlockingTask **ret, size_t *ret_n,
                   size_t *ret_total) {
        _cleanup_closedir_ DIR *d = NULL;
        Scan s = { .target = target, .max = max };
        struct dirent *de;
        int r;

        r = sysfs_open_dir(root_fd, "proc", &d);
        if (r < 0)
                return r;
        s.proc_fd = dirfd(d);

        while (errno = 0, (de = readdir(d))) {
                unsigned pid;

                if (de->d_name[0] < '1' || de->d_name[0] > '9' || parse_unsigned(de->d_name, &pid) < 0)
                        continue;
                r = scan_process(&s, pid);
                if (r < 0)
                        break;
        }
        if (!de)
                r = -errno;
        if (r < 0) {
                free(s.tasks);
                return r;
        }

        *ret = s.tasks;
        *ret_n = s.n;
        *ret_total = s.total;
        return 0;
}

int task_patch_state(uint32_t pid, uint32_t tid, int *ret) {
        _cleanup_closedir_ DIR *d = NULL;
        char path[48];
        int r;

        r = sysfs_open_dir(AT_FDCWD, "/proc", &d);
        if (r < 0)
                return r;
        snprintf(path, sizeof(path), "%" PRIu32 "/task/%" PRIu32, pid, tid);
        r = read_patch_state(dirfd(d), path, ret);
        return is_gone(r) ? -ESRCH : r;
}

int task_unit(uint32_t pid, char **ret) {
        int r;

        r = sd_pid_get_unit((pid_t) pid, ret);
        return is_gone(r) ? -ESRCH : r;
}
