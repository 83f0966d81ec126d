/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of what happened to patches: one journal entry per transition edge, with the MESSAGE_IDs and
 * fields of message-ids.h (SEMANTICS.md 5.6). A record is begun, gets its fields, and is sent; for want of
 * memory it loses fields, never the whole record. Where it goes is the Audit's affair: the journal (journal.h:
 * through the write-ahead log, without waiting), or in tests a function that keeps it.
 */
#pragma once

#include <sys/uio.h>

#include "klpd/journal.h"
#include "klpd/message-ids.h"
#include "policy/util.h"

typedef struct Audit Audit;
typedef struct AuditRecord AuditRecord;

/* Gets MESSAGE=…, PRIORITY=…, and so on. Returns 0 or a negative errno, of which klpd's log is told. */
typedef int (*AuditSend)(const struct iovec *fields, size_t n_fields, void *userdata);

/* send NULL: nothing comes out before audit_attach(). */
int audit_new(AuditSend send, void *userdata, Audit **ret);
/* To the journal from now on; wal is borrowed. Nothing happens where records go to a function. */
int audit_attach(Audit *a, sd_event *event, int root_fd, Wal *wal);
Audit *audit_free(Audit *a); /* journal_free(): may wait a moment. NULL is fine */
DEFINE_CLEANUP(Audit *, audit_free);

/* message_id is one of KLPD_MESSAGE_*, edge the value of KLPD_EDGE that belongs to it. NULL for want of
 * memory, which the other functions take. */
AuditRecord *audit_begin(const char *message_id, const char *edge);
AuditRecord *audit_record_free(AuditRecord *r);
DEFINE_CLEANUP(AuditRecord *, audit_record_free);

/* Nothing happens where value is NULL. name without '=', and may be given several times. */
void audit_field(AuditRecord *r, const char *name, const char *value);
void audit_field_u64(AuditRecord *r, const char *name, uint64_t value);

/* When it happened (CLOCK_REALTIME), where that isn't now. */
void audit_time(AuditRecord *r, uint64_t usec);

/* What is sent between these gets into the log together with the next STATE. */
void audit_hold(Audit *a);
void audit_release(Audit *a);

/* Sends and frees the record. The text is MESSAGE=. */
void audit_send(Audit *a, AuditRecord *r, int priority, const char *format, ...) _printf_(4, 5);
