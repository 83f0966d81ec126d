/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See digest.h. The trailer of an appended signature is struct module_signature of the kernel's
 * include/linux/module_signature.h, followed by the marker; the signature stands before it, sig_len bytes,
 * big-endian.
 */
#include "klpd/digest.h"

#include <endian.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define SIGNATURE_MARKER "~Module signature appended~\n"
#define SIGNATURE_MARKER_LEN (sizeof(SIGNATURE_MARKER) - 1)

typedef struct SignatureTrailer {
        uint8_t algorithm, hash, id_type, signer_len, key_id_len, padding[3];
        uint32_t signature_len; /* big-endian */
} SignatureTrailer;

int module_signature_size(const void *bytes, size_t size, size_t *ret) {
        const uint8_t *p = bytes;
        SignatureTrailer trailer;
        size_t total, signature_len;

        if (size < SIGNATURE_MARKER_LEN ||
            memcmp(p + size - SIGNATURE_MARKER_LEN, SIGNATURE_MARKER, SIGNATURE_MARKER_LEN) != 0) {
                *ret = 0;
                return 0;
        }

        if (size - SIGNATURE_MARKER_LEN < sizeof(trailer))
                return -EBADMSG;
        memcpy(&trailer, p + size - SIGNATURE_MARKER_LEN - sizeof(trailer), sizeof(trailer));

        signature_len = be32toh(trailer.signature_len);
        total = SIGNATURE_MARKER_LEN + sizeof(trailer) + trailer.signer_len + trailer.key_id_len;
        if (total >= size || signature_len >= size - total)
                return -EBADMSG;

        *ret = total + signature_len;
        return 0;
}

int bytes_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]) {
        uint8_t md[EVP_MAX_MD_SIZE];
        unsigned md_len;

        if (EVP_Digest(bytes, size, md, &md_len, EVP_sha256(), NULL) != 1 || md_len * 2 != DIGEST_HEX_LEN)
                return -ENOTSUP; /* a libcrypto without SHA-256 */

        for (unsigned i = 0; i < md_len; i++)
                snprintf(buf + 2 * i, 3, "%02x", md[i]);
        return 0;
}

int module_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]) {
        size_t signature_size;
        int r;

        r = module_signature_size(bytes, size, &signature_size);
        return r < 0 ? r : bytes_digest(bytes, size - signature_size, buf);
}

int module_digest_fd(int fd, size_t max, char buf[static DIGEST_HEX_LEN + 1]) {
        struct stat st;
        void *map;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_size < 0 || (uint64_t) st.st_size > max)
                return -EFBIG;
        if (st.st_size == 0)
                return module_digest("", 0, buf);

        map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        r = module_digest(map, (size_t) st.st_size, buf);
        munmap(map, (size_t) st.st_size);
        return r;
}

int digest_hmac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret[static 32]) {
        unsigned n = 0;

        if (!HMAC(EVP_sha256(), key, (int) key_size, bytes, size, ret, &n) || n != 32)
                return -EIO;
        return 0;
}
