/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a fleet document may ask about this host (policy/fleet.h, FleetHost), read from the host: name, machine
 * id, kernel, os-release(5), labels. Labels are those of /etc/klpd/labels.json, an object of texts; and, where
 * that has no label of the name, what machine-info(5) says: `chassis`, `deployment`, `location`, and for each
 * of systemd's machine tags (TAGS=, separated by ':') a label `tag.NAME` of value "yes".
 *
 * Read afresh when it is asked for: a few small files.
 */
#pragma once

#include "policy/error.h"
#include "policy/fleet.h"

#define FLEET_LABELS_PATH "etc/klpd/labels.json"
#define FLEET_LABELS_MAX 256U
#define FLEET_LABELS_BYTES_MAX (256U * 1024U)

typedef struct FleetFacts {
        char *hostname, *machine_id, *os; /* or NULL: not known */
        char **label_keys, **label_values; /* strv, of one length */
        uint8_t host_id[16];
        bool has_host_id;
} FleetFacts;

void fleet_facts_done(FleetFacts *f);
/* What can't be read isn't known; error says of labels.json what is wrong with it, and then none of its
 * labels count (-EBADMSG, with *ret written all the same). -ENOMEM. */
int fleet_facts_read(int root_fd, FleetFacts *ret, PolicyError *error);

/* For tests and fuzzing. labels.json: -EBADMSG. */
int fleet_labels_parse(const char *text, size_t size, FleetFacts *f, PolicyError *error);
/* KEY=VALUE of os-release(5) and machine-info(5): the value with quotes and escapes taken off, malloc'ed, or
 * -ENOENT. */
int environment_file_get(const char *text, const char *key, char **ret);
