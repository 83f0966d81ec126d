/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The serving side of the helper's socket: who may talk to it, receiving and answering. No globals; sockets
 * belong to the caller.
 */
#pragma once

#include "klpd/helper-protocol.h"
#include "policy/error.h"

/*
 * Whether a connection comes from klpd: uid 0, and a process of klpd.service or klpd-boot.service.
 * *ret_pidfd (the caller's to close) holds on to the process that was checked. -EACCES: it doesn't; -ESRCH:
 * the peer has died.
 */
int helper_peer_check(int fd, int *ret_pidfd, PolicyError *error);
/* Pure: the same decision for what the kernel and systemd said. */
bool helper_peer_allowed(uint32_t uid, const char *unit);

/*
 * Receives one request. *ret_fd is the descriptor that came with it (the caller's) or negative. 0: end of
 * the connection; 1: a request; -EBADMSG: what came breaks the protocol; -ETIMEDOUT: nothing came for
 * timeout_msec.
 */
int helper_receive(int fd, int timeout_msec, HelperRequest *ret, int *ret_fd);
int helper_send_reply(int fd, const HelperReply *reply, const char *data);

/*
 * Serves one connection until its end, one request after the other. pidfd: the peer, whose death ends the
 * serving before the next request (what a dead klpd asked for isn't done); negative: not looked at.
 * -EBADMSG, -ETIMEDOUT as above.
 */
int helper_serve(int root_fd, int fd, int pidfd, int timeout_msec);
