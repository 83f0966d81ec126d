/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Internal to shim-client*: one netlink message, from bytes to structs. Pure; fed with bytes by the unit
 * tests and by tests/fuzz. Every length is checked against the buffer, every attribute against what
 * klp_shim_abi.h says of it: anything else is -EBADMSG. Unknown attributes are skipped (a newer shim of the
 * same ABI may send them).
 */
#pragma once

#include <linux/netlink.h>

#include "klpd/shim-client.h"

#define SHIM_STATES_MAX 65536U
#define SHIM_OWNERS_MAX INVENTORY_PATCHES_MAX

/* All of these take a message that lies wholly inside its buffer (shim_message_next()). */
int shim_message_command(const struct nlmsghdr *h, uint8_t *ret_command);
int shim_message_info(const struct nlmsghdr *h, ShimInfo *ret);
int shim_message_event(const struct nlmsghdr *h, ShimEvent *ret);
int shim_message_task(const struct nlmsghdr *h, ShimTask *ret);

/* Adds what a message of a dump says to a snapshot. -EAGAIN: of another generation than snapshot->info. */
typedef struct ShimDump {
        ShimSnapshot *snapshot;
        uint32_t next_part; /* of the last patch of the snapshot */
} ShimDump;

int shim_message_add_patch(const struct nlmsghdr *h, ShimDump *dump);
int shim_message_add_state(const struct nlmsghdr *h, ShimDump *dump);

/* NLMSG_ERROR: *ret_error is the kernel's (0: acknowledged), text gets the extended-ack message or "". */
int shim_message_error(const struct nlmsghdr *h, int *ret_error, char *text, size_t size);

/*
 * The generic netlink controller's word on families. 1: family "klp_shim" has come, 0: it says nothing of
 * that, -ENODEV: it has gone.
 */
int shim_message_family(const struct nlmsghdr *h);

/* Iterates a buffer as recv() filled it: the next whole message, or NULL at its end or where it is broken
 * (*ret_broken). */
const struct nlmsghdr *shim_message_next(const void **p, size_t *size, bool *ret_broken);
