/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See inspect-client.h. The request collects the child's output until its end, waits for the child, and then
 * judges both. What the child says is a claim about the bytes: name, states and so on are compared with what
 * the kernel says after loading; digest and content are this side's own.
 */
#include "klpd/inspect-client.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/patch-file.h"
#include "policy/json.h"

#define TIMEOUT_USEC_DEFAULT (10 * 1000000ULL)
#define OUTPUT_MAX (32U * 1024U * 1024U)
#define READS_PER_WAKEUP 16

struct InspectRequest {
        sd_event_source *output_source, *child_source, *timeout_source;
        InspectCallback callback;
        void *userdata;
        uint64_t timeout_usec;
        pid_t pid;      /* 0: none, or waited for */
        int pidfd;
        int module_fd;  /* what the child reads */
        int content_fd; /* what it decompresses to */
        int output_fd;
        char *output;
        size_t n_output;
        bool output_ended;
        bool finished;
};

static void stop_child(InspectRequest *r) {
        siginfo_t info;

        if (r->pid <= 0)
                return;
        (void) kill(r->pid, SIGKILL);
        while (waitid(P_PID, (id_t) r->pid, &info, WEXITED) < 0 && errno == EINTR)
                ;
        r->pid = 0;
}

static void stop_watching(InspectRequest *r) {
        r->output_source = sd_event_source_disable_unref(r->output_source);
        r->child_source = sd_event_source_disable_unref(r->child_source);
        r->timeout_source = sd_event_source_disable_unref(r->timeout_source);
}

InspectRequest *inspect_request_free(InspectRequest *r) {
        if (!r)
                return NULL;

        stop_watching(r);
        stop_child(r);
        closep(&r->pidfd);
        closep(&r->module_fd);
        closep(&r->content_fd);
        closep(&r->output_fd);
        free(r->output);
        free(r);
        return NULL;
}

/* The caller may free r in the callback. */
static void finish(InspectRequest *r, int error, const char *text, const InspectResult *result) {
        stop_watching(r);
        stop_child(r);
        r->finished = true;
        r->callback(r, error, text, result, r->userdata);
}

static struct json_object *member(struct json_object *object, const char *key, json_type type) {
        struct json_object *value;

        return json_object_object_get_ex(object, key, &value) && json_object_is_type(value, type) ? value
                                                                                                  : NULL;
}

/* {"error", "message"}: the module was read, and refused. Returns what the child says, if that can be. */
static int refused(struct json_object *object, const char **ret_text) {
        struct json_object *error = member(object, "error", json_type_int),
                           *message = member(object, "message", json_type_string);
        int64_t e;

        if (!error)
                return 0;
        e = json_object_get_int64(error);
        if (e <= 0 || e > 4095 || !message || json_object_get_string_len(message) > 500)
                return -EPROTO;
        *ret_text = json_object_get_string(message);
        return (int) -e;
}

static int read_patch(struct json_object *object, InspectResult *result) {
        struct json_object *patch = member(object, "patch", json_type_object);
        _cleanup_free_ char *line = NULL;
        int r;

        if (!patch)
                return -EPROTO;
        r = json_to_line(patch, &line);
        if (r < 0)
                return r;
        r = patch_parse(line, strlen(line), &result->patch, NULL);
        return r == -EBADMSG ? -EPROTO : r;
}

static int read_result(struct json_object *object, InspectResult *result, bool *ret_decompressed) {
        struct json_object *vermagic = member(object, "vermagic", json_type_string);
        struct json_object *signature_size = member(object, "signature-size", json_type_int);
        struct json_object *relocations = member(object, "module-relocations", json_type_boolean);
        struct json_object *decompressed = member(object, "decompressed", json_type_boolean);
        int r;

        if (!vermagic || !signature_size || !relocations || !decompressed ||
            json_object_get_string_len(vermagic) > 1024 || json_object_get_int64(signature_size) < 0)
                return -EPROTO;

        r = read_patch(object, result);
        if (r < 0)
                return r;

        result->vermagic = strdup(json_object_get_string(vermagic));
        if (!result->vermagic)
                return -ENOMEM;
        result->signature_size = (size_t) json_object_get_int64(signature_size);
        result->has_module_relocations = json_object_get_boolean(relocations);
        *ret_decompressed = json_object_get_boolean(decompressed);
        return 0;
}

/* Content and digest, by our own means. */
static int take_content(InspectRequest *q, bool decompressed, InspectResult *result) {
        char digest[DIGEST_HEX_LEN + 1];
        int fd = decompressed ? q->content_fd : q->module_fd, r;

        if (decompressed) {
                r = sealed_memfd_seal(fd); /* the child has ended: nobody maps it */
                if (r < 0)
                        return r;
        }
        r = sealed_memfd_check(fd);
        if (r < 0)
                return r;
        r = module_digest_fd(fd, PATCH_FILE_SIZE_MAX, digest);
        if (r < 0)
                return r;

        result->content_fd = fd;
        return patch_set(&result->patch->digest, digest);
}

static void result_done(InspectResult *result) {
        patch_unref(result->patch);
        free(result->vermagic);
}

static int judge(InspectRequest *q, InspectResult *result, struct json_object **ret_object,
                 const char **ret_text) {
        bool decompressed;
        int r;

        *ret_text = "klpd-inspect printed what is no answer";
        r = json_parse_strict(q->output ?: "", q->n_output, ret_object, NULL);
        if (r < 0)
                return r == -ENOMEM ? r : -EPROTO;
        if (!json_object_is_type(*ret_object, json_type_object))
                return -EPROTO;

        r = refused(*ret_object, ret_text);
        if (r < 0)
                return r;
        r = read_result(*ret_object, result, &decompressed);
        if (r < 0)
                return r;

        *ret_text = "can't seal and measure the module's content";
        return take_content(q, decompressed, result);
}

static void conclude(InspectRequest *q, const siginfo_t *end) {
        struct json_object *object = NULL;
        InspectResult result = { .content_fd = -EBADF };
        const char *text = "";
        char buf[160];
        int r;

        if (end->si_code != CLD_EXITED || end->si_status != 0) {
                if (end->si_code == CLD_EXITED)
                        snprintf(buf, sizeof(buf), "klpd-inspect failed with status %d", end->si_status);
                else
                        snprintf(buf, sizeof(buf),
                                 "klpd-inspect was killed by signal %d (%s) while it read the module",
                                 end->si_status, strsignal(end->si_status));
                finish(q, -EPROTO, buf, NULL);
                return;
        }

        r = judge(q, &result, &object, &text);
        finish(q, r, r < 0 ? text : "", r < 0 ? NULL : &result);
        result_done(&result);
        json_object_put(object);
}

static int on_child(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        InspectRequest *q = userdata;
        siginfo_t info = {};

        /* What it has printed comes first; the pipe's end turns this source on again. */
        if (!q->output_ended)
                return sd_event_source_set_enabled(s, SD_EVENT_OFF);

        if (waitid(P_PID, (id_t) q->pid, &info, WEXITED | WNOHANG) < 0) {
                q->pid = 0;
                finish(q, -EPROTO, "klpd-inspect vanished", NULL);
                return 0;
        }
        if (info.si_pid == 0)
                return 0;

        q->pid = 0;
        conclude(q, &info);
        return 0;
}

static int on_output(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        InspectRequest *q = userdata;

        for (unsigned i = 0; i < READS_PER_WAKEUP; i++) {
                char buf[65536], *bigger;
                ssize_t n;

                n = read(fd, buf, sizeof(buf));
                if (n < 0 && (errno == EAGAIN || errno == EINTR))
                        return 0;
                if (n < 0) {
                        finish(q, -errno, "can't read what klpd-inspect prints", NULL);
                        return 0;
                }
                if (n == 0) {
                        q->output_ended = true;
                        q->output_source = sd_event_source_disable_unref(q->output_source);
                        return sd_event_source_set_enabled(q->child_source, SD_EVENT_ON);
                }

                if (q->n_output + (size_t) n > OUTPUT_MAX) {
                        finish(q, -E2BIG, "klpd-inspect prints without end", NULL);
                        return 0;
                }
                bigger = realloc(q->output, q->n_output + (size_t) n);
                if (!bigger) {
                        finish(q, -ENOMEM, "out of memory", NULL);
                        return 0;
                }
                q->output = bigger;
                memcpy(q->output + q->n_output, buf, (size_t) n);
                q->n_output += (size_t) n;
        }
        return 0;
}

static int on_timeout(sd_event_source *s, uint64_t usec, void *userdata) {
        InspectRequest *q = userdata;
        char text[128];

        snprintf(text, sizeof(text),
                 "klpd-inspect needed more than %" PRIu64 " ms to read the module, and was killed",
                 q->timeout_usec / 1000);
        finish(q, -ETIMEDOUT, text, NULL);
        return 0;
}

/*
 * The child gets three descriptors and an empty environment; everything else is close-on-exec. Not our
 * standard error: what is written there is taken for klpd's own words by the journal.
 */
static int spawn_child(InspectRequest *q, const char *program, int output_fd) {
        char *argv[] = { (char *) "klpd-inspect", NULL }, *envp[] = { NULL };
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attr;
        sigset_t none, all;
        int r;

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
        if ((r = -posix_spawn_file_actions_adddup2(&actions, q->module_fd, 0)) >= 0 &&
            (r = -posix_spawn_file_actions_adddup2(&actions, output_fd, 1)) >= 0 &&
            (r = -posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0)) >= 0 &&
            (r = -posix_spawn_file_actions_adddup2(&actions, q->content_fd, 3)) >= 0 &&
            (r = -posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF)) >= 0 &&
            (r = -posix_spawnattr_setsigmask(&attr, &none)) >= 0 &&
            (r = -posix_spawnattr_setsigdefault(&attr, &all)) >= 0)
                r = -posix_spawn(&q->pid, program, &actions, &attr, argv, envp);

        posix_spawnattr_destroy(&attr);
        posix_spawn_file_actions_destroy(&actions);
        if (r < 0)
                q->pid = 0;
        return r;
}

/* Above the numbers that the child's are moved to, so that moving one doesn't overwrite another. */
static int above(int fd) {
        int n = fcntl(fd, F_DUPFD_CLOEXEC, 10);

        return n < 0 ? -errno : n;
}

static int start(InspectRequest *q, int fd, const char *program) {
        _cleanup_close_ int write_fd = -EBADF, memfd = -EBADF, child_output = -EBADF;
        int pipe_fds[2];

        q->module_fd = above(fd);
        if (q->module_fd < 0)
                return q->module_fd;

        memfd = memfd_create("klpd-content", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memfd < 0)
                return -errno;
        q->content_fd = above(memfd);
        if (q->content_fd < 0)
                return q->content_fd;

        if (pipe2(pipe_fds, O_CLOEXEC) < 0)
                return -errno;
        q->output_fd = pipe_fds[0];
        write_fd = pipe_fds[1];
        if (fcntl(q->output_fd, F_SETFL, O_NONBLOCK) < 0) /* our end only */
                return -errno;
        child_output = above(write_fd);
        if (child_output < 0)
                return child_output;

        return spawn_child(q, program, child_output);
}

static int watch(InspectRequest *q, sd_event *event) {
        int r;

        q->pidfd = (int) syscall(SYS_pidfd_open, q->pid, 0);
        if (q->pidfd < 0)
                return -errno;

        r = sd_event_add_io(event, &q->output_source, q->output_fd, EPOLLIN, on_output, q);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(q->output_source, "inspect-output");
        r = sd_event_add_io(event, &q->child_source, q->pidfd, EPOLLIN, on_child, q);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(q->child_source, "inspect-child");
        r = sd_event_add_time_relative(event, &q->timeout_source, CLOCK_MONOTONIC, q->timeout_usec, 0,
                                       on_timeout, q);
        if (r < 0)
                return r;
        (void) sd_event_source_set_description(q->timeout_source, "inspect-timeout");
        return 0;
}

int inspect_request_new(sd_event *event, int fd, const char *program, uint64_t timeout_usec,
                        InspectCallback callback, void *userdata, InspectRequest **ret) {
        _cleanup_inspect_request_free_ InspectRequest *q = NULL;
        int r;

        r = sealed_memfd_check(fd);
        if (r < 0)
                return r;

        q = calloc(1, sizeof(InspectRequest));
        if (!q)
                return -ENOMEM;
        q->pidfd = q->module_fd = q->content_fd = q->output_fd = -EBADF;
        q->callback = callback;
        q->userdata = userdata;
        q->timeout_usec = timeout_usec ?: TIMEOUT_USEC_DEFAULT;

        r = start(q, fd, program ?: KLPD_INSPECT_PATH);
        if (r < 0)
                return r;
        r = watch(q, event);
        if (r < 0)
                return r;

        *ret = TAKE_PTR(q);
        return 0;
}
