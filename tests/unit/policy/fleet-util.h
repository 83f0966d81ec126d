/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the tests of fleet files share: documents and hosts from short texts, with windows expanded by hand.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/fleet.h"

static inline uint64_t fleet_time(const char *s) {
        uint64_t t = 0;

        if (fleet_parse_timestamp(s, &t) < 0)
                fail_msg("not a time: %s", s);
        return t;
}

/* "2026-11-21T11:00:00Z/2026-11-21T13:00:00Z,…": the intervals of every window of the document. */
static inline void fleet_set_windows(FleetDocument *d, const char *text) {
        FleetInterval intervals[8];
        size_t n = 0;

        while (text && *text) {
                char begin[21] = {}, end[21] = {};

                memcpy(begin, text, 20);
                memcpy(end, text + 21, 20);
                intervals[n++] = (FleetInterval){ fleet_time(begin), fleet_time(end) };
                text += 41 + (text[41] == ',');
        }
        for (size_t i = 0; i < d->n_rules; i++)
                for (size_t k = 0; k < d->rules[i].n_windows; k++)
                        assert_int_equal(fleet_window_set_intervals(&d->rules[i].windows[k], intervals, n),
                                         0);
}

static inline FleetDocument *fleet_read(const char *text) {
        FleetDocument *d = NULL;
        PolicyError error = {};
        char message[640];

        if (fleet_document_parse(text, strlen(text), &d, &error) < 0)
                fail_msg("%s: %s", policy_error_format(&error, NULL, message, sizeof(message)), text);
        return d;
}

static inline FleetSet *fleet_join(FleetDocument *const *documents, size_t n) {
        FleetSet *s = NULL;

        assert_int_equal(fleet_set_new(documents, n, &s), 0);
        return s;
}
