/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's records in the journal, as JSON (klpctl(8), "history"). The only file that knows sd-journal.
 */
#pragma once

#include "klpctl.h"

/* The records that the arguments select, oldest first unless --reverse. Returns an exit status, having said
 * what was wrong. */
int history_read(Ctl *c, json_object **ret);
