/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager: what klpd is while it runs. It owns configuration, policy, hands, repository, audit, the connections
 * to the bus and to root's clients, and at most one job; it hears the shim's events and tells apart what its job does from what
 * somebody did behind its back. manager-bus.c is its face on the bus, manager-list.c what that shows of
 * patches, states and tasks.
 *
 * The kernel is read when it is needed; what is kept of it (status, levels) serves the properties, and is
 * marked stale by every event.
 */
#pragma once

#include <sys/utsname.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>

#include "klpd/authorize.h"
#include "klpd/blocking.h"
#include "klpd/collector.h"
#include "klpd/converge.h"
#include "klpd/health.h"
#include "klpd/import.h"
#include "klpd/job.h"
#include "klpd/patch-signature.h"
#include "klpd/private-bus.h"
#include "klpd/probation.h"

#define MANAGER_PATH "/org/klpd1"
#define MANAGER_INTERFACE "org.klpd1.Manager"
#define MANAGER_QUERIES_MAX 256U
#define MANAGER_QUERIES_SENDER_MAX 64U
#define MANAGER_HEAVY_MAX 4U /* of those, at a time: calls that have a module read and inspected */
#define MANAGER_EXPECTED_MAX 16U

typedef struct Query Query;
typedef struct Nudge Nudge;

typedef struct ExpectedModule {
        char name[PATCH_NAME_MAX + 1];
        uint64_t until_usec; /* CLOCK_MONOTONIC */
} ExpectedModule;

struct Manager {
        World world;
        sd_event *event;
        int root_fd;
        struct utsname uts;
        Config config;
        Policy *policy;
        char *policy_problem;
        Hands *hands;
        Repository *repository;
        RepositoryWait *first_refresh;
        Audit *audit;
        Authorizer *authorizer;
        Collector *collector;
        Wal *wal;
        TransactionHandlers handlers;
        char *recovery_problem;        /* of what klpd was at when it was interrupted, or NULL */
        Probation *probation;
        bool boot; /* klpd --boot: nothing of our own accord but what that does */
        void (*job_finished)(const Transaction *t, void *userdata);
        void *job_finished_userdata;

        sd_bus *bus;                   /* the system bus, or NULL */
        PrivateBus *private;           /* root's own way to klpd, or NULL */
        sd_event_source *bus_timer;    /* the next try to connect */
        void (*bus_ready)(int r, void *userdata);
        void *bus_ready_userdata;

        Job *job;
        uint32_t last_job_id;
        Query *queries; /* calls that are not answered yet */
        unsigned n_queries, n_heavy;
        sd_event_source *next_heavy;

        KernelStatus status;
        Inventory *inventory;          /* for Transition and Levels */
        bool stale;
        bool took_part;                /* klpd itself has changed something since inventory was read */
        sd_event_source *announce;     /* PropertiesChanged and PatchesChanged, a moment later */
        char foreign[PATCH_NAME_MAX + 1]; /* patch whose transition somebody else has started */
        ExpectedModule expected[MANAGER_EXPECTED_MAX]; /* modules that klpd itself has just loaded or removed
                                                        */
        /* manager-guard.c: what is to be enabled again, and how often that was */
        sd_event_source *guard;
        char guarded[PATCH_NAME_MAX + 1];
        uint64_t guard_usec;
        unsigned n_guarded;
        Converge *converge;
        FleetStatus fleet_status;
        size_t n_stalled; /* tasks that held up the transition when that was said last */
        sd_event_source *metrics_timer;
        char *metrics; /* what is in the file */
        int metrics_error;
        uid_t fleet_uid;               /* of klp-fleet; (uid_t) -1: there is no such user */
        Nudge *nudge;                  /* units are frozen for a moment */
        /* manager-health.c: what is being asked, and for which job (NULL: for the probation) */
        Health *health;
        Transaction *health_job;
        bool stopping;
        void (*stopped)(void *userdata);
        void *stopped_userdata;
};

/* Takes hands over, also on failure. root_fd: "/", or a test's tree; duplicated. send NULL: to the
 * journal. */
int manager_new(sd_event *event, int root_fd, Hands *hands, AuditSend send, void *send_userdata,
                Manager **ret);
Manager *manager_free(Manager *m); /* NULL is fine */
DEFINE_CLEANUP(Manager *, manager_free);

/* Reads configuration and policy, looks at the kernel, has the shim loaded, and reads the repository. */
int manager_start(Manager *m);
/* Configuration, policy and repository afresh. What can't be read leaves the old in force, and is logged. */
void manager_reload(Manager *m);
/* No more requests; calls back once nothing is under way. */
void manager_stop(Manager *m, void (*stopped)(void *userdata), void *userdata);

/* Takes spec over, also on failure. error is set on failure. */
int manager_start_job(Manager *m, JobSpec *spec, Job **ret, sd_bus_error *error);
/* -EPERM, -EBUSY with error set: why no job can be started. */
int manager_check_free(Manager *m, sd_bus_error *error);
void manager_check_stopped(Manager *m);
const TransactionHandlers *manager_handlers(Manager *m); /* valid until the next call */
/* What is kept of the kernel, read again if stale. */
void manager_refresh(Manager *m);
void manager_mark_stale(Manager *m);

/* ---- manager-recover.c ---- */

int manager_open_wal(Manager *m);
void manager_recover(Manager *m);
uint32_t manager_next_job_id(Manager *m); /* never 0, and none twice in one boot, whatever klpd died of */
/* What somebody should know of and see to, as sentences; *ret may be NULL. */
int manager_problems(Manager *m, char ***ret);

/* ---- manager-nudge.c ---- */

void manager_nudge(Manager *m, Transaction *t, const Blocker *blockers, size_t n);
void manager_thaw(Manager *m);
Nudge *nudge_free(Nudge *n); /* without thawing: klpd goes, the next one does it */
bool nudge_unit_allowed(const char *unit);

/* ---- manager-metrics.c ---- */

/* The file is written again, a moment later, if it would be another one. */
void manager_metrics_changed(Manager *m);
void manager_metrics_reset(Manager *m); /* whatever is there is written anew */
void manager_metrics_done(Manager *m);
int manager_method_metrics(sd_bus_message *message, void *userdata, sd_bus_error *error);
/* ---- manager-events.c ---- */

void manager_listen(Manager *m);
/* klpd itself has just loaded or removed this module. */
void manager_expect(Manager *m, const char *module);

/* ---- manager-look.c ---- */

/* Records what has become of plain patches since m->inventory was read, without klpd's doing; true if there is
 * something. */
bool manager_compare(Manager *m, const Inventory *now);
/* Reads the kernel, for that. */
void manager_look(Manager *m);

/* ---- manager-health.c ---- */

void manager_health_handlers(Manager *m, TransactionHandlers *handlers);
void manager_health_connected(Manager *m);
void manager_health_disconnected(Manager *m);
/* klpd goes: true if a job was waiting for an answer, which the next klpd asks for again. */
bool manager_health_interrupt(Manager *m);
int manager_probation_health(void *userdata);
int manager_probation_reject(const HostPatch *h, const char *reason, void *userdata);
/* What is enabled, as a job; recorded when this returns. error is set on failure. */
int manager_take_back(Manager *m, const HostPatch *h, uid_t uid, const char *reason, Job **ret,
                      sd_bus_error *error);

/* ---- manager-force.c ---- */

int manager_method_force(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- manager-guard.c ---- */

/* What somebody else does, and klpd doesn't leave at that. */
void manager_guard(Manager *m, const ShimEvent *event);

/* ---- manager-connection.c ---- */

/* Listens for root (private-bus.h), and connects to the system bus, now and whenever it is lost; ready is called once,
 * with the outcome of the first try. */
int manager_connect(Manager *m, void (*ready)(int r, void *userdata), void *userdata);
void manager_disconnect(Manager *m);
/* Sends a signal to whoever listens: emit is called for each connection. what, for the log: "that job 3 is over". */
typedef int (*ManagerEmit)(Manager *m, sd_bus *bus, const void *data);
void manager_emit(Manager *m, ManagerEmit emit, const void *data, const char *what);
bool manager_is_connected(const Manager *m); /* there may be somebody who listens */

/* ---- manager-bus.c ---- */

int manager_cancel(Manager *m, uint32_t id, sd_bus_message *message, sd_bus_error *error);
void manager_announce_job(Manager *m, const Job *job);
void manager_announce_job_end(Manager *m, const Job *job);
void manager_announce_stall(Manager *m, const Job *job, uint64_t usec, const Blocker *blockers, size_t n);
void manager_announce_changes(Manager *m);

extern const sd_bus_vtable manager_vtable[];
int reply_error(sd_bus_message *message, const sd_bus_error *error);

/* ---- manager-repository.c ---- */

int manager_method_import(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_remove(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_verify(sd_bus_message *message, void *userdata, sd_bus_error *error);

/* ---- manager-standing.c ---- */

int manager_method_accept(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_reject(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_quarantine(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_method_host_record(sd_bus_message *message, void *userdata, sd_bus_error *error);
int manager_get_mode(sd_bus *bus, const char *path, const char *interface, const char *property,
                     sd_bus_message *reply, void *userdata, sd_bus_error *error);
int manager_get_record_problem(sd_bus *bus, const char *path, const char *interface, const char *property,
                               sd_bus_message *reply, void *userdata, sd_bus_error *error);
/* A request for what is on trial or accepted, as it was granted. */
int manager_spec_of(const HostPatch *h, const char *reason, JobSpec **ret);
/* The next trial of an earlier boot is applied again, if nothing else is under way. */
void manager_resume_trials(Manager *m);

/* ---- manager-fleet.c ---- */

extern const sd_bus_vtable manager_fleet_vtable[], manager_slot_vtable[];

/* The user that may grant slots, looked up again. */
void manager_find_fleet_user(Manager *m);
/* Something of org.klpd1.Fleet or org.klpd1.Slot may be another than the bus was told. */
void manager_fleet_changed(Manager *m);
/* Adds "/etc/klpd/fleet.d/x.json: …" for each file that isn't what is in force, and for the record. */
int manager_fleet_problems(const Manager *m, char ***l);
/* Both count for FleetStatus. */
void manager_count_refusal(Manager *m, const Plan *plan);
void manager_count_job(Manager *m, const Transaction *t);

/* ---- manager-query.c: calls that are answered later ---- */

struct Query {
        Manager *manager;
        Query *next, **link;
        sd_bus_message *message;
        JobSpec *spec;
        Preparation *preparation;
        RepositoryWait *wait;
        Import *import;
        HandsInspection *inspection; /* Verify; then also: */
        PatchSignature *signature;
        Patch *verified;
        char *name, *release;
        uid_t uid;
        BlockersRead *blockers;
        bool with_stacks;
        int (*begin)(Query *q, Failure *failure); /* while it waits for its turn */
        bool heavy;                               /* it has its turn */
        int file_fd;                              /* the message's, not read yet; or -EBADF */
};

/* -EUSERS: too many are open, or too many of this sender's. */
int query_new(Manager *m, sd_bus_message *message, Query **ret);
Query *query_free(Query *q);
void query_drop_bus(Manager *m, const sd_bus *bus); /* who waits for an answer over it won't get one */
int query_limit(int r, sd_bus_error *error); /* the error of query_new() */
/* Calls begin now or later, when others have been answered: for what takes a process and a copy of a module
 * each. An error of begin's is the answer. */
void query_begin(Query *q, int (*begin)(Query *q, Failure *failure));
/* Sends reply if r says that it was built, an error otherwise; frees the query. */
void query_finish(Query *q, int r, sd_bus_message *reply, const char *error_name, const char *message);

/* Takes spec over. file_fd: PlanFile, the message's descriptor; or -EBADF. */
int manager_query_plan(Manager *m, JobSpec *spec, int file_fd, sd_bus_message *message, sd_bus_error *error);
int manager_query_list(Manager *m, sd_bus_message *message, sd_bus_error *error);
int manager_query_describe(Manager *m, const char *name, sd_bus_message *message, sd_bus_error *error);
int manager_append_blockers(sd_bus_message *message, const Blocker *blockers, size_t n, bool with_stacks);
int manager_query_blocking(Manager *m, bool with_stacks, sd_bus_message *message, sd_bus_error *error);

/* ---- manager-list.c ---- */

/* The members of a patch in ListPatches, see org.klpd1.xml. */
#define MANAGER_LISTED_PATCH "sssubssibasssssss"

int manager_append_patches(Manager *m, sd_bus_message *reply);
int manager_describe(Manager *m, const char *name, char **ret); /* -ENOENT */
int manager_append_states(Manager *m, sd_bus_message *reply);
