/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl fleet status | explain | resume | reset-serial: this host, from klpd itself. What it decides is what
 * is shown; klpctl decides nothing here.
 */
#include <stdarg.h>

#include "bus.h"
#include "policy/json.h"
#include "verb-fleet.h"

#define KLPD_FLEET "org.klpd1.Fleet"

static int new_call(Ctl *c, const char *member, sd_bus_message **ret) {
        int r;

        r = ctl_bus(c);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_new_method_call(c->bus, ret, KLPD_NAME, KLPD_PATH, KLPD_FLEET, member);
        return r < 0 ? ctl_bus_error(c, NULL, r, "make a message") : EXIT_DONE;
}

static int describe(Ctl *c, json_object **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        const char *text;
        int r;

        r = new_call(c, "Describe", &m);
        if (r == EXIT_DONE)
                r = ctl_bus_send(c, m, "read the state of fleet documents", &reply);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_read_basic(reply, 's', &text);
        if (r >= 0)
                r = json_parse_strict(text, strlen(text), ret, NULL);
        if (r < 0) {
                ctl_error(c, "klpd's answer can't be read: %s", strerror(-r));
                return ctl_failure(c, EXIT_FAILED, SD_BUS_ERROR_INCONSISTENT_MESSAGE, strerror(-r));
        }
        return EXIT_DONE;
}

/* --- text --- */

static void line(const Ctl *c, const char *title, Colour colour, const char *format, ...) _printf_(4, 5);
static void line(const Ctl *c, const char *title, Colour colour, const char *format, ...) {
        _cleanup_free_ char *text = NULL, *printable = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return;
        }
        printable = text_printable(&c->terminal, text);
        printf("%12s%c ", title, *title ? ':' : ' ');
        text_wrap(&c->terminal, stdout, colour, printable ?: "", 14);
}

static void print_level(const Ctl *c, json_object *o) {
        json_object *level = json_member(o, "level");

        if (json_object_is_type(level, json_type_int))
                line(c, "Runs", COLOUR_NORMAL, "%s level %" PRId64, json_string(o, "stream"),
                     json_object_get_int64(level));
        else
                line(c, "Runs", COLOUR_NORMAL, "nothing of %s", json_string(o, "stream"));
}

static void print_rule(const Ctl *c, json_object *o) {
        json_object *goal = json_member(o, "goal");

        if (!*json_string(o, "rule")) {
                line(c, "Rule", COLOUR_GREY, "none");
                return;
        }
        line(c, "Rule", COLOUR_NORMAL, "%s (%s)", json_string(o, "rule"), json_string(o, "document"));
        if (json_object_is_type(goal, json_type_int))
                line(c, "Wants", COLOUR_NORMAL, "%s %s, which is level %" PRId64, json_string(o, "stream"),
                     json_string(o, "wants"), json_object_get_int64(goal));
        else
                line(c, "Wants", COLOUR_NORMAL, "%s %s", json_string(o, "stream"), json_string(o, "wants"));
        print_level(c, o);
}

static void print_decision(const Ctl *c, json_object *o) {
        bool drift = json_boolean(o, "drift");
        _cleanup_free_ char *gates = json_join(json_array(o, "gates"), ", ");

        line(c, "Decision", drift ? COLOUR_YELLOW : COLOUR_NORMAL, "%s (%s)%s", json_string(o, "verdict"),
             json_string(o, "reason"), drift ? ", drift" : "");
        line(c, "Because", COLOUR_NORMAL, "%s", json_string(o, "message"));
        if (gates && *gates)
                line(c, "Closed", COLOUR_NORMAL, "%s", gates);
        if (*json_string(o, "until") && streq(json_string(o, "verdict"), "wait"))
                line(c, "Until", COLOUR_NORMAL, "%s", json_string(o, "until"));
        if (*json_string(o, "window_end"))
                line(c, "Window ends", COLOUR_NORMAL, "%s", json_string(o, "window_end"));
}

static void print_fixes(const Ctl *c, json_object *o) {
        _cleanup_free_ char *fixes = json_join(json_array(o, "open_fixes"), ", ");

        if (fixes && *fixes)
                line(c, streq(json_string(o, "verdict"), "change") ? "Will fix" : "Stays open", COLOUR_YELLOW, "%s",
                     fixes);
}

static void print_passed(const Ctl *c, json_object *o) {
        json_object *passed = json_array(o, "passed");

        for (size_t i = 0; i < json_length(passed); i++) {
                json_object *p = json_item(passed, i);

                line(c, i == 0 ? "Passed over" : "", COLOUR_NORMAL, "%s: %s doesn't match", json_string(p, "rule"),
                     *json_string(p, "why") ? json_string(p, "why") : "it");
        }
}

static void print_state(const Ctl *c, json_object *o) {
        const char *phase = json_string(o, "phase"), *slot = json_string(json_member(o, "slot"), "state");
        bool bad = streq(phase, "failed") || streq(phase, "refused");
        _cleanup_free_ char *rules = json_join(json_array(o, "refused_by"), ", ");
        json_object *override = json_member(o, "override"), *failed = json_array(o, "failed");

        line(c, "Now", bad ? COLOUR_RED : COLOUR_NORMAL, "%s%s%s", phase,
             streq(json_string(o, "phase_message"), json_string(o, "message")) ? "" : ": ",
             streq(json_string(o, "phase_message"), json_string(o, "message")) ? ""
                                                                              : json_string(o, "phase_message"));
        if (rules && *rules)
                line(c, "Refused by", COLOUR_RED, "%s", rules);
        if (override)
                line(c, "By hand", COLOUR_YELLOW, "%s, since %s; 'klpctl fleet resume' gives it back",
                     json_string(override, "by"), json_string(override, "since"));
        if (*slot && !streq(slot, "none"))
                line(c, "Slot", COLOUR_NORMAL, "%s", slot);
        for (size_t i = 0; i < json_length(failed); i++)
                line(c, i == 0 ? "Failed" : "", COLOUR_RED, "%s: %s", json_string(json_item(failed, i), "content"),
                     json_string(json_item(failed, i), "reason"));
        if (*json_string(o, "last_success"))
                line(c, "Last success", COLOUR_NORMAL, "%s", json_string(o, "last_success"));
        if (!json_boolean(o, "clock_synchronized"))
                line(c, "Clock", COLOUR_YELLOW, "not synchronised: nothing that depends on time begins");
}

static void print_documents(const Ctl *c, json_object *o) {
        json_object *documents = json_array(o, "documents");

        for (size_t i = 0; i < json_length(documents); i++) {
                json_object *d = json_item(documents, i);
                const char *problem = json_string(d, "problem");
                bool in_force = json_boolean(d, "in_force");

                if (in_force)
                        line(c, i == 0 ? "Documents" : "", COLOUR_NORMAL, "%s: serial %" PRIu64 "%s%s%s",
                             json_string(d, "path"), json_u64(d, "serial"),
                             *json_string(d, "signer_key") ? ", signed" : "",
                             json_boolean(d, "kept") ? ", an earlier version, kept from before klpd's start: "
                             : *problem              ? ", an earlier version: "
                                                     : "",
                             problem);
                else
                        line(c, i == 0 ? "Documents" : "", COLOUR_RED, "%s: not in force: %s",
                             json_string(d, "path"), problem);
        }
        if (json_length(documents) == 0)
                line(c, "Documents", COLOUR_GREY, "none");
        if (*json_string(o, "labels_problem"))
                line(c, "Labels", COLOUR_RED, "%s", json_string(o, "labels_problem"));
        if (*json_string(o, "record_problem"))
                line(c, "Record", COLOUR_RED, "%s", json_string(o, "record_problem"));
}

int verb_fleet_status(Ctl *c) {
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = describe(c, &o);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, o);
        print_rule(c, o);
        print_decision(c, o);
        print_state(c, o);
        print_fixes(c, o);
        print_documents(c, o);
        return EXIT_DONE;
}

int verb_fleet_explain_live(Ctl *c) {
        _cleanup_json_ json_object *o = NULL;
        int r;

        r = describe(c, &o);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, o);
        line(c, "Host", COLOUR_NORMAL, "%s, kernel %s", json_string(o, "hostname"), json_string(o, "kernel"));
        print_passed(c, o);
        print_rule(c, o);
        print_decision(c, o);
        print_fixes(c, o);
        return EXIT_DONE;
}

/* --- what somebody decides --- */

static int call(Ctl *c, sd_bus_message *m, const char *what, const char *done) {
        int r;

        ctl_agent(c);
        r = ctl_bus_send(c, m, what, NULL);
        if (r == EXIT_DONE && !ctl_json(c) && !c->args.quiet)
                printf("%s\n", done);
        return r == EXIT_DONE ? ctl_failure(c, EXIT_DONE, "", "") : r;
}

int verb_fleet_resume(Ctl *c) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_call(c, "Resume", &m);
        return r != EXIT_DONE ? r
                              : call(c, m, "give the host back to its fleet document",
                                     "The fleet document decides again; see 'klpctl fleet status'.");
}

int verb_fleet_reset_serial(Ctl *c, const char *document) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r;

        r = new_call(c, "ResetSerial", &m);
        if (r != EXIT_DONE)
                return r;
        r = sd_bus_message_append(m, "s", document);
        if (r < 0)
                return ctl_bus_error(c, NULL, r, "make a message");
        return call(c, m, "reset the serial", "Reset: any serial of that document is taken now.");
}
