/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The content digest of a module (SEMANTICS.md section 4, `integrity`): SHA-256 over the decompressed bytes
 * without an appended signature, as lower-case hex. Looks at nothing but the last bytes of the file (marker
 * and trailer of the kernel's module signatures), so it's safe to use on hostile content: klpd computes the
 * digest itself, from the sealed memfd, and doesn't take the word of the child that parses.
 */
#pragma once

#include "policy/util.h"

#define DIGEST_HEX_LEN 64U

/* Bytes of an appended signature, its trailer and its marker; 0: none. -EBADMSG: a marker with an impossible
 * trailer. */
int module_signature_size(const void *bytes, size_t size, size_t *ret);

/* SHA-256 of just these bytes. buf gets 64 digits and NUL. */
void bytes_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]);
/* Of a module, without its signature. */
int module_digest(const void *bytes, size_t size, char buf[static DIGEST_HEX_LEN + 1]);
/* The same of what is behind a (sealed) memfd or regular file, from its beginning. -EFBIG: over max
 * bytes. */
int module_digest_fd(int fd, size_t max, char buf[static DIGEST_HEX_LEN + 1]);
