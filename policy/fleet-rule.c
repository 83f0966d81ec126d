/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of a fleet document: whom they match, what they want, and the gates in front of it. What no type
 * can say is checked here, too: a rule that wants nothing, waves that open before the one in front of them
 * has soaked, percentages that shrink.
 */
#include "policy/fleet-reader.h"

static Arena *arena_of(JsonReader *r) {
        return ((FleetReader *) r)->document->arena;
}

/* --- matches --- */

static int compare_exact(const void *a, const void *b) {
        const FleetSlice *x = a, *y = b;

        if (x->n != y->n)
                return x->n < y->n ? -1 : 1;
        return memcmp(x->s, y->s, x->n);
}

/* exact from the front of one list, globs from its end */
typedef struct PatternList {
        FleetPatterns *patterns;
        FleetSlice *list;
        size_t room;
} PatternList;

static int read_pattern(JsonReader *r, const JsonValue *value, void *target) {
        PatternList *l = target;
        FleetPatterns *p = l->patterns;
        const char *s;
        char *copy;
        int q;

        q = fleet_read_bounded(r, value, FLEET_PATTERN_MAX, &s);
        if (q < 0)
                return q;
        copy = (char *) arena_strdup(arena_of(r), s);
        if (!copy)
                return -ENOMEM;
        for (char *c = copy; p->ignore_case && *c; c++)
                if (*c >= 'A' && *c <= 'Z')
                        *c = (char) (*c - 'A' + 'a');
        if (strpbrk(copy, "*?["))
                l->list[l->room - ++p->n_globs] = FLEET_SLICE(copy);
        else
                l->list[p->n_exact++] = FLEET_SLICE(copy);
        return 0;
}

static int read_patterns(JsonReader *r, const JsonValue *value, void *target) {
        PatternList l = {.patterns = target};
        int q;

        q = fleet_begin_list(r, value, sizeof(FleetSlice), &l.list);
        if (q < 0)
                return q;
        l.room = value->size;
        q = json_read_array(r, value, l.room, read_pattern, &l);
        if (q < 0)
                return q;
        l.patterns->exact = l.list;
        l.patterns->globs = l.list + l.patterns->n_exact;
        qsort(l.patterns->exact, l.patterns->n_exact, sizeof(FleetSlice), compare_exact);
        return 0;
}

static int read_hostname(JsonReader *r, const JsonValue *value, void *target) {
        FleetPatterns *p = target;

        p->ignore_case = true;
        return read_patterns(r, value, p);
}

static int read_machine_id(JsonReader *r, const JsonValue *value, void *target) {
        FleetPatterns *p = target;
        int q = read_patterns(r, value, p);

        for (size_t i = 0; q >= 0 && i < p->n_exact; i++)
                if (p->exact[i].n != 32 || strspn(p->exact[i].s, "0123456789abcdef") != 32)
                        q = json_reader_fail(
                                        r, -EBADMSG,
                                        "a machine id has 32 lower-case hexadecimal digits, not \"%.64s\"",
                                        p->exact[i].s);
        return q;
}

static int read_label(JsonReader *r, const char *key, const JsonValue *value, void *target) {
        FleetMatch *m = target;
        FleetLabelMatch *l = &m->labels[m->n_labels++];
        const char *copy;
        int q;

        if (!patch_name_is_valid(key))
                return json_reader_fail(r, -EBADMSG,
                                        "not the name of a label (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        q = fleet_copy_text(r, key, &copy);
        if (q < 0)
                return q;
        l->key = FLEET_SLICE(copy);
        return read_patterns(r, value, &l->values);
}

static int read_labels(JsonReader *r, const JsonValue *value, void *target) {
        FleetMatch *m = target;
        int q;

        if (json_is(value, JSON_OBJECT) && value->size == 0)
                return json_reader_fail(r, -EBADMSG, "no label says nothing: leave the key out");
        q = fleet_new_list(r, json_is(value, JSON_OBJECT) ? value->size : 0, sizeof(FleetLabelMatch),
                           &m->labels);
        return q < 0 ? q : json_read_members(r, value, FLEET_LIST_MAX, read_label, m);
}

static int read_match(JsonReader *r, const JsonValue *value, void *target);

typedef struct MatchList {
        FleetMatch *list;
        size_t n;
} MatchList;

static int read_match_element(JsonReader *r, const JsonValue *value, void *target) {
        MatchList *l = target;

        return read_match(r, value, &l->list[l->n++]);
}

static int read_match_list(JsonReader *r, const JsonValue *value, FleetMatch **ret, size_t *ret_n) {
        MatchList l = {};
        int q;

        q = fleet_begin_list(r, value, sizeof(FleetMatch), &l.list);
        if (q >= 0)
                q = json_read_array(r, value, FLEET_LIST_MAX, read_match_element, &l);
        if (q < 0)
                return q;
        *ret = l.list;
        *ret_n = l.n;
        return 0;
}

static int read_any(JsonReader *r, const JsonValue *value, void *target) {
        FleetMatch *m = target;

        return read_match_list(r, value, &m->any, &m->n_any);
}

static int read_not(JsonReader *r, const JsonValue *value, void *target) {
        FleetMatch *m = target;

        return read_match_list(r, value, &m->not, &m->n_not);
}

static int read_match(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"hostname", read_hostname, offsetof(FleetMatch, hostname), false},
                        {"machine_id", read_machine_id, offsetof(FleetMatch, machine_id), false},
                        {"kernel", read_patterns, offsetof(FleetMatch, kernel), false},
                        {"os", read_patterns, offsetof(FleetMatch, os), false},
                        {"labels", read_labels, 0, false},
                        {"any", read_any, 0, false},
                        {"not", read_not, 0, false},
        };
        FleetReader *f = (FleetReader *) r;
        int q;

        if (f->match_depth >= FLEET_MATCH_DEPTH_MAX)
                return json_reader_fail(r, -EBADMSG, "matches nest more than %u deep",
                                        FLEET_MATCH_DEPTH_MAX);
        f->match_depth++;
        q = json_read_object(r, value, fields, ELEMENTSOF(fields), target);
        f->match_depth--;
        return q;
}

static int read_wave_match(JsonReader *r, const JsonValue *value, void *target) {
        FleetMatch **m = target;
        int q = fleet_new_list(r, 1, sizeof(FleetMatch), m);

        return q < 0 ? q : read_match(r, value, *m);
}

/* --- rules --- */

static int read_span(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = fleet_parse_span(s, target);
        if (q == -ERANGE)
                return json_reader_fail(r, -EBADMSG, "the time span is too long");
        if (q < 0)
                return json_reader_fail(r, -EBADMSG, "a time span like \"2h 30min\" is needed here");
        return 0;
}

static int read_percent(JsonReader *r, const JsonValue *value, void *target) {
        uint64_t v;
        int q = json_read_u64_value(r, value, 100, &v);

        if (q >= 0)
                *(uint32_t *) target = (uint32_t) v;
        return q;
}

static int read_goal(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;
        const char *s;
        int q;

        if (!json_is(value, JSON_STRING)) {
                rule->goal = FLEET_GOAL_LEVEL;
                return fleet_read_level_number(r, value, &rule->level);
        }
        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!streq(s, "latest") && !streq(s, "none"))
                return json_reader_fail(r, -EBADMSG, "a level, \"latest\" or \"none\" is needed here");
        rule->goal = streq(s, "none") ? FLEET_GOAL_NONE : FLEET_GOAL_LATEST;
        return 0;
}

static int read_rollout(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;

        rule->has_rollout = true;
        return read_percent(r, value, &rule->percent);
}

static int read_wave_percent(JsonReader *r, const JsonValue *value, void *target) {
        FleetWave *w = target;

        w->has_percent = true;
        return read_percent(r, value, &w->percent);
}

/* A wave opens when it says; or, where it doesn't, when the one before it has soaked. Never before that. */
static int read_wave(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"name", fleet_read_name, offsetof(FleetWave, name), false},
                        {"percent", read_wave_percent, 0, false},
                        {"match", read_wave_match, offsetof(FleetWave, match), false},
                        {"opens", fleet_read_time, offsetof(FleetWave, opens), false},
                        {"soak", read_span, offsetof(FleetWave, soak), false},
        };
        FleetRule *rule = target;
        FleetWave *w = &rule->waves[rule->n_waves], *before = rule->n_waves > 0 ? w - 1 : NULL;
        uint64_t earliest;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), w);
        if (q < 0)
                return q;
        if (!before && w->opens == 0)
                return json_reader_fail(r, -EBADMSG, "the first wave needs \"opens\"");
        if (before) {
                earliest = before->opens + before->soak;
                if (w->opens == 0)
                        w->opens = earliest;
                else if (w->opens < earliest)
                        return json_reader_fail(
                                        r, -EBADMSG, "opens at %s, but the wave before it soaks until %s",
                                        FLEET_FORMAT_TIMESTAMP(w->opens), FLEET_FORMAT_TIMESTAMP(earliest));
        }
        if (w->opens > FLEET_TIME_MAX)
                return json_reader_fail(r, -EBADMSG, "opens after the year 9999");
        for (size_t i = 0; w->has_percent && i < rule->n_waves; i++)
                if (rule->waves[i].has_percent && !rule->waves[i].match && !w->match &&
                    rule->waves[i].percent > w->percent)
                        return json_reader_fail(r, -EBADMSG,
                                                "the percentage includes earlier waves, so it can't be "
                                                "less than theirs (%" PRIu32 ")",
                                                rule->waves[i].percent);
        rule->n_waves++;
        return 0;
}

static int read_waves(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;
        int q = fleet_begin_list(r, value, sizeof(FleetWave), &rule->waves);

        return q < 0 ? q : json_read_array(r, value, 256, read_wave, rule);
}

static int read_calendar(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!fleet_calendar_is_valid(s))
                return json_reader_fail(
                                r, -EBADMSG,
                                "a calendar event like \"Sat 02:00\" (systemd.time(7)) is needed here");
        return fleet_copy_text(r, s, target);
}

static int read_timezone(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!fleet_timezone_is_valid(s))
                return json_reader_fail(r, -EBADMSG, "a time zone like \"Europe/Berlin\" is needed here");
        return fleet_copy_text(r, s, target);
}

static int read_duration(JsonReader *r, const JsonValue *value, void *target) {
        int q = read_span(r, value, target);

        if (q >= 0 && *(uint64_t *) target < FLEET_USEC_PER_SEC)
                q = json_reader_fail(r, -EBADMSG, "a window lasts at least a second");
        return q;
}

static int read_window(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"calendar", read_calendar, offsetof(FleetWindow, calendar), true},
                        {"duration", read_duration, offsetof(FleetWindow, duration), true},
                        {"timezone", read_timezone, offsetof(FleetWindow, timezone), false},
        };
        FleetRule *rule = target;
        FleetWindow *w = &rule->windows[rule->n_windows++];

        w->timezone = "UTC";
        return json_read_object(r, value, fields, ELEMENTSOF(fields), w);
}

static int read_windows(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;
        int q = fleet_begin_list(r, value, sizeof(FleetWindow), &rule->windows);

        return q < 0 ? q : json_read_array(r, value, 64, read_window, rule);
}

static int read_blocked_number(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;

        return fleet_read_level_number(r, value, &rule->blocked[rule->n_blocked++]);
}

static int read_blocked_numbers(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;
        int q = fleet_begin_list(r, value, sizeof(uint32_t), &rule->blocked);

        return q < 0 ? q : json_read_array(r, value, 4096, read_blocked_number, rule);
}

typedef struct NameList {
        const char **list;
        size_t n;
} NameList;

static int read_listed_name(JsonReader *r, const JsonValue *value, void *target) {
        NameList *l = target;

        return fleet_read_name(r, value, &l->list[l->n++]);
}

static int read_intermediates(JsonReader *r, const JsonValue *value, void *target) {
        NameList l = {};
        int q;

        q = fleet_begin_list(r, value, sizeof(char *), &l.list);
        if (q < 0)
                return q;
        q = fleet_new_list(r, value->size + 1, sizeof(char *), &l.list); /* NULL at its end */
        if (q >= 0)
                q = json_read_array(r, value, 4096, read_listed_name, &l);
        if (q >= 0)
                *(const char ***) target = l.list;
        return q;
}

static int read_at_least(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;

        if (rule->goal != FLEET_GOAL_UNSAID)
                return json_reader_fail(r, -EBADMSG, "either \"level\" or \"at_least\", not both");
        rule->goal = FLEET_GOAL_AT_LEAST;
        return fleet_read_level_number(r, value, &rule->level);
}

static int read_level_goal(JsonReader *r, const JsonValue *value, void *target) {
        FleetRule *rule = target;

        if (rule->goal != FLEET_GOAL_UNSAID)
                return json_reader_fail(r, -EBADMSG, "either \"level\" or \"at_least\", not both");
        return read_goal(r, value, rule);
}

static int check_rule(JsonReader *r, const FleetRule *rule) {
        if (rule->goal == FLEET_GOAL_UNSAID && !rule->hold)
                return json_reader_fail(
                                r, -EBADMSG,
                                "the rule wants nothing: it needs \"level\", \"at_least\" or \"hold\"");
        for (size_t i = 0; i < rule->n_blocked && rule->goal == FLEET_GOAL_LEVEL; i++)
                if (rule->blocked[i] == rule->level)
                        return json_reader_fail(r, -EBADMSG, "the rule blocks the level that it wants");
        return 0;
}

static int read_rule(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"name", fleet_read_name, offsetof(FleetRule, name), true},
                        {"description", json_read_ignored_text, 0, false},
                        {"match", read_match, offsetof(FleetRule, match), false},
                        {"stream", fleet_read_stream, offsetof(FleetRule, vendor), false},
                        {"level", read_level_goal, 0, false},
                        {"at_least", read_at_least, 0, false},
                        {"hold", fleet_read_text, offsetof(FleetRule, hold), false},
                        {"blocked", read_blocked_numbers, 0, false},
                        {"rollout", read_rollout, 0, false},
                        {"salt", fleet_read_text, offsetof(FleetRule, salt), false},
                        {"waves", read_waves, 0, false},
                        {"windows", read_windows, 0, false},
                        {"splay", read_span, offsetof(FleetRule, splay), false},
                        {"not_after", fleet_read_time, offsetof(FleetRule, not_after), false},
                        {"accept_irreversible", json_read_bool, offsetof(FleetRule, accept_irreversible),
                         false},
                        {"slot", json_read_bool, offsetof(FleetRule, slot), false},
                        {"intermediates", read_intermediates, offsetof(FleetRule, intermediates), false},
        };
        FleetDocument *d = target;
        FleetRule *rule = &d->rules[d->n_rules++];
        int q;

        rule->document = d;
        rule->vendor = PATCH_VENDOR_DEFAULT;
        rule->stream = PATCH_STREAM_DEFAULT;
        q = json_read_object(r, value, fields, ELEMENTSOF(fields), rule);
        if (q < 0)
                return q;
        if (!rule->salt)
                rule->salt = rule->name;
        return check_rule(r, rule);
}

static int compare_names(const void *a, const void *b) {
        return strcmp(*(const char *const *) a, *(const char *const *) b);
}

static int check_names(JsonReader *r, const FleetDocument *d) {
        _cleanup_free_ const char **names = calloc(d->n_rules, sizeof(*names));

        if (!names)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_rules; i++)
                names[i] = d->rules[i].name;
        qsort(names, d->n_rules, sizeof(*names), compare_names);
        for (size_t i = 1; i < d->n_rules; i++)
                if (streq(names[i - 1], names[i]))
                        return json_reader_fail(r, -EBADMSG, "two rules are called \"%s\"", names[i]);
        return 0;
}

int fleet_read_rules(JsonReader *r, const JsonValue *value, void *target) {
        FleetDocument *d = target;
        int q;

        q = fleet_begin_list(r, value, sizeof(FleetRule), &d->rules);
        if (q >= 0)
                q = json_read_array(r, value, FLEET_LIST_MAX, read_rule, d);
        return q < 0 ? q : check_names(r, d);
}
