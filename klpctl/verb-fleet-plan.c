/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpctl fleet plan, klpctl fleet diff: what documents would do to the hosts of an inventory, which may be a
 * million lines. One host is in memory at a time; what is printed is put together in one buffer and written
 * when that is full.
 */
#include "fleet-forecast.h"
#include "fleet-summary.h"
#include "verb-fleet.h"

#define FLUSH (64U * 1024U)

typedef struct Output {
        Ctl *c;
        JsonWriter json;
        bool bad; /* a line was no host */
        Forecast forecast;
} Output;

/* A text of the host's, for functions that want a string. */
static const char *slice_text(FleetSlice s, char *buf, size_t size) {
        size_t n = s.n < size - 1 ? s.n : size - 1;

        memcpy(buf, s.s ?: "", s.s ? n : 0);
        buf[s.s ? n : 0] = 0;
        return buf;
}

/* A line of JSON that is complete in the writer. */
static int put_json(Output *o) {
        const char *text = json_writer_text(&o->json);

        if (!text)
                return ctl_oom(o->c);
        fputs_unlocked(text, stdout);
        putc_unlocked('\n', stdout);
        json_writer_reset(&o->json);
        return ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int put_bad(Output *o, const FleetHosts *hosts, const PolicyError *error) {
        char text[1024];

        o->bad = true;
        ctl_error(o->c, "%s", policy_error_format(error, hosts->path, text, sizeof(text)));
        if (!ctl_json(o->c) || o->c->args.summary)
                return EXIT_DONE;
        json_write_open(&o->json, '{');
        json_write_member_u64(&o->json, "line", hosts->line);
        json_write_key(&o->json, "error");
        json_write_open(&o->json, '{');
        json_write_member(&o->json, "message", error->message);
        if (error->key[0])
                json_write_member(&o->json, "key", error->key);
        json_write_member_u64(&o->json, "column", error->column);
        json_write_close(&o->json, '}');
        json_write_close(&o->json, '}');
        return put_json(o);
}

/* --- plan --- */

#define PLAN_FORMAT "%-40s %-8s %-8s %-9s %-11s %-21s %s\n"

static const char *goal_text(const FleetDecision *d, char *buf, size_t size) {
        if (!d->has_goal)
                return "-";
        return d->goal_none ? "nothing" : fleet_level_text(buf, size, true, d->goal);
}

static int put_plan(Output *o, const FleetDecision *d, const FleetHost *host) {
        char name[256], level[16], goal[16];

        slice_text(host->hostname, name, sizeof(name));
        if (ctl_json(o->c)) {
                json_write_open(&o->json, '{');
                json_write_member(&o->json, "hostname", name);
                fleet_decision_write(d, host, &o->json);
                fleet_forecast_write(&o->forecast, &o->json);
                json_write_close(&o->json, '}');
                return put_json(o);
        }
        printf(PLAN_FORMAT, name,
               d->rule ? fleet_level_text(level, sizeof(level), d->running,
                                          d->running ? d->running->level : 0)
                       : "-",
               goal_text(d, goal, sizeof(goal)),
               o->forecast.refused ? "refused" : fleet_verdict_to_string(d->verdict),
               !o->forecast.refused        ? fleet_reason_to_string(d->reason)
               : *o->forecast.rules ? o->forecast.rules
                                    : "no-patch",
               d->verdict == FLEET_WAIT && d->until > 0 ? FLEET_FORMAT_TIMESTAMP(d->until) : "-",
               d->rule ? d->rule->name : "-");
        return ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
}

static int plan_hosts(Output *o, FleetHosts *hosts, const FleetInput *f, FleetSummary *summary) {
        uint64_t now = fleet_input_now(o->c);
        PolicyError error = {};
        const FleetHost *host;
        int r;

        while ((r = fleet_hosts_next(hosts, &host, &error)) != 0) {
                FleetDecision d;
                int status = EXIT_DONE;

                if (r == -EBADMSG) {
                        fleet_summary_add_invalid(summary);
                        status = put_bad(o, hosts, &error);
                } else if (r < 0) {
                        ctl_error(o->c, "%s", error.message);
                        return EXIT_FAILED;
                } else {
                        fleet_decide(f->set, host, now, &d);
                        fleet_summary_add(summary, &d, host);
                        if (fleet_forecast_host(&o->forecast, &d, hosts->text, hosts->text_size) < 0)
                                return ctl_oom(o->c);
                        if (!o->c->args.summary)
                                status = put_plan(o, &d, host);
                }
                if (status != EXIT_DONE)
                        return status;
        }
        return EXIT_DONE;
}

static int put_summary(Output *o, const FleetSummary *summary) {
        if (!ctl_json(o->c)) {
                if (!o->c->args.summary)
                        putchar('\n');
                fleet_forecast_print_summary(&o->forecast);
                return fleet_summary_print(o->c, summary);
        }
        json_write_open(&o->json, '{');
        json_write_key(&o->json, "summary");
        fleet_summary_write(summary, &o->json);
        fleet_forecast_write_summary(&o->forecast, &o->json);
        json_write_close(&o->json, '}');
        return put_json(o);
}

static int need_inventory(Ctl *c) {
        return c->args.inventory ? EXIT_DONE
                                 : ctl_usage(c, "Which hosts? --inventory FILE has one per line, '-' is "
                                                "standard input.");
}

int verb_fleet_plan(Ctl *c, char *const *files) {
        _cleanup_(fleet_hosts_done) FleetHosts hosts = {.fd = -EBADF};
        _cleanup_(fleet_summary_freep) FleetSummary *summary = NULL;
        _cleanup_(fleet_input_done) FleetInput f = {};
        Output o = {.c = c};
        int r;

        r = need_inventory(c);
        if (r == EXIT_DONE)
                r = fleet_input_load(c, files, fleet_input_now(c), &f);
        if (r == EXIT_DONE)
                r = fleet_hosts_open(c, c->args.inventory, &hosts);
        if (r == EXIT_DONE)
                r = fleet_forecast_open(c, &o.forecast);
        if (r != EXIT_DONE)
                return r;
        if (fleet_summary_new(f.set, &summary) < 0)
                return ctl_oom(c);

        (void) setvbuf(stdout, NULL, _IOFBF, FLUSH);
        if (!ctl_json(c) && !c->args.summary && !c->args.no_legend)
                printf(PLAN_FORMAT, "HOST", "RUNS", "WANTS", "VERDICT", "REASON", "UNTIL", "RULE");
        r = plan_hosts(&o, &hosts, &f, summary);
        if (r == EXIT_DONE)
                r = put_summary(&o, summary);
        fleet_forecast_done(&o.forecast);
        json_writer_done(&o.json);
        return r != EXIT_DONE ? r : o.bad ? EXIT_FAILED : EXIT_DONE;
}

/* --- diff --- */

static bool same_string(const char *a, const char *b) {
        return streq(a ?: "", b ?: "");
}

/* Whether the host would be treated alike. Another rule with the same outcome is no difference. */
static bool same_decision(const FleetDecision *a, const FleetDecision *b) {
        return a->verdict == b->verdict && a->reason == b->reason && a->action == b->action &&
               a->has_goal == b->has_goal && a->goal_none == b->goal_none && a->goal == b->goal &&
               a->until == b->until && a->gates == b->gates &&
               same_string(a->entry ? a->entry->digest : NULL, b->entry ? b->entry->digest : NULL) &&
               same_string(a->rule ? a->rule->vendor : NULL, b->rule ? b->rule->vendor : NULL) &&
               same_string(a->rule ? a->rule->stream : NULL, b->rule ? b->rule->stream : NULL);
}

static void put_side(const FleetDecision *d, const FleetHost *host, const char *sign) {
        char goal[16], text[512];

        printf("  %s %-9s %-11s %-8s %s: %s\n", sign, fleet_verdict_to_string(d->verdict),
               fleet_reason_to_string(d->reason), goal_text(d, goal, sizeof(goal)),
               d->rule ? d->rule->name : "-", fleet_decision_describe(d, host, text, sizeof(text)));
}

static int put_difference(Output *o, const FleetDecision *old, const FleetDecision *new,
                          const FleetHost *host) {
        char name[256];

        slice_text(host->hostname, name, sizeof(name));
        if (!ctl_json(o->c)) {
                printf("%s\n", name);
                put_side(old, host, "-");
                put_side(new, host, "+");
                return ferror(stdout) ? EXIT_FAILED : EXIT_DONE;
        }
        json_write_open(&o->json, '{');
        json_write_member(&o->json, "hostname", name);
        json_write_key(&o->json, "old");
        json_write_open(&o->json, '{');
        fleet_decision_write(old, host, &o->json);
        json_write_close(&o->json, '}');
        json_write_key(&o->json, "new");
        json_write_open(&o->json, '{');
        fleet_decision_write(new, host, &o->json);
        json_write_close(&o->json, '}');
        json_write_close(&o->json, '}');
        return put_json(o);
}

typedef struct Difference {
        uint64_t hosts, changed, invalid;
} Difference;

static int diff_hosts(Output *o, FleetHosts *hosts, const FleetInput *old, const FleetInput *new,
                      Difference *n) {
        uint64_t now = fleet_input_now(o->c);
        PolicyError error = {};
        const FleetHost *host;
        int r;

        while ((r = fleet_hosts_next(hosts, &host, &error)) != 0) {
                FleetDecision a, b;
                int status = EXIT_DONE;

                if (r == -EBADMSG) {
                        n->invalid++;
                        status = put_bad(o, hosts, &error);
                } else if (r < 0) {
                        ctl_error(o->c, "%s", error.message);
                        return EXIT_FAILED;
                } else {
                        fleet_decide(old->set, host, now, &a);
                        fleet_decide(new->set, host, now, &b);
                        n->hosts++;
                        if (!same_decision(&a, &b)) {
                                n->changed++;
                                if (!o->c->args.summary)
                                        status = put_difference(o, &a, &b, host);
                        }
                }
                if (status != EXIT_DONE)
                        return status;
        }
        return EXIT_DONE;
}

static int put_difference_summary(Output *o, const Difference *n) {
        if (!ctl_json(o->c)) {
                printf("%s%" PRIu64 " of %" PRIu64 " hosts change.\n",
                       n->changed > 0 && !o->c->args.summary ? "\n" : "", n->changed, n->hosts);
                return EXIT_DONE;
        }
        json_write_open(&o->json, '{');
        json_write_key(&o->json, "summary");
        json_write_open(&o->json, '{');
        json_write_member_u64(&o->json, "hosts", n->hosts);
        json_write_member_u64(&o->json, "changed", n->changed);
        json_write_member_u64(&o->json, "invalid", n->invalid);
        json_write_close(&o->json, '}');
        json_write_close(&o->json, '}');
        return put_json(o);
}

int verb_fleet_diff(Ctl *c, const char *old, const char *new) {
        const char *const paths[2][2] = {{old, NULL}, {new, NULL}};
        _cleanup_(fleet_hosts_done) FleetHosts hosts = {.fd = -EBADF};
        _cleanup_(fleet_input_done) FleetInput a = {}, b = {};
        Difference n = {};
        Output o = {.c = c};
        int r;

        r = need_inventory(c);
        if (r == EXIT_DONE)
                r = fleet_input_load(c, (char *const *) paths[0], fleet_input_now(c), &a);
        if (r == EXIT_DONE)
                r = fleet_input_load(c, (char *const *) paths[1], fleet_input_now(c), &b);
        if (r == EXIT_DONE)
                r = fleet_hosts_open(c, c->args.inventory, &hosts);
        if (r != EXIT_DONE)
                return r;

        (void) setvbuf(stdout, NULL, _IOFBF, FLUSH);
        r = diff_hosts(&o, &hosts, &a, &b, &n);
        if (r == EXIT_DONE)
                r = put_difference_summary(&o, &n);
        json_writer_done(&o.json);
        return r != EXIT_DONE ? r : o.bad ? EXIT_FAILED : EXIT_DONE;
}
