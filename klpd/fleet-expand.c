/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fleet-expand.h. The child shares nothing but the pipe: it has a copy of the documents, in which it
 * expands the windows, and writes for each document
 *
 *   uint32_t problem: 0, or the length of a text that follows
 *   for each window of each rule, if there is no problem: uint32_t n, MORE added if it opens again after these,
 *   then n FleetInterval
 *
 * It writes when it has all, so that a pipe that isn't read can't make a difference. Both sides are the same
 * program, and still every length is checked: the child runs another program's output through its memory.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/fleet-calendar.h"
#include "klpd/fleet-expand.h"
#include "klpd/livepatch-sysfs-read.h"

#define PROBLEM_MAX 1024U
#define READ_SIZE 65536U
#define MORE (UINT32_C(1) << 31)

struct FleetExpand {
        FleetDocument **list;
        size_t n;
        FleetExpandCallback callback;
        void *userdata;
        sd_event_source *output, *deadline;
        pid_t pid;
        int fd;
        char *answer;
        size_t size, max;
};

bool fleet_document_has_windows(const FleetDocument *d) {
        for (size_t i = 0; i < d->n_rules; i++)
                if (d->rules[i].n_windows > 0)
                        return true;
        return false;
}

static void stop(FleetExpand *e) {
        e->output = sd_event_source_disable_unref(e->output);
        e->deadline = sd_event_source_disable_unref(e->deadline);
        if (e->pid <= 0)
                return;
        /* Its group: systemd-analyze, too. */
        (void) kill(-e->pid, SIGKILL);
        (void) kill(e->pid, SIGKILL);
        while (waitpid(e->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        e->pid = 0;
}

FleetExpand *fleet_expand_free(FleetExpand *e) {
        if (!e)
                return NULL;
        stop(e);
        closep(&e->fd);
        free(e->answer);
        free(e->list);
        free(e);
        return NULL;
}

/* ---- the child ---- */

static bool put(FILE *f, const void *bytes, size_t size) {
        return size == 0 || fwrite(bytes, size, 1, f) == 1;
}

static bool put_windows(FILE *f, const FleetDocument *d) {
        for (size_t i = 0; i < d->n_rules; i++)
                for (size_t k = 0; k < d->rules[i].n_windows; k++) {
                        const FleetWindow *w = &d->rules[i].windows[k];
                        uint32_t n = (uint32_t) w->n_intervals | (w->more ? MORE : 0);

                        if (!put(f, &n, sizeof(n)) ||
                            !put(f, w->intervals, w->n_intervals * sizeof(*w->intervals)))
                                return false;
                }
        return true;
}

static bool put_document(FILE *f, FleetDocument *d, uint64_t now) {
        PolicyError error = {};
        char text[PROBLEM_MAX] = "";
        uint32_t n = 0;
        int r;

        r = fleet_calendar_expand(d, now, &error);
        if (r < 0) {
                if (!*error.message)
                        (void) policy_error_set(&error, r, "%s", strerror(-r));
                policy_error_format(&error, NULL, text, sizeof(text));
                n = (uint32_t) strlen(text);
        }
        return put(f, &n, sizeof(n)) && put(f, text, n) && (n > 0 || put_windows(f, d));
}

static _Noreturn void child(FleetExpand *e, int fd, pid_t parent, uint64_t now) {
        sigset_t none;
        FILE *f;

        (void) setpgid(0, 0);
        (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
                _exit(1);
        (void) sigemptyset(&none);
        (void) sigprocmask(SIG_SETMASK, &none, NULL);
        f = fdopen(fd, "w");
        if (!f)
                _exit(1);
        for (size_t i = 0; i < e->n; i++)
                if (!put_document(f, e->list[i], now))
                        _exit(1);
        _exit(fclose(f) == 0 ? 0 : 1);
}

/* ---- its answer ---- */

typedef struct Reader {
        const char *p;
        size_t left;
} Reader;

static bool get(Reader *r, void *to, size_t size) {
        if (size > r->left)
                return false;
        memcpy(to, r->p, size);
        r->p += size;
        r->left -= size;
        return true;
}

/* Into windows, if d isn't NULL. */
static int read_windows(Reader *r, const FleetDocument *shape, FleetDocument *d) {
        for (size_t i = 0; i < shape->n_rules; i++)
                for (size_t k = 0; k < shape->rules[i].n_windows; k++) {
                        _cleanup_free_ FleetInterval *intervals = NULL;
                        uint32_t n;
                        bool more;
                        int q;

                        if (!get(r, &n, sizeof(n)))
                                return -EBADMSG;
                        more = n & MORE;
                        n &= ~MORE;
                        if (n > FLEET_CALENDAR_OCCURRENCES)
                                return -EBADMSG;
                        intervals = calloc(n + 1, sizeof(*intervals));
                        if (!intervals)
                                return -ENOMEM;
                        if (!get(r, intervals, n * sizeof(*intervals)))
                                return -EBADMSG;
                        if (!d)
                                continue;
                        q = fleet_window_set_intervals(&d->rules[i].windows[k], intervals, n);
                        if (q < 0)
                                return q;
                        d->rules[i].windows[k].more = more;
                }
        return 0;
}

/* Twice over the same bytes: first only to see that all of them fit. */
static int read_answer(FleetExpand *e, char **problems, bool write) {
        Reader r = { e->answer, e->size };
        int q;

        for (size_t i = 0; i < e->n; i++) {
                char text[PROBLEM_MAX];
                uint32_t n;

                if (!get(&r, &n, sizeof(n)) || n >= sizeof(text) || !get(&r, text, n))
                        return -EBADMSG;
                if (n == 0) {
                        q = read_windows(&r, e->list[i], write ? e->list[i] : NULL);
                        if (q < 0)
                                return q;
                } else if (write) {
                        text[n] = 0;
                        problems[i] = strdup(text);
                        if (!problems[i])
                                return -ENOMEM;
                }
        }
        return r.left > 0 ? -EBADMSG : 0;
}

static void finish(FleetExpand *e, int r, const char *text, char *const *problems) {
        stop(e);
        e->callback(r, text, problems, e->userdata);
}

static void conclude(FleetExpand *e) {
        char **problems = calloc(e->n + 1, sizeof(*problems));
        int status = 0, r = problems ? 0 : -ENOMEM;
        size_t n = e->n;

        e->output = sd_event_source_disable_unref(e->output);
        /* Its end of the pipe is closed: it is ending. */
        while (waitpid(e->pid, &status, 0) < 0 && errno == EINTR)
                ;
        e->pid = 0;
        if (r >= 0 && (!WIFEXITED(status) || WEXITSTATUS(status) != 0))
                r = -EPROTO;
        if (r >= 0)
                r = read_answer(e, problems, false);
        if (r >= 0)
                r = read_answer(e, problems, true);
        finish(e, r, r >= 0 ? "" : r == -ENOMEM ? "out of memory" : "what expands windows failed", problems);
        for (size_t i = 0; problems && i < n; i++)
                free(problems[i]);
        free(problems);
}

static int on_output(sd_event_source *source, int fd, uint32_t revents, void *userdata) {
        FleetExpand *e = userdata;
        char *bigger;
        ssize_t n;

        bigger = realloc(e->answer, e->size + READ_SIZE);
        if (!bigger) {
                finish(e, -ENOMEM, "out of memory", NULL);
                return 0;
        }
        e->answer = bigger;
        n = read(fd, e->answer + e->size, READ_SIZE);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
                return 0;
        if (n < 0)
                finish(e, -errno, "can't read from what expands windows", NULL);
        else if (n == 0)
                conclude(e);
        else {
                e->size += (size_t) n;
                if (e->size > e->max)
                        finish(e, -EFBIG, "what expands windows writes without end", NULL);
        }
        return 0;
}

static int on_deadline(sd_event_source *source, uint64_t usec, void *userdata) {
        finish(userdata, -ETIMEDOUT, "expanding the windows takes too long (systemd-analyze)", NULL);
        return 0;
}

static size_t answer_max(const FleetExpand *e) {
        size_t max = e->n * (sizeof(uint32_t) + PROBLEM_MAX);

        for (size_t i = 0; i < e->n; i++)
                for (size_t k = 0; k < e->list[i]->n_rules; k++)
                        max += e->list[i]->rules[k].n_windows *
                               (sizeof(uint32_t) + FLEET_CALENDAR_OCCURRENCES * sizeof(FleetInterval));
        return max;
}

int fleet_expand_new(sd_event *event, FleetDocument *const *documents, size_t n, uint64_t now,
                     FleetExpandCallback callback, void *userdata, FleetExpand **ret) {
        _cleanup_(fleet_expand_freep) FleetExpand *e = NULL;
        pid_t parent = getpid();
        int pipes[2], r;

        e = calloc(1, sizeof(*e));
        if (!e)
                return -ENOMEM;
        e->fd = -EBADF;
        e->list = calloc(n + 1, sizeof(*e->list));
        if (!e->list)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                e->list[i] = documents[i];
        e->n = n;
        e->max = answer_max(e);
        e->callback = callback;
        e->userdata = userdata;
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return -errno;
        e->fd = pipes[0];
        e->pid = fork();
        if (e->pid == 0)
                child(e, pipes[1], parent, now);
        r = e->pid < 0 ? -errno : 0;
        close(pipes[1]);
        if (r >= 0 && fcntl(e->fd, F_SETFL, O_NONBLOCK) < 0)
                r = -errno;
        if (r >= 0)
                r = sd_event_add_io(event, &e->output, e->fd, EPOLLIN, on_output, e);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &e->deadline, CLOCK_MONOTONIC, FLEET_EXPAND_TIMEOUT_USEC,
                                               0, on_deadline, e);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(e->output, "fleet-expand");
        *ret = TAKE_PTR(e);
        return 0;
}
