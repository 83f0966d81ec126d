/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whom a rule means: globs, lists of them, trees of matches; and the hash behind rollouts and splay. All of
 * it works on slices and allocates nothing; no locale is asked.
 *
 * The hash is SipHash-2-4 with the host's application-specific machine id as the key and the rule's salt as
 * the message. A host's position depends on nothing else, not on the percentage: raising that only ever adds
 * hosts.
 */
#include "policy/fleet.h"

static char lower(char c) {
        return c >= 'A' && c <= 'Z' ? (char) (c - 'A' + 'a') : c;
}

/* At the '[': whether c is in the set; *end goes behind the ']'. A set without an end is a '[' of its own.
 */
static bool match_set(const char *p, const char *pattern_end, char c, bool ignore_case, const char **end) {
        bool negate = false, found = false;
        const char *first;

        p++;
        if (p < pattern_end && (*p == '!' || *p == '^')) {
                negate = true;
                p++;
        }
        for (first = p; p < pattern_end && (*p != ']' || p == first); p++) {
                char from = ignore_case ? lower(*p) : *p, to = from;

                if (pattern_end - p > 2 && p[1] == '-' && p[2] != ']') {
                        to = ignore_case ? lower(p[2]) : p[2];
                        p += 2;
                }
                if ((unsigned char) c >= (unsigned char) from && (unsigned char) c <= (unsigned char) to)
                        found = true;
        }
        if (p >= pattern_end) {
                *end = NULL;
                return false;
        }
        *end = p + 1;
        return found != negate;
}

/* One pattern element against one character; goes on in the pattern. */
static bool match_one(const char **p, const char *pattern_end, char c, bool ignore_case) {
        const char *end;
        bool match;

        if (ignore_case)
                c = lower(c);
        switch (**p) {
        case '?':
                (*p)++;
                return true;
        case '[':
                match = match_set(*p, pattern_end, c, ignore_case, &end);
                if (end) {
                        *p = end;
                        return match;
                }
                _fallthrough_;
        default:
                match = (ignore_case ? lower(**p) : **p) == c;
                (*p)++;
                return match;
        }
}

/* Only the last star needs to be remembered: length of pattern times length of text at most, no recursion.
 */
bool fleet_glob_match(FleetSlice pattern, FleetSlice text, bool ignore_case) {
        const char *p = pattern.s, *pattern_end = p + pattern.n, *t = text.s, *text_end = t + text.n;
        const char *star = NULL, *star_text = NULL;

        if (!pattern.s || !text.s)
                return false;
        /* most patterns say no at the first letter */
        if (p < pattern_end && *p != '*' && *p != '?' && *p != '[' &&
            (t == text_end || (ignore_case ? lower(*p) != lower(*t) : *p != *t)))
                return false;
        while (t < text_end) {
                if (p < pattern_end && *p == '*') {
                        star = ++p;
                        star_text = t;
                        continue;
                }
                if (p < pattern_end && match_one(&p, pattern_end, *t, ignore_case)) {
                        t++;
                        continue;
                }
                if (!star)
                        return false;
                p = star;
                t = ++star_text;
        }
        while (p < pattern_end && *p == '*')
                p++;
        return p == pattern_end;
}

static int compare(FleetSlice a, FleetSlice b, bool ignore_case) {
        if (a.n != b.n)
                return a.n < b.n ? -1 : 1;
        if (!ignore_case)
                return memcmp(a.s, b.s, a.n);
        /* the sorted side has been folded when it was read */
        for (size_t i = 0; i < a.n; i++) {
                char x = lower(a.s[i]), y = lower(b.s[i]);

                if (x != y)
                        return (unsigned char) x < (unsigned char) y ? -1 : 1;
        }
        return 0;
}

bool fleet_patterns_match(const FleetPatterns *p, FleetSlice text) {
        size_t low = 0, high = p->n_exact;

        if (!text.s)
                return false;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int r = compare(p->exact[middle], text, p->ignore_case);

                if (r == 0)
                        return true;
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        for (size_t i = 0; i < p->n_globs; i++)
                if (fleet_glob_match(p->globs[i], text, p->ignore_case))
                        return true;
        return false;
}

static bool patterns_allow(const FleetPatterns *p, FleetSlice text) {
        return (p->n_exact == 0 && p->n_globs == 0) || fleet_patterns_match(p, text);
}

static bool label_matches(const FleetLabelMatch *m, const FleetHost *host) {
        for (size_t i = 0; i < host->n_labels; i++)
                if (host->labels[i].key.n == m->key.n &&
                    memcmp(host->labels[i].key.s, m->key.s, m->key.n) == 0)
                        return fleet_patterns_match(&m->values, host->labels[i].value);
        return false;
}

/* The parser bounds how deep matches nest. */
const char *fleet_match_why(const FleetMatch *m, const FleetHost *host) {
        bool one = m->n_any == 0;

        if (!patterns_allow(&m->hostname, host->hostname))
                return "hostname";
        if (!patterns_allow(&m->machine_id, host->machine_id))
                return "machine_id";
        if (!patterns_allow(&m->kernel, host->kernel))
                return "kernel";
        if (!patterns_allow(&m->os, host->os))
                return "os";
        for (size_t i = 0; i < m->n_labels; i++)
                if (!label_matches(&m->labels[i], host))
                        return m->labels[i].key.s;
        for (size_t i = 0; !one && i < m->n_any; i++)
                one = fleet_match(&m->any[i], host);
        if (!one)
                return "any";
        for (size_t i = 0; i < m->n_not; i++)
                if (fleet_match(&m->not [i], host))
                        return "not";
        return NULL;
}

bool fleet_match(const FleetMatch *m, const FleetHost *host) {
        return !fleet_match_why(m, host);
}

bool fleet_match_is_everything(const FleetMatch *m) {
        const FleetPatterns *p[] = {&m->hostname, &m->machine_id, &m->kernel, &m->os};

        for (unsigned i = 0; i < ELEMENTSOF(p); i++)
                if (p[i]->n_exact > 0 || p[i]->n_globs > 0)
                        return false;
        return m->n_labels == 0 && m->n_any == 0 && m->n_not == 0;
}

/* --- the hash --- */

static uint64_t read_le64(const uint8_t *p) {
        uint64_t v = 0;

        for (unsigned i = 0; i < 8; i++)
                v |= (uint64_t) p[i] << (8 * i);
        return v;
}

static uint64_t rotate(uint64_t v, unsigned n) {
        return v << n | v >> (64 - n);
}

static void sip_rounds(uint64_t v[4], unsigned n) {
        while (n-- > 0) {
                v[0] += v[1];
                v[1] = rotate(v[1], 13) ^ v[0];
                v[0] = rotate(v[0], 32);
                v[2] += v[3];
                v[3] = rotate(v[3], 16) ^ v[2];
                v[0] += v[3];
                v[3] = rotate(v[3], 21) ^ v[0];
                v[2] += v[1];
                v[1] = rotate(v[1], 17) ^ v[2];
                v[2] = rotate(v[2], 32);
        }
}

/* SipHash-2-4 (Aumasson, Bernstein: "SipHash: a fast short-input PRF"). */
uint64_t fleet_siphash(const uint8_t key[16], const void *data, size_t size) {
        const uint8_t *p = data;
        uint64_t k0 = read_le64(key), k1 = read_le64(key + 8), last = (uint64_t) size << 56;
        uint64_t v[4] = {k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                         k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)};

        for (; size >= 8; size -= 8, p += 8) {
                uint64_t m = read_le64(p);

                v[3] ^= m;
                sip_rounds(v, 2);
                v[0] ^= m;
        }
        for (unsigned i = 0; i < size; i++)
                last |= (uint64_t) p[i] << (8 * i);
        v[3] ^= last;
        sip_rounds(v, 2);
        v[0] ^= last;
        v[2] ^= 0xff;
        sip_rounds(v, 4);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* hash * n / 2^64: even for every n, without a division. */
static uint64_t scale(uint64_t hash, uint64_t n) {
        return (uint64_t) ((unsigned __int128) hash * n >> 64);
}

uint32_t fleet_rollout_position(const uint8_t host_id[16], const char *salt) {
        return (uint32_t) scale(fleet_siphash(host_id, salt, strlen(salt)), 100);
}

/* Another key bit than the rollout's, so that the first hosts of a rollout are not the first of a window. */
uint64_t fleet_splay_offset(const uint8_t host_id[16], const char *salt, uint64_t span) {
        uint8_t key[16];

        memcpy(key, host_id, sizeof(key));
        key[0] ^= 1;
        return scale(fleet_siphash(key, salt, strlen(salt)), span);
}
