/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See health.h. One check at a time, and one call of systemd's at a time (slot); `unit` and `job` say what the
 * check under way waits for. JobRemoved may come before the answer to the call that made the job, so one for
 * the unit is kept (removed_*) until the answer says which job is meant.
 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/health.h"
#include "klpd/log.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define MANAGER_PATH "/org/freedesktop/systemd1"
#define MANAGER "org.freedesktop.systemd1.Manager"
#define ARGS_MAX 256U

struct Health {
        sd_bus *bus;
        char **units, **commands;
        uint64_t timeout_usec;
        uint32_t tag;
        HealthCallback callback;
        void *userdata;
        sd_bus_slot *match, *subscribe, *slot;
        sd_event_source *timer, *defer;
        size_t next;       /* check that comes next: units first, then commands */
        char *unit;        /* that is waited for */
        bool transient;    /* it is ours, and may have to be stopped */
        char *job;         /* path, or NULL until it is known */
        char *removed_job, *removed_result;
        int outcome;       /* of the check that failed, until it is known whether that counts */
        char *text;
};

static void check_next(Health *h);

/* ---- the object ---- */

/* Without waiting for the answer. */
static void stop_transient(Health *h) {
        int r;

        if (!h->transient || !h->unit)
                return;
        r = sd_bus_call_method_async(h->bus, NULL, SYSTEMD, MANAGER_PATH, MANAGER, "StopUnit", NULL, NULL,
                                     "ss", h->unit, "replace");
        if (r < 0)
                log_debug("Can't have %s stopped: %s", h->unit, strerror(-r));
}

static void check_over(Health *h) {
        h->slot = sd_bus_slot_unref(h->slot);
        free(h->unit);
        free(h->job);
        free(h->removed_job);
        free(h->removed_result);
        h->unit = h->job = h->removed_job = h->removed_result = NULL;
        h->transient = false;
}

Health *health_free(Health *h) {
        if (!h)
                return NULL;
        stop_transient(h);
        check_over(h);
        /* systemd needn't send signals that nobody hears any more. */
        if (h->subscribe)
                (void) sd_bus_call_method_async(h->bus, NULL, SYSTEMD, MANAGER_PATH, MANAGER, "Unsubscribe",
                                                NULL, NULL, "");
        sd_bus_slot_unref(h->match);
        sd_bus_slot_unref(h->subscribe);
        sd_event_source_disable_unref(h->timer);
        sd_event_source_disable_unref(h->defer);
        strv_free(h->units);
        strv_free(h->commands);
        free(h->text);
        sd_bus_unref(h->bus);
        free(h);
        return NULL;
}

/* The last thing that is done with it here: the callback may free it. */
static void finish(Health *h, int r, const char *text) {
        h->timer = sd_event_source_disable_unref(h->timer);
        h->callback(r, text, h->userdata);
}

static _printf_(2, 3) void say(Health *h, const char *format, ...) {
        va_list ap;

        free(h->text);
        va_start(ap, format);
        if (vasprintf(&h->text, format, ap) < 0)
                h->text = NULL;
        va_end(ap);
}

/* ---- one that isn't well ---- */

static int on_system_state(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const char *state = "";
        Health *h = userdata;

        h->slot = sd_bus_slot_unref(h->slot);
        if (!sd_bus_message_get_error(reply))
                (void) sd_bus_message_read(reply, "v", "s", &state);
        if (streq(state, "stopping"))
                finish(h, -ECANCELED, "the system is being shut down");
        else
                finish(h, h->outcome, h->text ?: "out of memory");
        return 0;
}

/* h->text says what isn't well. */
static void fail(Health *h, int outcome) {
        int r;

        stop_transient(h);
        check_over(h);
        h->timer = sd_event_source_disable_unref(h->timer);
        h->outcome = outcome;
        r = sd_bus_call_method_async(h->bus, &h->slot, SYSTEMD, MANAGER_PATH,
                                     "org.freedesktop.DBus.Properties", "Get", on_system_state, h, "ss",
                                     MANAGER, "SystemState");
        if (r < 0)
                finish(h, outcome, h->text ?: "out of memory");
}

static void fail_call(Health *h, const char *what, int r, const sd_bus_error *e) {
        say(h, "systemd can't be asked to %s: %s", what, e && e->message ? e->message : strerror(-r));
        fail(h, e ? -EREMOTEIO : r);
}

/* ---- what became of a unit ---- */

/* Reads the a{sv} of GetAll for these three. */
static int read_unit_properties(sd_bus_message *m, const char **ret_active, const char **ret_result,
                                int32_t *ret_status) {
        const char *key;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = sd_bus_message_read_basic(m, 's', &key);
                if (r < 0)
                        return r;
                if (streq(key, "ActiveState"))
                        r = sd_bus_message_read(m, "v", "s", ret_active);
                else if (streq(key, "Result"))
                        r = sd_bus_message_read(m, "v", "s", ret_result);
                else if (streq(key, "ExecMainStatus"))
                        r = sd_bus_message_read(m, "v", "i", ret_status);
                else
                        r = sd_bus_message_skip(m, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(m);
        }
        return r;
}

static const char *what_was_run(const Health *h) {
        return h->transient ? h->commands[h->next - 1 - strv_length(h->units)] : h->unit;
}

static int on_unit_properties(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const char *active = "", *result = "", *job_result;
        Health *h = userdata;
        int32_t status = 0;
        bool well;

        h->slot = sd_bus_slot_unref(h->slot);
        job_result = h->removed_result ?: "";
        /* A unit that is gone has nothing more to say. */
        if (!sd_bus_message_get_error(reply))
                (void) read_unit_properties(reply, &active, &result, &status);
        well = streq(job_result, "done") && !streq(active, "failed");
        if (well) {
                check_over(h);
                check_next(h);
                return 0;
        }
        if (status > 0 && streq(result, "exit-code"))
                say(h, "%s '%s' failed with exit status %d", h->transient ? "command" : "unit",
                    what_was_run(h), status);
        else
                say(h, "%s '%s' failed: %s", h->transient ? "command" : "unit", what_was_run(h),
                    *result && !streq(result, "success") ? result : job_result);
        fail(h, -EREMOTEIO);
        return 0;
}

static void ask_unit(Health *h) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = sd_bus_path_encode("/org/freedesktop/systemd1/unit", h->unit, &path);
        if (r >= 0)
                r = sd_bus_call_method_async(h->bus, &h->slot, SYSTEMD, path,
                                             "org.freedesktop.DBus.Properties", "GetAll", on_unit_properties,
                                             h, "s", "");
        if (r < 0)
                fail_call(h, "tell how a unit is", r, NULL);
}

static void look_at_job(Health *h) {
        if (h->job && h->removed_job && streq(h->job, h->removed_job))
                ask_unit(h);
}

static int on_job_removed(sd_bus_message *signal, void *userdata, sd_bus_error *unused) {
        const char *job, *unit, *result;
        Health *h = userdata;
        uint32_t id;
        int r;

        r = sd_bus_message_read(signal, "uoss", &id, &job, &unit, &result);
        /* The unit may go by another name than the one it was asked for by: once the job is known, that
         * counts. */
        if (r < 0 || !h->unit || !streq(h->job ? job : unit, h->job ?: h->unit))
                return 0;
        free(h->removed_job);
        free(h->removed_result);
        h->removed_job = strdup(job);
        h->removed_result = strdup(result);
        if (!h->removed_job || !h->removed_result) {
                say(h, "out of memory");
                fail(h, -ENOMEM);
        } else
                look_at_job(h);
        return 0;
}

static int on_started(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);
        const char *job = NULL;
        Health *h = userdata;
        int r = 0;

        h->slot = sd_bus_slot_unref(h->slot);
        if (!e)
                r = sd_bus_message_read(reply, "o", &job);
        if (e || r < 0) {
                char what[320];

                (void) snprintf(what, sizeof(what), "start %s", h->unit);
                fail_call(h, what, r, e);
                return 0;
        }
        h->job = strdup(job);
        if (!h->job) {
                say(h, "out of memory");
                fail(h, -ENOMEM);
        } else
                look_at_job(h);
        return 0;
}

/* ---- commands ---- */

int health_split_command(const char *line, char ***ret) {
        _cleanup_strv_free_ char **words = NULL;
        _cleanup_free_ char *word = malloc(strlen(line) + 1);
        bool quoted = false, any = false;
        size_t n = 0;
        int r;

        if (!word)
                return -ENOMEM;
        for (const char *p = line;; p++) {
                if (*p == '"') {
                        quoted = !quoted;
                        any = true;
                } else if (*p && (quoted || !strchr(" \t", *p))) {
                        word[n++] = *p;
                        any = true;
                } else {
                        word[n] = 0;
                        if (any && strv_length(words) >= ARGS_MAX)
                                return -E2BIG;
                        r = any ? strv_extend(&words, word) : 0;
                        if (r < 0)
                                return r;
                        n = 0;
                        any = false;
                }
                if (!*p)
                        break;
        }
        if (quoted || !words)
                return -EINVAL;
        *ret = TAKE_PTR(words);
        return 0;
}

/* What a check needs and no more: it runs as a user that nobody else is, sees all and changes nothing. Whoever
 * needs more writes a unit. */
static int append_sandbox(sd_bus_message *m) {
        static const char *const yes[] = {
                        "DynamicUser",           "NoNewPrivileges",      "PrivateTmp",
                        "PrivateDevices",        "ProtectControlGroups", "ProtectKernelModules",
                        "ProtectKernelTunables", "ProtectKernelLogs",    "ProtectClock",
                        "ProtectHostname",       "LockPersonality",      "MemoryDenyWriteExecute",
                        "RestrictRealtime",      "RestrictSUIDSGID",
        };
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTSOF(yes); i++)
                r = sd_bus_message_append(m, "(sv)", yes[i], "b", 1);
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)", "ProtectSystem", "s", "strict",
                                          "ProtectHome", "s", "read-only", "CapabilityBoundingSet", "t",
                                          UINT64_C(0), "TasksMax", "t", UINT64_C(64));
        return r;
}

static int append_command(sd_bus_message *m, char **words) {
        int r;

        r = sd_bus_message_open_container(m, 'r', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "ExecStart");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sasb)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'r', "sasb");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", words[0]);
        if (r >= 0)
                r = sd_bus_message_append_strv(m, words);
        if (r >= 0)
                r = sd_bus_message_append(m, "b", 0);
        for (unsigned i = 0; r >= 0 && i < 4; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* AddRef keeps it for as long as we are connected, also when it has failed: so that it can be asked why. */
static int append_properties(sd_bus_message *m, const Health *h, char **words) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "(sv)");
        if (r >= 0)
                r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)", "Description", "s",
                                          "Health check after a livepatch", "Type", "s", "oneshot",
                                          "CollectMode", "s", "inactive-or-failed", "AddRef", "b", 1,
                                          "TimeoutStartUSec", "t", h->timeout_usec);
        if (r >= 0)
                r = append_sandbox(m);
        if (r >= 0)
                r = append_command(m, words);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int start_command(Health *h, const char *line, unsigned number) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        _cleanup_strv_free_ char **words = NULL;
        int r;

        r = health_split_command(line, &words);
        if (r < 0)
                return r;
        if (asprintf(&h->unit, "klpd-health-%" PRIu32 "-%u-%d.service", h->tag, number, (int) getpid()) <
            0) {
                h->unit = NULL;
                return -ENOMEM;
        }
        h->transient = true;
        r = sd_bus_message_new_method_call(h->bus, &m, SYSTEMD, MANAGER_PATH, MANAGER, "StartTransientUnit");
        if (r >= 0)
                r = sd_bus_message_append(m, "ss", h->unit, "fail");
        if (r >= 0)
                r = append_properties(m, h, words);
        if (r >= 0)
                r = sd_bus_message_append(m, "a(sa(sv))", 0);
        return r < 0 ? r : sd_bus_call_async(h->bus, &h->slot, m, on_started, h, 0);
}

/* ---- one after the other ---- */

static int start_unit(Health *h, const char *unit) {
        h->unit = strdup(unit);
        if (!h->unit)
                return -ENOMEM;
        return sd_bus_call_method_async(h->bus, &h->slot, SYSTEMD, MANAGER_PATH, MANAGER, "StartUnit",
                                        on_started, h, "ss", unit, "replace");
}

static void check_next(Health *h) {
        size_t n_units = strv_length(h->units), n = n_units + strv_length(h->commands), i = h->next++;
        char text[64];
        int r;

        if (i >= n) {
                (void) snprintf(text, sizeof(text), "%zu check%s passed", n, n == 1 ? "" : "s");
                finish(h, 0, text);
                return;
        }
        r = i < n_units ? start_unit(h, h->units[i])
                        : start_command(h, h->commands[i - n_units], (unsigned) (i - n_units));
        if (r < 0)
                fail_call(h, i < n_units ? "start a unit" : "run a command", r, NULL);
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata) {
        Health *h = userdata;

        if (h->unit)
                say(h, "%s '%s' wasn't done within %.1f s", h->transient ? "command" : "unit",
                    what_was_run(h), (double) h->timeout_usec / 1e6);
        else
                say(h, "the checks weren't done within %.1f s", (double) h->timeout_usec / 1e6);
        fail(h, -ETIMEDOUT);
        return 0;
}

static int on_defer(sd_event_source *source, void *userdata) {
        Health *h = userdata;

        h->defer = sd_event_source_disable_unref(h->defer);
        check_next(h);
        return 0;
}

static int on_subscribed(sd_bus_message *reply, void *userdata, sd_bus_error *unused) {
        const sd_bus_error *e = sd_bus_message_get_error(reply);

        if (e)
                log_debug("systemd: %s", e->message ?: e->name); /* subscribed already */
        return 0;
}

int health_run(sd_event *event, sd_bus *bus, const Config *config, uint32_t tag, HealthCallback callback,
               void *userdata, Health **ret) {
        _cleanup_(health_freep) Health *h = NULL;
        int r;

        h = calloc(1, sizeof(*h));
        if (!h)
                return -ENOMEM;
        h->bus = sd_bus_ref(bus);
        h->timeout_usec = config->health_timeout_usec;
        h->tag = tag;
        h->callback = callback;
        h->userdata = userdata;
        r = strv_copy(config->health_units, &h->units);
        if (r >= 0)
                r = strv_copy(config->health_commands, &h->commands);
        /* Before the first call: systemd sends signals only to those who have subscribed. */
        if (r >= 0)
                r = sd_bus_match_signal_async(bus, &h->match, SYSTEMD, MANAGER_PATH, MANAGER, "JobRemoved",
                                              on_job_removed, NULL, h);
        if (r >= 0)
                r = sd_bus_call_method_async(bus, &h->subscribe, SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe",
                                             on_subscribed, h, "");
        if (r >= 0)
                r = sd_event_add_time_relative(event, &h->timer, CLOCK_MONOTONIC, h->timeout_usec, 0,
                                               on_timeout, h);
        if (r >= 0)
                r = sd_event_add_defer(event, &h->defer, on_defer, h);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(h);
        return 0;
}
