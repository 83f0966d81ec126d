/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See audit.h. A record is an array of iovecs of "NAME=value", bounded in number and size; the order is
 * that of adding. */
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "klpd/audit.h"
#include "klpd/log.h"

#define FIELDS_MAX 640U
#define FIELD_BYTES_MAX (256U * 1024U)
#define MESSAGE_BYTES_MAX 4096U

struct AuditRecord {
        struct iovec fields[FIELDS_MAX];
        size_t n_fields;
        size_t n_lost;
};

struct Audit {
        AuditSend send;
        void *userdata;
};

static int send_to_journal(const struct iovec *fields, size_t n_fields, void *userdata) {
        return sd_journal_sendv(fields, (int) n_fields);
}

int audit_new(AuditSend send, void *userdata, Audit **ret) {
        Audit *a;

        a = malloc(sizeof(*a));
        if (!a)
                return -ENOMEM;
        *a = (Audit) { .send = send ?: send_to_journal, .userdata = userdata };
        *ret = a;
        return 0;
}

Audit *audit_free(Audit *a) {
        free(a);
        return NULL;
}

AuditRecord *audit_begin(const char *message_id, const char *edge) {
        AuditRecord *r;

        r = calloc(1, sizeof(*r));
        if (!r)
                return NULL;
        audit_field(r, "MESSAGE_ID", message_id);
        audit_field(r, "KLPD_EDGE", edge);
        return r;
}

AuditRecord *audit_record_free(AuditRecord *r) {
        if (!r)
                return NULL;
        for (size_t i = 0; i < r->n_fields; i++)
                free(r->fields[i].iov_base);
        free(r);
        return NULL;
}

void audit_field(AuditRecord *r, const char *name, const char *value) {
        size_t n, size;
        char *text;

        if (!r || !value)
                return;
        n = strlen(name);
        size = n + 1 + strlen(value);
        if (r->n_fields >= FIELDS_MAX - 3 ||
            size > FIELD_BYTES_MAX) { /* room is kept for what audit_send() adds */
                r->n_lost++;
                return;
        }
        text = malloc(size + 1);
        if (!text) {
                r->n_lost++;
                return;
        }
        memcpy(text, name, n);
        text[n] = '=';
        memcpy(text + n + 1, value, size - n);
        r->fields[r->n_fields++] = (struct iovec) { .iov_base = text, .iov_len = size };
}

void audit_field_u64(AuditRecord *r, const char *name, uint64_t value) {
        char text[24];

        (void) snprintf(text, sizeof(text), "%" PRIu64, value);
        audit_field(r, name, text);
}

void audit_send(Audit *a, AuditRecord *r, int priority, const char *format, ...) {
        char message[MESSAGE_BYTES_MAX], level[16];
        struct iovec bare[2], *fields = bare;
        size_t n_fields = 0;
        va_list ap;
        int n, k;

        n = snprintf(message, sizeof(message), "MESSAGE=");
        va_start(ap, format);
        k = vsnprintf(message + n, sizeof(message) - (size_t) n, format, ap);
        va_end(ap);
        if (k < 0)
                k = 0;
        (void) snprintf(level, sizeof(level), "PRIORITY=%d", priority & 7);

        if (r) {
                fields = r->fields;
                n_fields = r->n_fields;
                if (r->n_lost > 0)
                        log_warning("%zu fields of a journal record were too long or too many and are "
                                    "missing from it",
                                    r->n_lost);
        }
        fields[n_fields++] = (struct iovec) { .iov_base = message, .iov_len = strlen(message) };
        fields[n_fields++] = (struct iovec) { .iov_base = level, .iov_len = strlen(level) };

        k = a->send(fields, n_fields, a->userdata);
        if (k < 0)
                log_error("Failed to write a journal record (%s): %s", strerror(-k), message + n);
        audit_record_free(r);
}

/* One call of varlink: a JSON text and a NUL, each way. */
int audit_sync(void) {
        static const char call[] = "{\"method\":\"io.systemd.Journal.Synchronize\"}";
        struct sockaddr_un address = {
                .sun_family = AF_UNIX,
                .sun_path = "/run/systemd/journal/io.systemd.journal",
        };
        struct pollfd fd = { .events = POLLIN };
        char answer[256];
        int r = 0;

        fd.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd.fd < 0)
                return -errno;
        if (connect(fd.fd, (struct sockaddr *) &address, sizeof(address)) < 0 ||
            send(fd.fd, call, sizeof(call), MSG_NOSIGNAL) != (ssize_t) sizeof(call))
                r = errno ? -errno : -EIO;
        if (r >= 0) {
                r = poll(&fd, 1, 5000);
                if (r == 0)
                        r = -ETIMEDOUT;
                else if (r < 0 || recv(fd.fd, answer, sizeof(answer), 0) < 0)
                        r = -errno;
        }
        close(fd.fd);
        return r < 0 ? r : 0;
}
