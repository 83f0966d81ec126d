/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See livepatch-sysfs-read.h. Files of /proc and /sys are made at read time: one is read until it ends,
 * never by size. */
#include "klpd/livepatch-sysfs-read.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

static int read_until_end(int fd, char *buf, size_t size, size_t *ret_size) {
        size_t n = 0;

        for (;;) {
                ssize_t k = read(fd, buf + n, size - n);

                if (k < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (k == 0)
                        break;
                n += (size_t) k;
                if (n == size) {
                        char more;

                        /* Full: it must end here. */
                        k = read(fd, &more, 1);
                        if (k < 0)
                                return -errno;
                        if (k > 0)
                                return -E2BIG;
                        break;
                }
        }

        *ret_size = n;
        return 0;
}

int sysfs_read_bytes(int dir_fd, const char *path, void *buf, size_t size, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        size_t n = 0;
        int r;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        r = read_until_end(fd, buf, size, &n);
        if (r < 0)
                return r;

        if (ret_size)
                *ret_size = n;
        return 0;
}

int sysfs_read_text(int dir_fd, const char *path, char *buf, size_t size) {
        size_t n = 0;
        int r;

        r = sysfs_read_bytes(dir_fd, path, buf, size - 1, &n);
        if (r < 0)
                return r;
        if (memchr(buf, 0, n))
                return -EBADMSG;
        if (n > 0 && buf[n - 1] == '\n')
                n--;
        buf[n] = 0;
        return 0;
}

int sysfs_read_bool(int dir_fd, const char *path, bool *ret) {
        char buf[16];
        int r;

        r = sysfs_read_text(dir_fd, path, buf, sizeof(buf));
        if (r < 0)
                return r;

        if (streq(buf, "1") || streq(buf, "Y"))
                *ret = true;
        else if (streq(buf, "0") || streq(buf, "N"))
                *ret = false;
        else
                return -EBADMSG;
        return 0;
}

int parse_unsigned(const char *s, unsigned *ret) {
        uint64_t v = 0;

        if (!*s)
                return -EBADMSG;
        for (; *s; s++) {
                if (*s < '0' || *s > '9')
                        return -EBADMSG;
                v = v * 10 + (uint64_t) (*s - '0');
                if (v > UINT_MAX)
                        return -EBADMSG;
        }

        *ret = (unsigned) v;
        return 0;
}

int sysfs_read_unsigned(int dir_fd, const char *path, unsigned *ret) {
        char buf[32];
        int r;

        r = sysfs_read_text(dir_fd, path, buf, sizeof(buf));
        if (r < 0)
                return r;
        return parse_unsigned(buf, ret);
}

int sysfs_read_all(int dir_fd, const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_close_ int fd = -EBADF;
        _cleanup_free_ char *buf = NULL;
        size_t n = 0, size = 4096;

        fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;

        for (bool end = false; !end;) {
                char *bigger;

                bigger = realloc(buf, size);
                if (!bigger)
                        return -ENOMEM;
                buf = bigger;

                while (n < size - 1) {
                        ssize_t k = read(fd, buf + n, size - 1 - n);

                        if (k < 0 && errno == EINTR)
                                continue;
                        if (k < 0)
                                return -errno;
                        if (k == 0) {
                                end = true;
                                break;
                        }
                        n += (size_t) k;
                }
                if (n > max)
                        return -E2BIG;
                size *= 2;
        }

        buf[n] = 0;
        *ret = TAKE_PTR(buf);
        if (ret_size)
                *ret_size = n;
        return 0;
}

int sysfs_open_dir(int dir_fd, const char *path, DIR **ret) {
        _cleanup_close_ int fd = -EBADF;
        DIR *d;

        fd = openat(dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;

        d = fdopendir(fd);
        if (!d)
                return -errno;
        TAKE_FD(fd); /* the DIR's now */

        *ret = d;
        return 0;
}
