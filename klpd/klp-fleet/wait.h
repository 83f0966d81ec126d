/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Timers of the event loop that don't come too early. A relative timer of sd-event counts from when the loop woke up:
 * behind a document that took seconds to write, the pause before the next request would be over as it begins.
 *
 * Which clock: what passes at a server passes while this host sleeps, too (a lease, a watch whose connection nobody keeps,
 * the pause that a server in trouble is given): CLOCK_BOOTTIME. What only this host does waits by CLOCK_MONOTONIC. Nothing
 * waits by CLOCK_REALTIME, which people set.
 */
#pragma once

#include <systemd/sd-event.h>
#include <time.h>

#include "policy/util.h"

uint64_t clock_usec(clockid_t clock);

/* Off, until wait_start(). */
int wait_new(sd_event *event, clockid_t clock, uint64_t accuracy_usec, const char *description,
             sd_event_time_handler_t handler, void *userdata, sd_event_source **ret);
/* Once, when so much time has passed from this very moment on. */
int wait_start(sd_event_source *timer, uint64_t usec);
