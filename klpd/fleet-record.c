/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-record.h. Lists are arrays that grow one by one: they are short. Each entry owns its strings. */
#include "klpd/fleet-record.h"
#include "klpd/state-file.h"
#include "policy/json-reader.h"
#include "policy/json-writer.h"
#include "policy/model.h"

#define SENTENCE_MAX 900U

typedef struct Document {
        FleetRecord record;
        uint32_t version;
} Document;

void fleet_attempt_done(FleetAttempt *a) {
        free(a->document);
        free(a->content);
        free(a->boot_id);
        free(a->slot);
        *a = (FleetAttempt) {};
}

static void serial_done(FleetSerial *s) {
        free(s->signer);
        free(s->name);
}

static void failed_done(FleetFailed *f) {
        free(f->document);
        free(f->content);
        free(f->reason);
}

void fleet_record_done(FleetRecord *r) {
        for (size_t i = 0; i < r->n_serials; i++)
                serial_done(&r->serials[i]);
        for (size_t i = 0; i < r->n_failed; i++)
                failed_done(&r->failed[i]);
        free(r->serials);
        free(r->failed);
        free(r->goal);
        free(r->override_stream);
        free(r->override_by);
        fleet_attempt_done(&r->attempt);
        *r = (FleetRecord) {};
}

/* ---- reading ---- */

static int read_version(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_version(r, value, target, FLEET_RECORD_VERSION);
}

static int grow(void **list, size_t n, size_t size) {
        void *bigger = reallocarray(*list, n + 1, size);

        if (!bigger)
                return -ENOMEM;
        memset((char *) bigger + n * size, 0, size);
        *list = bigger;
        return 0;
}

static int read_serial(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "signer", json_read_text, offsetof(FleetSerial, signer), true },
                { "name", json_read_text, offsetof(FleetSerial, name), true },
                { "serial", json_read_u64, offsetof(FleetSerial, serial), true },
        };
        FleetRecord *record = target;
        int q = grow((void **) &record->serials, record->n_serials, sizeof(FleetSerial));

        return q < 0 ? q
                     : json_read_object(r, value, fields, ELEMENTSOF(fields),
                                        &record->serials[record->n_serials++]);
}

static int read_serials(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, FLEET_RECORD_SERIALS_MAX, read_serial, target);
}

static int read_failed_one(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "document", json_read_text, offsetof(FleetFailed, document), true },
                { "content", json_read_text, offsetof(FleetFailed, content), true },
                { "reason", json_read_text, offsetof(FleetFailed, reason), true },
                { "since_usec", json_read_u64, offsetof(FleetFailed, since_usec), true },
        };
        FleetRecord *record = target;
        int q = grow((void **) &record->failed, record->n_failed, sizeof(FleetFailed));

        return q < 0 ? q
                     : json_read_object(r, value, fields, ELEMENTSOF(fields),
                                        &record->failed[record->n_failed++]);
}

static int read_failed(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, FLEET_RECORD_FAILED_MAX, read_failed_one, target);
}

static int read_attempt(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "document", json_read_text_or_null, offsetof(FleetAttempt, document), true },
                { "content", json_read_text_or_null, offsetof(FleetAttempt, content), true },
                { "boot_id", json_read_text_or_null, offsetof(FleetAttempt, boot_id), true },
                { "slot", json_read_text_or_null, offsetof(FleetAttempt, slot), true },
                { "tries", json_read_u32, offsetof(FleetAttempt, tries), true },
                { "job", json_read_u32, offsetof(FleetAttempt, job), true },
                { "open", json_read_bool, offsetof(FleetAttempt, open), true },
                { "failed", json_read_bool, offsetof(FleetAttempt, failed), true },
        };

        const FleetAttempt *a = target;
        int q;

        q = json_read_object(r, value, fields, ELEMENTSOF(fields), target);
        if (q >= 0 && (!a->document != !a->content || (a->open && !a->document)))
                return json_reader_fail(r, -EBADMSG, "an attempt is about a document and a content");
        return q;
}

int fleet_record_parse(const char *text, size_t size, FleetRecord *ret, PolicyError *error) {
#define FIELD(name) offsetof(Document, record.name)
        static const JsonField fields[] = {
                { "version", read_version, offsetof(Document, version), true },
                { "last_trusted_usec", json_read_u64, FIELD(last_trusted_usec), true },
                { "last_success_usec", json_read_u64, FIELD(last_success_usec), true },
                { "goal", json_read_text_or_null, FIELD(goal), true },
                { "goal_since_usec", json_read_u64, FIELD(goal_since_usec), true },
                { "overridden", json_read_bool, FIELD(overridden), true },
                { "override_stream", json_read_text_or_null, FIELD(override_stream), true },
                { "override_by", json_read_text_or_null, FIELD(override_by), true },
                { "override_usec", json_read_u64, FIELD(override_usec), true },
                { "serials", read_serials, offsetof(Document, record), true },
                { "failed", read_failed, offsetof(Document, record), true },
                { "attempt", read_attempt, FIELD(attempt), true },
        };
#undef FIELD
        Document document = {};
        int r;

        r = json_read_document(text, size, fields, ELEMENTSOF(fields), &document, error);
        if (r < 0) {
                fleet_record_done(&document.record);
                return r;
        }
        *ret = document.record;
        return 0;
}

/* ---- writing ---- */

static void write_text(JsonWriter *w, const char *key, const char *text) {
        json_write_key(w, key);
        if (text)
                json_write_string(w, text);
        else
                json_write_null(w);
}

static void write_flag(JsonWriter *w, const char *key, bool value) {
        json_write_key(w, key);
        json_write_bool(w, value);
}

static void write_lists(JsonWriter *w, const FleetRecord *r) {
        json_write_key(w, "serials");
        json_write_open(w, '[');
        for (size_t i = 0; i < r->n_serials; i++) {
                json_write_open(w, '{');
                write_text(w, "signer", r->serials[i].signer);
                write_text(w, "name", r->serials[i].name);
                json_write_member_u64(w, "serial", r->serials[i].serial);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
        json_write_key(w, "failed");
        json_write_open(w, '[');
        for (size_t i = 0; i < r->n_failed; i++) {
                json_write_open(w, '{');
                write_text(w, "document", r->failed[i].document);
                write_text(w, "content", r->failed[i].content);
                write_text(w, "reason", r->failed[i].reason);
                json_write_member_u64(w, "since_usec", r->failed[i].since_usec);
                json_write_close(w, '}');
        }
        json_write_close(w, ']');
}

static void write_attempt(JsonWriter *w, const FleetAttempt *a) {
        json_write_key(w, "attempt");
        json_write_open(w, '{');
        write_text(w, "document", a->document);
        write_text(w, "content", a->content);
        write_text(w, "boot_id", a->boot_id);
        write_text(w, "slot", a->slot);
        json_write_member_u64(w, "tries", a->tries);
        json_write_member_u64(w, "job", a->job);
        write_flag(w, "open", a->open);
        write_flag(w, "failed", a->failed);
        json_write_close(w, '}');
}

int fleet_record_format(const FleetRecord *r, char **ret) {
        _cleanup_json_writer_ JsonWriter w = {};
        const char *text;
        char *copy;

        json_write_open(&w, '{');
        json_write_member_u64(&w, "version", FLEET_RECORD_VERSION);
        json_write_member_u64(&w, "last_trusted_usec", r->last_trusted_usec);
        json_write_member_u64(&w, "last_success_usec", r->last_success_usec);
        write_text(&w, "goal", r->goal);
        json_write_member_u64(&w, "goal_since_usec", r->goal_since_usec);
        write_flag(&w, "overridden", r->overridden);
        write_text(&w, "override_stream", r->override_stream);
        write_text(&w, "override_by", r->override_by);
        json_write_member_u64(&w, "override_usec", r->override_usec);
        write_lists(&w, r);
        write_attempt(&w, &r->attempt);
        json_write_close(&w, '}');
        text = json_writer_text(&w);
        copy = text ? strdup(text) : NULL;
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int fleet_record_read(int root_fd, FleetRecord *ret, PolicyError *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = state_file_read(root_fd, FLEET_RECORD_PATH, FLEET_RECORD_BYTES_MAX, &text, &size);
        if (r < 0)
                return r == -ENOENT ? r : policy_error_set(error, r, "it can't be read: %s", strerror(-r));
        return fleet_record_parse(text, size, ret, error);
}

int fleet_record_write(int root_fd, const FleetRecord *record) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = fleet_record_format(record, &text);
        if (r >= 0)
                r = state_directory_make(root_fd, "var/lib/klpd");
        return r < 0 ? r : state_file_write(root_fd, FLEET_RECORD_PATH, text, strlen(text), 0644);
}

/* ---- lists ---- */

/* Words from anywhere, as they can be read again: bounded, without control characters. */
static int set_sentence(char **field, const char *s) {
        char text[SENTENCE_MAX + 1];
        size_t n = strnlen(s, SENTENCE_MAX);

        memcpy(text, s, n);
        text[n] = 0;
        for (char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        *p = ' ';
        return free_and_strdup(field, n > 0 ? text : "unknown");
}

static FleetSerial *find_serial(const FleetRecord *r, const char *signer, const char *name) {
        for (size_t i = 0; i < r->n_serials; i++)
                if (streq(r->serials[i].signer, signer) && streq(r->serials[i].name, name))
                        return &r->serials[i];
        return NULL;
}

uint64_t fleet_record_serial(const FleetRecord *r, const char *signer, const char *name) {
        const FleetSerial *s = find_serial(r, signer, name);

        return s ? s->serial : 0;
}

int fleet_record_set_serial(FleetRecord *r, const char *signer, const char *name, uint64_t serial) {
        FleetSerial *s = find_serial(r, signer, name), new = { .serial = serial };
        int k;

        if (s) {
                s->serial = serial;
                return 0;
        }
        if (r->n_serials >= FLEET_RECORD_SERIALS_MAX)
                return -E2BIG;
        k = free_and_strdup(&new.signer, signer);
        if (k >= 0)
                k = free_and_strdup(&new.name, name);
        if (k >= 0)
                k = grow((void **) &r->serials, r->n_serials, sizeof(new));
        if (k < 0) {
                serial_done(&new);
                return k;
        }
        r->serials[r->n_serials++] = new;
        return 0;
}

size_t fleet_record_forget_serial(FleetRecord *r, const char *name) {
        size_t before = r->n_serials, n = 0;

        for (size_t i = 0; i < before; i++)
                if (streq(r->serials[i].name, name))
                        serial_done(&r->serials[i]);
                else
                        r->serials[n++] = r->serials[i];
        r->n_serials = n;
        return before - n;
}

const FleetFailed *fleet_record_find_failed(const FleetRecord *r, const char *document, const char *content) {
        for (size_t i = 0; i < r->n_failed; i++)
                if (streq(r->failed[i].document, document) && streq(r->failed[i].content, content))
                        return &r->failed[i];
        return NULL;
}

int fleet_record_add_failed(FleetRecord *r, const char *document, const char *content, const char *reason,
                            uint64_t now_usec) {
        FleetFailed new = { .since_usec = now_usec };
        int k;

        if (fleet_record_find_failed(r, document, content))
                return 0;
        k = free_and_strdup(&new.document, document);
        if (k >= 0)
                k = free_and_strdup(&new.content, content);
        if (k >= 0)
                k = set_sentence(&new.reason, reason);
        if (k >= 0 && r->n_failed >= FLEET_RECORD_FAILED_MAX) {
                failed_done(&r->failed[0]);
                memmove(r->failed, r->failed + 1, (r->n_failed - 1) * sizeof(*r->failed));
                r->n_failed--;
        }
        if (k >= 0)
                k = grow((void **) &r->failed, r->n_failed, sizeof(new));
        if (k < 0) {
                failed_done(&new);
                return k;
        }
        r->failed[r->n_failed++] = new;
        return 0;
}

size_t fleet_record_forget_failed(FleetRecord *r) {
        size_t n = r->n_failed;

        for (size_t i = 0; i < n; i++)
                failed_done(&r->failed[i]);
        r->n_failed = 0;
        return n;
}
