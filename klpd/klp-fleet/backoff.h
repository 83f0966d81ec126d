/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How long to wait before the next try: doubles from base to max, and half of it is random, so that a thousand
 * hosts that lost the same server don't come back in the same moment.
 */
#pragma once

#include "policy/util.h"

typedef struct Backoff {
        uint64_t base, max; /* microseconds, 0 < base <= max */
        unsigned n;         /* failures in a row */
} Backoff;

static inline uint64_t backoff_next(Backoff *b, uint64_t random) {
        uint64_t span = b->base;

        for (unsigned i = 0; i < b->n && span < b->max; i++)
                span = span > b->max / 2 ? b->max : span * 2;
        if (b->n < UINT32_MAX)
                b->n++;
        return span / 2 + random % (span - span / 2 + 1);
}

/* With the kernel's random number. */
uint64_t random_number(void);
uint64_t backoff_next_random(Backoff *b);

static inline void backoff_reset(Backoff *b) {
        b->n = 0;
}
