/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-summary.h. Fixes are counted by the address of their text in the documents first, which is
 * quick, and put together by name at the end. */
#include "fleet-summary.h"
#include "table.h"

typedef struct RuleCount {
        uint64_t verdicts[_FLEET_VERDICT_MAX], drift;
} RuleCount;

typedef struct FixCount {
        const char *fix;
        uint64_t hosts;
} FixCount;

struct FleetSummary {
        const FleetSet *set;
        RuleCount *rules; /* as in the set, and one more for hosts that no rule matches */
        size_t n_rules;
        uint64_t hosts, invalid, drift;
        uint64_t verdicts[_FLEET_VERDICT_MAX], reasons[_FLEET_REASON_MAX];

        FixCount *fixes; /* open addressing; room is a power of two */
        size_t n_fixes, room_fixes;
        bool failed; /* memory: the numbers of fixes would be wrong */
};

int fleet_summary_new(const FleetSet *set, FleetSummary **ret) {
        _cleanup_(fleet_summary_freep) FleetSummary *s = calloc(1, sizeof(*s));

        if (!s)
                return -ENOMEM;
        s->set = set;
        s->n_rules = fleet_set_n_rules(set);
        s->rules = calloc(s->n_rules + 1, sizeof(*s->rules));
        if (!s->rules)
                return -ENOMEM;
        *ret = TAKE_PTR(s);
        return 0;
}

FleetSummary *fleet_summary_free(FleetSummary *s) {
        if (!s)
                return NULL;
        free(s->rules);
        free(s->fixes);
        free(s);
        return NULL;
}

static FixCount *slot(FixCount *list, size_t room, const char *fix) {
        size_t i = (size_t) (((uintptr_t) fix * UINT64_C(0x9e3779b97f4a7c15)) >> 20) & (room - 1);

        while (list[i].fix && list[i].fix != fix)
                i = (i + 1) & (room - 1);
        return &list[i];
}

static int grow(FleetSummary *s) {
        size_t room = s->room_fixes > 0 ? 2 * s->room_fixes : 64;
        FixCount *list;

        if (s->n_fixes * 2 < s->room_fixes)
                return 0;
        list = calloc(room, sizeof(*list));
        if (!list)
                return -ENOMEM;
        for (size_t i = 0; i < s->room_fixes; i++)
                if (s->fixes[i].fix)
                        *slot(list, room, s->fixes[i].fix) = s->fixes[i];
        free(s->fixes);
        s->fixes = list;
        s->room_fixes = room;
        return 0;
}

static void count_fix(const char *fix, void *userdata) {
        FleetSummary *s = userdata;
        FixCount *f;

        if (grow(s) < 0) {
                s->failed = true;
                return;
        }
        f = slot(s->fixes, s->room_fixes, fix);
        if (!f->fix) {
                f->fix = fix;
                s->n_fixes++;
        }
        f->hosts++;
}

void fleet_summary_add(FleetSummary *s, const FleetDecision *d, const FleetHost *host) {
        RuleCount *r = &s->rules[d->rule ? fleet_set_rule_index(s->set, d->rule) : s->n_rules];

        s->hosts++;
        s->verdicts[d->verdict]++;
        s->reasons[d->reason]++;
        s->drift += d->drift;
        r->verdicts[d->verdict]++;
        r->drift += d->drift;
        if (d->verdict == FLEET_WAIT || d->verdict == FLEET_STAY)
                (void) fleet_open_fixes(d, host, count_fix, s);
}

void fleet_summary_add_invalid(FleetSummary *s) {
        s->invalid++;
}

uint64_t fleet_summary_invalid(const FleetSummary *s) {
        return s->invalid;
}

/* --- the end --- */

static int compare_names(const void *a, const void *b) {
        return strcmp(((const FixCount *) a)->fix, ((const FixCount *) b)->fix);
}

static int compare_hosts(const void *a, const void *b) {
        const FixCount *x = a, *y = b;

        return x->hosts != y->hosts ? (x->hosts > y->hosts ? -1 : 1) : strcmp(x->fix, y->fix);
}

/* Each fix once, the most frequent first. */
static int collect_fixes(const FleetSummary *s, FixCount **ret, size_t *ret_n) {
        FixCount *list = calloc(s->n_fixes + 1, sizeof(*list));
        size_t n = 0, k = 0;

        if (!list || s->failed) {
                free(list);
                return -ENOMEM;
        }
        for (size_t i = 0; i < s->room_fixes; i++)
                if (s->fixes[i].fix)
                        list[n++] = s->fixes[i];
        qsort(list, n, sizeof(*list), compare_names);
        for (size_t i = 0; i < n; i++)
                if (k > 0 && streq(list[k - 1].fix, list[i].fix))
                        list[k - 1].hosts += list[i].hosts;
                else
                        list[k++] = list[i];
        qsort(list, k, sizeof(*list), compare_hosts);
        *ret = list;
        *ret_n = k;
        return 0;
}

static uint64_t hosts_of(const RuleCount *r) {
        uint64_t n = 0;

        for (int i = 0; i < _FLEET_VERDICT_MAX; i++)
                n += r->verdicts[i];
        return n;
}

static int print_rules(Ctl *c, const FleetSummary *s) {
        static const Column columns[] = {
                        {.title = "RULE", .shrink = true, .min = 12},
                        {.title = "WANTS"},
                        {.title = "HOSTS", .right = true},
                        {.title = "DONE", .right = true},
                        {.title = "CHANGE", .right = true},
                        {.title = "WAIT", .right = true},
                        {.title = "STAY", .right = true},
                        {.title = "DRIFT", .right = true},
                        {.title = "DOCUMENT", .shrink = true, .min = 10},
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        for (size_t i = 0; i <= s->n_rules; i++) {
                const FleetRule *rule = fleet_set_rule(s->set, i);
                const RuleCount *r = &s->rules[i];
                char goal[32];

                if (!rule && hosts_of(r) == 0)
                        continue;
                table_cell(t, COLOUR_BOLD, rule ? rule->name : "(no rule)");
                table_cell(t, COLOUR_NORMAL, rule ? fleet_rule_goal(rule, goal, sizeof(goal)) : "");
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, hosts_of(r));
                table_cellf(t, COLOUR_GREEN, "%" PRIu64, r->verdicts[FLEET_DONE]);
                table_cellf(t, COLOUR_BLUE, "%" PRIu64, r->verdicts[FLEET_CHANGE]);
                table_cellf(t, COLOUR_YELLOW, "%" PRIu64, r->verdicts[FLEET_WAIT]);
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64,
                            r->verdicts[FLEET_STAY] + r->verdicts[FLEET_UNMANAGED]);
                table_cellf(t, r->drift > 0 ? COLOUR_RED : COLOUR_NORMAL, "%" PRIu64, r->drift);
                table_cell(t, COLOUR_GREY, rule ? rule->document->source : "");
        }
        return table_print(t, !c->args.no_legend);
}

static int print_reasons(Ctl *c, const FleetSummary *s) {
        static const Column columns[] = {
                        {.title = "REASON"},
                        {.title = "HOSTS", .right = true},
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));

        for (int i = 0; i < _FLEET_REASON_MAX; i++)
                if (s->reasons[i] > 0) {
                        table_cell(t, COLOUR_NORMAL, fleet_reason_to_string((FleetReason) i));
                        table_cellf(t, COLOUR_NORMAL, "%" PRIu64, s->reasons[i]);
                }
        return table_print(t, !c->args.no_legend);
}

static int print_fixes(Ctl *c, const FleetSummary *s) {
        static const Column columns[] = {
                        {.title = "OPEN FIX"},
                        {.title = "HOSTS THAT WAIT OR STAY", .right = true},
        };
        _cleanup_(table_freep) Table *t = table_new(&c->terminal, columns, ELEMENTSOF(columns));
        _cleanup_free_ FixCount *fixes = NULL;
        size_t n;
        int r;

        r = collect_fixes(s, &fixes, &n);
        if (r < 0)
                return r;
        if (n == 0)
                return 0;
        putchar('\n');
        for (size_t i = 0; i < n; i++) {
                table_cell(t, COLOUR_NORMAL, fixes[i].fix);
                table_cellf(t, COLOUR_NORMAL, "%" PRIu64, fixes[i].hosts);
        }
        return table_print(t, !c->args.no_legend);
}

int fleet_summary_print(Ctl *c, const FleetSummary *s) {
        int r;

        r = print_rules(c, s);
        if (r >= 0) {
                putchar('\n');
                r = print_reasons(c, s);
        }
        if (r >= 0)
                r = print_fixes(c, s);
        if (r < 0)
                return ctl_oom(c);
        if (!c->args.no_legend) {
                printf("\n%" PRIu64 " hosts", s->hosts);
                if (s->invalid > 0)
                        printf(", and %" PRIu64 " lines that are no host", s->invalid);
                printf(".\n");
        }
        return EXIT_DONE;
}

static void write_rule(const FleetSummary *s, size_t i, JsonWriter *w) {
        const FleetRule *rule = fleet_set_rule(s->set, i);
        const RuleCount *r = &s->rules[i];

        json_write_open(w, '{');
        if (rule) {
                json_write_member(w, "rule", rule->name);
                json_write_member(w, "document", rule->document->source);
        }
        json_write_member_u64(w, "hosts", hosts_of(r));
        for (int v = 0; v < _FLEET_VERDICT_MAX; v++)
                json_write_member_u64(w, fleet_verdict_to_string((FleetVerdict) v), r->verdicts[v]);
        json_write_member_u64(w, "drift", r->drift);
        json_write_close(w, '}');
}

static void write_fixes(const FleetSummary *s, JsonWriter *w) {
        _cleanup_free_ FixCount *fixes = NULL;
        size_t n = 0;

        if (collect_fixes(s, &fixes, &n) < 0) {
                w->failed = true;
                return;
        }
        json_write_key(w, "open_fixes");
        json_write_open(w, '[');
        for (size_t i = 0; i < n; i++) {
                json_write_open(w, '{');
                json_write_member(w, "fix", fixes[i].fix);
                json_write_member_u64(w, "hosts", fixes[i].hosts);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
}

void fleet_summary_write(const FleetSummary *s, JsonWriter *w) {
        json_write_open(w, '{');
        json_write_member_u64(w, "hosts", s->hosts);
        json_write_member_u64(w, "invalid", s->invalid);
        json_write_member_u64(w, "drift", s->drift);
        json_write_key(w, "verdicts");
        json_write_open(w, '{');
        for (int i = 0; i < _FLEET_VERDICT_MAX; i++)
                json_write_member_u64(w, fleet_verdict_to_string((FleetVerdict) i), s->verdicts[i]);
        json_write_close(w, '}');
        json_write_key(w, "reasons");
        json_write_open(w, '{');
        for (int i = 0; i < _FLEET_REASON_MAX; i++)
                if (s->reasons[i] > 0)
                        json_write_member_u64(w, fleet_reason_to_string((FleetReason) i), s->reasons[i]);
        json_write_close(w, '}');
        json_write_key(w, "rules");
        json_write_open(w, '[');
        for (size_t i = 0; i <= s->n_rules; i++)
                if (i < s->n_rules || hosts_of(&s->rules[i]) > 0)
                        write_rule(s, i, w);
        json_write_close(w, ']');
        write_fixes(s, w);
        json_write_close(w, '}');
}
