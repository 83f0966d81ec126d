/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See settle.h. Each thread pins itself to its CPU, reports for duty, and then loops until it is told to
 * stop or its time is over. The system call in the loop is what matters: at its return to user space the
 * kernel switches the thread to the new patch state.
 *
 * Threads share one Settle, which settle_stop() frees after it has joined them all; `stop` and `running` are
 * the only fields that are written while they run.
 */
#include "klpd/settle.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"

#define START_WAIT_NSEC (100 * 1000000ULL)
#define THREAD_STACK_SIZE (256U * 1024U)
#define CPUS_LIMIT 8192U
#define CLOCK_EVERY 64U /* turns of the loop between two looks at the clock */

struct Settle {
        atomic_bool stop;
        atomic_uint running;
        uint64_t end_nsec;
        unsigned n_threads;
        struct SettleThread {
                Settle *settle;
                unsigned cpu;
                pthread_t thread;
        } threads[];
};

static uint64_t now_nsec(void) {
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * 1000000000ULL + (uint64_t) ts.tv_nsec;
}

int cpu_list_parse(const char *text, unsigned limit, void (*callback)(unsigned cpu, void *userdata),
                   void *userdata) {
        const char *p = text;

        while (*p) {
                unsigned first, last;
                char *end;

                errno = 0;
                if (*p < '0' || *p > '9')
                        return -EBADMSG;
                first = last = (unsigned) strtoul(p, &end, 10);
                if (*end == '-') {
                        p = end + 1;
                        if (*p < '0' || *p > '9')
                                return -EBADMSG;
                        last = (unsigned) strtoul(p, &end, 10);
                }
                if (errno != 0 || last < first)
                        return -EBADMSG;
                for (unsigned cpu = first; cpu <= last && cpu < limit; cpu++)
                        callback(cpu, userdata);

                if (*end == ',' && end[1])
                        end++;
                else if (*end)
                        return -EBADMSG;
                p = end;
        }

        return 0;
}

static void exclude_cpu(unsigned cpu, void *userdata) {
        CPU_CLR_S(cpu, CPU_ALLOC_SIZE(CPUS_LIMIT), (cpu_set_t *) userdata);
}

static int exclude_list(int root_fd, const char *path, cpu_set_t *set) {
        char buf[SYSFS_VALUE_MAX];
        int r;

        r = sysfs_read_text(root_fd, path, buf, sizeof(buf));
        if (r == -ENOENT)
                return 0; /* this kernel has no such CPUs */
        if (r < 0)
                return r;
        if (streq(buf, "(null)") || streq(buf, " "))
                return 0; /* how older kernels print "none" of nohz_full */
        return cpu_list_parse(buf, CPUS_LIMIT, exclude_cpu, set);
}

int settle_cpus(int root_fd, unsigned *cpus, size_t max) {
        _cleanup_free_ cpu_set_t *set = NULL;
        size_t size = CPU_ALLOC_SIZE(CPUS_LIMIT), n = 0;
        int r;

        set = calloc(1, size);
        if (!set)
                return -ENOMEM;
        if (sched_getaffinity(0, size, set) < 0)
                return -errno;

        r = exclude_list(root_fd, "sys/devices/system/cpu/isolated", set);
        if (r < 0)
                return r;
        r = exclude_list(root_fd, "sys/devices/system/cpu/nohz_full", set);
        if (r < 0)
                return r;

        for (unsigned cpu = 0; cpu < CPUS_LIMIT && n < max; cpu++)
                if (CPU_ISSET_S(cpu, size, set))
                        cpus[n++] = cpu;
        return (int) n;
}

static int pin(unsigned cpu) {
        _cleanup_free_ cpu_set_t *set = NULL;
        size_t size = CPU_ALLOC_SIZE(CPUS_LIMIT);

        set = calloc(1, size);
        if (!set)
                return -ENOMEM;
        CPU_SET_S(cpu, size, set);
        return sched_setaffinity(0, size, set) < 0 ? -errno : 0;
}

static void *settle_thread(void *userdata) {
        struct SettleThread *t = userdata;
        Settle *s = t->settle;
        bool pinned;

        (void) prctl(PR_SET_NAME, "klpd-settle", 0, 0, 0);

        /* Went offline, or out of our cpuset: nothing to do here, but the start waits for everybody. */
        pinned = pin(t->cpu) >= 0;
        atomic_fetch_add(&s->running, 1);
        if (!pinned)
                return NULL;

        for (unsigned i = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); i++) {
                syscall(SYS_getppid);
                sched_yield();
                if (i % CLOCK_EVERY == 0 && now_nsec() > s->end_nsec)
                        break;
        }
        return NULL;
}

/* Waiting here is a loop of yields, not of sleeps: the last thread to start needs this very CPU. */
static void wait_until_running(Settle *s) {
        uint64_t end = now_nsec() + START_WAIT_NSEC;

        while (atomic_load(&s->running) < s->n_threads && now_nsec() < end)
                sched_yield();
}

int settle_start(int root_fd, unsigned max_cpus, uint64_t max_usec, Settle **ret) {
        unsigned cpus[SETTLE_CPUS_MAX];
        pthread_attr_t attr;
        Settle *s;
        int n, r;

        if (max_cpus == 0 || max_cpus > SETTLE_CPUS_MAX)
                max_cpus = SETTLE_CPUS_MAX;
        if (max_usec == 0)
                max_usec = SETTLE_USEC_DEFAULT;
        if (max_usec > SETTLE_USEC_MAX)
                max_usec = SETTLE_USEC_MAX;

        n = settle_cpus(root_fd, cpus, max_cpus);
        if (n < 0)
                return n;
        if (n < 2) { /* the first pass succeeds by itself */
                *ret = NULL;
                return 0;
        }

        s = calloc(1, sizeof(Settle) + (size_t) n * sizeof(struct SettleThread));
        if (!s)
                return -ENOMEM;
        s->end_nsec = now_nsec() + max_usec * 1000;

        r = -pthread_attr_init(&attr);
        if (r < 0) {
                free(s);
                return r;
        }
        r = -pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);

        for (int i = 0; i < n && r >= 0; i++) {
                struct SettleThread *t = s->threads + s->n_threads;

                t->settle = s;
                t->cpu = cpus[i];
                r = -pthread_create(&t->thread, &attr, settle_thread, t);
                if (r >= 0)
                        s->n_threads++;
        }
        pthread_attr_destroy(&attr);
        if (r < 0) {
                settle_stop(s);
                return r;
        }

        wait_until_running(s);
        *ret = s;
        return 0;
}

Settle *settle_stop(Settle *s) {
        if (!s)
                return NULL;

        atomic_store(&s->stop, true);
        for (unsigned i = 0; i < s->n_threads; i++)
                pthread_join(s->threads[i].thread, NULL);
        free(s);
        return NULL;
}
