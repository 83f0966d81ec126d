/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Says that CLOCK_REALTIME was set: by a person, by a time daemon that steps it, by the first answer of a time
 * server after a boot with an empty RTC. The kernel tells whoever waits for a point in absolute time with
 * TFD_TIMER_CANCEL_ON_SET (timerfd_create(2)). Slewing isn't setting.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/util.h"

typedef struct ClockWatch ClockWatch;

int clock_watch_new(sd_event *event, void (*set)(void *userdata), void *userdata, ClockWatch **ret);
ClockWatch *clock_watch_free(ClockWatch *w); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(ClockWatch *, clock_watch_free);
