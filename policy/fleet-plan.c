/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-plan.h. */
#include "policy/fleet-plan.h"
#include "policy/json-model.h"

static int request_disable(const FleetDecision *d, FleetRequest *ret) {
        FleetSlice name = d->running ? d->running->name : (FleetSlice) {};

        if (!name.s || name.n == 0 || name.n > PATCH_NAME_MAX)
                return -EINVAL;
        memcpy(ret->name, name.s, name.n);
        ret->name[name.n] = 0;
        ret->request.kind = REQUEST_DISABLE;
        ret->request.patch = ret->name;
        return 0;
}

int fleet_decision_request(const FleetDecision *d, FleetRequest *ret) {
        *ret = (FleetRequest) {};
        switch (d->action) {
        case FLEET_ACTION_DISABLE:
                return request_disable(d, ret);
        case FLEET_ACTION_APPLY:
        case FLEET_ACTION_DOWNGRADE:
                break;
        case FLEET_ACTION_NONE:
        case _FLEET_ACTION_MAX:
                return -EINVAL;
        }
        ret->request = (Request) {
                .kind = REQUEST_CONVERGE,
                .patch = d->entry ? d->entry->patch : NULL,
                .has_level = true,
                .level = d->goal,
                .vendor = d->rule->vendor,
                .stream = d->rule->stream,
                .accept_irreversible = d->rule->accept_irreversible,
                .intermediates = d->rule->intermediates,
        };
        return 0;
}

void fleet_decision_file(const FleetDecision *d, FileFacts *ret) {
        *ret = (FileFacts) {};
        if (!d->entry || !d->entry->digest)
                return;
        ret->pinned_digest = d->entry->digest;
        ret->pinned_by = d->entry->document->source ?: "the fleet document";
}

int fleet_host_inventory(const char *line, size_t size, Inventory **ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader reader = {};
        const JsonValue *value;
        int r;

        r = json_reader_begin(&reader, line, size, error);
        if (r < 0)
                return r;
        value = json_is(reader.root, JSON_OBJECT) ? json_find(&reader, reader.root, "inventory") : NULL;
        if (!value)
                return json_reader_fail(&reader, -EBADMSG, "there is no inventory");
        return json_read_inventory(&reader, value, ret);
}
