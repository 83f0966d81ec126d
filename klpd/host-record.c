/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See host-record.h. Lists are arrays that grow one by one: they are short. Each entry owns its strings. */
#include "klpd/host-record.h"
#include "klpd/digest.h"
#include "klpd/state-file.h"
#include "policy/json-reader.h"
#include "policy/json.h"
#include "policy/model.h"

typedef struct Document {
        HostRecord record;
        uint32_t version;
} Document;

static void host_patch_done(HostPatch *p) {
        free(p->name);
        free(p->kernel);
        free(p->digest);
        free(p->boot_id);
        strv_free(p->allow_vendor);
        strv_free(p->replaces);
}

static void host_quarantine_done(HostQuarantine *q) {
        free(q->digest);
        free(q->name);
        free(q->reason);
}

void host_mark_clear(HostRecord *r) {
        for (size_t i = 0; i < r->n_mark; i++) {
                free(r->mark[i].digest);
                free(r->mark[i].name);
        }
        r->mark = (free(r->mark), NULL);
        r->n_mark = 0;
}

void host_record_done(HostRecord *r) {
        for (size_t i = 0; i < r->n_trial; i++)
                host_patch_done(&r->trial[i]);
        for (size_t i = 0; i < r->n_accepted; i++)
                host_patch_done(&r->accepted[i]);
        for (size_t i = 0; i < r->n_quarantine; i++)
                host_quarantine_done(&r->quarantine[i]);
        free(r->trial);
        free(r->accepted);
        free(r->quarantine);
        host_mark_clear(r);
        free(r->boot_id);
        *r = (HostRecord) {};
}

/* ---- reading ---- */

static int read_version(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_version(r, value, target, HOST_RECORD_VERSION);
}

static int check_digest(JsonReader *r, const char *s) {
        if (strlen(s) != DIGEST_HEX_LEN || strspn(s, "0123456789abcdef") != DIGEST_HEX_LEN)
                return json_reader_fail(r, -EBADMSG, "not a digest (%u lower-case hexadecimal digits)",
                                        DIGEST_HEX_LEN);
        return 0;
}

static int read_digest(JsonReader *r, const JsonValue *value, void *target) {
        const char *s;
        int q;

        q = json_read_string_value(r, value, &s);
        if (q >= 0)
                q = check_digest(r, s);
        return q < 0 ? q : free_and_strdup(target, s);
}

static int grow(void **list, size_t n, size_t size) {
        void *bigger = reallocarray(*list, n + 1, size);

        if (!bigger)
                return -ENOMEM;
        memset((char *) bigger + n * size, 0, size);
        *list = bigger;
        return 0;
}

/* A bare digest is from a klpd that wrote no names. */
static int read_mark_one(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "digest", read_digest, offsetof(HostMark, digest), true },
                { "name", json_read_name, offsetof(HostMark, name), true },
        };
        HostRecord *record = target;
        HostMark *m;
        int q = grow((void **) &record->mark, record->n_mark, sizeof(HostMark));

        if (q < 0)
                return q;
        m = &record->mark[record->n_mark++];
        return json_is(value, JSON_STRING) ? read_digest(r, value, &m->digest) :
                                             json_read_object(r, value, fields, ELEMENTSOF(fields), m);
}

static int read_mark(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, HOST_RECORD_LIST_MAX, read_mark_one, target);
}

static int read_patch(JsonReader *r, const JsonValue *value, HostPatch *p) {
        static const JsonField fields[] = {
                { "name", json_read_name, offsetof(HostPatch, name), true },
                { "kernel", json_read_text, offsetof(HostPatch, kernel), true },
                { "digest", read_digest, offsetof(HostPatch, digest), true },
                { "boot_id", json_read_text, offsetof(HostPatch, boot_id), true },
                { "since_usec", json_read_u64, offsetof(HostPatch, since_usec), true },
                { "downgrade", json_read_bool, offsetof(HostPatch, downgrade), false },
                { "accept_irreversible", json_read_bool, offsetof(HostPatch, accept_irreversible), false },
                { "replace_foreign", json_read_bool, offsetof(HostPatch, replace_foreign), false },
                { "allow_vendor", json_read_name_list, offsetof(HostPatch, allow_vendor), false },
                { "replaces", json_read_name_list, offsetof(HostPatch, replaces), false },
        };

        return json_read_object(r, value, fields, ELEMENTSOF(fields), p);
}

static int read_trial(JsonReader *r, const JsonValue *value, void *target) {
        HostRecord *record = target;
        int q = grow((void **) &record->trial, record->n_trial, sizeof(HostPatch));

        return q < 0 ? q : read_patch(r, value, &record->trial[record->n_trial++]);
}

static int read_trials(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, HOST_RECORD_LIST_MAX, read_trial, target);
}

static int read_accepted_one(JsonReader *r, const JsonValue *value, void *target) {
        HostRecord *record = target;
        int q = grow((void **) &record->accepted, record->n_accepted, sizeof(HostPatch));

        return q < 0 ? q : read_patch(r, value, &record->accepted[record->n_accepted++]);
}

static int read_accepted(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, HOST_RECORD_LIST_MAX, read_accepted_one, target);
}

static int read_quarantine_one(JsonReader *r, const JsonValue *value, void *target) {
        static const JsonField fields[] = {
                { "digest", read_digest, offsetof(HostQuarantine, digest), true },
                { "name", json_read_name, offsetof(HostQuarantine, name), true },
                { "reason", json_read_text, offsetof(HostQuarantine, reason), true },
                { "since_usec", json_read_u64, offsetof(HostQuarantine, since_usec), true },
        };
        HostRecord *record = target;
        int q = grow((void **) &record->quarantine, record->n_quarantine, sizeof(HostQuarantine));

        return q < 0 ? q
                     : json_read_object(r, value, fields, ELEMENTSOF(fields),
                                        &record->quarantine[record->n_quarantine++]);
}

static int read_quarantine(JsonReader *r, const JsonValue *value, void *target) {
        return json_read_array(r, value, HOST_RECORD_LIST_MAX, read_quarantine_one, target);
}

int host_record_parse(const char *text, size_t size, HostRecord *ret, PolicyError *error) {
        static const JsonField fields[] = {
                { "version", read_version, offsetof(Document, version), true },
                { "serial", json_read_u64, offsetof(Document, record.serial), false },
                { "boot_id", json_read_text_or_null, offsetof(Document, record.boot_id), true },
                { "orderly", json_read_bool, offsetof(Document, record.orderly), true },
                { "mark", read_mark, offsetof(Document, record), true },
                { "trial", read_trials, offsetof(Document, record), true },
                { "accepted", read_accepted, offsetof(Document, record), true },
                { "quarantine", read_quarantine, offsetof(Document, record), true },
        };
        Document document = {};
        int r;

        r = json_read_document(text, size, fields, ELEMENTSOF(fields), &document, error);
        if (r < 0) {
                host_record_done(&document.record);
                return r;
        }
        *ret = document.record;
        return 0;
}

/* ---- writing ---- */

/* Takes value over; NULL is want of memory. */
static int add(struct json_object *o, const char *key, struct json_object *value) {
        if (!value)
                return -ENOMEM;
        if (json_object_object_add(o, key, value) < 0) {
                json_object_put(value);
                return -ENOMEM;
        }
        return 0;
}

static int add_text(struct json_object *o, const char *key, const char *text) {
        return text ? add(o, key, json_object_new_string(text)) : json_object_object_add(o, key, NULL);
}

static int push(struct json_object *array, struct json_object *value, int r) {
        if (!value || r < 0 || json_object_array_add(array, value) < 0) {
                json_object_put(value);
                return r < 0 ? r : -ENOMEM;
        }
        return 0;
}

static int add_strv(struct json_object *o, const char *key, char *const *l) {
        struct json_object *array = json_object_new_array();
        char *const *s;
        int r = array ? 0 : -ENOMEM;

        for (s = l; r >= 0 && s && *s; s++)
                r = push(array, json_object_new_string(*s), 0);
        if (r < 0) {
                json_object_put(array);
                return r;
        }
        return add(o, key, array);
}

static int add_mark(struct json_object *o, const HostRecord *record) {
        struct json_object *array = json_object_new_array();
        int r;

        r = add(o, "mark", array);
        for (size_t i = 0; r >= 0 && i < record->n_mark; i++) {
                const HostMark *m = &record->mark[i];
                struct json_object *e = m->name ? json_object_new_object() : json_object_new_string(m->digest);

                if (e && m->name) {
                        r = add_text(e, "digest", m->digest);
                        if (r >= 0)
                                r = add_text(e, "name", m->name);
                }
                r = push(array, e, r);
        }
        return r;
}

static int add_patches(struct json_object *o, const char *key, const HostPatch *l, size_t n) {
        struct json_object *array = json_object_new_array();
        int r;

        r = add(o, key, array);
        for (size_t i = 0; r >= 0 && i < n; i++) {
                const HostPatch *p = &l[i];
                struct json_object *e = json_object_new_object();

                if (!e)
                        return -ENOMEM;
                r = add_text(e, "name", p->name);
                if (r >= 0)
                        r = add_text(e, "kernel", p->kernel);
                if (r >= 0)
                        r = add_text(e, "digest", p->digest);
                if (r >= 0)
                        r = add_text(e, "boot_id", p->boot_id);
                if (r >= 0)
                        r = add(e, "since_usec", json_object_new_uint64(p->since_usec));
                if (r >= 0)
                        r = add(e, "downgrade", json_object_new_boolean(p->downgrade));
                if (r >= 0)
                        r = add(e, "accept_irreversible", json_object_new_boolean(p->accept_irreversible));
                if (r >= 0)
                        r = add(e, "replace_foreign", json_object_new_boolean(p->replace_foreign));
                if (r >= 0)
                        r = add_strv(e, "allow_vendor", p->allow_vendor);
                if (r >= 0)
                        r = add_strv(e, "replaces", p->replaces);
                r = push(array, e, r);
        }
        return r;
}

static int add_quarantine(struct json_object *o, const HostRecord *record) {
        struct json_object *array = json_object_new_array();
        int r;

        r = add(o, "quarantine", array);
        for (size_t i = 0; r >= 0 && i < record->n_quarantine; i++) {
                const HostQuarantine *q = &record->quarantine[i];
                struct json_object *e = json_object_new_object();

                if (!e)
                        return -ENOMEM;
                r = add_text(e, "digest", q->digest);
                if (r >= 0)
                        r = add_text(e, "name", q->name);
                if (r >= 0)
                        r = add_text(e, "reason", q->reason);
                if (r >= 0)
                        r = add(e, "since_usec", json_object_new_uint64(q->since_usec));
                r = push(array, e, r);
        }
        return r;
}

int host_record_format(const HostRecord *record, char **ret) {
        struct json_object *o = json_object_new_object();
        int r;

        if (!o)
                return -ENOMEM;
        r = add(o, "version", json_object_new_int64(HOST_RECORD_VERSION));
        if (r >= 0)
                r = add(o, "serial", json_object_new_uint64(record->serial));
        if (r >= 0)
                r = add_text(o, "boot_id", record->boot_id);
        if (r >= 0)
                r = add(o, "orderly", json_object_new_boolean(record->orderly));
        if (r >= 0)
                r = add_mark(o, record);
        if (r >= 0)
                r = add_patches(o, "trial", record->trial, record->n_trial);
        if (r >= 0)
                r = add_patches(o, "accepted", record->accepted, record->n_accepted);
        if (r >= 0)
                r = add_quarantine(o, record);
        if (r >= 0)
                r = json_to_line(o, ret);
        json_object_put(o);
        return r;
}

int host_record_read(int root_fd, HostRecord *ret, PolicyError *error) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int r;

        r = state_file_read(root_fd, HOST_RECORD_PATH, HOST_RECORD_BYTES_MAX, &text, &size);
        if (r < 0)
                return r == -ENOENT ? r : policy_error_set(error, r, "it can't be read: %s", strerror(-r));
        return host_record_parse(text, size, ret, error);
}

int host_record_write(int root_fd, const HostRecord *record) {
        _cleanup_free_ char *text = NULL;
        int r;

        r = host_record_format(record, &text);
        if (r >= 0)
                r = state_directory_make(root_fd, "var/lib/klpd");
        return r < 0 ? r : state_file_write(root_fd, HOST_RECORD_PATH, text, strlen(text), 0644);
}

/* ---- lists ---- */

int host_mark_add(HostRecord *r, const char *digest, const char *name) {
        HostMark m = {};
        int k = r->n_mark >= HOST_RECORD_LIST_MAX ? -E2BIG : free_and_strdup(&m.digest, digest);

        if (k >= 0)
                k = free_and_strdup(&m.name, name);
        if (k >= 0)
                k = grow((void **) &r->mark, r->n_mark, sizeof(HostMark));
        if (k < 0) {
                free(m.digest);
                free(m.name);
                return k;
        }
        r->mark[r->n_mark++] = m;
        return 0;
}

HostPatch *host_patch_find(HostPatch *list, size_t n, const char *name, const char *kernel) {
        for (size_t i = 0; i < n; i++)
                if (patch_name_equal(list[i].name, name) && (!kernel || streq(list[i].kernel, kernel)))
                        return &list[i];
        return NULL;
}

void host_patch_remove(HostPatch **list, size_t *n, HostPatch *p) {
        size_t i = (size_t) (p - *list);

        host_patch_done(p);
        memmove(*list + i, *list + i + 1, (*n - i - 1) * sizeof(HostPatch));
        (*n)--;
}

static int host_patch_copy(HostPatch *to, const HostPatch *from) {
        int r;

        *to = (HostPatch){
                        .since_usec = from->since_usec,
                        .downgrade = from->downgrade,
                        .accept_irreversible = from->accept_irreversible,
                        .replace_foreign = from->replace_foreign,
        };
        r = free_and_strdup(&to->name, from->name);
        if (r >= 0)
                r = free_and_strdup(&to->kernel, from->kernel);
        if (r >= 0)
                r = free_and_strdup(&to->digest, from->digest);
        if (r >= 0)
                r = free_and_strdup(&to->boot_id, from->boot_id);
        if (r >= 0)
                r = strv_copy(from->allow_vendor, &to->allow_vendor);
        if (r >= 0)
                r = strv_copy(from->replaces, &to->replaces);
        if (r < 0)
                host_patch_done(to);
        return r;
}

int host_patch_add(HostPatch **list, size_t *n, const HostPatch *p) {
        HostPatch copy, *old;
        int r;

        r = host_patch_copy(&copy, p);
        if (r < 0)
                return r;
        old = host_patch_find(*list, *n, p->name, p->kernel);
        if (old)
                host_patch_remove(list, n, old);
        r = *n >= HOST_RECORD_LIST_MAX ? -E2BIG : grow((void **) list, *n, sizeof(HostPatch));
        if (r < 0) {
                host_patch_done(&copy);
                return r;
        }
        (*list)[(*n)++] = copy;
        return 0;
}

bool host_quarantine_has(const HostRecord *r, const char *digest) {
        for (size_t i = 0; i < r->n_quarantine; i++)
                if (streq(r->quarantine[i].digest, digest))
                        return true;
        return false;
}

static void quarantine_drop(HostRecord *r, size_t i) {
        host_quarantine_done(&r->quarantine[i]);
        memmove(r->quarantine + i, r->quarantine + i + 1, (r->n_quarantine - i - 1) * sizeof(HostQuarantine));
        r->n_quarantine--;
}

int host_quarantine_add(HostRecord *r, const char *digest, const char *name, const char *reason,
                        uint64_t now_usec) {
        HostQuarantine q = { .since_usec = now_usec };
        int k;

        if (host_quarantine_has(r, digest))
                return 0;
        k = free_and_strdup(&q.digest, digest);
        if (k >= 0)
                k = free_and_strdup(&q.name, name);
        if (k >= 0)
                k = free_and_strdup(&q.reason, reason);
        if (k >= 0 && r->n_quarantine >= HOST_RECORD_LIST_MAX)
                quarantine_drop(r, 0);
        if (k >= 0)
                k = grow((void **) &r->quarantine, r->n_quarantine, sizeof(HostQuarantine));
        if (k < 0) {
                host_quarantine_done(&q);
                return k;
        }
        r->quarantine[r->n_quarantine++] = q;
        return 0;
}

int host_quarantine_remove(HostRecord *r, const char *what) {
        size_t n = strlen(what);
        int found = 0;

        for (size_t i = r->n_quarantine; i-- > 0;) {
                const HostQuarantine *q = &r->quarantine[i];

                if (!patch_name_equal(q->name, what) && (n < 8 || strncmp(q->digest, what, n) != 0))
                        continue;
                quarantine_drop(r, i);
                found = 1;
        }
        return found;
}
