/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See manager.h. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/log.h"
#include "klpd/manager.h"
#include "policy/json.h"

#define POLICY_PATH "etc/klpd/policy.json"
#define POLICY_BYTES_MAX (1024U * 1024U)
#define ANNOUNCE_USEC UINT64_C(100000)

/* ---- configuration ---- */

static void on_config_problem(const char *text, void *userdata) {
        log_warning("%s", text);
}

static void manager_read_command_line(Manager *m, Config *config) {
        char line[4096];

        if (sysfs_read_text(m->root_fd, "proc/cmdline", line, sizeof(line)) >= 0)
                config_apply_command_line(config, line, on_config_problem, m);
}

static void manager_load_config(Manager *m) {
        Config config;
        int r;

        r = config_load(m->root_fd, on_config_problem, m, &config);
        if (r < 0) {
                log_error("Failed to read the configuration, what was in force stays: %s", strerror(-r));
                return;
        }
        manager_read_command_line(m, &config);
        config_done(&m->config);
        m->config = config;
        m->hands->vtable->configure(m->hands, config.helper_timeout_usec,
                                    config.settle_assist ? config.settle_assist_cpus : 0);
}

/* -ENOENT: there is none. */
static int read_policy(int root_fd, Policy **ret, char **ret_problem) {
        _cleanup_free_ char *text = NULL;
        PolicyError error = {};
        char words[640];
        size_t size = 0;
        ssize_t n;
        int fd, r;

        fd = openat(root_fd, POLICY_PATH, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        text = malloc(POLICY_BYTES_MAX + 1);
        r = text ? 0 : -ENOMEM;
        while (r >= 0 && size <= POLICY_BYTES_MAX) {
                n = read(fd, text + size, POLICY_BYTES_MAX + 1 - size);
                if (n < 0 && errno != EINTR)
                        r = -errno;
                if (n == 0)
                        break;
                if (n > 0)
                        size += (size_t) n;
        }
        close(fd);
        if (r >= 0 && size > POLICY_BYTES_MAX)
                r = -EFBIG;
        if (r < 0)
                return r;
        r = policy_parse(text, size, ret, &error);
        if (r < 0)
                *ret_problem = strdup(policy_error_format(&error, "/" POLICY_PATH, words, sizeof(words)));
        return r;
}

/* A policy that can't be read is not replaced by another one: at start nothing is allowed, later the old
 * one stays. */
static void manager_load_policy(Manager *m) {
        _cleanup_free_ char *problem = NULL;
        Policy *policy = NULL;
        int r;

        r = read_policy(m->root_fd, &policy, &problem);
        if (r < 0 && r != -ENOENT) {
                if (!problem && asprintf(&problem, "/%s: %s", POLICY_PATH, strerror(-r)) < 0)
                        problem = NULL;
                log_error("Failed to read the policy%s: %s",
                          m->policy || (m->status.livepatch && !m->policy_problem)
                                          ? ", the old one stays in force"
                                          : ", nothing is allowed",
                          problem ?: strerror(-r));
                if (m->world.policy)
                        return;
                free(m->policy_problem);
                m->policy_problem = TAKE_PTR(problem);
                m->world.policy_problem = m->policy_problem ?: "unreadable";
                return;
        }
        policy_free(m->policy);
        m->policy = policy;
        m->world.policy = policy ?: policy_default();
        m->world.policy_problem = NULL;
        m->policy_problem = (free(m->policy_problem), NULL);
}

/* ---- what is kept of the kernel ---- */

void manager_refresh(Manager *m) {
        Inventory *inventory;
        KernelStatus status;
        int r;

        if (!m->stale)
                return;
        if (m->hands->vtable->read_status(m->hands, &status) >= 0)
                m->status = status;
        r = m->hands->vtable->read_inventory(m->hands, &inventory);
        if (r >= 0) {
                bool news = !m->job && manager_compare(m, inventory);

                inventory_free(m->inventory);
                m->inventory = inventory;
                m->took_part = m->job;
                if (news)
                        manager_mark_stale(m);
        } else
                log_warning("Can't read from the kernel what runs: %s", strerror(-r));
        m->stale = r < 0;
}

static int on_announce(sd_event_source *source, uint64_t usec, void *userdata) {
        Manager *m = userdata;

        m->announce = sd_event_source_disable_unref(m->announce);
        if (m->job && m->job->transaction->pending)
                manager_mark_stale(m); /* not while the kernel is being told: see job_changed() */
        else {
                manager_announce_changes(m);
                converge_kick(m->converge);
                manager_metrics_changed(m);
        }
        return 0;
}

void manager_mark_stale(Manager *m) {
        int r;

        m->stale = true;
        if (m->announce)
                return;
        r = sd_event_add_time_relative(m->event, &m->announce, CLOCK_MONOTONIC, ANNOUNCE_USEC, 0,
                                       on_announce, m);
        if (r < 0)
                log_warning("Can't announce changes: %s", strerror(-r));
}

/* ---- jobs ---- */

void manager_check_stopped(Manager *m) {
        void (*stopped)(void *userdata);

        if (!m->stopping || m->job || m->nudge || !m->stopped)
                return;
        stopped = TAKE_PTR(m->stopped);
        stopped(m->stopped_userdata);
}

static void on_transaction_changed(Transaction *t, void *userdata) {
        Manager *m = userdata;

        if (m->job)
                job_changed(m->job);
        /* Of a plain patch no event of the kernel's says that its transition has begun. (A disable has no candidate.) */
        if (t->disable || transaction_is_plain(t))
                manager_mark_stale(m);
}

static void on_transaction_stalled(Transaction *t, uint64_t usec, const Blocker *blockers, size_t n,
                                   void *userdata) {
        Manager *m = userdata;

        m->n_stalled = n;
        manager_metrics_changed(m);
        if (m->job)
                manager_announce_stall(m, m->job, usec, blockers, n);
}

/* Before it plans for the first time, nothing is its doing yet. */
static void on_transaction_looked(Transaction *t, const Inventory *inventory, void *userdata) {
        Manager *m = userdata;

        (void) manager_compare(m, inventory);
        m->took_part = true;
}

static void on_transaction_nudge(Transaction *t, const Blocker *blockers, size_t n, void *userdata) {
        manager_nudge(userdata, t, blockers, n);
}

static void on_transaction_retire(Transaction *t, const char *module, void *userdata) {
        Manager *m = userdata;
        int r;

        r = collector_add(m->collector, module);
        if (r < 0)
                log_warning("Module '%s' stays loaded: %s", module, strerror(-r));
}

static void on_transaction_remember(Transaction *t, void *userdata) {
        Manager *m = userdata;

        if (t->result == TRANSACTION_DONE || (t->back.origin && t->completed))
                probation_changed(m->probation, t);
}

static void on_transaction_finished(Transaction *t, void *userdata) {
        Manager *m = userdata;

        if (t->name)
                manager_expect(m, t->name);
        m->took_part = true;
        manager_mark_stale(m);
        if (m->job)
                manager_announce_job_end(m, m->job);
        if (m->job_finished)
                m->job_finished(t, m->job_finished_userdata);
        manager_count_job(m, t);
        m->n_stalled = 0;
        manager_metrics_changed(m);
        converge_job_finished(m->converge, t);
        m->job = job_free(m->job);
        manager_resume_trials(m);
        manager_check_stopped(m);
}

const TransactionHandlers *manager_handlers(Manager *m) {
        m->handlers = (TransactionHandlers) {
                .changed = on_transaction_changed,
                .remember = on_transaction_remember,
                .finished = on_transaction_finished,
                .looked = on_transaction_looked,
                .stalled = on_transaction_stalled,
                .nudge = on_transaction_nudge,
                .retire = on_transaction_retire,
                .userdata = m,
        };
        manager_health_handlers(m, &m->handlers);
        return &m->handlers;
}

/* One job at a time, and the others are told at once which: what waited would be decided on another state of
 * the host than its sender saw when he asked, and nobody would know whether his patch came, or when. */
int manager_check_free(Manager *m, sd_bus_error *error) {
        const Transaction *t = m->job ? m->job->transaction : NULL;
        int r;

        if (m->config.mode != MODE_NORMAL) {
                r = sd_bus_error_setf(error, ERROR_REFUSED,
                                      "klpd is in mode '%s' and changes nothing: set klpd.mode=normal on the "
                                      "kernel command line, or Mode=normal in klpd.conf",
                                      mode_to_string(m->config.mode));
                return r < 0 ? r : -EPERM;
        }
        if (!t && !m->stopping)
                return 0;
        if (!t)
                r = sd_bus_error_set(error, ERROR_BUSY, "klpd is being stopped");
        else
                r = sd_bus_error_setf(error, ERROR_BUSY,
                                      "Job %u is under way: %s of '%s', step %s, for uid %u", m->job->id,
                                      request_kind_to_string(t->spec->kind), transaction_patch_name(t),
                                      transaction_step_name(t), (unsigned) t->spec->uid);
        return r < 0 ? r : -EBUSY;
}

int manager_start_job(Manager *m, JobSpec *spec, Job **ret, sd_bus_error *error) {
        _cleanup_(job_freep) Job *job = NULL;
        Transaction *t;
        int r;

        r = manager_check_free(m, error);
        if (r < 0) {
                job_spec_free(spec);
                return r;
        }
        r = transaction_new(&m->world, manager_handlers(m), spec, manager_next_job_id(m), &t);
        if (r >= 0)
                r = job_new(m, t, &job);
        if (r >= 0)
                r = transaction_start(job->transaction);
        if (r < 0)
                return sd_bus_error_set_errnof(error, r, "Can't start a job: %s", strerror(-r));

        m->job = TAKE_PTR(job);
        *ret = m->job;
        return 0;
}

static bool on_collector_busy(void *userdata) {
        const Manager *m = userdata;

        return m->job;
}

static void on_collector_removed(const char *module, void *userdata) {
        Manager *m = userdata;

        manager_expect(m, module);
        manager_mark_stale(m);
}

static void on_collector_kept(const char *module, void *userdata) {
        manager_announce_changes(userdata);
}

/* ---- the object ---- */

int manager_new(sd_event *event, int root_fd, Hands *hands, AuditSend send, void *send_userdata,
                Manager **ret) {
        _cleanup_(manager_freep) Manager *m = NULL;
        int r;

        m = calloc(1, sizeof(*m));
        if (!m) {
                hands_free(hands);
                return -ENOMEM;
        }
        m->hands = hands;
        m->event = sd_event_ref(event);
        m->stale = true;
        config_init(&m->config);
        m->root_fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
        if (m->root_fd < 0 || uname(&m->uts) < 0)
                return -errno;
        r = audit_new(send, send_userdata, &m->audit);
        if (r >= 0)
                r = authorizer_new(&m->authorizer);
        if (r >= 0)
                r = repository_new(event, hands, m->root_fd, m->uts.release, &m->repository);
        m->world = (World) {
                .event = event,
                .hands = hands,
                .root_fd = m->root_fd,
                .release = m->uts.release,
                .repository = m->repository,
                .audit = m->audit,
                .config = &m->config,
        };
        if (r >= 0)
                r = manager_open_wal(m);
        if (r >= 0)
                r = audit_attach(m->audit, m->event, m->root_fd, m->wal);
        if (r >= 0)
                r = probation_new(&m->world,
                                  &(ProbationHandlers) {
                                          .check_health = manager_probation_health,
                                          .reject = manager_probation_reject,
                                          .userdata = m,
                                  },
                                  &m->probation);
        m->world.probation = m->probation;
        if (r >= 0)
                r = collector_new(&m->world,
                                  &(CollectorHandlers) {
                                          .busy = on_collector_busy,
                                          .removed = on_collector_removed,
                                          .kept = on_collector_kept,
                                          .userdata = m,
                                  },
                                  &m->collector);
        if (r >= 0)
                r = converge_new(m, &m->converge);
        if (r < 0)
                return r;
        manager_listen(m);
        *ret = TAKE_PTR(m);
        return 0;
}

Manager *manager_free(Manager *m) {
        if (!m)
                return NULL;
        m->nudge = nudge_free(m->nudge);
        (void) manager_health_interrupt(m);
        manager_disconnect(m);
        m->private = private_bus_free(m->private);
        m->job = job_free(m->job);
        m->converge = converge_free(m->converge);
        while (m->queries)
                query_free(m->queries);
        sd_event_source_disable_unref(m->next_heavy);
        collector_free(m->collector);
        m->world.probation = NULL;
        m->probation = probation_free(m->probation);
        repository_wait_free(m->first_refresh);
        m->repository = repository_free(m->repository);
        /* Answers -ECANCELED to what the helper is at; those who get that hold what they need of
         * themselves. */
        m->hands = hands_free(m->hands);
        sd_event_source_disable_unref(m->announce);
        manager_metrics_done(m);
        sd_event_source_disable_unref(m->guard);
        authorizer_free(m->authorizer);
        audit_free(m->audit);
        inventory_free(m->inventory);
        policy_free(m->policy);
        free(m->policy_problem);
        free(m->recovery_problem);
        config_done(&m->config);
        strv_free(m->world.frozen);
        wal_free(m->wal);
        if (m->root_fd >= 0)
                close(m->root_fd);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}

static void manager_audit_daemon(Manager *m, const char *what) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_DAEMON, "daemon");
        size_t n = m->inventory ? m->inventory->n_patches : 0;

        audit_field_u64(r, "KLPD_GENERATION", m->status.generation);
        for (size_t i = 0; i < n; i++)
                audit_field(r, "KLPD_PATCH", m->inventory->patches[i]->name);
        if (!m->status.livepatch)
                audit_send(m->audit, r, LOG_WARNING, "klpd %s: this kernel (%s) has no livepatch support",
                           what, m->uts.release);
        else
                audit_send(m->audit, r, LOG_INFO, "klpd %s on %s: %zu livepatches enabled%s%s%s%s", what,
                           m->uts.release, n,
                           m->inventory && m->inventory->transition ? ", in transition: " : "",
                           m->inventory && m->inventory->transition ? m->inventory->transition : "",
                           m->status.shim_problem[0] ? "; no shim: " : "", m->status.shim_problem);
}

static void on_shim_loaded(int r, const char *text, void *userdata) {
        Manager *m = userdata;

        if (r == -ECANCELED)
                return; /* we are going */
        if (r < 0)
                log_warning("Failed to load klp_shim, managed patches can't be used: %s",
                            *text ? text : strerror(-r));
        m->stale = true;
        manager_refresh(m);
        manager_audit_daemon(m, "started");
        manager_mark_stale(m);
}

static void on_first_refresh(void *userdata) {
        Manager *m = userdata;

        m->first_refresh = repository_wait_free(m->first_refresh);
        manager_mark_stale(m);
        manager_resume_trials(m);
        converge_start(m->converge);
}

static void on_standing_changed(void *userdata) {
        Manager *m = userdata;

        converge_kick(m->converge);
        manager_metrics_changed(m);
}

int manager_start(Manager *m) {
        int r;

        manager_load_config(m);
        manager_load_policy(m);
        manager_find_fleet_user(m);
        probation_set_changed(m->probation, on_standing_changed, m);
        probation_start(m->probation);
        manager_refresh(m);
        if (m->config.mode == MODE_NORMAL)
                collector_load(m->collector);
        if (m->boot)
                return 0; /* the transactions load the shim, if there are any */
        converge_read(m->converge);
        manager_metrics_reset(m);
        r = repository_refresh(m->repository, on_first_refresh, m, &m->first_refresh);
        if (r < 0)
                return r;
        if (m->config.mode == MODE_NORMAL)
                manager_recover(m);
        if (m->config.mode == MODE_NORMAL && m->status.livepatch && m->status.shim_problem[0]) {
                r = m->hands->vtable->load_shim(m->hands, on_shim_loaded, m);
                if (r >= 0)
                        return 0;
                log_warning("Can't have the helper load klp_shim: %s", strerror(-r));
        }
        manager_audit_daemon(m, "started");
        return 0;
}

void manager_reload(Manager *m) {
        int r;

        manager_load_config(m);
        manager_load_policy(m);
        manager_find_fleet_user(m);
        converge_reload(m->converge);
        manager_mark_stale(m);
        manager_metrics_reset(m);
        m->first_refresh = repository_wait_free(m->first_refresh);
        r = repository_refresh(m->repository, on_first_refresh, m, &m->first_refresh);
        if (r < 0)
                log_warning("Can't read the repository: %s", strerror(-r));
        if (m->config.mode == MODE_NORMAL && m->status.livepatch && m->status.shim_problem[0]) {
                r = m->hands->vtable->load_shim(m->hands, on_shim_loaded, m);
                if (r < 0)
                        log_warning("Can't have the helper load klp_shim: %s", strerror(-r));
        }
}

void manager_stop(Manager *m, void (*stopped)(void *userdata), void *userdata) {
        m->stopping = true;
        m->stopped = stopped;
        m->stopped_userdata = userdata;
        /* What hasn't begun yet isn't begun; what is in transition ends in the kernel in any case, and is
         * followed. */
        if (manager_health_interrupt(m))
                m->job = job_free(m->job); /* its record says where to go on */
        else if (m->job && m->job->transaction->transition_start_usec == 0)
                (void) transaction_cancel(m->job->transaction);
        manager_check_stopped(m);
}
