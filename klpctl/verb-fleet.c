/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl fleet validate | plan | diff | explain: fleet documents beforehand, on any number of hosts, without
 * daemon, kernel or privileges. The decision is policy/'s, the same that klpd takes. What klpd itself is asked
 * is in verb-fleet-live.c.
 */
#include <stdarg.h>

#include "json-util.h"
#include "klpd/fleet-calendar.h"
#include "klpd/fleet-files.h"
#include "policy/json-writer.h"
#include "table.h"
#include "verb-fleet.h"

#define WORDS                                                                                             \
        "klpctl fleet status | explain | resume | reset-serial DOCUMENT | validate [FILE...] | plan [FILE...] | " \
        "diff OLD NEW"

/* --- validate --- */

typedef struct Validation {
        Ctl *c;
        json_object *documents, *warnings; /* under --json */
        bool invalid;
} Validation;

static int warn(Validation *v, const char *format, ...) _printf_(2, 3);
static int warn(Validation *v, const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0) {
                text = NULL;
                return -ENOMEM;
        }
        if (v->warnings)
                return json_array_push(v->warnings, json_object_new_string(text));
        ctl_error(v->c, "%s", text);
        return 0;
}

static int note_document(Validation *v, const char *path, const FleetDocument *d, const PolicyError *error) {
        _cleanup_json_ json_object *o = NULL;

        if (!v->documents) {
                char text[1024];

                if (!d)
                        ctl_error(v->c, "%s", policy_error_format(error, path, text, sizeof(text)));
                else if (!v->c->args.quiet)
                        printf("%s: is valid: %zu rules, %zu levels, %zu blocked.\n", path, d->n_rules,
                               d->n_levels, d->n_blocked);
                return 0;
        }
        o = json_object_new_object();
        if (!o || json_set_member(o, "document", json_object_new_string(path)) < 0 ||
            json_set_member(o, "valid", json_object_new_boolean(d != NULL)) < 0)
                return -ENOMEM;
        if (d && (json_set_member(o, "rules", json_object_new_uint64(d->n_rules)) < 0 ||
                  json_set_member(o, "levels", json_object_new_uint64(d->n_levels)) < 0 ||
                  json_set_member(o, "digest", json_object_new_string(d->digest)) < 0))
                return -ENOMEM;
        if (!d && (json_set_member(o, "line", json_object_new_uint64(error->line)) < 0 ||
                   json_set_member(o, "column", json_object_new_uint64(error->column)) < 0 ||
                   json_set_member(o, "key", json_object_new_string(error->key)) < 0 ||
                   json_set_member(o, "message", json_object_new_string(error->message)) < 0))
                return -ENOMEM;
        return json_array_push(v->documents, TAKE_PTR(o));
}

/* All files are looked at, whatever is wrong with one. */
static int validate_file(Validation *v, const char *path, FleetInput *f) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        PolicyError error = {};
        int r;

        r = fleet_file_load(path, &d, &error);
        if (r >= 0)
                r = fleet_calendar_expand(d, fleet_input_now(v->c), &error);
        if (r < 0) {
                if (!*error.message)
                        (void) policy_error_set(&error, r, "%s", strerror(-r));
                v->invalid = true;
                return note_document(v, path, NULL, &error);
        }
        r = note_document(v, path, d, NULL);
        if (r >= 0)
                f->documents[f->n++] = TAKE_PTR(d);
        return r;
}

/* What is right by itself, but can hardly be meant. */
static int warn_about(Validation *v, const FleetInput *f) {
        const FleetLevel *taken, *ignored;
        const FleetRule *all = NULL;
        uint64_t now = fleet_input_now(v->c);
        int r = 0;

        for (size_t i = 0; r >= 0 && i < f->n; i++)
                if (f->documents[i]->not_after > 0 && f->documents[i]->not_after <= now)
                        r = warn(v, "%s: has expired; its hosts stay as they are.", f->documents[i]->source);
        for (size_t i = 0; r >= 0 && i < fleet_set_n_rules(f->set); i++) {
                const FleetRule *rule = fleet_set_rule(f->set, i);

                if (all) {
                        r = warn(v,
                                 "%s: %s: never matches, because %s (%s) comes first and matches every "
                                 "host.",
                                 rule->document->source, rule->name, all->name, all->document->source);
                        break;
                }
                if (fleet_match_is_everything(&rule->match))
                        all = rule;
                for (size_t k = 0; r >= 0 && k < rule->n_windows; k++)
                        if (rule->windows[k].n_intervals == 0)
                                r = warn(v, "%s: %s: the window \"%s\" never opens.", rule->document->source,
                                         rule->name, rule->windows[k].calendar);
        }
        for (size_t i = 0; r >= 0 && fleet_set_conflict(f->set, i, &taken, &ignored); i++)
                r = warn(v, "%s: level %" PRIu32 " of %s/%s is stated differently by %s, which counts.",
                         ignored->document->source, ignored->level, ignored->vendor, ignored->stream,
                         taken->document->source);
        return r;
}

static int print_validation(Ctl *c, Validation *v) {
        _cleanup_json_ json_object *o = NULL;

        if (!v->documents)
                return v->invalid ? EXIT_FAILED : EXIT_DONE;
        o = json_object_new_object();
        if (!o || json_set_member(o, "valid", json_object_new_boolean(!v->invalid)) < 0 ||
            json_set_member(o, "documents", json_object_get(v->documents)) < 0 ||
            json_set_member(o, "warnings", json_object_get(v->warnings)) < 0)
                return ctl_oom(c);
        if (ctl_print_json(c, o) != EXIT_DONE)
                return EXIT_FAILED;
        return v->invalid ? EXIT_FAILED : EXIT_DONE;
}

static int validate(Ctl *c, Validation *v, const FleetFiles *files) {
        _cleanup_(fleet_input_done) FleetInput f = {};
        int r = 0;

        f.documents = calloc(files->n + 1, sizeof(*f.documents));
        if (!f.documents)
                return ctl_oom(c);
        for (size_t i = 0; r >= 0 && i < files->n; i++)
                r = validate_file(v, files->list[i].path, &f);
        if (r >= 0)
                r = fleet_set_new(f.documents, f.n, &f.set);
        if (r >= 0)
                r = warn_about(v, &f);
        return r < 0 ? ctl_oom(c) : print_validation(c, v);
}

static int verb_fleet_validate(Ctl *c, char *const *paths) {
        static const char *const directories[] = {FLEET_DIRECTORIES, NULL};
        _cleanup_(fleet_files_done) FleetFiles files = {};
        _cleanup_free_ char *failed = NULL;
        Validation v = {.c = c};
        int r;

        r = fleet_files_find(*paths ? paths : (char *const *) directories, *paths != NULL, &files, &failed);
        if (r < 0) {
                ctl_error(c, "%s: %s", failed ?: "fleet.d", strerror(-r));
                return ctl_failure(c, EXIT_FAILED, "", strerror(-r));
        }
        if (ctl_json(c)) {
                v.documents = json_object_new_array();
                v.warnings = json_object_new_array();
                if (!v.documents || !v.warnings)
                        return ctl_oom(c);
        }
        r = validate(c, &v, &files);
        json_object_put(v.documents);
        json_object_put(v.warnings);
        return r;
}

/* --- explain --- */

const char *fleet_level_text(char *buf, size_t size, bool is, uint32_t level) {
        if (is)
                snprintf(buf, size, "%" PRIu32, level);
        else
                snprintf(buf, size, "nothing");
        return buf;
}

static void row(const Ctl *c, const char *title, const char *text) {
        printf("%s%12s%s%s ", terminal_on(&c->terminal, COLOUR_BOLD), title, *title ? ":" : " ",
               terminal_off(&c->terminal));
        text_wrap(&c->terminal, stdout, COLOUR_NORMAL, text, 14);
}

static void row_printable(const Ctl *c, const char *title, const char *text) {
        _cleanup_free_ char *printable = text_printable(&c->terminal, text);

        row(c, title, printable ?: "");
}

static void add_fix(const char *fix, void *userdata) {
        FILE *f = userdata;

        fprintf(f, "%s%s", ftell(f) > 0 ? ", " : "", fix);
}

static void row_fixes(const Ctl *c, const FleetDecision *d, const FleetHost *host) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        FILE *f;

        if (d->verdict == FLEET_DONE || fleet_open_fixes(d, host, NULL, NULL) == 0)
                return;
        f = open_memstream(&text, &size);
        if (!f)
                return;
        (void) fleet_open_fixes(d, host, add_fix, f);
        fclose(f);
        if (text)
                row_printable(c, d->verdict == FLEET_CHANGE ? "Will fix" : "Stays open", text);
}

static void row_passed(const Ctl *c, const FleetInput *f, const FleetDecision *d, const FleetHost *host) {
        for (size_t i = 0; i < fleet_set_n_rules(f->set); i++) {
                const FleetRule *rule = fleet_set_rule(f->set, i);
                const char *why = fleet_match_why(&rule->match, host);
                char text[256];

                if (rule == d->rule)
                        break;
                snprintf(text, sizeof(text), "%s: %s doesn't match", rule->name, why ?: "it");
                row_printable(c, i == 0 ? "Passed over" : "", text);
        }
}

static void row_gates(const Ctl *c, const FleetDecision *d) {
        static const char *const names[] = {"clock", "window", "rollout", "wave", "splay"};
        char text[128] = "";
        size_t n = 0;

        for (unsigned i = 0; i < ELEMENTSOF(names); i++)
                if (d->gates & 1U << i)
                        n += (size_t) snprintf(text + n, sizeof(text) - n, "%s%s", n > 0 ? ", " : "",
                                               names[i]);
        if (n > 0)
                row(c, "Closed", text);
        if (d->until > 0 && d->verdict == FLEET_WAIT)
                row(c, "Until", FLEET_FORMAT_TIMESTAMP(d->until));
        if (d->window_end > 0)
                row(c, "Window ends", FLEET_FORMAT_TIMESTAMP(d->window_end));
}

static void explain(Ctl *c, const FleetInput *f, const FleetDecision *d, const FleetHost *host) {
        char text[640], level[16], goal[32];

        snprintf(text, sizeof(text), "%.*s, kernel %.*s", (int) host->hostname.n, host->hostname.s,
                 (int) host->kernel.n, host->kernel.s);
        row_printable(c, "Host", text);
        row_passed(c, f, d, host);
        if (d->rule) {
                snprintf(text, sizeof(text), "%s (%s)", d->rule->name, d->rule->document->source);
                row_printable(c, "Rule", text);
                snprintf(text, sizeof(text), "%s/%s %s%s%s", d->rule->vendor, d->rule->stream,
                         fleet_rule_goal(d->rule, goal, sizeof(goal)),
                         d->has_goal && !d->goal_none ? ", which is level " : "",
                         d->has_goal && !d->goal_none ? fleet_level_text(level, sizeof(level), true, d->goal)
                                                      : "");
                row_printable(c, "Wants", text);
                row(c, "Runs",
                    fleet_level_text(level, sizeof(level), d->running, d->running ? d->running->level : 0));
        }
        snprintf(text, sizeof(text), "%s (%s)%s", fleet_verdict_to_string(d->verdict),
                 fleet_reason_to_string(d->reason), d->drift ? ", drift" : "");
        row(c, "Decision", text);
        row_printable(c, "Because", fleet_decision_describe(d, host, text, sizeof(text)));
        row_gates(c, d);
        row_fixes(c, d, host);
}

static int explain_json(Ctl *c, const FleetDecision *d, const FleetHost *host) {
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_json_ json_object *o = NULL;
        char hostname[256];
        const char *text;

        snprintf(hostname, sizeof(hostname), "%.*s", (int) host->hostname.n, host->hostname.s);
        json_write_open(&w, '{');
        json_write_member(&w, "hostname", hostname);
        fleet_decision_write(d, host, &w);
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        if (!text)
                return ctl_oom(c);
        o = json_tokener_parse(text);
        return o ? ctl_print_json(c, o) : ctl_oom(c);
}

int verb_fleet_explain(Ctl *c, char *const *files) {
        _cleanup_(fleet_hosts_done) FleetHosts hosts = {.fd = -EBADF};
        _cleanup_(fleet_input_done) FleetInput f = {};
        const FleetHost *host;
        FleetDecision d;
        int r;

        if (!c->args.inventory && !*files && c->args.at_usec == 0)
                return verb_fleet_explain_live(c);
        if (!c->args.inventory)
                return ctl_usage(c, "Explain which host? --inventory FILE says what it is and runs; without files, "
                                    "klpd is asked.");
        r = fleet_input_load(c, files, fleet_input_now(c), &f);
        if (r == EXIT_DONE)
                r = fleet_hosts_open(c, c->args.inventory, &hosts);
        if (r == EXIT_DONE)
                r = fleet_hosts_only(c, &hosts, &host);
        if (r != EXIT_DONE)
                return r;
        fleet_decide(f.set, host, fleet_input_now(c), &d);
        if (ctl_json(c))
                return explain_json(c, &d, host);
        explain(c, &f, &d, host);
        return EXIT_DONE;
}

int verb_fleet(Ctl *c, int n, char **words) {
        const char *verb = words[1];
        char **files = words + 2; /* argv's own, so it ends with NULL */

        if (c->args.summary && !streq(verb, "plan") && !streq(verb, "diff"))
                return ctl_usage(c, "--summary means nothing to 'fleet %s'.", verb);
        if ((c->args.repository || c->args.policy || c->args.profile) && !streq(verb, "plan"))
                return ctl_usage(c, "--repository, --policy and --profile mean nothing to 'fleet %s'.", verb);
        if (c->args.inventory && streq(verb, "validate"))
                return ctl_usage(c, "--inventory means nothing to 'fleet validate'.");
        if (streq(verb, "validate"))
                return verb_fleet_validate(c, files);
        if (streq(verb, "plan"))
                return verb_fleet_plan(c, files);
        if (streq(verb, "explain"))
                return verb_fleet_explain(c, files);
        if (streq(verb, "status") || streq(verb, "resume") || streq(verb, "reset-serial")) {
                bool reset = streq(verb, "reset-serial");

                if (c->args.inventory || c->args.at_usec > 0)
                        return ctl_usage(c, "'fleet %s' is about this host, now.", verb);
                if (n != 2 + reset)
                        return ctl_usage(c, "'fleet %s' takes %s.", verb, reset ? "the name of a document" : "nothing else");
                return reset ? verb_fleet_reset_serial(c, words[2])
                             : streq(verb, "status") ? verb_fleet_status(c) : verb_fleet_resume(c);
        }
        if (streq(verb, "diff")) {
                if (n != 4)
                        return ctl_usage(c, "'fleet diff' compares two: klpctl fleet diff OLD NEW");
                return verb_fleet_diff(c, words[2], words[3]);
        }
        return ctl_usage(c, "There is no 'fleet %s': %s", verb, WORDS);
}
