/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Decompression of modules, in memory, bounded on both ends: the output by PATCH_FILE_SIZE_MAX, the
 * decoder's own memory by DECODER_MEMORY_MAX. A file has to be exactly one stream that ends where the file
 * does. The only file that knows liblzma and libzstd.
 */
#include <lzma.h>
#include <zstd.h>

#include "klpd/patch-file.h"

#define DECODER_MEMORY_MAX (128ULL * 1024 * 1024)
#define WINDOW_LOG_MAX 27 /* of zstd: 128 MiB */
#define OUTPUT_START (1024U * 1024U)

typedef struct Output {
        uint8_t *bytes;
        size_t n, size;
} Output;

/* Room for at least one more byte. */
static int output_grow(Output *o) {
        uint8_t *bigger;
        size_t size;

        if (o->n < o->size)
                return 0;
        if (o->size >= PATCH_FILE_SIZE_MAX)
                return -E2BIG;

        size = o->size ? o->size * 2 : OUTPUT_START;
        if (size > PATCH_FILE_SIZE_MAX)
                size = PATCH_FILE_SIZE_MAX;
        bigger = realloc(o->bytes, size);
        if (!bigger)
                return -ENOMEM;
        o->bytes = bigger;
        o->size = size;
        return 0;
}

static int decompress_xz(const void *bytes, size_t size, Output *o) {
        lzma_stream stream = LZMA_STREAM_INIT;
        lzma_ret e;
        int r;

        if (lzma_stream_decoder(&stream, DECODER_MEMORY_MAX, 0) != LZMA_OK)
                return -ENOMEM;
        stream.next_in = bytes;
        stream.avail_in = size;

        for (;;) {
                r = output_grow(o);
                if (r < 0)
                        break;
                stream.next_out = o->bytes + o->n;
                stream.avail_out = o->size - o->n;
                e = lzma_code(&stream, LZMA_FINISH);
                o->n = o->size - stream.avail_out;

                if (e == LZMA_STREAM_END) {
                        r = stream.avail_in == 0 ? 0 : -EBADMSG;
                        break;
                }
                if (e != LZMA_OK) {
                        r = e == LZMA_MEM_ERROR ? -ENOMEM : e == LZMA_MEMLIMIT_ERROR ? -E2BIG : -EBADMSG;
                        break;
                }
        }

        lzma_end(&stream);
        return r;
}

static int decompress_zstd(const void *bytes, size_t size, Output *o) {
        ZSTD_inBuffer in = { .src = bytes, .size = size };
        ZSTD_DCtx *context;
        int r;

        context = ZSTD_createDCtx();
        if (!context)
                return -ENOMEM;
        if (ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
                ZSTD_freeDCtx(context);
                return -EINVAL;
        }

        for (;;) {
                ZSTD_outBuffer out;
                size_t left, before = in.pos, n_before = o->n;

                r = output_grow(o);
                if (r < 0)
                        break;
                out = (ZSTD_outBuffer) { .dst = o->bytes, .size = o->size, .pos = o->n };
                left = ZSTD_decompressStream(context, &out, &in);
                o->n = out.pos;

                if (ZSTD_isError(left)) {
                        r = -EBADMSG;
                        break;
                }
                if (left == 0) { /* the end of a frame */
                        r = in.pos == in.size ? 0 : -EBADMSG;
                        break;
                }
                /* wants more input, and there is none */
                if (in.pos == before && o->n == n_before && o->n < o->size) {
                        r = -EBADMSG;
                        break;
                }
        }

        ZSTD_freeDCtx(context);
        return r;
}

int patch_file_decompress(const void *bytes, size_t size, void **ret, size_t *ret_size, PolicyError *error) {
        static const uint8_t xz[] = {0xfd, '7', 'z', 'X', 'Z', 0}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd},
                             gzip[] = {0x1f, 0x8b};
        const char *what;
        Output o = {};
        int r;

        if (size >= sizeof(xz) && memcmp(bytes, xz, sizeof(xz)) == 0) {
                what = "xz";
                r = decompress_xz(bytes, size, &o);
        } else if (size >= sizeof(zstd) && memcmp(bytes, zstd, sizeof(zstd)) == 0) {
                what = "zstd";
                r = decompress_zstd(bytes, size, &o);
        } else if (size >= sizeof(gzip) && memcmp(bytes, gzip, sizeof(gzip)) == 0)
                return policy_error_set(error, -EPROTONOSUPPORT,
                                        "the file is compressed with gzip; klpd reads .ko, .ko.xz and "
                                        ".ko.zst");
        else
                return policy_error_set(error, -ENODATA, "the file isn't compressed");

        if (r < 0) {
                free(o.bytes);
                switch (-r) {
                case E2BIG:
                        return policy_error_set(error, r, "the %s-compressed file needs more than %u MiB",
                                                what, PATCH_FILE_SIZE_MAX >> 20);
                case EBADMSG:
                        return policy_error_set(error, r, "the %s-compressed file is truncated or damaged",
                                                what);
                default:
                        return policy_error_set(error, r, "can't decompress the file: %s", strerror(-r));
                }
        }

        *ret = o.bytes;
        *ret_size = o.n;
        return 0;
}
