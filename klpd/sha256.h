/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SHA-256 and HMAC-SHA-256 of bytes that are all there, by libgcrypt: libsystemd maps that anyway, while libcrypto, which
 * checks signatures (signature.h), would cost the daemon and each klpctl more than a megabyte and some milliseconds.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32U

/* The first call initialises libgcrypt, if nobody has, and reads files for that: make it before a sandbox closes. */
void sha256(const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]);
void sha256_hmac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]);
