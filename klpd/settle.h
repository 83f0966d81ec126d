/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Settle assist (DESIGN.md; measured in KERNEL-FACTS.md, "How long a transition takes"): while the livepatch
 * core is told to enable or disable, one thread of ordinary priority per CPU, but for the one that the caller
 * is on and is kept on, loops over a cheap system call and sched_yield(). Then no idle task is current
 * anywhere when the core makes its only synchronous pass over all tasks, the helpers switch themselves at
 * their return to user space, and the transition is most likely over when the call returns, instead of at the
 * next of the core's one-second ticks.
 *
 * Left alone: isolated and nohz_full CPUs, those that this process may not use, all beyond a cap; nothing is
 * done with fewer than two CPUs. Not for reversals, which make no such pass. The threads end at
 * settle_stop(), and by themselves when the time is over. Never at real-time priority (worse: it starves the
 * kernel's workers).
 */
#pragma once

#include "policy/util.h"

#define SETTLE_CPUS_MAX 64U
#define SETTLE_USEC_DEFAULT 2000000U
#define SETTLE_USEC_MAX 10000000U

typedef struct Settle Settle;

/* The CPUs that it would use, ascending: allowed by this process' affinity, and neither isolated nor
 * nohz_full as /sys below root_fd says. cpus has room for max. Returns their number or -errno. */
int settle_cpus(int root_fd, unsigned *cpus, size_t max);

/* Keeps the calling thread on one CPU, starts the threads on the others and waits (at most 100 ms) until all
 * of them run. *ret is NULL, and 0 is returned, where there is nothing to assist. max_cpus, max_usec: 0 means
 * the constants above; larger ones are cut to them. */
int settle_start(int root_fd, unsigned max_cpus, uint64_t max_usec, Settle **ret);
/* Tells the threads that it is over, without waiting for them; settle_stop() is still to be called. NULL is fine. */
void settle_end(Settle *s);
/* By the thread that started them: ends and joins them, and lets it go where it was allowed to. NULL is
 * fine. */
Settle *settle_stop(Settle *s);

/* "0-3,8" as the kernel writes lists of CPUs; calls back for each number below limit. -EBADMSG: not such a
 * list. */
int cpu_list_parse(const char *text, unsigned limit, void (*callback)(unsigned cpu, void *userdata),
                   void *userdata);
