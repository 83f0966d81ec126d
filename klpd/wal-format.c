/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The bytes of the write-ahead log (wal.h), without any file: the header of a record, and what to believe of a file
 * after a loss of power.
 *
 * A record that was being written then may be there in part, in whole sectors and in any order, its other sectors still
 * zero. So a record that isn't right is torn, and not damaged, if a sector of it reads as zeros, or all the rest of the
 * file does; but not if a later record says that it had been on the disk by then.
 */
#include "klpd/wal.h"

#define SECTOR 512U

static const uint8_t magic[4] = { 'k', 'l', 'p', 'W' };

/* Of IEEE 802.3, four bits at a time. */
static uint32_t crc32(const uint8_t *p, size_t n) {
        static const uint32_t table[16] = {
                0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
                0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
        };
        uint32_t crc = UINT32_MAX;

        while (n-- > 0) {
                crc ^= *p++;
                crc = crc >> 4 ^ table[crc & 15];
                crc = crc >> 4 ^ table[crc & 15];
        }
        return ~crc;
}

static void put32(uint8_t *p, uint32_t v) {
        for (unsigned i = 0; i < 4; i++)
                p[i] = (uint8_t) (v >> (8 * i));
}

static uint32_t get32(const uint8_t *p) {
        return (uint32_t) p[0] | (uint32_t) p[1] << 8 | (uint32_t) p[2] << 16 | (uint32_t) p[3] << 24;
}

void wal_header(const WalRecord *record, uint8_t ret[static WAL_HEADER_SIZE]) {
        memcpy(ret, magic, sizeof(magic));
        put32(ret + 8, (uint32_t) record->sequence);
        put32(ret + 12, (uint32_t) (record->sequence >> 32));
        put32(ret + 16, (uint32_t) record->kind);
        put32(ret + 20, (uint32_t) record->size);
        put32(ret + 24, crc32(record->bytes, record->size));
        put32(ret + 28, record->unsynced);
        put32(ret + 4, crc32(ret + 8, WAL_HEADER_SIZE - 8));
}

static bool zero(const uint8_t *bytes, size_t from, size_t to) {
        while (from < to)
                if (bytes[from++] != 0)
                        return false;
        return true;
}

/* The sectors of what is at from to to, but for what is before it in the first: one of them reads as zeros. */
static bool sector_missing(const uint8_t *bytes, size_t size, size_t from, size_t to) {
        for (size_t at = from, end; at < to && at < size; at = end) {
                end = at - at % SECTOR + SECTOR;
                if (zero(bytes, at, end < size ? end : size))
                        return true;
        }
        return false;
}

/* The record at that place, if it is right. ret_size gets its size as soon as that can be believed. */
static bool read_record(const uint8_t *bytes, size_t size, size_t at, WalRecord *ret, size_t *ret_size) {
        const uint8_t *p = bytes + at;
        uint32_t n, kind;

        *ret_size = WAL_HEADER_SIZE;
        if (size - at < WAL_HEADER_SIZE || memcmp(p, magic, sizeof(magic)) != 0 ||
            get32(p + 4) != crc32(p + 8, WAL_HEADER_SIZE - 8))
                return false;
        kind = get32(p + 16);
        n = get32(p + 20);
        if (kind < WAL_STATE || kind >= _WAL_KIND_MAX || n == 0 || n > WAL_RECORD_MAX)
                return false;
        *ret_size = WAL_HEADER_SIZE + n;
        if (n > size - at - WAL_HEADER_SIZE || crc32(p + WAL_HEADER_SIZE, n) != get32(p + 24))
                return false;
        *ret = (WalRecord) {
                .kind = (WalKind) kind,
                .sequence = (uint64_t) get32(p + 8) | (uint64_t) get32(p + 12) << 32,
                .unsynced = get32(p + 28),
                .bytes = p + WAL_HEADER_SIZE,
                .size = n,
        };
        return true;
}

/* A record behind that place was written when the one after number last was known to be on the disk. */
static bool was_synced(const uint8_t *bytes, size_t size, size_t at, uint64_t last) {
        WalRecord record;
        size_t n;

        while (++at < size)
                if (bytes[at] == magic[0] && read_record(bytes, size, at, &record, &n) &&
                    record.sequence > (uint64_t) record.unsynced + 1 + last)
                        return true;
        return false;
}

/* What is there instead of a record. */
static WalCondition judge(const uint8_t *bytes, size_t size, size_t at, size_t expected, uint64_t last) {
        size_t left = size - at, end = at + expected;

        if (zero(bytes, at, size))
                return WAL_WHOLE; /* room for the next one */
        /* The file ends in it. */
        if (left < WAL_HEADER_SIZE)
                return memcmp(bytes + at, magic, left < sizeof(magic) ? left : sizeof(magic)) == 0 ? WAL_TORN : WAL_DAMAGED;
        if (end > size)
                return WAL_TORN;
        /* The rest is zeros: from its last byte on, which is none, or in the header already. */
        if (zero(bytes, expected > WAL_HEADER_SIZE ? end - 1 : end, size))
                return WAL_TORN;
        return sector_missing(bytes, size, at, end) && !was_synced(bytes, size, at, last) ? WAL_TORN : WAL_DAMAGED;
}

WalCondition wal_scan(const void *data, size_t size, void (*callback)(const WalRecord *record, void *userdata),
                      void *userdata, size_t *ret_valid) {
        const uint8_t *bytes = data;
        WalCondition condition = WAL_WHOLE;
        uint64_t last = 0;
        size_t at = 0, n;

        while (at < size) {
                WalRecord record;

                if (!read_record(bytes, size, at, &record, &n)) {
                        condition = judge(bytes, size, at, n, last);
                        break;
                }
                if (record.sequence <= last) {
                        condition = WAL_DAMAGED;
                        break;
                }
                last = record.sequence;
                at += n;
                if (callback)
                        callback(&record, userdata);
        }
        *ret_valid = at;
        return condition;
}
