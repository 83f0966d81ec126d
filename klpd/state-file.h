/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Small files that must be there in whole or not at all, whatever happens: what klpd keeps in /var/lib/klpd,
 * and what it imports. Written beside, synced, renamed, and the directory synced; read with a bound, and only
 * if they are regular files. Blocking.
 */
#pragma once

#include <sys/types.h>

#include "policy/util.h"

/* path: below root_fd, its directory must be there. After an error the old content is still there, and
 * nothing else is left behind (a file that was being written when power failed is overwritten next time). */
int state_file_write(int root_fd, const char *path, const void *bytes, size_t size, mode_t mode);
/* As state_file_write(), for what carries its own checksum and can be made again: after a power loss it may be there in part. */
int state_file_write_unsynced(int root_fd, const char *path, const void *bytes, size_t size, mode_t mode);
/* As state_file_write(), with what is in a file or memfd, from its beginning. */
int state_file_write_fd(int root_fd, const char *path, int fd, mode_t mode);

/* *ret is malloc'ed and NUL-terminated. -EFBIG: over max; -EINVAL: no regular file. */
int state_file_read(int root_fd, const char *path, size_t max, char **ret, size_t *ret_size);

/* Unlinks (what isn't there is fine: 0) without syncing; >0: it was there. */
int state_file_unlink(int root_fd, const char *path);
/* Makes what was done in a directory last. */
int state_directory_sync(int root_fd, const char *path);
/* mkdir -p with mode 0755, synced. */
int state_directory_make(int root_fd, const char *path);
