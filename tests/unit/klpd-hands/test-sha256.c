/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SHA-256 by libgcrypt against the standard's examples, and against libcrypto's for every length up to some blocks. */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>

#include "klpd/digest.h"
#include "klpd/sha256.h"
#include "test-util.h"

static void assert_digest(const void *bytes, size_t size, const char *want) {
        char hex[DIGEST_HEX_LEN + 1];

        bytes_digest(bytes, size, hex);
        assert_string_equal(hex, want);
}

static void test_the_examples_of_the_standard_come_out(void **state) {
        static char million[1000000];

        assert_digest("", 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_digest("abc", 3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
        memset(million, 'a', sizeof(million));
        assert_digest(million, sizeof(million), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void fill(uint8_t *bytes, size_t size) {
        uint32_t x = 2463534242;

        for (size_t i = 0; i < size; i++) {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                bytes[i] = (uint8_t) x;
        }
}

static void test_every_length_gives_what_libcrypto_gives(void **state) {
        static uint8_t bytes[70001];

        fill(bytes, sizeof(bytes));
        for (size_t size = 0; size <= sizeof(bytes); size += size < 300 ? 1 : 23233) {
                uint8_t have[SHA256_SIZE], want[EVP_MAX_MD_SIZE];
                unsigned n = 0;

                /* also from an odd address */
                sha256(bytes + (size & 1), size - (size & 1), have);
                assert_int_equal(EVP_Digest(bytes + (size & 1), size - (size & 1), want, &n, EVP_sha256(), NULL), 1);
                assert_int_equal(n, SHA256_SIZE);
                assert_memory_equal(have, want, SHA256_SIZE);
        }
}

static void test_hmac_with_any_length_of_key_gives_what_libcrypto_gives(void **state) {
        static uint8_t bytes[400];

        fill(bytes, sizeof(bytes));
        for (size_t key = 1; key <= 200; key++) {
                uint8_t have[SHA256_SIZE], want[EVP_MAX_MD_SIZE];
                unsigned n = 0;

                sha256_hmac(bytes, key, bytes + 200, key, have);
                assert_non_null(HMAC(EVP_sha256(), bytes, (int) key, bytes + 200, key, want, &n));
                assert_int_equal(n, SHA256_SIZE);
                assert_memory_equal(have, want, SHA256_SIZE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_the_examples_of_the_standard_come_out),
                cmocka_unit_test(test_every_length_gives_what_libcrypto_gives),
                cmocka_unit_test(test_hmac_with_any_length_of_key_gives_what_libcrypto_gives),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
