/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Following a job: matches first, then the call, then the job's properties, then signals until JobRemoved.
 * klpctl only looks on: when it goes away (Ctrl-C), the job stays, and klpctl says so. When klpd goes away,
 * nothing is known, and klpctl says that: it is klpd that finds out after its restart (SEMANTICS.md 5.5).
 *
 * The struct lives on the stack of job_run(); slots and sources are freed before it is.
 */
#include <signal.h>
#include <systemd/sd-event.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"
#include "job.h"
#include "parse.h"
#include "plan-text.h"
#include "policy/json.h"

/* From here on it is worth saying what a transition waits for. */
#define BLOCKERS_AFTER_USEC (3 * USEC_PER_SEC)
#define BLOCKERS_EVERY_USEC (2 * USEC_PER_SEC)
#define PROGRESS_EVERY_USEC (USEC_PER_SEC / 4)

typedef struct Job {
        Ctl *c;
        const char *what;
        sd_event *event;
        sd_event_source *tick;
        sd_bus_slot *blocking;
        char *path;
        uint32_t id;
        char *step, *patch, *type, *blockers; /* or NULL */
        uint64_t start, asked;                /* CLOCK_MONOTONIC: the call; the last question for blockers */
        bool progress_shown, interrupted;
        json_object *result; /* once it is over */
        int status;
} Job;

static void job_done(Job *j) {
        sd_bus_slot_unref(j->blocking);
        sd_event_source_disable_unref(j->tick);
        sd_event_unref(j->event);
        json_object_put(j->result);
        free(j->path);
        free(j->step);
        free(j->patch);
        free(j->type);
        free(j->blockers);
}

static uint64_t monotonic(void) {
        struct timespec ts;

        (void) clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t) ts.tv_sec * USEC_PER_SEC + (uint64_t) ts.tv_nsec / 1000;
}

static void progress_clear(Job *j) {
        if (j->progress_shown)
                fputs("\r\x1b[K", stderr);
        j->progress_shown = false;
}

/* One line, rewritten in place; only for people who look on. */
static void progress_draw(Job *j) {
        const Terminal *t = &j->c->terminal;
        _cleanup_free_ char *line = NULL, *printable = NULL, *cut = NULL;

        if (!t->tty_err || j->c->args.quiet || j->result)
                return;

        if (asprintf(&line, "%s: %s (%s)%s%s", j->what, j->step && *j->step ? j->step : "waiting",
                     FORMAT_SPAN(monotonic() - j->start), j->blockers ? ", waits for " : "",
                     j->blockers ?: "") < 0) {
                line = NULL;
                return;
        }

        printable = text_printable(t, line);
        cut = printable ? text_ellipsize(t, printable, t->width > 1 ? t->width - 1 : 79) : NULL;
        if (!cut)
                return;

        fprintf(stderr, "\r\x1b[K%s", cut);
        fflush(stderr);
        j->progress_shown = true;
}

static int format_blockers(json_object *tasks, char **ret) {
        _cleanup_free_ char *text = strdup("");
        size_t n = json_length(tasks);

        if (!text)
                return -ENOMEM;
        if (n == 0) /* SEMANTICS.md: an empty list may mean idle CPUs, which have no entry */
                return free_and_strdup(ret, "no task that can be listed (idle CPUs?)");

        for (size_t i = 0; i < n && i < 4; i++) {
                json_object *task = json_item(tasks, i);
                const char *unit = json_string(task, "unit");
                char *more;

                if (asprintf(&more, "%s%s%s[%" PRIu64 "]%s%s%s", text, i > 0 ? ", " : "",
                             json_string(task, "comm"), json_u64(task, "tid"), *unit ? " (" : "", unit,
                             *unit ? ")" : "") < 0)
                        return -ENOMEM;
                free(text);
                text = more;
        }
        if (n > 4) {
                char *more;

                if (asprintf(&more, "%s and %zu more", text, n - 4) < 0)
                        return -ENOMEM;
                free(text);
                text = more;
        }

        free(*ret);
        *ret = TAKE_PTR(text);
        return 0;
}

static int on_blocking(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_object *tasks = NULL;
        Job *j = userdata;

        j->blocking = sd_bus_slot_unref(j->blocking);
        if (sd_bus_message_is_method_error(m, NULL) || json_from_message(m, &tasks) < 0)
                return 0; /* only decoration */

        (void) format_blockers(tasks, &j->blockers);
        progress_draw(j);
        return 0;
}

static int on_tick(sd_event_source *s, uint64_t usec, void *userdata) {
        Job *j = userdata;
        uint64_t now = monotonic();
        int r;

        if (streq_ptr(j->step, "settle") && !j->blocking && now - j->start >= BLOCKERS_AFTER_USEC &&
            now - j->asked >= BLOCKERS_EVERY_USEC) {
                j->asked = now;
                (void) sd_bus_call_method_async(j->c->bus, &j->blocking, KLPD_NAME, KLPD_PATH, KLPD_MANAGER,
                                                "ListBlocking", on_blocking, j, "b", false);
        }

        progress_draw(j);

        r = sd_event_source_set_time_relative(s, PROGRESS_EVERY_USEC);
        if (r < 0)
                return r;
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int on_interrupt(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata) {
        Job *j = userdata;

        j->interrupted = true;
        return sd_event_exit(j->event, 0);
}

static int set_properties(Job *j, json_object *o) {
        if (json_has(o, "Step") && free_and_strdup(&j->step, json_string(o, "Step")) < 0)
                return -ENOMEM;
        if (json_has(o, "Patch") && free_and_strdup(&j->patch, json_string(o, "Patch")) < 0)
                return -ENOMEM;
        if (json_has(o, "Type") && free_and_strdup(&j->type, json_string(o, "Type")) < 0)
                return -ENOMEM;
        if (!streq_ptr(j->step, "settle")) {
                free(j->blockers);
                j->blockers = NULL;
        }

        progress_draw(j);
        return 0;
}

static int on_properties_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_object *o = NULL;
        const char *interface;
        Job *j = userdata;
        int r;

        if (!j->path || !streq_ptr(sd_bus_message_get_path(m), j->path))
                return 0;

        r = sd_bus_message_read_basic(m, 's', &interface);
        if (r < 0)
                return r;
        if (!streq(interface, KLPD_JOB))
                return 0;
        r = json_from_message(m, &o);
        if (r < 0)
                return r;

        return set_properties(j, o);
}

static int on_all_properties(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_json_ json_object *o = NULL;
        Job *j = userdata;

        /* A quick job may be over by now: then there is nothing to ask, and JobRemoved is in the queue. */
        if (sd_bus_message_is_method_error(m, NULL) || json_from_message(m, &o) < 0)
                return 0;

        return set_properties(j, o);
}

/* The result of a job, or of a call that never became one, as klpctl(8) describes it. */
static int make_result(Job *j, const char *result, const char *error, const char *message,
                       const char *plan) {
        _cleanup_json_ json_object *o = json_object_new_object(), *p = NULL;
        bool unsaid = j->c->args.quiet && !ctl_json(j->c) && streq(result, "done");

        if (!o)
                return -ENOMEM;
        if (*plan && !unsaid) {
                int r = json_parse_strict(plan, strlen(plan), &p, NULL);

                if (r < 0)
                        return r;
        }

        if (json_set_member(o, "job", json_object_new_int64(j->id)) < 0 ||
            json_set_member(o, "result", json_object_new_string(result)) < 0 ||
            json_set_member(o, "error", json_object_new_string(error)) < 0 ||
            json_set_member(o, "message", json_object_new_string(message)) < 0 ||
            json_set_member(o, "duration_usec", json_object_new_uint64(monotonic() - j->start)) < 0)
                return -ENOMEM;
        if (p && json_set_member(o, "plan", TAKE_PTR(p)) < 0)
                return -ENOMEM;

        json_object_put(j->result);
        j->result = TAKE_PTR(o);
        return 0;
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *ret_error) {
        const char *path, *result, *error, *message, *plan;
        Job *j = userdata;
        uint32_t id;
        int r;

        r = sd_bus_message_read(m, "uossss", &id, &path, &result, &error, &message, &plan);
        if (r < 0)
                return r;
        if (!streq_ptr(path, j->path))
                return 0;

        r = make_result(j, result, error, message, plan);
        if (r < 0)
                return r;

        return sd_event_exit(j->event, 0);
}

static int on_klpd_gone(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Job *j = userdata;
        int r;

        if (j->result)
                return 0;
        r = make_result(j, "failed", SD_BUS_ERROR_NO_REPLY,
                        "klpd went away while the job was running; it finishes or reverses it when it is "
                        "started again",
                        "");
        if (r < 0)
                return r;

        return sd_event_exit(j->event, 0);
}

static int on_owner_changed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *old, *new;
        int r;

        r = sd_bus_message_read(m, "sss", &name, &old, &new);
        if (r < 0)
                return r;
        return *old ? on_klpd_gone(m, userdata, error) : 0; /* else it was started by our own call */
}

static int result_status(const char *result, const char *error) {
        if (streq(result, "done") || streq(result, "nothing-to-do"))
                return EXIT_DONE;
        if (streq(result, "refused"))
                return EXIT_REFUSED;
        if (streq(result, "reversed"))
                return EXIT_REVERSED;

        return ctl_error_status(error) == EXIT_DENIED ? EXIT_DENIED : EXIT_FAILED;
}

/* "rejected by uid 0: why; 'x' was taken back: it is disabled" */
static void say_rejected(Job *j, const char *took) {
        _cleanup_free_ char *message = text_printable(&j->c->terminal, json_string(j->result, "message"));

        printf("%s%s (%s). It isn't applied again.\n", message && *message ? message : j->what,
               message && *message ? "" : ": it wasn't enabled", took);
}

/* With what klpd has to add, if it was not as usual: "completed, not reversed". */
static void say_done(Job *j, const char *took) {
        const Terminal *t = &j->c->terminal;
        const char *name =
                j->patch && *j->patch ? j->patch : json_string(json_member(j->result, "plan"), "patch");
        _cleanup_free_ char *patch = *name ? text_printable(t, name) : NULL,
                            *message = text_printable(t, json_string(j->result, "message"));
        bool disable = streq_ptr(j->type, "disable"), reject = strncmp(j->what, "reject ", 7) == 0;

        printf("%s%s%s ", terminal_on(t, COLOUR_GREEN),
               terminal_glyph(t, disable || reject ? GLYPH_CIRCLE : GLYPH_DOT), terminal_off(t));
        if (reject)
                say_rejected(j, took);
        else if (patch)
                printf("%s is %s (%s).\n", patch, disable ? "disabled" : "enabled", took);
        else
                printf("Done: %s (%s).\n", j->what, took);
        if (!reject && message && *message)
                printf("  %s.\n", message);
}

/* How it ended, for people. */
static void say_result(Job *j) {
        const char *result = json_string(j->result, "result"), *message = json_string(j->result, "message");
        json_object *plan = json_member(j->result, "plan");
        const char *took = FORMAT_SPAN(json_u64(j->result, "duration_usec"));

        if (streq(result, "done")) {
                if (j->c->args.quiet)
                        return;
                say_done(j, took);
                plan_print_warnings(j->c, stdout, plan);
                plan_print_changes(j->c, stdout, plan);
        } else if (streq(result, "nothing-to-do")) {
                if (!j->c->args.quiet)
                        printf("Nothing to do: %s\n", *message ? message : "that is what runs already.");
        } else if (streq(result, "refused")) {
                /* A refusal at the second planning may have no rule to show, but only what turned out
                 * different. */
                bool rules = plan_has_refusals(plan);

                ctl_error(j->c, "Refused to %s%s%s", j->what, rules || !*message ? "." : ": ",
                          rules ? "" : message);
                plan_print_violations(j->c, stderr, plan);
        } else if (streq(result, "reversed") || streq(result, "cancelled")) {
                const char *why = *message                    ? message
                                  : streq(result, "reversed") ? "it took too long and was reversed"
                                                              : "cancelled";

                ctl_error(j->c, "Failed to %s: %s (after %s). The kernel runs what it ran before.", j->what,
                          why, took);
        } else
                ctl_error(j->c, "Failed to %s: %s", j->what,
                          *message ? message : json_string(j->result, "error"));
}

/* Nobody looks on: then it isn't asked, either. */
static bool shows_progress(const Job *j) {
        return j->c->terminal.tty_err && !j->c->args.quiet;
}

/* Their answers aren't waited for: the bus handles one sender's messages in order, so they are in place before the
 * call is. One that fails ends the connection (as sd-bus has it for asynchronous matches without a callback). */
static int subscribe(Job *j) {
        sd_bus *bus = j->c->bus;
        int r;

        r = sd_bus_match_signal_async(bus, NULL, KLPD_NAME, KLPD_PATH, KLPD_MANAGER, "JobRemoved", on_job_removed,
                                      NULL, j);
        if (r >= 0 && shows_progress(j))
                r = sd_bus_match_signal_async(bus, NULL, KLPD_NAME, NULL, "org.freedesktop.DBus.Properties",
                                              "PropertiesChanged", on_properties_changed, NULL, j);
        if (r < 0)
                return r;

        if (sd_bus_is_bus_client(bus) <= 0)
                return sd_bus_match_signal_async(bus, NULL, "org.freedesktop.DBus.Local", "/org/freedesktop/DBus/Local",
                                                 "org.freedesktop.DBus.Local", "Disconnected", on_klpd_gone, NULL, j);
        return sd_bus_add_match_async(
                bus, NULL,
                "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"
                "member='NameOwnerChanged',arg0='" KLPD_NAME "'",
                on_owner_changed, NULL, j);
}

/* Until it is over, or the user has had enough. */
static int follow(Job *j) {
        sigset_t signals;
        int r;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;

        if ((r = sd_event_add_signal(j->event, NULL, SIGINT, on_interrupt, j)) < 0 ||
            (r = sd_event_add_signal(j->event, NULL, SIGTERM, on_interrupt, j)) < 0 ||
            (r = sd_bus_attach_event(j->c->bus, j->event, SD_EVENT_PRIORITY_NORMAL)) < 0)
                return r;

        if (shows_progress(j))
                r = sd_event_add_time_relative(j->event, &j->tick, CLOCK_MONOTONIC, PROGRESS_EVERY_USEC, 0, on_tick, j);
        if (r >= 0 && !j->c->args.quiet) /* also what the last line says comes from there */
                r = sd_bus_call_method_async(j->c->bus, NULL, KLPD_NAME, j->path, "org.freedesktop.DBus.Properties",
                                             "GetAll", on_all_properties, j, "s", KLPD_JOB);
        if (r < 0)
                return r;

        /* While klpd works. With --quiet there is mostly nothing to say, and no need to work beside it. */
        if (!j->c->args.quiet)
                terminal_set_locale(&j->c->terminal);
        r = sd_event_loop(j->event);
        if (j->c->args.quiet && !streq(json_string(j->result, "result"), "done"))
                terminal_set_locale(&j->c->terminal);
        progress_clear(j);
        (void) sd_bus_detach_event(j->c->bus);
        return r;
}

static int say_interrupted(Job *j) {
        ctl_error(j->c,
                  "Interrupted; job %" PRIu32
                  " (%s) goes on. 'klpctl jobs' shows it, 'klpctl cancel %" PRIu32 "' takes it back.",
                  j->id, j->what, j->id);

        /* A shell script that runs klpctl shall see that it was a signal. */
        signal(SIGINT, SIG_DFL);
        raise(SIGINT);
        sigset_t signals;
        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        (void) sigprocmask(SIG_UNBLOCK, &signals, NULL);
        return EXIT_FAILED;
}

static int parse_job_path(Job *j, sd_bus_message *reply) {
        const char *path, *number;
        int r;

        r = sd_bus_message_read_basic(reply, 'o', &path);
        if (r < 0)
                return r;

        if (streq(path, "/")) /* there was nothing to take back */
                return make_result(j, "done", "", "", "");
        number = strrchr(path, '/') + 1;
        if (parse_u32(number + (*number == '_'), &j->id) < 0)
                return -EBADMSG;

        return free_and_strdup(&j->path, path);
}

/* Whether there was a job or not: what is to be shown of its end. */
static int conclude(Job *j) {
        j->status = result_status(json_string(j->result, "result"), json_string(j->result, "error"));

        if (ctl_json(j->c)) {
                int r = ctl_print_json(j->c, j->result);

                if (r != EXIT_DONE)
                        return r;
                if (j->status != EXIT_DONE && *json_string(j->result, "message"))
                        ctl_error(j->c, "%s: %s: %s", j->what, json_string(j->result, "result"),
                                  json_string(j->result, "message"));
        } else
                say_result(j);

        return j->status;
}

int job_run(Ctl *c, sd_bus_message *call, const char *what) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(job_done) Job j = { .c = c, .what = what, .start = monotonic() };
        int r;

        r = subscribe(&j);
        if (r >= 0)
                r = sd_event_new(&j.event);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);

        ctl_agent(c);
        r = ctl_bus_send(c, call, what, &reply);
        if (r != EXIT_DONE)
                return r;
        r = parse_job_path(&j, reply);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "understand klpd's answer");

        if (j.result)
                return conclude(&j);

        if (c->args.no_block) {
                r = make_result(&j, "queued", "", "", "");
                if (r < 0)
                        return ctl_oom(c);
                if (ctl_json(c))
                        return ctl_print_json(c, j.result);
                printf("Job %" PRIu32 ": %s\n", j.id, what);
                return EXIT_DONE;
        }

        r = follow(&j);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, what);
        if (j.interrupted)
                return say_interrupted(&j);
        if (!j.result)
                return ctl_bus_error(c, NULL, -ECONNRESET, what);

        return conclude(&j);
}
