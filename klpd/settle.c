/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See settle.h. Each thread is born on its CPU, reports for duty, and then loops until it is told to stop or its time
 * is over. The system call in the loop is what matters: at its return to user space the kernel switches the
 * thread to the new patch state. The caller's own CPU gets none: while the core makes its pass the caller is
 * current there, and a thread beside it would take half of the CPU from the call that is to be made faster.
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
        cpu_set_t *affinity; /* the caller's, from before */
        unsigned n_threads;
        pthread_t threads[];
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

static void *settle_thread(void *userdata) {
        Settle *s = userdata;

        (void) prctl(PR_SET_NAME, "klpd-settle", 0, 0, 0);
        atomic_fetch_add(&s->running, 1);
        for (unsigned i = 0; !atomic_load_explicit(&s->stop, memory_order_relaxed); i++) {
                syscall(SYS_getppid);
                sched_yield();
                if (i % CLOCK_EVERY == 0 && now_nsec() > s->end_nsec)
                        break;
        }
        return NULL;
}

/* A CPU that went offline, or out of our cpuset, meanwhile: nothing to do there. */
static int start_thread(Settle *s, pthread_attr_t *attr, unsigned cpu, cpu_set_t *set) {
        size_t size = CPU_ALLOC_SIZE(CPUS_LIMIT);
        int r;

        CPU_ZERO_S(size, set);
        CPU_SET_S(cpu, size, set);
        r = -pthread_attr_setaffinity_np(attr, size, set);
        if (r >= 0)
                r = -pthread_create(&s->threads[s->n_threads], attr, settle_thread, s);
        if (r >= 0)
                s->n_threads++;
        return r == -EINVAL ? 0 : r;
}

/* For as long as the call lasts the caller stays on the CPU that has no thread. */
static int stay_on(Settle *s, unsigned cpu, cpu_set_t *set) {
        size_t size = CPU_ALLOC_SIZE(CPUS_LIMIT);

        s->affinity = calloc(1, size);
        if (!s->affinity)
                return -ENOMEM;
        if (sched_getaffinity(0, size, s->affinity) < 0) {
                s->affinity = (free(s->affinity), NULL);
                return -errno;
        }
        CPU_ZERO_S(size, set);
        CPU_SET_S(cpu, size, set);
        return sched_setaffinity(0, size, set) < 0 ? -errno : 0;
}

static int start_threads(Settle *s, const unsigned *cpus, unsigned n, unsigned own) {
        _cleanup_free_ cpu_set_t *set = NULL;
        pthread_attr_t attr;
        int r;

        set = calloc(1, CPU_ALLOC_SIZE(CPUS_LIMIT));
        if (!set)
                return -ENOMEM;
        r = stay_on(s, own, set);
        if (r < 0)
                return r;
        r = -pthread_attr_init(&attr);
        if (r < 0)
                return r;
        r = -pthread_attr_setstacksize(&attr, THREAD_STACK_SIZE);
        for (unsigned i = 0; i < n && r >= 0; i++)
                if (cpus[i] != own)
                        r = start_thread(s, &attr, cpus[i], set);
        pthread_attr_destroy(&attr);
        return r;
}

/* Where the caller is now, if it may be used, else the first that may. */
static unsigned choose_own(const unsigned *cpus, unsigned n) {
        int here = sched_getcpu();

        for (unsigned i = 0; i < n; i++)
                if (here >= 0 && cpus[i] == (unsigned) here)
                        return cpus[i];
        return cpus[0];
}

/* A loop of yields, not of sleeps: this CPU must not become idle. */
static void wait_until_running(Settle *s) {
        uint64_t end = now_nsec() + START_WAIT_NSEC;

        while (atomic_load(&s->running) < s->n_threads && now_nsec() < end)
                sched_yield();
}

int settle_start(int root_fd, unsigned max_cpus, uint64_t max_usec, Settle **ret) {
        unsigned cpus[SETTLE_CPUS_MAX];
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

        s = calloc(1, sizeof(Settle) + (size_t) n * sizeof(s->threads[0]));
        if (!s)
                return -ENOMEM;
        s->end_nsec = now_nsec() + max_usec * 1000;
        r = start_threads(s, cpus, (unsigned) n, choose_own(cpus, (unsigned) n));
        if (r < 0) {
                settle_stop(s);
                return r;
        }

        wait_until_running(s);
        *ret = s;
        return 0;
}

void settle_end(Settle *s) {
        if (s)
                atomic_store(&s->stop, true);
}

Settle *settle_stop(Settle *s) {
        if (!s)
                return NULL;

        settle_end(s);
        for (unsigned i = 0; i < s->n_threads; i++)
                pthread_join(s->threads[i], NULL);
        if (s->affinity)
                (void) sched_setaffinity(0, CPU_ALLOC_SIZE(CPUS_LIMIT), s->affinity);
        free(s->affinity);
        free(s);
        return NULL;
}
