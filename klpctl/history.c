/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the audit. Who may write to the journal may write any field but those that journald itself adds: a
 * record counts only if journald says that it came from klpd.service (SEMANTICS.md 5.6). The match on
 * _SYSTEMD_UNIT is therefore not a filter among others: without it anybody could make history.
 *
 * A record that klpd couldn't be sure of is there once more with the same KLPD_RECORD (klpd/journal.h): of several the
 * one that is met first counts.
 */
#include <pwd.h>
#include <systemd/sd-journal.h>

#include "history.h"
#include "json-util.h"
#include "klpd/message-ids.h"
#include "parse.h"
#include "policy/json.h"

#define KLPD_UNIT "klpd.service"
#define KLPD_BOOT_UNIT "klpd-boot.service" /* the same program, early at boot */
#define FIELD_SIZE_MAX (1024U * 1024U)

static const char *const message_ids[] = {
        KLPD_MESSAGE_JOB_STARTED, KLPD_MESSAGE_REFUSED,   KLPD_MESSAGE_FAILED,   KLPD_MESSAGE_LOADED,
        KLPD_MESSAGE_PREPARING,   KLPD_MESSAGE_COMPLETED, KLPD_MESSAGE_REVERSED, KLPD_MESSAGE_STALLED,
        KLPD_MESSAGE_UNLOADED,    KLPD_MESSAGE_STATE,     KLPD_MESSAGE_FOREIGN,  KLPD_MESSAGE_DAEMON,
        KLPD_MESSAGE_REPOSITORY,  KLPD_MESSAGE_STANDING,  KLPD_MESSAGE_RECOVERED,
        KLPD_MESSAGE_NUDGED,      KLPD_MESSAGE_FLEET,
        KLPD_MESSAGE_NUDGED,      KLPD_MESSAGE_HEALTH,   KLPD_MESSAGE_FORCED,
        KLPD_MESSAGE_KEPT,
};

typedef enum FieldKind {
        FIELD_TEXT,
        FIELD_NUMBER,
        FIELD_LIST, /* may come several times */
        FIELD_JSON,
} FieldKind;

/* message-ids.h lists them. */
static const struct {
        const char *field, *key;
        FieldKind kind;
} fields[] = {
        { "KLPD_EDGE", "edge", FIELD_TEXT },
        { "MESSAGE", "message", FIELD_TEXT },
        { "MESSAGE_ID", "message_id", FIELD_TEXT },
        { "PRIORITY", "priority", FIELD_NUMBER },
        { "KLPD_JOB", "job", FIELD_NUMBER },
        { "KLPD_REQUEST", "request", FIELD_TEXT },
        { "KLPD_PATCH", "patch", FIELD_TEXT },
        { "KLPD_STREAM", "stream", FIELD_TEXT },
        { "KLPD_LEVEL", "level", FIELD_NUMBER },
        { "KLPD_REPLACED", "replaced", FIELD_LIST },
        { "KLPD_UID", "uid", FIELD_NUMBER },
        { "KLPD_REASON", "reason", FIELD_TEXT },
        { "KLPD_OVERRIDE", "overrides", FIELD_LIST },
        { "KLPD_RULE", "rules", FIELD_LIST },
        { "KLPD_RESULT", "result", FIELD_TEXT },
        { "KLPD_ERRNO", "errno", FIELD_NUMBER },
        { "KLPD_GENERATION", "generation", FIELD_NUMBER },
        { "KLPD_DURATION_USEC", "duration_usec", FIELD_NUMBER },
        { "KLPD_TRANSITION_USEC", "transition_usec", FIELD_NUMBER },
        { "KLPD_STATE_ID", "state", FIELD_NUMBER },
        { "KLPD_STATE_NAME", "state_name", FIELD_TEXT },
        { "KLPD_FATE", "fate", FIELD_TEXT },
        { "KLPD_FROM", "from", FIELD_NUMBER },
        { "KLPD_TO", "to", FIELD_NUMBER },
        { "KLPD_BLOCKER", "blockers", FIELD_LIST },
        { "KLPD_STACK", "stacks", FIELD_LIST },
        { "KLPD_DIGEST", "digest", FIELD_TEXT },
        { "KLPD_SIGNER", "signer", FIELD_TEXT },
        { "KLPD_UNIT", "units", FIELD_LIST },
        { "KLPD_STEP", "step", FIELD_TEXT },
        { "KLPD_RECOVERY", "recovery", FIELD_TEXT },
        { "KLPD_DOCUMENT", "document", FIELD_TEXT },
        { "KLPD_FLEET_RULE", "fleet_rule", FIELD_TEXT },
        { "KLPD_BACK", "back", FIELD_TEXT },
        { "KLPD_PLAN", "plan", FIELD_JSON },
        { "KLPD_RECORD", "record", FIELD_TEXT },
        { "KLPD_RESENT", "resent", FIELD_NUMBER },
        { "KLPD_MISSING", "missing", FIELD_NUMBER },
        { "KLPD_REALTIME_USEC", "time_usec", FIELD_NUMBER }, /* when it happened: takes the place of journald's time */
        { "_BOOT_ID", "boot_id", FIELD_TEXT },
};

/* Ids of states may be written as kernel people write them. */
static int parse_number(const char *text, uint64_t *ret) {
        char *end;

        if (strncmp(text, "0x", 2) != 0 || strlen(text) > 18 ||
            strspn(text + 2, "0123456789abcdef") != strlen(text + 2))
                return parse_u64(text, ret);

        *ret = strtoull(text + 2, &end, 16);
        return end > text + 2 ? 0 : -EINVAL;
}

static json_object *field_value(FieldKind kind, const char *text) {
        json_object *o = NULL;

        switch (kind) {
        case FIELD_TEXT:
        case FIELD_LIST:
                return json_object_new_string(text);
        case FIELD_NUMBER: {
                uint64_t n;

                return parse_number(text, &n) < 0 ? json_object_new_string(text) : json_object_new_uint64(n);
        }
        case FIELD_JSON:
                return json_parse_strict(text, strlen(text), &o, NULL) < 0 ? json_object_new_string(text)
                                                                           : o;
        }

        return NULL;
}

static int add_field(json_object *record, size_t i, const char *text) {
        json_object *list;

        if (fields[i].kind != FIELD_LIST)
                return json_set_member(record, fields[i].key, field_value(fields[i].kind, text));

        list = json_array(record, fields[i].key);
        if (!list) {
                list = json_object_new_array();
                if (json_set_member(record, fields[i].key, list) < 0)
                        return -ENOMEM;
        }

        return json_array_push(list, field_value(FIELD_LIST, text));
}

static int add_user(json_object *record) {
        uint64_t uid = json_u64(record, "uid");
        struct passwd *pw;

        if (!json_has(record, "uid") || uid > UINT32_MAX)
                return 0;

        pw = getpwuid((uid_t) uid);
        return pw ? json_set_member(record, "user", json_object_new_string(pw->pw_name)) : 0;
}

/* The record at the journal's present position, and when journald took it. */
static int read_record(sd_journal *j, json_object **ret, uint64_t *ret_usec) {
        _cleanup_json_ json_object *record = json_object_new_object();
        const void *data;
        uint64_t usec;
        size_t size;
        int r;

        r = sd_journal_get_realtime_usec(j, &usec);
        if (r < 0)
                return r;
        if (!record || json_set_member(record, "time_usec", json_object_new_uint64(usec)) < 0)
                return -ENOMEM;

        SD_JOURNAL_FOREACH_DATA(j, data, size)
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                size_t n = strlen(fields[i].field);
                _cleanup_free_ char *text = NULL;

                if (size <= n || memcmp(data, fields[i].field, n) != 0 || ((const char *) data)[n] != '=')
                        continue;

                text = strndup((const char *) data + n + 1, size - n - 1);
                if (!text || add_field(record, i, text) < 0)
                        return -ENOMEM;
        }

        if (add_user(record) < 0)
                return -ENOMEM;

        *ret = TAKE_PTR(record);
        *ret_usec = usec;
        return 0;
}

/* Whether it has been seen before, and now it has. */
static bool seen_before(json_object *seen, json_object *record) {
        const char *id = json_string(record, "record");

        if (!*id)
                return false;
        if (json_has(seen, id))
                return true;
        (void) json_set_member(seen, id, json_object_new_boolean(true));
        return false;
}

static int add_match(sd_journal *j, const char *field, const char *value) {
        char match[512];

        if (snprintf(match, sizeof(match), "%s=%s", field, value) >= (int) sizeof(match))
                return -E2BIG;

        return sd_journal_add_match(j, match, 0);
}

/* A patch is concerned if it is what a record is about, or was replaced. */
static int match_patch(sd_journal *j, const char *patch) {
        _cleanup_free_ char *name = strdup(patch);
        int r;

        if (!name)
                return -ENOMEM;
        for (char *p = name; *p; p++)
                if (*p == '-') /* the kernel's spelling */
                        *p = '_';

        if ((r = sd_journal_add_conjunction(j)) < 0 || (r = add_match(j, "KLPD_PATCH", name)) < 0 ||
            (r = sd_journal_add_disjunction(j)) < 0)
                return r;

        return add_match(j, "KLPD_REPLACED", name);
}

static int add_matches(sd_journal *j, const Arguments *a) {
        int r;

        for (size_t i = 0; i < ELEMENTSOF(message_ids); i++) {
                r = add_match(j, "MESSAGE_ID", message_ids[i]);
                if (r < 0)
                        return r;
        }

        r = add_match(j, "_SYSTEMD_UNIT", KLPD_UNIT);
        if (r >= 0)
                r = add_match(j, "_SYSTEMD_UNIT", KLPD_BOOT_UNIT);
        if (r < 0)
                return r;

        if (a->boot) {
                char id[SD_ID128_STRING_MAX];
                sd_id128_t boot;

                r = sd_id128_get_boot(&boot);
                if (r < 0)
                        return r;
                r = add_match(j, "_BOOT_ID", sd_id128_to_string(boot, id));
                if (r < 0)
                        return r;
        }

        return a->patch ? match_patch(j, a->patch) : 0;
}

/* Newest first where that is wanted, or where only the last ones are. */
static int seek(sd_journal *j, const Arguments *a, bool backwards) {
        if (backwards)
                return a->until_usec > 0 ? sd_journal_seek_realtime_usec(j, a->until_usec + 1)
                                         : sd_journal_seek_tail(j);

        return a->since_usec > 0 ? sd_journal_seek_realtime_usec(j, a->since_usec) : sd_journal_seek_head(j);
}

static int collect(sd_journal *j, const Arguments *a, bool backwards, json_object *list) {
        _cleanup_json_ json_object *seen = json_object_new_object();
        int r;

        if (!seen)
                return -ENOMEM;

        r = seek(j, a, backwards);
        if (r < 0)
                return r;

        while ((r = backwards ? sd_journal_previous(j) : sd_journal_next(j)) > 0) {
                _cleanup_json_ json_object *record = NULL;
                uint64_t usec;

                r = read_record(j, &record, &usec);
                if (r == -EBADMSG || r == -EADDRNOTAVAIL)
                        continue; /* a damaged entry must not hide the others */
                if (r < 0)
                        return r;

                if ((a->until_usec > 0 && usec > a->until_usec) ||
                    (a->since_usec > 0 && usec < a->since_usec)) {
                        if (backwards == (usec < a->since_usec))
                                break;
                        continue;
                }

                if (seen_before(seen, record))
                        continue;
                if (json_array_push(list, TAKE_PTR(record)) < 0)
                        return -ENOMEM;
                if (backwards && a->lines > 0 && json_length(list) >= a->lines)
                        return 0;
        }

        return r < 0 ? r : 0;
}

static int reverse(json_object **list) {
        _cleanup_json_ json_object *out = json_object_new_array();

        if (!out)
                return -ENOMEM;
        for (size_t i = json_length(*list); i > 0; i--)
                if (json_array_push(out, json_object_get(json_item(*list, i - 1))) < 0)
                        return -ENOMEM;

        json_object_put(*list);
        *list = TAKE_PTR(out);
        return 0;
}

int history_read(Ctl *c, json_object **ret) {
        const Arguments *a = &c->args;
        bool backwards = a->reverse || a->lines > 0;
        _cleanup_(sd_journal_closep) sd_journal *j = NULL;
        _cleanup_json_ json_object *list = json_object_new_array();
        int r;

        if (!list)
                return ctl_oom(c);

        if (a->file)
                r = sd_journal_open_files(&j, (const char *[]){ a->file, NULL }, 0);
        else
                r = sd_journal_open(&j, SD_JOURNAL_LOCAL_ONLY);
        if (r < 0) {
                ctl_error(c, "Failed to open the journal%s%s: %s", a->file ? " " : "", a->file ?: "",
                          strerror(-r));
                return ctl_failure(c, r == -EACCES || r == -EPERM ? EXIT_DENIED : EXIT_FAILED, "",
                                   strerror(-r));
        }

        /* No limit but a sane one: a plan may be larger than the 64 KiB that are the default. */
        (void) sd_journal_set_data_threshold(j, FIELD_SIZE_MAX);

        r = add_matches(j, a);
        if (r >= 0)
                r = collect(j, a, backwards, list);
        if (r >= 0 && backwards && !a->reverse)
                r = reverse(&list);
        if (r < 0) {
                ctl_error(c, "Failed to read the journal: %s", strerror(-r));
                return ctl_failure(c, EXIT_FAILED, "", strerror(-r));
        }

        *ret = TAKE_PTR(list);
        return EXIT_DONE;
}
