/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * org.klpd1.Manager on the bus, member by member as in org.klpd1.xml (a test holds the two together): parse,
 * validate, authorise, act, reply. Whatever comes in is hostile until it has been parsed. Methods are open
 * to everybody as far as the bus is concerned, since it is polkit that says who may.
 */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/log.h"
#include "klpd/manager.h"
#include "klpd/module-fd.h"
#include "policy/json.h"

/* ---- properties ---- */

static int get_version(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", KLPD_VERSION);
}

static int get_kernel_release(sd_bus *bus, const char *path, const char *interface, const char *property,
                              sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s", m->uts.release);
}

static int get_generation(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;

        manager_refresh(m);
        return sd_bus_message_append(reply, "t", m->status.generation);
}

static int get_transition(sd_bus *bus, const char *path, const char *interface, const char *property,
                          sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;

        manager_refresh(m);
        return sd_bus_message_append(reply, "s",
                                     m->inventory && m->inventory->transition ? m->inventory->transition
                                                                              : "");
}

static int get_shim_abi(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;

        manager_refresh(m);
        return sd_bus_message_append(reply, "u", m->status.shim_abi);
}

static int get_shim_problem(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;

        manager_refresh(m);
        return sd_bus_message_append(reply, "s", m->status.shim_problem);
}

static int get_profile(sd_bus *bus, const char *path, const char *interface, const char *property,
                       sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;

        return sd_bus_message_append(reply, "s",
                                     m->world.policy && m->world.policy->profile ? m->world.policy->profile
                                                                                 : "");
}

static int get_levels(sd_bus *bus, const char *path, const char *interface, const char *property,
                      sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        Manager *m = userdata;
        int r;

        manager_refresh(m);
        r = sd_bus_message_open_container(reply, 'a', "{su}");
        for (size_t i = 0; r >= 0 && m->inventory && i < m->inventory->n_patches; i++) {
                const Patch *p = m->inventory->patches[i];
                char stream[2 * (PATCH_NAME_MAX + 1) + 1];
                bool first = true;
                uint32_t level;

                if (p->kind == PATCH_FOREIGN || p->orphan ||
                    !inventory_level(m->inventory, p->vendor, p->stream, &level))
                        continue;
                for (size_t k = 0; k < i; k++)
                        if (patch_same_stream(m->inventory->patches[k], p) &&
                            !m->inventory->patches[k]->orphan)
                                first = false;
                if (!first)
                        continue;
                (void) snprintf(stream, sizeof(stream), "%s/%s", p->vendor, p->stream);
                r = sd_bus_message_append(reply, "{su}", stream, level);
        }
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int get_problems(sd_bus *bus, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        _cleanup_strv_free_ char **problems = NULL;
        int r;

        r = manager_problems(userdata, &problems);
        return r < 0 ? r : sd_bus_message_append_strv(reply, problems);
}

static int append_kept(const char *module, const char *why, void *userdata) {
        return sd_bus_message_append(userdata, "{ss}", module, why);
}

static int get_kept_modules(sd_bus *bus, const char *path, const char *interface, const char *property,
                            sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        const Manager *m = userdata;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "{ss}");
        if (r >= 0)
                r = collector_foreach_kept(m->collector, append_kept, reply);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* ---- requests ---- */

/* What a request carries until it is authorised. */
typedef struct Ask {
        Manager *manager;
        JobSpec *spec;
        int file_fd;  /* ApplyFile: the caller's descriptor, not read yet; or -EBADF */
} Ask;

static void ask_free(void *userdata) {
        Ask *ask = userdata;

        if (ask->file_fd >= 0)
                close(ask->file_fd);
        job_spec_free(ask->spec);
        free(ask);
}

int reply_error(sd_bus_message *message, const sd_bus_error *error) {
        int r;

        r = sd_bus_reply_method_error(message, error);
        if (r < 0)
                log_debug("Can't answer a caller: %s", strerror(-r));
        return r;
}

static void on_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                          void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Ask *ask = userdata;
        Job *job;

        if (r < 0) {
                (void) reply_error(message, denied);
                return;
        }
        ask->spec->uid = uid;
        ask->spec->by_hand = true;
        r = manager_check_free(ask->manager, &error);
        if (r >= 0 && ask->file_fd >= 0)
                r = module_fd_read(ask->file_fd, &ask->spec->module_fd, &error);
        if (r >= 0)
                r = manager_start_job(ask->manager, TAKE_PTR(ask->spec), &job, &error);
        if (r < 0) {
                if (!sd_bus_error_is_set(&error))
                        (void) sd_bus_error_set_errno(&error, r);
                (void) reply_error(message, &error);
        } else {
                r = sd_bus_reply_method_return(message, "o", job->path);
                if (r < 0)
                        log_debug("Can't answer a caller: %s", strerror(-r));
                manager_announce_job(ask->manager, job);
        }
        sd_bus_error_free(&error);
}

static int ask_start(Manager *m, JobSpec *spec, int file_fd, sd_bus_message *message, sd_bus_error *error) {
        const char *actions[JOB_ACTIONS_MAX + 1];
        Ask *ask;
        int r;

        ask = malloc(sizeof(*ask));
        if (!ask) {
                job_spec_free(spec);
                return -ENOMEM;
        }
        *ask = (Ask) { .manager = m, .spec = spec, .file_fd = -EBADF };
        job_spec_actions(spec, actions);
        if (file_fd >= 0) {
                ask->file_fd = fcntl(file_fd, F_DUPFD_CLOEXEC, 3);
                if (ask->file_fd < 0) {
                        ask_free(ask);
                        return -errno;
                }
                actions[0] = ACTION_APPLY_FILE;
        }
        r = authorize(m->authorizer, message, actions, spec->patch, spec->interactive, on_authorized, ask,
                      ask_free);
        if (r < 0) {
                ask_free(ask);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation") : r;
        }
        return 1;
}

static int read_request(JobSpec *spec, const char *patch, sd_bus_message *message, sd_bus_error *error) {
        int r;

        r = job_spec_set_patch(spec, patch, error);
        return r < 0 ? r : job_spec_read_options(spec, message, error);
}

static int method_request(Manager *m, RequestKind kind, sd_bus_message *message, sd_bus_error *error) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        const char *patch;
        int r;

        r = sd_bus_message_read_basic(message, 's', &patch);
        if (r >= 0)
                r = job_spec_new(kind, &spec);
        if (r >= 0)
                r = read_request(spec, patch, message, error);
        /* Only a plan may be asked for without a name: what disabling all would do. */
        if (r >= 0 && kind == REQUEST_DISABLE && !spec->patch)
                r = sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "No patch is given");
        return r < 0 ? r : ask_start(m, TAKE_PTR(spec), -EBADF, message, error);
}

static int method_apply(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return method_request(userdata, REQUEST_APPLY, message, error);
}

static int method_downgrade(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return method_request(userdata, REQUEST_DOWNGRADE, message, error);
}

static int method_disable(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return method_request(userdata, REQUEST_DISABLE, message, error);
}

/* Options of a request by descriptor: module_fd is borrowed meanwhile, so that "level" is refused as with
 * a name. */
static int read_file_options(JobSpec *spec, int fd, sd_bus_message *message, sd_bus_error *error) {
        int r;

        r = module_fd_check(fd, error);
        if (r < 0)
                return r;
        spec->module_fd = fd;
        r = job_spec_read_options(spec, message, error);
        spec->module_fd = -EBADF;
        return r;
}

static int method_apply_file(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        int fd, r;

        r = sd_bus_message_read_basic(message, 'h', &fd);
        if (r >= 0)
                r = job_spec_new(REQUEST_APPLY, &spec);
        if (r >= 0)
                r = read_file_options(spec, fd, message, error);
        return r < 0 ? r : ask_start(userdata, TAKE_PTR(spec), fd, message, error);
}

/* ---- questions ---- */

static int read_request_kind(const char *text, RequestKind *ret, sd_bus_error *error) {
        RequestKind kind = request_kind_from_string(text);

        if (kind < 0)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "The request is none of 'apply', 'downgrade', 'disable', 'converge'");
        *ret = kind;
        return 0;
}

static int method_plan(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        const char *request, *patch;
        RequestKind kind = _REQUEST_KIND_INVALID;
        int r;

        r = sd_bus_message_read(message, "ss", &request, &patch);
        if (r >= 0)
                r = read_request_kind(request, &kind, error);
        if (r >= 0)
                r = job_spec_new(kind, &spec);
        if (r >= 0)
                r = read_request(spec, patch, message, error);
        return r < 0 ? r : manager_query_plan(userdata, TAKE_PTR(spec), -EBADF, message, error);
}

static int method_plan_file(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(job_spec_freep) JobSpec *spec = NULL;
        const char *request;
        RequestKind kind = _REQUEST_KIND_INVALID;
        int fd, r;

        r = sd_bus_message_read(message, "sh", &request, &fd);
        if (r >= 0)
                r = read_request_kind(request, &kind, error);
        if (r >= 0 && kind == REQUEST_DISABLE)
                r = sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                     "What is to be disabled is named, not given as a file");
        if (r >= 0)
                r = job_spec_new(kind, &spec);
        if (r >= 0)
                r = read_file_options(spec, fd, message, error);
        return r < 0 ? r : manager_query_plan(userdata, TAKE_PTR(spec), fd, message, error);
}

static int method_list_patches(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        return manager_query_list(userdata, message, error);
}

static int method_describe_patch(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        const char *name;
        int r;

        r = sd_bus_message_read_basic(message, 's', &name);
        if (r < 0)
                return r;
        if (!patch_name_is_valid(name))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "Not the name of a patch");
        return manager_query_describe(userdata, name, message, error);
}

static int method_list_states(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Manager *m = userdata;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = manager_append_states(m, reply);
        if (r == -ENOENT) {
                manager_mark_stale(m);
                manager_refresh(m);
                return sd_bus_error_setf(error, ERROR_SHIM_UNAVAILABLE,
                                         "Nothing is known of states without the shim: %s",
                                         m->status.shim_problem);
        }
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_list_blocking(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        int stacks, r;

        r = sd_bus_message_read_basic(message, 'b', &stacks);
        return r < 0 ? r : manager_query_blocking(userdata, stacks, message, error);
}

static int method_list_jobs(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const Manager *m = userdata;
        const Transaction *t;
        int r;

        r = sd_bus_message_new_method_return(message, &reply);
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "(uosss)");
        if (r >= 0 && m->job) {
                t = m->job->transaction;
                r = sd_bus_message_append(reply, "(uosss)", m->job->id, m->job->path,
                                          request_kind_to_string(t->spec->kind), transaction_patch_name(t),
                                          transaction_step_name(t));
        }
        if (r >= 0)
                r = sd_bus_message_close_container(reply);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_inventory(sd_bus_message *message, void *userdata, sd_bus_error *error) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        _cleanup_free_ char *text = NULL;
        struct json_object *json;
        Manager *m = userdata;
        int r;

        r = m->hands->vtable->read_inventory(m->hands, &inventory);
        if (r < 0)
                return sd_bus_error_setf(error, ERROR_FAILED, "Can't read from the kernel what runs: %s",
                                         strerror(-r));
        json = inventory_to_json(inventory);
        if (!json)
                return -ENOMEM;
        r = json_to_line(json, &text);
        json_object_put(json);
        return r < 0 ? r : sd_bus_reply_method_return(message, "s", text);
}

const sd_bus_vtable manager_vtable[] = {
                SD_BUS_VTABLE_START(0),
                SD_BUS_METHOD_WITH_ARGS("Apply", SD_BUS_ARGS("s", patch, "a{sv}", options),
                                        SD_BUS_RESULT("o", job), method_apply, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("ApplyFile", SD_BUS_ARGS("h", module, "a{sv}", options),
                                        SD_BUS_RESULT("o", job), method_apply_file,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Downgrade", SD_BUS_ARGS("s", patch, "a{sv}", options),
                                        SD_BUS_RESULT("o", job), method_downgrade,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Disable", SD_BUS_ARGS("s", patch, "a{sv}", options),
                                        SD_BUS_RESULT("o", job), method_disable, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Import", SD_BUS_ARGS("h", module, "a{sv}", options),
                                        SD_BUS_RESULT("s", patch, "s", path, "s", outcome),
                                        manager_method_import, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Remove", SD_BUS_ARGS("s", patch, "a{sv}", options),
                                        SD_BUS_NO_RESULT, manager_method_remove, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Verify", SD_BUS_ARGS("s", patch), SD_BUS_RESULT("a{sv}", findings),
                                        manager_method_verify, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Accept", SD_BUS_ARGS("s", patch), SD_BUS_NO_RESULT,
                                        manager_method_accept, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Reject", SD_BUS_ARGS("s", patch, "s", reason),
                                        SD_BUS_RESULT("o", job), manager_method_reject,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Quarantine", SD_BUS_ARGS("s", content, "b", release, "s", reason),
                                        SD_BUS_NO_RESULT, manager_method_quarantine,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Force", SD_BUS_ARGS("s", patch, "a{sv}", options),
                                        SD_BUS_RESULT("s", forced), manager_method_force,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("HostRecord", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
                                        manager_method_host_record, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Metrics", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", text),
                                        manager_method_metrics, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Plan", SD_BUS_ARGS("s", request, "s", patch, "a{sv}", options),
                                        SD_BUS_RESULT("s", plan), method_plan, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("PlanFile", SD_BUS_ARGS("s", request, "h", module, "a{sv}", options),
                                        SD_BUS_RESULT("s", plan), method_plan_file,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("ListPatches", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(" MANAGER_LISTED_PATCH ")", patches),
                                        method_list_patches, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("DescribePatch", SD_BUS_ARGS("s", patch), SD_BUS_RESULT("s", json),
                                        method_describe_patch, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("ListStates", SD_BUS_NO_ARGS, SD_BUS_RESULT("aa{sv}", states),
                                        method_list_states, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("ListBlocking", SD_BUS_ARGS("b", with_stacks),
                                        SD_BUS_RESULT("aa{sv}", tasks), method_list_blocking,
                                        SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("ListJobs", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(uosss)", jobs),
                                        method_list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_METHOD_WITH_ARGS("Inventory", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json),
                                        method_inventory, SD_BUS_VTABLE_UNPRIVILEGED),
                SD_BUS_PROPERTY("Version", "s", get_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
                SD_BUS_PROPERTY("KernelRelease", "s", get_kernel_release, 0, SD_BUS_VTABLE_PROPERTY_CONST),
                SD_BUS_PROPERTY("Generation", "t", get_generation, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("Transition", "s", get_transition, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("ShimAbi", "u", get_shim_abi, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("ShimProblem", "s", get_shim_problem, 0,
                                SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("Profile", "s", get_profile, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("Mode", "s", manager_get_mode, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("RecordProblem", "s", manager_get_record_problem, 0,
                                SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("Levels", "a{su}", get_levels, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("Problems", "as", get_problems, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_PROPERTY("KeptModules", "a{ss}", get_kept_modules, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
                SD_BUS_SIGNAL_WITH_ARGS("JobNew", SD_BUS_ARGS("u", id, "o", job), 0),
                SD_BUS_SIGNAL_WITH_ARGS("JobRemoved",
                                        SD_BUS_ARGS("u", id, "o", job, "s", result, "s", error, "s", message,
                                                    "s", plan),
                                        0),
                SD_BUS_SIGNAL_WITH_ARGS("JobStalled",
                                        SD_BUS_ARGS("u", id, "o", job, "t", usec, "aa{sv}", tasks), 0),
                SD_BUS_SIGNAL_WITH_ARGS("PatchesChanged", SD_BUS_NO_ARGS, 0),
                SD_BUS_VTABLE_END,
};

/* ---- cancel ---- */

typedef struct CancelAsk {
        Manager *manager;
        uint32_t id;
} CancelAsk;

static void on_cancel_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                                 void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        CancelAsk *ask = userdata;
        Job *job = ask->manager->job;

        if (r < 0)
                (void) reply_error(message, denied);
        else if (!job || job->id != ask->id) {
                (void) sd_bus_error_setf(&error, ERROR_NO_SUCH_JOB, "Job %u is over", ask->id);
                (void) reply_error(message, &error);
        } else {
                log_notice("Job %u is cancelled by uid %u", ask->id, (unsigned) uid);
                (void) sd_bus_reply_method_return(message, NULL);
                (void) transaction_cancel(job->transaction);
        }
        sd_bus_error_free(&error);
}

int manager_cancel(Manager *m, uint32_t id, sd_bus_message *message, sd_bus_error *error) {
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
        const char *actions[JOB_ACTIONS_MAX + 1];
        const JobSpec *spec;
        CancelAsk *ask;
        int r;

        if (!m->job || m->job->id != id)
                return sd_bus_error_setf(error, ERROR_NO_SUCH_JOB, "Job %u is over", id);
        spec = m->job->transaction->spec;
        job_spec_actions(spec, actions);
        actions[1] = NULL; /* as for the request; overrides mean nothing when it is taken back */
        ask = malloc(sizeof(*ask));
        if (!ask)
                return -ENOMEM;
        *ask = (CancelAsk) { .manager = m, .id = id };
        r = authorize(m->authorizer, message, actions, spec->patch, interactive, on_cancel_authorized, ask,
                      free);
        if (r < 0) {
                free(ask);
                return r == -EUSERS ? sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                                       "Too many requests wait for authorisation") : r;
        }
        return 1;
}

/* ---- signals ---- */

static int emit_job(Manager *m, sd_bus *bus, const void *data) {
        const Job *job = data;

        return sd_bus_emit_signal(bus, MANAGER_PATH, MANAGER_INTERFACE, "JobNew", "uo", job->id, job->path);
}

void manager_announce_job(Manager *m, const Job *job) {
        manager_emit(m, emit_job, job, "a job");
}

static int emit_job_end(Manager *m, sd_bus *bus, const void *data) {
        const Job *job = data;
        const Transaction *t = job->transaction;
        bool failed = t->failure.name;

        return sd_bus_emit_signal(bus, MANAGER_PATH, MANAGER_INTERFACE, "JobRemoved", "uossss", job->id, job->path,
                                  transaction_result_to_string(t->result), failed ? t->failure.name : "",
                                  failure_message(&t->failure), t->plan_json ?: "");
}

void manager_announce_job_end(Manager *m, const Job *job) {
        manager_emit(m, emit_job_end, job, "the end of a job");
}

typedef struct Stall {
        const Job *job;
        uint64_t usec;
        const Blocker *blockers;
        size_t n;
} Stall;

/* Without stacks: those are for who may read them (ListBlocking). */
static int emit_stall(Manager *m, sd_bus *bus, const void *data) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *signal = NULL;
        const Stall *s = data;
        int r;

        r = sd_bus_message_new_signal(bus, &signal, MANAGER_PATH, MANAGER_INTERFACE, "JobStalled");
        if (r >= 0)
                r = sd_bus_message_append(signal, "uot", s->job->id, s->job->path, s->usec);
        if (r >= 0)
                r = manager_append_blockers(signal, s->blockers, s->n, false);
        return r < 0 ? r : sd_bus_send(bus, signal, NULL);
}

void manager_announce_stall(Manager *m, const Job *job, uint64_t usec, const Blocker *blockers, size_t n) {
        Stall stall = { .job = job, .usec = usec, .blockers = blockers, .n = n };

        manager_emit(m, emit_stall, &stall, "that a job is held up");
}

static int emit_changes(Manager *m, sd_bus *bus, const void *data) {
        int r;

        r = sd_bus_emit_properties_changed(bus, MANAGER_PATH, MANAGER_INTERFACE, "Generation", "Transition",
                                           "ShimAbi", "ShimProblem", "Profile", "Mode", "RecordProblem",
                                           "Levels", "Problems", "KeptModules", NULL);
        return r < 0 ? r : sd_bus_emit_signal(bus, MANAGER_PATH, MANAGER_INTERFACE, "PatchesChanged", NULL);
}

void manager_announce_changes(Manager *m) {
        if (!manager_is_connected(m))
                return;
        manager_refresh(m);
        manager_emit(m, emit_changes, NULL, "changes");
}
