/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The decision: one host, one moment, one answer (SEMANTICS.md section 6). In this order:
 *
 *   1. the first rule that matches wins; nothing that follows makes another one win
 *   2. what it wants is worked out (`latest` and `at_least` pick from what is neither blocked
 *      nor quarantined)
 *   3. klpd.mode=off > hold > manual override > expiry > quarantine or blocked level > done >
 *      failed before > clock > maintenance window > rollout and waves > splay
 *
 * The gates (clock, window, rollout, wave, splay) are all evaluated, so that the answer can say what else is
 * closed, and when all of them are open at the earliest.
 */
#include <stdio.h>

#include "policy/fleet-internal.h"

typedef enum LevelState {
        LEVEL_OK,
        LEVEL_BLOCKED,
        LEVEL_QUARANTINED,
        LEVEL_MISSING,
} LevelState;

typedef struct Decide {
        const FleetHost *host;
        const FleetRule *rule;
        const FleetStream *stream;
        uint64_t now;
        bool trusted; /* the clock */
        bool settled; /* nothing would have to change */
        LevelState state;
        FleetDecision *d;
} Decide;

static bool of_stream(const FleetStream *s, FleetSlice vendor, FleetSlice stream) {
        return fleet_slice_is(vendor, s->vendor, s->vendor_size) &&
               fleet_slice_is(stream, s->stream, s->stream_size);
}

/* "vendor/stream" */
static bool is_stream(const FleetStream *s, FleetSlice text) {
        return text.s && text.n == s->vendor_size + 1 + s->stream_size &&
               memcmp(text.s, s->vendor, s->vendor_size) == 0 && text.s[s->vendor_size] == '/' &&
               memcmp(text.s + s->vendor_size + 1, s->stream, s->stream_size) == 0;
}

static const FleetRunning *highest_running(const Decide *c) {
        const FleetRunning *found = NULL;

        for (size_t i = 0; i < c->host->n_running; i++) {
                const FleetRunning *r = &c->host->running[i];

                if (of_stream(c->stream, r->vendor, r->stream) && (!found || r->level > found->level))
                        found = r;
        }
        return found;
}

/* --- levels --- */

static bool is_blocked(const Decide *c, uint32_t level, const FleetBlock **ret) {
        *ret = NULL;
        for (size_t i = 0; i < c->rule->n_blocked; i++)
                if (c->rule->blocked[i] == level)
                        return true;
        for (size_t i = 0; i < c->stream->n_blocked; i++) {
                const FleetBlock *b = c->stream->blocked[i];

                if (b->level == level &&
                    (!b->kernel.s || fleet_glob_match(b->kernel, c->host->kernel, false))) {
                        *ret = b;
                        return true;
                }
        }
        return false;
}

static bool in_quarantine(const FleetHost *h, FleetSlice content) {
        for (size_t i = 0; content.s && i < h->n_quarantine; i++)
                if (fleet_slice_equal(h->quarantine[i], content))
                        return true;
        return false;
}

/* By the content that the document pins, that the repository has, and that runs. */
static bool is_quarantined(const Decide *c, uint32_t level, const FleetLevel *entry) {
        const FleetHost *h = c->host;

        if (h->n_quarantine == 0)
                return false;
        if (entry && in_quarantine(h, FLEET_SLICE(entry->digest)))
                return true;
        for (size_t i = 0; i < h->n_available; i++)
                if (h->available[i].level == level &&
                    of_stream(c->stream, h->available[i].vendor, h->available[i].stream) &&
                    in_quarantine(h, h->available[i].digest))
                        return true;
        for (size_t i = 0; i < h->n_running; i++)
                if (h->running[i].level == level &&
                    of_stream(c->stream, h->running[i].vendor, h->running[i].stream) &&
                    (in_quarantine(h, h->running[i].digest) || in_quarantine(h, h->running[i].build_id)))
                        return true;
        return false;
}

static bool same_content(const FleetLevel *entry, FleetSlice digest) {
        return !entry || !entry->digest || !digest.s ||
               fleet_slice_is(digest, entry->digest, strlen(entry->digest));
}

/* Whether the host has it, or could have it for all that is known: what runs is there, too (a repository
 * that was tidied up must not take `latest` down). */
static bool is_available(const Decide *c, uint32_t level, const FleetLevel *entry) {
        const FleetHost *h = c->host;

        if (!h->knows_available)
                return true;
        for (size_t i = 0; i < h->n_available; i++)
                if (h->available[i].level == level &&
                    of_stream(c->stream, h->available[i].vendor, h->available[i].stream) &&
                    same_content(entry, h->available[i].digest))
                        return true;
        for (size_t i = 0; i < h->n_running; i++)
                if (h->running[i].level == level &&
                    of_stream(c->stream, h->running[i].vendor, h->running[i].stream))
                        return true;
        return false;
}

static LevelState level_state(const Decide *c, uint32_t level, const FleetLevel *entry,
                              const FleetBlock **ret_block) {
        *ret_block = NULL;
        if (is_quarantined(c, level, entry))
                return LEVEL_QUARANTINED;
        if (is_blocked(c, level, ret_block))
                return LEVEL_BLOCKED;
        return is_available(c, level, entry) ? LEVEL_OK : LEVEL_MISSING;
}

static const FleetLevel *find_level(const Decide *c, uint32_t level) {
        for (size_t i = 0; i < c->stream->n_levels; i++) {
                const FleetLevels *g = &c->stream->levels[i];
                size_t low = 0, high = g->n;

                if (!fleet_glob_match(g->kernel, c->host->kernel, false))
                        continue;
                while (low < high) {
                        size_t middle = low + (high - low) / 2;

                        if (g->entries[middle]->level == level)
                                return g->entries[middle];
                        if (g->entries[middle]->level > level)
                                low = middle + 1;
                        else
                                high = middle;
                }
        }
        return NULL;
}

/* The highest level from min on that may be; documents that state levels of the stream state all of them. */
static bool highest_level(Decide *c, uint32_t min, uint32_t *ret, const FleetLevel **ret_entry) {
        const FleetBlock *block;
        bool found = false;

        for (size_t i = 0; i < c->stream->n_levels; i++) {
                const FleetLevels *g = &c->stream->levels[i];

                if (!fleet_glob_match(g->kernel, c->host->kernel, false))
                        continue;
                for (size_t k = 0; k < g->n && g->entries[k]->level >= min; k++) {
                        uint32_t level = g->entries[k]->level;

                        if (found && level <= *ret)
                                break;
                        if (level_state(c, level, g->entries[k], &block) != LEVEL_OK)
                                continue;
                        *ret = level;
                        *ret_entry = g->entries[k];
                        found = true;
                        break;
                }
        }
        if (c->stream->n_levels > 0)
                return found;
        for (size_t i = 0; i < c->host->n_available + c->host->n_running; i++) {
                bool runs = i >= c->host->n_available;
                const FleetAvailable *a = runs ? NULL : &c->host->available[i];
                const FleetRunning *r = runs ? &c->host->running[i - c->host->n_available] : NULL;
                uint32_t level = runs ? r->level : a->level;

                if (level == 0 || level < min || (found && level <= *ret) ||
                    !of_stream(c->stream, runs ? r->vendor : a->vendor, runs ? r->stream : a->stream) ||
                    level_state(c, level, NULL, &block) != LEVEL_OK)
                        continue;
                *ret = level;
                *ret_entry = NULL;
                found = true;
        }
        return found;
}

static void set_goal(Decide *c, uint32_t level, const FleetLevel *entry) {
        FleetDecision *d = c->d;
        uint32_t current = d->running ? d->running->level : 0;

        d->has_goal = true;
        d->goal = level;
        d->entry = entry;
        c->settled = d->running && current == level;
        if (!c->settled)
                d->action = current > level ? FLEET_ACTION_DOWNGRADE : FLEET_ACTION_APPLY;
}

static void resolve_level(Decide *c, uint32_t level) {
        const FleetLevel *entry = find_level(c, level);

        set_goal(c, level, entry);
        c->state = level_state(c, level, entry, &c->d->block);
        if (c->state == LEVEL_OK && !entry && c->stream->n_levels > 0)
                c->state = LEVEL_MISSING;
}

static void resolve_highest(Decide *c, uint32_t min) {
        const FleetLevel *entry = NULL;
        uint32_t level = 0;

        if (highest_level(c, min, &level, &entry))
                set_goal(c, level, entry);
        else
                c->state = LEVEL_MISSING;
}

static void resolve_at_least(Decide *c) {
        const FleetRunning *running = c->d->running;
        const FleetBlock *block;

        if (running && running->level >= c->rule->level) {
                const FleetLevel *entry = find_level(c, running->level);

                if (level_state(c, running->level, entry, &block) == LEVEL_OK) {
                        set_goal(c, running->level, entry);
                        return;
                }
        }
        if (c->stream->n_levels == 0 && !c->host->knows_available)
                resolve_level(c, c->rule->level); /* the only level that anybody has named */
        else
                resolve_highest(c, c->rule->level);
}

static void resolve_goal(Decide *c) {
        FleetDecision *d = c->d;

        d->running = highest_running(c);
        switch (c->rule->goal) {
        case FLEET_GOAL_UNSAID:
                c->settled = true;
                break;
        case FLEET_GOAL_LEVEL:
                resolve_level(c, c->rule->level);
                break;
        case FLEET_GOAL_AT_LEAST:
                resolve_at_least(c);
                break;
        case FLEET_GOAL_LATEST:
                resolve_highest(c, 1);
                break;
        case FLEET_GOAL_NONE:
                d->has_goal = d->goal_none = true;
                c->settled = !d->running;
                if (d->running)
                        d->action = FLEET_ACTION_DISABLE;
                break;
        }
}

/* --- gates --- */

static uint64_t max_u64(uint64_t a, uint64_t b) {
        return a > b ? a : b;
}

/* The interval of any of the rule's windows in which something can begin first, at t or later; of several
 * the one that ends last. */
static bool next_interval(const FleetRule *rule, uint64_t t, FleetInterval *ret) {
        bool found = false;

        for (size_t i = 0; i < rule->n_windows; i++) {
                const FleetWindow *w = &rule->windows[i];
                size_t low = 0, high = w->n_intervals;

                while (low < high) { /* the first that ends after t */
                        size_t middle = low + (high - low) / 2;

                        if (w->intervals[middle].end <= t)
                                low = middle + 1;
                        else
                                high = middle;
                }
                if (low >= w->n_intervals)
                        continue;
                if (!found || max_u64(w->intervals[low].begin, t) < max_u64(ret->begin, t) ||
                    (max_u64(w->intervals[low].begin, t) == max_u64(ret->begin, t) &&
                     w->intervals[low].end > ret->end))
                        *ret = w->intervals[low];
                found = true;
        }
        return found;
}

static const FleetWave *find_wave(const Decide *c, uint32_t position) {
        for (size_t i = 0; i < c->rule->n_waves; i++) {
                const FleetWave *w = &c->rule->waves[i];

                if ((!w->match || fleet_match(w->match, c->host)) &&
                    (!w->has_percent || position < w->percent))
                        return w;
        }
        return NULL;
}

/* A host whose id isn't known is in no rollout below 100 percent. */
static uint32_t position_of(const Decide *c) {
        return c->host->has_host_id ? fleet_rollout_position(c->host->host_id, c->rule->salt) : 99;
}

/* Writes the gates that are closed, and returns when all are open: 0 if time alone won't open them. */
static uint64_t evaluate_gates(Decide *c) {
        const FleetRule *rule = c->rule;
        FleetDecision *d = c->d;
        FleetInterval window = {};
        uint64_t t = c->now, base = 0, span = rule->splay;
        bool never = false;

        if (rule->has_rollout || rule->n_waves > 0) {
                uint32_t position = position_of(c);

                if (rule->has_rollout && position >= rule->percent) {
                        d->gates |= FLEET_GATE_ROLLOUT;
                        never = true;
                }
                if (rule->n_waves > 0) {
                        d->wave = find_wave(c, position);
                        if (!d->wave || d->wave->opens > t)
                                d->gates |= FLEET_GATE_WAVE;
                        if (d->wave)
                                base = d->wave->opens;
                        never = never || !d->wave;
                        t = max_u64(t, base);
                }
        }
        if (rule->n_windows > 0) {
                bool found = next_interval(rule, c->now, &window);

                if (found && window.begin <= c->now)
                        d->window_end = window.end;
                else
                        d->gates |= FLEET_GATE_WINDOW;
                found = next_interval(rule, t, &window);
                never = never || !found;
                base = max_u64(base, window.begin);
                t = max_u64(t, window.begin);
        }
        if (span > 0 && !never) {
                uint64_t since = c->host->goal_since > 0 && c->host->goal_since < c->now
                                                 ? c->host->goal_since
                                                 : c->now;

                if (c->host->goal_since > 0 || base == 0)
                        base = max_u64(base, since);
                if (rule->n_windows > 0 && span > window.end - base)
                        span = window.end - base;
                if (c->host->has_host_id)
                        base += fleet_splay_offset(c->host->host_id, rule->salt, span);
                if (base > t) {
                        d->gates |= FLEET_GATE_SPLAY;
                        t = base;
                }
        }
        return never ? 0 : t;
}

/* The earliest end of what the decision rests on; 0: none. */
static uint64_t expiry(const Decide *c) {
        const FleetDocument *document = c->rule->document, *levels = c->d->entry ? c->d->entry->document : document;
        uint64_t t[] = {c->rule->not_after, document->not_after, document->signed_until, levels->not_after,
                        levels->signed_until},
                 first = 0;

        for (unsigned i = 0; i < ELEMENTSOF(t); i++)
                if (t[i] > 0 && (first == 0 || t[i] < first))
                        first = t[i];
        return first;
}

static bool depends_on_time(const Decide *c) {
        return c->rule->n_windows > 0 || c->rule->n_waves > 0 || c->rule->splay > 0 ||
               expiry(c) > 0;
}

static FleetReason gate_reason(uint32_t gates) {
        static const struct {
                uint32_t gate;
                FleetReason reason;
        } order[] = {
                        {FLEET_GATE_CLOCK, FLEET_REASON_CLOCK},     {FLEET_GATE_WINDOW, FLEET_REASON_WINDOW},
                        {FLEET_GATE_ROLLOUT, FLEET_REASON_ROLLOUT}, {FLEET_GATE_WAVE, FLEET_REASON_WAVE},
                        {FLEET_GATE_SPLAY, FLEET_REASON_SPLAY},
        };

        for (unsigned i = 0; i < ELEMENTSOF(order); i++)
                if (gates & order[i].gate)
                        return order[i].reason;
        return FLEET_REASON_READY;
}

static void decide_gates(Decide *c) {
        FleetDecision *d = c->d;
        uint64_t end = expiry(c);

        if (!c->trusted && depends_on_time(c)) {
                /* what the others say is worth nothing without a clock, but a percentage needs none */
                d->gates = FLEET_GATE_CLOCK;
                if (c->rule->has_rollout && position_of(c) >= c->rule->percent)
                        d->gates |= FLEET_GATE_ROLLOUT;
        } else {
                d->until = evaluate_gates(c);
                if (end > 0 && d->until >= end)
                        d->until = 0;
        }
        d->reason = gate_reason(d->gates);
        d->verdict = d->gates ? FLEET_WAIT : FLEET_CHANGE;
}

static bool has_failed(const Decide *c) {
        const char *document = c->rule->document->digest;
        char content[160];

        if (c->host->n_failed == 0 || !document)
                return false;
        fleet_decision_content(c->d, content, sizeof(content));
        for (size_t i = 0; i < c->host->n_failed; i++)
                if (fleet_slice_is(c->host->failed[i].document, document, strlen(document)) &&
                    fleet_slice_is(c->host->failed[i].content, content, strlen(content)))
                        return true;
        return false;
}

static bool is_held(const Decide *c) {
        const FleetHost *h = c->host;

        if (h->held)
                return true;
        for (size_t i = 0; c->stream && i < h->n_held_streams; i++)
                if (is_stream(c->stream, h->held_streams[i]))
                        return true;
        return false;
}

static bool is_overridden(const Decide *c) {
        return c->host->overridden &&
               (!c->host->override_stream.s || !c->stream || is_stream(c->stream, c->host->override_stream));
}

static void stay(Decide *c, FleetReason reason, bool drift) {
        c->d->verdict = FLEET_STAY;
        c->d->reason = reason;
        c->d->drift = drift;
}

/* A rule has matched, and nothing on the host stands above it. */
static void decide_by_rule(Decide *c) {
        FleetDecision *d = c->d;
        uint64_t end = expiry(c);

        if (c->trusted && end > 0 && c->now >= end)
                stay(c, FLEET_REASON_EXPIRED, false);
        else if (c->state == LEVEL_QUARANTINED)
                stay(c, FLEET_REASON_QUARANTINE, true);
        else if (c->state == LEVEL_BLOCKED)
                stay(c, FLEET_REASON_BLOCKED, true);
        else if (c->state == LEVEL_MISSING)
                stay(c, FLEET_REASON_NO_LEVEL, !c->settled);
        else if (c->settled && d->running && !same_content(d->entry, d->running->digest))
                stay(c, FLEET_REASON_CONTENT, true);
        else if (c->settled) {
                d->verdict = FLEET_DONE;
                d->reason = FLEET_REASON_AT_GOAL;
        } else if (has_failed(c))
                stay(c, FLEET_REASON_FAILED, true);
        else
                decide_gates(c);
}

/* The first of the moments at which another decision is due. */
static uint64_t next_moment(const Decide *c) {
        const FleetDecision *d = c->d;
        uint64_t t[] = {d->verdict == FLEET_WAIT ? d->until : 0,
                        d->verdict == FLEET_CHANGE ? d->window_end : 0, c->rule ? expiry(c) : 0},
                 first = 0;

        for (unsigned i = 0; i < ELEMENTSOF(t); i++)
                if (t[i] > c->now && (first == 0 || t[i] < first))
                        first = t[i];
        return first;
}

void fleet_decide(const FleetSet *set, const FleetHost *host, uint64_t now, FleetDecision *ret) {
        const FleetSetRule *match = fleet_set_match(set, host);
        Decide c = {
                        .host = host,
                        .rule = match ? match->rule : NULL,
                        .stream = match ? match->stream : NULL,
                        .now = now,
                        .trusted = !host->clock_unsynchronized && now >= host->last_trusted,
                        .d = ret,
        };

        *ret = (FleetDecision){.rule = c.rule};
        if (c.rule)
                resolve_goal(&c);

        if (host->mode_off)
                stay(&c, FLEET_REASON_OFF, c.rule && !c.settled);
        else if (is_held(&c))
                stay(&c, FLEET_REASON_HOLD_HOST, false);
        else if (c.rule && c.rule->hold)
                stay(&c, FLEET_REASON_HOLD_RULE, false);
        else if (is_overridden(&c))
                stay(&c, FLEET_REASON_OVERRIDE, c.rule && !c.settled);
        else if (!c.rule) {
                ret->verdict = FLEET_UNMANAGED;
                ret->reason = fleet_set_is_empty(set) ? FLEET_REASON_NO_DOCUMENT : FLEET_REASON_NO_RULE;
        } else
                decide_by_rule(&c);
        ret->again = next_moment(&c);
}
