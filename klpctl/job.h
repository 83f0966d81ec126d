/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A request that changes something, from the call to its end.
 */
#pragma once

#include "bus.h"

/* Calls the message (Apply, ApplyFile, Downgrade, Disable), follows the job, says how it ended. what: "apply
 * X", for messages. Returns the exit status. */
int job_run(Ctl *c, sd_bus_message *call, const char *what);
