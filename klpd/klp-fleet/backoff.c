/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See backoff.h. */
#include <sys/random.h>

#include "klpd/klp-fleet/backoff.h"

uint64_t random_number(void) {
        uint64_t n;

        /* Without one (early at boot) all hosts wait equally long, and no longer. */
        return getrandom(&n, sizeof(n), GRND_NONBLOCK) == sizeof(n) ? n : 0;
}

uint64_t backoff_next_random(Backoff *b) {
        return backoff_next(b, random_number());
}
