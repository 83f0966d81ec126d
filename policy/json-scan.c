/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A loop over tokens with an explicit stack of the containers that are open. Positions are offsets; lines
 * are counted only when somebody asks, that is, for an error.
 */
#include <stdio.h>

#include "policy/json-scan.h"

#define DEPTH_LIMIT 64U
#define PATH_MAX_BYTES 512U

struct JsonKey {
        const char *text; /* in the document, without quotes */
        size_t size;
        uint32_t hash; /* only of the keys of a large object */
};

typedef struct Level {
        bool object;
        size_t n;         /* members or elements so far */
        size_t first_key; /* of this object, in the keys */
        size_t value;     /* index of the container on the tape */
} Level;

typedef struct Scan {
        const char *start, *p, *end;
        Level levels[DEPTH_LIMIT];
        unsigned depth, depth_max;
        size_t n_keys;
        JsonTape *tape;
        bool record; /* values are wanted, not only the check */
        PolicyError *error;
} Scan;

void json_position(const char *text, size_t offset, unsigned *ret_line, unsigned *ret_column) {
        const char *start = text, *p = text + offset, *line_start = start;
        unsigned line = 1;

        for (const char *nl = start; (nl = memchr(nl, '\n', (size_t) (p - nl))); line++)
                line_start = ++nl;
        *ret_line = line;
        *ret_column = (unsigned) (p - line_start) + 1;
}

/* The path of the value that is being read: keys and indices of the containers that are open. */
static void format_path(const Scan *s, char *buf, size_t size) {
        size_t used = 0;

        buf[0] = 0;
        for (unsigned i = 0; i < s->depth; i++) {
                const Level *l = &s->levels[i];
                int n = 0;

                if (l->object && l->n > 0) {
                        size_t next = i + 1 < s->depth ? s->levels[i + 1].first_key : s->n_keys;
                        const JsonKey *k = &s->tape->keys[next - 1];

                        n = snprintf(buf + used, size - used, "%s%.*s", used > 0 ? "." : "",
                                     k->size > 100 ? 100 : (int) k->size, k->text);
                } else if (!l->object)
                        n = snprintf(buf + used, size - used, "[%zu]", l->n > 0 ? l->n - 1 : 0);
                if (n < 0 || (size_t) n >= size - used)
                        return;
                used += (size_t) n;
        }
}

static int fail(Scan *s, const char *at, int r, const char *message) {
        char path[PATH_MAX_BYTES];

        (void) policy_error_set(s->error, r, "%s", message);
        if (s->error) {
                json_position(s->start, (size_t) (at - s->start), &s->error->line, &s->error->column);
                format_path(s, path, sizeof(path));
                (void) snprintf(s->error->key, sizeof(s->error->key), "%.*s",
                                (int) sizeof(s->error->key) - 1, path);
        }
        return r;
}

/* A new value at the end of the tape; NULL where none is wanted. */
static int add_value(Scan *s, JsonType type, const char *at, JsonValue **ret) {
        JsonTape *t = s->tape;

        if (!s->record) {
                *ret = NULL;
                return 0;
        }
        if (t->n >= t->room) {
                size_t room = t->room > 0 ? 2 * t->room : 256;
                JsonValue *bigger = realloc(t->values, room * sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                t->values = bigger;
                t->room = room;
        }
        *ret = &t->values[t->n++];
        **ret = (JsonValue){.type = (uint8_t) type, .offset = (uint32_t) (at - s->start), .skip = 1};
        return 0;
}

static void skip_blanks(Scan *s) {
        while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
                s->p++;
}

size_t json_utf8_length(const unsigned char *p, size_t left) {
        if (p[0] < 0x80)
                return 1;
        if (p[0] >= 0xc2 && p[0] <= 0xdf)
                return left >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
        if (p[0] >= 0xe0 && p[0] <= 0xef) {
                if (left < 3 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80)
                        return 0;
                if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0))
                        return 0;
                return 3;
        }
        if (p[0] >= 0xf0 && p[0] <= 0xf4) {
                if (left < 4 || (p[1] & 0xc0) != 0x80 || (p[2] & 0xc0) != 0x80 || (p[3] & 0xc0) != 0x80)
                        return 0;
                if ((p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
                        return 0;
                return 4;
        }
        return 0;
}

int json_hex4(const char *p, const char *end, unsigned *ret) {
        unsigned v = 0;

        if (end - p < 4)
                return -EBADMSG;
        for (int i = 0; i < 4; i++) {
                char c = p[i];

                if (c >= '0' && c <= '9')
                        v = v * 16 + (unsigned) (c - '0');
                else if (c >= 'a' && c <= 'f')
                        v = v * 16 + (unsigned) (c - 'a') + 10;
                else if (c >= 'A' && c <= 'F')
                        v = v * 16 + (unsigned) (c - 'A') + 10;
                else
                        return -EBADMSG;
        }
        *ret = v;
        return 0;
}

/* At the backslash; goes past the escape. */
static int scan_escape(Scan *s) {
        const char *at = s->p++;
        unsigned u, low;

        if (s->p >= s->end)
                return fail(s, at, -EBADMSG, "the string has no end");
        if (*s->p != 'u') {
                if (*s->p == 0 || !strchr("\"\\/bfnrt", *s->p))
                        return fail(s, at, -EBADMSG, "unknown escape in a string");
                s->p++;
                return 0;
        }
        if (json_hex4(s->p + 1, s->end, &u) < 0)
                return fail(s, at, -EBADMSG, "\\u needs four hexadecimal digits");
        s->p += 5;
        if (u == 0)
                return fail(s, at, -EBADMSG, "NUL in a string");
        if (u >= 0xdc00 && u <= 0xdfff)
                return fail(s, at, -EBADMSG, "lone surrogate in a string");
        if (u < 0xd800 || u > 0xdbff)
                return 0;
        if (s->end - s->p < 6 || s->p[0] != '\\' || s->p[1] != 'u' || json_hex4(s->p + 2, s->end, &low) < 0 ||
            low < 0xdc00 || low > 0xdfff)
                return fail(s, at, -EBADMSG, "lone surrogate in a string");
        s->p += 6;
        return 0;
}

/* Bytes that stand for themselves in a string: no quote, no backslash, no control character, ASCII. */
static inline bool is_ordinary(unsigned char c) {
        return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* At the opening quote; goes past the closing one. */
static int scan_string(Scan *s, bool key) {
        const char *at = s->p++;
        JsonValue *value;
        bool escaped = false;
        size_t n;
        int r;

        for (;;) {
                unsigned char c;

                while (s->p < s->end && is_ordinary((unsigned char) *s->p))
                        s->p++;
                if (s->p >= s->end)
                        return fail(s, at, -EBADMSG, "the string has no end");
                c = (unsigned char) *s->p;
                if (c == '"')
                        break;
                if (c == '\\') {
                        if (key)
                                return fail(s, s->p, -EBADMSG, "escape in a key");
                        escaped = true;
                        r = scan_escape(s);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (c < 0x20)
                        return fail(s, s->p, -EBADMSG,
                                    c == 0 ? "NUL in a string" : "control character in a string");
                n = json_utf8_length((const unsigned char *) s->p, (size_t) (s->end - s->p));
                if (n == 0)
                        return fail(s, s->p, -EBADMSG, "not UTF-8");
                s->p += n;
        }
        r = add_value(s, JSON_STRING, at + 1, &value);
        if (r < 0)
                return r;
        if (value) {
                value->size = (uint32_t) (s->p - at) - 1;
                value->escaped = escaped;
        }
        s->p++;
        return 0;
}

static int scan_number(Scan *s) {
        const char *at = s->p;
        bool negative = *s->p == '-';
        const uint64_t max = negative ? (uint64_t) INT64_MAX + 1 : UINT64_MAX;
        JsonValue *value;
        uint64_t v = 0;
        int r;

        if (negative)
                s->p++;
        if (s->p >= s->end || *s->p < '0' || *s->p > '9')
                return fail(s, at, -EBADMSG, "a number needs a digit");
        if (*s->p == '0' && s->p + 1 < s->end && s->p[1] >= '0' && s->p[1] <= '9')
                return fail(s, at, -EBADMSG, "a number can't begin with 0");
        for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
                if (__builtin_mul_overflow(v, 10U, &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*s->p - '0'), &v) || v > max)
                        return fail(s, at, -EBADMSG, "number out of range");
        if (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E'))
                return fail(s, at, -EBADMSG, "only whole numbers, without fraction and exponent");
        r = add_value(s, JSON_NUMBER, at, &value);
        if (r < 0)
                return r;
        if (value) {
                value->number = v;
                value->negative = negative;
        }
        return 0;
}

static int scan_literal(Scan *s) {
        static const struct {
                const char *text;
                JsonType type;
        } literals[] = { { "true", JSON_TRUE }, { "false", JSON_FALSE }, { "null", JSON_NULL } };

        for (unsigned i = 0; i < ELEMENTSOF(literals); i++) {
                size_t n = strlen(literals[i].text);
                const char *at = s->p;
                JsonValue *value;

                if ((size_t) (s->end - at) >= n && memcmp(at, literals[i].text, n) == 0) {
                        s->p += n;
                        return add_value(s, literals[i].type, at, &value);
                }
        }
        return fail(s, s->p, -EBADMSG, "not a JSON value");
}

/* --- keys --- */

static int compare_keys(const void *a, const void *b) {
        const JsonKey *k = a, *l = b;
        int r;

        if (k->hash != l->hash)
                return k->hash < l->hash ? -1 : 1;
        if (k->size != l->size)
                return k->size < l->size ? -1 : 1;
        r = memcmp(k->text, l->text, k->size);
        if (r != 0)
                return r;
        return k->text < l->text ? -1 : k->text > l->text;
}

static bool same_key(const JsonKey *a, const JsonKey *b) {
        return a->size == b->size && memcmp(a->text, b->text, a->size) == 0;
}

static int duplicate(Scan *s, const JsonKey *key) {
        char message[128];

        (void) snprintf(message, sizeof(message), "the key \"%.*s\" is there twice",
                        key->size > 64 ? 64 : (int) key->size, key->text);
        return fail(s, key->text - 1, -EBADMSG, message);
}

/* Up to this many keys each new one is compared with the others; more are sorted when the object ends. */
#define KEYS_LINEAR 16U

static int push_key(Scan *s, const char *text, size_t size) {
        Level *l = &s->levels[s->depth - 1];
        JsonKey key = { .text = text, .size = size };
        JsonTape *t = s->tape;

        if (s->n_keys >= t->keys_room) {
                size_t room = t->keys_room > 0 ? 2 * t->keys_room : 64;
                JsonKey *bigger = realloc(t->keys, room * sizeof(*bigger));

                if (!bigger)
                        return -ENOMEM;
                t->keys = bigger;
                t->keys_room = room;
        }
        t->keys[s->n_keys++] = key;
        l->n++;
        if (l->n <= KEYS_LINEAR)
                for (size_t i = l->first_key; i + 1 < s->n_keys; i++)
                        if (same_key(&t->keys[i], &key))
                                return duplicate(s, &key);
        return 0;
}

static void hash_key(JsonKey *key) {
        key->hash = 2166136261U;
        for (size_t i = 0; i < key->size; i++)
                key->hash = (key->hash ^ (unsigned char) key->text[i]) * 16777619U;
}

static int pop_keys(Scan *s) {
        const Level *l = &s->levels[s->depth - 1];
        size_t n = s->n_keys - l->first_key;
        JsonTape *t = s->tape;

        if (n > KEYS_LINEAR) {
                JsonKey *keys = t->keys + l->first_key;

                for (size_t i = 0; i < n; i++)
                        hash_key(&keys[i]);
                qsort(keys, n, sizeof(*keys), compare_keys);
                for (size_t i = 1; i < n; i++)
                        if (same_key(&keys[i - 1], &keys[i])) {
                                JsonKey twice = keys[i];

                                keys[n - 1] = twice; /* the last key is what the path of the error shows */
                                return duplicate(s, &twice);
                        }
        }
        s->n_keys = l->first_key;
        return 0;
}

/* --- structure --- */

/* "key" and the colon; goes to the value. */
static int scan_key(Scan *s) {
        const char *at;
        int r;

        skip_blanks(s);
        at = s->p;
        if (at >= s->end || *at != '"')
                return fail(s, at, -EBADMSG, "expected a key in quotes");
        r = scan_string(s, true);
        if (r < 0)
                return r;
        r = push_key(s, at + 1, (size_t) (s->p - at) - 2);
        if (r < 0)
                return r;
        skip_blanks(s);
        if (s->p >= s->end || *s->p != ':')
                return fail(s, s->p, -EBADMSG, "expected ':' after the key");
        s->p++;
        return 0;
}

static int open_container(Scan *s, bool object) {
        JsonValue *value;
        int r;

        if (s->depth >= s->depth_max)
                return fail(s, s->p, -EBADMSG, "nested too deeply");
        s->levels[s->depth] = (Level) { .object = object, .first_key = s->n_keys, .value = s->tape->n };
        r = add_value(s, object ? JSON_OBJECT : JSON_ARRAY, s->p, &value);
        if (r < 0)
                return r;
        s->depth++;
        s->p++;
        return 0;
}

/* Past the bracket that closes the innermost container. */
static int close_container(Scan *s) {
        const Level *l = &s->levels[s->depth - 1];
        int r;

        s->p++;
        if (l->object) {
                r = pop_keys(s);
                if (r < 0)
                        return r;
        }
        if (s->record) {
                JsonValue *value = &s->tape->values[l->value];

                value->size = (uint32_t) l->n;
                value->skip = (uint32_t) (s->tape->n - l->value);
        }
        s->depth--;
        return 0;
}

/* Begins the value at s->p: a scalar is read, a container opened. */
static int scan_value(Scan *s) {
        skip_blanks(s);
        if (s->p >= s->end)
                return fail(s, s->p, -EBADMSG, "the document ends too early");
        switch (*s->p) {
        case '{':
                return open_container(s, true);
        case '[':
                return open_container(s, false);
        case '"':
                return scan_string(s, false);
        case '-':
        case '0' ... '9':
                return scan_number(s);
        default:
                return scan_literal(s);
        }
}

/* Between the values of the innermost container: its end, or on to the next value. */
static int scan_between(Scan *s) {
        Level *l = &s->levels[s->depth - 1];
        char close = l->object ? '}' : ']';
        int r;

        skip_blanks(s);
        if (s->p >= s->end)
                return fail(s, s->p, -EBADMSG, l->object ? "the object has no end" : "the array has no end");
        if (*s->p == close)
                return close_container(s);
        if (l->n > 0) {
                if (*s->p != ',')
                        return fail(s, s->p, -EBADMSG,
                                    l->object ? "expected ',' or '}'" : "expected ',' or ']'");
                s->p++;
                skip_blanks(s);
                if (s->p < s->end && *s->p == close)
                        return fail(s, s->p, -EBADMSG, "a comma before the end");
        }
        if (l->object) {
                r = scan_key(s);
                if (r < 0)
                        return r;
        } else
                l->n++;
        return scan_value(s);
}

static int scan_document(Scan *s) {
        int r;

        r = scan_value(s);
        while (r >= 0 && s->depth > 0)
                r = scan_between(s);
        if (r < 0)
                return r;
        skip_blanks(s);
        if (s->p < s->end)
                return fail(s, s->p, -EBADMSG, "something follows the document");
        return 0;
}

static int scan(JsonTape *t, bool record, const char *text, size_t size, unsigned depth_max,
                PolicyError *error) {
        Scan s = {
                .start = text,
                .p = text,
                .end = text + size,
                .depth_max = depth_max < DEPTH_LIMIT ? depth_max : DEPTH_LIMIT,
                .tape = t,
                .record = record,
                .error = error,
        };
        int r;

        if (size > JSON_SCAN_MAX)
                return policy_error_set(error, -E2BIG, "the document is longer than %u bytes", JSON_SCAN_MAX);
        t->n = 0;
        r = scan_document(&s);
        if (r == -ENOMEM)
                return policy_error_set(error, r, "out of memory");
        return r;
}

int json_scan(const char *text, size_t size, unsigned depth_max, PolicyError *error) {
        JsonTape tape = {};
        int r;

        r = scan(&tape, false, text, size, depth_max, error);
        json_tape_done(&tape);
        return r;
}

int json_scan_tape(JsonTape *t, const char *text, size_t size, unsigned depth_max, PolicyError *error) {
        return scan(t, true, text, size, depth_max, error);
}

void json_tape_done(JsonTape *t) {
        free(t->values);
        free(t->keys);
        *t = (JsonTape) {};
}
