/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the fleet loader share: fleet-load.c (which files, and what is in force in the end),
 * fleet-load-file.c (one file), fleet-load-times.c (what time alone changes).
 */
#pragma once

#include "klpd/fleet-expand.h"
#include "klpd/fleet-kept.h"
#include "klpd/fleet-load.h"
#include "klpd/fleet-watch.h"
#include "klpd/log.h"

typedef struct FleetNext {
        FleetSource source;
        size_t keep; /* index + 1 in the list in force of what stays in force under this name; 0: nothing */
        bool same;   /* the file is the one that was looked at before */
        bool refused; /* the problem is no mistake in the file, but what it is: a replay, a wrong signature */
        FleetKept bytes; /* what is looked at: the file's, or what was kept of an earlier one */
        char *why;       /* the file's problem, while what was kept is looked at in its place */
} FleetNext;

struct FleetLoader {
        const World *world;
        FleetLoaderHandlers handlers;
        char prefix[32]; /* of paths in the file system: "" where the root is "/" */
        FleetWatch *watch;
        sd_event_source *step, *renew, *timely;

        FleetSource *sources;
        size_t n;
        FleetSet *set;
        FleetSource failure; /* the directories can't be read: path and problem */

        /* the load that is under way */
        bool loading, afresh, again, again_afresh, again_look;
        bool look_again; /* also at what was untimely before */
        FleetNext *next;
        size_t n_next, at;
        HandsSignature *check;
        FleetExpand *expand;
        FleetDocument **expanded;
        size_t *expanded_at, n_expanded;
        bool renewing; /* the windows of what is in force are looked up again */
        bool renew_now; /* ... and shall be, since the clock was set */
};

uint64_t fleet_loader_now(const FleetLoader *l);
/* The end of a load, or of an expansion. */
void fleet_loader_end(FleetLoader *l);
/* What it was at is thrown away; what is in force stays. */
void fleet_loader_drop(FleetLoader *l);
/* fleet_next_read() or fleet_next_take_kept() had said false; now the FleetNext is finished. */
void fleet_loader_file_done(FleetLoader *l);

/* fleet-load-file.c. True: it is done with; false: the answer comes later, with fleet_loader_file_done(). */
bool fleet_next_read(FleetLoader *l, FleetNext *n);
/* If it is no good, and nothing is in force of it: what was kept of it. As above. */
bool fleet_next_take_kept(FleetLoader *l, FleetNext *n);
_printf_(3, 4) void fleet_next_problem(FleetNext *n, bool refused, const char *format, ...);

/* fleet-load-times.c: after each load. */
void fleet_loader_arm(FleetLoader *l);
/* The answer to an expansion of what is in force already (FleetLoader.renewing). */
void fleet_loader_renewed(FleetLoader *l, int r, const char *text, char *const *problems);
/* After fleet_expand_new(): the same callback for both kinds. */
void fleet_loader_expanded(int r, const char *text, char *const *problems, void *userdata);
