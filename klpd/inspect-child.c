/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See inspect-child.h. The run collects the child's output until its end, waits for the child, then reads both. */
#include "klpd/inspect-child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "policy/json.h"

/* The child bounds its own work, in processor time (inspect-sandbox.c). This is for one that neither works
 * nor ends: where processors are short an innocent one waits for long. */
#define TIMEOUT_USEC_DEFAULT (60 * 1000000ULL)
#define OUTPUT_MAX (32U * 1024U * 1024U)
#define READS_PER_WAKEUP 16
#define ARGUMENTS_MAX 8U

struct InspectChild {
        sd_event_source *output_source, *child_source, *timeout_source;
        InspectChildCallback callback;
        void *userdata;
        uint64_t timeout_usec;
        const char *what;
        pid_t pid; /* 0: none, or waited for */
        int pidfd;
        int output_fd;
        char *output;
        size_t n_output;
        bool output_ended;
};

static void stop_child(InspectChild *c) {
        siginfo_t info;

        if (c->pid <= 0)
                return;
        (void) kill(c->pid, SIGKILL);
        while (waitid(P_PID, (id_t) c->pid, &info, WEXITED) < 0 && errno == EINTR)
                ;
        c->pid = 0;
}

static void stop_watching(InspectChild *c) {
        c->output_source = sd_event_source_disable_unref(c->output_source);
        c->child_source = sd_event_source_disable_unref(c->child_source);
        c->timeout_source = sd_event_source_disable_unref(c->timeout_source);
}

InspectChild *inspect_child_free(InspectChild *c) {
        if (!c)
                return NULL;
        stop_watching(c);
        stop_child(c);
        closep(&c->pidfd);
        closep(&c->output_fd);
        free(c->output);
        free(c);
        return NULL;
}

/* The caller may free c in the callback. */
static void finish(InspectChild *c, int error, const char *text, struct json_object *answer) {
        stop_watching(c);
        stop_child(c);
        c->callback(error, text, answer, c->userdata);
}

struct json_object *inspect_answer_member(struct json_object *answer, const char *key, json_type type) {
        struct json_object *value;

        return json_object_object_get_ex(answer, key, &value) && json_object_is_type(value, type) ? value
                                                                                                  : NULL;
}

/* {"error", "message"}: it was read, and refused. Returns what the child says, if that can be. */
static int refused(struct json_object *answer, const char **ret_text) {
        struct json_object *error = inspect_answer_member(answer, "error", json_type_int),
                           *message = inspect_answer_member(answer, "message", json_type_string);
        int64_t e;

        if (!error)
                return 0;
        e = json_object_get_int64(error);
        if (e <= 0 || e > 4095 || !message || json_object_get_string_len(message) > 500)
                return -EPROTO;
        *ret_text = json_object_get_string(message);
        return (int) -e;
}

static int read_answer(InspectChild *c, struct json_object **ret, const char **ret_text) {
        int r;

        *ret_text = "klpd-inspect printed what is no answer";
        r = json_parse_strict(c->output ?: "", c->n_output, ret, NULL);
        if (r < 0)
                return r == -ENOMEM ? r : -EPROTO;
        if (!json_object_is_type(*ret, json_type_object))
                return -EPROTO;
        return refused(*ret, ret_text);
}

static void conclude(InspectChild *c, const siginfo_t *end) {
        struct json_object *answer = NULL;
        const char *text = "";
        char buf[160];
        int r;

        if (end->si_code != CLD_EXITED || end->si_status != 0) {
                if (end->si_code == CLD_EXITED)
                        snprintf(buf, sizeof(buf), "klpd-inspect failed with status %d", end->si_status);
                else
                        snprintf(buf, sizeof(buf), "klpd-inspect was killed by signal %d (%s) while it read %s",
                                 end->si_status, strsignal(end->si_status), c->what);
                finish(c, -EPROTO, buf, NULL);
                return;
        }

        r = read_answer(c, &answer, &text);
        finish(c, r, r < 0 ? text : "", r < 0 ? NULL : answer);
        json_object_put(answer);
}

static int on_child(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        InspectChild *c = userdata;
        siginfo_t info = {};

        /* What it has printed comes first; the pipe's end turns this source on again. */
        if (!c->output_ended)
                return sd_event_source_set_enabled(s, SD_EVENT_OFF);

        if (waitid(P_PID, (id_t) c->pid, &info, WEXITED | WNOHANG) < 0) {
                c->pid = 0;
                finish(c, -EPROTO, "klpd-inspect vanished", NULL);
                return 0;
        }
        if (info.si_pid == 0)
                return 0;

        c->pid = 0;
        conclude(c, &info);
        return 0;
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        InspectChild *c = userdata;

        for (unsigned i = 0; i < READS_PER_WAKEUP; i++) {
                char buf[65536], *bigger;
                ssize_t n;

                n = read(fd, buf, sizeof(buf));
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return 0;
                if (n < 0) {
                        finish(c, -errno, "can't read what klpd-inspect prints", NULL);
                        return 0;
                }
                if (n == 0) {
                        c->output_ended = true;
                        c->output_source = sd_event_source_disable_unref(c->output_source);
                        return sd_event_source_set_enabled(c->child_source, SD_EVENT_ON);
                }

                if (c->n_output + (size_t) n > OUTPUT_MAX) {
                        finish(c, -E2BIG, "klpd-inspect prints without end", NULL);
                        return 0;
                }
                bigger = realloc(c->output, c->n_output + (size_t) n);
                if (!bigger) {
                        finish(c, -ENOMEM, "out of memory", NULL);
                        return 0;
                }
                c->output = bigger;
                memcpy(c->output + c->n_output, buf, (size_t) n);
                c->n_output += (size_t) n;
        }
        return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata) {
        InspectChild *c = userdata;
        char text[128];

        snprintf(text, sizeof(text), "klpd-inspect needed more than %" PRIu64 " ms to read %s, and was killed",
                 c->timeout_usec / 1000, c->what);
        finish(c, -ETIMEDOUT, text, NULL);
        return 0;
}

/* Not our standard error: what is written there is taken for klpd's own words by the journal. */
static int add_actions(posix_spawn_file_actions_t *actions, const int *fds, size_t n_fds, int output_fd) {
        int r;

        r = -posix_spawn_file_actions_adddup2(actions, output_fd, 1);
        if (r >= 0)
                r = -posix_spawn_file_actions_addopen(actions, 2, "/dev/null", O_WRONLY, 0);
        for (size_t i = 0; r >= 0 && i < n_fds; i++)
                r = -posix_spawn_file_actions_adddup2(actions, fds[i], i == 0 ? 0 : (int) i + 2);
        return r;
}

/* The child gets these descriptors and an empty environment; everything else is close-on-exec. */
static int spawn_child(InspectChild *c, const InspectChildSpec *spec, const int *fds, int output_fd) {
        char *argv[ARGUMENTS_MAX + 2] = { (char *) "klpd-inspect" }, *envp[] = { NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none, all;
        int r;

        for (size_t i = 0; spec->arguments && spec->arguments[i]; i++) {
                if (i >= ARGUMENTS_MAX)
                        return -E2BIG;
                argv[i + 1] = spec->arguments[i];
        }
        r = -posix_spawn_file_actions_init(&actions);
        if (r < 0)
                return r;
        r = -posix_spawnattr_init(&attr);
        if (r < 0) {
                posix_spawn_file_actions_destroy(&actions);
                return r;
        }

        sigemptyset(&none);
        sigfillset(&all);
        if ((r = add_actions(&actions, fds, spec->n_fds, output_fd)) >= 0 &&
            (r = -posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) >= 0 &&
            (r = -posix_spawnattr_setsigmask(&attr, &none)) >= 0 &&
            (r = -posix_spawnattr_setsigdefault(&attr, &all)) >= 0)
                r = -posix_spawn(&c->pid, spec->program ?: KLPD_INSPECT_PATH, &actions, &attr, argv, envp);

        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        if (r < 0)
                c->pid = 0;
        return r;
}

/* Above the numbers that the child's are moved to, so that moving one doesn't overwrite another. */
static int above(int fd) {
        int n = fcntl(fd, F_DUPFD_CLOEXEC, 10);

        return n < 0 ? -errno : n;
}

static int start(InspectChild *c, const InspectChildSpec *spec) {
        _cleanup_close_ int write_fd = -EBADF, child_output = -EBADF;
        int fds[INSPECT_FDS_MAX] = {}, pipe_fds[2], r = 0;
        size_t n = 0;

        if (spec->n_fds > INSPECT_FDS_MAX)
                return -E2BIG;
        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        c->output_fd = pipe_fds[0];
        write_fd = pipe_fds[1];
        if (fcntl(c->output_fd, F_SETFL, O_NONBLOCK) < 0) /* our end only */
                return -errno;
        child_output = above(write_fd);
        if (child_output < 0)
                return child_output;

        for (; r >= 0 && n < spec->n_fds; n++) {
                fds[n] = above(spec->fds[n]);
                if (fds[n] < 0) {
                        r = fds[n];
                        break;
                }
        }
        if (r >= 0)
                r = spawn_child(c, spec, fds, child_output);
        while (n > 0)
                close(fds[--n]);
        return r;
}

static int watch(InspectChild *c, sd_event *event) {
        int r;

        c->pidfd = (int) syscall(SYS_pidfd_open, c->pid, 0);
        if (c->pidfd < 0)
                return -errno;

        r = sd_event_add_io(event, &c->output_source, c->output_fd, EPOLLIN, on_output, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->output_source, "inspect-output");
        r = sd_event_add_io(event, &c->child_source, c->pidfd, EPOLLIN, on_child, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->child_source, "inspect-child");
        r = sd_event_add_time_relative(event, &c->timeout_source, CLOCK_MONOTONIC, c->timeout_usec, 0,
                                       on_timeout, c);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(c->timeout_source, "inspect-timeout");
        return 0;
}

int inspect_child_new(sd_event *event, const InspectChildSpec *spec, InspectChildCallback callback,
                      void *userdata, InspectChild **ret) {
        _cleanup_(inspect_child_freep) InspectChild *c = NULL;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->pidfd = c->output_fd = -EBADF;
        c->callback = callback;
        c->userdata = userdata;
        c->timeout_usec = spec->timeout_usec ?: TIMEOUT_USEC_DEFAULT;
        c->what = spec->what;

        r = start(c, spec);
        if (r < 0)
                return r;
        r = watch(c, event);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(c);
        return 0;
}
