/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What must hold for every fleet: rollouts hit their percentage within statistical bounds and only ever
 * grow, waves partition hosts, the first match wins (against a search that is as plain as can be), whatever
 * gate is closed nothing falls through to another rule, and what the decision says is consistent with
 * itself.
 *
 * By default 20,000 hosts and rounds; with KLPD_FULL=1 (tests/run --full) 1,000,000 hosts. The seed is
 * KLPD_SEED; ids come from it.
 */
#include "tests/unit/policy/fleet-util.h"
#include "tests/unit/policy/random.h"

static uint64_t seed = 1;
static uint32_t n_hosts = 20000;

static void random_id(Random *r, uint8_t id[16]) {
        for (unsigned i = 0; i < 16; i += 4) {
                uint32_t v = random_below(r, UINT32_MAX);

                memcpy(id + i, &v, 4);
        }
}

static Random new_random(void) {
        return (Random){.state = seed};
}

/* Six standard deviations: fails by chance once in 500 million tests. */
static void assert_share(uint64_t hits, uint64_t n, uint64_t percent) {
        int64_t difference = (int64_t) (hits * 100) - (int64_t) (n * percent);

        /* (100 d)^2 <= 36 n p (100 - p) */
        if ((uint64_t) (difference * difference) > 36 * n * percent * (100 - percent))
                fail_msg("%" PRIu64 " of %" PRIu64 " hosts are inside of %" PRIu64 " percent (seed %" PRIu64
                         ")",
                         hits, n, percent, seed);
}

static void test_siphash_is_siphash(void **arg) {
        uint8_t key[16], data[15];

        for (uint8_t i = 0; i < 16; i++)
                key[i] = i;
        for (uint8_t i = 0; i < 15; i++)
                data[i] = i;
        /* the example of the paper, and neighbours from another implementation (klpd-fleet.json(5) says how)
         */
        assert_true(fleet_siphash(key, data, sizeof(data)) == UINT64_C(0xa129ca6149be45e5));
        memset(key, 0, sizeof(key));
        assert_int_equal(fleet_rollout_position(key, "r"), 1);
        key[15] = 1;
        assert_int_equal(fleet_rollout_position(key, "r"), 67);
        key[15] = 8;
        assert_int_equal(fleet_rollout_position(key, "r"), 43);
        assert_int_equal(fleet_splay_offset(key, "r", 3600 * FLEET_USEC_PER_SEC), 1594512740);
}

static void test_rollouts_hit_their_percentage_and_only_grow(void **arg) {
        static const char *const salts[] = {"a", "b", "2026-11 rollout of the web"};

        for (unsigned s = 0; s < ELEMENTSOF(salts); s++) {
                uint64_t at[100] = {}, inside = 0;
                Random r = new_random();

                for (uint32_t i = 0; i < n_hosts; i++) {
                        uint8_t id[16];
                        uint32_t position;

                        random_id(&r, id);
                        position = fleet_rollout_position(id, salts[s]);
                        assert_true(position < 100);
                        at[position]++;
                }
                /* a host is inside of P percent if its position is below P: sets grow, by at[P] hosts */
                for (unsigned p = 0; p < 100; p++) {
                        assert_share(inside, n_hosts, p);
                        assert_share(at[p], n_hosts, 1);
                        inside += at[p];
                }
                assert_int_equal(inside, n_hosts);
        }
}

/* With the whole decision, host by host: who was inside stays inside. */
static void test_raising_a_percentage_only_ever_adds_hosts(void **arg) {
        static const unsigned percents[] = {0, 1, 5, 25, 26, 50, 99, 100};
        FleetDocument *documents[ELEMENTSOF(percents)];
        FleetSet *sets[ELEMENTSOF(percents)];
        uint64_t inside[ELEMENTSOF(percents)] = {};
        Random r = new_random();

        for (unsigned i = 0; i < ELEMENTSOF(percents); i++) {
                char text[128];

                snprintf(text, sizeof(text), "{\"rules\":[{\"name\":\"web\",\"level\":7,\"rollout\":%u}]}",
                         percents[i]);
                documents[i] = fleet_read(text);
                sets[i] = fleet_join(&documents[i], 1);
        }
        for (uint32_t h = 0; h < n_hosts; h++) {
                FleetHost host = {.hostname = FLEET_SLICE("h"),
                                  .kernel = FLEET_SLICE("k"),
                                  .has_host_id = true};
                bool before = false;

                random_id(&r, host.host_id);
                for (unsigned i = 0; i < ELEMENTSOF(percents); i++) {
                        FleetDecision d;

                        fleet_decide(sets[i], &host, 1, &d);
                        assert_true(d.verdict == FLEET_CHANGE || d.reason == FLEET_REASON_ROLLOUT);
                        assert_true(!before || d.verdict == FLEET_CHANGE);
                        before = d.verdict == FLEET_CHANGE;
                        inside[i] += before;
                }
        }
        for (unsigned i = 0; i < ELEMENTSOF(percents); i++) {
                assert_share(inside[i], n_hosts, percents[i]);
                fleet_set_free(sets[i]);
                fleet_document_free(documents[i]);
        }
}

static void test_salts_are_independent(void **arg) {
        uint64_t both = 0;
        Random r = new_random();

        for (uint32_t i = 0; i < n_hosts; i++) {
                uint8_t id[16];

                random_id(&r, id);
                both += fleet_rollout_position(id, "one") < 50 && fleet_rollout_position(id, "two") < 50;
        }
        assert_share(both, n_hosts, 25);
}

static void test_splay_is_even_and_within_its_span(void **arg) {
        uint64_t quarters[4] = {}, both = 0;
        Random r = new_random();

        for (uint32_t i = 0; i < n_hosts; i++) {
                uint8_t id[16];
                uint64_t offset;

                random_id(&r, id);
                offset = fleet_splay_offset(id, "s", 1000);
                assert_true(offset < 1000);
                quarters[offset / 250]++;
                both += offset < 500 && fleet_rollout_position(id, "s") < 50; /* other hosts come first */
        }
        for (unsigned i = 0; i < 4; i++)
                assert_share(quarters[i], n_hosts, 25);
        assert_share(both, n_hosts, 25);
}

/* --- random documents and hosts --- */

static const char *const hostnames[] = {"web-1", "web-2", "db-1", "db-22", "cache"};
static const char *const globs[] = {"web-?", "*-1", "db*", "cache", "web-1"};
static const char *const roles[] = {"web", "db"};

typedef struct Matcher { /* of rule i, for the plain search */
        int glob, role;  /* -1: no condition */
        bool negated;
} Matcher;

/* FNMATCH of these few globs on these few names, written out. */
static bool glob_fits(int glob, int name) {
        static const bool table[5][5] = {
                        {true, true, false, false, false},  {true, false, true, false, false},
                        {false, false, true, true, false},  {false, false, false, false, true},
                        {true, false, false, false, false},
        };

        return table[glob][name];
}

static size_t write_gates(Random *r, char *buf, size_t size) {
        static const char *const gates[] = {
                        ",\"hold\":\"h\"",
                        ",\"not_after\":\"2026-01-01T00:00:00Z\"",
                        (",\"waves\":[{\"percent\":50,\"opens\":\"2026-01-01T00:00:00Z\",\"soak\":\"2y\"},"
                         "{\"percent\":80}]"),
                        ",\"windows\":[{\"calendar\":\"Sat\",\"duration\":\"1h\"}]",
                        ",\"splay\":\"1h\"",
                        ",\"blocked\":[3,4,5]",
        };
        size_t n = 0;

        if (random_chance(r, 30))
                n += (size_t) snprintf(buf, size, ",\"rollout\":%u", random_below(r, 101));
        for (unsigned i = 0; i < ELEMENTSOF(gates); i++)
                if (random_chance(r, 15))
                        n += (size_t) snprintf(buf + n, size - n, "%s", gates[i]);
        return n;
}

static size_t write_rule(Random *r, char *buf, size_t size, unsigned number, Matcher *m) {
        static const char *const goals[] = {"\"level\":2", "\"level\":\"latest\"", "\"level\":\"none\"",
                                            "\"at_least\":4", "\"level\":6"};
        size_t n;

        *m = (Matcher){random_chance(r, 60) ? (int) random_below(r, 5) : -1,
                       random_chance(r, 40) ? (int) random_below(r, 2) : -1, random_chance(r, 25)};
        n = (size_t) snprintf(buf, size, "%s{\"name\":\"r%u\",%s", number > 0 ? "," : "", number,
                              goals[random_below(r, 5)]);
        n += write_gates(r, buf + n, size - n);
        n += (size_t) snprintf(buf + n, size - n, ",\"match\":%s{", m->negated ? "{\"not\":[" : "");
        if (m->glob >= 0)
                n += (size_t) snprintf(buf + n, size - n, "\"hostname\":[\"nobody\",\"%s\"]",
                                       globs[m->glob]);
        if (m->role >= 0)
                n += (size_t) snprintf(buf + n, size - n, "%s\"labels\":{\"role\":[\"%s\"]}",
                                       m->glob >= 0 ? "," : "", roles[m->role]);
        n += (size_t) snprintf(buf + n, size - n, "}%s}", m->negated ? "]}" : "");
        return n;
}

static bool matcher_fits(const Matcher *m, int name, int role) {
        bool fits = (m->glob < 0 || glob_fits(m->glob, name)) && (m->role < 0 || m->role == role);

        return fits != m->negated;
}

static void check_consistent(const FleetDecision *d, uint64_t now) {
        switch (d->verdict) {
        case FLEET_UNMANAGED:
                assert_true(!d->rule && d->action == FLEET_ACTION_NONE && !d->drift);
                break;
        case FLEET_DONE:
                assert_true(d->rule && d->action == FLEET_ACTION_NONE && !d->gates && !d->drift);
                break;
        case FLEET_CHANGE:
                assert_true(d->rule && d->has_goal && d->action != FLEET_ACTION_NONE && !d->gates);
                assert_true(d->until == now && d->reason == FLEET_REASON_READY);
                assert_true(d->goal_none || !d->running || d->running->level != d->goal);
                break;
        case FLEET_WAIT:
                assert_true(d->rule && d->action != FLEET_ACTION_NONE && d->gates && !d->drift);
                assert_true(d->until == 0 || d->until > now);
                break;
        case FLEET_STAY:
                assert_true(!d->gates && d->until == 0);
                break;
        case _FLEET_VERDICT_MAX:
                fail();
        }
}

static void check_host(Random *r, const FleetSet *set, const Matcher *matchers, unsigned n, uint64_t now) {
        int name = (int) random_below(r, 5), role = (int) random_below(r, 2), expected = -1;
        FleetLabel label = {FLEET_SLICE("role"), FLEET_SLICE(roles[role])};
        FleetRunning running = {.vendor = FLEET_SLICE("local"),
                                .stream = FLEET_SLICE("base"),
                                .level = random_below(r, 7)};
        FleetHost host = {
                        .hostname = FLEET_SLICE(hostnames[name]),
                        .kernel = FLEET_SLICE("k"),
                        .has_host_id = random_chance(r, 90),
                        .labels = &label,
                        .n_labels = 1,
                        .running = &running,
                        .n_running = random_below(r, 2),
                        .mode_off = random_chance(r, 2),
                        .held = random_chance(r, 2),
                        .overridden = random_chance(r, 2),
                        .clock_unsynchronized = random_chance(r, 5),
        };
        FleetDecision d, later;

        random_id(r, host.host_id);
        for (unsigned i = 0; i < n && expected < 0; i++)
                if (matcher_fits(&matchers[i], name, role))
                        expected = (int) i;
        fleet_decide(set, &host, now, &d);
        if (d.rule != fleet_set_rule(set, expected < 0 ? SIZE_MAX : (size_t) expected))
                fail_msg("rule %s won, and not r%d (seed %" PRIu64 ")", d.rule ? d.rule->name : "none",
                         expected, seed);
        check_consistent(&d, now);

        /* what it promises comes true, and not a moment earlier */
        if (d.verdict == FLEET_WAIT && d.until > 0) {
                host.goal_since = now;
                fleet_decide(set, &host, d.until, &later);
                assert_int_equal(later.verdict, FLEET_CHANGE);
                fleet_decide(set, &host, d.until - 1, &later);
                assert_int_equal(later.verdict, FLEET_WAIT);
        }
}

static void test_first_match_wins_and_nothing_falls_through(void **arg) {
        static const uint64_t week = UINT64_C(604800) * FLEET_USEC_PER_SEC;
        Random r = new_random();

        for (uint32_t round = 0; round < n_hosts / 50; round++) {
                uint64_t now = fleet_time("2026-11-21T12:00:00Z") +
                               random_below(&r, 1000000) * FLEET_USEC_PER_SEC;
                char text[8192];
                Matcher matchers[8];
                FleetInterval windows[20];
                unsigned n_rules = 1 + random_below(&r, 8);
                FleetDocument *d;
                FleetSet *set;
                size_t n;

                n = (size_t) snprintf(text, sizeof(text), "{%s\"rules\":[",
                                      random_chance(&r, 50) ? "\"levels\":[{\"kernel\":\"k\",\"level\":2},"
                                                              "{\"kernel\":\"*\",\"level\":5}],"
                                                            : "");
                for (unsigned i = 0; i < n_rules; i++)
                        n += write_rule(&r, text + n, sizeof(text) - n, i, &matchers[i]);
                snprintf(text + n, sizeof(text) - n, "]}");
                d = fleet_read(text);
                for (unsigned i = 0; i < ELEMENTSOF(windows); i++)
                        windows[i] = (FleetInterval){now - week / 2 + i * week,
                                                     now - week / 2 + i * week + 3600 * FLEET_USEC_PER_SEC};
                for (size_t i = 0; i < d->n_rules; i++)
                        for (size_t k = 0; k < d->rules[i].n_windows; k++)
                                assert_int_equal(fleet_window_set_intervals(&d->rules[i].windows[k], windows,
                                                                            ELEMENTSOF(windows)),
                                                 0);
                set = fleet_join(&d, 1);
                for (unsigned h = 0; h < 50; h++)
                        check_host(&r, set, matchers, n_rules, now);
                fleet_set_free(set);
                fleet_document_free(d);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                        cmocka_unit_test(test_siphash_is_siphash),
                        cmocka_unit_test(test_rollouts_hit_their_percentage_and_only_grow),
                        cmocka_unit_test(test_raising_a_percentage_only_ever_adds_hosts),
                        cmocka_unit_test(test_salts_are_independent),
                        cmocka_unit_test(test_splay_is_even_and_within_its_span),
                        cmocka_unit_test(test_first_match_wins_and_nothing_falls_through),
        };
        const char *full = getenv("KLPD_FULL"), *given = getenv("KLPD_SEED");

        if (full && streq(full, "1")) {
                n_hosts = 1000000;
                if (given)
                        seed = strtoull(given, NULL, 10) ?: 1;
        }
        print_message("%" PRIu32 " hosts, seed %" PRIu64 "\n", n_hosts, seed);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
