/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The write-ahead log as it is found at the start: a file of any bytes, and the records of transactions in
 * it. What is read must be the same after being written again.
 */
#include "klpd/transaction-record.h"
#include "klpd/wal.h"
#include "tests/fuzz/fuzz.h"

static void read_state(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = NULL, *again = NULL;
        TransactionRecord r, s;
        size_t n, m;

        if (transaction_record_parse(data, size, &r) < 0)
                return;
        must(transaction_record_format(&r, &text, &n) >= 0);
        must(transaction_record_parse(text, n, &s) >= 0);
        must(transaction_record_format(&s, &again, &m) >= 0);
        must(n == m && memcmp(text, again, n) == 0);
        transaction_record_done(&r);
        transaction_record_done(&s);
}

typedef struct Seen {
        const uint8_t *end;
        uint64_t sequence;
        size_t n;
} Seen;

static void on_record(const WalRecord *record, void *userdata) {
        uint8_t header[WAL_HEADER_SIZE];
        Seen *seen = userdata;

        must(record->size > 0 && record->size <= WAL_RECORD_MAX && record->bytes + record->size <= seen->end);
        must(record->sequence > seen->sequence);
        wal_header(record, header);
        must(memcmp(header, record->bytes - WAL_HEADER_SIZE, WAL_HEADER_SIZE) == 0);
        seen->sequence = record->sequence;
        seen->n += WAL_HEADER_SIZE + record->size;
        if (record->kind == WAL_STATE)
                read_state(record->bytes, record->size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        Seen seen = { .end = data + size };
        size_t valid;

        if (wal_scan(data, size, on_record, &seen, &valid) == WAL_WHOLE)
                for (size_t i = valid; i < size; i++)
                        must(data[i] == 0);
        must(valid == seen.n);
        read_state(data, size);
        return 0;
}
