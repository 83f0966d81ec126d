/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sandbox that klpd-inspect puts itself in before it looks at a hostile byte; the only file that knows
 * libseccomp. There is no way back, and no running without it: any failure is for the caller to end on.
 *
 * After it: no capability, no way to gain one; no file can be opened and no socket made (EACCES); any other
 * system call than what reading, computing and printing take kills the process; bounded memory, processor
 * time and output.
 */
#pragma once

#include "policy/util.h"

int inspect_sandbox_enter(void);
