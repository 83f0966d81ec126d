/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sealed-memfd.h. */
#include "klpd/sealed-memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"

#define ALL_SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

/* Since Linux 6.3 the kernel wants to be told that a memfd is not for executing; older ones don't know the
 * flag. */
static int memfd_new(const char *name) {
        int fd;

        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        if (fd < 0 && errno == EINVAL)
                fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        return fd < 0 ? -errno : fd;
}

int sealed_memfd_seal(int fd) {
        return fcntl(fd, F_ADD_SEALS, ALL_SEALS) < 0 ? -errno : 0;
}

int sealed_memfd_check(int fd) {
        int seals;

        seals = fcntl(fd, F_GET_SEALS);
        return seals >= 0 && (seals & ALL_SEALS) == ALL_SEALS ? 0 : -EPERM;
}

static int write_all(int fd, const uint8_t *p, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

static int finish(int *fd, int *ret) {
        int r;

        if (lseek(*fd, 0, SEEK_SET) < 0)
                return -errno;
        r = sealed_memfd_seal(*fd);
        if (r < 0)
                return r;

        *ret = TAKE_FD(*fd);
        return 0;
}

int sealed_memfd_new_from_bytes(const void *bytes, size_t size, const char *name, int *ret) {
        _cleanup_close_ int memfd = -EBADF;
        int r;

        memfd = memfd_new(name);
        if (memfd < 0)
                return memfd;
        r = write_all(memfd, bytes, size);
        if (r < 0)
                return r;
        return finish(&memfd, ret);
}

int sealed_memfd_new_from_fd(int fd, size_t max, const char *name, int *ret) {
        _cleanup_close_ int memfd = -EBADF;
        uint8_t buf[65536];
        struct stat st;
        size_t total = 0;
        int r;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                return -EISDIR;
        if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
                return -EINVAL;
        if (S_ISREG(st.st_mode) && (uint64_t) st.st_size > max)
                return -EFBIG;

        memfd = memfd_new(name);
        if (memfd < 0)
                return memfd;

        for (;;) {
                ssize_t n = read(fd, buf, sizeof(buf));

                if (n < 0) {
                        if (errno == EINTR)
                                continue;
                        return -errno;
                }
                if (n == 0)
                        break;
                total += (size_t) n;
                if (total > max) /* it may grow while we read */
                        return -EFBIG;
                r = write_all(memfd, buf, (size_t) n);
                if (r < 0)
                        return r;
        }
        if (total == 0)
                return -ENODATA;

        return finish(&memfd, ret);
}
