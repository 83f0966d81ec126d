/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What servers send to klp-fleet: replies and lines of etcd, errors of a FleetLock server, base64. The first byte
 * says which.
 */
#include <ctype.h>

#include "klpd/klp-fleet/base64.h"
#include "klpd/klp-fleet/etcd-message.h"
#include "klpd/klp-fleet/lock-message.h"
#include "tests/fuzz/fuzz.h"

static void must_be_a_line(const char *buf, size_t size) {
        must(strlen(buf) < size);
        for (; *buf; buf++)
                must((unsigned char) *buf >= ' ' && *buf != 0x7f);
}

static void read_base64(const char *text, size_t size) {
        _cleanup_free_ char *data = NULL, *again = NULL;
        size_t n;

        if (base64_decode(text, size, 1000, &data, &n) < 0)
                return;
        must(n <= 1000 && data[n] == 0);
        /* There is one text for each value. */
        must(base64_encode(data, n, &again) >= 0);
        must(strlen(again) == size && memcmp(again, text, size) == 0);
}

static void read_document(const char *text, size_t size) {
        _cleanup_etcd_read_ EtcdRead read = {};
        PolicyError error;

        if (etcd_parse_read(text, size, &read, &error) < 0) {
                must(!read.document && !read.signature && error.message[0]);
                return;
        }
        must(read.revision > 0 && read.revision < INT64_MAX);
        must(!read.document || read.document[read.document_size] == 0);
        must(read.document_size <= ETCD_DOCUMENT_MAX && read.signature_size <= ETCD_SIGNATURE_MAX);
}

static void read_lease(const char *text, size_t size) {
        uint64_t lease, ttl;
        PolicyError error;

        if (etcd_parse_lease(text, size, &lease, &ttl, &error) >= 0)
                must(lease > 0 && lease <= INT64_MAX && ttl <= ETCD_TTL_MAX);
}

static void read_token(const char *text, size_t size) {
        char token[ETCD_TOKEN_MAX + 1];
        PolicyError error;

        if (etcd_parse_token(text, size, token, &error) < 0)
                return;
        must(*token && strlen(token) <= ETCD_TOKEN_MAX);
        for (const char *p = token; *p; p++)
                must(isgraph((unsigned char) *p));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data + 1;
        PolicyError error = {};
        EtcdWatch what;
        char buf[300];

        if (size == 0)
                return 0;
        size--;
        switch (data[0]) {
        case 'r':
                read_document(text, size);
                break;
        case 'w':
                if (etcd_parse_watch(text, size, &what, &error) >= 0)
                        must(what <= ETCD_WATCH_ENDED);
                break;
        case 'l':
                read_lease(text, size);
                break;
        case 't':
                read_token(text, size);
                break;
        case 'e':
                must(etcd_describe_error(404, text, size, buf, sizeof(buf)) <= ETCD_CODE_UNAUTHENTICATED);
                must_be_a_line(buf, sizeof(buf));
                break;
        case 'k':
                must_be_a_line(lock_describe_error(409, text, size, buf, sizeof(buf)), sizeof(buf));
                break;
        case 'b':
                read_base64(text, size);
                break;
        default:
                break;
        }
        return 0;
}
