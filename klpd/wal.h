/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The write-ahead log: one file, /var/lib/klpd/transactions, from which klpd knows after kill -9 or a loss of
 * power what it was at (SEMANTICS.md 5.5). Whoever is about to do something visible appends a record first
 * and goes on only if that came back as 0: by then the record is on the disk.
 *
 * Records are opaque bytes here. Four kinds: STATE is a whole description of the transaction under way, so
 * that the last one is all that recovery needs; JOURNAL is a record for the journal, written before it is
 * sent; SENT says up to which one they have been sent; HOST is the host's record (host-record-store.h), which goes to
 * its own file when nobody waits for that, or WAL_HOST_FILED: it has. What came before the last STATE and the last
 * HOST, and the JOURNAL records that were sent, is dropped when the file has grown (compaction: a new file takes its
 * place in one step).
 *
 *   record   "klpW" | crc of the header u32 | sequence u64 | kind u32 | size u32 | crc of the bytes u32 |
 *            unsynced u32 | size bytes; little endian, no padding. The last byte is never 0. Sequence numbers
 *            grow by one, but for what compaction has dropped; of the records before it, the last unsynced ones weren't
 *            known to be on the disk when it was written
 *
 * Behind the last record the file has zeros, for the next ones to be written in their place. A file that ends in the
 * middle of a record, or has only some sectors of it, is *torn*: the power went while it was written, so what it was
 * to announce hasn't begun; the records before it count. Anything else that doesn't fit is *damage*: nothing
 * in the file is believed then, it is put aside under another name, and said (wal_damage()).
 *
 * What a JOURNAL record says and the STATE that it belongs to are written together: a staged record goes to the
 * file with the next one that is appended, in one write, so that neither is there without the other (but for a
 * loss of power between two blocks of the disk: the JOURNAL record comes first).
 *
 * Bounds: WAL_RECORD_MAX bytes a record, WAL_BYTES_MAX the file; its room is reserved beforehand, so that a
 * disk that fills up doesn't keep a security fix from being applied. A disk that was full from the beginning,
 * or is read-only, does: wal_problem() says so, each append tries again.
 *
 * A Wal owns its file and directory descriptors and what it has read. Appending waits for the disk.
 */
#pragma once

#include "policy/util.h"

#define WAL_FILE "transactions"
#define WAL_FILE_NEW "transactions.new"
#define WAL_FILE_DAMAGED "transactions.damaged"
#define WAL_RECORD_MAX (48U * 1024U)
#define WAL_BYTES_MAX (512U * 1024U)
#define WAL_COMPACT_BYTES (128U * 1024U)
#define WAL_UNSENT_MAX 256U /* more than that: the oldest are lost to the journal */
#define WAL_UNSENT_BYTES_MAX (256U * 1024U)
#define WAL_HEADER_SIZE 32U
#define WAL_HOST_FILED "filed\n"

typedef enum WalKind {
        WAL_STATE = 1,
        WAL_JOURNAL,
        WAL_SENT,
        WAL_HOST,
        _WAL_KIND_MAX,
} WalKind;

typedef enum WalCondition {
        WAL_WHOLE,
        WAL_TORN,
        WAL_DAMAGED,
} WalCondition;

typedef struct WalRecord {
        WalKind kind;
        uint64_t sequence;
        uint32_t unsynced;
        const uint8_t *bytes;
        size_t size;
} WalRecord;

typedef struct Wal Wal;

/*
 * The parser, without any file. Calls back for each good record in order, also if what follows turns out to
 * be torn or damaged; *ret_valid is where the good ones end. callback may be NULL. bytes are the file's from its
 * beginning.
 */
WalCondition wal_scan(const void *bytes, size_t size, void (*callback)(const WalRecord *record, void *userdata),
                      void *userdata, size_t *ret_valid);

void wal_header(const WalRecord *record, uint8_t ret[static WAL_HEADER_SIZE]);

/* root_fd and path: the directory, which is made if its parent is there. Fails only for want of memory:
 * everything else is a problem that wal_problem() names. */
int wal_open(int root_fd, const char *path, Wal **ret);
/* Only to look into it, beside whoever writes there: nothing is made, mended or put aside, and damage reads as nothing.
 * Not to be appended to. */
int wal_peek(int root_fd, const char *path, Wal **ret);
Wal *wal_free(Wal *w); /* NULL is fine */
DEFINE_CLEANUP(Wal *, wal_free);

/* Why nothing can be appended ("/var/lib/klpd/transactions: No space left on device"), or NULL. */
const char *wal_problem(const Wal *w);
/* What was wrong with the file that was found at the start, or NULL. */
const char *wal_damage(const Wal *w);

/* The last STATE of the file, or NULL; the Wal's, until the next one is appended. */
const WalRecord *wal_last_state(const Wal *w);
/* The last HOST that isn't known to be in its file, or NULL; the Wal's, until the next record is appended. */
const WalRecord *wal_last_host(const Wal *w);
/* Calls back for each JOURNAL record that isn't known to have been sent, oldest first. */
void wal_unsent(const Wal *w, void (*callback)(const WalRecord *record, void *userdata), void *userdata);

/*
 * Appends, and waits for the disk if sync is set. -E2BIG: longer than WAL_RECORD_MAX; -EINVAL: empty, or the
 * last byte is 0; otherwise what the file system says. After an error nothing may be done that the record
 * was to announce. ret_sequence may be NULL.
 */
int wal_append(Wal *w, WalKind kind, const void *bytes, size_t size, bool sync, uint64_t *ret_sequence);
/*
 * A record that is written with the next one, or by wal_flush(). *sequence, which has to live until then, is set
 * to 0 now and to its number once it is written; it stays 0 if that failed. Errors as above, but for the file system's.
 */
int wal_stage(Wal *w, WalKind kind, const void *bytes, size_t size, uint64_t *sequence);
int wal_flush(Wal *w); /* what is staged; 0 if nothing is */
/* Appends a SENT record (without waiting for the disk). */
int wal_sent(Wal *w, uint64_t sequence);
/* Appends that the last HOST is in its file (without waiting for the disk). */
int wal_host_filed(Wal *w);
/* Compaction before it is due: for a moment in which nobody waits for it. */
void wal_tidy(Wal *w);
