/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls on the bus that change nothing but can't be answered at once: those that first have the repository
 * looked at, a module inspected, or kernel stacks read. Each is a Query, bounded in number; the manager owns
 * them, and drops them with the connection.
 */
#include <stdio.h>

#include "klpd/log.h"
#include "klpd/manager.h"
#include "klpd/module-fd.h"
#include "policy/json.h"

static unsigned queries_of(const Manager *m, sd_bus_message *message) {
        unsigned n = 0;

        for (const Query *q = m->queries; q; q = q->next)
                n += same_caller(q->message, message);
        return n;
}

int query_new(Manager *m, sd_bus_message *message, Query **ret) {
        Query *q;

        if (m->n_queries >= MANAGER_QUERIES_MAX ||
            queries_of(m, message) >= MANAGER_QUERIES_SENDER_MAX)
                return -EUSERS;
        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        q->manager = m;
        q->file_fd = -EBADF;
        q->message = sd_bus_message_ref(message);
        q->link = &m->queries;
        q->next = m->queries;
        if (q->next)
                q->next->link = &q->next;
        m->queries = q;
        m->n_queries++;
        return *ret = q, 0;
}

/* The one that has waited longest; new ones come to the front. */
static Query *query_waiting(Manager *m) {
        Query *oldest = NULL;

        for (Query *q = m->queries; q; q = q->next)
                if (q->begin)
                        oldest = q;
        return oldest;
}

static int on_next_heavy(sd_event_source *source, void *userdata) {
        Manager *m = userdata;
        Query *q;

        m->next_heavy = sd_event_source_disable_unref(m->next_heavy);
        while (m->n_heavy < MANAGER_HEAVY_MAX && (q = query_waiting(m))) {
                int (*begin)(Query *q, Failure *failure) = TAKE_PTR(q->begin);
                _cleanup_(failure_done) Failure failure = {};
                int r;

                q->heavy = true;
                m->n_heavy++;
                r = begin(q, &failure);
                if (r < 0)
                        query_finish(q, r, NULL, failure.name, failure.message);
        }
        return 0;
}

static void manager_next_heavy(Manager *m) {
        if (!m->next_heavy && m->n_heavy < MANAGER_HEAVY_MAX && query_waiting(m) &&
            sd_event_add_defer(m->event, &m->next_heavy, on_next_heavy, m) < 0)
                log_error("Can't go on with the calls that wait");
}

void query_begin(Query *q, int (*begin)(Query *q, Failure *failure)) {
        q->begin = begin;
        manager_next_heavy(q->manager);
}

Query *query_free(Query *q) {
        Manager *m = q ? q->manager : NULL;

        if (!q)
                return NULL;
        if (q->heavy)
                m->n_heavy--;
        *q->link = q->next;
        if (q->next)
                q->next->link = q->link;
        q->manager->n_queries--;
        preparation_free(q->preparation);
        repository_wait_free(q->wait);
        import_free(q->import);
        q->manager->hands->vtable->inspect_free(q->inspection);
        patch_signature_free(q->signature);
        patch_unref(q->verified);
        blockers_read_free(q->blockers);
        job_spec_free(q->spec);
        sd_bus_message_unref(q->message);
        free(q->name);
        free(q->release);
        free(q);
        manager_next_heavy(m);
        return NULL;
}

void query_drop_bus(Manager *m, const sd_bus *bus) {
        Query *next;

        for (Query *q = m->queries; q; q = next) {
                next = q->next;
                if (sd_bus_message_get_bus(q->message) == bus)
                        query_free(q);
        }
}

int query_limit(int r, sd_bus_error *error) {
        if (r == -EUSERS)
                return sd_bus_error_set(error, SD_BUS_ERROR_LIMITS_EXCEEDED,
                                        "Too many calls wait for their answers");
        return r;
}

void query_finish(Query *q, int r, sd_bus_message *reply, const char *error_name, const char *message) {
        sd_bus_error error = SD_BUS_ERROR_NULL;

        if (r >= 0)
                r = sd_bus_send(NULL, reply, NULL);
        else {
                (void) sd_bus_error_set(&error, error_name ?: ERROR_FAILED, message ?: strerror(-r));
                r = sd_bus_reply_method_error(q->message, &error);
                sd_bus_error_free(&error);
        }
        if (r < 0)
                log_debug("Can't answer a caller: %s", strerror(-r));
        query_free(q);
}

/* ---- Plan ---- */

static int append_plan(sd_bus_message *reply, const Plan *plan) {
        _cleanup_free_ char *text = NULL;
        struct json_object *json;
        int r;

        json = plan_to_json(plan);
        if (!json)
                return -ENOMEM;
        r = json_to_line(json, &text);
        json_object_put(json);
        return r < 0 ? r : sd_bus_message_append(reply, "s", text);
}

static void on_planned(int r, Candidate *candidate, Plan **plan, Inventory **inventory,
                       const Failure *failure, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Query *q = userdata;

        if (r < 0) {
                query_finish(q, r, NULL, failure->name, failure_message(failure));
                return;
        }
        r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = append_plan(reply, *plan);
        query_finish(q, r, reply, NULL, NULL);
}

static int plan_begin(Query *q, Failure *failure) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = 0;

        if (q->file_fd >= 0)
                r = module_fd_read(q->file_fd, &q->spec->module_fd, &error);
        if (r < 0 && sd_bus_error_is_set(&error))
                r = failure_set(failure, r, ERROR_NOT_MODULE, "%s", error.message);
        sd_bus_error_free(&error);
        return r < 0 ? r : prepare(&q->manager->world, q->spec, on_planned, q, &q->preparation);
}

int manager_query_plan(Manager *m, JobSpec *spec, int file_fd, sd_bus_message *message, sd_bus_error *error) {
        Query *q;
        int r;

        r = query_new(m, message, &q);
        if (r < 0) {
                job_spec_free(spec);
                return query_limit(r, error);
        }
        q->spec = spec;
        manager_look(m);
        q->file_fd = file_fd;
        query_begin(q, plan_begin);
        return 1;
}

/* ---- ListPatches, DescribePatch ---- */

static void on_listed(void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Query *q = userdata;
        int r;

        r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = manager_append_patches(q->manager, reply);
        query_finish(q, r, reply, NULL, NULL);
}

int manager_query_list(Manager *m, sd_bus_message *message, sd_bus_error *error) {
        Query *q;
        int r;

        r = query_new(m, message, &q);
        if (r < 0)
                return query_limit(r, error);
        r = repository_refresh(m->repository, on_listed, q, &q->wait);
        if (r < 0) {
                query_free(q);
                return r;
        }
        return 1;
}

static void on_described(void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_free_ char *text = NULL;
        Query *q = userdata;
        char problem[128];
        int r;

        r = manager_describe(q->manager, q->name, &text);
        if (r == -ENOENT) {
                (void) snprintf(problem, sizeof(problem),
                                "No patch '%s', neither in the repository nor in the kernel", q->name);
                query_finish(q, r, NULL, ERROR_NO_SUCH_PATCH, problem);
                return;
        }
        if (r >= 0)
                r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", text);
        query_finish(q, r, reply, NULL, NULL);
}

int manager_query_describe(Manager *m, const char *name, sd_bus_message *message, sd_bus_error *error) {
        Query *q;
        int r;

        r = query_new(m, message, &q);
        if (r < 0)
                return query_limit(r, error);
        q->name = strdup(name);
        r = q->name ? repository_refresh(m->repository, on_described, q, &q->wait) : -ENOMEM;
        if (r < 0) {
                query_free(q);
                return r;
        }
        return 1;
}

/* ---- ListBlocking ---- */

static int append_stack(sd_bus_message *reply, const char *stack) {
        int r;

        r = sd_bus_message_open_container(reply, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(reply, "s", "stack");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(reply, 'a', "s");
        for (const char *line = stack; r >= 0 && line && *line;) {
                size_t n = strcspn(line, "\n");
                char frame[512];

                (void) snprintf(frame, sizeof(frame), "%.*s", (int) (n < 500 ? n : 500), line);
                r = sd_bus_message_append(reply, "s", frame);
                line += n + (line[n] == '\n');
        }
        for (unsigned i = 0; r >= 0 && i < 3; i++)
                r = sd_bus_message_close_container(reply);
        return r;
}

int manager_append_blockers(sd_bus_message *message, const Blocker *blockers, size_t n, bool with_stacks) {
        int r;

        r = sd_bus_message_open_container(message, 'a', "a{sv}");
        for (size_t i = 0; r >= 0 && i < n; i++) {
                const Blocker *b = &blockers[i];

                r = sd_bus_message_open_container(message, 'a', "{sv}");
                if (r >= 0)
                        r = sd_bus_message_append(message, "{sv}{sv}{sv}{sv}{sv}{sv}", "pid", "u", b->task.pid,
                                                  "tid", "u", b->task.tid, "comm", "s", b->task.comm,
                                                  "kernel-thread", "b", (int) b->task.kthread, "unit", "s",
                                                  b->unit ?: "", "patch-state", "i", b->patch_state);
                if (r >= 0 && with_stacks)
                        r = append_stack(message, b->stack);
                if (r >= 0 && with_stacks && *b->function)
                        r = sd_bus_message_append(message, "{sv}", "function", "s", b->function);
                if (r >= 0)
                        r = sd_bus_message_close_container(message);
        }
        return r < 0 ? r : sd_bus_message_close_container(message);
}

static void on_blockers(int r, const char *text, const Blocker *blockers, size_t n, void *userdata) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        Query *q = userdata;

        if (r >= 0)
                r = sd_bus_message_new_method_return(q->message, &reply);
        if (r >= 0)
                r = manager_append_blockers(reply, blockers, n, q->with_stacks);
        query_finish(q, r, reply, ERROR_FAILED, r < 0 && *text ? text : NULL);
}

/* Replies, sooner or later; the query is gone after an error. */
static int query_blocking(Manager *m, bool with_stacks, sd_bus_message *message, sd_bus_error *error) {
        Query *q;
        int r;

        r = query_new(m, message, &q);
        if (r < 0)
                return query_limit(r, error);
        q->with_stacks = with_stacks;
        r = blockers_read(&m->world, with_stacks, on_blockers, q, &q->blockers);
        if (r < 0) {
                query_free(q);
                if (r == -EOPNOTSUPP)
                        return sd_bus_error_set(error, ERROR_UNSUPPORTED,
                                                "This kernel has no livepatch support");
                return sd_bus_error_setf(error, ERROR_FAILED, "Can't list tasks: %s", strerror(-r));
        }
        return 1;
}

static void on_stacks_authorized(sd_bus_message *message, uid_t uid, int r, const sd_bus_error *denied,
                                 void *userdata) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        Manager *m = userdata;

        if (r < 0) {
                (void) sd_bus_reply_method_error(message, denied);
                return;
        }
        r = query_blocking(m, true, message, &error);
        if (r < 0) {
                if (!sd_bus_error_is_set(&error))
                        (void) sd_bus_error_set_errno(&error, r);
                (void) sd_bus_reply_method_error(message, &error);
        }
        sd_bus_error_free(&error);
}

int manager_query_blocking(Manager *m, bool with_stacks, sd_bus_message *message, sd_bus_error *error) {
        static const char *const actions[] = { ACTION_INSPECT_STACKS, NULL };
        bool interactive = sd_bus_message_get_allow_interactive_authorization(message) > 0;
        int r;

        if (!with_stacks)
                return query_blocking(m, false, message, error);
        r = authorize(m->authorizer, message, actions, NULL, interactive, on_stacks_authorized, m, NULL);
        return r < 0 ? query_limit(r, error) : 1;
}
