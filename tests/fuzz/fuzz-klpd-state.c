/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files in which klpd keeps what it has to know later: the record of an import, the host's record, that of
 * fleet documents and their last good versions, the modules that are to be removed. Whatever is in them, they are taken or refused with a
 * reason, and what is taken is written as the same. And the small files that it reads facts about the host from.
 */
#include "klpd/collector-record.h"
#include "klpd/fleet-facts.h"
#include "klpd/fleet-kept.h"
#include "klpd/fleet-record.h"
#include "klpd/host-record.h"
#include "klpd/import-record.h"
#include "tests/fuzz/fuzz.h"

static void check_host(const char *text, size_t size) {
        _cleanup_free_ char *a = NULL, *b = NULL;
        HostRecord first, second;
        PolicyError error = {};

        if (host_record_parse(text, size, &first, &error) < 0) {
                must(error.message[0]);
                return;
        }
        must(host_record_format(&first, &a) == 0);
        must(host_record_parse(a, strlen(a), &second, &error) == 0);
        must(host_record_format(&second, &b) == 0);
        must(streq(a, b));
        if (first.n_trial > 0)
                must(host_patch_add(&first.accepted, &first.n_accepted, &first.trial[0]) <= 0);
        host_record_done(&first);
        host_record_done(&second);
}

static void check_import(const char *text, size_t size) {
        _cleanup_free_ char *a = NULL;
        ImportRecord first, second;
        PolicyError error = {};

        if (import_record_parse(text, size, &first, &error) < 0) {
                must(error.message[0]);
                return;
        }
        must(import_record_format(&first, &a) == 0);
        must(import_record_parse(a, strlen(a), &second, &error) == 0);
        must(streq(first.digest, second.digest) && first.time_usec == second.time_usec &&
             first.uid == second.uid);
        import_record_done(&first);
        import_record_done(&second);
}

static void check_fleet(const char *text, size_t size) {
        _cleanup_free_ char *a = NULL, *b = NULL;
        FleetRecord first, second;
        PolicyError error = {};

        if (fleet_record_parse(text, size, &first, &error) < 0) {
                must(error.message[0]);
                return;
        }
        must(fleet_record_format(&first, &a) == 0);
        must(fleet_record_parse(a, strlen(a), &second, &error) == 0);
        must(fleet_record_format(&second, &b) == 0);
        must(streq(a, b));
        must(fleet_record_add_failed(&first, "d", "c", text, 1) == 0 && fleet_record_find_failed(&first, "d", "c"));
        must(fleet_record_set_serial(&first, "k", "n", 7) <= 0);
        free(a);
        must(fleet_record_format(&first, &a) == 0);
        fleet_record_done(&second);
        /* Whatever went in comes out again. */
        must(fleet_record_parse(a, strlen(a), &second, &error) == 0);
        fleet_record_done(&first);
        fleet_record_done(&second);
}

static void check_facts(const char *text, size_t size) {
        _cleanup_free_ char *copy = malloc(size + 1), *value = NULL;
        PolicyError error = {};
        FleetFacts f = {};

        must(copy);
        memcpy(copy, text, size);
        copy[size] = 0;
        if (environment_file_get(copy, "ID", &value) >= 0)
                must(strlen(value) < size);
        if (fleet_labels_parse(text, size, &f, &error) < 0)
                must(error.message[0] && !f.label_keys);
        must(strv_length(f.label_keys) == strv_length(f.label_values));
        fleet_facts_done(&f);
}

static void check_kept(const char *bytes, size_t size) {
        FleetKept k = {};

        if (fleet_kept_parse(bytes, size, &k) < 0)
                return;
        must(k.text && !k.text[k.size] && k.size + k.signature_size < size);
        must(!k.signature == (k.signature_size == 0));
        fleet_kept_done(&k);
}

static void check_collector(const char *text, size_t size) {
        static const char boot[] = "0123456789abcdef0123456789abcdef";
        _cleanup_free_ CollectorEntry *first = NULL, *second = NULL;
        _cleanup_free_ char *a = NULL;
        size_t n, m;

        if (collector_record_parse(text, size, boot, &first, &n) < 0)
                return;
        must(collector_record_format(boot, first, n, &a) == 0);
        must(collector_record_parse(a, strlen(a), boot, &second, &m) == 0);
        must(n == m && memcmp(first, second, n * sizeof(*first)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *copy = malloc(size + 1);

        must(copy);
        memcpy(copy, data, size);
        copy[size] = 0;
        check_fleet(copy, size);
        check_facts(copy, size);
        check_host((const char *) data, size);
        check_import((const char *) data, size);
        check_collector((const char *) data, size);
        check_kept((const char *) data, size);
        return 0;
}
