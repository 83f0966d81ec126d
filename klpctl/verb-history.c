/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* klpctl history: every transition edge, who asked, why, what happened, how long it took. */
#include <time.h>

#include "history.h"
#include "json-util.h"
#include "parse.h"
#include "table.h"

static Colour edge_colour(const char *edge) {
        static const struct {
                const char *edge;
                Colour colour;
        } colours[] = {
                { "completed", COLOUR_GREEN },  { "refused", COLOUR_RED },    { "failed", COLOUR_RED },
                { "reversed", COLOUR_YELLOW },  { "stalled", COLOUR_YELLOW }, { "foreign", COLOUR_YELLOW },
                { "recovered", COLOUR_YELLOW },
                { "job-started", COLOUR_BOLD }, { "state", COLOUR_GREY },     { "loaded", COLOUR_GREY },
                { "unloaded", COLOUR_GREY },    { "preparing", COLOUR_GREY },
        };

        for (size_t i = 0; i < ELEMENTSOF(colours); i++)
                if (streq(colours[i].edge, edge))
                        return colours[i].colour;

        return COLOUR_NORMAL;
}

static void time_cell(Table *t, uint64_t usec) {
        time_t s = (time_t) (usec / USEC_PER_SEC), now = time(NULL);
        struct tm tm, tm_now;
        char text[32];

        if (!localtime_r(&s, &tm) || !localtime_r(&now, &tm_now) ||
            strftime(text, sizeof(text),
                     tm.tm_year == tm_now.tm_year ? "%b %d %H:%M:%S" : "%Y-%m-%d %H:%M:%S", &tm) == 0)
                strcpy(text, "?");
        table_cell(t, COLOUR_NORMAL, text);
}

static void who_cell(Table *t, json_object *record) {
        if (*json_string(record, "user"))
                table_cell(t, COLOUR_NORMAL, json_string(record, "user"));
        else if (json_has(record, "uid"))
                table_cellf(t, COLOUR_NORMAL, "uid %" PRIu64, json_u64(record, "uid"));
        else
                table_cell(t, COLOUR_NORMAL, "");
}

/* "KEY: a, b; " where there is a list of that name. */
static void write_list(FILE *f, json_object *record, const char *title, const char *key) {
        _cleanup_free_ char *text = json_join(json_array(record, key), ", ");

        if (text && *text)
                fprintf(f, "%s: %s; ", title, text);
}

static void write_version(FILE *f, json_object *record, const char *key) {
        if (json_has(record, key))
                fprintf(f, "%" PRIu64, json_u64(record, key));
        else
                fputs("none", f);
}

/* Everything that has no column of its own. */
static char *details(json_object *record) {
        const char *edge = json_string(record, "edge"), *request = json_string(record, "request");
        char *text = NULL;
        size_t size, n;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return NULL;

        if (streq(edge, "state")) {
                fprintf(f, "state %" PRIu64 "%s%s: %s, version ", json_u64(record, "state"),
                        *json_string(record, "state_name") ? " " : "", json_string(record, "state_name"),
                        json_string(record, "fate"));
                write_version(f, record, "from");
                fputs(" to ", f);
                write_version(f, record, "to");
                fputs("; ", f);
        } else if (streq(edge, "job-started") || streq(edge, "refused")) {
                if (*request)
                        fprintf(f, "%s; ", request);
                write_list(f, record, "rules", "rules");
                write_list(f, record, "overrides", "overrides");
        } else if (streq(edge, "failed") || streq(edge, "foreign") || streq(edge, "daemon") ||
                   streq(edge, "recovered"))
                fprintf(f, "%s; ", json_string(record, "message"));

        write_list(f, record, "replaced", "replaced");
        if (json_has(record, "transition_usec"))
                fprintf(f, "transition %s%s; ", streq(edge, "stalled") ? "under way for " : "",
                        FORMAT_SPAN(json_u64(record, "transition_usec")));
        write_list(f, record, "waits for", "blockers");

        if (fclose(f) != 0) {
                free(text);
                return NULL;
        }
        n = strlen(text);
        if (n >= 2)
                text[n - 2] = '\0'; /* the last separator */
        return text;
}

static void add_row(Table *t, json_object *record) {
        const char *edge = json_string(record, "edge");
        _cleanup_free_ char *text = details(record);

        time_cell(t, json_u64(record, "time_usec"));
        if (json_has(record, "job"))
                table_cellf(t, COLOUR_GREY, "%" PRIu64, json_u64(record, "job"));
        else
                table_cell(t, COLOUR_GREY, "");
        table_cell(t, edge_colour(edge), edge);
        table_cell(t, COLOUR_NORMAL, json_string(record, "patch"));
        who_cell(t, record);
        if (json_has(record, "duration_usec"))
                table_cell(t, COLOUR_NORMAL, FORMAT_SPAN(json_u64(record, "duration_usec")));
        else
                table_cell(t, COLOUR_NORMAL, "");
        table_cell(t, COLOUR_NORMAL, json_string(record, "reason"));
        table_cell(t, COLOUR_NORMAL, text);
}

int verb_history(Ctl *c, int n, char **words) {
        static const Column columns[] = {
                { .title = "TIME" },
                { .title = "JOB", .right = true, .hide_empty = true },
                { .title = "EDGE" },
                { .title = "PATCH", .shrink = true, .min = 11, .hide_empty = true },
                { .title = "WHO", .shrink = true, .min = 4, .hide_empty = true },
                { .title = "TOOK", .right = true, .hide_empty = true },
                { .title = "WHY", .shrink = true, .min = 6, .hide_empty = true },
                { .title = "DETAILS", .shrink = true, .min = 8, .hide_empty = true },
        };
        _cleanup_(table_freep) Table *t = NULL;
        _cleanup_json_ json_object *records = NULL;
        int r;

        r = history_read(c, &records);
        if (r != EXIT_DONE)
                return r;
        if (ctl_json(c))
                return ctl_print_json(c, records);

        if (json_length(records) == 0) {
                if (!c->args.no_legend)
                        printf("No records.\n");
                return EXIT_DONE;
        }

        t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        for (size_t i = 0; i < json_length(records); i++)
                add_row(t, json_item(records, i));
        if (table_print(t, !c->args.no_legend) < 0)
                return ctl_oom(c);

        return EXIT_DONE;
}
