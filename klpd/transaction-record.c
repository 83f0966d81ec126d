/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See transaction-record.h. The fields are one table, for writing and reading alike. */
#include <stdio.h>

#include "klpd/transaction-record.h"
#include "policy/model.h"

#define FIRST_LINE "klpd-transaction 1"

typedef enum FieldType {
        FIELD_BOOL,
        FIELD_U32,
        FIELD_U64,
        FIELD_TEXT,
        FIELD_MAYBE, /* a text that may be missing */
        FIELD_LIST,
        FIELD_BOOT,
        FIELD_KIND,
        FIELD_PHASE,
} FieldType;

static const struct {
        const char *name;
        FieldType type;
        size_t offset;
} fields[] = {
        { "over", FIELD_BOOL, offsetof(TransactionRecord, over) },
        { "job", FIELD_U32, offsetof(TransactionRecord, id) },
        { "boot", FIELD_BOOT, offsetof(TransactionRecord, boot) },
        { "request", FIELD_KIND, offsetof(TransactionRecord, kind) },
        { "patch", FIELD_TEXT, offsetof(TransactionRecord, patch) },
        { "step", FIELD_TEXT, offsetof(TransactionRecord, step) },
        { "plain", FIELD_BOOL, offsetof(TransactionRecord, plain) },
        { "loads", FIELD_BOOL, offsetof(TransactionRecord, loads) },
        { "undoing", FIELD_BOOL, offsetof(TransactionRecord, undoing) },
        { "cancelled", FIELD_BOOL, offsetof(TransactionRecord, cancelled) },
        { "phase", FIELD_PHASE, offsetof(TransactionRecord, phase) },
        { "uid", FIELD_U32, offsetof(TransactionRecord, uid) },
        { "reason", FIELD_MAYBE, offsetof(TransactionRecord, reason) },
        { "timeout-usec", FIELD_U64, offsetof(TransactionRecord, timeout_usec) },
        { "start-usec", FIELD_U64, offsetof(TransactionRecord, start_usec) },
        { "accept-irreversible", FIELD_BOOL, offsetof(TransactionRecord, accept_irreversible) },
        { "replace-foreign", FIELD_BOOL, offsetof(TransactionRecord, replace_foreign) },
        { "allow-vendor", FIELD_LIST, offsetof(TransactionRecord, allow_vendor) },
        { "replaced", FIELD_LIST, offsetof(TransactionRecord, replaced) },
        { "collectable", FIELD_LIST, offsetof(TransactionRecord, collectable) },
        { "frozen", FIELD_LIST, offsetof(TransactionRecord, frozen) },
        { "digest", FIELD_MAYBE, offsetof(TransactionRecord, digest) },
        { "forced", FIELD_MAYBE, offsetof(TransactionRecord, forced) },
        { "back-reason", FIELD_MAYBE, offsetof(TransactionRecord, back_reason) },
        { "back-origin", FIELD_MAYBE, offsetof(TransactionRecord, back_origin) },
        { "back-result", FIELD_MAYBE, offsetof(TransactionRecord, back_result) },
};

static const char *const phases[_SETTLE_PHASE_MAX] = { "forward", "reversing", "again" };

void transaction_record_done(TransactionRecord *r) {
        free(r->patch);
        free(r->step);
        free(r->reason);
        strv_free(r->allow_vendor);
        strv_free(r->replaced);
        strv_free(r->collectable);
        strv_free(r->frozen);
        free(r->digest);
        free(r->forced);
        free(r->back_reason);
        free(r->back_origin);
        free(r->back_result);
        *r = (TransactionRecord) {};
}

/* ---- writing ---- */

static void write_text(FILE *f, const char *name, const char *value) {
        if (!value)
                return;
        (void) fprintf(f, "%s=", name);
        for (const char *p = value; *p; p++)
                if (*p == '\n')
                        (void) fputs("\\n", f);
                else if (*p == '\\')
                        (void) fputs("\\\\", f);
                else
                        (void) fputc(*p, f);
        (void) fputc('\n', f);
}

static void write_field(FILE *f, size_t i, const TransactionRecord *r) {
        const char *name = fields[i].name;
        const void *p = (const char *) r + fields[i].offset;
        char *const *list, **entry;

        switch (fields[i].type) {
        case FIELD_BOOL:
                (void) fprintf(f, "%s=%d\n", name, *(const bool *) p);
                return;
        case FIELD_U32:
                (void) fprintf(f, "%s=%" PRIu32 "\n", name, *(const uint32_t *) p);
                return;
        case FIELD_U64:
                (void) fprintf(f, "%s=%" PRIu64 "\n", name, *(const uint64_t *) p);
                return;
        case FIELD_TEXT:
        case FIELD_MAYBE:
                write_text(f, name, *(char *const *) p);
                return;
        case FIELD_LIST:
                list = *(char *const *const *) p;
                STRV_FOREACH(entry, (char **) list)
                        write_text(f, name, *entry);
                return;
        case FIELD_BOOT:
                write_text(f, name, p);
                return;
        case FIELD_KIND:
                write_text(f, name, request_kind_to_string(*(const RequestKind *) p));
                return;
        case FIELD_PHASE:
                write_text(f, name, phases[*(const SettlePhase *) p]);
                return;
        }
}

int transaction_record_format(const TransactionRecord *r, char **ret, size_t *ret_size) {
        char *text = NULL;
        size_t size = 0;
        bool failed;
        FILE *f;

        f = open_memstream(&text, &size);
        if (!f)
                return -ENOMEM;
        (void) fputs(FIRST_LINE "\n", f);
        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                write_field(f, i, r);
        failed = ferror(f);
        if (fclose(f) != 0 || failed) {
                free(text);
                return -ENOMEM;
        }
        *ret = text;
        *ret_size = size;
        return 0;
}

/* ---- reading ---- */

static int read_number(const char *value, uint64_t max, uint64_t *ret) {
        uint64_t n = 0;

        if (!*value || (value[0] == '0' && value[1]))
                return -EBADMSG;
        for (const char *p = value; *p; p++) {
                unsigned digit = (unsigned) (*p - '0');

                if (*p < '0' || *p > '9' || n > (max - digit) / 10)
                        return -EBADMSG;
                n = n * 10 + digit;
        }
        *ret = n;
        return 0;
}

/* In place. */
static int unescape(char *value) {
        char *to = value;

        for (const char *p = value; *p; p++) {
                if (*p != '\\') {
                        *to++ = *p;
                        continue;
                }
                p++;
                if (*p != 'n' && *p != '\\')
                        return -EBADMSG;
                *to++ = *p == 'n' ? '\n' : '\\';
        }
        *to = 0;
        return 0;
}

static int read_boot(const char *value, char *ret) {
        if (strlen(value) != 32 || strspn(value, "0123456789abcdef") != 32)
                return -EBADMSG;
        memcpy(ret, value, 33);
        return 0;
}

static int read_phase(const char *value, SettlePhase *ret) {
        for (unsigned i = 0; i < _SETTLE_PHASE_MAX; i++)
                if (streq(value, phases[i])) {
                        *ret = (SettlePhase) i;
                        return 0;
                }
        return -EBADMSG;
}

static int read_value(size_t i, char *value, TransactionRecord *r) {
        void *p = (char *) r + fields[i].offset;
        RequestKind kind;
        uint64_t n;
        int k;

        switch (fields[i].type) {
        case FIELD_BOOL:
                k = read_number(value, 1, &n);
                if (k >= 0)
                        *(bool *) p = n;
                return k;
        case FIELD_U32:
                k = read_number(value, UINT32_MAX, &n);
                if (k >= 0)
                        *(uint32_t *) p = (uint32_t) n;
                return k;
        case FIELD_U64:
                return read_number(value, UINT64_MAX, p);
        case FIELD_TEXT:
        case FIELD_MAYBE:
                k = unescape(value);
                if (k < 0)
                        return k;
                *(char **) p = strdup(value);
                return *(char **) p ? 0 : -ENOMEM;
        case FIELD_LIST:
                k = unescape(value);
                if (k < 0)
                        return k;
                if (strv_length(*(char ***) p) >= TRANSACTION_RECORD_LIST_MAX)
                        return -EBADMSG;
                return strv_extend(p, value);
        case FIELD_BOOT:
                return read_boot(value, p);
        case FIELD_KIND:
                kind = request_kind_from_string(value);
                if (kind != REQUEST_APPLY && kind != REQUEST_DOWNGRADE && kind != REQUEST_DISABLE)
                        return -EBADMSG;
                *(RequestKind *) p = kind;
                return 0;
        case FIELD_PHASE:
                return read_phase(value, p);
        }
        return -EBADMSG;
}

static int read_line(char *line, TransactionRecord *r, uint64_t *seen) {
        char *equals = strchr(line, '=');

        if (!equals)
                return -EBADMSG;
        *equals = 0;
        for (size_t i = 0; i < ELEMENTSOF(fields); i++) {
                if (!streq(fields[i].name, line))
                        continue;
                if ((*seen & (UINT64_C(1) << i)) && fields[i].type != FIELD_LIST)
                        return -EBADMSG;
                *seen |= UINT64_C(1) << i;
                return read_value(i, equals + 1, r);
        }
        return -EBADMSG;
}

/* What names things must be names. */
static bool is_sane(const TransactionRecord *r, uint64_t seen) {
        char **name;

        for (size_t i = 0; i < ELEMENTSOF(fields); i++)
                if (!(seen & (UINT64_C(1) << i)) && fields[i].type != FIELD_LIST &&
                    fields[i].type != FIELD_MAYBE)
                        return false;
        if (!patch_name_is_valid(r->patch) || (r->back_origin && !patch_name_is_valid(r->back_origin)) ||
            !r->back_reason != !r->back_result || (r->back_origin && !r->back_reason))
                return false;
        STRV_FOREACH(name, r->replaced)
                if (!patch_name_is_valid(*name))
                        return false;
        STRV_FOREACH(name, r->collectable)
                if (!patch_name_is_valid(*name))
                        return false;
        STRV_FOREACH(name, r->frozen)
                if (!**name || strlen(*name) > 255 || strchr(*name, '/'))
                        return false;
        return true;
}

int transaction_record_parse(const void *text, size_t size, TransactionRecord *ret) {
        _cleanup_(transaction_record_done) TransactionRecord r = {};
        _cleanup_free_ char *copy = NULL;
        uint64_t seen = 0;
        char *next;
        int k;

        if (size == 0 || ((const char *) text)[size - 1] != '\n' || memchr(text, 0, size))
                return -EBADMSG;
        copy = malloc(size);
        if (!copy)
                return -ENOMEM;
        memcpy(copy, text, size - 1);
        copy[size - 1] = 0;

        next = copy;
        if (!streq(strsep(&next, "\n"), FIRST_LINE))
                return -EBADMSG;
        while (next) {
                k = read_line(strsep(&next, "\n"), &r, &seen);
                if (k < 0)
                        return k;
        }
        if (!is_sane(&r, seen))
                return -EBADMSG;
        *ret = TAKE_GENERIC(r, (TransactionRecord) {});
        return 0;
}

/* ---- the decision ---- */

const char *recovery_action_to_string(RecoveryAction action) {
        static const char *const names[_RECOVERY_ACTION_MAX] = {
                [RECOVERY_NOTHING] = "nothing", [RECOVERY_FINISH] = "finish", [RECOVERY_FOLLOW] = "follow",
                [RECOVERY_REVERSE] = "reverse", [RECOVERY_AGAIN] = "again",   [RECOVERY_UNDO] = "undo",
                [RECOVERY_BACK] = "back",
        };

        return (unsigned) action < _RECOVERY_ACTION_MAX ? names[action] : NULL;
}

static RecoveryAction decide_change(const TransactionRecord *r, const RecoveryView *v) {
        bool disable = r->kind == REQUEST_DISABLE;

        if (v->transition)
                /* Still in the direction that was asked for, though going back had been decided: the write
                 * of the reversal was still to come. */
                return r->phase == SETTLE_REVERSING && v->enabled != disable ? RECOVERY_REVERSE
                                                                            : RECOVERY_FOLLOW;
        if (v->enabled != disable)
                return RECOVERY_FINISH;
        if (disable)
                return RECOVERY_NOTHING;
        if (r->phase != SETTLE_FORWARD && v->replaced_gone)
                return RECOVERY_AGAIN;
        return r->loads && v->module ? RECOVERY_UNDO : RECOVERY_NOTHING;
}

RecoveryAction recovery_decide(const TransactionRecord *r, const RecoveryView *v) {
        RecoveryAction action;

        if (r->over || !v->same_boot)
                return RECOVERY_NOTHING;
        /* Decided, not begun: what is recorded is still what is to be taken back. */
        if (r->back_reason && !r->back_origin)
                return v->enabled ? RECOVERY_BACK : RECOVERY_NOTHING;
        action = decide_change(r, v);
        if (r->back_origin && (action == RECOVERY_NOTHING || action == RECOVERY_UNDO))
                return RECOVERY_BACK;
        return action;
}
