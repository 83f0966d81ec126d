/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See etcd-message.h. */
#include <ctype.h>
#include <stdio.h>

#include "klpd/klp-fleet/base64.h"
#include "klpd/klp-fleet/etcd-message.h"
#include "policy/json-reader.h"
#include "policy/json-writer.h"

void etcd_read_done(EtcdRead *r) {
        free(r->document);
        free(r->signature);
        *r = (EtcdRead) {};
}

/* ---- requests ---- */

static void write_base64(JsonWriter *w, const char *key, const char *value) {
        _cleanup_free_ char *text = NULL;

        if (base64_encode(value, strlen(value), &text) < 0)
                w->failed = true;
        else
                json_write_member(w, key, text);
}

static void write_number(JsonWriter *w, const char *key, uint64_t n) {
        char text[24];

        (void) snprintf(text, sizeof(text), "%" PRIu64, n);
        json_write_member(w, key, text);
}

static int finish(JsonWriter *w, char **ret) {
        const char *text = json_writer_text(w);
        char *copy = text ? strdup(text) : NULL;

        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int etcd_request_authenticate(const char *user, const char *password, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};

        json_write_open(&w, '{');
        json_write_member(&w, "name", user);
        json_write_member(&w, "password", password);
        json_write_close(&w, '}');
        return finish(&w, ret);
}

/* One transaction without a condition: both keys of one revision. */
int etcd_request_read(const char *document_key, const char *signature_key, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};
        const char *const keys[] = { document_key, signature_key };

        json_write_open(&w, '{');
        json_write_key(&w, "success");
        json_write_open(&w, '[');
        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                json_write_open(&w, '{');
                json_write_key(&w, "request_range");
                json_write_open(&w, '{');
                write_base64(&w, "key", keys[i]);
                json_write_close(&w, '}');
                json_write_close(&w, '}');
        }
        json_write_close(&w, ']');
        json_write_close(&w, '}');
        return finish(&w, ret);
}

int etcd_request_watch(const char *document_key, const char *signature_key, uint64_t from, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};
        _cleanup_free_ char *end = NULL;
        size_t n = strlen(signature_key);

        /* The end of a range doesn't belong to it: the signature's key and a NUL. */
        if (base64_encode(signature_key, n + 1, &end) < 0)
                return -ENOMEM;
        json_write_open(&w, '{');
        json_write_key(&w, "create_request");
        json_write_open(&w, '{');
        write_base64(&w, "key", document_key);
        json_write_member(&w, "range_end", end);
        write_number(&w, "start_revision", from);
        json_write_close(&w, '}');
        json_write_close(&w, '}');
        return finish(&w, ret);
}

int etcd_request_lease_grant(uint64_t ttl, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};

        json_write_open(&w, '{');
        write_number(&w, "TTL", ttl);
        json_write_close(&w, '}');
        return finish(&w, ret);
}

int etcd_request_lease(uint64_t lease, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};

        json_write_open(&w, '{');
        write_number(&w, "ID", lease);
        json_write_close(&w, '}');
        return finish(&w, ret);
}

int etcd_request_put(const char *key, const char *value, uint64_t lease, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};

        json_write_open(&w, '{');
        write_base64(&w, "key", key);
        write_base64(&w, "value", value);
        write_number(&w, "lease", lease);
        json_write_close(&w, '}');
        return finish(&w, ret);
}

/* ---- replies ---- */

/* A whole number, as a string of digits or as it is; 0 where there is no such member, as in all of gRPC's JSON. */
static int read_number(JsonReader *r, const JsonValue *object, const char *key, uint64_t *ret) {
        const JsonValue *v = json_find(r, object, key);
        uint64_t n = 0;
        const char *s;
        int q;

        if (!v)
                return *ret = 0, 0;
        if (!json_is(v, JSON_STRING))
                return json_read_u64_value(r, v, UINT64_MAX, ret);
        q = json_read_string_value(r, v, &s);
        if (q < 0)
                return q;
        if (!*s)
                return json_reader_fail(r, -EBADMSG, "%s is empty", key);
        for (; *s; s++) {
                unsigned digit = (unsigned) (unsigned char) *s - '0';

                if (digit > 9 || n > (UINT64_MAX - digit) / 10)
                        return json_reader_fail(r, -EBADMSG, "%s is not a number", key);
                n = n * 10 + digit;
        }
        return *ret = n, 0;
}

/* NULL: it isn't there, the error says so. */
static const JsonValue *find_object(JsonReader *r, const JsonValue *object, const char *key) {
        const JsonValue *v = json_find(r, object, key);

        if (json_is(v, JSON_OBJECT))
                return v;
        (void) json_reader_fail(r, -EBADMSG, "%s is missing", key);
        return NULL;
}

int etcd_parse_token(const char *text, size_t size, char ret[static ETCD_TOKEN_MAX + 1], PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        const JsonValue *v;
        const char *s;
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        v = json_find(&r, r.root, "token");
        if (!json_is(v, JSON_STRING))
                return json_reader_fail(&r, -EBADMSG, "there is no token");
        q = json_read_string_value(&r, v, &s);
        if (q < 0)
                return q;
        if (!*s || strlen(s) > ETCD_TOKEN_MAX)
                return json_reader_fail(&r, -EBADMSG, "a token of %zu bytes can't be used", strlen(s));
        /* It becomes a header's value: nothing may end the line. */
        for (const char *p = s; *p; p++)
                if (!isgraph((unsigned char) *p))
                        return json_reader_fail(&r, -EBADMSG, "the token has characters that no token has");
        (void) strcpy(ret, s);
        return 0;
}

/* The value of the only key of one answer of the transaction. */
static int read_value(JsonReader *r, const JsonValue *response, size_t max, char **ret, size_t *ret_size) {
        const JsonValue *range, *kvs, *v;
        const char *s = "";
        int q;

        range = find_object(r, response, "response_range");
        if (!range)
                return -EBADMSG;
        kvs = json_find(r, range, "kvs");
        if (!kvs)
                return 0;
        if (!json_is(kvs, JSON_ARRAY) || kvs->size != 1)
                return json_reader_fail(r, -EBADMSG, "kvs isn't one key");
        v = json_find(r, kvs + 1, "value");
        if (v) {
                q = json_read_string_value(r, v, &s);
                if (q < 0)
                        return q;
        }
        q = base64_decode(s, strlen(s), max, ret, ret_size);
        if (q == -E2BIG)
                return json_reader_fail(r, q, "the value has more than %zu bytes", max);
        if (q == -EBADMSG)
                return json_reader_fail(r, q, "the value isn't base64");
        return q;
}

int etcd_parse_read(const char *text, size_t size, EtcdRead *ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        _cleanup_etcd_read_ EtcdRead read = {};
        const JsonValue *header, *responses, *first;
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        header = find_object(&r, r.root, "header");
        if (!header)
                return -EBADMSG;
        q = read_number(&r, header, "revision", &read.revision);
        if (q < 0)
                return q;
        if (read.revision == 0 || read.revision >= INT64_MAX)
                return json_reader_fail(&r, -EBADMSG, "no store has this revision");
        responses = json_find(&r, r.root, "responses");
        if (!json_is(responses, JSON_ARRAY) || responses->size != 2)
                return json_reader_fail(&r, -EBADMSG, "responses aren't two");
        first = responses + 1;
        q = read_value(&r, first, ETCD_DOCUMENT_MAX, &read.document, &read.document_size);
        if (q >= 0)
                q = read_value(&r, first + first->skip, ETCD_SIGNATURE_MAX, &read.signature, &read.signature_size);
        if (q < 0)
                return q;
        *ret = read;
        read = (EtcdRead) {};
        return 0;
}

int etcd_parse_watch(const char *text, size_t size, EtcdWatch *ret, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        const JsonValue *result, *v;
        uint64_t compacted;
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        if (json_find(&r, r.root, "error")) {
                (void) policy_error_set(error, 0, "etcd ended the watch");
                return *ret = ETCD_WATCH_ENDED, 0;
        }
        result = find_object(&r, r.root, "result");
        if (!result)
                return -EBADMSG;
        q = read_number(&r, result, "compact_revision", &compacted);
        if (q < 0)
                return q;
        if (json_is(json_find(&r, result, "canceled"), JSON_TRUE) || compacted > 0) {
                (void) policy_error_set(error, 0,
                                        compacted > 0 ? "etcd has compacted these revisions"
                                                      : "etcd cancelled the watch");
                return *ret = ETCD_WATCH_ENDED, 0;
        }
        v = json_find(&r, result, "events");
        if (v && !json_is(v, JSON_ARRAY))
                return json_reader_fail(&r, -EBADMSG, "events aren't a list");
        *ret = v && v->size > 0 ? ETCD_WATCH_CHANGED : ETCD_WATCH_NOTHING;
        return 0;
}

int etcd_parse_lease(const char *text, size_t size, uint64_t *ret_lease, uint64_t *ret_ttl, PolicyError *error) {
        _cleanup_json_reader_ JsonReader r = {};
        const JsonValue *object;
        uint64_t lease, ttl;
        int q;

        q = json_reader_begin(&r, text, size, error);
        if (q < 0)
                return q;
        object = json_find(&r, r.root, "result"); /* of a stream: keepalive */
        if (!object)
                object = r.root;
        q = read_number(&r, object, "ID", &lease);
        if (q >= 0)
                q = read_number(&r, object, "TTL", &ttl);
        if (q < 0)
                return q;
        if (lease == 0 || lease > INT64_MAX)
                return json_reader_fail(&r, -EBADMSG, "no lease has this ID");
        *ret_lease = lease;
        *ret_ttl = ttl > ETCD_TTL_MAX ? ETCD_TTL_MAX : ttl;
        return 0;
}

unsigned etcd_describe_error(long status, const char *text, size_t text_size, char *buf, size_t size) {
        _cleanup_json_reader_ JsonReader r = {};
        const JsonValue *v = NULL;
        const char *s = NULL;
        uint64_t code = 0;

        if (text_size <= ETCD_REPLY_MAX && json_reader_begin(&r, text, text_size, NULL) >= 0) {
                v = json_find(&r, r.root, "message");
                if (!json_is(v, JSON_STRING) || json_read_string_value(&r, v, &s) < 0)
                        s = NULL;
                if (read_number(&r, r.root, "code", &code) < 0 || code > ETCD_CODE_UNAUTHENTICATED)
                        code = 0;
        }
        if (s)
                (void) snprintf(buf, size, "%.256s (%ld)", s, status);
        else
                (void) snprintf(buf, size, "status %ld", status);
        for (char *p = buf; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        return (unsigned) code;
}
