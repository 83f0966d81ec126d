/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All that there is to say about fleet documents and this host, as one JSON object: the facts, the decision as
 * it would be made now, which rules were passed over and why, the documents, and how far convergence is. For
 * people by way of klpctl, and for whoever collects it.
 */
#include <stdio.h>

#include "klpd/converge.h"
#include "klpd/manager.h"
#include "policy/json-writer.h"

#define PASSED_MAX 256U

static void write_slice(JsonWriter *w, const char *key, FleetSlice s) {
        char text[FLEET_PATTERN_MAX * 2];

        if (!s.s)
                return;
        (void) snprintf(text, sizeof(text), "%.*s", (int) s.n, s.s);
        json_write_member(w, key, text);
}

static void write_flag(JsonWriter *w, const char *key, bool value) {
        json_write_key(w, key);
        json_write_bool(w, value);
}

static void write_time(JsonWriter *w, const char *key, uint64_t usec) {
        if (usec > 0)
                json_write_member(w, key, FLEET_FORMAT_TIMESTAMP(usec));
}

static void write_facts(JsonWriter *w, const FleetHost *h) {
        write_slice(w, "hostname", h->hostname);
        write_slice(w, "machine_id", h->machine_id);
        write_slice(w, "kernel", h->kernel);
        write_slice(w, "os", h->os);
        json_write_key(w, "labels");
        json_write_open(w, '['); /* keys of objects would have to be free of escapes */
        for (size_t i = 0; i < h->n_labels; i++) {
                json_write_open(w, '{');
                write_slice(w, "label", h->labels[i].key);
                write_slice(w, "value", h->labels[i].value);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
        write_flag(w, "clock_synchronized", !h->clock_unsynchronized);
}

static void write_documents(JsonWriter *w, const Converge *c) {
        const FleetSource *missing = fleet_loader_missing(c->loader), *sources;
        size_t n;

        sources = fleet_loader_sources(c->loader, &n);
        json_write_key(w, "documents");
        json_write_open(w, '[');
        if (missing && (missing < sources || missing >= sources + n)) {
                json_write_open(w, '{');
                json_write_member(w, "path", missing->path);
                write_flag(w, "in_force", false);
                json_write_member(w, "problem", missing->problem);
                json_write_close(w, '}');
        }
        for (size_t i = 0; i < n; i++) {
                const FleetSource *s = &sources[i];

                json_write_open(w, '{');
                json_write_member(w, "path", s->path);
                write_flag(w, "network", s->network);
                write_flag(w, "in_force", s->document);
                write_flag(w, "kept", s->document && s->kept);
                if (s->document) {
                        json_write_member(w, "name", s->document->name ?: s->name);
                        json_write_member_u64(w, "serial", s->document->serial);
                        json_write_member(w, "digest", s->document->digest);
                        write_time(w, "not_after", s->document->not_after);
                        json_write_member(w, "signer_key", s->signer);
                }
                json_write_member(w, "problem", s->problem);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
}

static void write_passed(JsonWriter *w, const FleetSet *set, const FleetDecision *d, const FleetHost *h) {
        size_t n = fleet_set_n_rules(set);

        json_write_key(w, "passed");
        json_write_open(w, '[');
        for (size_t i = 0; i < n && i < PASSED_MAX; i++) {
                const FleetRule *rule = fleet_set_rule(set, i);

                if (rule == d->rule)
                        break;
                json_write_open(w, '{');
                json_write_member(w, "rule", rule->name);
                json_write_member(w, "document", rule->document->source);
                json_write_member(w, "why", fleet_match_why(&rule->match, h));
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
}

static void write_state(JsonWriter *w, const Converge *c) {
        const FleetRecord *r = &c->record;
        char *const *rule;

        json_write_member(w, "phase", converge_phase_to_string(c->phase));
        json_write_member(w, "phase_message", c->message ?: "");
        json_write_key(w, "refused_by");
        json_write_open(w, '[');
        if (c->phase == CONVERGE_REFUSED && c->refused)
                STRV_FOREACH(rule, c->refused_rules)
                        json_write_string(w, *rule);
        json_write_close(w, ']');
        if (r->overridden) {
                json_write_key(w, "override");
                json_write_open(w, '{');
                json_write_member(w, "stream", r->override_stream);
                json_write_member(w, "by", r->override_by);
                write_time(w, "since", r->override_usec);
                json_write_close(w, '}');
        }
        json_write_key(w, "slot");
        json_write_open(w, '{');
        json_write_member(w, "state", slot_state_to_string(converge_slot_state(c)));
        json_write_member(w, "token", converge_slot_wanted(c));
        json_write_close(w, '}');
        json_write_member_u64(w, "tries", r->attempt.tries);
        json_write_key(w, "failed");
        json_write_open(w, '[');
        for (size_t i = 0; i < r->n_failed; i++) {
                json_write_open(w, '{');
                json_write_member(w, "document", r->failed[i].document);
                json_write_member(w, "content", r->failed[i].content);
                json_write_member(w, "reason", r->failed[i].reason);
                write_time(w, "since", r->failed[i].since_usec);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
        write_time(w, "goal_since", r->goal_since_usec);
        write_time(w, "last_success", r->last_success_usec);
        write_time(w, "last_trusted", r->last_trusted_usec);
        json_write_member(w, "record_problem", c->record_problem);
}

int converge_describe(Converge *c, char **ret) {
        const FleetSet *set = c->started && c->loaded ? fleet_loader_set(c->loader) : NULL;
        _cleanup_json_writer_ JsonWriter w = {};
        ConvergeHost host = {};
        PolicyError error = {};
        char words[640];
        FleetDecision d;
        const char *text;
        int r;

        if (!set)
                return -EAGAIN;
        manager_refresh(c->manager);
        if (!c->manager->inventory)
                return -EAGAIN;
        r = converge_host_build(&c->manager->world, c->manager->inventory, &c->record, &c->clock, &host, &error);
        if (r < 0 && r != -EBADMSG)
                return r;
        fleet_decide(set, &host.host, converge_now(c), &d);
        json_write_open(&w, '{');
        write_facts(&w, &host.host);
        if (r == -EBADMSG)
                json_write_member(&w, "labels_problem", policy_error_format(&error, "/" FLEET_LABELS_PATH, words,
                                                                            sizeof(words)));
        fleet_decision_write(&d, &host.host, &w);
        if (d.rule) {
                char goal[64];

                json_write_member(&w, "wants", fleet_rule_goal(d.rule, goal, sizeof(goal)));
        }
        write_state(&w, c);
        write_documents(&w, c);
        write_passed(&w, set, &d, &host.host);
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        *ret = text ? strdup(text) : NULL;
        converge_host_done(&host);
        return *ret ? 0 : -ENOMEM;
}
