/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fleet-measure KLPCTL DIRECTORY DOCUMENT NEXT: what tests/bench/fleet prints. DIRECTORY has hosts-N.jsonl
 * and large.json of fleet-generate; NEXT is a later version of DOCUMENT.
 *
 * klpctl is run as it is, and measured by the kernel (wait4): CPU seconds with start and end, peak memory.
 * It reads one host after the other; so does the parse with json-c beside it, of the same file, with one
 * tokener.
 */
#include <fcntl.h>
#include <json-c/json.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "policy/fleet.h"

#define ROUNDS 3
#define DECIDED 10000U

static void fail(const char *what) {
        fprintf(stderr, "fleet-measure: %s\n", what);
        exit(1);
}

static void report(const char *metric, uint64_t n, double value, const char *unit) {
        char suffix[24] = "";

        if (n > 0)
                snprintf(suffix, sizeof(suffix), "_%" PRIu64, n);
        printf("{\"bench\":\"fleet\",\"metric\":\"%s%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", metric, suffix,
               value, unit);
        fflush(stdout);
}

static double cpu_seconds(void) {
        struct timespec ts;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
        return (double) ts.tv_sec + (double) ts.tv_nsec / 1e9;
}

typedef struct Usage {
        double seconds;
        long rss_kib;
} Usage;

/* Runs it with output to /dev/null; the better of both. */
static void run(const char *const argv[], Usage *best) {
        extern char **environ;
        posix_spawn_file_actions_t actions;
        struct rusage ru;
        int status;
        pid_t pid;
        double t;

        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
        if (posix_spawn(&pid, argv[0], &actions, NULL, (char *const *) argv, environ) != 0)
                fail("can't run klpctl");
        posix_spawn_file_actions_destroy(&actions);
        if (wait4(pid, &status, 0, &ru) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
                fail("klpctl failed");
        t = (double) (ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
            (double) (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
        if (best->seconds == 0 || t < best->seconds)
                best->seconds = t;
        if (ru.ru_maxrss > best->rss_kib)
                best->rss_kib = ru.ru_maxrss;
}

/* Every line of the file, as json-c has it. */
static double parse_with_json_c(const char *path, uint64_t n) {
        struct json_tokener *tokener = json_tokener_new();
        FILE *f = fopen(path, "re");
        double begin = cpu_seconds();
        char *line = NULL;
        size_t room = 0;
        uint64_t lines = 0;
        ssize_t size;

        if (!tokener || !f)
                fail(path);
        while ((size = getline(&line, &room, f)) > 0) {
                struct json_object *o;

                json_tokener_reset(tokener);
                o = json_tokener_parse_ex(tokener, line, (int) size);
                if (!o)
                        fail("json-c refuses a line");
                json_object_put(o);
                lines++;
        }
        if (lines != n)
                fail("not as many lines as there should be");
        free(line);
        fclose(f);
        json_tokener_free(tokener);
        return cpu_seconds() - begin;
}

static void measure_hosts(const char *klpctl, const char *directory, const char *document, const char *next,
                          uint64_t n) {
        char path[512], option[544];
        const char *plan[] = {klpctl, "fleet", "plan", "--summary", option, document, NULL};
        const char *lines[] = {klpctl, "fleet", "plan", "--json=short", option, document, NULL};
        const char *diff[] = {klpctl, "fleet", "diff", "--summary", option, document, next, NULL};
        Usage p = {}, l = {}, d = {};
        double json_c = 0;

        snprintf(path, sizeof(path), "%s/hosts-%" PRIu64 ".jsonl", directory, n);
        snprintf(option, sizeof(option), "--inventory=%s", path);
        for (unsigned i = 0; i < ROUNDS; i++) {
                double t;

                run(plan, &p);
                t = parse_with_json_c(path, n);
                if (json_c == 0 || t < json_c)
                        json_c = t;
        }
        run(lines, &l);
        run(diff, &d);
        report("hosts_per_second", n, (double) n / p.seconds, "1/s");
        report("ratio_to_json_c", n, json_c / p.seconds, "ratio");
        report("peak_rss_kib", n, (double) p.rss_kib, "KiB");
        report("hosts_per_second_json", n, (double) n / l.seconds, "1/s");
        report("peak_rss_kib_json", n, (double) l.rss_kib, "KiB");
        report("hosts_per_second_diff", n, (double) n / d.seconds, "1/s");
        report("json_c_lines_per_second", n, (double) n / json_c, "1/s");
}

static char *read_all(const char *path, size_t *ret_size) {
        FILE *f = fopen(path, "re");
        char *text = NULL;
        size_t n = 0, room = 0;

        if (!f)
                fail(path);
        do {
                if (n == room) {
                        room = room > 0 ? 2 * room : 1 << 20;
                        text = realloc(text, room);
                        if (!text)
                                fail("out of memory");
                }
                n += fread(text + n, 1, room - n, f);
        } while (!feof(f) && !ferror(f));
        fclose(f);
        *ret_size = n;
        return text;
}

static FleetDocument *parse_document(const char *text, size_t size) {
        FleetDocument *d;
        PolicyError error = {};

        if (fleet_document_parse(text, size, &d, &error) < 0)
                fail(error.message);
        return d;
}

/* Hosts that are in memory already: nothing but fleet_decide(). */
static void measure_decisions(const char *directory, const char *document) {
        static const FleetHost *hosts[DECIDED];
        static FleetHostParser *parsers[DECIDED];
        char path[512];
        size_t size, document_size;
        char *text, *document_text, *line;
        FleetDocument *d;
        FleetSet *set;
        double best = 0;
        uint64_t changes = 0;

        document_text = read_all(document, &document_size);
        d = parse_document(document_text, document_size);
        if (fleet_set_new(&d, 1, &set) < 0)
                fail("out of memory");
        snprintf(path, sizeof(path), "%s/hosts-%u.jsonl", directory, DECIDED);
        line = text = read_all(path, &size);
        for (unsigned i = 0; i < DECIDED; i++) {
                char *nl = memchr(line, '\n', size - (size_t) (line - text));

                if (!nl || fleet_host_parser_new(&parsers[i]) < 0 ||
                    fleet_host_parser_line(parsers[i], line, (size_t) (nl - line), &hosts[i], NULL) < 0)
                        fail(path);
                line = nl + 1;
        }
        for (unsigned round = 0; round < 10 * ROUNDS; round++) {
                double begin = cpu_seconds(), t;

                for (unsigned k = 0; k < 10; k++)
                        for (unsigned i = 0; i < DECIDED; i++) {
                                FleetDecision decision;

                                fleet_decide(set, hosts[i], UINT64_C(1795262400000000) + k, &decision);
                                changes += decision.verdict == FLEET_CHANGE;
                        }
                t = (cpu_seconds() - begin) / (10.0 * DECIDED);
                if (best == 0 || t < best)
                        best = t;
        }
        if (changes == 0)
                fail("no host would change: that measures nothing");
        report("decisions_per_second", 0, 1 / best, "1/s");
        for (unsigned i = 0; i < DECIDED; i++)
                fleet_host_parser_free(parsers[i]);
        fleet_set_free(set);
        fleet_document_free(d);
        free(text);
        free(document_text);
}

static void measure_document(const char *directory) {
        char path[512], *text;
        double best = 0;
        size_t size;

        snprintf(path, sizeof(path), "%s/large.json", directory);
        text = read_all(path, &size);
        for (unsigned i = 0; i < ROUNDS; i++) {
                double begin = cpu_seconds(), t;
                FleetDocument *d = parse_document(text, size);

                t = cpu_seconds() - begin;
                fleet_document_free(d);
                if (best == 0 || t < best)
                        best = t;
        }
        report("document_10mb_parse", 0, best * 1000, "ms");
        report("document_parse_bytes_per_second", 0, (double) size / best, "B/s");
        free(text);
}

int main(int argc, char **argv) {
        static const uint64_t sizes[] = {10000, 100000, 1000000};

        if (argc != 5)
                fail("KLPCTL DIRECTORY DOCUMENT NEXT");
        for (unsigned i = 0; i < ELEMENTSOF(sizes); i++)
                measure_hosts(argv[1], argv[2], argv[3], argv[4], sizes[i]);
        measure_decisions(argv[2], argv[3]);
        measure_document(argv[2]);
        return 0;
}
