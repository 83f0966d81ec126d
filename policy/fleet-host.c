/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One host of an inventory of hosts: facts, what runs, and what its operator has said (klpd-fleet.json(5),
 * "Inventories"). The part under "inventory" is the document of `klpctl plan --inventory`; of it only what
 * the decision needs is read, the rest is checked as JSON.
 *
 * Built for a million lines: slices instead of copies, and lists that keep their room for the next line.
 */
#include "policy/fleet-internal.h"
#include "policy/fleet-json.h"
#include "policy/model.h"

struct FleetHostParser {
        FleetJson json;
        FleetHost host;
        size_t room_labels, room_running, room_fixes, room_available, room_quarantine, room_held,
                        room_failed;
};

int fleet_host_parser_new(FleetHostParser **ret) {
        FleetHostParser *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        *ret = p;
        return 0;
}

FleetHostParser *fleet_host_parser_free(FleetHostParser *p) {
        if (!p)
                return NULL;
        fleet_json_done(&p->json);
        free(p->host.labels);
        free(p->host.running);
        free(p->host.fixes);
        free(p->host.available);
        free(p->host.quarantine);
        free(p->host.held_streams);
        free(p->host.failed);
        free(p);
        return NULL;
}

/* Room for one more at the end of a list. */
static int grow(void *list, size_t n, size_t *room, size_t size) {
        void *bigger;

        if (n < *room)
                return 0;
        bigger = reallocarray(*(void **) list, *room > 0 ? 2 * *room : 16, size);
        if (!bigger)
                return -ENOMEM;
        *(void **) list = bigger;
        *room = *room > 0 ? 2 * *room : 16;
        return 0;
}

/* --- values --- */

static int read_text(FleetJson *j, size_t max, FleetSlice *ret) {
        const char *begin = j->p;
        FleetSlice s;
        int r;

        r = fleet_json_string(j, &s);
        if (r < 0)
                return r;
        if (s.n == 0 || s.n > max) {
                j->p = begin;
                return fleet_json_fail(j, "the text is empty or too long");
        }
        if (s.s < j->start || s.s >= j->end) /* had escapes, so there may be control characters */
                for (size_t i = 0; i < s.n; i++)
                        if ((unsigned char) s.s[i] < 0x20)
                                return fleet_json_fail(j, "control character in a text");
        *ret = s;
        return 0;
}

/* A member that may be null. */
#define TEXT_MEMBER(name, type, field)                                                                      \
        static int name(FleetJson *j, void *target) {                                                       \
                type *t = target;                                                                           \
                                                                                                            \
                return fleet_json_null(j) ? 0 : read_text(j, PATCH_STRING_MAX, &t->field);                  \
        }                                                                                                   \
        struct name##_needs_semicolon

/* Properties of bytes, so that a million names are looked at without a branch for each letter. */
enum {
        BYTE_HEX = 1 << 4, /* a lower-case digit; the lower four bits are its value */
        BYTE_HOST = 1 << 5,
};

static const uint8_t bytes[256] = {
                ['0'] = BYTE_HOST | BYTE_HEX | 0,
                ['1'] = BYTE_HOST | BYTE_HEX | 1,
                ['2'] = BYTE_HOST | BYTE_HEX | 2,
                ['3'] = BYTE_HOST | BYTE_HEX | 3,
                ['4'] = BYTE_HOST | BYTE_HEX | 4,
                ['5'] = BYTE_HOST | BYTE_HEX | 5,
                ['6'] = BYTE_HOST | BYTE_HEX | 6,
                ['7'] = BYTE_HOST | BYTE_HEX | 7,
                ['8'] = BYTE_HOST | BYTE_HEX | 8,
                ['9'] = BYTE_HOST | BYTE_HEX | 9,
                ['a'] = BYTE_HOST | BYTE_HEX | 10,
                ['b'] = BYTE_HOST | BYTE_HEX | 11,
                ['c'] = BYTE_HOST | BYTE_HEX | 12,
                ['d'] = BYTE_HOST | BYTE_HEX | 13,
                ['e'] = BYTE_HOST | BYTE_HEX | 14,
                ['f'] = BYTE_HOST | BYTE_HEX | 15,
                ['g' ... 'z'] = BYTE_HOST,
                ['A' ... 'Z'] = BYTE_HOST,
                ['.'] = BYTE_HOST,
                ['-'] = BYTE_HOST,
                ['_'] = BYTE_HOST,
};

static bool all_bytes(FleetSlice s, uint8_t property) {
        uint8_t all = property;

        for (size_t i = 0; i < s.n; i++)
                all &= bytes[(unsigned char) s.s[i]];
        return all;
}

static bool is_hex(FleetSlice s, size_t n) {
        return s.n == n && all_bytes(s, BYTE_HEX);
}

/* What is printed for each host: names as DNS has them. */
static int read_hostname(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetSlice s;
        int r;

        r = read_text(j, 253, &s);
        if (r < 0)
                return r;
        if (!all_bytes(s, BYTE_HOST))
                return fleet_json_fail(j, "not the name of a host");
        p->host.hostname = s;
        return 0;
}

static int read_machine_id(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        int r;

        if (fleet_json_null(j))
                return 0;
        r = read_text(j, 64, &p->host.machine_id);
        if (r >= 0 && !is_hex(p->host.machine_id, 32))
                r = fleet_json_fail(j, "32 lower-case hexadecimal digits are needed here");
        return r;
}

static uint8_t hex_digit(char c) {
        return bytes[(unsigned char) c] & 0xf;
}

static int read_host_id(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetSlice s;
        int r;

        if (fleet_json_null(j))
                return 0;
        r = read_text(j, 64, &s);
        if (r < 0)
                return r;
        if (!is_hex(s, 32))
                return fleet_json_fail(j, "32 lower-case hexadecimal digits are needed here");
        for (unsigned i = 0; i < 16; i++)
                p->host.host_id[i] = (uint8_t) (hex_digit(s.s[2 * i]) << 4 | hex_digit(s.s[2 * i + 1]));
        p->host.has_host_id = true;
        return 0;
}

static int read_time(FleetJson *j, uint64_t *ret) {
        char buf[24];
        FleetSlice s;
        int r;

        if (fleet_json_null(j))
                return 0;
        r = read_text(j, 20, &s);
        if (r < 0)
                return r;
        memcpy(buf, s.s, s.n);
        buf[s.n] = 0;
        if (fleet_parse_timestamp(buf, ret) < 0)
                return fleet_json_fail(j, "a time in UTC like \"2026-11-21T06:00:00Z\" is needed here");
        return 0;
}

static int read_goal_since(FleetJson *j, void *target) {
        FleetHostParser *p = target;

        return read_time(j, &p->host.goal_since);
}

static int split_stream(FleetJson *j, FleetSlice s, FleetSlice *ret_vendor, FleetSlice *ret_stream) {
        const char *slash = memchr(s.s, '/', s.n);

        if (!slash || slash == s.s || slash == s.s + s.n - 1)
                return fleet_json_fail(j, "VENDOR/STREAM is needed here");
        *ret_vendor = (FleetSlice){s.s, (size_t) (slash - s.s)};
        *ret_stream = (FleetSlice){slash + 1, s.n - (size_t) (slash - s.s) - 1};
        return 0;
}

TEXT_MEMBER(read_os, FleetHostParser, host.os);

static int read_label(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        FleetLabel l = {.key = j->keys[j->depth - 1]};
        int r;

        r = read_text(j, FLEET_PATTERN_MAX, &l.value);
        if (r >= 0)
                r = grow(&h->labels, h->n_labels, &p->room_labels, sizeof(l));
        if (r < 0)
                return r;
        h->labels[h->n_labels++] = l;
        return 0;
}

static int read_labels(FleetJson *j, void *target) {
        return fleet_json_null(j) ? 0 : fleet_json_map(j, read_label, target);
}

static int read_mode(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetSlice s;
        int r;

        r = read_text(j, 8, &s);
        if (r < 0)
                return r;
        if (!fleet_slice_is(s, "on", 2) && !fleet_slice_is(s, "off", 3))
                return fleet_json_fail(j, "\"on\" or \"off\" is needed here");
        p->host.mode_off = s.n == 3;
        return 0;
}

static int read_hold(FleetJson *j, void *target) {
        FleetHostParser *p = target;

        if (fleet_json_null(j))
                return 0;
        p->host.held = true;
        return read_text(j, PATCH_STRING_MAX, &p->host.hold_reason);
}

static int read_held_stream(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        FleetSlice s, a, b;
        int r;

        r = read_text(j, 2 * PATCH_NAME_MAX + 1, &s);
        if (r >= 0)
                r = split_stream(j, s, &a, &b);
        if (r >= 0)
                r = grow(&h->held_streams, h->n_held_streams, &p->room_held, sizeof(s));
        if (r < 0)
                return r;
        h->held_streams[h->n_held_streams++] = s;
        return 0;
}

static int read_held_streams(FleetJson *j, void *target) {
        return fleet_json_array(j, PATCH_LIST_MAX, read_held_stream, target);
}

/* true: whatever the stream; or "VENDOR/STREAM" */
static int read_override(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetSlice a, b;
        int r;

        if (fleet_json_null(j))
                return 0;
        if (j->p < j->end && *j->p != '"')
                return fleet_json_bool(j, &p->host.overridden);
        p->host.overridden = true;
        r = read_text(j, 2 * PATCH_NAME_MAX + 1, &p->host.override_stream);
        return r < 0 ? r : split_stream(j, p->host.override_stream, &a, &b);
}

static int read_content(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        int r = grow(&h->quarantine, h->n_quarantine, &p->room_quarantine, sizeof(FleetSlice));

        return r < 0 ? r : read_text(j, 128, &h->quarantine[h->n_quarantine++]);
}

static int read_quarantine(FleetJson *j, void *target) {
        return fleet_json_array(j, PATCH_LIST_MAX, read_content, target);
}

TEXT_MEMBER(read_failed_document, FleetFailure, document);
TEXT_MEMBER(read_failed_content, FleetFailure, content);

static int read_failure(FleetJson *j, void *target) {
        static const FleetJsonMember members[] = {
                        FLEET_JSON_MEMBER("document", read_failed_document, true),
                        FLEET_JSON_MEMBER("content", read_failed_content, true),
        };
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        int r = grow(&h->failed, h->n_failed, &p->room_failed, sizeof(FleetFailure));

        if (r < 0)
                return r;
        h->failed[h->n_failed] = (FleetFailure){};
        return fleet_json_object(j, members, ELEMENTSOF(members), &h->failed[h->n_failed++]);
}

static int read_failed(FleetJson *j, void *target) {
        return fleet_json_array(j, PATCH_LIST_MAX, read_failure, target);
}

static int read_synchronized(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        bool b = true;
        int r = fleet_json_bool(j, &b);

        p->host.clock_unsynchronized = !b;
        return r;
}

static int read_last_trusted(FleetJson *j, void *target) {
        FleetHostParser *p = target;

        return read_time(j, &p->host.last_trusted);
}

static int read_clock(FleetJson *j, void *target) {
        static const FleetJsonMember members[] = {
                        FLEET_JSON_MEMBER("synchronized", read_synchronized, false),
                        FLEET_JSON_MEMBER("last_trusted", read_last_trusted, false),
        };

        return fleet_json_object(j, members, ELEMENTSOF(members), target);
}

/* --- what it has --- */

static int read_available_stream(FleetJson *j, void *target) {
        FleetAvailable *a = target;
        FleetSlice s;
        int r = read_text(j, 2 * PATCH_NAME_MAX + 1, &s);

        return r < 0 ? r : split_stream(j, s, &a->vendor, &a->stream);
}

static int read_available_level(FleetJson *j, void *target) {
        return fleet_json_u32(j, &((FleetAvailable *) target)->level);
}

TEXT_MEMBER(read_available_digest, FleetAvailable, digest);

static int read_available_patch(FleetJson *j, void *target) {
        static const FleetJsonMember members[] = {
                        FLEET_JSON_MEMBER("stream", read_available_stream, false),
                        FLEET_JSON_MEMBER("level", read_available_level, true),
                        FLEET_JSON_MEMBER("digest", read_available_digest, false),
        };
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        int r = grow(&h->available, h->n_available, &p->room_available, sizeof(FleetAvailable));

        if (r < 0)
                return r;
        h->available[h->n_available] = (FleetAvailable){
                        .vendor = FLEET_SLICE(PATCH_VENDOR_DEFAULT),
                        .stream = FLEET_SLICE(PATCH_STREAM_DEFAULT),
        };
        return fleet_json_object(j, members, ELEMENTSOF(members), &h->available[h->n_available++]);
}

static int read_available(FleetJson *j, void *target) {
        ((FleetHostParser *) target)->host.knows_available = true;
        return fleet_json_array(j, 65536, read_available_patch, target);
}

/* --- what it runs --- */

typedef struct PatchFields {
        FleetHostParser *parser;
        FleetRunning running;
        bool orphan, foreign;
} PatchFields;

TEXT_MEMBER(read_patch_name, PatchFields, running.name);
TEXT_MEMBER(read_patch_vendor, PatchFields, running.vendor);
TEXT_MEMBER(read_patch_stream, PatchFields, running.stream);
TEXT_MEMBER(read_patch_digest, PatchFields, running.digest);
TEXT_MEMBER(read_patch_build_id, PatchFields, running.build_id);

static int read_patch_level(FleetJson *j, void *target) {
        return fleet_json_u32(j, &((PatchFields *) target)->running.level);
}

static int read_patch_orphan(FleetJson *j, void *target) {
        return fleet_json_bool(j, &((PatchFields *) target)->orphan);
}

static int read_patch_kind(FleetJson *j, void *target) {
        FleetSlice s;
        int r = read_text(j, 16, &s);

        if (r >= 0)
                ((PatchFields *) target)->foreign = fleet_slice_is(s, "foreign", 7);
        return r;
}

static int read_fix(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        int r = grow(&h->fixes, h->n_fixes, &p->room_fixes, sizeof(FleetSlice));

        return r < 0 ? r : read_text(j, PATCH_STRING_MAX, &h->fixes[h->n_fixes++]);
}

static int read_patch_fixes(FleetJson *j, void *target) {
        PatchFields *f = target;
        int r = fleet_json_array(j, PATCH_LIST_MAX, read_fix, f->parser);

        f->running.n_fixes = f->parser->host.n_fixes - f->running.first_fix;
        return r;
}

/* In the order in which klpd writes them; the keys are those of json-model.c. */
static const FleetJsonMember patch_members[] = {
                FLEET_JSON_MEMBER("name", read_patch_name, true),
                FLEET_JSON_MEMBER("kernel", NULL, false),
                FLEET_JSON_MEMBER("vendor", read_patch_vendor, false),
                FLEET_JSON_MEMBER("stream", read_patch_stream, false),
                FLEET_JSON_MEMBER("level", read_patch_level, false),
                FLEET_JSON_MEMBER("cumulative", NULL, false),
                FLEET_JSON_MEMBER("kind", read_patch_kind, false),
                FLEET_JSON_MEMBER("states", NULL, false),
                FLEET_JSON_MEMBER("functions", NULL, false),
                FLEET_JSON_MEMBER("fixes", read_patch_fixes, false),
                FLEET_JSON_MEMBER("requires", NULL, false),
                FLEET_JSON_MEMBER("conflicts", NULL, false),
                FLEET_JSON_MEMBER("tags", NULL, false),
                FLEET_JSON_MEMBER("summary", NULL, false),
                FLEET_JSON_MEMBER("severity", NULL, false),
                FLEET_JSON_MEMBER("build_id", read_patch_build_id, false),
                FLEET_JSON_MEMBER("srcversion", NULL, false),
                FLEET_JSON_MEMBER("digest", read_patch_digest, false),
                FLEET_JSON_MEMBER("kernel_build_id", NULL, false),
                FLEET_JSON_MEMBER("forced", NULL, false),
                FLEET_JSON_MEMBER("orphan", read_patch_orphan, false),
};

/* An orphan is not enabled, and a foreign patch is in no stream. */
static int read_patch(FleetJson *j, void *target) {
        FleetHostParser *p = target;
        FleetHost *h = &p->host;
        PatchFields f = {
                        .parser = p,
                        .running =
                                        {
                                                        .vendor = FLEET_SLICE(PATCH_VENDOR_DEFAULT),
                                                        .stream = FLEET_SLICE(PATCH_STREAM_DEFAULT),
                                                        .first_fix = h->n_fixes,
                                        },
        };
        int r;

        r = fleet_json_object(j, patch_members, ELEMENTSOF(patch_members), &f);
        if (r < 0)
                return r;
        if (f.orphan)
                h->n_fixes = f.running.first_fix;
        if (f.orphan || f.foreign)
                return 0;
        r = grow(&h->running, h->n_running, &p->room_running, sizeof(f.running));
        if (r >= 0)
                h->running[h->n_running++] = f.running;
        return r;
}

static int read_patches(FleetJson *j, void *target) {
        return fleet_json_array(j, INVENTORY_PATCHES_MAX, read_patch, target);
}

static int read_kernel(FleetJson *j, void *target) {
        return read_text(j, PATCH_STRING_MAX, &((FleetHostParser *) target)->host.kernel);
}

static int read_inventory(FleetJson *j, void *target) {
        static const FleetJsonMember members[] = {
                        FLEET_JSON_MEMBER("kernel", read_kernel, true),
                        FLEET_JSON_MEMBER("kernel_build_id", NULL, false),
                        FLEET_JSON_MEMBER("generation", NULL, false),
                        FLEET_JSON_MEMBER("transition", NULL, false),
                        FLEET_JSON_MEMBER("patches", read_patches, false),
                        FLEET_JSON_MEMBER("loaded", NULL, false),
        };

        return fleet_json_object(j, members, ELEMENTSOF(members), target);
}

/* --- the line --- */

static void begin_host(FleetHost *h) {
        *h = (FleetHost){
                        .labels = h->labels,
                        .running = h->running,
                        .fixes = h->fixes,
                        .available = h->available,
                        .quarantine = h->quarantine,
                        .held_streams = h->held_streams,
                        .failed = h->failed,
        };
}

int fleet_host_parser_line(FleetHostParser *p, const char *line, size_t size, const FleetHost **ret,
                           PolicyError *error) {
        static const FleetJsonMember members[] = {
                        FLEET_JSON_MEMBER("hostname", read_hostname, true),
                        FLEET_JSON_MEMBER("machine_id", read_machine_id, false),
                        FLEET_JSON_MEMBER("host_id", read_host_id, false),
                        FLEET_JSON_MEMBER("os", read_os, false),
                        FLEET_JSON_MEMBER("labels", read_labels, false),
                        FLEET_JSON_MEMBER("mode", read_mode, false),
                        FLEET_JSON_MEMBER("hold", read_hold, false),
                        FLEET_JSON_MEMBER("held_streams", read_held_streams, false),
                        FLEET_JSON_MEMBER("override", read_override, false),
                        FLEET_JSON_MEMBER("quarantine", read_quarantine, false),
                        FLEET_JSON_MEMBER("failed", read_failed, false),
                        FLEET_JSON_MEMBER("clock", read_clock, false),
                        FLEET_JSON_MEMBER("goal_since", read_goal_since, false),
                        FLEET_JSON_MEMBER("available", read_available, false),
                        FLEET_JSON_MEMBER("inventory", read_inventory, true),
        };
        int r;

        begin_host(&p->host);
        fleet_json_begin(&p->json, line, size, error);
        r = fleet_json_object(&p->json, members, ELEMENTSOF(members), p);
        if (r >= 0)
                r = fleet_json_end(&p->json);
        if (r < 0)
                return r == -ENOMEM ? policy_error_set(error, r, "out of memory") : r;
        *ret = &p->host;
        return 0;
}
