/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd-helper does to the kernel: one checked request in, one reply out; blocks as long as the kernel
 * does. Paths are below root_fd.
 */
#pragma once

#include "klpd/helper-protocol.h"
#include "klpd/settle.h"

/* fd: the module of HELPER_LOAD (borrowed), else negative. data has HELPER_DATA_MAX bytes; reply->data_size
 * of them are written. Never fails: the reply says what happened. *ret_settle: the caller's to stop when he has answered
 * (they have been told that it is over, and nobody has to wait for that); or NULL. */
void helper_execute(int root_fd, const HelperRequest *request, int fd, HelperReply *reply, char *data,
                    Settle **ret_settle);
