/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See private-bus.h. Without locks: one event loop. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/private-bus.h"

typedef struct Connection Connection;

struct Connection {
        PrivateBus *server;
        Connection *next, **link;
        sd_bus *bus;
};

struct PrivateBus {
        sd_event *event;
        sd_event_source *listener; /* owns the socket */
        int (*export)(sd_bus *bus, void *userdata);
        void *userdata;
        Connection *connections;
        size_t n_connections;
};

static Connection *connection_free(Connection *c) {
        if (!c)
                return NULL;
        if (c->link) {
                *c->link = c->next;
                if (c->next)
                        c->next->link = c->link;
                c->server->n_connections--;
        }
        sd_bus_close_unref(c->bus); /* without a flush, which would wait for a client that doesn't read */
        free(c);
        return NULL;
}
DEFINE_CLEANUP(Connection *, connection_free);

static int on_disconnected(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        connection_free(userdata);
        return 0;
}

static bool connection_is_deaf(const Connection *c) {
        uint64_t n = 0;

        return sd_bus_get_n_queued_write(c->bus, &n) >= 0 && n > PRIVATE_BUS_QUEUE_MAX;
}

static void connection_drop_deaf(Connection *c) {
        log_notice("A client of /" PRIVATE_BUS_PATH " is dropped: it doesn't read what it is sent");
        connection_free(c);
}

/* Before each call, since it is the answers to its own calls that a client can make many of. */
static int on_message(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        Connection *c = userdata;

        if (!connection_is_deaf(c))
                return 0;
        connection_drop_deaf(c);
        return 1;
}

/* Takes fd over if it succeeds. */
static int connection_start(Connection *c, int fd) {
        sd_id128_t id;
        int r;

        r = sd_id128_randomize(&id);
        if (r >= 0)
                r = sd_bus_new(&c->bus);
        if (r >= 0)
                r = sd_bus_set_description(c->bus, "klpd-private");
        if (r >= 0)
                r = sd_bus_set_server(c->bus, true, id);
        if (r >= 0)
                r = sd_bus_set_sender(c->bus, "org.klpd1"); /* for the clients' matches */
        if (r >= 0)
                r = sd_bus_set_fd(c->bus, fd, fd);
        return r;
}

static int connection_new(PrivateBus *p, int fd) {
        _cleanup_(connection_freep) Connection *c = NULL;
        int r;

        c = calloc(1, sizeof(*c));
        if (!c) {
                close(fd);
                return -ENOMEM;
        }
        c->server = p;
        r = connection_start(c, fd);
        if (r < 0) {
                close(fd);
                return r;
        }
        r = sd_bus_start(c->bus);
        if (r >= 0)
                r = sd_bus_attach_event(c->bus, p->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_match_signal(c->bus, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                        "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, c);
        if (r >= 0)
                r = sd_bus_add_filter(c->bus, NULL, on_message, c);
        if (r >= 0)
                r = p->export(c->bus, p->userdata);
        if (r < 0)
                return r;
        c->link = &p->connections;
        c->next = p->connections;
        if (c->next)
                c->next->link = &c->next;
        p->connections = c;
        p->n_connections++;
        TAKE_PTR(c);
        return 0;
}

/* Only root can connect, as the socket's mode has it; this is what klpd believes. */
static int check_peer(int fd) {
        struct ucred cred;
        socklen_t size = sizeof(cred);

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
                return -errno;
        if (cred.uid == 0)
                return 0;
        log_warning("Process %d of uid %u has connected to /" PRIVATE_BUS_PATH ", which is root's: closed",
                    (int) cred.pid, (unsigned) cred.uid);
        return -EACCES;
}

static int on_connection(sd_event_source *source, int listen_fd, uint32_t events, void *userdata) {
        PrivateBus *p = userdata;
        int fd, r;

        fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
                if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
                        return 0;
                /* Not to be tried for ever, and nobody shall wait in front of a door behind which nobody is: clients
                 * that can't connect here take the system bus. */
                log_error("Can't accept connections on /" PRIVATE_BUS_PATH " any more: %s", strerror(errno));
                p->listener = sd_event_source_disable_unref(p->listener);
                return 0;
        }
        r = p->n_connections < PRIVATE_BUS_CONNECTIONS_MAX ? check_peer(fd) : -EUSERS;
        if (r < 0) {
                log_debug("A connection to /" PRIVATE_BUS_PATH " is closed: %s", strerror(-r));
                close(fd);
                return 0;
        }
        r = connection_new(p, fd);
        if (r < 0)
                log_warning("Can't serve a connection to /" PRIVATE_BUS_PATH ": %s", strerror(-r));
        return 0;
}

/* By the directory's descriptor: a path below a test's root may be longer than an address can be. */
static int listen_in(int dir_fd, int *ret) {
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        _cleanup_close_ int fd = -EBADF;
        mode_t mask;
        int r;

        (void) snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/private", dir_fd);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        /* Of a klpd that was killed: ours alone, as we hold the lock. */
        if (unlinkat(dir_fd, "private", 0) < 0 && errno != ENOENT)
                return -errno;
        mask = umask(0177);
        r = bind(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ? -errno : 0;
        (void) umask(mask);
        if (r >= 0 && listen(fd, SOMAXCONN) < 0)
                r = -errno;
        if (r < 0)
                return r;
        *ret = TAKE_FD(fd);
        return 0;
}

int private_bus_new(sd_event *event, int root_fd, int (*export)(sd_bus *bus, void *userdata), void *userdata,
                    PrivateBus **ret) {
        _cleanup_(private_bus_freep) PrivateBus *p = NULL;
        _cleanup_close_ int dir_fd = -EBADF, fd = -EBADF;
        int r;

        dir_fd = openat(root_fd, "run/klpd", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (dir_fd < 0)
                return -errno;
        r = listen_in(dir_fd, &fd);
        if (r < 0)
                return r;
        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->event = sd_event_ref(event);
        p->export = export;
        p->userdata = userdata;
        r = sd_event_add_io(event, &p->listener, fd, EPOLLIN, on_connection, p);
        if (r >= 0)
                r = sd_event_source_set_description(p->listener, "private-bus");
        if (r >= 0)
                r = sd_event_source_set_io_fd_own(p->listener, true);
        if (r < 0)
                return r;
        (void) TAKE_FD(fd);
        *ret = TAKE_PTR(p);
        return 0;
}

PrivateBus *private_bus_free(PrivateBus *p) {
        if (!p)
                return NULL;
        while (p->connections)
                connection_free(p->connections);
        sd_event_source_disable_unref(p->listener);
        sd_event_unref(p->event);
        free(p);
        return NULL;
}

void private_bus_emit(PrivateBus *p, int (*emit)(sd_bus *bus, void *userdata), void *userdata) {
        Connection *next;

        for (Connection *c = p ? p->connections : NULL; c; c = next) {
                int r;

                next = c->next;
                r = emit(c->bus, userdata);
                if (r < 0) /* mostly: it has gone, and that hasn't been read yet */
                        connection_free(c);
                else if (connection_is_deaf(c))
                        connection_drop_deaf(c);
        }
}

size_t private_bus_n_connections(const PrivateBus *p) {
        return p ? p->n_connections : 0;
}
