/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One run of klpd-inspect, the sandboxed child: descriptors go in, one JSON object comes out. The plumbing that
 * inspect-client.h and signature-client.h share: it starts the child with nothing but those descriptors, collects
 * what it prints up to a bound, waits for it up to a deadline, and reads the answer with policy's strict parser.
 * What the answer says is the callers' to judge; an answer that is {"error", "message"} comes as that error.
 *
 * The callback comes once, from the event loop, unless the run is freed before: that kills the child and calls
 * nobody. Errors: what the child says; -ETIMEDOUT; -EPROTO it died or printed nonsense; -E2BIG it printed too
 * much. `text` is a sentence, never NULL.
 */
#pragma once

#include <json-c/json.h>
#include <systemd/sd-event.h>

#include "policy/util.h"

#define INSPECT_FDS_MAX 4U

typedef struct InspectChild InspectChild;

typedef struct InspectChildSpec {
        const char *program;     /* NULL: the installed klpd-inspect */
        char *const *arguments;  /* after its name, NULL-terminated; NULL: none */
        int fds[INSPECT_FDS_MAX]; /* become 0, 3, 4 …; borrowed. 1 is the answer, 2 /dev/null */
        size_t n_fds;
        uint64_t timeout_usec;   /* 0: 60 s, which only one that hangs reaches: it has 10 s of processor time */
        const char *what;        /* "the module": what it reads, for messages; static */
} InspectChildSpec;

/* answer is NULL on error, and borrowed. The run is over: free it any time. */
typedef void (*InspectChildCallback)(int error, const char *text, struct json_object *answer, void *userdata);

int inspect_child_new(sd_event *event, const InspectChildSpec *spec, InspectChildCallback callback,
                      void *userdata, InspectChild **ret);
InspectChild *inspect_child_free(InspectChild *c); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(InspectChild *, inspect_child_free);

/* The member of that type, or NULL. */
struct json_object *inspect_answer_member(struct json_object *answer, const char *key, json_type type);
