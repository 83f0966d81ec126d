/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See base64.h. */
#include "klpd/klp-fleet/base64.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(const void *data, size_t size, char **ret) {
        const unsigned char *p = data;
        char *text, *q;

        if (size > SIZE_MAX / 2)
                return -ENOMEM;
        text = q = malloc((size + 2) / 3 * 4 + 1);
        if (!text)
                return -ENOMEM;
        for (; size >= 3; size -= 3, p += 3) {
                *q++ = alphabet[p[0] >> 2];
                *q++ = alphabet[(p[0] & 3) << 4 | p[1] >> 4];
                *q++ = alphabet[(p[1] & 15) << 2 | p[2] >> 6];
                *q++ = alphabet[p[2] & 63];
        }
        if (size > 0) {
                unsigned second = size > 1 ? p[1] : 0;

                *q++ = alphabet[p[0] >> 2];
                *q++ = alphabet[(p[0] & 3U) << 4 | second >> 4];
                *q++ = size > 1 ? alphabet[(second & 15) << 2] : '=';
                *q++ = '=';
        }
        *q = 0;
        *ret = text;
        return 0;
}

static int value_of(char c) {
        if (c >= 'A' && c <= 'Z')
                return c - 'A';
        if (c >= 'a' && c <= 'z')
                return c - 'a' + 26;
        if (c >= '0' && c <= '9')
                return c - '0' + 52;
        return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(const char *text, size_t size, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ char *data = NULL;
        size_t padding = 0, n;
        unsigned char *q;

        if (size % 4 != 0)
                return -EBADMSG;
        while (padding < 2 && padding < size && text[size - 1 - padding] == '=')
                padding++;
        n = size / 4 * 3 - padding;
        if (n > max)
                return -E2BIG;
        data = malloc(n + 3);
        if (!data)
                return -ENOMEM;
        q = (unsigned char *) data;
        for (size_t i = 0; i < size; i += 4) {
                uint32_t bits = 0;

                for (size_t k = 0; k < 4; k++) {
                        int v = i + k >= size - padding ? 0 : value_of(text[i + k]);

                        if (v < 0)
                                return -EBADMSG;
                        bits = bits << 6 | (uint32_t) v;
                }
                /* What padding stands for must be zero, or other texts would mean the same bytes. */
                if (i + 4 == size && (bits & ((1U << 8 * padding) - 1)) != 0)
                        return -EBADMSG;
                *q++ = (unsigned char) (bits >> 16);
                *q++ = (unsigned char) (bits >> 8);
                *q++ = (unsigned char) bits;
        }
        data[n] = 0;
        *ret = TAKE_PTR(data);
        *ret_size = n;
        return 0;
}
