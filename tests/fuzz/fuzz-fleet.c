/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fleet documents: whatever is accepted can be put together with itself, given windows, and decided about
 * hosts, at any time; and the decision is consistent. An error always has a message.
 */
#include "policy/fleet.h"
#include "policy/json-writer.h"
#include "tests/fuzz/fuzz.h"

#define HOST(members) "{\"hostname\":\"x\"," members "}"

static const char *const lines[] = {
                HOST("\"inventory\":{\"kernel\":\"6.1.0-47-amd64\"}"),
                HOST("\"host_id\":\"000000000000000000000000000000ff\",\"os\":\"debian:12\",\"labels\":{"
                     "\"role\":\"db\"},"
                     "\"quarantine\":[\"00\"],\"available\":[{\"level\":3}],\"inventory\":{\"kernel\":\"k\","
                     "\"patches\":[{\"name\":\"p\",\"level\":5,\"fixes\":[\"CVE-1\"]}]}"),
                HOST("\"clock\":{\"synchronized\":false},\"override\":\"local/"
                     "base\",\"inventory\":{\"kernel\":\"k\","
                     "\"patches\":[{\"name\":\"p\",\"vendor\":\"acme\",\"level\":1}]}"),
};

static void check_decision(const FleetSet *set, const FleetHost *host, uint64_t now, JsonWriter *w) {
        FleetDecision d;
        char text[256];

        fleet_decide(set, host, now, &d);
        must((d.verdict == FLEET_WAIT) == (d.gates != 0));
        must(d.verdict != FLEET_CHANGE || (d.rule && d.has_goal && d.action != FLEET_ACTION_NONE));
        must(d.verdict != FLEET_DONE || d.action == FLEET_ACTION_NONE);
        must(!d.rule || fleet_set_rule(set, fleet_set_rule_index(set, d.rule)) == d.rule);
        must(*fleet_decision_describe(&d, host, text, sizeof(text)));
        must(!d.rule || *fleet_decision_content(&d, text, sizeof(text)));
        json_writer_reset(w);
        json_write_open(w, '{');
        fleet_decision_write(&d, host, w);
        json_write_close(w, '}');
        must(json_writer_text(w));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const FleetInterval windows[] = {{1000, 2000},
                                                {UINT64_C(1795262400000000), UINT64_C(1795269600000000)}};
        static const uint64_t times[] = {1, UINT64_C(1795262400000000), FLEET_TIME_MAX};
        _cleanup_(fleet_host_parser_freep) FleetHostParser *parser = NULL;
        FleetDocument *d[2] = {};
        FleetSet *set = NULL;
        PolicyError error = {};
        JsonWriter w = {};

        if (fleet_document_parse((const char *) data, size, &d[0], &error) < 0) {
                must(!d[0] && error.message[0]);
                return 0;
        }
        must(fleet_document_parse((const char *) data, size, &d[1], &error) == 0);
        for (size_t i = 0; i < d[0]->n_rules; i++)
                for (size_t k = 0; k < d[0]->rules[i].n_windows; k++)
                        must(fleet_window_set_intervals(&d[0]->rules[i].windows[k], windows, 2) == 0);
        if (fleet_set_new(d, 2, &set) >= 0) {
                const FleetLevel *taken, *ignored;

                must(!fleet_set_conflict(set, 0, &taken, &ignored)); /* it doesn't contradict itself */
                must(fleet_host_parser_new(&parser) == 0);
                for (unsigned i = 0; i < ELEMENTSOF(lines); i++) {
                        const FleetHost *host;

                        must(fleet_host_parser_line(parser, lines[i], strlen(lines[i]), &host, NULL) == 0);
                        for (unsigned t = 0; t < ELEMENTSOF(times); t++)
                                check_decision(set, host, times[t], &w);
                }
        }
        json_writer_done(&w);
        fleet_set_free(set);
        fleet_document_free(d[0]);
        fleet_document_free(d[1]);
        return 0;
}
