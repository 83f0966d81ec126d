/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Base64 as etcd's JSON gateway has it (RFC 4648 section 4): strict, with padding, nothing else in between. */
#pragma once

#include "policy/util.h"

/* malloc'ed, NUL-terminated. -ENOMEM. */
int base64_encode(const void *data, size_t size, char **ret);
/* malloc'ed, with a NUL behind the end, which is not counted. -EBADMSG: not base64, or not the one form that the
 * bytes have; -E2BIG: more than max bytes; -ENOMEM. */
int base64_decode(const char *text, size_t size, size_t max, char **ret, size_t *ret_size);
