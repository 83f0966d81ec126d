/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The messages of FleetLock (https://coreos.github.io/zincati/development/fleetlock/protocol/): a POST to
 * /v1/pre-reboot or /v1/steady-state with client_params; 200 is yes, everything else is no, with a reason.
 * Pure; what a server sent is bounded and may be anything.
 */
#pragma once

#include "policy/util.h"

#define LOCK_PATH_ACQUIRE "/v1/pre-reboot"
#define LOCK_PATH_RELEASE "/v1/steady-state"
#define LOCK_HEADER "fleet-lock-protocol: true"
#define LOCK_REPLY_MAX 16384U
#define LOCK_GROUP_MAX 64U
#define LOCK_ID_MAX 64U

/* Of the characters that the protocol allows for a group, [a-zA-Z0-9.-]+, and not longer than ours. */
bool lock_group_is_valid(const char *group);
/* The same and '_'. */
bool lock_id_is_valid(const char *id);
/* malloc'ed. -ENOMEM. */
int lock_request(const char *id, const char *group, char **ret);
/* Why not: "KIND: VALUE" of the reply, or its status alone where the reply isn't what the protocol says. One
 * line; returns buf. */
char *lock_describe_error(long status, const char *text, size_t text_size, char *buf, size_t size);
