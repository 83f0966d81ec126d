/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * NOT klpd: a fake that owns org.klpd1 on a private bus, so that klpctl's side of the interface can be tested, every
 * ending of a job included. It knows no kernel and no policy. What happens is chosen by the patch's name:
 *
 *   ok, ok-slow    done (slow: after two steps that can be seen)
 *   nothing, refused, failed, reversed, cancelled    the job ends that way
 *   refused-bare   refused at the second planning: no rule, only a message
 *   stuck          stays in "settle" until it is cancelled
 *   vanish         the service exits while the job runs
 *   call-ERROR     the call itself fails with org.klpd1.Error.ERROR; call-denied, call-interactive, call-invalid with
 *                  the D-Bus error of that meaning
 *
 * Every call is one line on standard output: member, patch, options in the order in which they came. Plans are files:
 * DIRECTORY/plan-NAME.json. FAKE_SHIM=0 in the environment: no shim. FAKE_TRANSITION=NAME: one is under way.
 */
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "policy/util.h"

#define PATH "/org/klpd1"
#define MANAGER "org.klpd1.Manager"
#define JOB_PATH "/org/klpd1/job/_7"
#define STEP_USEC 30000

typedef struct Fake {
        sd_bus *bus;
        sd_event *event;
        const char *directory;
        sd_bus_slot *job_slot;
        char patch[64], type[16];
        const char *step;
        int steps_left;
        bool running;
} Fake;

static void check(int r, const char *what) {
        if (r < 0) {
                fprintf(stderr, "fake-klpd: %s: %s\n", what, strerror(-r));
                exit(1);
        }
}

/* DIRECTORY/plan-NAME.json as it is, or "". */
static char *read_plan(const Fake *f, const char *name) {
        _cleanup_free_ char *path = NULL;
        char *text = NULL;
        size_t size = 0;
        FILE *file;

        check(asprintf(&path, "%s/plan-%s.json", f->directory, name), "asprintf");
        file = fopen(path, "re");
        if (!file)
                return strdup("");
        check(getdelim(&text, &size, EOF, file) < 0 ? -EIO : 0, path);
        fclose(file);
        return text;
}

static void say_value(sd_bus_message *m, const char *contents) {
        const char *s;
        uint64_t t;
        uint32_t u;
        int b;

        if (streq(contents, "s")) {
                check(sd_bus_message_read(m, "s", &s), "s");
                printf("%s", s);
        } else if (streq(contents, "u")) {
                check(sd_bus_message_read(m, "u", &u), "u");
                printf("%" PRIu32, u);
        } else if (streq(contents, "t")) {
                check(sd_bus_message_read(m, "t", &t), "t");
                printf("%" PRIu64, t);
        } else if (streq(contents, "b")) {
                check(sd_bus_message_read(m, "b", &b), "b");
                printf("%s", b ? "yes" : "no");
        } else if (streq(contents, "as")) {
                check(sd_bus_message_enter_container(m, 'a', "s"), "as");
                while (sd_bus_message_read(m, "s", &s) > 0)
                        printf("%s,", s);
                check(sd_bus_message_exit_container(m), "as");
        } else
                printf("?%s", contents);
}

static void say_options(sd_bus_message *m) {
        const char *key, *contents;
        char type;

        check(sd_bus_message_enter_container(m, 'a', "{sv}"), "options");
        while (sd_bus_message_enter_container(m, 'e', "sv") > 0) {
                check(sd_bus_message_read(m, "s", &key), "key");
                check(sd_bus_message_peek_type(m, &type, &contents), "type");
                printf(" %s=", key);
                check(sd_bus_message_enter_container(m, 'v', contents), "variant");
                say_value(m, contents);
                check(sd_bus_message_exit_container(m), "variant");
                check(sd_bus_message_exit_container(m), "entry");
        }
        check(sd_bus_message_exit_container(m), "options");
        putchar('\n');
        fflush(stdout);
}

static int call_error(const char *patch, sd_bus_error *error) {
        if (strncmp(patch, "call-", 5) != 0)
                return 0;
        patch += 5;

        if (streq(patch, "denied"))
                return sd_bus_error_set(error, SD_BUS_ERROR_ACCESS_DENIED, "polkit said no");
        if (streq(patch, "interactive"))
                return sd_bus_error_set(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED, "a password is needed");
        if (streq(patch, "invalid"))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS, "unknown option");

        return sd_bus_error_setf(error, streq(patch, "Busy")        ? "org.klpd1.Error.Busy" :
                                        streq(patch, "Refused")     ? "org.klpd1.Error.Refused" :
                                        streq(patch, "NoSuchPatch") ? "org.klpd1.Error.NoSuchPatch" :
                                                                      "org.klpd1.Error.Failed",
                                 "this is what %s looks like", patch);
}

static int job_get(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                   void *userdata, sd_bus_error *error) {
        Fake *f = userdata;

        return sd_bus_message_append(reply, "s", streq(property, "Patch") ? f->patch :
                                                 streq(property, "Type")  ? f->type :
                                                 streq(property, "Step")  ? f->step :
                                                                            "");
}

static void job_end(Fake *f, const char *result) {
        bool bad = streq(result, "failed"), refused = streq(result, "refused"), bare = streq(f->patch, "refused-bare");
        _cleanup_free_ char *plan = read_plan(f, f->patch);
        const char *message = bad ? "Failed to load livepatch 'failed': Exec format error" :
                bare              ? "what the module registered differs from its file" :
                refused           ? "The policy refuses it: block-disable" :
                streq(result, "nothing-to-do") ? "nothing is what runs already" :
                                                 "";

        f->running = false;
        f->job_slot = sd_bus_slot_unref(f->job_slot);
        check(sd_bus_emit_signal(f->bus, PATH, MANAGER, "JobRemoved", "uossss", 7U, JOB_PATH, result,
                                 bad ? "org.klpd1.Error.Failed" : refused ? "org.klpd1.Error.Refused" : "", message, plan),
              "JobRemoved");
}

static int job_cancel(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fake *f = userdata;

        printf("Cancel\n");
        fflush(stdout);
        check(sd_bus_reply_method_return(m, NULL), "reply");
        job_end(f, "cancelled");
        return 1;
}

static const sd_bus_vtable job_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Type", "s", job_get, 0, 0),
        SD_BUS_PROPERTY("Patch", "s", job_get, 0, 0),
        SD_BUS_PROPERTY("Step", "s", job_get, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_METHOD("Cancel", NULL, NULL, job_cancel, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_VTABLE_END,
};

static int on_step(sd_event_source *s, uint64_t usec, void *userdata) {
        static const char *const steps[] = { "settle", "enable", "load", "verify" };
        Fake *f = userdata;

        if (!f->running)
                return 0;
        if (streq(f->patch, "vanish"))
                exit(0);
        if (f->steps_left > 0) {
                f->step = steps[f->steps_left - 1];
                f->steps_left--;
                check(sd_bus_emit_properties_changed(f->bus, JOB_PATH, "org.klpd1.Job", "Step", NULL), "Step");
        } else if (!streq(f->patch, "stuck")) {
                job_end(f, streq(f->patch, "nothing")                         ? "nothing-to-do" :
                           *f->patch == '\0' || strncmp(f->patch, "ok", 2) == 0 ? "done" :
                           strncmp(f->patch, "refused", 7) == 0               ? "refused" :
                                                                                f->patch);
                return 0;
        }

        check(sd_event_source_set_time_relative(s, STEP_USEC), "time");
        return sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
}

static int start_job(Fake *f, sd_bus_message *m, const char *type, const char *patch, sd_bus_error *error) {
        int r;

        r = call_error(patch, error);
        if (r < 0)
                return r;
        if (f->running)
                return sd_bus_error_set(error, "org.klpd1.Error.Busy", "job 7 is running");

        snprintf(f->patch, sizeof(f->patch), "%s", patch);
        snprintf(f->type, sizeof(f->type), "%s", type);
        f->step = "";
        f->running = true;
        f->steps_left = streq(patch, "ok-slow") || streq(patch, "stuck") ? 4 : 0;
        check(sd_bus_add_object_vtable(f->bus, &f->job_slot, JOB_PATH, "org.klpd1.Job", job_vtable, f), "job");
        check(sd_bus_reply_method_return(m, "o", JOB_PATH), "reply");
        check(sd_event_add_time_relative(f->event, NULL, CLOCK_MONOTONIC, f->steps_left > 0 ? STEP_USEC : 0, 0, on_step, f),
              "time");
        return 1;
}

static int method_change(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(m), *patch;
        Fake *f = userdata;

        check(sd_bus_message_read(m, "s", &patch), "patch");
        printf("%s '%s'", member, patch);
        say_options(m);
        return start_job(f, m, streq(member, "Apply") ? "apply" : streq(member, "Disable") ? "disable" : "downgrade", patch,
                         error);
}

static int method_force(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *patch;

        check(sd_bus_message_read(m, "s", &patch), "patch");
        printf("Force '%s'", patch);
        say_options(m);
        if (streq(patch, "klp_demo_3"))
                return sd_bus_error_set(error, "org.klpd1.Error.Refused", "the policy doesn't allow force");
        return sd_bus_reply_method_return(m, "s", patch);
}

/* "idle": it isn't enabled, so there is nothing to take back. */
static int method_reject(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *patch, *reason;

        check(sd_bus_message_read(m, "ss", &patch, &reason), "patch, reason");
        printf("Reject '%s' '%s'\n", patch, reason);
        fflush(stdout);
        if (streq(patch, "idle"))
                return sd_bus_reply_method_return(m, "o", "/");
        return start_job(userdata, m, "reject", patch, error);
}

static int method_apply_file(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        struct stat st;
        int fd;

        check(sd_bus_message_read(m, "h", &fd), "fd");
        check(fstat(fd, &st) < 0 ? -errno : 0, "fstat");
        printf("ApplyFile %jd", (intmax_t) st.st_size);
        say_options(m);
        return start_job(userdata, m, "apply", "ok", error);
}

static int method_plan(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *plan = NULL;
        const char *request, *patch;
        Fake *f = userdata;
        int r;

        check(sd_bus_message_read(m, "ss", &request, &patch), "patch");
        printf("Plan %s '%s'", request, patch);
        say_options(m);
        r = call_error(patch, error);
        if (r < 0)
                return r;

        plan = read_plan(f, patch);
        return sd_bus_reply_method_return(m, "s", plan);
}

static int method_list_jobs(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Fake *f = userdata;

        if (f->running)
                return sd_bus_reply_method_return(m, "a(uosss)", 1, 7U, JOB_PATH, f->type, f->patch, f->step);
        return sd_bus_reply_method_return(m, "a(uosss)", 0);
}

static int method_metrics(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_reply_method_return(m, "s", "klpd_level{stream=\"demo/b\\\"ase\"} 2\nklpd_drift 0\n");
}

/* A patch as ListPatches has it; position -1: it isn't enabled. */
#define LISTED_PATCH "sssubssibasssssss"

/* Of the patch with level 2. */
#define DIGEST_2 "2222222222222222222222222222222222222222222222222222222222222222"

static void append_patch(sd_bus_message *m, const char *name, uint32_t level, const char *kind, const char *state,
                         int32_t position, const char *summary, const char *problem) {
        check(sd_bus_message_append(m, "(" LISTED_PATCH ")", name, "demo", "base", level, 1, kind, state, position, 1,
                                    2, "CVE-2026-0001", "CVE-2026-0002", summary, "", "6.1.0", level == 2 ? DIGEST_2 : "", problem, ""),
              "append");
}

static int method_host_record(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        return sd_bus_reply_method_return(
                        m, "s",
                        "{\"quarantine\":["
                        "{\"digest\":\"" DIGEST_2 "\",\"name\":\"unknown\",\"reason\":\"it crashed\",\"since_usec\":1},"
                        "{\"digest\":\"3333333333333333333333333333333333333333333333333333333333333333\","
                        "\"name\":\"gone\",\"reason\":\"it was bad\",\"since_usec\":1}]}");
}

static int method_list_patches(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        sd_bus_message *reply;

        check(sd_bus_message_new_method_return(m, &reply), "reply");
        check(sd_bus_message_open_container(reply, 'a', "(" LISTED_PATCH ")"), "open");
        append_patch(reply, "klp_demo_1", 1, "managed", "enabled", 0, "ip_options: refuse source routes", "");
        append_patch(reply, "klp_demo_2", 2, "managed", "available", -1, "an escape \x1b[31m in it, r\xc3\xa4tselhaft", "");
        append_patch(reply, "klp_demo_with_a_name_that_is_longer_than_most_terminals_like", 10, "plain", "loaded", -1, "", "");
        append_patch(reply, "broken", 0, "managed", "available", -1, "", "metadata makes no sense: klp_state");
        check(sd_bus_message_close_container(reply), "close");
        check(sd_bus_send(NULL, reply, NULL), "send");
        sd_bus_message_unref(reply);
        return 1;
}

static int method_list_states(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        sd_bus_message *reply;

        check(sd_bus_message_new_method_return(m, &reply), "reply");
        check(sd_bus_message_open_container(reply, 'a', "a{sv}"), "open");
        check(sd_bus_message_append(reply, "a{sv}", 9, "id", "t", UINT64_C(18446744073709551615), "version", "u", 3U,
                                    "flags", "as", 2, "block-disable", "shadow", "name", "s", "tcp-timer", "holder", "s",
                                    "klp_demo_1", "owners", "as", 1, "klp_demo_1", "orphan", "b", 0, "shadow-count", "t",
                                    UINT64_C(12), "shadow-bytes", "t", UINT64_C(1536)),
              "append");
        check(sd_bus_message_append(reply, "a{sv}", 5, "id", "t", UINT64_C(7), "version", "u", 1U, "name", "s", "lost",
                                    "holder", "s", "gone", "orphan", "b", 1),
              "append");
        check(sd_bus_message_close_container(reply), "close");
        check(sd_bus_send(NULL, reply, NULL), "send");
        sd_bus_message_unref(reply);
        return 1;
}

static int method_list_blocking(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        sd_bus_message *reply;
        int stacks;

        check(sd_bus_message_read(m, "b", &stacks), "b");
        check(sd_bus_message_new_method_return(m, &reply), "reply");
        check(sd_bus_message_open_container(reply, 'a', "a{sv}"), "open");
        if (getenv("FAKE_TRANSITION") && !streq(getenv("FAKE_TRANSITION"), "idle")) {
                check(sd_bus_message_append(reply, "a{sv}", 5, "pid", "u", 812U, "tid", "u", 813U, "comm", "s",
                                            "ssh\x07" "d", "kernel-thread", "b", 0, "unit", "s", "ssh.service"),
                      "append");
                check(sd_bus_message_append(reply, "a{sv}", stacks ? 6 : 4, "pid", "u", 44U, "tid", "u", 44U, "comm", "s",
                                            "kworker/0:1", "kernel-thread", "b", 1, "function", "s", "ip_options_get",
                                            "stack", "as", 2, "ip_options_get+0x1f/0x90", "do_ip_setsockopt+0x5/0x10"),
                      "append");
        }
        check(sd_bus_message_close_container(reply), "close");
        check(sd_bus_send(NULL, reply, NULL), "send");
        sd_bus_message_unref(reply);
        return 1;
}

static int method_describe(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *json = NULL;
        const char *patch;
        int r;

        check(sd_bus_message_read(m, "s", &patch), "patch");
        r = call_error(patch, error);
        if (r < 0)
                return r;
        json = read_plan(userdata, "describe");
        return sd_bus_reply_method_return(m, "s", json);
}

static int manager_get(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                       void *userdata, sd_bus_error *error) {
        bool shim = !streq_ptr(getenv("FAKE_SHIM"), "0");

        if (streq(property, "Generation"))
                return sd_bus_message_append(reply, "t", shim ? UINT64_C(5) : 0);
        if (streq(property, "ShimAbi"))
                return sd_bus_message_append(reply, "u", shim ? 1U : 0U);
        if (streq(property, "Levels"))
                return sd_bus_message_append(reply, "a{su}", 1, "demo/base", 1U);
        if (streq(property, "KeptModules"))
                return sd_bus_message_append(reply, "a{ss}", 2, "klp_old", "used by module 'x'",
                                             "klp_demo_with_a_name_that_is_longer_than_most_terminals_like",
                                             "its reference count is 1");

        return sd_bus_message_append(reply, "s", streq(property, "Version")       ? "fake" :
                                                 streq(property, "KernelRelease") ? "6.1.0-47-amd64" :
                                                 streq(property, "Transition")    ? getenv("FAKE_TRANSITION") ?: "" :
                                                 streq(property, "ShimProblem") && !shim ? "klp_shim.ko is not installed" :
                                                 streq(property, "Profile")       ? "block-disable" :
                                                                                    "");
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_METHOD("Apply", "sa{sv}", "o", method_change, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ApplyFile", "ha{sv}", "o", method_apply_file, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Downgrade", "sa{sv}", "o", method_change, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Disable", "sa{sv}", "o", method_change, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Force", "sa{sv}", "s", method_force, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Reject", "ss", "o", method_reject, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Plan", "ssa{sv}", "s", method_plan, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListPatches", NULL, "a(" LISTED_PATCH ")", method_list_patches, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("HostRecord", NULL, "s", method_host_record, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListStates", NULL, "aa{sv}", method_list_states, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListBlocking", "b", "aa{sv}", method_list_blocking, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("ListJobs", NULL, "a(uosss)", method_list_jobs, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("Metrics", NULL, "s", method_metrics, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD("DescribePatch", "s", "s", method_describe, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_PROPERTY("Version", "s", manager_get, 0, 0),
        SD_BUS_PROPERTY("KernelRelease", "s", manager_get, 0, 0),
        SD_BUS_PROPERTY("Generation", "t", manager_get, 0, 0),
        SD_BUS_PROPERTY("Transition", "s", manager_get, 0, 0),
        SD_BUS_PROPERTY("ShimAbi", "u", manager_get, 0, 0),
        SD_BUS_PROPERTY("ShimProblem", "s", manager_get, 0, 0),
        SD_BUS_PROPERTY("Profile", "s", manager_get, 0, 0),
        SD_BUS_PROPERTY("Levels", "a{su}", manager_get, 0, 0),
        SD_BUS_PROPERTY("KeptModules", "a{ss}", manager_get, 0, 0),
        SD_BUS_SIGNAL("JobRemoved", "uossss", 0),
        SD_BUS_VTABLE_END,
};

int main(int argc, char **argv) {
        Fake f = { .directory = argc > 1 ? argv[1] : ".", .step = "" };

        check(sd_event_new(&f.event), "event");
        check(sd_bus_open_system(&f.bus), "bus");
        check(sd_bus_add_object_vtable(f.bus, NULL, PATH, MANAGER, manager_vtable, &f), "object");
        check(sd_bus_attach_event(f.bus, f.event, 0), "attach");
        check(sd_bus_request_name(f.bus, "org.klpd1", 0), "name");
        printf("fake klpd is ready\n");
        fflush(stdout);

        check(sd_event_loop(f.event), "loop");
        sd_bus_flush_close_unref(f.bus);
        sd_event_unref(f.event);
        return 0;
}
