/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See digest.h. The trailer of an appended signature is struct module_signature of the kernel's
 * include/linux/module_signature.h, followed by the marker; the signature stands before it, sig_len bytes,
 * big-endian.
 */
#include "klpd/digest.h"

#include <endian.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "klpd/sha256.h"

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

void bytes_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]) {
        static const char digits[] = "0123456789abcdef";
        uint8_t md[SHA256_SIZE];

        sha256(bytes, size, md);
        for (unsigned i = 0; i < SHA256_SIZE; i++) {
                buf[2 * i] = digits[md[i] >> 4];
                buf[2 * i + 1] = digits[md[i] & 15];
        }
        buf[DIGEST_HEX_LEN] = 0;
}

int module_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]) {
        size_t signature_size;
        int r;

        r = module_signature_size(bytes, size, &signature_size);
        if (r < 0)
                return r;
        bytes_digest(bytes, size - signature_size, buf);
        return 0;
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
