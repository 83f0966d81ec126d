/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-calendar.h. No shell: the expression, which policy/ has checked to be of harmless characters, is
 * one argument behind "--". Windows of the same calendar are looked up once. A document can't make this long:
 * systemd gives up on an expression after a bounded search, and the number of look-ups is bounded here.
 */
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/fleet-calendar.h"

#define OUTPUT_MAX (256U * 1024U)

typedef struct Begins {
        uint64_t *list;
        size_t n;
} Begins;

/* What one document comes to. */
typedef struct Expansion {
        const FleetWindow *different[FLEET_CALENDAR_DIFFERENT_MAX]; /* with intervals */
        size_t n_different, n;
        uint64_t now;
        char *output; /* of systemd-analyze, OUTPUT_MAX */
        PolicyError *error;
} Expansion;

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

static _printf_(4, 5) int refuse(PolicyError *error, const FleetRule *rule, int r, const char *format, ...) {
        char what[640];
        va_list ap;

        va_start(ap, format);
        (void) vsnprintf(what, sizeof(what), format, ap);
        va_end(ap);
        (void) policy_error_set(error, r, "%s", what);
        if (error)
                snprintf(error->key, sizeof(error->key), "%s", rule->name);
        return r;
}

/* systemd's message, its first line. */
static int refuse_window(PolicyError *error, const FleetRule *rule, const FleetWindow *w, int r, char *output) {
        return refuse(error, rule, r, "the window \"%.200s\" (%s): %.200s", w->calendar, w->timezone,
                      r == -ENOENT   ? "systemd-analyze(1) is needed to expand it"
                      : r != -EINVAL ? strerror(-r)
                      : *output      ? strtok(output, "\n")
                                     : "not a calendar event");
}

static int look_up(Expansion *e, const FleetRule *rule, const FleetWindow *w, Begins *ret) {
        uint64_t from = e->now > w->duration + FLEET_USEC_PER_SEC ? e->now - w->duration - FLEET_USEC_PER_SEC
                                                                  : FLEET_USEC_PER_SEC;
        char base[64], iterations[32], expression[FLEET_PATTERN_MAX + 80], stamp[40];
        const char *argv[] = {"systemd-analyze", "calendar", base, iterations, "--", expression, NULL};
        size_t n = 0;
        int r;

        fleet_format_timestamp(from, stamp, sizeof(stamp)); /* 2026-11-21T06:00:00Z */
        snprintf(base, sizeof(base), "--base-time=%.10s %.8s UTC", stamp, stamp + 11);
        snprintf(iterations, sizeof(iterations), "--iterations=%u", FLEET_CALENDAR_OCCURRENCES);
        snprintf(expression, sizeof(expression), "%s %s", w->calendar, w->timezone);
        *e->output = 0;
        r = run(argv, e->output, OUTPUT_MAX, &n);
        if (r < 0)
                return refuse_window(e->error, rule, w, r, e->output);
        ret->list = calloc(FLEET_CALENDAR_OCCURRENCES, sizeof(*ret->list));
        if (!ret->list)
                return -ENOMEM;
        r = fleet_calendar_parse(e->output, n, ret->list, FLEET_CALENDAR_OCCURRENCES, &ret->n);
        return r < 0 ? refuse_window(e->error, rule, w, r, e->output) : 0;
}

static bool is_all(const Begins *b) {
        return b->n < FLEET_CALENDAR_OCCURRENCES;
}

static int set_intervals(FleetWindow *w, const Begins *b) {
        _cleanup_free_ FleetInterval *intervals = calloc(b->n + 1, sizeof(*intervals));

        if (!intervals)
                return -ENOMEM;
        for (size_t i = 0; i < b->n; i++)
                intervals[i] = (FleetInterval){b->list[i], b->list[i] + w->duration};
        w->more = !is_all(b);
        return fleet_window_set_intervals(w, intervals, b->n);
}

/* A window before this one that was expanded from the same words. */
static const FleetWindow *find_same(const Expansion *e, const FleetWindow *w) {
        for (size_t i = 0; i < e->n_different; i++) {
                const FleetWindow *o = e->different[i];

                if (streq(o->calendar, w->calendar) && streq(o->timezone, w->timezone) &&
                    o->duration == w->duration)
                        return o;
        }
        return NULL;
}

static int expand_new(Expansion *e, const FleetRule *rule, FleetWindow *w) {
        Begins b = {};
        int r;

        if (e->n_different >= FLEET_CALENDAR_DIFFERENT_MAX)
                return refuse(e->error, rule, -E2BIG, "a document may have %u different windows at most",
                              FLEET_CALENDAR_DIFFERENT_MAX);
        r = look_up(e, rule, w, &b);
        if (r >= 0 && !is_all(&b) && b.list[b.n - 1] - b.list[0] < FLEET_CALENDAR_COVER_USEC)
                r = refuse(e->error, rule, -E2BIG,
                           "the window \"%.200s\" opens %u times within %" PRIu64 " s, and may do so %u times an "
                           "hour at most; one that opens less often and has a longer duration does the same",
                           w->calendar, FLEET_CALENDAR_OCCURRENCES,
                           (b.list[b.n - 1] - b.list[0]) / FLEET_USEC_PER_SEC, FLEET_CALENDAR_OCCURRENCES);
        if (r >= 0)
                r = set_intervals(w, &b);
        if (r >= 0)
                e->different[e->n_different++] = w;
        free(b.list);
        return r;
}

static int expand(Expansion *e, const FleetRule *rule, FleetWindow *w) {
        const FleetWindow *same;

        if (++e->n > FLEET_CALENDAR_WINDOWS_MAX)
                return refuse(e->error, rule, -E2BIG, "a document may have %u windows at most, in all of its rules",
                              FLEET_CALENDAR_WINDOWS_MAX);
        same = find_same(e, w);
        if (!same)
                return expand_new(e, rule, w);
        w->more = same->more;
        return fleet_window_set_intervals(w, same->intervals, same->n_intervals);
}

int fleet_calendar_expand(FleetDocument *d, uint64_t now, PolicyError *error) {
        _cleanup_free_ char *output = malloc(OUTPUT_MAX);
        Expansion e = {.now = now, .output = output, .error = error};
        int r;

        if (!output)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_rules; i++)
                for (size_t k = 0; k < d->rules[i].n_windows; k++) {
                        r = expand(&e, &d->rules[i], &d->rules[i].windows[k]);
                        if (r < 0)
                                return r;
                }
        return 0;
}
