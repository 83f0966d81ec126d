/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Maintenance windows, from systemd's calendar notation to intervals in UTC: once per document, by
 * `systemd-analyze calendar`, so that klpd has no idea of its own of what "Mon..Fri 02:00 Europe/Berlin"
 * means. Blocking (some ten milliseconds per different window): klpctl calls it as it is, the daemon in a
 * child.
 */
#pragma once

#include "policy/fleet.h"

/* How many openings are looked up: of a daily window the next four months. */
#define FLEET_CALENDAR_OCCURRENCES 128U
/* A window that opens more often than that many times in an hour would have to be looked up all the time. */
#define FLEET_CALENDAR_COVER_USEC (UINT64_C(3600) * 1000000)
/* Of one document: windows in all, and different ones, since each of these is a run of systemd-analyze. */
#define FLEET_CALENDAR_WINDOWS_MAX 4096U
#define FLEET_CALENDAR_DIFFERENT_MAX 64U

/*
 * Sets the intervals of all windows of the document, from the one that is open at now on. error: key is the
 * rule, message what systemd says. -EINVAL: not a calendar expression or time zone. -E2BIG: beyond one of the
 * limits, which is named. -ENOENT: no systemd-analyze. A window that never opens (again) has no intervals.
 */
int fleet_calendar_expand(FleetDocument *d, uint64_t now, PolicyError *error);
