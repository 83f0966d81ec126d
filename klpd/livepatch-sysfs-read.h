/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reading the small files of /proc and /sys, bounded, below a directory descriptor that stands for "/".
 * Paths are relative ("sys/kernel/notes"). No ownership but what ret_ outputs hand over.
 */
#pragma once

#include <dirent.h>
#include <unistd.h>

#include "policy/util.h"

#define SYSFS_VALUE_MAX 4096U

/* Up to size bytes of a file; ret_size may be NULL. -E2BIG: the file is longer. Not NUL-terminated. */
int sysfs_read_bytes(int dir_fd, const char *path, void *buf, size_t size, size_t *ret_size);
/* The file as text without its last newline, NUL-terminated; -EBADMSG: it has a NUL, -E2BIG: longer than
 * size - 1. */
int sysfs_read_text(int dir_fd, const char *path, char *buf, size_t size);
/* "0" or "1" ("N" or "Y"); anything else is -EBADMSG. */
int sysfs_read_bool(int dir_fd, const char *path, bool *ret);
int sysfs_read_unsigned(int dir_fd, const char *path, unsigned *ret);
/* A whole file of up to max bytes, malloc'ed and NUL-terminated. */
int sysfs_read_all(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size);
/* DIR of a directory below dir_fd; close with closedir(). */
int sysfs_open_dir(int dir_fd, const char *path, DIR **ret);

/* What read() and open() say of an entry that vanishes meanwhile. */
static inline bool sysfs_is_gone(int r) {
        return r == -ENOENT || r == -ENODEV;
}

/* Decimal digits only, nothing before or after, in range. */
int parse_unsigned(const char *s, unsigned *ret);

static inline void closep(int *fd) {
        if (*fd >= 0) {
                int saved = errno;

                close(*fd);
                errno = saved;
        }
}
#define _cleanup_close_ _cleanup_(closep)

static inline void closedirp(DIR **d) {
        if (*d)
                closedir(*d);
}
#define _cleanup_closedir_ _cleanup_(closedirp)
