/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The way of a record to the journal (SEMANTICS.md 5.6): first into the write-ahead log, then to journald without ever
 * waiting for it, and once more after a restart if it isn't known to have arrived.
 *
 *   submitted -> in the log -> handed to journald's socket -> journald says that all is on its disk -> SENT in the log
 *
 * klpd killed before the SENT, or the host without power: the next klpd sends the record again, as it was, with
 * KLPD_RESENT=1 added. Each record has a number of its own (KLPD_RECORD, a random id128) and the time at which it
 * happened (KLPD_REALTIME_USEC); so who reads the journal knows the second copy by the first's KLPD_RECORD.
 *
 * They are handed over when klpd's loop has nothing else to do, or when many wait: what journald does with them isn't done at the side of a
 * change, nor before its answer.
 *
 * journald that doesn't read (stopped, or its socket full), or isn't there: records wait in memory and in the log, both
 * bounded; what doesn't fit any more is lost to the journal, oldest first, and klpd says so. When it reads again they
 * follow. Where the log can't be written they are sent all the same.
 *
 * Between journal_hold() and journal_release() records are only staged in the log: they are written together with the
 * next STATE (wal.h), so that the end of a request and the record of it are there together or not at all.
 *
 * A Journal owns its sockets, timers and what it still has to send; Wal and event loop are borrowed.
 */
#pragma once

#include <sys/uio.h>
#include <systemd/sd-event.h>

#include "klpd/wal.h"

#define JOURNAL_SOCKET "run/systemd/journal/socket"
#define JOURNAL_SYNC_SOCKET "run/systemd/journal/io.systemd.journal"
#define JOURNAL_WAITING_MAX 256U
#define JOURNAL_WAITING_BYTES_MAX (4U * 1024U * 1024U)

typedef struct Journal Journal;

/* The sockets are looked up below root_fd, which is duplicated. What an earlier klpd hasn't sent is sent now.
 * haste: its waits are so many times shorter than usual (1; more in tests). */
int journal_new(sd_event *event, int root_fd, Wal *wal, unsigned haste, Journal **ret);
/* Waits, at most 5 s, until journald has all of it: it learns from the running process to which unit a record
 * belongs. NULL is fine. */
Journal *journal_free(Journal *j);
DEFINE_CLEANUP(Journal *, journal_free);

/* "NAME=value" each. Copied. */
void journal_submit(Journal *j, const struct iovec *fields, size_t n_fields);
void journal_hold(Journal *j);
void journal_release(Journal *j);
/* Nothing is waiting, and journald has said that it has everything. For tests. */
bool journal_is_idle(const Journal *j);

/* The fields as journald takes them: "NAME=value\n", or, with a line break in the value, "NAME\n", its size (64 bit,
 * little endian), the value, "\n". Those of more than max bytes in all lose the largest ones first, and get
 * KLPD_MISSING with their number. */
int journal_format(const struct iovec *fields, size_t n_fields, size_t max, char **ret, size_t *ret_size);
