/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files in which klpd keeps what it has to know later: the record of an import, the host's record.
 * Whatever is in them, they are taken or refused with a reason, and what is taken is written as the same.
 */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        check_host((const char *) data, size);
        check_import((const char *) data, size);
        return 0;
}
