/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See host-record-store.h. */
#include "klpd/host-record-store.h"
#include "klpd/log.h"

/* -ENOENT: the log has none. */
static int read_log(const Wal *wal, HostRecord *ret, PolicyError *error) {
        const WalRecord *last = wal ? wal_last_host(wal) : NULL;
        int r;

        if (!last)
                return -ENOENT;
        r = host_record_parse((const char *) last->bytes, last->size, ret, error);
        return r < 0 ? policy_error_set(error, r, "its newest version, in the log, can't be understood") : 0;
}

int host_store_read(int root_fd, const Wal *wal, HostRecord *ret, bool *ret_in_log, PolicyError *error) {
        HostRecord file = {}, log = {};
        int r, q;

        *ret_in_log = false;
        q = host_record_read(root_fd, &file, error);
        if (q < 0 && q != -ENOENT)
                return q;
        r = read_log(wal, &log, error);
        if (r < 0 && r != -ENOENT) {
                host_record_done(&file);
                return r;
        }
        if (q == -ENOENT)
                file = (HostRecord) { .serial = log.serial };
        if (log.serial > file.serial) {
                host_record_done(&file);
                *ret = log;
                *ret_in_log = true;
                return 0;
        }
        host_record_done(&log);
        *ret = file;
        return q;
}

int host_store_stage(Wal *wal, const HostRecord *record, uint64_t *sequence) {
        _cleanup_free_ char *text = NULL;
        int r;

        *sequence = 0;
        r = host_record_format(record, &text);
        return r < 0 ? r : wal_stage(wal, WAL_HOST, text, strlen(text), sequence);
}

int host_store_file(int root_fd, Wal *wal, const HostRecord *record) {
        int r;

        r = host_record_write(root_fd, record);
        if (r < 0)
                return r;
        /* If that fails, the number says the same. */
        if (wal && wal_last_host(wal) && wal_host_filed(wal) < 0)
                log_debug("Can't write into the log that the host's record is in its file");
        return 0;
}
