/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells when something in one of a few directories changes, also if the directory isn't there yet: then its
 * nearest ancestor that is there is watched for the next component's coming. Several changes at once are
 * one call, a moment after the last.
 */
#pragma once

#include <systemd/sd-event.h>

#include "policy/util.h"

typedef struct FleetWatch FleetWatch;

/* paths: absolute, NULL-terminated; copied. */
int fleet_watch_new(sd_event *event, const char *const *paths, void (*changed)(void *userdata),
                    void *userdata, FleetWatch **ret);
FleetWatch *fleet_watch_free(FleetWatch *w); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(FleetWatch *, fleet_watch_free);
