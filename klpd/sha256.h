/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * SHA-256 (FIPS 180-4) and HMAC-SHA-256 (RFC 2104), of bytes that are all there. klpd's own, as systemd has its own, for one
 * reason: it is all that the daemon and klpctl would map libcrypto for, which costs each process more than a
 * megabyte and the start of each klpctl several milliseconds. Nothing secret goes through it: digests of public
 * modules, and the application's id. Signatures are libcrypto's business (signature.h), in klpd-inspect alone.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32U

void sha256(const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]);
void sha256_hmac(const void *key, size_t key_size, const void *bytes, size_t size, uint8_t ret[static SHA256_SIZE]);
