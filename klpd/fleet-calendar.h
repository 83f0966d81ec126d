/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Maintenance windows, from systemd's calendar notation to intervals in UTC: once per document, by
 * `systemd-analyze calendar`, so that klpd has no idea of its own of what "Mon..Fri 02:00 Europe/Berlin"
 * means. Blocking (some ten milliseconds per different window): klpctl calls it as it is, the daemon in a
 * child.
 */
#pragma once

#include "policy/fleet.h"

/* How many occurrences are looked up: of a daily window the next four months. */
#define FLEET_CALENDAR_OCCURRENCES 128U

/*
 * Sets the intervals of all windows of the document, from the one that is open at now on. error: key is the
 * rule, message what systemd says. -EINVAL: not a calendar expression or time zone. -ENOENT: no
 * systemd-analyze.
 */
int fleet_calendar_expand(FleetDocument *d, uint64_t now, PolicyError *error);
