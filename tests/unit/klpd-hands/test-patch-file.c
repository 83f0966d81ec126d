/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The reader of module files on modules made by the compiler (module.c), whole, cut at every length, bent,
 * signed and compressed. Arguments: the directory with the modules.
 */
#include "test-util.h"

#include <lzma.h>
#include <stdio.h>
#include <unistd.h>
#include <zstd.h>

#include "klpd/digest.h"
#include "klpd/patch-file-modinfo.h"
#include "klpd/patch-file.h"
#include "klpd/sealed-memfd.h"

static const char *directory;

static uint8_t *load_module(const char *name, size_t *ret_size) {
        char path[512];

        snprintf(path, sizeof(path), "%s/%s.ko", directory, name);
        return read_whole_file(path, ret_size);
}

static void check_managed(const PatchFile *f) {
        assert_string_equal(f->patch->name, "klp_unit");
        assert_string_equal(f->patch->kernel, "6.1.0-47-amd64");
        assert_string_equal(f->patch->vendor, "acme");
        assert_int_equal(f->patch->level, 3);
        assert_true(f->patch->cumulative);
        assert_int_equal(f->patch->kind, PATCH_MANAGED);
        assert_int_equal(f->patch->n_states, 2);
        assert_int_equal(f->patch->states[0].id, 17);
        assert_int_equal(f->patch->states[0].version, 2);
        assert_int_equal(f->patch->states[0].flags, PATCH_STATE_BLOCK_DISABLE | PATCH_STATE_SHADOW);
        assert_string_equal(f->patch->states[0].name, "feature");
        assert_int_equal(f->patch->states[1].id, 0x20);
        assert_int_equal(f->patch->n_functions, 1);
        assert_string_equal(f->patch->functions[0].function, "ip_options_get");
        assert_int_equal(f->patch->functions[0].sympos, 1);
        assert_true(strv_contains(f->patch->fixes, "CVE-2026-12345"));
        assert_int_equal(strv_length(f->depends), 2);
        assert_non_null(f->patch->digest);
}

static void test_a_managed_patch_is_read_whole(void **state) {
        _cleanup_patch_file_free_ PatchFile *f = NULL;
        _cleanup_free_ uint8_t *bytes = NULL;
        PolicyError error = {};
        size_t size;

        bytes = load_module("managed", &size);
        assert_int_equal(patch_file_read(bytes, size, &f, &error), 0);
        check_managed(f);
        assert_int_equal(f->signature_size, 0);
}

static void test_a_plain_patch_needs_no_metadata(void **state) {
        _cleanup_patch_file_free_ PatchFile *f = NULL;
        _cleanup_free_ uint8_t *bytes = NULL;
        PolicyError error = {};
        size_t size;

        bytes = load_module("plain", &size);
        assert_int_equal(patch_file_read(bytes, size, &f, &error), 0);
        assert_int_equal(f->patch->kind, PATCH_PLAIN);
        assert_string_equal(f->patch->vendor, PATCH_VENDOR_DEFAULT);
        assert_int_equal(f->patch->level, 0);
}

static void test_what_can_not_be_applied_says_why(void **state) {
        static const struct {
                const char *module;
                int r;
                const char *text;
        } cases[] = {
                { "no-livepatch", -ENOPKG, "'klp_unit' is a kernel module, but no livepatch" },
                { "both", -EBADMSG, "contradicts itself" },
                { "neither", -EBADMSG, "neither registers" },
                { "no-metadata", -EBADMSG, "has no klp_vendor" },
                { "twice", -EBADMSG, "'klp_level' twice" },
                { "unknown-key", -EBADMSG, "'klp_surprise'" },
                { "bad-state", -EBADMSG, "no klp_state" },
                { "state-twice", -EBADMSG, "state 17 twice" },
                { "bad-requires", -EBADMSG, "klp_requires" },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                PolicyError error = {};
                PatchFile *f = NULL;
                uint8_t *bytes;
                size_t size;

                bytes = load_module(cases[i].module, &size);
                assert_int_equal(patch_file_read(bytes, size, &f, &error), cases[i].r);
                assert_contains(error.message, cases[i].text);
                free(bytes);
        }
}

static void test_other_files_are_no_modules(void **state) {
        _cleanup_free_ uint8_t *self = NULL;
        PolicyError error = {};
        PatchFile *f;
        size_t size;

        assert_int_equal(patch_file_read("", 0, &f, &error), -ENOEXEC);
        assert_int_equal(patch_file_read("#!/bin/sh\n", 10, &f, &error), -ENOEXEC);
        assert_contains(error.message, "no kernel module");
        self = read_whole_file("/proc/self/exe", &size);
        assert_int_equal(patch_file_read(self, size, &f, &error), -ENOEXEC);
        assert_contains(error.message, "not relocatable");
}

static void test_a_cut_module_is_called_truncated_at_every_length(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t size;

        bytes = load_module("managed", &size);
        for (size_t n = 4; n < size; n++) {
                uint8_t *copy = malloc(n); /* exactly that long, for the sanitizers */
                PolicyError error = {};
                PatchFile *f = NULL;

                memcpy(copy, bytes, n);
                assert_int_equal(patch_file_read(copy, n, &f, &error), -EBADMSG);
                assert_contains(error.message, "truncated");
                free(copy);
        }
}

static void test_a_bent_module_is_read_safely(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL;
        size_t size;

        bytes = load_module("managed", &size);
        for (size_t i = 0; i < size; i++)
                for (unsigned v = 0; v < 2; v++) {
                        uint8_t keep = bytes[i];
                        PolicyError error = {};
                        PatchFile *f = NULL;
                        int r;

                        bytes[i] = (uint8_t) (v ? 0xff : keep ^ (1U << (i % 8)));
                        r = patch_file_read(bytes, size, &f, &error);
                        assert_true(r == 0 || error.message[0]);
                        patch_file_free(f);
                        bytes[i] = keep;
                }
}

/* ---- .modinfo by itself ---- */

static int parse(const char *text, size_t size, PolicyError *error) {
        PatchFile *f = calloc(1, sizeof(PatchFile));
        int r;

        *error = (PolicyError) {};
        r = patch_file_parse_modinfo(text, size, &(ModinfoContext) {}, f, error);
        patch_file_free(f);
        return r;
}

#define PARSE(text, error) parse(text, sizeof(text), error)
#define BASE "name=x\0vermagic=1 SMP \0livepatch=Y\0"

static void test_strange_modinfo_is_refused(void **state) {
        PolicyError e;

        assert_int_equal(PARSE(BASE, &e), 0);
        assert_int_equal(PARSE("\0\0" BASE "\0\0\0", &e), 0);
        assert_int_equal(parse("name=x", 6, &e), -EBADMSG);
        assert_contains(e.message, "cut off");
        assert_int_equal(PARSE("noequals\0" BASE, &e), -EBADMSG);
        assert_int_equal(PARSE("vermagic=1\0livepatch=Y\0", &e), -EBADMSG);
        assert_contains(e.message, "no name");
        assert_int_equal(PARSE("name=../x\0vermagic=1\0livepatch=Y\0", &e), -EBADMSG);
        assert_int_equal(PARSE("name=x\0livepatch=Y\0", &e), -EBADMSG);
        assert_contains(e.message, "vermagic");
        assert_int_equal(PARSE("name=x\0vermagic=1\0livepatch=N\0", &e), -ENOPKG);
        assert_int_equal(PARSE(BASE "klp_level=-1\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_level=4294967296\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_level=4294967295\0", &e), 0);
        assert_int_equal(PARSE(BASE "klp_level= 1\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_cumulative=1\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_vendor=a/b\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_state=1:2\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_state=1:2:8:x\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_state=18446744073709551615:4294967295:7:x\0", &e), 0);
        assert_int_equal(PARSE(BASE "klp_state=18446744073709551616:1:0:x\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_func=vmlinux\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_func=vmlinux:f\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_func=vmlinux:f,x\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_func=vmlinux:f,1\0klp_func=vmlinux:f,1\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_summary=\xff\xfe\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_summary=\xc3\xa4 \xe2\x82\xac \xf0\x9f\x90\xa7\0", &e), 0);
        assert_int_equal(PARSE(BASE "klp_summary=\xc0\x80\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_summary=\xed\xa0\x80\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "klp_summary=\xe2\x82\0", &e), -EBADMSG);
        assert_int_equal(PARSE(BASE "depends=a,../b\0", &e), -EBADMSG);
}

/* ---- signatures and digests ---- */

static uint8_t *sign(const uint8_t *bytes, size_t size, uint32_t length, size_t *ret_size) {
        static const char marker[] = "~Module signature appended~\n";
        uint8_t trailer[12] = { 0, 0, 2, 0, 0, 0, 0, 0, (uint8_t) (length >> 24), (uint8_t) (length >> 16),
                                (uint8_t) (length >> 8), (uint8_t) length };
        uint8_t *out = calloc(1, size + 100 + sizeof(trailer) + sizeof(marker));

        memcpy(out, bytes, size);
        memset(out + size, 0x5a, 100);
        memcpy(out + size + 100, trailer, sizeof(trailer));
        memcpy(out + size + 100 + sizeof(trailer), marker, sizeof(marker) - 1);
        *ret_size = size + 100 + sizeof(trailer) + sizeof(marker) - 1;
        return out;
}

static void test_a_signature_does_not_change_the_digest(void **state) {
        _cleanup_patch_file_free_ PatchFile *f = NULL, *g = NULL;
        _cleanup_free_ uint8_t *bytes = NULL, *with = NULL, *lying = NULL;
        size_t size, signed_size, n;
        PolicyError error = {};

        bytes = load_module("managed", &size);
        with = sign(bytes, size, 100, &signed_size);
        assert_int_equal(patch_file_read(bytes, size, &f, &error), 0);
        assert_int_equal(patch_file_read(with, signed_size, &g, &error), 0);
        assert_int_equal(g->signature_size, signed_size - size);
        assert_string_equal(f->patch->digest, g->patch->digest);

        g = patch_file_free(g);
        lying = sign(bytes, size, 0xffffff00, &signed_size);
        assert_int_equal(module_signature_size(lying, signed_size, &n), -EBADMSG);
        assert_int_equal(patch_file_read(lying, signed_size, &g, &error), -EBADMSG);
        assert_contains(error.message, "signature");
        for (size_t cut = 1; cut < 200; cut++) /* the marker with less and less in front of it */
                (void) module_signature_size(with + signed_size - cut, cut, &n);
}

static void test_the_digest_is_sha256(void **state) {
        char hex[DIGEST_HEX_LEN + 1];

        assert_int_equal(module_digest("abc", 3, hex), 0);
        assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* ---- compression ---- */

static size_t compress_xz(const uint8_t *bytes, size_t size, uint8_t *out, size_t max) {
        size_t n = 0;

        assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL, bytes, size, out, &n, max),
                         LZMA_OK);
        return n;
}

static void check_compressed(const uint8_t *compressed, size_t n, const uint8_t *bytes, size_t size) {
        _cleanup_free_ void *out = NULL;
        PolicyError error = {};
        size_t out_size;

        assert_int_equal(patch_file_decompress(compressed, n, &out, &out_size, &error), 0);
        assert_int_equal(out_size, size);
        assert_memory_equal(out, bytes, size);

        for (size_t cut = 6; cut < n; cut += 1 + n / 200) {
                uint8_t *copy = malloc(cut);
                void *nothing;

                memcpy(copy, compressed, cut);
                assert_int_equal(patch_file_decompress(copy, cut, &nothing, &out_size, &error), -EBADMSG);
                free(copy);
        }
}

static void test_compressed_modules_are_read_and_cut_ones_refused(void **state) {
        _cleanup_free_ uint8_t *bytes = NULL, *buffer = NULL;
        PolicyError error = {};
        size_t size, n, max;
        void *out;

        bytes = load_module("managed", &size);
        max = 2 * size + 4096;
        buffer = calloc(1, max);

        n = compress_xz(bytes, size, buffer, max);
        check_compressed(buffer, n, bytes, size);
        buffer[n] = 'x'; /* something behind the end */
        assert_int_equal(patch_file_decompress(buffer, n + 1, &out, &max, &error), -EBADMSG);

        max = 2 * size + 4096;
        n = ZSTD_compress(buffer, max, bytes, size, 3);
        assert_false(ZSTD_isError(n));
        check_compressed(buffer, n, bytes, size);

        assert_int_equal(patch_file_decompress("\x1f\x8b\x08\0", 4, &out, &max, &error), -EPROTONOSUPPORT);
        assert_contains(error.message, "gzip");
        assert_int_equal(patch_file_decompress(bytes, size, &out, &max, &error), -ENODATA);
}

static void test_a_bomb_is_stopped_at_the_bound(void **state) {
        _cleanup_free_ uint8_t *zeros = NULL, *small = NULL;
        size_t size = PATCH_FILE_SIZE_MAX + 1, max = 1024 * 1024, n;
        PolicyError error = {};
        void *out;

        zeros = calloc(1, size);
        small = malloc(max);
        n = ZSTD_compress(small, max, zeros, size, 1);
        assert_false(ZSTD_isError(n));
        assert_int_equal(patch_file_decompress(small, n, &out, &max, &error), -E2BIG);
        assert_contains(error.message, "128 MiB");
}

/* ---- from descriptors ---- */

static void test_files_are_read_by_descriptor(void **state) {
        _cleanup_patch_file_free_ PatchFile *f = NULL, *g = NULL;
        _cleanup_free_ uint8_t *bytes = NULL, *compressed = NULL;
        PolicyError error = {};
        size_t size, n;
        int fd, pipe_fds[2];

        bytes = load_module("managed", &size);
        assert_int_equal(sealed_memfd_new_from_bytes(bytes, size, "x", &fd), 0);
        assert_int_equal(sealed_memfd_check(fd), 0);
        assert_int_equal(patch_file_read_fd(fd, &f, &error), 0);
        check_managed(f);
        assert_true(write(fd, "x", 1) < 0);
        close(fd);

        compressed = malloc(2 * size + 4096);
        n = compress_xz(bytes, size, compressed, 2 * size + 4096);
        assert_int_equal(sealed_memfd_new_from_bytes(compressed, n, "x", &fd), 0);
        assert_int_equal(patch_file_read_fd(fd, &g, &error), 0);
        assert_string_equal(f->patch->digest, g->patch->digest);
        close(fd);

        assert_int_equal(pipe(pipe_fds), 0);
        assert_int_equal(patch_file_read_fd(pipe_fds[0], &g, &error), -ENOEXEC);
        assert_int_equal(write(pipe_fds[1], "abc", 3), 3);
        close(pipe_fds[1]);
        assert_int_equal(sealed_memfd_new_from_fd(pipe_fds[0], 2, "x", &fd), -EFBIG);
        assert_int_equal(sealed_memfd_new_from_fd(pipe_fds[0], 2, "x", &fd), -ENODATA);
        close(pipe_fds[0]);
}

int main(int argc, char *argv[]) {
        static const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_managed_patch_is_read_whole),
                cmocka_unit_test(test_a_plain_patch_needs_no_metadata),
                cmocka_unit_test(test_what_can_not_be_applied_says_why),
                cmocka_unit_test(test_other_files_are_no_modules),
                cmocka_unit_test(test_a_cut_module_is_called_truncated_at_every_length),
                cmocka_unit_test(test_a_bent_module_is_read_safely),
                cmocka_unit_test(test_strange_modinfo_is_refused),
                cmocka_unit_test(test_a_signature_does_not_change_the_digest),
                cmocka_unit_test(test_the_digest_is_sha256),
                cmocka_unit_test(test_compressed_modules_are_read_and_cut_ones_refused),
                cmocka_unit_test(test_a_bomb_is_stopped_at_the_bound),
                cmocka_unit_test(test_files_are_read_by_descriptor),
        };

        if (argc != 2)
                return EXIT_FAILURE;
        directory = argv[1];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
