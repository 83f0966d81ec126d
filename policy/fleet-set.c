/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents put together, in the order that the caller gives them, and indexed for many decisions: rules in
 * a row, each with the levels and blocked levels of its stream at hand. Levels are grouped by pattern of
 * kernels (a fleet has few kernels and many levels), highest first.
 */
#include "policy/fleet-internal.h"

struct FleetConflict {
        const FleetLevel *taken, *ignored;
};

struct FleetSet {
        FleetSetRule *rules;
        FleetStream *streams;
        struct FleetConflict *conflicts;
        size_t n_rules, n_streams, n_conflicts;
        size_t n_documents;
};

typedef struct Sorted {
        const FleetLevel *level;
        size_t order;
} Sorted;

static int compare_slices(FleetSlice a, FleetSlice b) {
        int r = memcmp(a.s, b.s, a.n < b.n ? a.n : b.n);

        return r != 0 ? r : a.n < b.n ? -1 : a.n > b.n;
}

/* Vendor, stream, kernels, level from the highest down, and then as the documents come. */
static int compare_levels(const void *a, const void *b) {
        const Sorted *x = a, *y = b;
        int r = strcmp(x->level->vendor, y->level->vendor);

        if (r == 0)
                r = strcmp(x->level->stream, y->level->stream);
        if (r == 0)
                r = compare_slices(x->level->kernel, y->level->kernel);
        if (r == 0 && x->level->level != y->level->level)
                r = x->level->level > y->level->level ? -1 : 1;
        if (r == 0)
                r = x->order < y->order ? -1 : 1;
        return r;
}

static FleetStream *get_stream(FleetSet *s, const char *vendor, const char *stream) {
        for (size_t i = 0; i < s->n_streams; i++)
                if (streq(s->streams[i].vendor, vendor) && streq(s->streams[i].stream, stream))
                        return &s->streams[i];
        return NULL;
}

static int add_stream(FleetSet *s, size_t *room, const char *vendor, const char *stream) {
        if (get_stream(s, vendor, stream))
                return 0;
        if (s->n_streams >= FLEET_STREAMS_MAX)
                return -E2BIG;
        if (s->n_streams >= *room) {
                FleetStream *bigger;

                *room = *room > 0 ? 2 * *room : 8;
                bigger = reallocarray(s->streams, *room, sizeof(*bigger));
                if (!bigger)
                        return -ENOMEM;
                s->streams = bigger;
        }
        s->streams[s->n_streams++] = (FleetStream){
                        .vendor = vendor,
                        .stream = stream,
                        .vendor_size = strlen(vendor),
                        .stream_size = strlen(stream),
        };
        return 0;
}

static bool same_level(const FleetLevel *a, const FleetLevel *b) {
        if (!streq_ptr(a->digest, b->digest) || !streq_ptr(a->patch, b->patch) || a->n_fixes != b->n_fixes)
                return false;
        for (size_t i = 0; i < a->n_fixes; i++)
                if (!streq(a->fixes[i], b->fixes[i]))
                        return false;
        return true;
}

static int add_conflict(FleetSet *s, const FleetLevel *taken, const FleetLevel *ignored) {
        struct FleetConflict *bigger;

        if (same_level(taken, ignored))
                return 0;
        bigger = reallocarray(s->conflicts, s->n_conflicts + 1, sizeof(*bigger));
        if (!bigger)
                return -ENOMEM;
        s->conflicts = bigger;
        s->conflicts[s->n_conflicts++] = (struct FleetConflict){taken, ignored};
        return 0;
}

static int add_level(FleetSet *s, const FleetLevel *l) {
        FleetStream *stream = get_stream(s, l->vendor, l->stream);
        FleetLevels *group = stream->n_levels > 0 ? &stream->levels[stream->n_levels - 1] : NULL;
        const FleetLevel **entries;

        if (!group || compare_slices(group->kernel, l->kernel) != 0) {
                FleetLevels *bigger = reallocarray(stream->levels, stream->n_levels + 1, sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                stream->levels = bigger;
                group = &bigger[stream->n_levels++];
                *group = (FleetLevels){.kernel = l->kernel};
        }
        if (group->n > 0 && group->entries[group->n - 1]->level == l->level)
                return add_conflict(s, group->entries[group->n - 1], l);
        if ((group->n & (group->n - 1)) == 0) { /* a power of two: full */
                entries = reallocarray(group->entries, group->n > 0 ? 2 * group->n : 1, sizeof(*entries));
                if (!entries)
                        return -ENOMEM;
                group->entries = entries;
        }
        group->entries[group->n++] = l;
        return 0;
}

static int set_levels(FleetSet *s, FleetDocument *const *documents, size_t n) {
        _cleanup_free_ Sorted *sorted = NULL;
        size_t total = 0, k = 0;
        int r;

        for (size_t i = 0; i < n; i++)
                total += documents[i]->n_levels;
        if (total == 0)
                return 0;
        sorted = calloc(total, sizeof(*sorted));
        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++)
                for (size_t l = 0; l < documents[i]->n_levels; l++, k++)
                        sorted[k] = (Sorted){&documents[i]->levels[l], k};
        qsort(sorted, total, sizeof(*sorted), compare_levels);
        for (size_t i = 0; i < total; i++) {
                r = add_level(s, sorted[i].level);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int set_blocked(FleetSet *s, const FleetDocument *d) {
        for (size_t i = 0; i < d->n_blocked; i++) {
                FleetStream *stream = get_stream(s, d->blocked[i].vendor, d->blocked[i].stream);
                const FleetBlock **bigger =
                                reallocarray(stream->blocked, stream->n_blocked + 1, sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                stream->blocked = bigger;
                stream->blocked[stream->n_blocked++] = &d->blocked[i];
        }
        return 0;
}

static int set_streams(FleetSet *s, FleetDocument *const *documents, size_t n) {
        size_t room = 0;
        int r = 0;

        for (size_t i = 0; r >= 0 && i < n; i++) {
                const FleetDocument *d = documents[i];

                for (size_t k = 0; r >= 0 && k < d->n_rules; k++)
                        r = add_stream(s, &room, d->rules[k].vendor, d->rules[k].stream);
                for (size_t k = 0; r >= 0 && k < d->n_levels; k++)
                        r = add_stream(s, &room, d->levels[k].vendor, d->levels[k].stream);
                for (size_t k = 0; r >= 0 && k < d->n_blocked; k++)
                        r = add_stream(s, &room, d->blocked[k].vendor, d->blocked[k].stream);
        }
        return r;
}

int fleet_set_new(FleetDocument *const *documents, size_t n, FleetSet **ret) {
        _cleanup_fleet_set_free_ FleetSet *s = NULL;
        size_t total = 0;
        int r;

        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->n_documents = n;
        for (size_t i = 0; i < n; i++)
                total += documents[i]->n_rules;
        s->rules = calloc(total + 1, sizeof(*s->rules));
        if (!s->rules)
                return -ENOMEM;
        r = set_streams(s, documents, n);
        if (r >= 0)
                r = set_levels(s, documents, n);
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = set_blocked(s, documents[i]);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < documents[i]->n_rules; k++) {
                        const FleetRule *rule = &documents[i]->rules[k];

                        s->rules[s->n_rules++] =
                                        (FleetSetRule){rule, get_stream(s, rule->vendor, rule->stream)};
                }
        *ret = TAKE_PTR(s);
        return 0;
}

FleetSet *fleet_set_free(FleetSet *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_streams; i++) {
                for (size_t k = 0; k < s->streams[i].n_levels; k++)
                        free(s->streams[i].levels[k].entries);
                free(s->streams[i].levels);
                free(s->streams[i].blocked);
        }
        free(s->streams);
        free(s->rules);
        free(s->conflicts);
        free(s);
        return NULL;
}

bool fleet_set_is_empty(const FleetSet *s) {
        return s->n_documents == 0;
}

const FleetSetRule *fleet_set_match(const FleetSet *s, const FleetHost *host) {
        for (size_t i = 0; i < s->n_rules; i++)
                if (fleet_match(&s->rules[i].rule->match, host))
                        return &s->rules[i];
        return NULL;
}

size_t fleet_set_n_rules(const FleetSet *s) {
        return s->n_rules;
}

const FleetRule *fleet_set_rule(const FleetSet *s, size_t i) {
        return i < s->n_rules ? s->rules[i].rule : NULL;
}

/* Rules of one document lie in a row. */
size_t fleet_set_rule_index(const FleetSet *s, const FleetRule *rule) {
        size_t i = 0;

        while (i < s->n_rules) {
                const FleetDocument *d = s->rules[i].rule->document;

                if (d == rule->document)
                        return i + (size_t) (rule - d->rules);
                i += d->n_rules;
        }
        return SIZE_MAX;
}

bool fleet_set_conflict(const FleetSet *s, size_t i, const FleetLevel **ret_taken,
                        const FleetLevel **ret_ignored) {
        if (i >= s->n_conflicts)
                return false;
        *ret_taken = s->conflicts[i].taken;
        *ret_ignored = s->conflicts[i].ignored;
        return true;
}

int fleet_serial_check(uint64_t last, uint64_t serial, PolicyError *error) {
        if (serial < last)
                return policy_error_set(error, -ESTALE,
                                        "serial %" PRIu64 " is older than %" PRIu64
                                        ", which was in force already",
                                        serial, last);
        return 0;
}
