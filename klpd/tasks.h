/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who is in the way of a transition, as /proc tells it: the source for plain patches, and without the shim
 * (with it, shim_client_tasks() lists the same much faster); and what else people want to know of a task:
 * its name, its unit.
 *
 * Tasks come and go while one reads; a task that has gone is in nobody's way and is left out. Idle tasks
 * (swapper) have no entry in /proc: an empty list while a transition is under way may mean them. One flat
 * array of fixed-size records, made to read 32,000 tasks quickly.
 */
#pragma once

#include "policy/util.h"

typedef struct BlockingTask {
        uint32_t pid, tid;
        char comm[16];
        bool kthread;
        int patch_state;       /* as the kernel says: 0 unpatched, 1 patched; -1: no transition */
} BlockingTask;

/*
 * Tasks whose patch_state is the opposite of the target (target: true while a patch is being enabled), at
 * most max of them; *ret_total counts all. *ret is one free()able array, NULL for none. Needs CAP_SYS_PTRACE
 * and root (mode 0400).
 */
int tasks_blocking(int root_fd, bool target, size_t max, BlockingTask **ret, size_t *ret_n,
                   size_t *ret_total);

/* 0, 1 or -1, as the kernel says. -ESRCH: gone. Needs root. */
int task_patch_state(uint32_t pid, uint32_t tid, int *ret);

/* The systemd unit of a process (its cgroup), malloc'ed. -ENODATA: none (kernel threads); -ESRCH: gone. */
int task_unit(uint32_t pid, char **ret);
