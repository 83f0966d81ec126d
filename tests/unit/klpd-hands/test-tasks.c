/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* tasks and settle: made trees of /proc and of the CPUs' lists; the threads of the assist themselves. */
#include <dirent.h>
#include <sched.h>
#include <unistd.h>

#include "klpd/settle.h"
#include "klpd/tasks.h"
#include "test-util.h"

#include <stdio.h>

static int setup(void **state) {
        Tree *t = calloc(1, sizeof(Tree));

        tree_init(t);
        *state = t;
        return 0;
}

static int teardown(void **state) {
        tree_done(*state);
        free(*state);
        return 0;
}

static void add_task(Tree *t, unsigned pid, unsigned tid, const char *patch_state, const char *comm,
                     const char *flags) {
        char path[128], text[256];

        for (unsigned i = 0; i < 2; i++) {
                if (i == 0)
                        snprintf(path, sizeof(path), "proc/%u/task/%u", pid, tid);
                else if (pid == tid)
                        snprintf(path, sizeof(path), "proc/%u", pid);
                else
                        continue;
                tree_mkdir(t, path);
                snprintf(text, sizeof(text), "%s/patch_state", path);
                tree_write(t, text, patch_state);
                strcat(path, "/stat");
                snprintf(text, sizeof(text), "%u (%s) S 1 1 1 0 -1 %s 0 0 0 0\n", tid, comm, flags);
                tree_write(t, path, text);
        }
}

static const BlockingTask *find(const BlockingTask *tasks, size_t n, unsigned tid) {
        for (size_t i = 0; i < n; i++)
                if (tasks[i].tid == tid)
                        return tasks + i;
        fail_msg("task %u isn't there", tid);
        return NULL;
}

static void test_tasks_that_have_not_switched_are_in_the_way(void **state) {
        Tree *t = *state;
        BlockingTask *tasks;
        size_t n, total;

        add_task(t, 10, 10, "0\n", "a) b (c", "4194304");
        add_task(t, 11, 11, "1\n", "done", "4194304");
        add_task(t, 12, 12, "-1\n", "new", "4194304");
        add_task(t, 13, 13, "0\n", "kworker/u4:1-events_unbound", "2129984");
        add_task(t, 20, 20, "1\n", "many", "4194304");
        add_task(t, 20, 21, "0\n", "thread", "4194304");
        tree_mkdir(t, "proc/sys");

        assert_int_equal(tasks_blocking(t->fd, true, 100, &tasks, &n, &total), 0);
        assert_int_equal(n, 3);
        assert_int_equal(total, 3);
        assert_string_equal(find(tasks, n, 10)->comm, "a) b (c");
        assert_false(find(tasks, n, 10)->kthread);
        assert_true(find(tasks, n, 13)->kthread);
        assert_string_equal(find(tasks, n, 13)->comm, "kworker/u4:1-ev");
        assert_int_equal(find(tasks, n, 21)->pid, 20);
        free(tasks);

        assert_int_equal(tasks_blocking(t->fd, false, 1, &tasks, &n, &total), 0);
        assert_int_equal(n, 1);
        assert_int_equal(total, 2);
        free(tasks);
}

static void test_a_task_that_is_gone_is_in_nobodys_way(void **state) {
        Tree *t = *state;
        BlockingTask *tasks;
        size_t n, total;

        tree_mkdir(t, "proc/10/task/10");
        assert_int_equal(tasks_blocking(t->fd, true, 100, &tasks, &n, &total), 0);
        assert_int_equal(n, 0);
        assert_null(tasks);
}

static void test_an_impossible_patch_state_is_refused(void **state) {
        Tree *t = *state;
        BlockingTask *tasks;
        size_t n, total;

        add_task(t, 10, 10, "7\n", "x", "0");
        assert_int_equal(tasks_blocking(t->fd, true, 100, &tasks, &n, &total), -EBADMSG);
}

typedef struct Seen {
        unsigned cpus[16];
        size_t n;
} Seen;

static void see(unsigned cpu, void *userdata) {
        Seen *s = userdata;

        assert_true(s->n < ELEMENTSOF(s->cpus));
        s->cpus[s->n++] = cpu;
}

static void test_lists_of_cpus(void **state) {
        static const char *const bad[] = {"x",  "1-",   "-1",  "3-1",
                                          "1,", "1,,2", "1 2", "99999999999999999999"};
        Seen s = {};

        assert_int_equal(cpu_list_parse("", 100, see, &s), 0);
        assert_int_equal(s.n, 0);
        assert_int_equal(cpu_list_parse("0-2,8,10-11", 11, see, &s), 0);
        assert_int_equal(s.n, 5);
        assert_int_equal(s.cpus[3], 8);
        assert_int_equal(s.cpus[4], 10);
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                s = (Seen) {};
                assert_int_equal(cpu_list_parse(bad[i], 4, see, &s), -EBADMSG);
        }
}

static unsigned count_threads(void) {
        DIR *d = opendir("/proc/self/task");
        unsigned n = 0;

        while (readdir(d))
                n++;
        closedir(d);
        return n - 2;
}

static void test_isolated_and_nohz_full_cpus_are_left_alone(void **state) {
        unsigned cpus[SETTLE_CPUS_MAX], left[SETTLE_CPUS_MAX];
        Tree *t = *state;
        char text[32];
        int all, n;

        tree_write(t, "sys/devices/system/cpu/isolated", "\n");
        tree_write(t, "sys/devices/system/cpu/nohz_full", "(null)\n");
        all = settle_cpus(t->fd, cpus, ELEMENTSOF(cpus));
        assert_true(all >= 1);

        snprintf(text, sizeof(text), "%u\n", cpus[0]);
        tree_write(t, "sys/devices/system/cpu/isolated", text);
        n = settle_cpus(t->fd, left, ELEMENTSOF(left));
        assert_int_equal(n, all - 1);
        for (int i = 0; i < n; i++)
                assert_int_not_equal(left[i], cpus[0]);

        tree_write(t, "sys/devices/system/cpu/nohz_full", "0-8191\n");
        assert_int_equal(settle_cpus(t->fd, left, ELEMENTSOF(left)), 0);
}

static void test_the_assist_runs_one_thread_on_every_other_cpu_and_ends(void **state) {
        unsigned cpus[SETTLE_CPUS_MAX], before = count_threads();
        Tree *t = *state;
        Settle *s = NULL;
        int n;

        n = settle_cpus(t->fd, cpus, ELEMENTSOF(cpus));
        assert_int_equal(settle_start(t->fd, 0, 0, &s), 0);
        if (n < 2) {
                assert_null(s);
                return;
        }
        assert_non_null(s);
        assert_int_equal(count_threads(), before + (unsigned) n - 1);
        assert_null(settle_stop(s));
        while (count_threads() != before) /* a joined thread leaves /proc a moment later */
                sched_yield();

        /* Capped to one CPU there is nothing to assist. */
        assert_int_equal(settle_start(t->fd, 1, 0, &s), 0);
        assert_null(s);
}

/* What the call that comes next finds: each thread, the caller too, is where it belongs, as anybody's; afterwards the
 * caller may go where it could before. */
static void test_caller_and_assist_sit_on_every_allowed_cpu_before_the_call_begins(void **state) {
        unsigned cpus[SETTLE_CPUS_MAX];
        bool found[SETTLE_CPUS_MAX] = {};
        Tree *t = *state;
        cpu_set_t before, after;
        struct dirent *de;
        Settle *s = NULL;
        DIR *d;
        int n;

        n = settle_cpus(t->fd, cpus, ELEMENTSOF(cpus));
        if (n < 2)
                skip();
        assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
        assert_int_equal(settle_start(t->fd, 0, SETTLE_USEC_MAX, &s), 0);
        d = opendir("/proc/self/task");
        assert_non_null(d);
        while ((de = readdir(d))) {
                pid_t tid = atoi(de->d_name);
                cpu_set_t set;

                if (tid == 0)
                        continue;
                assert_int_equal(sched_getaffinity(tid, sizeof(set), &set), 0);
                for (int i = 0; i < n; i++)
                        if (cpus[i] < CPU_SETSIZE && CPU_COUNT(&set) == 1 && CPU_ISSET(cpus[i], &set)) {
                                assert_false(found[i]);
                                found[i] = true;
                                assert_int_equal(sched_getscheduler(tid), SCHED_OTHER);
                        }
        }
        closedir(d);
        settle_stop(s);
        for (int i = 0; i < n; i++)
                if (cpus[i] < CPU_SETSIZE)
                        assert_true(found[i]);
        assert_int_equal(sched_getaffinity(0, sizeof(after), &after), 0);
        assert_true(CPU_EQUAL(&before, &after));
}

static void test_on_one_cpu_nothing_is_assisted(void **state) {
        unsigned cpus[SETTLE_CPUS_MAX], before = count_threads();
        cpu_set_t all, one;
        Tree *t = *state;
        Settle *s = NULL;

        assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
        assert_true(settle_cpus(t->fd, cpus, ELEMENTSOF(cpus)) >= 1);
        CPU_ZERO(&one);
        CPU_SET(cpus[0], &one);
        assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
        assert_int_equal(settle_cpus(t->fd, cpus, ELEMENTSOF(cpus)), 1);
        assert_int_equal(settle_start(t->fd, 0, 0, &s), 0);
        assert_null(s);
        assert_int_equal(count_threads(), before);
        assert_int_equal(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void test_the_assist_ends_by_itself_when_its_time_is_over(void **state) {
        unsigned before = count_threads(), cpus[SETTLE_CPUS_MAX];
        Tree *t = *state;
        Settle *s = NULL;

        if (settle_cpus(t->fd, cpus, ELEMENTSOF(cpus)) < 2)
                skip();
        assert_int_equal(settle_start(t->fd, 0, 1000, &s), 0);
        while (count_threads() > before)
                sched_yield(); /* the test's own time limit is the bound */
        settle_stop(s);
}

static void test_broken_lists_of_cpus_are_errors(void **state) {
        unsigned cpus[4];
        Tree *t = *state;

        tree_write(t, "sys/devices/system/cpu/isolated", "3-1\n");
        assert_int_equal(settle_cpus(t->fd, cpus, 4), -EBADMSG);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
        static const struct CMUnitTest tests[] = {
                T(test_tasks_that_have_not_switched_are_in_the_way),
                T(test_a_task_that_is_gone_is_in_nobodys_way),
                T(test_an_impossible_patch_state_is_refused),
                T(test_lists_of_cpus),
                T(test_isolated_and_nohz_full_cpus_are_left_alone),
                T(test_the_assist_runs_one_thread_on_every_other_cpu_and_ends),
                T(test_caller_and_assist_sit_on_every_allowed_cpu_before_the_call_begins),
                T(test_on_one_cpu_nothing_is_assisted),
                T(test_the_assist_ends_by_itself_when_its_time_is_over),
                T(test_broken_lists_of_cpus_are_errors),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
