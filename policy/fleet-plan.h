/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a fleet decision to a plan: the request that would bring about what the document wants, as klpd plans it
 * when its time has come, and as `klpctl fleet plan --repository` predicts whether the policy would let it.
 */
#pragma once

#include "policy/fleet.h"
#include "policy/model.h"
#include "policy/plan.h"

/* Text of the request that isn't the document's. */
typedef struct FleetRequest {
        Request request;
        char name[PATCH_NAME_MAX + 1];
} FleetRequest;

/*
 * What d wants to be done (its action isn't NONE), whether it may be done now or not. Borrows from the document;
 * ret->request points into ret. Disabling goes patch by patch, the highest level first. -EINVAL: there is nothing
 * to do, or what runs has a name that can't be.
 */
int fleet_decision_request(const FleetDecision *d, FleetRequest *ret);

/* What of the candidate's file is known beforehand: the digest that the document pins. */
void fleet_decision_file(const FleetDecision *d, FileFacts *ret);

/* A member of a host's line (klpd-fleet.json(5), "Inventories"), as fleet_host_parser_line() reads the rest.
 * -EBADMSG, -ENOMEM. */
int fleet_host_inventory(const char *line, size_t size, Inventory **ret, PolicyError *error);
