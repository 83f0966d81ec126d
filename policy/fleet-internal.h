/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What policy/fleet*.c share: how a set of documents is indexed. */
#pragma once

#include "policy/fleet.h"

#define FLEET_STREAMS_MAX 1024U

/* Levels for the kernels of one pattern, highest first. */
typedef struct FleetLevels {
        FleetSlice kernel;
        const FleetLevel **entries;
        size_t n;
} FleetLevels;

typedef struct FleetStream {
        const char *vendor, *stream;
        size_t vendor_size, stream_size;
        FleetLevels *levels;
        size_t n_levels;
        const FleetBlock **blocked;
        size_t n_blocked;
} FleetStream;

typedef struct FleetSetRule {
        const FleetRule *rule;
        const FleetStream *stream;
} FleetSetRule;

bool fleet_set_is_empty(const FleetSet *s);
/* The first rule that matches, or NULL. */
const FleetSetRule *fleet_set_match(const FleetSet *s, const FleetHost *host);

static inline bool fleet_slice_is(FleetSlice s, const char *text, size_t n) {
        return s.s && s.n == n && memcmp(s.s, text, n) == 0;
}

static inline bool fleet_slice_equal(FleetSlice a, FleetSlice b) {
        return a.s && b.s && a.n == b.n && memcmp(a.s, b.s, a.n) == 0;
}
