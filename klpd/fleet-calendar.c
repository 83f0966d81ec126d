/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-calendar.h. No shell: the expression, which policy/ has checked to be of harmless characters, is
 * one argument behind "--". Windows of the same calendar are looked up once.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/fleet-calendar.h"

#define OUTPUT_MAX (256U * 1024U)

typedef struct Begins {
        uint64_t *list;
        size_t n;
} Begins;

static int spawn_analyze(const char *const argv[], int out, int err, pid_t *ret) {
        static const char *const environment[] = {
                        "PATH=/usr/bin:/bin",         "LC_ALL=C", "TZ=UTC", "SYSTEMD_COLORS=0",
                        "SYSTEMD_LOG_TARGET=console", NULL};
        posix_spawn_file_actions_t actions;
        int r;

        r = posix_spawn_file_actions_init(&actions);
        if (r != 0)
                return -r;
        r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
        if (r == 0)
                r = posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
        if (r == 0)
                r = posix_spawnp(ret, argv[0], &actions, NULL, (char *const *) argv,
                                 (char *const *) environment);
        (void) posix_spawn_file_actions_destroy(&actions);
        return -r;
}

/* All of it, up to the bound; NUL-terminated. */
static int read_output(int fd, char *buf, size_t size, size_t *ret_n) {
        size_t n = 0;

        for (;;) {
                ssize_t k = read(fd, buf + n, size - 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n >= size - 1)
                        return -EFBIG;
        }
        buf[n] = 0;
        *ret_n = n;
        return 0;
}

/* Output and errors arrive through one pipe: it is one or the other. */
static int run(const char *const argv[], char *buf, size_t size, size_t *ret_n) {
        int pipes[2], status = 0, r;
        pid_t pid;

        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        r = spawn_analyze(argv, pipes[1], pipes[1], &pid);
        close(pipes[1]);
        if (r < 0) {
                close(pipes[0]);
                return r;
        }
        r = read_output(pipes[0], buf, size, ret_n);
        close(pipes[0]);
        if (r < 0)
                (void) kill(pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        if (r < 0)
                return r;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EINVAL;
}

/* systemd's message, its first line. */
static int refuse(PolicyError *error, const FleetRule *rule, const FleetWindow *w, int r, char *output) {
        char what[640];

        snprintf(what, sizeof(what), "the window \"%.200s\" (%s): %.200s", w->calendar, w->timezone,
                 r == -ENOENT   ? "systemd-analyze(1) is needed to expand it"
                 : r != -EINVAL ? strerror(-r)
                 : *output      ? strtok(output, "\n")
                                : "not a calendar event");
        (void) policy_error_set(error, r, "%s", what);
        if (error)
                snprintf(error->key, sizeof(error->key), "%s", rule->name);
        return r;
}

static int look_up(const FleetRule *rule, const FleetWindow *w, uint64_t now, char *output, Begins *ret,
                   PolicyError *error) {
        uint64_t from = now > w->duration + FLEET_USEC_PER_SEC ? now - w->duration - FLEET_USEC_PER_SEC
                                                               : FLEET_USEC_PER_SEC;
        char base[64], iterations[32], expression[FLEET_PATTERN_MAX + 80], stamp[40];
        const char *argv[] = {"systemd-analyze", "calendar", base, iterations, "--", expression, NULL};
        size_t n = 0;
        int r;

        fleet_format_timestamp(from, stamp, sizeof(stamp)); /* 2026-11-21T06:00:00Z */
        snprintf(base, sizeof(base), "--base-time=%.10s %.8s UTC", stamp, stamp + 11);
        snprintf(iterations, sizeof(iterations), "--iterations=%u", FLEET_CALENDAR_OCCURRENCES);
        snprintf(expression, sizeof(expression), "%s %s", w->calendar, w->timezone);
        *output = 0;
        r = run(argv, output, OUTPUT_MAX, &n);
        if (r < 0)
                return refuse(error, rule, w, r, output);
        ret->list = calloc(FLEET_CALENDAR_OCCURRENCES, sizeof(*ret->list));
        if (!ret->list)
                return -ENOMEM;
        r = fleet_calendar_parse(output, n, ret->list, FLEET_CALENDAR_OCCURRENCES, &ret->n);
        if (r < 0) {
                free(ret->list);
                *ret = (Begins){};
                return refuse(error, rule, w, r, output);
        }
        return 0;
}

static int set_intervals(FleetWindow *w, const Begins *b) {
        _cleanup_free_ FleetInterval *intervals = calloc(b->n + 1, sizeof(*intervals));

        if (!intervals)
                return -ENOMEM;
        for (size_t i = 0; i < b->n; i++)
                intervals[i] = (FleetInterval){b->list[i], b->list[i] + w->duration};
        return fleet_window_set_intervals(w, intervals, b->n);
}

/* A window before this one that was expanded from the same words. */
static const FleetWindow *find_same(const FleetDocument *d, const FleetRule *rule, const FleetWindow *w) {
        for (const FleetRule *r = d->rules; r <= rule; r++)
                for (const FleetWindow *o = r->windows; o < r->windows + r->n_windows && o != w; o++)
                        if (streq(o->calendar, w->calendar) && streq(o->timezone, w->timezone) &&
                            o->duration == w->duration)
                                return o;
        return NULL;
}

static int expand(const FleetDocument *d, const FleetRule *rule, FleetWindow *w, uint64_t now, char *output,
                  PolicyError *error) {
        const FleetWindow *same = find_same(d, rule, w);
        Begins b = {};
        int r;

        if (same)
                return fleet_window_set_intervals(w, same->intervals, same->n_intervals);
        r = look_up(rule, w, now, output, &b, error);
        if (r >= 0)
                r = set_intervals(w, &b);
        free(b.list);
        return r;
}

int fleet_calendar_expand(FleetDocument *d, uint64_t now, PolicyError *error) {
        _cleanup_free_ char *output = malloc(OUTPUT_MAX);
        int r;

        if (!output)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_rules; i++)
                for (size_t k = 0; k < d->rules[i].n_windows; k++) {
                        r = expand(d, &d->rules[i], &d->rules[i].windows[k], now, output, error);
                        if (r < 0)
                                return r;
                }
        return 0;
}
