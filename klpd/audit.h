/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The record of what happened to patches: one journal entry per transition edge, with the MESSAGE_IDs and
 * fields of message-ids.h (SEMANTICS.md 5.6). A record is begun, gets its fields, and is sent; for want of
 * memory it loses fields, never the whole record. Where it goes is the Audit's affair: the journal, or in
 * tests a function that keeps it.
 */
#pragma once

#include <sys/uio.h>

#include "klpd/message-ids.h"
#include "policy/util.h"

typedef struct Audit Audit;
typedef struct AuditRecord AuditRecord;

/* Gets MESSAGE=…, PRIORITY=…, and so on. Returns 0 or a negative errno, of which klpd's log is told. */
typedef int (*AuditSend)(const struct iovec *fields, size_t n_fields, void *userdata);

/* send NULL: sd_journal_sendv(). */
int audit_new(AuditSend send, void *userdata, Audit **ret);
Audit *audit_free(Audit *a); /* NULL is fine */
DEFINE_CLEANUP(Audit *, audit_free);

/* message_id is one of KLPD_MESSAGE_*, edge the value of KLPD_EDGE that belongs to it. NULL for want of
 * memory, which the other functions take. */
AuditRecord *audit_begin(const char *message_id, const char *edge);
AuditRecord *audit_record_free(AuditRecord *r);
DEFINE_CLEANUP(AuditRecord *, audit_record_free);

/* Nothing happens where value is NULL. name without '=', and may be given several times. */
void audit_field(AuditRecord *r, const char *name, const char *value);
void audit_field_u64(AuditRecord *r, const char *name, uint64_t value);

/* Waits, at most 5 s, until the journal has taken in what was sent: it learns from the running process to
 * which unit a record belongs, so one that ends at once would leave records that nobody trusts. */
int audit_sync(void);

/* Sends and frees the record. The text is MESSAGE=. */
void audit_send(Audit *a, AuditRecord *r, int priority, const char *format, ...) _printf_(4, 5);
