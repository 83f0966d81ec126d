/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See journal.h. One list holds what journald hasn't got yet; the log holds what it hasn't confirmed. Three things may be
 * waited for, each a source of events: room in journald's queue, the time of the next try, journald's answer that
 * everything is on its disk (a call of varlink: a JSON text and a NUL, each way).
 */
#include "klpd/journal.h"

#include <endian.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "klpd/log.h"

#define RETRY_USEC_MIN UINT64_C(1000000)
#define RETRY_USEC_MAX UINT64_C(60000000)
/* Requests that follow one another share one; none waits for it. */
#define SYNC_DELAY_USEC UINT64_C(2000000)
/* journald (252 at least) answers when it has begun to write to the disk, not when that is over: its answer counts only so
 * much later, or the power could go in between. */
#define SYNC_SETTLE_USEC UINT64_C(5000000)
#define SYNC_TIMEOUT_USEC UINT64_C(30000000)
#define SYNC_TRIES_MAX 6U
#define LAST_CHANCE_MSEC 5000
#define BURST_MAX (JOURNAL_WAITING_MAX / 8)
#define BURST_BYTES_MAX (JOURNAL_WAITING_BYTES_MAX / 8)

typedef struct Entry {
        struct Entry *next;
        uint64_t sequence; /* in the log; 0: isn't in it */
        size_t size;
        char bytes[];
} Entry;

struct Journal {
        sd_event *event;
        int root_fd, fd, sync_fd;
        Wal *wal;
        Entry *waiting, **waiting_end;
        size_t n_waiting, waiting_bytes;
        uint64_t n_lost;
        bool held;
        uint64_t handed;    /* up to here journald's socket has them */
        uint64_t asked;     /* ... when it was asked whether it has stored them */
        uint64_t answered;  /* ... and this is what it has answered for */
        uint64_t confirmed;
        unsigned n_syncs;   /* tries since the last record */
        unsigned haste;     /* what waits are divided by */
        uint64_t retry_usec;
        sd_event_source *idle, *writable, *retry, *sync_timer, *sync_answer, *sync_settle;
        bool complained;
};

/* ---- bytes ---- */

static bool has_line_break(const struct iovec *f) {
        return memchr(f->iov_base, '\n', f->iov_len);
}

static size_t field_size(const struct iovec *f) {
        return f->iov_len + 1 + (has_line_break(f) ? sizeof(uint64_t) : 0);
}

static char *put_field(char *p, const struct iovec *f) {
        const char *text = f->iov_base, *equals = memchr(text, '=', f->iov_len);
        size_t name = equals ? (size_t) (equals - text) : 0;
        uint64_t size;

        if (!has_line_break(f)) {
                memcpy(p, text, f->iov_len);
                p += f->iov_len;
        } else {
                memcpy(p, text, name);
                p += name;
                *p++ = '\n';
                size = htole64(f->iov_len - name - 1);
                memcpy(p, &size, sizeof(size));
                p += sizeof(size);
                memcpy(p, equals + 1, f->iov_len - name - 1);
                p += f->iov_len - name - 1;
        }
        *p++ = '\n';
        return p;
}

int journal_format(const struct iovec *fields, size_t n_fields, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ bool *missing = NULL;
        char note[48] = "", *text, *p;
        size_t size = 0, n_missing = 0;

        missing = calloc(n_fields + 1, sizeof(bool));
        if (!missing)
                return -ENOMEM;
        for (size_t i = 0; i < n_fields; i++)
                size += field_size(&fields[i]);
        while (size + sizeof(note) > max) {
                size_t largest = n_fields;

                for (size_t i = 0; i < n_fields; i++)
                        if (!missing[i] &&
                            (largest == n_fields || fields[i].iov_len > fields[largest].iov_len))
                                largest = i;
                if (largest == n_fields)
                        return -E2BIG;
                missing[largest] = true;
                n_missing++;
                size -= field_size(&fields[largest]);
        }
        if (n_missing > 0)
                (void) snprintf(note, sizeof(note), "KLPD_MISSING=%zu\n", n_missing);
        text = p = malloc(size + strlen(note) + 1);
        if (!text)
                return -ENOMEM;
        for (size_t i = 0; i < n_fields; i++)
                if (!missing[i])
                        p = put_field(p, &fields[i]);
        memcpy(p, note, strlen(note));
        p += strlen(note);
        *ret = text;
        *ret_size = (size_t) (p - text);
        return 0;
}

/* ---- sockets ---- */

static int connect_to(const Journal *j, const char *path, int type) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd;

        if (snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", j->root_fd, path) >=
            (int) sizeof(address.sun_path))
                return -ENAMETOOLONG;
        fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0) {
                int r = -errno;

                close(fd);
                return r;
        }
        return fd;
}

static int send_bytes(int fd, const void *bytes, size_t size) {
        return send(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* What is too long for a datagram goes as a sealed memfd. */
static int send_memfd(int fd, const void *bytes, size_t size) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr message = { .msg_control = &control, .msg_controllen = sizeof(control) };
        int memfd, r = 0;

        memfd = memfd_create("klpd-journal", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (memfd < 0)
                return -errno;
        if (write(memfd, bytes, size) != (ssize_t) size)
                r = -ENOSPC;
        else if (fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
                r = -errno;
        control.header = (struct cmsghdr) {
                .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)),
        };
        memcpy(CMSG_DATA(&control.header), &memfd, sizeof(int));
        if (r >= 0 && sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                r = -errno;
        close(memfd);
        return r;
}

static void disconnect(Journal *j) {
        j->writable = sd_event_source_disable_unref(j->writable);
        if (j->fd >= 0)
                close(j->fd);
        j->fd = -EBADF;
}

static int send_entry(Journal *j, const Entry *e) {
        int r;

        if (j->fd < 0) {
                j->fd = connect_to(j, JOURNAL_SOCKET, SOCK_DGRAM);
                if (j->fd < 0)
                        return j->fd;
        }
        r = send_bytes(j->fd, e->bytes, e->size);
        return r == -EMSGSIZE || r == -ENOBUFS ? send_memfd(j->fd, e->bytes, e->size) : r;
}

/* ---- has journald stored it? ---- */

static void sync_later(Journal *j);

static int add_timer(Journal *j, sd_event_source **ret, uint64_t usec, sd_event_time_handler_t handler) {
        return sd_event_add_time_relative(j->event, ret, CLOCK_MONOTONIC, usec / j->haste, 0, handler, j);
}

static void sync_end(Journal *j) {
        j->sync_answer = sd_event_source_disable_unref(j->sync_answer);
        if (j->sync_fd >= 0)
                close(j->sync_fd);
        j->sync_fd = -EBADF;
}

/* Connects and asks. */
static int sync_ask(Journal *j) {
        static const char call[] = "{\"method\":\"io.systemd.Journal.Synchronize\"}";
        int r;

        sync_end(j);
        j->sync_fd = connect_to(j, JOURNAL_SYNC_SOCKET, SOCK_STREAM);
        if (j->sync_fd < 0)
                return j->sync_fd;
        j->asked = j->handed;
        r = send_bytes(j->sync_fd, call, sizeof(call));
        if (r < 0)
                sync_end(j);
        return r;
}

static int sync_take_answer(Journal *j) {
        char answer[512] = "";
        ssize_t n;
        int r;

        n = recv(j->sync_fd, answer, sizeof(answer) - 1, MSG_DONTWAIT);
        r = n < 0 ? -errno : 0;
        if (r == -EAGAIN || r == -EINTR)
                return r;
        sync_end(j);
        if (r < 0)
                return r;
        if (n == 0 || strstr(answer, "\"error\""))
                return -EIO;
        j->answered = j->asked;
        return 0;
}

static void confirm(Journal *j) {
        int r;

        if (j->answered <= j->confirmed)
                return;
        j->confirmed = j->answered;
        r = wal_sent(j->wal, j->confirmed);
        if (r < 0)
                log_debug("That the journal has its records isn't noted, they will come again: %s", strerror(-r));
        else
                wal_tidy(j->wal);
}

static int on_sync_settled(sd_event_source *source, uint64_t usec, void *userdata) {
        Journal *j = userdata;

        j->sync_settle = sd_event_source_disable_unref(j->sync_settle);
        confirm(j);
        sync_later(j);
        return 0;
}

static int on_sync_answer(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Journal *j = userdata;
        int r;

        r = sync_take_answer(j);
        if (r == -EAGAIN || r == -EINTR)
                return 0;
        j->sync_timer = sd_event_source_disable_unref(j->sync_timer);
        if (r >= 0) {
                j->n_syncs = 0;
                r = add_timer(j, &j->sync_settle, SYNC_SETTLE_USEC, on_sync_settled);
        }
        if (r < 0)
                sync_later(j);
        return 0;
}

static int on_sync_timer(sd_event_source *source, uint64_t usec, void *userdata) {
        Journal *j = userdata;
        bool late = j->sync_answer;
        int r;

        j->sync_timer = sd_event_source_disable_unref(j->sync_timer);
        sync_end(j);
        r = late ? -ETIMEDOUT : sync_ask(j);
        if (r >= 0)
                r = sd_event_add_io(j->event, &j->sync_answer, j->sync_fd, EPOLLIN, on_sync_answer, j);
        if (r >= 0)
                r = add_timer(j, &j->sync_timer, SYNC_TIMEOUT_USEC, on_sync_timer);
        if (r < 0) {
                sync_end(j);
                sync_later(j);
        }
        return 0;
}

/* Not again and again where journald has no such call. */
static void sync_later(Journal *j) {
        if (j->handed <= j->confirmed || j->sync_timer || j->sync_settle || j->n_syncs >= SYNC_TRIES_MAX)
                return;
        if (add_timer(j, &j->sync_timer, SYNC_DELAY_USEC << j->n_syncs, on_sync_timer) < 0)
                return;
        j->n_syncs++;
}

/* ---- sending ---- */

static void drop_first(Journal *j) {
        Entry *e = j->waiting;

        j->waiting = e->next;
        if (!j->waiting)
                j->waiting_end = &j->waiting;
        j->n_waiting--;
        j->waiting_bytes -= e->size;
        free(e);
}

static int journal_send(Journal *j);

static int on_idle(sd_event_source *source, void *userdata) {
        Journal *j = userdata;

        if (!j->writable && !j->retry)
                (void) journal_send(j);
        return 0;
}

/* When klpd has nothing else to do: journald's work competes with neither a change nor its answer. But what comes in
 * a burst doesn't pile up until some of it has to be dropped. */
static void send_soon(Journal *j) {
        if (j->n_waiting >= BURST_MAX || j->waiting_bytes >= BURST_BYTES_MAX ||
            sd_event_source_set_enabled(j->idle, SD_EVENT_ONESHOT) < 0)
                (void) on_idle(j->idle, j);
}

static int on_writable(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Journal *j = userdata;

        if (events & (EPOLLHUP | EPOLLERR))
                disconnect(j);
        (void) journal_send(j);
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *userdata) {
        Journal *j = userdata;

        j->retry = sd_event_source_disable_unref(j->retry);
        (void) journal_send(j);
        return 0;
}

static void retry_later(Journal *j) {
        if (j->retry || add_timer(j, &j->retry, j->retry_usec, on_retry) < 0)
                return;
        j->retry_usec = j->retry_usec * 2 < RETRY_USEC_MAX ? j->retry_usec * 2 : RETRY_USEC_MAX;
}

static void wait_for_room(Journal *j) {
        if (!j->writable &&
            sd_event_add_io(j->event, &j->writable, j->fd, EPOLLOUT, on_writable, j) < 0)
                retry_later(j);
}

static void complain(Journal *j, int r) {
        if (!j->complained)
                log_warning("The journal doesn't take records, they wait for it: %s", strerror(-r));
        j->complained = true;
}

/* As many as journald takes. */
static int journal_send(Journal *j) {
        int r = 0;

        while (j->waiting && !j->held) {
                r = send_entry(j, j->waiting);
                if (r == -EINTR)
                        continue;
                if (r < 0)
                        break;
                if (j->waiting->sequence > j->handed) {
                        j->handed = j->waiting->sequence;
                        j->n_syncs = 0;
                }
                j->retry_usec = RETRY_USEC_MIN;
                drop_first(j);
        }
        if (r == -EAGAIN) {
                complain(j, r);
                wait_for_room(j);
                return r;
        }
        j->writable = sd_event_source_disable_unref(j->writable);
        if (r < 0) {
                disconnect(j);
                complain(j, r);
                retry_later(j);
                return r;
        }
        if (!j->waiting) {
                if (j->n_lost > 0)
                        log_warning("%" PRIu64 " records are lost to the journal: it took none for too long",
                                    j->n_lost);
                j->n_lost = 0;
                j->complained = false;
        }
        sync_later(j);
        return 0;
}

/* ---- records ---- */

static Entry *enqueue(Journal *j, const void *bytes, size_t size, const char *more) {
        Entry *e;

        e = malloc(sizeof(*e) + size + strlen(more));
        if (!e) {
                log_error("Out of memory: a record is lost to the journal");
                return NULL;
        }
        *e = (Entry) { .size = size + strlen(more) };
        memcpy(e->bytes, bytes, size);
        memcpy(e->bytes + size, more, strlen(more));
        while (!j->held && j->waiting && (j->n_waiting >= JOURNAL_WAITING_MAX ||
                                          j->waiting_bytes + e->size > JOURNAL_WAITING_BYTES_MAX)) {
                drop_first(j);
                j->n_lost++;
        }
        *j->waiting_end = e;
        j->waiting_end = &e->next;
        j->n_waiting++;
        j->waiting_bytes += e->size;
        return e;
}

/* Into the log; that it can't be written is said by whoever has to stop for it. */
static void record(Journal *j, Entry *e, const struct iovec *fields, size_t n_fields) {
        _cleanup_free_ char *cut = NULL;
        const char *bytes = e->bytes;
        size_t size = e->size;
        int r = 0;

        if (size > WAL_RECORD_MAX) {
                r = journal_format(fields, n_fields, WAL_RECORD_MAX, &cut, &size);
                bytes = cut;
        }
        if (r >= 0)
                r = wal_stage(j->wal, WAL_JOURNAL, bytes, size, &e->sequence);
        if (r >= 0 && !j->held)
                r = wal_flush(j->wal);
        if (r < 0)
                log_debug("A record for the journal isn't in klpd's log: %s", strerror(-r));
}

void journal_submit(Journal *j, const struct iovec *fields, size_t n_fields) {
        _cleanup_free_ char *bytes = NULL;
        size_t size;
        Entry *e;
        int r;

        r = journal_format(fields, n_fields, SIZE_MAX, &bytes, &size);
        if (r < 0) {
                log_error("A record is lost to the journal: %s", strerror(-r));
                return;
        }
        e = enqueue(j, bytes, size, "");
        if (!e)
                return;
        record(j, e, fields, n_fields);
        send_soon(j);
}

void journal_hold(Journal *j) {
        j->held = true;
}

void journal_release(Journal *j) {
        int r;

        j->held = false;
        r = wal_flush(j->wal);
        if (r < 0)
                log_debug("Records for the journal aren't in klpd's log: %s", strerror(-r));
        send_soon(j);
}

bool journal_is_idle(const Journal *j) {
        return !j->waiting && j->handed <= j->confirmed && !j->sync_answer;
}

/* ---- beginning and end ---- */

static void on_unsent(const WalRecord *r, void *userdata) {
        Journal *j = userdata;
        Entry *e;

        e = enqueue(j, r->bytes, r->size, "KLPD_RESENT=1\n");
        if (e)
                e->sequence = r->sequence;
}

int journal_new(sd_event *event, int root_fd, Wal *wal, unsigned haste, Journal **ret) {
        Journal *j;
        int r;

        j = malloc(sizeof(*j));
        if (!j)
                return -ENOMEM;
        *j = (Journal) {
                .event = sd_event_ref(event),
                .fd = -EBADF,
                .sync_fd = -EBADF,
                .wal = wal,
                .waiting_end = &j->waiting,
                .haste = haste,
                .retry_usec = RETRY_USEC_MIN,
        };
        j->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        r = j->root_fd < 0 ? -errno : sd_event_add_defer(event, &j->idle, on_idle, j);
        if (r >= 0)
                r = sd_event_source_set_priority(j->idle, SD_EVENT_PRIORITY_IDLE);
        if (r < 0) {
                journal_free(j);
                return r;
        }
        wal_unsent(wal, on_unsent, j);
        *ret = j;
        return 0;
}

/* Nothing else is done any more, so waiting is no harm: there is one amount of time for all of it. */
static void last_chance(Journal *j) {
        struct pollfd fd = { .events = POLLOUT };
        int r = 0;

        while (j->waiting && r >= 0) {
                r = journal_send(j);
                fd.fd = j->fd;
                if (r == -EAGAIN)
                        r = poll(&fd, 1, LAST_CHANCE_MSEC) > 0 ? 0 : -ETIMEDOUT;
        }
        if (r < 0 || j->handed <= j->confirmed || sync_ask(j) < 0)
                return;
        fd = (struct pollfd) { .fd = j->sync_fd, .events = POLLIN };
        /* An orderly end: there will be time to write, and the records shall not all come twice. */
        if (poll(&fd, 1, LAST_CHANCE_MSEC) > 0 && sync_take_answer(j) >= 0)
                confirm(j);
}

Journal *journal_free(Journal *j) {
        if (!j)
                return NULL;
        j->held = false;
        last_chance(j);
        if (j->waiting)
                log_warning("%zu records wait for the journal: the next klpd sends them", j->n_waiting);
        while (j->waiting)
                drop_first(j);
        disconnect(j);
        sync_end(j);
        sd_event_source_disable_unref(j->idle);
        sd_event_source_disable_unref(j->retry);
        sd_event_source_disable_unref(j->sync_timer);
        sd_event_source_disable_unref(j->sync_settle);
        if (j->root_fd >= 0)
                close(j->root_fd);
        sd_event_unref(j->event);
        free(j);
        return NULL;
}
