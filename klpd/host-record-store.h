/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where the host's record (host-record.h) is: in its file, var/lib/klpd/host.json; and, when a request ends, first in the
 * write-ahead log, together with the record that the request is over, so that both are on the disk after one wait for
 * it. The file follows when nobody waits. Of the two the one with the greater number counts, and whoever reads the
 * record asks here. Blocking.
 *
 *   host_store_stage()  with the next record of the log; *sequence is 0 if it didn't get there
 *   host_store_file()   to the file: synced, and the log is told that nothing of it is needed there any more
 *
 * A file that is missing counts as an empty record, whatever the log says: somebody has moved it away.
 */
#pragma once

#include "klpd/host-record.h"
#include "klpd/wal.h"

/* The newest one, wal may be NULL. *ret_in_log: it isn't in the file yet. -ENOENT: there is none; then ret is empty, and
 * has the number from which to count on. Otherwise error says what is wrong. */
int host_store_read(int root_fd, const Wal *wal, HostRecord *ret, bool *ret_in_log, PolicyError *error);
/* -E2BIG: too long for the log. */
int host_store_stage(Wal *wal, const HostRecord *r, uint64_t *sequence);
/* wal may be NULL. */
int host_store_file(int root_fd, Wal *wal, const HostRecord *r);
