/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * D-Bus without a bus: /run/klpd/private, a socket that only root can connect to, and on which klpd is what it is on
 * the system bus (as PID 1 has /run/systemd/private). So root gets at klpd where there is no bus yet, or none any more,
 * and neither a request nor its answer goes through another process first.
 *
 * A PrivateBus listens, and owns the connections that it has accepted: each is an sd_bus whose other end is the
 * client itself. Messages on it have no sender; who sends them is the connection's own (sd_bus_get_owner_creds()).
 *
 * Nobody can hold klpd up: what can't be written at once is queued, and a client that leaves more than
 * PRIVATE_BUS_QUEUE_MAX messages unread, or doesn't say who it is in time (sd-bus: 25 s), is dropped.
 */
#pragma once

#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "policy/util.h"

#define PRIVATE_BUS_PATH "run/klpd/private"
#define PRIVATE_BUS_CONNECTIONS_MAX 512U /* one more is closed at once */
#define PRIVATE_BUS_QUEUE_MAX 256U

typedef struct PrivateBus PrivateBus;

/* root_fd: "/", or a test's tree. export puts the objects on a new connection; what it returns below 0 ends that. */
int private_bus_new(sd_event *event, int root_fd, int (*export)(sd_bus *bus, void *userdata), void *userdata,
                    PrivateBus **ret);
PrivateBus *private_bus_free(PrivateBus *p); /* closes the connections; NULL is fine */
DEFINE_CLEANUP(PrivateBus *, private_bus_free);

/* Has a signal sent to everybody: calls emit once for each connection. p NULL: there is nobody. */
void private_bus_emit(PrivateBus *p, int (*emit)(sd_bus *bus, void *userdata), void *userdata);
size_t private_bus_n_connections(const PrivateBus *p);
