/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sha256.h. */
#include "klpd/sha256.h"

#include <gcrypt.h>
#include <stdlib.h>

/* Nothing secret goes through it: no locked memory is needed. A libgcrypt without SHA-256 doesn't exist. */
static void digest(unsigned flags, const gcry_buffer_t *buffers, int n, uint8_t *ret) {
        if (!gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P)) {
                (void) gcry_check_version(NULL);
                (void) gcry_control(GCRYCTL_DISABLE_SECMEM, 0);
                (void) gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
        }
        if (gcry_md_hash_buffers(GCRY_MD_SHA256, flags, ret, buffers, n) != 0)
                abort();
}

void sha256(const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]) {
        const gcry_buffer_t buffer = { .data = (void *) bytes, .len = size };

        digest(0, &buffer, 1, ret);
}

void sha256_hmac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]) {
        const gcry_buffer_t buffers[] = {
                { .data = (void *) key, .len = key_size },
                { .data = (void *) bytes, .len = size },
        };

        digest(GCRY_MD_FLAG_HMAC, buffers, 2, ret);
}
