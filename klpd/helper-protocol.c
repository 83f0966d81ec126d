/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The rules of helper-protocol.h, checked on both sides of the socket. */
#include "klpd/helper-protocol.h"

#include <stdio.h>

#include "policy/model.h"

static bool all_zero(const void *p, size_t size) {
        const uint8_t *b = p;

        for (size_t i = 0; i < size; i++)
                if (b[i] != 0)
                        return false;
        return true;
}

/* NUL-terminated inside the field, zero behind the end. */
static bool string_field_is_valid(const char *field, size_t size) {
        size_t n = strnlen(field, size);

        return n < size && all_zero(field + n, size - n);
}

static bool wants_name(HelperOperation op) {
        return op != HELPER_LOAD_SHIM && op != HELPER_READ_STACKS;
}

static uint32_t allowed_flags(HelperOperation op) {
        switch (op) {
        case HELPER_LOAD:
        case HELPER_ENABLE:
                return HELPER_FLAG_SETTLE;
        case HELPER_WRITE_ENABLED:
                return HELPER_FLAG_SETTLE | HELPER_FLAG_VALUE;
        case HELPER_LOAD_SHIM:
        case HELPER_UNLOAD:
        case HELPER_READ_STACKS:
        case HELPER_FORCE:
        case _HELPER_OPERATION_MAX:
                break;
        }
        return 0;
}

int helper_request_check(const void *bytes, size_t size, bool has_fd) {
        HelperRequest q;
        HelperOperation op;

        if (size != sizeof(q))
                return -EBADMSG;
        memcpy(&q, bytes, sizeof(q));

        if (q.magic != HELPER_MAGIC || q.version != HELPER_VERSION || q.reserved != 0)
                return -EBADMSG;
        if (q.operation < HELPER_LOAD || q.operation >= _HELPER_OPERATION_MAX)
                return -EBADMSG;
        op = (HelperOperation) q.operation;

        if (has_fd != (op == HELPER_LOAD))
                return -EBADMSG;
        if (q.flags & ~allowed_flags(op))
                return -EBADMSG;
        if (!(q.flags & HELPER_FLAG_SETTLE) && (q.settle_max_cpus != 0 || q.settle_max_usec != 0))
                return -EBADMSG;
        if (op != HELPER_ENABLE && q.generation != 0)
                return -EBADMSG;

        if (!string_field_is_valid(q.name, sizeof(q.name)) ||
            !string_field_is_valid(q.params, sizeof(q.params)))
                return -EBADMSG;
        if (op != HELPER_LOAD && q.params[0])
                return -EBADMSG;
        /* A leading dot would make a path of it. */
        if (wants_name(op) ? !patch_name_is_valid(q.name) || q.name[0] == '.' : q.name[0] != 0)
                return -EBADMSG;

        if (q.n_tasks > HELPER_TASKS_MAX || (op == HELPER_READ_STACKS) != (q.n_tasks > 0))
                return -EBADMSG;
        for (uint32_t i = 0; i < q.n_tasks; i++)
                if (q.tasks[i].pid == 0 || q.tasks[i].tid == 0)
                        return -EBADMSG;
        if (!all_zero(q.tasks + q.n_tasks, (HELPER_TASKS_MAX - q.n_tasks) * sizeof(HelperTask)))
                return -EBADMSG;

        return 0;
}

int helper_reply_check(const void *bytes, size_t size, const HelperRequest *request) {
        HelperReply a;
        size_t sum = 0;

        if (size < sizeof(a))
                return -EBADMSG;
        memcpy(&a, bytes, sizeof(a));

        if (a.magic != HELPER_MAGIC || a.version != HELPER_VERSION || a.reserved != 0 ||
            a.cookie != request->cookie)
                return -EBADMSG;
        if (a.error > 0 || a.error < -4095 || !string_field_is_valid(a.text, sizeof(a.text)))
                return -EBADMSG;
        if (a.n_stacks != (a.error == 0 ? request->n_tasks : 0))
                return -EBADMSG;

        for (uint32_t i = 0; i < HELPER_TASKS_MAX; i++) {
                if (a.stack_size[i] > (i < a.n_stacks ? HELPER_STACK_MAX : 0))
                        return -EBADMSG;
                sum += a.stack_size[i];
        }
        if (a.data_size != sum || size - sizeof(a) != sum)
                return -EBADMSG;

        return 0;
}

const char *helper_operation_to_string(HelperOperation op) {
        switch (op) {
        case HELPER_LOAD:
                return "load";
        case HELPER_LOAD_SHIM:
                return "load of klp_shim";
        case HELPER_ENABLE:
                return "enable";
        case HELPER_WRITE_ENABLED:
                return "write to 'enabled'";
        case HELPER_UNLOAD:
                return "unload";
        case HELPER_READ_STACKS:
                return "reading of kernel stacks";
        case HELPER_FORCE:
                return "write to 'force'";
        case _HELPER_OPERATION_MAX:
                break;
        }
        return NULL;
}

char *helper_request_describe(const HelperRequest *request, char *buf, size_t size) {
        const char *op = helper_operation_to_string((HelperOperation) request->operation);

        if (request->name[0])
                snprintf(buf, size, "%s of '%.*s'", op, (int) sizeof(request->name), request->name);
        else
                snprintf(buf, size, "%s", op);
        return buf;
}
