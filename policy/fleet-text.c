/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decisions in words: names, one sentence each, and which fixes a host lacks as long as it stays.
 */
#include <stdarg.h>
#include <stdio.h>

#include "policy/fleet-internal.h"
#include "policy/json-writer.h"

static const char *const verdicts[_FLEET_VERDICT_MAX] = {
                [FLEET_UNMANAGED] = "unmanaged", [FLEET_DONE] = "done", [FLEET_CHANGE] = "change",
                [FLEET_WAIT] = "wait",           [FLEET_STAY] = "stay",
};

static const char *const reasons[_FLEET_REASON_MAX] = {
                [FLEET_REASON_OFF] = "off",
                [FLEET_REASON_HOLD_HOST] = "hold-host",
                [FLEET_REASON_HOLD_RULE] = "hold-rule",
                [FLEET_REASON_OVERRIDE] = "override",
                [FLEET_REASON_NO_DOCUMENT] = "no-document",
                [FLEET_REASON_NO_RULE] = "no-rule",
                [FLEET_REASON_EXPIRED] = "expired",
                [FLEET_REASON_QUARANTINE] = "quarantine",
                [FLEET_REASON_BLOCKED] = "blocked",
                [FLEET_REASON_NO_LEVEL] = "no-level",
                [FLEET_REASON_CONTENT] = "content",
                [FLEET_REASON_AT_GOAL] = "at-goal",
                [FLEET_REASON_FAILED] = "failed",
                [FLEET_REASON_CLOCK] = "clock",
                [FLEET_REASON_WINDOW] = "window",
                [FLEET_REASON_ROLLOUT] = "rollout",
                [FLEET_REASON_WAVE] = "wave",
                [FLEET_REASON_SPLAY] = "splay",
                [FLEET_REASON_READY] = "ready",
};

static const char *const actions[_FLEET_ACTION_MAX] = {
                [FLEET_ACTION_NONE] = "none",
                [FLEET_ACTION_APPLY] = "apply",
                [FLEET_ACTION_DOWNGRADE] = "downgrade",
                [FLEET_ACTION_DISABLE] = "disable",
};

const char *fleet_verdict_to_string(FleetVerdict v) {
        return v >= 0 && v < _FLEET_VERDICT_MAX ? verdicts[v] : NULL;
}

const char *fleet_reason_to_string(FleetReason r) {
        return r >= 0 && r < _FLEET_REASON_MAX ? reasons[r] : NULL;
}

const char *fleet_action_to_string(FleetAction a) {
        return a >= 0 && a < _FLEET_ACTION_MAX ? actions[a] : NULL;
}

char *fleet_rule_goal(const FleetRule *rule, char *buf, size_t size) {
        switch (rule->goal) {
        case FLEET_GOAL_UNSAID:
                (void) snprintf(buf, size, "-");
                break;
        case FLEET_GOAL_LEVEL:
                (void) snprintf(buf, size, "%" PRIu32, rule->level);
                break;
        case FLEET_GOAL_AT_LEAST:
                (void) snprintf(buf, size, "%" PRIu32 " or higher", rule->level);
                break;
        case FLEET_GOAL_LATEST:
                (void) snprintf(buf, size, "latest");
                break;
        case FLEET_GOAL_NONE:
                (void) snprintf(buf, size, "none");
                break;
        }
        return buf;
}

char *fleet_decision_content(const FleetDecision *d, char *buf, size_t size) {
        if (d->entry && d->entry->digest)
                (void) snprintf(buf, size, "%s", d->entry->digest);
        else if (d->goal_none)
                (void) snprintf(buf, size, "%s/%s=none", d->rule->vendor, d->rule->stream);
        else if (d->rule)
                (void) snprintf(buf, size, "%s/%s=%" PRIu32, d->rule->vendor, d->rule->stream, d->goal);
        else
                (void) snprintf(buf, size, "-");
        return buf;
}

static bool host_has_fix(const FleetHost *h, const char *fix) {
        size_t n = strlen(fix);

        for (size_t i = 0; i < h->n_fixes; i++)
                if (fleet_slice_is(h->fixes[i], fix, n))
                        return true;
        return false;
}

size_t fleet_open_fixes(const FleetDecision *d, const FleetHost *host,
                        void (*fn)(const char *fix, void *userdata), void *userdata) {
        size_t n = 0;

        if (!d->entry || d->action == FLEET_ACTION_NONE || d->action == FLEET_ACTION_DISABLE)
                return 0;
        for (size_t i = 0; i < d->entry->n_fixes; i++) {
                if (host_has_fix(host, d->entry->fixes[i]))
                        continue;
                n++;
                if (fn)
                        fn(d->entry->fixes[i], userdata);
        }
        return n;
}

/* --- sentences --- */

typedef struct Text {
        char *buf;
        size_t size, used;
} Text;

static void add(Text *t, const char *format, ...) _printf_(2, 3);
static void add(Text *t, const char *format, ...) {
        va_list ap;
        int n;

        va_start(ap, format);
        n = vsnprintf(t->buf + t->used, t->size - t->used, format, ap);
        va_end(ap);
        if (n > 0)
                t->used += (size_t) n < t->size - t->used ? (size_t) n : t->size - t->used - 1;
}

static void add_change(Text *t, const FleetDecision *d) {
        if (d->action == FLEET_ACTION_DISABLE)
                add(t, "disable what runs of %s/%s", d->rule->vendor, d->rule->stream);
        else if (d->running)
                add(t, "%s from level %" PRIu32 " to %" PRIu32, actions[d->action], d->running->level,
                    d->goal);
        else
                add(t, "apply level %" PRIu32, d->goal);
}

static void add_wait(Text *t, const FleetDecision *d) {
        if (d->until > 0)
                add(t, "; can begin at %s", FLEET_FORMAT_TIMESTAMP(d->until));
}

static void add_wave(Text *t, const FleetDecision *d) {
        if (!d->wave)
                add(t, "the host is in none of the rule's waves");
        else
                add(t, "its wave%s%s opens at %s", d->wave->name ? " " : "", d->wave->name ?: "",
                    FLEET_FORMAT_TIMESTAMP(d->wave->opens));
}

static void add_rollout(Text *t, const FleetDecision *d, const FleetHost *h) {
        if (h->has_host_id)
                add(t, "the rollout is at %" PRIu32 "%%, and the host is in its percent %" PRIu32,
                    d->rule->percent, fleet_rollout_position(h->host_id, d->rule->salt) + 1);
        else
                add(t, "the rollout is at %" PRIu32 "%%, and the host's id is not known", d->rule->percent);
}

static void add_expired(Text *t, const FleetDecision *d) {
        const FleetRule *r = d->rule;
        uint64_t document = r->document->not_after, sign = r->document->signed_until;

        if (r->not_after > 0 && (document == 0 || r->not_after <= document) && (sign == 0 || r->not_after <= sign))
                add(t, "the rule was valid until %s", FLEET_FORMAT_TIMESTAMP(r->not_after));
        else if (document > 0 && (sign == 0 || document <= sign))
                add(t, "the document was valid until %s", FLEET_FORMAT_TIMESTAMP(document));
        else if (sign > 0)
                add(t, "a certificate of the document's signature was valid until %s", FLEET_FORMAT_TIMESTAMP(sign));
        else
                add(t, "the document that states the level has expired");
}

static void add_no_level(Text *t, const FleetDecision *d, const FleetHost *h) {
        if (d->has_goal)
                add(t, "level %" PRIu32 " is not there for kernel %.*s", d->goal, (int) h->kernel.n,
                    h->kernel.s);
        else
                add(t, "no level that the rule allows is there for kernel %.*s", (int) h->kernel.n,
                    h->kernel.s);
}

static void add_reason(Text *t, const FleetDecision *d, const FleetHost *h) {
        switch (d->reason) {
        case FLEET_REASON_OFF:
                add(t, "klpd is switched off on this host (klpd.mode=off)");
                break;
        case FLEET_REASON_HOLD_HOST:
                add(t, "held on the host%s%.*s", h->hold_reason.s ? ": " : "", (int) h->hold_reason.n,
                    h->hold_reason.s ?: "");
                break;
        case FLEET_REASON_HOLD_RULE:
                add(t, "held by the rule: %s", d->rule->hold);
                break;
        case FLEET_REASON_OVERRIDE:
                add(t, "somebody has decided by hand on this host; klpctl fleet resume gives it back");
                break;
        case FLEET_REASON_NO_DOCUMENT:
                add(t, "there is no fleet document");
                break;
        case FLEET_REASON_NO_RULE:
                add(t, "no rule matches");
                break;
        case FLEET_REASON_EXPIRED:
                add_expired(t, d);
                break;
        case FLEET_REASON_QUARANTINE:
                add(t, "level %" PRIu32 " is in quarantine on this host", d->goal);
                break;
        case FLEET_REASON_BLOCKED:
                add(t, "level %" PRIu32 " is blocked%s%s", d->goal, d->block && d->block->reason ? ": " : "",
                    d->block && d->block->reason ? d->block->reason : "");
                break;
        case FLEET_REASON_NO_LEVEL:
                add_no_level(t, d, h);
                break;
        case FLEET_REASON_CONTENT:
                add(t, "level %" PRIu32 " runs with another content than the one that is pinned", d->goal);
                break;
        case FLEET_REASON_AT_GOAL:
                if (d->goal_none)
                        add(t, "nothing of %s/%s runs", d->rule->vendor, d->rule->stream);
                else
                        add(t, "level %" PRIu32 " runs", d->goal);
                break;
        case FLEET_REASON_FAILED:
                add(t, "this document has failed here with this content; it is not tried again by itself");
                break;
        case FLEET_REASON_CLOCK:
                add(t, h->clock_unsynchronized ? "the clock is not synchronised"
                                               : "the clock is behind the last time that was certain");
                break;
        case FLEET_REASON_WINDOW:
                add(t, "outside of the maintenance window");
                break;
        case FLEET_REASON_ROLLOUT:
                add_rollout(t, d, h);
                break;
        case FLEET_REASON_WAVE:
                add_wave(t, d);
                break;
        case FLEET_REASON_SPLAY:
                add(t, "its turn within the splay comes later");
                break;
        case FLEET_REASON_READY:
                add_change(t, d);
                break;
        case _FLEET_REASON_MAX:
                break;
        }
}

char *fleet_decision_describe(const FleetDecision *d, const FleetHost *host, char *buf, size_t size) {
        Text t = {.buf = buf, .size = size};

        buf[0] = 0;
        add_reason(&t, d, host);
        if (d->verdict == FLEET_WAIT)
                add_wait(&t, d);
        return buf;
}

/* --- JSON --- */

static void write_time(JsonWriter *w, const char *key, uint64_t t) {
        if (t > 0)
                json_write_member(w, key, FLEET_FORMAT_TIMESTAMP(t));
}

static void write_goal(JsonWriter *w, const FleetDecision *d) {
        json_write_key(w, "goal");
        if (!d->has_goal)
                json_write_null(w);
        else if (d->goal_none)
                json_write_string(w, "none");
        else
                json_write_u64(w, d->goal);
}

static void write_gates(JsonWriter *w, uint32_t gates) {
        static const char *const names[] = {"clock", "window", "rollout", "wave", "splay"};

        json_write_key(w, "gates");
        json_write_open(w, '[');
        for (unsigned i = 0; i < ELEMENTSOF(names); i++)
                if (gates & 1U << i)
                        json_write_string(w, names[i]);
        json_write_close(w, ']');
}

static void write_fix(const char *fix, void *userdata) {
        json_write_string(userdata, fix);
}

void fleet_decision_write(const FleetDecision *d, const FleetHost *host, JsonWriter *w) {
        char text[512];

        json_write_member(w, "verdict", verdicts[d->verdict]);
        json_write_member(w, "reason", reasons[d->reason]);
        json_write_member(w, "message", fleet_decision_describe(d, host, text, sizeof(text)));
        if (d->rule) {
                json_write_member(w, "rule", d->rule->name);
                json_write_member(w, "document", d->rule->document->source);
                (void) snprintf(text, sizeof(text), "%s/%s", d->rule->vendor, d->rule->stream);
                json_write_member(w, "stream", text);
                json_write_key(w, "level");
                if (d->running)
                        json_write_u64(w, d->running->level);
                else
                        json_write_null(w);
                write_goal(w, d);
                json_write_member(w, "action", actions[d->action]);
        }
        if (d->entry) {
                json_write_member(w, "patch", d->entry->patch);
                json_write_member(w, "digest", d->entry->digest);
        }
        json_write_key(w, "drift");
        json_write_bool(w, d->drift);
        if (d->gates)
                write_gates(w, d->gates);
        if (d->wave)
                json_write_member(w, "wave", d->wave->name);
        write_time(w, "until", d->until);
        write_time(w, "window_end", d->window_end);
        if (d->verdict != FLEET_DONE && fleet_open_fixes(d, host, NULL, NULL) > 0) {
                json_write_key(w, "open_fixes");
                json_write_open(w, '[');
                (void) fleet_open_fixes(d, host, write_fix, w);
                json_write_close(w, ']');
        }
}
