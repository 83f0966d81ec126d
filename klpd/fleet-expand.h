/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Maintenance windows expanded (fleet-calendar.h) without blocking the loop: in a forked child, which runs
 * systemd-analyze once per different window and hands the intervals back through a pipe. The answer is
 * bounded and checked; the child, and what it has started, is killed at a deadline or when the request goes.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/fleet.h"

#define FLEET_EXPAND_TIMEOUT_USEC (UINT64_C(180) * 1000000)

typedef struct FleetExpand FleetExpand;

/*
 * Once, from the event loop. r < 0: nothing is known of any window, and text says why. Otherwise problems[i]
 * is why document i's windows could not be expanded, or NULL: then they have their intervals, and all of
 * them or none. The request may be freed in the callback.
 */
typedef void (*FleetExpandCallback)(int r, const char *text, char *const *problems, void *userdata);

/* Documents are borrowed, and written to just before the callback. */
int fleet_expand_new(sd_event *event, FleetDocument *const *documents, size_t n, uint64_t now,
                     FleetExpandCallback callback, void *userdata, FleetExpand **ret);
FleetExpand *fleet_expand_free(FleetExpand *e); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetExpand *, fleet_expand_free);

/* Whether there is anything to expand. */
bool fleet_document_has_windows(const FleetDocument *d);
