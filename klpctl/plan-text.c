/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Plans for people. A refusal is the text that people read most carefully: for each rule what it is for,
 * what is wrong, the two values side by side, and what would make the request acceptable. Nothing is decided
 * here.
 */
#include "json-util.h"
#include "plan-text.h"
#include "policy/rule.h"
#include "table.h"

/* What everything else is indented by, and the width of the words before values. */
#define INDENT 4
#define LABEL 10

static void label(Ctl *c, FILE *f, const char *name, const char *value) {
        _cleanup_free_ char *text = text_printable(&c->terminal, value);

        if (!text || !*text)
                return;

        fprintf(f, "%*s%*s: ", INDENT, "", LABEL, name);
        text_wrap(&c->terminal, f, COLOUR_NORMAL, text, INDENT + LABEL + 2);
}

/* "state 7 "tcp-timer", patch klp_demo_3, function vmlinux:f" */
static char *violation_object(json_object *v) {
        const char *state_name = json_string(v, "state_name"), *patch = json_string(v, "patch"),
                   *function = json_string(v, "function");
        _cleanup_free_ char *state = NULL;
        char *out;

        if (json_has(v, "state") &&
            asprintf(&state, "state %" PRIu64 "%s%s%s", json_u64(v, "state"), *state_name ? " \"" : "",
                     state_name, *state_name ? "\"" : "") < 0) {
                state = NULL;
                return NULL;
        }

        if (asprintf(&out, "%s%s%s%s%s%s%s", state ?: "", state && *patch ? ", " : "",
                     *patch ? "patch " : "", patch, (state || *patch) && *function ? ", " : "",
                     *function ? "function " : "", function) < 0)
                return NULL;

        return out;
}

static void print_violation(Ctl *c, FILE *f, json_object *v) {
        const char *name = json_string(v, "rule"), *mode = json_string(v, "mode");
        _cleanup_free_ char *object = violation_object(v), *printable = text_printable(&c->terminal, name);
        bool warn = streq(mode, "warn");
        /* On standard error colours follow that, not standard output. */
        Terminal t = c->terminal;
        Rule rule = rule_from_string(name);
        const char *meaning = rule >= 0 ? rule_meaning(rule) : NULL;

        if (f == stderr)
                t.colour = t.colour_err;

        fprintf(f, "%s%s %s%s%s\n", terminal_on(&t, warn ? COLOUR_YELLOW : COLOUR_RED),
                terminal_glyph(&t, warn ? GLYPH_WARNING : GLYPH_CROSS), printable ?: "?", terminal_off(&t),
                warn ? " (only a warning)" : "");
        label(c, f, "rule", meaning ?: "");
        label(c, f, "problem", json_string(v, "message"));
        label(c, f, "object", object ?: "");
        label(c, f, "there is", json_string(v, "have"));
        label(c, f, "must be", json_string(v, "want"));
        label(c, f, "way out", json_string(v, "remedy"));
}

static size_t print_by_mode(Ctl *c, FILE *f, json_object *plan, const char *mode) {
        json_object *violations = json_array(plan, "violations");
        size_t n = 0;

        for (size_t i = 0; i < json_length(violations); i++) {
                json_object *v = json_item(violations, i);

                if (!streq(json_string(v, "mode"), mode))
                        continue;
                print_violation(c, f, v);
                n++;
        }

        return n;
}

bool plan_has_refusals(json_object *plan) {
        json_object *violations = json_array(plan, "violations");

        for (size_t i = 0; i < json_length(violations); i++)
                if (streq(json_string(json_item(violations, i), "mode"), "enforce"))
                        return true;

        return false;
}

void plan_print_violations(Ctl *c, FILE *f, json_object *plan) {
        print_by_mode(c, f, plan, "enforce");
        print_by_mode(c, f, plan, "warn");
}

void plan_print_warnings(Ctl *c, FILE *f, json_object *plan) {
        print_by_mode(c, f, plan, "warn");
}

static size_t count_fate(json_object *plan, const char *fate) {
        json_object *states = json_array(plan, "states");
        size_t n = 0;

        for (size_t i = 0; i < json_length(states); i++)
                n += streq(json_string(json_item(states, i), "fate"), fate);

        return n;
}

void plan_print_changes(Ctl *c, FILE *f, json_object *plan) {
        static const struct {
                const char *fate, *word;
        } fates[] = {
                { "introduce", "introduced" }, { "takeover", "taken over" },
                { "exchange", "exchanged" },   { "keep", "kept" },
                { "remove", "removed" },
        };
        bool any = false;

        for (size_t i = 0; i < ELEMENTSOF(fates); i++) {
                size_t n = count_fate(plan, fates[i].fate);

                if (n == 0)
                        continue;
                fprintf(f, "%s%zu %s", any ? ", " : "  States: ", n, fates[i].word);
                any = true;
        }
        if (any)
                fputs(".\n", f);

        if (json_has(plan, "reversible") && !json_boolean(plan, "reversible"))
                fprintf(f, "  %sThere is no way back from this but a reboot.%s\n",
                        terminal_on(&c->terminal, COLOUR_YELLOW), terminal_off(&c->terminal));
}

static void heading(Ctl *c, const char *text) {
        printf("\n%s%s%s\n", terminal_on(&c->terminal, COLOUR_BOLD), text, terminal_off(&c->terminal));
}

static Colour fate_colour(const char *fate) {
        if (streq(fate, "introduce"))
                return COLOUR_GREEN;
        if (streq(fate, "keep"))
                return COLOUR_NORMAL;

        return streq(fate, "takeover") ? COLOUR_BLUE : COLOUR_YELLOW;
}

/* A version in an object or null. */
static void version_cell(Table *t, json_object *state, const char *key, const char *patch_key) {
        const char *patch = json_string(state, patch_key);

        if (!json_has(state, key) || json_object_is_type(json_member(state, key), json_type_null))
                table_cell(t, COLOUR_GREY, "none");
        else
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64 "%s%s%s", json_u64(state, key), *patch ? " (" : "",
                            patch, *patch ? ")" : "");
}

static int print_states(Ctl *c, json_object *states) {
        static const Column columns[] = {
                { .title = "STATE", .right = true },
                { .title = "NAME", .shrink = true, .min = 8, .hide_empty = true },
                { .title = "FATE" },
                { .title = "FROM VERSION", .shrink = true, .min = 12 },
                { .title = "TO VERSION", .shrink = true, .min = 10 },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        if (json_length(states) == 0)
                return 0;

        for (size_t i = 0; i < json_length(states); i++) {
                json_object *s = json_item(states, i);

                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(s, "id"));
                table_cell(t, COLOUR_NORMAL, json_string(s, "name"));
                table_cell(t, fate_colour(json_string(s, "fate")), json_string(s, "fate"));
                version_cell(t, s, "from", "from_patch");
                version_cell(t, s, "to", "to_patch");
        }

        heading(c, "What becomes of the states");
        return table_print(t, true);
}

static int print_callbacks(Ctl *c, json_object *callbacks) {
        static const Column columns[] = {
                { .title = "#", .right = true },
                { .title = "WHEN" },
                { .title = "CALLBACK" },
                { .title = "STATE", .right = true },
                { .title = "CODE OF", .shrink = true, .min = 10 },
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        if (json_length(callbacks) == 0)
                return 0;

        for (size_t i = 0; i < json_length(callbacks); i++) {
                json_object *b = json_item(callbacks, i);

                table_cellf(t, COLOUR_GREY, "%zu", i + 1);
                table_cellf(t, COLOUR_NORMAL, "%s the transition", json_string(b, "when"));
                table_cell(t, COLOUR_NORMAL, json_string(b, "callback"));
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, json_u64(b, "state"));
                table_cell(t, COLOUR_NORMAL, json_string(b, "patch"));
        }

        heading(c, "Callbacks, in this order");
        return table_print(t, true);
}

static const char *change_mark(const char *change) {
        return streq(change, "gained") ? "+" : streq(change, "lost") ? "-" : "~";
}

static Colour change_colour(const char *change) {
        return streq(change, "gained") ? COLOUR_GREEN : streq(change, "lost") ? COLOUR_RED : COLOUR_NORMAL;
}

/* Functions and fixes: one per line, a mark before it. */
static int print_changes(Ctl *c, json_object *list, const char *title, const char *key) {
        for (size_t i = 0; i < json_length(list); i++) {
                json_object *o = json_item(list, i);
                const char *change = json_string(o, "change"), *object = json_string(o, "object"),
                           *from = json_string(o, "from_patch"), *to = json_string(o, "to_patch");
                _cleanup_free_ char *line = NULL, *printable = NULL;

                if (i == 0)
                        heading(c, title);
                if (asprintf(&line, "%s%s%s%s%s%s%s%s", object, *object ? ":" : "", json_string(o, key),
                             *from || *to ? " (" : "", from, *from && *to ? " to " : "", to,
                             *from || *to ? ")" : "") < 0) {
                        line = NULL;
                        return -ENOMEM;
                }
                printable = text_printable(&c->terminal, line);
                if (!printable)
                        return -ENOMEM;

                printf("%s%s %s%s\n", terminal_on(&c->terminal, change_colour(change)), change_mark(change),
                       printable, terminal_off(&c->terminal));
        }

        return 0;
}

static int print_steps(Ctl *c, json_object *steps) {
        _cleanup_free_ char *printable = NULL, *text = NULL;
        size_t size;
        FILE *f;

        if (json_length(steps) == 0)
                return 0;

        f = open_memstream(&text, &size);
        if (!f)
                return -errno;
        for (size_t i = 0; i < json_length(steps); i++) {
                json_object *s = json_item(steps, i);
                const char *name = json_object_is_type(s, json_type_string) ? json_object_get_string(s)
                                                                            : json_string(s, "step");

                fprintf(f, "%s%s", i > 0 ? ", " : "", name);
        }
        if (fclose(f) != 0)
                return -ENOMEM;

        printable = text_printable(&c->terminal, text);
        if (!printable)
                return -ENOMEM;

        heading(c, "Steps");
        text_wrap(&c->terminal, stdout, COLOUR_NORMAL, printable, 0);
        return 0;
}

static void print_verdict(Ctl *c, json_object *plan, const char *what) {
        const char *verdict = json_string(plan, "verdict");
        const Terminal *t = &c->terminal;
        _cleanup_free_ char *printable = text_printable(t, what);

        if (streq(verdict, "allow"))
                printf("%s%s%s %s: allowed%s\n", terminal_on(t, COLOUR_GREEN),
                       terminal_glyph(t, GLYPH_CHECK), terminal_off(t), printable ?: "",
                       json_boolean(plan, "reversible")
                               ? ", and can be taken back."
                               : ", but there is no way back from it except a reboot.");
        else if (streq(verdict, "nothing-to-do"))
                printf("%s %s: nothing to do.\n", terminal_glyph(t, GLYPH_CIRCLE), printable ?: "");
        else
                printf("%s%s%s %s: refused by the policy. Nothing would be changed.\n",
                       terminal_on(t, COLOUR_RED), terminal_glyph(t, GLYPH_CROSS), terminal_off(t),
                       printable ?: "");
}

int plan_print(Ctl *c, json_object *plan, const char *what) {
        json_object *violations = json_array(plan, "violations");
        int r;

        print_verdict(c, plan, what);

        if (json_length(violations) > 0) {
                heading(c, "Rules that it breaks");
                plan_print_violations(c, stdout, plan);
        }

        if ((r = print_states(c, json_array(plan, "states"))) < 0 ||
            (r = print_callbacks(c, json_array(plan, "callbacks"))) < 0 ||
            (r = print_changes(c, json_array(plan, "functions"), "Functions", "function")) < 0 ||
            (r = print_changes(c, json_array(plan, "fixes"), "Fixes", "fix")) < 0)
                return r;

        return print_steps(c, json_array(plan, "steps"));
}

int plan_status(json_object *plan) {
        return streq(json_string(plan, "verdict"), "refuse") ? EXIT_REFUSED : EXIT_DONE;
}
