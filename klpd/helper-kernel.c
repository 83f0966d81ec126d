/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See helper-kernel.h. */
#include "klpd/helper-kernel.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/loader.h"
#include "klpd/settle.h"
#include "klpd/shim-client.h"

/* Only what is in transition can be forced: anything else is refused by the kernel. */
static int write_force(int root_fd, const char *name, PolicyError *error) {
        char path[sizeof("sys/kernel/livepatch//force") + HELPER_NAME_SIZE];
        _cleanup_close_ int fd = -EBADF;
        int r;

        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/force", name);
        fd = openat(root_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
                r = -errno;
                return policy_error_set(error, r,
                                        r == -ENOENT ? "'%s' isn't in the kernel's list of livepatches"
                                                     : "the file 'force' of '%s' can't be opened",
                                        name);
        }
        if (write(fd, "1", 1) < 0) {
                r = -errno;
                if (r == -EINVAL)
                        return policy_error_set(error, r, "'%s' is not in transition, or no longer", name);
                return policy_error_set(error, r, "can't write 1 to /%s: %s", path, strerror(-r));
        }
        return 0;
}

static int write_enabled(int root_fd, const char *name, bool value, PolicyError *error) {
        char path[sizeof("sys/kernel/livepatch//enabled") + HELPER_NAME_SIZE];
        _cleanup_close_ int fd = -EBADF;
        int r;

        snprintf(path, sizeof(path), "sys/kernel/livepatch/%s/enabled", name);
        fd = openat(root_fd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0) {
                r = -errno;
                if (r == -ENOENT)
                        return policy_error_set(error, r, "'%s' isn't enabled", name);
                return policy_error_set(error, r, "can't open /%s: %s", path, strerror(-r));
        }

        if (write(fd, value ? "1" : "0", 1) < 0) {
                r = -errno;
                switch (-r) {
                case EINVAL:
                        return policy_error_set(error, r,
                                                "the kernel refused to write %d to /%s: it has that value "
                                                "already, or '%s' is not the patch in transition",
                                                value, path, name);
                case EBUSY:
                        return policy_error_set(error, r,
                                                "'%s' can't be changed: another transition is under way",
                                                name);
                case ENODEV:
                case ENOENT:
                        return policy_error_set(error, -ENOENT, "'%s' has just been removed", name);
                default:
                        return policy_error_set(error, r, "can't write %d to /%s: %s", value, path,
                                                strerror(-r));
                }
        }
        return 0;
}

/* Returns the number of bytes; 0: no such task any more, or no stack to be had. Cut at the end of a line. */
static uint32_t read_stack(int root_fd, const HelperTask *task, char *data) {
        char path[64];
        _cleanup_close_ int fd = -EBADF;
        ssize_t n;

        snprintf(path, sizeof(path), "proc/%" PRIu32 "/task/%" PRIu32 "/stack", task->pid, task->tid);
        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
                return 0;

        n = read(fd, data, HELPER_STACK_MAX);
        if (n <= 0)
                return 0;
        if (memchr(data, 0, (size_t) n))
                return 0;
        if ((size_t) n == HELPER_STACK_MAX)
                while (n > 0 && data[n - 1] != '\n')
                        n--;
        return (uint32_t) n;
}

static void read_stacks(int root_fd, const HelperRequest *request, HelperReply *reply, char *data) {
        for (uint32_t i = 0; i < request->n_tasks; i++) {
                uint32_t n = read_stack(root_fd, request->tasks + i, data + reply->data_size);

                reply->stack_size[i] = n;
                reply->data_size += n;
        }
        reply->n_stacks = request->n_tasks;
}

static int execute(int root_fd, const HelperRequest *q, int fd, PolicyError *error) {
        switch ((HelperOperation) q->operation) {
        case HELPER_LOAD:
                return loader_load(root_fd, fd, q->name, q->params, error);
        case HELPER_LOAD_SHIM:
                return loader_load_shim(root_fd, error);
        case HELPER_ENABLE:
                return shim_enable(q->name, q->generation, error);
        case HELPER_WRITE_ENABLED:
                return write_enabled(root_fd, q->name, q->flags & HELPER_FLAG_VALUE, error);
        case HELPER_UNLOAD:
                return loader_unload(q->name, error);
        case HELPER_FORCE:
                return write_force(root_fd, q->name, error);
        case HELPER_READ_STACKS:
        case _HELPER_OPERATION_MAX:
                break;
        }
        return -EOPNOTSUPP;
}

void helper_execute(int root_fd, const HelperRequest *request, int fd, HelperReply *reply, char *data,
                    Settle **ret_settle) {
        PolicyError error = {};
        Settle *settle = NULL;

        *ret_settle = NULL;

        *reply = (HelperReply) {
                .magic = HELPER_MAGIC,
                .version = HELPER_VERSION,
                .cookie = request->cookie,
        };

        if (request->operation == HELPER_READ_STACKS) {
                read_stacks(root_fd, request, reply, data);
                return;
        }

        /* It makes things faster, and nothing depends on it: without it the kernel's next tick does the
         * same. */
        if (request->flags & HELPER_FLAG_SETTLE)
                (void) settle_start(root_fd, request->settle_max_cpus, request->settle_max_usec, &settle);
        reply->error = execute(root_fd, request, fd, &error);
        settle_end(settle);
        *ret_settle = settle;

        if (reply->error < 0)
                snprintf(reply->text, sizeof(reply->text), "%s",
                         error.message[0] ? error.message : strerror(-reply->error));
}
