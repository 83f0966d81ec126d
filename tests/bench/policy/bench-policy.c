/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How fast the policy engine is: plans per second for stacks with 1, 10, 100 and 1000 states (a cumulative
 * patch over a cumulative one: half of the states kept, a quarter exchanged or taken over, the rest removed
 * or introduced; one function for each state, at most 100; three fixes; all rules of the default policy), how
 * the cost grows, lines of `klpctl plan --batch` per second, the speed of the strict reader, and that of the
 * reader of fleet files on one of 10 MB. One thread, CPU time, the best of some rounds.
 *
 * One JSON object per line: {"bench", "metric", "value", "unit"}.
 */
#include <stdio.h>
#include <time.h>

#include "policy/batch.h"
#include "policy/fleet.h"
#include "policy/json.h"

#define ROUNDS 5

static void must(int r) {
        if (r < 0) {
                fprintf(stderr, "%s\n", strerror(-r));
                exit(1);
        }
}

static double cpu_seconds(void) {
        struct timespec ts;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

static void report(const char *metric, double value, const char *unit) {
        printf("{\"bench\":\"policy\",\"metric\":\"%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", metric, value,
               unit);
        fflush(stdout);
}

static Patch *make_patch(const char *name, uint32_t level, unsigned n_states, unsigned first) {
        Patch *p;

        must(patch_new(name, &p));
        p->level = level;
        p->cumulative = true;
        must(free_and_strdup(&p->kernel, "6.1.0-47-amd64"));
        must(free_and_strdup(&p->build_id, level == 1 ? "aa01" : "bb02"));
        must(free_and_strdup(&p->summary, "Security fixes of October"));
        for (unsigned i = 0; i < 3; i++) {
                char fix[32];

                snprintf(fix, sizeof(fix), "CVE-2026-%05u", level + i);
                must(patch_add_string(&p->fixes, fix));
        }
        for (unsigned i = 0; i < n_states; i++) {
                unsigned id = first + i;

                must(patch_add_state(p, id, id % 4 == 1 ? level : 1, id % 8 == 1 ? PATCH_STATE_TAKEOVER : 0,
                                     NULL));
        }
        for (unsigned i = 0; i < n_states && i < 100; i++) {
                char function[32];

                snprintf(function, sizeof(function), "function_number_%u", first + i);
                must(patch_add_function(p, "vmlinux", function, 0));
        }
        return p;
}

/* Seconds for one plan. */
static double time_plan(unsigned n_states) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        _cleanup_patch_unref_ Patch *old = NULL, *new = NULL;
        _cleanup_plan_free_ Plan *plan = NULL;
        unsigned long n = 2000000 / (n_states + 5);
        Request request = { .kind = REQUEST_APPLY };
        PlanInput input = { .request = &request };
        double best = 1e9;

        old = make_patch("old", 1, n_states, 1);
        new = make_patch("new", 2, n_states, 1 + n_states / 4);
        must(inventory_new("6.1.0-47-amd64", &inventory));
        must(inventory_push(inventory, old));
        must(plan_new(&plan));
        request.candidate = new;
        input.inventory = inventory;
        for (int round = 0; round < ROUNDS; round++) {
                double begin = cpu_seconds(), t;

                for (unsigned long i = 0; i < n; i++) {
                        must(plan_rebuild(plan, &input, NULL));
                        if (plan->verdict != VERDICT_ALLOW) {
                                fprintf(stderr, "the plan was refused: %s\n", plan->violations[0].message);
                                exit(1);
                        }
                }
                t = (cpu_seconds() - begin) / (double) n;
                if (t < best)
                        best = t;
        }
        return best;
}

static void bench_plans(void) {
        static const unsigned sizes[] = { 1, 10, 100, 1000 };
        double per_state[ELEMENTSOF(sizes)];

        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++) {
                double t = time_plan(sizes[i]);
                char metric[64];

                snprintf(metric, sizeof(metric), "plans_per_second_%u_states", sizes[i]);
                report(metric, 1 / t, "1/s");
                per_state[i] = t / sizes[i];
        }
        /* 1 is linear; n log n from 10 to 1000 states would be 3 at most */
        report("cost_per_state_1000_over_10", per_state[3] / per_state[1], "ratio");
}

static void bench_batch(void) {
        _cleanup_patch_unref_ Patch *old = NULL, *new = NULL;
        _cleanup_free_ char *o = NULL, *c = NULL, *line = NULL;
        _cleanup_batch_free_ Batch *batch = NULL;
        struct json_object *obj;
        double best = 1e9;
        int size;

        old = make_patch("old", 1, 10, 1);
        new = make_patch("new", 2, 10, 3);
        obj = patch_to_json(old);
        must(json_to_line(obj, &o));
        json_object_put(obj);
        obj = patch_to_json(new);
        must(json_to_line(obj, &c));
        json_object_put(obj);
        size = asprintf(&line,
                        "{\"inventory\":{\"kernel\":\"6.1.0-47-amd64\",\"patches\":[%s]},\"request\":\"apply\","
                        "\"candidate\":%s}",
                        o, c);
        if (size < 0)
                exit(1);
        must(batch_new(&batch));
        for (int round = 0; round < ROUNDS; round++) {
                double begin = cpu_seconds(), t;

                for (int i = 0; i < 2000; i++) {
                        const char *result;
                        BatchOutcome outcome;

                        must(batch_line(batch, 1, line, (size_t) size, &result, &outcome));
                        if (outcome != BATCH_ALLOWED)
                                exit(1);
                }
                t = (cpu_seconds() - begin) / 2000;
                if (t < best)
                        best = t;
        }
        report("batch_lines_per_second_10_states", 1 / best, "1/s");
}

/* A document of about 10 MB: an inventory, the largest kind of document that there is. */
static void bench_parse(void) {
        _cleanup_inventory_free_ Inventory *inventory = NULL;
        _cleanup_free_ char *line = NULL;
        struct json_object *obj;
        double best_strict = 1e9, best_model = 1e9;
        size_t size;

        must(inventory_new("6.1.0-47-amd64", &inventory));
        for (unsigned i = 0; i < 800; i++) {
                _cleanup_patch_unref_ Patch *p = NULL;
                char name[16];

                snprintf(name, sizeof(name), "patch%u", i);
                p = make_patch(name, i, 120, 1);
                must(inventory_push(inventory, p));
        }
        obj = inventory_to_json(inventory);
        must(json_to_line(obj, &line));
        json_object_put(obj);
        size = strlen(line);
        for (int round = 0; round < ROUNDS; round++) {
                Inventory *again;
                double begin, t;

                begin = cpu_seconds();
                must(json_parse_strict(line, size, &obj, NULL));
                json_object_put(obj);
                t = cpu_seconds() - begin;
                best_strict = t < best_strict ? t : best_strict;

                begin = cpu_seconds();
                must(inventory_parse(line, size, &again, NULL));
                inventory_free(again);
                t = cpu_seconds() - begin;
                best_model = t < best_model ? t : best_model;
        }
        report("document_size", (double) size / 1e6, "MB");
        report("parse_strict", (double) size / 1e6 / best_strict, "MB/s");
        report("parse_inventory", (double) size / 1e6 / best_model, "MB/s");
}

/* A fleet file of 10 MB: a host or a group of them in each rule, as generated files have. */
static void bench_fleet_document(void) {
        const size_t room = 11000000;
        _cleanup_free_ char *text = malloc(room);
        double best = 1e9;
        size_t size = 0;

        if (!text)
                exit(1);
        size += (size_t) snprintf(text, room,
                                  "{\"name\":\"bench\",\"serial\":1,\"levels\":[{\"stream\":\"local/base\","
                                  "\"kernel\":\"6.1.0-*\",\"level\":7,\"patch\":\"p7\"}],\"rules\":[");
        for (unsigned i = 0; size < 10000000; i++)
                size += (size_t) snprintf(text + size, room - size,
                                          "%s{\"name\":\"rule-%u\",\"stream\":\"local/base\",\"level\":%u,"
                                          "\"match\":{\"hostname\":[\"web-%u-*\",\"db-%u.example.org\"],"
                                          "\"machine_id\":[\"%032x\"],\"kernel\":[\"6.1.0-*\"],"
                                          "\"labels\":{\"role\":[\"web\",\"db\"],\"site\":[\"s%u\"]}},"
                                          "\"rollout\":%u,\"splay\":\"1h\","
                                          "\"windows\":[{\"calendar\":\"Sat 02:00\",\"duration\":\"2h\"}]}",
                                          i > 0 ? "," : "", i, 1 + i % 7, i, i, i, i % 50, 1 + i % 100);
        size += (size_t) snprintf(text + size, room - size, "]}");
        for (int round = 0; round < ROUNDS; round++) {
                FleetDocument *document;
                PolicyError error = {};
                double begin = cpu_seconds(), t;

                if (fleet_document_parse(text, size, &document, &error) < 0) {
                        fprintf(stderr, "%s: %s\n", error.key, error.message);
                        exit(1);
                }
                fleet_document_free(document);
                t = cpu_seconds() - begin;
                best = t < best ? t : best;
        }
        report("fleet_document_size", (double) size / 1e6, "MB");
        report("parse_fleet_document", (double) size / 1e6 / best, "MB/s");
}

int main(void) {
        bench_plans();
        bench_batch();
        bench_parse();
        bench_fleet_document();
        return 0;
}
