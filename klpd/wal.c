/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See wal.h. Memory holds a copy of what compaction keeps: the last STATE and HOST and the unsent JOURNAL records. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/wal.h"

typedef struct Kept {
        struct Kept *next;
        WalRecord record;
        uint8_t bytes[];
} Kept;

typedef struct Staged {
        struct Staged *next;
        WalKind kind;
        uint64_t *sequence;
        size_t size;
        uint8_t bytes[];
} Staged;

struct Wal {
        int root_fd, dir_fd, fd;
        char path[128];      /* of the directory, for messages, without the leading slash */
        size_t used;         /* bytes of whole records in the file */
        uint64_t sequence;   /* of the last record */
        uint64_t synced;     /* of the last one that is known to be on the disk */
        uint64_t sent;       /* JOURNAL records up to here have been sent */
        Kept *state, *host;
        Kept *unsent, **unsent_end;
        size_t n_unsent, unsent_bytes;
        Staged *staged, **staged_end;
        bool torn;           /* there is more in the file than that */
        bool peeking;
        char problem[256], damage[256];
};

/* ---- what is kept of it ---- */

static Kept *kept_new(const WalRecord *record) {
        Kept *k;

        k = malloc(sizeof(*k) + record->size);
        if (!k)
                return NULL;
        k->next = NULL;
        k->record = *record;
        memcpy(k->bytes, record->bytes, record->size);
        k->record.bytes = k->bytes;
        return k;
}

static void drop_oldest(Wal *w) {
        Kept *k = w->unsent;

        w->unsent = k->next;
        if (!w->unsent)
                w->unsent_end = &w->unsent;
        w->n_unsent--;
        w->unsent_bytes -= k->record.size;
        free(k);
}

static void take_sent(Wal *w, uint64_t sequence) {
        if (sequence > w->sent)
                w->sent = sequence;
        while (w->unsent && w->unsent->record.sequence <= w->sent)
                drop_oldest(w);
}

static bool is_filed(const WalRecord *record) {
        return record->kind == WAL_HOST && record->size == strlen(WAL_HOST_FILED) &&
               memcmp(record->bytes, WAL_HOST_FILED, record->size) == 0;
}

static int take_record(Wal *w, const WalRecord *record) {
        Kept *k;

        w->sequence = record->sequence;
        if (record->kind == WAL_SENT) {
                char text[24] = "";

                if (record->size < sizeof(text))
                        memcpy(text, record->bytes, record->size);
                take_sent(w, strtoull(text, NULL, 10));
                return 0;
        }
        if (is_filed(record)) {
                w->host = (free(w->host), NULL);
                return 0;
        }
        k = kept_new(record);
        if (!k)
                return -ENOMEM;
        if (record->kind == WAL_STATE || record->kind == WAL_HOST) {
                Kept **last = record->kind == WAL_STATE ? &w->state : &w->host;

                free(*last);
                *last = k;
                return 0;
        }
        *w->unsent_end = k;
        w->unsent_end = &k->next;
        w->n_unsent++;
        w->unsent_bytes += record->size;
        while (w->n_unsent > WAL_UNSENT_MAX || w->unsent_bytes > WAL_UNSENT_BYTES_MAX)
                drop_oldest(w);
        return 0;
}

static void forget(Wal *w) {
        w->state = (free(w->state), NULL);
        w->host = (free(w->host), NULL);
        while (w->unsent)
                drop_oldest(w);
        w->sequence = w->synced = w->sent = w->used = 0;
}

/* ---- the file ---- */

static int set_problem(Wal *w, const char *file, int r) {
        (void) snprintf(w->problem, sizeof(w->problem), "/%s%s%s: %s", w->path, *file ? "/" : "", file,
                        strerror(-r));
        return r;
}

static int write_all(int fd, const uint8_t *p, size_t n, size_t at) {
        while (n > 0) {
                ssize_t k = pwrite(fd, p, n, (off_t) at);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k <= 0)
                        return k < 0 ? -errno : -EIO;
                p += k;
                at += (size_t) k;
                n -= (size_t) k;
        }
        return 0;
}

static int write_records(int fd, const WalRecord *records, size_t n, size_t *at) {
        _cleanup_free_ uint8_t *buffer = NULL;
        size_t size = 0;
        int r;

        for (size_t i = 0; i < n; i++)
                size += WAL_HEADER_SIZE + records[i].size;
        buffer = malloc(size);
        if (!buffer)
                return -ENOMEM;
        size = 0;
        for (size_t i = 0; i < n; i++) {
                wal_header(&records[i], buffer + size);
                memcpy(buffer + size + WAL_HEADER_SIZE, records[i].bytes, records[i].size);
                size += WAL_HEADER_SIZE + records[i].size;
        }
        r = write_all(fd, buffer, size, *at);
        if (r < 0)
                return r;
        *at += size;
        return 0;
}

/* Room for the next ones: zeros up to where the file is compacted, so that a record is nothing but data in its place, and
 * syncing it needs no commit of the file system's own journal (three times as quick); behind that it is only reserved.
 * Where the file system has no room, appending finds out by itself. */
static void reserve(int fd, size_t used) {
        static const uint8_t zeros[4096];
        size_t at = used;
        int r = 0;

        while (r >= 0 && at < WAL_COMPACT_BYTES) {
                size_t n = sizeof(zeros) - at % sizeof(zeros);

                r = write_all(fd, zeros, n, at);
                at += n;
        }
        if (r < 0 && ftruncate(fd, (off_t) used) < 0)
                return; /* what there is of zeros does no harm */
        (void) fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, WAL_BYTES_MAX);
}

typedef struct Loading {
        Wal *wal;
        int r;
} Loading;

static void on_record(const WalRecord *record, void *userdata) {
        Loading *l = userdata;

        if (l->r >= 0)
                l->r = take_record(l->wal, record);
}

static int put_aside(Wal *w, const char *what) {
        (void) snprintf(w->damage, sizeof(w->damage), "/%s/%s %s", w->path, WAL_FILE, what);
        forget(w);
        if (!w->peeking && renameat(w->dir_fd, WAL_FILE, w->dir_fd, WAL_FILE_DAMAGED) < 0)
                return -errno;
        return -ENOENT; /* there is none any more */
}

/* -ENOENT: there was none, or a damaged one that has been put aside. */
static int load(Wal *w, int fd) {
        _cleanup_free_ uint8_t *bytes = NULL;
        Loading loading = { .wal = w };
        WalCondition condition;
        size_t size = 0, valid;
        struct stat st;
        char what[64];

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return put_aside(w, "isn't a regular file");
        if (st.st_size > (off_t) WAL_BYTES_MAX)
                return put_aside(w, "is larger than klpd makes it");
        bytes = malloc((size_t) st.st_size + 1);
        if (!bytes)
                return -ENOMEM;
        while (size < (size_t) st.st_size) {
                ssize_t k = pread(fd, bytes + size, (size_t) st.st_size - size, (off_t) size);

                if (k < 0 && errno != EINTR)
                        return -errno;
                if (k == 0)
                        break;
                size += k > 0 ? (size_t) k : 0;
        }
        condition = wal_scan(bytes, size, on_record, &loading, &valid);
        if (condition == WAL_DAMAGED) {
                (void) snprintf(what, sizeof(what), "is damaged at byte %zu", valid);
                return put_aside(w, what);
        }
        w->used = valid;
        w->torn = condition == WAL_TORN;
        return loading.r;
}

static int open_existing(Wal *w, int flags) {
        int fd, r;

        fd = openat(w->dir_fd, WAL_FILE, flags | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return errno == ELOOP ? put_aside(w, "is a symbolic link") : -errno;
        if (w->used == 0) { /* later ones only look for a file that can be written again */
                r = load(w, fd);
                if (r < 0) {
                        close(fd);
                        return r;
                }
        }
        if ((flags & O_ACCMODE) == O_RDONLY) {
                close(fd);
                return 0;
        }
        w->fd = fd;
        return 0;
}

static int open_directory(Wal *w) {
        if (w->dir_fd >= 0)
                return 0;
        w->dir_fd = openat(w->root_fd, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (w->dir_fd < 0 && errno == ENOENT && mkdirat(w->root_fd, w->path, 0755) >= 0)
                w->dir_fd = openat(w->root_fd, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return w->dir_fd < 0 ? -errno : 0;
}

/* Takes the first of them, by their numbers; NULL: there is none left. */
static const Kept *take_first(const Kept **state, const Kept **host, const Kept **unsent) {
        const Kept **first = unsent, *k;

        if (*state && (!*first || (*state)->record.sequence < (*first)->record.sequence))
                first = state;
        if (*host && (!*first || (*host)->record.sequence < (*first)->record.sequence))
                first = host;
        k = *first;
        if (k)
                *first = k->next; /* NULL but for the unsent ones */
        return k;
}

/* The kept records in the order of their numbers, then a SENT. */
static int write_kept(const Wal *w, int fd, size_t *at) {
        const Kept *state = w->state, *host = w->host, *unsent = w->unsent, *k;
        WalRecord record = { .kind = WAL_SENT, .sequence = w->sequence + 1 };
        char text[24];
        int r = 0;

        while (r >= 0 && (k = take_first(&state, &host, &unsent)))
                r = write_records(fd, &k->record, 1, at);
        if (r < 0)
                return r;
        record.size = (size_t) snprintf(text, sizeof(text), "%" PRIu64 "\n", w->sent);
        record.bytes = (const uint8_t *) text;
        return write_records(fd, &record, 1, at);
}

/* A new file with what is to be kept takes the place of the old one, if any, in one step. */
static int rewrite(Wal *w) {
        size_t at = 0;
        int fd, r;

        fd = openat(w->dir_fd, WAL_FILE_NEW, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
                return -errno;
        r = write_kept(w, fd, &at);
        if (r >= 0)
                reserve(fd, at);
        if (r >= 0 && (fdatasync(fd) < 0 || renameat(w->dir_fd, WAL_FILE_NEW, w->dir_fd, WAL_FILE) < 0 ||
                       fsync(w->dir_fd) < 0))
                r = -errno;
        if (r < 0) {
                close(fd);
                (void) unlinkat(w->dir_fd, WAL_FILE_NEW, 0);
                return r;
        }
        if (w->fd >= 0)
                close(w->fd);
        w->fd = fd;
        w->used = at;
        w->torn = false;
        w->synced = ++w->sequence;
        return 0;
}

/* A file that can be appended to, or an error. */
static int make_ready(Wal *w) {
        int r;

        r = open_directory(w);
        if (r < 0)
                return set_problem(w, "", r);
        if (w->fd < 0) {
                r = open_existing(w, O_RDWR);
                if (r == -EROFS || r == -EACCES) /* at least what is in it */
                        (void) open_existing(w, O_RDONLY);
                if (r == -ENOENT)
                        r = rewrite(w);
                if (r < 0)
                        return set_problem(w, WAL_FILE, r);
        }
        w->problem[0] = 0;
        return 0;
}

static int wal_new(int root_fd, const char *path, Wal **ret) {
        Wal *w;

        w = malloc(sizeof(*w));
        if (!w)
                return -ENOMEM;
        *w = (Wal) { .dir_fd = -EBADF, .fd = -EBADF };
        w->unsent_end = &w->unsent;
        w->staged_end = &w->staged;
        w->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (w->root_fd < 0) {
                free(w);
                return -errno;
        }
        (void) snprintf(w->path, sizeof(w->path), "%s", path);
        *ret = w;
        return 0;
}

int wal_peek(int root_fd, const char *path, Wal **ret) {
        Wal *w;
        int r;

        r = wal_new(root_fd, path, &w);
        if (r < 0)
                return r;
        w->peeking = true;
        w->dir_fd = openat(w->root_fd, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        r = w->dir_fd < 0 ? -errno : open_existing(w, O_RDONLY);
        if (r < 0 && r != -ENOENT) {
                wal_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

int wal_open(int root_fd, const char *path, Wal **ret) {
        Wal *w;
        int r;

        r = wal_new(root_fd, path, &w);
        if (r < 0)
                return r;
        r = make_ready(w);
        if (r == -ENOMEM) {
                wal_free(w);
                return r;
        }
        *ret = w;
        return 0;
}

static void staged_drop(Wal *w) {
        Staged *s;

        while ((s = w->staged)) {
                w->staged = s->next;
                free(s);
        }
        w->staged_end = &w->staged;
}

Wal *wal_free(Wal *w) {
        if (!w)
                return NULL;
        forget(w);
        staged_drop(w);
        if (w->fd >= 0)
                close(w->fd);
        if (w->dir_fd >= 0)
                close(w->dir_fd);
        close(w->root_fd);
        free(w);
        return NULL;
}

const char *wal_problem(const Wal *w) {
        return w->problem[0] ? w->problem : NULL;
}

const char *wal_damage(const Wal *w) {
        return w->damage[0] ? w->damage : NULL;
}

const WalRecord *wal_last_state(const Wal *w) {
        return w->state ? &w->state->record : NULL;
}

const WalRecord *wal_last_host(const Wal *w) {
        return w->host ? &w->host->record : NULL;
}

void wal_unsent(const Wal *w, void (*callback)(const WalRecord *record, void *userdata), void *userdata) {
        for (const Kept *k = w->unsent; k; k = k->next)
                callback(&k->record, userdata);
}

/* ---- appending ---- */

/* What is behind the last whole record goes, for good: after a loss of power it must not show through what comes there. */
static int cut(Wal *w) {
        if (ftruncate(w->fd, (off_t) w->used) < 0)
                return -errno;
        reserve(w->fd, w->used);
        if (fdatasync(w->fd) < 0)
                return -errno;
        w->synced = w->sequence;
        w->torn = false;
        return 0;
}

/* After an error the file is as it was before, or isn't used any more until it could be opened again. */
static int append_failed(Wal *w, int r) {
        w->torn = true;
        if (cut(w) < 0) {
                close(w->fd);
                w->fd = -EBADF;
        }
        return set_problem(w, WAL_FILE, r);
}

static bool fits(const Wal *w, size_t size, size_t limit) {
        return w->used + size <= limit;
}

/* Where compaction is due: not again and again while most of the file has to be kept. */
static size_t compact_at(const Wal *w) {
        size_t kept = 2 * (w->unsent_bytes + w->n_unsent * WAL_HEADER_SIZE + (w->host ? w->host->record.size : 0));

        return kept < WAL_COMPACT_BYTES ? WAL_COMPACT_BYTES : kept < WAL_BYTES_MAX ? kept : WAL_BYTES_MAX;
}

static int prepare_append(Wal *w, size_t size) {
        int r;

        r = make_ready(w);
        if (r < 0)
                return r;
        if (!fits(w, size, compact_at(w))) {
                r = rewrite(w);
                if (r < 0 && !fits(w, size, WAL_BYTES_MAX))
                        return set_problem(w, WAL_FILE, r);
        }
        if (!w->torn)
                return 0;
        r = cut(w);
        return r < 0 ? set_problem(w, WAL_FILE, r) : 0;
}

static int write_synced(Wal *w, const WalRecord *records, size_t n, bool sync) {
        size_t at = w->used;
        int r;

        r = write_records(w->fd, records, n, &at);
        if (r >= 0 && sync && fdatasync(w->fd) < 0)
                r = -errno;
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = take_record(w, &records[i]);
        if (r < 0)
                return append_failed(w, r);
        w->used = at;
        if (sync)
                w->synced = w->sequence;
        return 0;
}

/* The staged ones, then last, if there is one; its number is set. What is staged is used up. */
static int append(Wal *w, WalRecord *last, bool sync) {
        _cleanup_free_ WalRecord *records = NULL;
        size_t n = 0, size = 0;
        int r;

        for (const Staged *s = w->staged; s; s = s->next, n++)
                size += WAL_HEADER_SIZE + s->size;
        if (last)
                size += WAL_HEADER_SIZE + last->size;
        records = calloc(n + 1, sizeof(WalRecord));
        r = records ? prepare_append(w, size) : -ENOMEM;
        if (r >= 0) {
                n = 0;
                for (const Staged *s = w->staged; s; s = s->next, n++)
                        records[n] = (WalRecord) {
                                .kind = s->kind,
                                .sequence = w->sequence + 1 + n,
                                .bytes = s->bytes,
                                .size = s->size,
                        };
                if (last) {
                        last->sequence = w->sequence + 1 + n;
                        records[n++] = *last;
                }
                for (size_t i = 0; i < n; i++)
                        records[i].unsynced = (uint32_t) (records[i].sequence - 1 - w->synced);
                r = write_synced(w, records, n, sync);
        }
        n = 0;
        for (const Staged *s = w->staged; r >= 0 && s; s = s->next, n++)
                *s->sequence = records[n].sequence;
        staged_drop(w);
        return r;
}

static int check(const void *bytes, size_t size) {
        if (size > WAL_RECORD_MAX)
                return -E2BIG;
        return size == 0 || ((const uint8_t *) bytes)[size - 1] == 0 ? -EINVAL : 0;
}

int wal_append(Wal *w, WalKind kind, const void *bytes, size_t size, bool sync, uint64_t *ret_sequence) {
        WalRecord record = { .kind = kind, .bytes = bytes, .size = size };
        int r;

        r = check(bytes, size);
        if (r >= 0)
                r = append(w, &record, sync);
        if (r < 0)
                return r;
        if (ret_sequence)
                *ret_sequence = record.sequence;
        return 0;
}

int wal_stage(Wal *w, WalKind kind, const void *bytes, size_t size, uint64_t *sequence) {
        Staged *s;
        int r;

        r = check(bytes, size);
        if (r < 0)
                return r;
        s = malloc(sizeof(*s) + size);
        if (!s)
                return -ENOMEM;
        *s = (Staged) { .kind = kind, .sequence = sequence, .size = size };
        memcpy(s->bytes, bytes, size);
        *sequence = 0;
        *w->staged_end = s;
        w->staged_end = &s->next;
        return 0;
}

int wal_flush(Wal *w) {
        return w->staged ? append(w, NULL, false) : 0;
}

void wal_tidy(Wal *w) {
        if (w->fd >= 0 && w->used > compact_at(w) / 2)
                (void) rewrite(w); /* if that fails the file is as it was */
}

int wal_sent(Wal *w, uint64_t sequence) {
        char text[24];
        int n;

        n = snprintf(text, sizeof(text), "%" PRIu64 "\n", sequence);
        return wal_append(w, WAL_SENT, text, (size_t) n, false, NULL);
}

int wal_host_filed(Wal *w) {
        return wal_append(w, WAL_HOST, WAL_HOST_FILED, strlen(WAL_HOST_FILED), false, NULL);
}
