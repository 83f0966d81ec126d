/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fleet-generate hosts N [SEED [FILE]]      N hosts, one per line of 750 bytes: facts and inventory
 *                                           (klpd-fleet.json(5))
 * fleet-generate rules BYTES [SEED [FILE]]  a document of about that size: many rules, each with a list of
 *                                           machine ids
 *
 * The same numbers give the same bytes on every machine. Hosts are not all alike: three kernels, levels 3 to
 * 7, a few held, overridden or with a quarantine, one in fifty with nothing enabled.
 */
#include <stdio.h>
#include <stdlib.h>

#include "policy/util.h"

#define LINE 750U

typedef struct Random {
        uint64_t state;
} Random;

/* splitmix64 */
static uint64_t next(Random *r) {
        uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static unsigned below(Random *r, unsigned n) {
        return (unsigned) (next(r) >> 33) % n;
}

static const char *hex(Random *r, unsigned digits, char *buf) {
        for (unsigned i = 0; i < digits; i += 16)
                snprintf(buf + i, 17, "%016" PRIx64, next(r));
        buf[digits] = 0;
        return buf;
}

static const char *const kernels[] = {"6.1.0-47-amd64", "6.1.0-56-amd64", "6.12.57-amd64"};
static const char *const systems[] = {"debian:12", "debian:12", "debian:13"};
static const char *const roles[] = {"web", "db", "cache", "batch"};
static const char *const tiers[] = {"canary", "prod", "prod", "prod", "prod", "prod", "prod", "staging"};

static void print_patch(Random *r, char *buf, size_t size, unsigned kernel, unsigned level) {
        char build_id[65], digest[65], fixes[128] = "";
        size_t n = 0;

        for (unsigned i = 1; i <= level && i <= 4; i++)
                n += (size_t) snprintf(fixes + n, sizeof(fixes) - n, "%s\"CVE-2026-%04u\"", i > 1 ? "," : "",
                                       100 + i);
        snprintf(buf, size,
                 "{\"name\":\"klp_acme_%u\",\"kernel\":\"%s\",\"vendor\":\"acme\",\"stream\":\"base\","
                 "\"level\":%u,\"cumulative\":true,\"fixes\":[%s],\"build_id\":\"%s\",\"digest\":\"%s\"}",
                 level, kernels[kernel], level, fixes, hex(r, 48, build_id), hex(r, 64, digest));
}

static void print_host(Random *r, uint64_t number) {
        char id[33], other[33], kernel_id[49], patch[512] = "", operator[128] = "", line[1024];
        unsigned kernel = below(r, ELEMENTSOF(kernels)), dice = below(r, 1000), role = below(r, 4);
        int n;

        hex(r, 32, id);
        hex(r, 32, other);
        if (dice >= 20)
                print_patch(r, patch, sizeof(patch), kernel, 3 + below(r, 5));
        if (dice >= 990)
                snprintf(operator, sizeof(operator), "\"hold\":\"ticket %u\",", below(r, 10000));
        else if (dice >= 985)
                snprintf(operator, sizeof(operator), "\"override\":\"acme/base\",");
        n = snprintf(line, sizeof(line),
                     "{\"hostname\":\"%s-%07" PRIu64
                     ".example.org\",\"machine_id\":\"%s\",\"host_id\":\"%s\","
                     "\"os\":\"%s\",\"labels\":{\"role\":\"%s\",\"tier\":\"%s\",\"site\":\"dc%u\"},%s"
                     "\"inventory\":{\"kernel\":\"%s\",\"kernel_build_id\":\"%s\",\"generation\":%u,"
                     "\"transition\":null,\"patches\":[%s],\"loaded\":[{\"name\":\"",
                     roles[role], number, id, other, systems[kernel], roles[role], tiers[below(r, 8)],
                     below(r, 20), operator, kernels[kernel], hex(r, 48, kernel_id), below(r, 100), patch);
        /* the rest of the 750 bytes: modules that are loaded, but not enabled */
        for (unsigned k = 0; n < (int) LINE - 5; k++) {
                if (k > 0 && k % 40 == 0 && n < (int) LINE - 40)
                        n += snprintf(line + n, sizeof(line) - (size_t) n, "\"},{\"name\":\"");
                else
                        line[n++] = (char) ('a' + k % 26);
        }
        memcpy(line + n, "\"}]}}\n", 7);
        n += 6;
        if (n != (int) LINE + 1 || fwrite(line, 1, (size_t) n, stdout) != (size_t) n)
                exit(1);
}

/* Rules that list machine ids, which is what makes real documents long. */
static void print_rules(Random *r, uint64_t bytes) {
        uint64_t written = 0;
        char id[33];

        written += (uint64_t) printf("{\"name\":\"large\",\"serial\":1,\"rules\":[\n");
        for (unsigned rule = 0; written < bytes; rule++) {
                written += (uint64_t) printf("%s{\"name\":\"rule-%u\",\"stream\":\"acme/base\",\"level\":%u,"
                                             "\"rollout\":%u,\"match\":{\"hostname\":[\"web-%u*\"],"
                                             "\"machine_id\":[",
                                             rule > 0 ? ",\n" : "", rule, 1 + rule % 9, rule % 101, rule);
                for (unsigned i = 0; i < 200; i++)
                        written += (uint64_t) printf("%s\"%s\"", i > 0 ? "," : "", hex(r, 32, id));
                written += (uint64_t) printf("]}}");
        }
        printf("]}\n");
}

int main(int argc, char **argv) {
        uint64_t n = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
        Random r = {argc > 3 ? strtoull(argv[3], NULL, 10) : 1};

        if (argc < 3 || (!streq(argv[1], "hosts") && !streq(argv[1], "rules"))) {
                fprintf(stderr, "%s hosts N [SEED [FILE]] | rules BYTES [SEED [FILE]]\n", argv[0]);
                return 2;
        }
        if (argc > 4 && !freopen(argv[4], "we", stdout)) {
                perror(argv[4]);
                return 1;
        }
        if (streq(argv[1], "hosts"))
                for (uint64_t i = 0; i < n; i++)
                        print_host(&r, i);
        else
                print_rules(&r, n);
        return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}
