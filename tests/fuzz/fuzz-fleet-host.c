/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Lines of inventories, read by the fast reader: all that it accepts the strict scanner accepts, too, and
 * what is in a host lies within the line or the reader's buffer. The same bytes as a time span, a point in
 * time, a calendar tool's output and a glob.
 */
#include "policy/fleet.h"
#include "policy/json-scan.h"
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

static unsigned sum;

/* Every byte is there (ASan sees if not). */
static void touch(FleetSlice s) {
        for (size_t i = 0; i < s.n; i++)
                sum += (unsigned char) s.s[i];
}

static void check_host(const FleetHost *h) {
        touch(h->hostname);
        touch(h->machine_id);
        touch(h->kernel);
        touch(h->os);
        touch(h->hold_reason);
        touch(h->override_stream);
        for (size_t i = 0; i < h->n_labels; i++) {
                touch(h->labels[i].key);
                touch(h->labels[i].value);
        }
        for (size_t i = 0; i < h->n_running; i++) {
                touch(h->running[i].name);
                touch(h->running[i].vendor);
                touch(h->running[i].stream);
                touch(h->running[i].digest);
                touch(h->running[i].build_id);
                must(h->running[i].first_fix + h->running[i].n_fixes <= h->n_fixes);
        }
        for (size_t i = 0; i < h->n_fixes; i++)
                touch(h->fixes[i]);
        for (size_t i = 0; i < h->n_quarantine; i++)
                touch(h->quarantine[i]);
        for (size_t i = 0; i < h->n_failed; i++) {
                touch(h->failed[i].document);
                touch(h->failed[i].content);
        }
        must(h->hostname.n > 0 && h->kernel.n > 0);
}

static void check_line(FleetHostParser *p, const char *text, size_t size) {
        PolicyError error = {};
        const FleetHost *host;

        if (fleet_host_parser_line(p, text, size, &host, &error) < 0) {
                must(error.message[0]);
                return;
        }
        must(json_scan(text, size, JSON_DEPTH_MAX, &error) == 0);
        check_host(host);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(fleet_host_parser_freep) FleetHostParser *p = NULL;
        _cleanup_free_ char *text = malloc(size + 1);
        uint64_t t, back, begins[8];
        char buf[40];
        size_t n;

        must(text && fleet_host_parser_new(&p) == 0);
        memcpy(text, data, size);
        text[size] = 0;
        check_line(p, (const char *) data, size); /* without the NUL: its end is the buffer's */
        check_line(p, (const char *) data, size);

        if (fleet_parse_span(text, &t) >= 0)
                must(t <= FLEET_TIME_MAX);
        if (fleet_parse_timestamp(text, &t) >= 0) {
                must(fleet_parse_timestamp(fleet_format_timestamp(t, buf, sizeof(buf)), &back) == 0);
                must(back == t && streq(buf, text));
        }
        if (fleet_calendar_parse((const char *) data, size, begins, 8, &n) >= 0)
                for (size_t i = 1; i < n; i++)
                        must(begins[i - 1] < begins[i]);
        if (size > 0 && size < 512) {
                size_t half = data[0] % size;

                (void) fleet_glob_match((FleetSlice){text, half}, (FleetSlice){text + half, size - half},
                                        true);
                must(fleet_glob_match(FLEET_SLICE("*"), (FleetSlice){text, size}, false));
        }
        return 0;
}
