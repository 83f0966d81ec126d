/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What somebody asks of klpd, as it came over the bus and was checked: the kind of request, the patch or
 * level meant, the overrides, the reason for the audit. Nothing in it has been compared with the repository
 * or the kernel yet; that is request_resolve()'s and plan_build()'s work, with the policy Request that
 * job_spec_to_request() borrows from this.
 */
#pragma once

#include <sys/types.h>
#include <systemd/sd-bus.h>

#include "policy/request.h"

#define JOB_REASON_MAX 256U
#define JOB_ALLOW_VENDOR_MAX 64U
#define JOB_ACTIONS_MAX 8U

typedef struct JobSpec {
        RequestKind kind;
        char *patch;           /* NULL: by level, or as the kind has it */
        int module_fd;         /* sealed memfd of a module from outside the repository, or -EBADF */
        bool has_level;
        uint32_t level;
        char *vendor, *stream; /* both or none */
        char *reason;          /* or NULL */
        uint64_t timeout_usec; /* 0: as configured */
        bool accept_irreversible;
        bool replace_foreign;
        char **allow_vendor;
        char *digest;          /* that the content has to have (what was accepted), or NULL */
        char *digest_by;       /* who says so, for people; NULL: what was accepted */
        char **intermediates;  /* converge: names of patches that may be one */
        bool by_hand;          /* somebody has asked for it, it isn't klpd's own doing */
        bool interactive;
        uid_t uid;
} JobSpec;

int job_spec_new(RequestKind kind, JobSpec **ret);
JobSpec *job_spec_free(JobSpec *s); /* closes module_fd; NULL is fine */
DEFINE_CLEANUP(JobSpec *, job_spec_free);

/* "" and NULL: none. Checks the name; -EINVAL with error set. */
int job_spec_set_patch(JobSpec *s, const char *patch, sd_bus_error *error);

/* Reads an a{sv} of options (org.klpd1.xml). -EINVAL with error set for what is unknown, of the wrong
 * type, out of bounds, or given twice. */
int job_spec_read_options(JobSpec *s, sd_bus_message *message, sd_bus_error *error);

/* The polkit actions that the request needs, NULL-terminated. */
void job_spec_actions(const JobSpec *s, const char *ret_actions[static JOB_ACTIONS_MAX + 1]);

/* Borrows all from s; candidate is borrowed too and may be NULL. */
void job_spec_to_request(const JobSpec *s, Patch *candidate, Request *ret);
