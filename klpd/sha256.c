/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sha256.h. Names and numbering follow FIPS 180-4, sections 4.1.2, 5.3.3 and 6.2.2. */
#include "klpd/sha256.h"

#include <endian.h>
#include <string.h>

#define BLOCK 64U

typedef struct Sha256 {
        uint32_t h[8];
        uint64_t size; /* bytes so far */
        uint8_t rest[BLOCK];
} Sha256;

static const uint32_t initial[8] = {
        0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

static const uint32_t constants[64] = {
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, unsigned n) {
        return x >> n | x << (32 - n);
}

static void schedule(const uint8_t *block, uint32_t w[static 64]) {
        for (unsigned t = 0; t < 16; t++) {
                memcpy(&w[t], block + 4 * t, 4);
                w[t] = be32toh(w[t]);
        }
        for (unsigned t = 16; t < 64; t++) {
                uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
                uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;

                w[t] = w[t - 16] + s0 + w[t - 7] + s1;
        }
}

static void compress(uint32_t hash[static 8], const uint8_t *block) {
        uint32_t a = hash[0], b = hash[1], c = hash[2], d = hash[3];
        uint32_t e = hash[4], f = hash[5], g = hash[6], h = hash[7], w[64];

        schedule(block, w);
        for (unsigned t = 0; t < 64; t++) {
                uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) +
                              constants[t] + w[t];
                uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)));

                h = g;
                g = f;
                f = e;
                e = d + t1;
                d = c;
                c = b;
                b = a;
                a = t1 + t2;
        }
        hash[0] += a;
        hash[1] += b;
        hash[2] += c;
        hash[3] += d;
        hash[4] += e;
        hash[5] += f;
        hash[6] += g;
        hash[7] += h;
}

static void begin(Sha256 *s) {
        memcpy(s->h, initial, sizeof(s->h));
        s->size = 0;
}

static void add(Sha256 *s, const void *bytes, size_t size) {
        size_t used = s->size % BLOCK;
        const uint8_t *p = bytes;

        s->size += size;
        if (used > 0) {
                size_t n = BLOCK - used < size ? BLOCK - used : size;

                memcpy(s->rest + used, p, n);
                p += n;
                size -= n;
                if (used + n < BLOCK)
                        return;
                compress(s->h, s->rest);
        }
        for (; size >= BLOCK; p += BLOCK, size -= BLOCK)
                compress(s->h, p);
        if (size > 0)
                memcpy(s->rest, p, size);
}

static void end(Sha256 *s, uint8_t ret[static SHA256_SIZE]) {
        static const uint8_t padding[BLOCK] = { 0x80 };
        uint64_t bits = htobe64(s->size * 8);
        size_t used = s->size % BLOCK;

        add(s, padding, (used < 56 ? 56 : BLOCK + 56) - used);
        add(s, &bits, sizeof(bits));
        for (unsigned i = 0; i < 8; i++) {
                uint32_t word = htobe32(s->h[i]);

                memcpy(ret + 4 * i, &word, 4);
        }
}

void sha256(const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]) {
        Sha256 s;

        begin(&s);
        add(&s, bytes, size);
        end(&s, ret);
}

void sha256_hmac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]) {
        uint8_t pad[BLOCK] = {}, inner[SHA256_SIZE];
        Sha256 s;

        if (key_size > BLOCK)
                sha256(key, key_size, pad);
        else
                memcpy(pad, key, key_size);
        for (unsigned i = 0; i < BLOCK; i++)
                pad[i] ^= 0x36;
        begin(&s);
        add(&s, pad, BLOCK);
        add(&s, bytes, size);
        end(&s, inner);
        for (unsigned i = 0; i < BLOCK; i++)
                pad[i] ^= 0x36 ^ 0x5c;
        begin(&s);
        add(&s, pad, BLOCK);
        add(&s, inner, sizeof(inner));
        end(&s, ret);
}
