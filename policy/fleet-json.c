/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-json.h. Eight bytes at a time where strings have nothing special in them. */
#include <stdio.h>

#include "policy/fleet-json.h"
#include "policy/json-scan.h"

static int fail_at(FleetJson *j, const char *at, const char *message) {
        size_t used = 0;

        (void) policy_error_set(j->error, -EBADMSG, "%s", message);
        if (!j->error)
                return -EBADMSG;
        j->error->line = 1;
        j->error->column = (unsigned) (at - j->start) + 1;
        for (unsigned i = 0; i < j->depth && i < FLEET_JSON_DEPTH; i++) {
                int n;

                if (j->keys[i].n == 0)
                        continue;
                n = snprintf(j->error->key + used, sizeof(j->error->key) - used, "%s%.*s",
                             used > 0 ? "." : "", j->keys[i].n > 60 ? 60 : (int) j->keys[i].n, j->keys[i].s);
                if (n < 0 || (size_t) n >= sizeof(j->error->key) - used)
                        break;
                used += (size_t) n;
        }
        return -EBADMSG;
}

int fleet_json_fail(FleetJson *j, const char *message) {
        return fail_at(j, j->p, message);
}

void fleet_json_begin(FleetJson *j, const char *text, size_t size, PolicyError *error) {
        j->start = j->p = text;
        j->end = text + size;
        j->error = error;
        j->depth = 0;
        j->scratch_used = 0;
}

void fleet_json_done(FleetJson *j) {
        free(j->scratch);
        j->scratch = NULL;
}

static inline void skip_blanks(FleetJson *j) {
        while (j->p < j->end && (*j->p == ' ' || *j->p == '\t' || *j->p == '\n' || *j->p == '\r'))
                j->p++;
}

int fleet_json_end(FleetJson *j) {
        skip_blanks(j);
        return j->p < j->end ? fleet_json_fail(j, "something follows the document") : 0;
}

/* --- strings --- */

#define BYTES(c) (UINT64_C(0x0101010101010101) * (c))

/* Bytes that have to be looked at one by one: '"', '\\', below 0x20, above 0x7f. Their high bits are set, of
 * the first one for certain (those above it may be wrong by a borrow). */
static inline uint64_t special_bytes(uint64_t x) {
        uint64_t quote = x ^ BYTES(0x22), backslash = x ^ BYTES(0x5c);

        return (((quote - BYTES(1)) & ~quote) | ((backslash - BYTES(1)) & ~backslash) |
                ((x - BYTES(0x20)) & ~x) | x) &
               BYTES(0x80);
}

static inline const char *skip_plain(const char *p, const char *end) {
        while (end - p >= 8) {
                uint64_t x, special;

                memcpy(&x, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
                x = __builtin_bswap64(x);
#endif
                special = special_bytes(x);
                if (special)
                        return p + __builtin_ctzll(special) / 8;
                p += 8;
        }
        while (p < end && *p != '"' && *p != '\\' && (unsigned char) *p >= 0x20 && (unsigned char) *p < 0x80)
                p++;
        return p;
}

static size_t utf8_encode(char *buf, unsigned u) {
        if (u < 0x80) {
                buf[0] = (char) u;
                return 1;
        }
        if (u < 0x800) {
                buf[0] = (char) (0xc0 | u >> 6);
                buf[1] = (char) (0x80 | (u & 0x3f));
                return 2;
        }
        if (u < 0x10000) {
                buf[0] = (char) (0xe0 | u >> 12);
                buf[1] = (char) (0x80 | (u >> 6 & 0x3f));
                buf[2] = (char) (0x80 | (u & 0x3f));
                return 3;
        }
        buf[0] = (char) (0xf0 | u >> 18);
        buf[1] = (char) (0x80 | (u >> 12 & 0x3f));
        buf[2] = (char) (0x80 | (u >> 6 & 0x3f));
        buf[3] = (char) (0x80 | (u & 0x3f));
        return 4;
}

/* At the backslash; writes what it stands for (at most 4 bytes, never more than it takes in the text). */
static int read_escape(FleetJson *j, char *buf, size_t *ret_size) {
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        const char *at = j->p++, *found;
        unsigned u, low;

        if (j->p >= j->end)
                return fail_at(j, at, "the string has no end");
        if (*j->p != 'u') {
                found = *j->p ? strchr(from, *j->p) : NULL;
                if (!found)
                        return fail_at(j, at, "unknown escape in a string");
                *buf = to[found - from];
                *ret_size = 1;
                j->p++;
                return 0;
        }
        if (json_hex4(j->p + 1, j->end, &u) < 0)
                return fail_at(j, at, "\\u needs four hexadecimal digits");
        j->p += 5;
        if (u == 0)
                return fail_at(j, at, "NUL in a string");
        if (u >= 0xdc00 && u <= 0xdfff)
                return fail_at(j, at, "lone surrogate in a string");
        if (u >= 0xd800 && u <= 0xdbff) {
                if (j->end - j->p < 6 || j->p[0] != '\\' || j->p[1] != 'u' ||
                    json_hex4(j->p + 2, j->end, &low) < 0 || low < 0xdc00 || low > 0xdfff)
                        return fail_at(j, at, "lone surrogate in a string");
                j->p += 6;
                u = 0x10000 + ((u - 0xd800) << 10) + (low - 0xdc00);
        }
        *ret_size = utf8_encode(buf, u);
        return 0;
}

/* The rest of a string that has an escape at j->p. */
static int read_escaped(FleetJson *j, const char *begin, FleetSlice *ret) {
        size_t need = (size_t) (j->end - j->start) + 4, n;
        char *out;
        int r;

        if (j->scratch_size < need) {
                if (j->scratch_used > 0)
                        return fleet_json_fail(j,
                                               "out of bounds"); /* can't be: it is as large as the text */
                out = realloc(j->scratch, need);
                if (!out)
                        return -ENOMEM;
                j->scratch = out;
                j->scratch_size = need;
        }
        out = j->scratch + j->scratch_used;
        n = (size_t) (j->p - begin);
        memcpy(out, begin, n);
        for (;;) {
                const char *plain = j->p;
                size_t more = 0;

                j->p = skip_plain(j->p, j->end);
                memcpy(out + n, plain, (size_t) (j->p - plain));
                n += (size_t) (j->p - plain);
                if (j->p >= j->end)
                        return fleet_json_fail(j, "the string has no end");
                if (*j->p == '"')
                        break;
                if (*j->p == '\\') {
                        r = read_escape(j, out + n, &more);
                        if (r < 0)
                                return r;
                        n += more;
                        continue;
                }
                more = json_utf8_length((const unsigned char *) j->p, (size_t) (j->end - j->p));
                if ((unsigned char) *j->p < 0x20 || more == 0)
                        return fleet_json_fail(j, more == 0 ? "not UTF-8" : "control character in a string");
                memcpy(out + n, j->p, more);
                j->p += more;
                n += more;
        }
        j->p++;
        j->scratch_used += n;
        *ret = (FleetSlice){out, n};
        return 0;
}

/* At the opening quote. */
static int read_string(FleetJson *j, bool key, FleetSlice *ret) {
        const char *begin = ++j->p;

        for (;;) {
                size_t n;

                j->p = skip_plain(j->p, j->end);
                if (j->p >= j->end)
                        return fail_at(j, begin - 1, "the string has no end");
                if (*j->p == '"') {
                        *ret = (FleetSlice){begin, (size_t) (j->p - begin)};
                        j->p++;
                        return 0;
                }
                if (*j->p == '\\')
                        return key ? fleet_json_fail(j, "escape in a key") : read_escaped(j, begin, ret);
                if ((unsigned char) *j->p < 0x20)
                        return fleet_json_fail(j, "control character in a string");
                n = json_utf8_length((const unsigned char *) j->p, (size_t) (j->end - j->p));
                if (n == 0)
                        return fleet_json_fail(j, "not UTF-8");
                j->p += n;
        }
}

int fleet_json_string(FleetJson *j, FleetSlice *ret) {
        skip_blanks(j);
        if (j->p >= j->end || *j->p != '"')
                return fleet_json_fail(j, "a string is needed here");
        return read_string(j, false, ret);
}

/* --- numbers, literals --- */

static int read_number(FleetJson *j, bool *ret_negative, uint64_t *ret) {
        const char *at = j->p;
        bool negative = *j->p == '-';
        const uint64_t max = negative ? (uint64_t) INT64_MAX + 1 : UINT64_MAX;
        uint64_t v = 0;

        if (negative)
                j->p++;
        if (j->p >= j->end || *j->p < '0' || *j->p > '9')
                return fail_at(j, at, "a number needs a digit");
        if (*j->p == '0' && j->p + 1 < j->end && j->p[1] >= '0' && j->p[1] <= '9')
                return fail_at(j, at, "a number can't begin with 0");
        for (; j->p < j->end && *j->p >= '0' && *j->p <= '9'; j->p++)
                if (__builtin_mul_overflow(v, 10U, &v) ||
                    __builtin_add_overflow(v, (uint64_t) (*j->p - '0'), &v) || v > max)
                        return fail_at(j, at, "number out of range");
        if (j->p < j->end && (*j->p == '.' || *j->p == 'e' || *j->p == 'E'))
                return fail_at(j, at, "only whole numbers, without fraction and exponent");
        *ret_negative = negative;
        *ret = v;
        return 0;
}

int fleet_json_u32(FleetJson *j, uint32_t *ret) {
        const char *at;
        bool negative;
        uint64_t v;
        int r;

        skip_blanks(j);
        at = j->p;
        if (at >= j->end || ((*at < '0' || *at > '9') && *at != '-'))
                return fleet_json_fail(j, "a whole number is needed here");
        r = read_number(j, &negative, &v);
        if (r < 0)
                return r;
        if ((negative && v > 0) || v > UINT32_MAX)
                return fail_at(j, at, "must be from 0 to 4294967295");
        *ret = (uint32_t) v;
        return 0;
}

static bool literal(FleetJson *j, const char *text, size_t n) {
        if ((size_t) (j->end - j->p) < n || memcmp(j->p, text, n) != 0)
                return false;
        j->p += n;
        return true;
}

bool fleet_json_null(FleetJson *j) {
        skip_blanks(j);
        return literal(j, "null", 4);
}

int fleet_json_bool(FleetJson *j, bool *ret) {
        skip_blanks(j);
        if (literal(j, "true", 4))
                *ret = true;
        else if (literal(j, "false", 5))
                *ret = false;
        else
                return fleet_json_fail(j, "true or false is needed here");
        return 0;
}

/* --- containers --- */

static int open_container(FleetJson *j, char bracket, const char *message) {
        skip_blanks(j);
        if (j->p >= j->end || *j->p != bracket)
                return fleet_json_fail(j, message);
        if (j->depth >= FLEET_JSON_DEPTH)
                return fleet_json_fail(j, "nested too deeply");
        j->p++;
        j->keys[j->depth++] = (FleetSlice){"", 0};
        return 0;
}

/* Between values: 0 is the end (and past it), 1 that there is a value. */
static int next_value(FleetJson *j, char close, bool first) {
        skip_blanks(j);
        if (j->p >= j->end)
                return fleet_json_fail(j, close == '}' ? "the object has no end" : "the array has no end");
        if (*j->p == close) {
                j->p++;
                j->depth--;
                return 0;
        }
        if (first)
                return 1;
        if (*j->p != ',')
                return fleet_json_fail(j, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
        j->p++;
        skip_blanks(j);
        if (j->p < j->end && *j->p == close)
                return fleet_json_fail(j, "a comma before the end");
        return 1;
}

/* The key of the next member, in j->keys; 0 is the end of the object. */
static int next_member(FleetJson *j, bool first) {
        FleetSlice *key = &j->keys[j->depth - 1];
        int r = next_value(j, '}', first);

        if (r <= 0)
                return r;
        if (j->p >= j->end || *j->p != '"')
                return fleet_json_fail(j, "expected a key in quotes");
        r = read_string(j, true, key);
        if (r < 0)
                return r;
        if (j->p < j->end && *j->p == ':') {
                j->p++;
                return 1;
        }
        skip_blanks(j);
        if (j->p >= j->end || *j->p != ':')
                return fleet_json_fail(j, "expected ':' after the key");
        j->p++;
        return 1;
}

static inline bool is_member(const FleetJsonMember *m, FleetSlice key) {
        return m->size == key.n && memcmp(m->key, key.s, key.n) == 0;
}

int fleet_json_object(FleetJson *j, const FleetJsonMember *members, size_t n, void *target) {
        uint32_t seen = 0;
        size_t i = n - 1;
        int r;

        r = open_container(j, '{', "an object is needed here");
        if (r < 0)
                return r;
        for (bool first = true; (r = next_member(j, first)) > 0; first = false) {
                FleetSlice key = j->keys[j->depth - 1];
                size_t k;

                /* programs write keys in one order: begin behind the one before */
                for (k = 0; k < n; k++) {
                        i = i + 1 < n ? i + 1 : 0;
                        if (is_member(&members[i], key))
                                break;
                }
                if (k >= n)
                        return fail_at(j, key.s - 1, "unknown key");
                if (seen & UINT32_C(1) << i)
                        return fail_at(j, key.s - 1, "the key is there twice");
                seen |= UINT32_C(1) << i;
                r = members[i].read ? members[i].read(j, target) : fleet_json_skip(j);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        for (i = 0; i < n; i++)
                if (members[i].required && !(seen & UINT32_C(1) << i)) {
                        char message[64];

                        (void) snprintf(message, sizeof(message), "the key \"%s\" is missing",
                                        members[i].key);
                        return fleet_json_fail(j, message);
                }
        return 0;
}

static bool seen_before(const FleetSlice *keys, size_t n, FleetSlice key) {
        for (size_t i = 0; i < n; i++)
                if (keys[i].n == key.n && memcmp(keys[i].s, key.s, key.n) == 0)
                        return true;
        return false;
}

/* The list of keys is 4 KiB of stack, times FLEET_JSON_DEPTH at most. */
int fleet_json_map(FleetJson *j, fleet_json_fn fn, void *target) {
        FleetSlice keys[FLEET_JSON_MEMBERS];
        size_t n = 0;
        int r;

        r = open_container(j, '{', "an object is needed here");
        if (r < 0)
                return r;
        for (; (r = next_member(j, n == 0)) > 0; n++) {
                FleetSlice key = j->keys[j->depth - 1];

                if (n >= FLEET_JSON_MEMBERS)
                        return fail_at(j, key.s - 1, "an object with too many members");
                if (seen_before(keys, n, key))
                        return fail_at(j, key.s - 1, "the key is there twice");
                keys[n] = key;
                r = fn(j, target);
                if (r < 0)
                        return r;
        }
        return r;
}

int fleet_json_array(FleetJson *j, size_t max, fleet_json_fn fn, void *target) {
        size_t n = 0;
        int r;

        r = open_container(j, '[', "an array is needed here");
        if (r < 0)
                return r;
        for (; (r = next_value(j, ']', n == 0)) > 0; n++) {
                if (n >= max)
                        return fleet_json_fail(j, "too many elements");
                r = fn(j, target);
                if (r < 0)
                        return r;
        }
        return r;
}

static int skip_element(FleetJson *j, _unused_ void *target) {
        return fleet_json_skip(j);
}

/* Recursion is bounded by FLEET_JSON_DEPTH. */
int fleet_json_skip(FleetJson *j) {
        FleetSlice s;
        bool b;
        uint64_t v;

        skip_blanks(j);
        if (j->p >= j->end)
                return fleet_json_fail(j, "the document ends too early");
        switch (*j->p) {
        case '{':
                return fleet_json_map(j, skip_element, NULL);
        case '[':
                return fleet_json_array(j, SIZE_MAX, skip_element, NULL);
        case '"':
                return read_string(j, false, &s);
        case '-':
        case '0' ... '9':
                return read_number(j, &b, &v);
        default:
                if (literal(j, "true", 4) || literal(j, "false", 5) || literal(j, "null", 4))
                        return 0;
                return fleet_json_fail(j, "not a JSON value");
        }
}
