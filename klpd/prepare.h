/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what somebody asks (JobSpec) to a candidate and a plan, without any effect: refresh the repository,
 * find out which patch is meant, read its file into a sealed memfd, have that inspected and, where the policy asks for
 * it, its signature checked, read the kernel, plan. Plan() on the bus is this and nothing else; a transaction begins with it and plans again later from
 * the same Candidate.
 */
#pragma once

#include <systemd/sd-event.h>

#include "klpd/audit.h"
#include "klpd/config.h"
#include "klpd/errors.h"
#include "klpd/hands.h"
#include "klpd/job-spec.h"
#include "klpd/repository.h"
#include "klpd/wal.h"
#include "policy/plan.h"

/* What everything that acts is given. The manager's; all borrowed. */
typedef struct World {
        sd_event *event;
        Hands *hands;
        int root_fd;
        const char *release; /* of the running kernel */
        Repository *repository;
        struct Probation *probation; /* or NULL */
        Audit *audit;
        Wal *wal;                   /* NULL in tests: nothing is recorded */
        char boot_id[33];
        char **frozen;              /* units that have to be thawed: in every record until they are */
        const Config *config;
        const Policy *policy;       /* NULL: the default one. Changes with a reload */
        const char *fleet_held_stream, *fleet_hold_reason; /* by a fleet document's rule (converge.c), or NULL */
        unsigned haste;             /* 0; tests: looks at the kernel come so many times sooner after each other */
        const char *policy_problem; /* why nothing may be planned (the policy file is broken), or NULL */
} World;

typedef struct Candidate {
        Patch *patch;   /* NULL: the request has none (disable) or none could be named */
        int module_fd;  /* sealed memfd of the decompressed module; -EBADF: there is only the registered one
                         */
        char *path;     /* of its file, or NULL */
        char *writable; /* RepositoryEntry.writable */
        char *recorded; /* RepositoryEntry.recorded */
        SignatureStatus signature;        /* looked at only where the policy asks for it */
        char *signature_problem;          /* why it isn't good, or NULL */
        SignatureStatus module_signature; /* appended: for the kernel, whose keys we don't know */
        bool has_module_relocations;
} Candidate;

void candidate_done(Candidate *c);

/* Reads the kernel, but for what is known of it, which is used up, and plans. Errors: failure is set; a refusal is none.
 * known and ret_inventory may be NULL. */
int world_plan(const World *w, const JobSpec *spec, const Candidate *c, Inventory *known, Plan **ret,
               Inventory **ret_inventory, Failure *failure);

typedef struct Preparation Preparation;

/* r < 0: failure says why. Otherwise the three are there to be taken (TAKE_PTR, and candidate zeroed with
 * module_fd = -EBADF), or left. */
typedef void (*PrepareCallback)(int r, Candidate *candidate, Plan **plan, Inventory **inventory,
                                const Failure *failure, void *userdata);

/* spec is borrowed until the callback or the free. The caller frees it, any time, also in the callback. */
int prepare(const World *w, const JobSpec *spec, PrepareCallback callback, void *userdata,
            Preparation **ret);
Preparation *preparation_free(Preparation *p);
DEFINE_CLEANUP(Preparation *, preparation_free);
