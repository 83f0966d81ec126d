/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What of fleet files and of changes is worth counting: the one struct that the bus properties of
 * org.klpd1.Fleet and klpd/metrics.c are made from. The manager has it as m->fleet_status; it is always
 * there, also without any fleet document, and counts from the start of the daemon unless it says otherwise.
 *
 * Strings are owned by whoever fills them in (converge.c) and valid until the loop runs again.
 */
#pragma once

#include "policy/rule.h"

typedef struct FleetStatus {
        /* converge.c: as it is now */
        bool managed;              /* a rule of a document matches this host */
        const char *stream;        /* "vendor/stream" of that rule, or "" */
        const char *rule, *document; /* that won: its name, the file's path; or "" */
        const char *verdict, *reason; /* fleet_verdict_to_string(), fleet_reason_to_string() */
        const char *phase;         /* converge_phase_to_string() */
        bool has_level;
        uint32_t level;            /* that runs, the highest of the stream; 0 if !has_level */
        bool has_desired;
        uint32_t desired;          /* 0 with has_desired: nothing of the stream shall run */
        bool drift;
        bool overridden;           /* by hand */
        uint64_t until_usec;       /* CLOCK_REALTIME: when it can begin, 0: no time known */
        uint64_t last_success_usec; /* CLOCK_REALTIME, of the last convergence that was accepted; kept on disk */
        size_t n_documents;        /* in force */
        size_t n_problems;         /* files that are broken or refused */

        /* manager.c: since the start of the daemon, of every request, by hand or not */
        uint64_t n_done, n_refused, n_failed, n_reversed; /* by result */
        uint64_t refused_by_rule[_RULE_MAX]; /* refusals in which that rule was enforced */
        uint64_t last_transition_usec;       /* how long the last one that completed took; 0: none yet */
} FleetStatus;
