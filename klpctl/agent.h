/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * polkit's agent for text terminals (pkttyagent), so that klpctl can ask for a password as systemctl does.
 */
#pragma once

#include <sys/types.h>

#include "policy/util.h"

/* Starts the agent and waits until it is registered. Writes 0 to *ret_pid where none is needed or possible:
 * the superuser, no terminal, not installed. */
int agent_start(pid_t *ret_pid);

/* Ends it and waits for it. pid may be 0. */
void agent_stop(pid_t pid);
