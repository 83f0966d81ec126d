/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See audit.h. A record is an array of iovecs of "NAME=value", bounded in number and size; the order is
 * that of adding. */
#include <stdarg.h>
#include <stdio.h>
#include <systemd/sd-id128.h>
#include <time.h>

#include "klpd/audit.h"
#include "klpd/log.h"

#define FIELDS_MAX 640U
#define FIELD_BYTES_MAX (256U * 1024U)
#define MESSAGE_BYTES_MAX 4096U

struct AuditRecord {
        struct iovec fields[FIELDS_MAX];
        size_t n_fields;
        size_t n_lost;
        uint64_t usec; /* 0: when it is sent */
};

struct Audit {
        AuditSend send;
        void *userdata;
        Journal *journal;
};

int audit_new(AuditSend send, void *userdata, Audit **ret) {
        Audit *a;

        a = malloc(sizeof(*a));
        if (!a)
                return -ENOMEM;
        *a = (Audit) { .send = send, .userdata = userdata };
        *ret = a;
        return 0;
}

int audit_attach(Audit *a, sd_event *event, int root_fd, Wal *wal) {
        return a->send ? 0 : journal_new(event, root_fd, wal, 1, &a->journal);
}

Audit *audit_free(Audit *a) {
        if (a)
                journal_free(a->journal);
        free(a);
        return NULL;
}

void audit_hold(Audit *a) {
        if (a->journal)
                journal_hold(a->journal);
}

void audit_release(Audit *a) {
        if (a->journal)
                journal_release(a->journal);
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
        if (r->n_fields >= FIELDS_MAX - 5 ||
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

void audit_time(AuditRecord *r, uint64_t usec) {
        if (r)
                r->usec = usec;
}

/* What makes it that record and no other, also if it is sent twice. */
static void identify(uint64_t usec, char record[static 64], char when[static 64]) {
        sd_id128_t id = {};
        struct timespec ts = {};
        char text[33];

        (void) sd_id128_randomize(&id);
        (void) clock_gettime(CLOCK_REALTIME, &ts);
        if (usec == 0)
                usec = (uint64_t) ts.tv_sec * 1000000 + (uint64_t) ts.tv_nsec / 1000;
        (void) snprintf(record, 64, "KLPD_RECORD=%s", sd_id128_to_string(id, text));
        (void) snprintf(when, 64, "KLPD_REALTIME_USEC=%" PRIu64, usec);
}

void audit_send(Audit *a, AuditRecord *r, int priority, const char *format, ...) {
        char message[MESSAGE_BYTES_MAX], level[16], record[64], when[64];
        char *const own[] = { message, level, record, when };
        struct iovec bare[ELEMENTSOF(own)], *fields = r ? r->fields : bare;
        size_t n_fields = r ? r->n_fields : 0;
        va_list ap;
        int n, k;

        n = snprintf(message, sizeof(message), "MESSAGE=");
        va_start(ap, format);
        k = vsnprintf(message + n, sizeof(message) - (size_t) n, format, ap);
        va_end(ap);
        if (k < 0)
                message[n] = 0;
        (void) snprintf(level, sizeof(level), "PRIORITY=%d", priority & 7);
        identify(r ? r->usec : 0, record, when);
        for (size_t i = 0; i < ELEMENTSOF(own); i++)
                fields[n_fields++] = (struct iovec) { .iov_base = own[i], .iov_len = strlen(own[i]) };
        if (r && r->n_lost > 0)
                log_warning("%zu fields of a journal record were too long or too many and are missing from it",
                            r->n_lost);

        k = a->send ? a->send(fields, n_fields, a->userdata) : 0;
        if (k < 0)
                log_error("Failed to write a journal record (%s): %s", strerror(-k), message + n);
        if (a->journal)
                journal_submit(a->journal, fields, n_fields);
        audit_record_free(r);
}
