/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A fleet document, from bytes to structs (klpd-fleet.json(5)). Strict: what isn't known, is there twice, is
 * of the wrong type or out of range is refused with line and key, because a rule that means something else
 * than its author thinks is worse than none. A new key belongs into a table here, into
 * schemas/klpd-fleet.schema.json and into klpd-fleet.json(5).
 *
 * All memory is the document's arena, except intervals. The length of a list is known before its elements
 * are read, so nothing grows.
 */
#include "policy/fleet-reader.h"

static Arena *arena_of(JsonReader *r) {
        return ((FleetReader *) r)->document->arena;
}

/* Zeroed room for n elements. */
int fleet_new_list(JsonReader *r, size_t n, size_t size, void *ret_list) {
        void *p = arena_alloc(arena_of(r), n, size);

        if (!p)
                return -ENOMEM;
        memset(p, 0, n * size);
        *(void **) ret_list = p;
        return 0;
}

/* An array with at least one element, and room for as many. */
int fleet_begin_list(JsonReader *r, const JsonValue *value, size_t size, void *ret_list) {
        size_t n;

        if (!json_is(value, JSON_ARRAY))
                return json_reader_fail(r, -EBADMSG, "an array is needed here");
        n = value->size;
        if (n == 0)
                return json_reader_fail(r, -EBADMSG, "an empty list says nothing: leave the key out");
        if (n > FLEET_LIST_MAX)
                return json_reader_fail(r, -EBADMSG, "%zu elements, and at most %u are allowed", n,
                                        FLEET_LIST_MAX);
        return fleet_new_list(r, n, size, ret_list);
}

/* Readers of "stream" get the first of the two and write both. */
#define STREAM_IS_BEHIND_VENDOR(type)                                                                       \
        _Static_assert(offsetof(type, stream) == offsetof(type, vendor) + sizeof(char *), #type)
STREAM_IS_BEHIND_VENDOR(FleetRule);
STREAM_IS_BEHIND_VENDOR(FleetLevel);
STREAM_IS_BEHIND_VENDOR(FleetBlock);

/* --- scalars --- */

int fleet_copy_text(JsonReader *r, const char *s, const char **target) {
        *target = arena_strdup(arena_of(r), s);
        return *target ? 0 : -ENOMEM;
}

/* 1 to max bytes without control characters. */
int fleet_read_bounded(JsonReader *r, const JsonValue *value, size_t max, const char **ret) {
        size_t n;
        int q;

        q = json_read_string_value(r, value, ret);
        if (q < 0)
                return q;
        n = strlen(*ret);
        if (n == 0 || n > max)
                return json_reader_fail(r, -EBADMSG, "a text of 1 to %zu bytes is needed here", max);
        for (const char *s = *ret; *s; s++)
                if ((unsigned char) *s < 0x20 || *s == 0x7f)
                        return json_reader_fail(r, -EBADMSG, "control character in a text");
        return 0;
}

int fleet_read_text(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q = fleet_read_bounded(r, value, FLEET_PATTERN_MAX, &s);

        return q < 0 ? q : fleet_copy_text(r, s, target);
}

int fleet_read_name(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (!patch_name_is_valid(s))
                return json_reader_fail(r, -EBADMSG, "not a name (1 to %u of A-Z a-z 0-9 _ . + -)",
                                        PATCH_NAME_MAX);
        return fleet_copy_text(r, s, target);
}

typedef struct StreamFields {
        const char *vendor, *stream;
} StreamFields;

int fleet_read_stream(JsonReader *r, const JsonValue *value, void *target) {
        _cleanup_free_ char *vendor = NULL, *stream = NULL;
        StreamFields *f = target;
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        q = patch_parse_stream(s, &vendor, &stream);
        if (q == -EINVAL)
                return json_reader_fail(r, -EBADMSG, "VENDOR/STREAM is needed here");
        if (q < 0)
                return q;
        q = fleet_copy_text(r, vendor, &f->vendor);
        return q < 0 ? q : fleet_copy_text(r, stream, &f->stream);
}

int fleet_read_time(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (fleet_parse_timestamp(s, target) < 0)
                return json_reader_fail(r, -EBADMSG,
                                        "a time in UTC like \"2026-11-21T06:00:00Z\" is needed here");
        return 0;
}

int fleet_read_level_number(JsonReader *r, const JsonValue *value, void *target) {
        uint64_t v;
        int q = json_read_u64_value(r, value, UINT32_MAX, &v);

        if (q < 0)
                return q;
        if (v == 0)
                return json_reader_fail(r, -EBADMSG, "level 0 is in no order: levels start at 1");
        *(uint32_t *) target = (uint32_t) v;
        return 0;
}

/* --- levels --- */

static int read_digest(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q < 0)
                return q;
        if (strlen(s) != 64 || strspn(s, "0123456789abcdef") != 64)
                return json_reader_fail(r, -EBADMSG,
                                        "a SHA-256 as 64 lower-case hexadecimal digits is needed here");
        return fleet_copy_text(r, s, target);
}

static int read_kernel(JsonReader *r, const JsonValue *value, void *target) {
        const char *s = NULL;
        int q = fleet_read_text(r, value, &s);

        if (q >= 0)
                *(FleetSlice *) target = FLEET_SLICE(s);
        return q;
}

static int read_fix(JsonReader *r, const JsonValue *value, void *target) {
        FleetLevel *l = target;

        return fleet_read_text(r, value, &l->fixes[l->n_fixes++]);
}

static int read_fixes(JsonReader *r, const JsonValue *value, void *target) {
        FleetLevel *l = target;
        int q = fleet_begin_list(r, value, sizeof(char *), &l->fixes);

        return q < 0 ? q : json_read_array(r, value, PATCH_LIST_MAX, read_fix, l);
}

static int read_level(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"stream", fleet_read_stream, offsetof(FleetLevel, vendor), false},
                        {"kernel", read_kernel, offsetof(FleetLevel, kernel), true},
                        {"level", fleet_read_level_number, offsetof(FleetLevel, level), true},
                        {"patch", fleet_read_name, offsetof(FleetLevel, patch), false},
                        {"digest", read_digest, offsetof(FleetLevel, digest), false},
                        {"fixes", read_fixes, 0, false},
                        {"description", json_read_ignored_text, 0, false},
        };
        FleetDocument *d = target;
        FleetLevel *l = &d->levels[d->n_levels++];

        l->document = d;
        l->vendor = PATCH_VENDOR_DEFAULT;
        l->stream = PATCH_STREAM_DEFAULT;
        return json_read_object(r, value, fields, ELEMENTSOF(fields), l);
}

static int compare_levels(const void *a, const void *b) {
        const FleetLevel *x = *(const FleetLevel *const *) a, *y = *(const FleetLevel *const *) b;
        int q = x->level < y->level ? -1 : x->level > y->level;

        if (q == 0)
                q = strcmp(x->vendor, y->vendor);
        if (q == 0)
                q = strcmp(x->stream, y->stream);
        return q != 0 ? q : strcmp(x->kernel.s, y->kernel.s);
}

static int check_levels(JsonReader *r, const FleetDocument *d) {
        _cleanup_free_ const FleetLevel **sorted = calloc(d->n_levels, sizeof(*sorted));

        if (!sorted)
                return -ENOMEM;
        for (size_t i = 0; i < d->n_levels; i++)
                sorted[i] = &d->levels[i];
        qsort(sorted, d->n_levels, sizeof(*sorted), compare_levels);
        for (size_t i = 1; i < d->n_levels; i++)
                if (compare_levels(&sorted[i - 1], &sorted[i]) == 0)
                        return json_reader_fail(r, -EBADMSG,
                                                "level %" PRIu32 " of %s/%s for kernel %s is there twice",
                                                sorted[i]->level, sorted[i]->vendor, sorted[i]->stream,
                                                sorted[i]->kernel.s);
        return 0;
}

static int read_levels(JsonReader *r, const JsonValue *value, void *target) {
        FleetDocument *d = target;
        int q;

        q = fleet_begin_list(r, value, sizeof(FleetLevel), &d->levels);
        if (q >= 0)
                q = json_read_array(r, value, FLEET_LIST_MAX, read_level, d);
        return q < 0 ? q : check_levels(r, d);
}

static int read_block(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                        {"stream", fleet_read_stream, offsetof(FleetBlock, vendor), false},
                        {"kernel", read_kernel, offsetof(FleetBlock, kernel), false},
                        {"level", fleet_read_level_number, offsetof(FleetBlock, level), true},
                        {"reason", fleet_read_text, offsetof(FleetBlock, reason), false},
        };
        FleetDocument *d = target;
        FleetBlock *b = &d->blocked[d->n_blocked++];

        b->document = d;
        b->vendor = PATCH_VENDOR_DEFAULT;
        b->stream = PATCH_STREAM_DEFAULT;
        return json_read_object(r, value, fields, ELEMENTSOF(fields), b);
}

static int read_blocks(JsonReader *r, const JsonValue *value, void *target) {
        FleetDocument *d = target;
        int q = fleet_begin_list(r, value, sizeof(FleetBlock), &d->blocked);

        return q < 0 ? q : json_read_array(r, value, FLEET_LIST_MAX, read_block, d);
}

/* --- the document --- */

static int read_document(JsonReader *r, FleetDocument *d) {
        static const JsonField fields[] = {
                        {"$schema", json_read_ignored_text, 0, false},
                        {"description", json_read_ignored_text, 0, false},
                        {"name", fleet_read_name, offsetof(FleetDocument, name), false},
                        {"serial", json_read_u64, offsetof(FleetDocument, serial), false},
                        {"not_after", fleet_read_time, offsetof(FleetDocument, not_after), false},
                        {"levels", read_levels, 0, false},
                        {"blocked", read_blocks, 0, false},
                        {"rules", fleet_read_rules, 0, false},
        };

        return json_read_object(r, r->root, fields, ELEMENTSOF(fields), d);
}

int fleet_document_parse(const char *text, size_t size, FleetDocument **ret, PolicyError *error) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        FleetReader r = {};
        int q;

        d = calloc(1, sizeof(*d));
        if (!d)
                return -ENOMEM;
        q = arena_new(&d->arena);
        if (q < 0)
                return q;
        r.document = d;
        q = json_reader_begin(&r.json, text, size, error);
        if (q >= 0)
                q = read_document(&r.json, d);
        json_reader_done(&r.json);
        if (q < 0)
                return q == -ENOMEM ? policy_error_set(error, q, "out of memory") : q;
        *ret = TAKE_PTR(d);
        return 0;
}

FleetDocument *fleet_document_free(FleetDocument *d) {
        if (!d)
                return NULL;
        for (size_t i = 0; i < d->n_rules; i++)
                for (size_t k = 0; k < d->rules[i].n_windows; k++)
                        free(d->rules[i].windows[k].intervals);
        arena_free(d->arena);
        free(d->source);
        free(d->digest);
        free(d);
        return NULL;
}

static int compare_intervals(const void *a, const void *b) {
        const FleetInterval *x = a, *y = b;

        return x->begin < y->begin ? -1 : x->begin > y->begin;
}

int fleet_window_set_intervals(FleetWindow *w, const FleetInterval *intervals, size_t n) {
        _cleanup_free_ FleetInterval *copy = calloc(n + 1, sizeof(*copy));
        size_t k = 0;

        if (!copy)
                return -ENOMEM;
        if (n > 0)
                memcpy(copy, intervals, n * sizeof(*copy));
        qsort(copy, n, sizeof(*copy), compare_intervals);
        for (size_t i = 0; i < n; i++) {
                if (copy[i].begin >= copy[i].end)
                        continue;
                if (k > 0 && copy[i].begin <= copy[k - 1].end) {
                        if (copy[i].end > copy[k - 1].end)
                                copy[k - 1].end = copy[i].end;
                } else
                        copy[k++] = copy[i];
        }
        free(w->intervals);
        w->intervals = TAKE_PTR(copy);
        w->n_intervals = k;
        return 0;
}
