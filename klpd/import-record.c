/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See import-record.h. Strings are the record's. */
#include <stdio.h>

#include "klpd/import-record.h"
#include "klpd/digest.h"
#include "klpd/state-file.h"
#include "policy/json-reader.h"
#include "policy/json.h"
#include "policy/model.h"

typedef struct Document {
        ImportRecord record;
        uint32_t version;
} Document;

void import_record_done(ImportRecord *r) {
        free(r->digest);
        *r = (ImportRecord) {};
}

static int read_version(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_version(r, value, target, IMPORT_RECORD_VERSION);
}

static int read_digest(JsonReader *r, const JsonValue *value, void *target) {
        int q;

        q = json_read_hex_or_null(r, value, target);
        if (q >= 0 && (!*(char **) target || strlen(*(char **) target) != DIGEST_HEX_LEN))
                return json_reader_fail(r, -EBADMSG, "a digest has %u digits", DIGEST_HEX_LEN);
        return q;
}

int import_record_parse(const char *text, size_t size, ImportRecord *ret, PolicyError *error) {
        static const JsonField fields[] = {
                { "version", read_version, offsetof(Document, version), true },
                { "digest", read_digest, offsetof(Document, record.digest), true },
                { "time_usec", json_read_u64, offsetof(Document, record.time_usec), true },
                { "uid", json_read_u32, offsetof(Document, record.uid), true },
        };
        Document document = {};
        int r;

        r = json_read_document(text, size, fields, ELEMENTSOF(fields), &document, error);
        if (r < 0) {
                import_record_done(&document.record);
                return r;
        }
        *ret = document.record;
        return 0;
}

int import_record_format(const ImportRecord *record, char **ret) {
        char text[256];

        (void) snprintf(text, sizeof(text),
                        "{\"version\":%u,\"digest\":\"%s\",\"time_usec\":%" PRIu64 ",\"uid\":%" PRIu32 "}\n",
                        IMPORT_RECORD_VERSION, record->digest, record->time_usec, record->uid);
        *ret = strdup(text);
        return *ret ? 0 : -ENOMEM;
}

int import_record_read(int root_fd, const char *path, ImportRecord *ret, PolicyError *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = state_file_read(root_fd, path, IMPORT_RECORD_BYTES_MAX, &text, &size);
        if (r < 0)
                return r == -ENOENT ? r : policy_error_set(error, r, "it can't be read: %s", strerror(-r));
        return import_record_parse(text, size, ret, error);
}
