/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What convergence (converge.h) says of itself as it goes: in the journal, a decision once; and in what the bus and
 * the metrics show, as copies, since the documents may go. All at once, for those who ask, is converge-describe.c.
 */
#include <stdio.h>
#include <syslog.h>

#include "klpd/converge.h"
#include "klpd/manager.h"

static const char *const phases[_CONVERGE_PHASE_MAX] = {
        [CONVERGE_STARTING] = "starting",   [CONVERGE_IDLE] = "idle",
        [CONVERGE_OBSERVING] = "observing", [CONVERGE_WAITING] = "waiting",
        [CONVERGE_SLOT] = "slot",           [CONVERGE_PLANNING] = "planning",
        [CONVERGE_CHANGING] = "changing",   [CONVERGE_PROBATION] = "probation",
        [CONVERGE_REFUSED] = "refused",     [CONVERGE_RETRYING] = "retrying",
        [CONVERGE_FAILED] = "failed",
};

const char *converge_phase_to_string(ConvergePhase phase) {
        return phases[phase];
}

void converge_audit(Converge *c, const char *result, int priority, const FleetDecision *d, const char *text) {
        AuditRecord *r = audit_begin(KLPD_MESSAGE_FLEET, "fleet");
        char stream[256];
        char **rule;

        audit_field(r, "KLPD_RESULT", result);
        if (d && d->rule) {
                (void) snprintf(stream, sizeof(stream), "%s/%s", d->rule->vendor, d->rule->stream);
                audit_field(r, "KLPD_STREAM", stream);
                audit_field(r, "KLPD_FLEET_RULE", d->rule->name);
                audit_field(r, "KLPD_DOCUMENT", d->rule->document->source);
                if (d->has_goal && !d->goal_none)
                        audit_field_u64(r, "KLPD_LEVEL", d->goal);
        }
        if (streq(result, "policy"))
                STRV_FOREACH(rule, c->refused_rules)
                        audit_field(r, "KLPD_RULE", *rule);
        audit_send(c->manager->audit, r, priority, "%s", text);
}

void converge_set_phase(Converge *c, ConvergePhase phase, const char *message) {
        char *copy = strdup(message);

        if (!copy)
                return;
        c->phase = phase;
        free(c->message);
        c->message = copy;
}

/* A decision that is another one than before is in the journal once. */
void converge_tell(Converge *c, const FleetDecision *d, const FleetHost *host) {
        char words[640], text[900], content[160];
        bool quiet = d->verdict == FLEET_UNMANAGED && !c->told;

        fleet_decision_content(d, content, sizeof(content));
        (void) snprintf(text, sizeof(text), "%s/%s/%s/%s/%s", d->rule ? d->rule->name : "-",
                        fleet_verdict_to_string(d->verdict), fleet_reason_to_string(d->reason), content,
                        fleet_action_to_string(d->action));
        if (quiet || streq_ptr(text, c->told))
                return;
        free(c->told);
        c->told = strdup(text);
        (void) fleet_decision_describe(d, host, words, sizeof(words));
        (void) snprintf(text, sizeof(text), "Fleet%s%s: %s (%s)%s: %s", d->rule ? " rule " : "",
                        d->rule ? d->rule->name : "", fleet_verdict_to_string(d->verdict),
                        fleet_reason_to_string(d->reason), d->drift ? ", drift" : "", words);
        converge_audit(c, fleet_reason_to_string(d->reason), d->drift ? LOG_WARNING : LOG_NOTICE, d, text);
}

void converge_fill_status(Converge *c, const FleetDecision *d) {
        FleetStatus *s = &c->manager->fleet_status;
        char stream[256] = "";
        size_t n;
        const FleetSource *sources = fleet_loader_sources(c->loader, &n);

        if (d->rule)
                (void) snprintf(stream, sizeof(stream), "%s/%s", d->rule->vendor, d->rule->stream);
        if (free_and_strdup(&c->stream, stream) < 0 ||
            free_and_strdup(&c->rule, d->rule ? d->rule->name : "") < 0 ||
            free_and_strdup(&c->document, d->rule ? d->rule->document->source : "") < 0)
                return;
        s->managed = d->rule;
        s->stream = c->stream;
        s->rule = c->rule;
        s->document = c->document;
        s->verdict = fleet_verdict_to_string(d->verdict);
        s->reason = fleet_reason_to_string(d->reason);
        s->has_level = d->running;
        s->level = d->running ? d->running->level : 0;
        s->has_desired = d->has_goal;
        s->desired = d->goal_none ? 0 : d->goal;
        s->drift = d->drift || (d->rule && (c->phase == CONVERGE_REFUSED || c->phase == CONVERGE_FAILED));
        s->phase = converge_phase_to_string(c->phase);
        s->overridden = c->record.overridden;
        s->until_usec = d->until;
        s->last_success_usec = c->record.last_success_usec;
        s->n_documents = s->n_problems = 0;
        for (size_t i = 0; i < n; i++) {
                s->n_documents += sources[i].document != NULL;
                s->n_problems += sources[i].problem != NULL;
        }
        s->n_problems += fleet_loader_missing(c->loader) && n == 0;
}
