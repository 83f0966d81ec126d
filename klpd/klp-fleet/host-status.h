/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is published of a host: klpd's properties as they are on the bus, as JSON. So what klpd learns to say of
 * itself is published without anybody writing it here once more.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "policy/json-writer.h"

#define STATUS_BLOCKERS_MAX 16U

/* One value of any type at the message's position: an object for a dictionary, a list for an array. Numbers
 * below zero are null. -EBADMSG, -ENOMEM. */
int status_write_value(JsonWriter *w, sd_bus_message *m, unsigned depth);

/*
 * All of it in one line, malloc'ed. The messages are replies of GetAll and ListBlocking, or NULL, from their
 * beginning. Too many tasks are left out, all of them if it gets longer than max; -E2BIG if it still is.
 */
typedef struct StatusParts {
        const char *id, *hostname;
        sd_bus_message *manager, *fleet, *slot, *blockers;
} StatusParts;
int status_format(const StatusParts *parts, size_t max, char **ret);
