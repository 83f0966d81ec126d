/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sealed memfds: a module's content that nothing can change any more, between check and use (DESIGN.md).
 * Descriptors that are returned belong to the caller and are close-on-exec.
 */
#pragma once

#include "policy/util.h"

/* Reads a regular file (or memfd, or pipe) once, from its present offset to its end, into a new sealed
 * memfd. -EFBIG: over max bytes; -ENODATA: nothing in it; -EISDIR; -EINVAL: neither file nor pipe. Blocking.
 */
int sealed_memfd_new_from_fd(int fd, size_t max, const char *name, int *ret);
int sealed_memfd_new_from_bytes(const void *bytes, size_t size, const char *name, int *ret);

/* Seals a memfd that nobody maps writably. */
int sealed_memfd_seal(int fd);
/* 0 if fd is a memfd that has all of F_SEAL_WRITE, GROW, SHRINK and SEAL, else -EPERM. */
int sealed_memfd_check(int fd);
