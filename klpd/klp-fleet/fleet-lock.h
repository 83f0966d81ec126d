/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The host's slot at a FleetLock server: slot.h says what is to be done, this does it, over HTTP and, for the
 * grant, through a function of the caller's. Tries again with back-off until it is done or no longer wanted.
 */
#pragma once

#include "klpd/klp-fleet/fleet-config.h"
#include "klpd/klp-fleet/http.h"
#include "klpd/klp-fleet/slot.h"

typedef struct FleetLock FleetLock;

/* Tells klpd that it has the slot; fleet_lock_granted() says how that ended. */
typedef int (*FleetLockGrant)(const char *token, void *userdata);

/* config, http and id are borrowed. */
int fleet_lock_new(sd_event *event, Http *http, const LockConfig *config, const char *id, FleetLockGrant grant,
                   void *userdata, FleetLock **ret);
FleetLock *fleet_lock_free(FleetLock *l);

/* slot_set_wanted(), and what follows from it. */
void fleet_lock_set_wanted(FleetLock *l, const char *wanted);
void fleet_lock_granted(FleetLock *l, bool success);
/* "held by this host", …: for people. */
const char *fleet_lock_status(const FleetLock *l);
