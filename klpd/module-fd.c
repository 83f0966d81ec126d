/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See module-fd.h. The descriptor is the caller's throughout; what is returned is ours. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "klpd/errors.h"
#include "klpd/module-fd.h"
#include "klpd/patch-file.h"
#include "klpd/sealed-memfd.h"

/*
 * Reading must not hang on somebody else's say-so: only regular files (and memfds) of file systems that the
 * kernel itself serves, not of FUSE or the network.
 */
int module_fd_check(int fd, sd_bus_error *error) {
        static const uint32_t local[] = {
                        0x01021994 /* tmpfs, memfd */,
                        0xef53 /* ext */,
                        0x58465342 /* xfs */,
                        0x9123683e /* btrfs */,
                        0x794c7630 /* overlayfs */,
                        0x858458f6 /* ramfs, rootfs */,
                        0x73717368 /* squashfs */,
                        0xf2f52010 /* f2fs */,
                        0xe0f5e1e2 /* erofs */,
                        0x2fc12fc1 /* zfs */,
                        0x4d44 /* vfat */,
                        0x9660 /* iso9660 */,
                        0x958458f6 /* hugetlbfs memfd */,
        };
        struct statfs fs;
        struct stat st;
        int flags;

        if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "The file descriptor can't be examined");
        flags = fcntl(fd, F_GETFL);
        if (!S_ISREG(st.st_mode) || flags < 0 || (flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH))
                return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                        "The module isn't a regular file opened for reading");
        if (st.st_size > (off_t) PATCH_FILE_SIZE_MAX)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                                         "The module is larger than %u bytes", PATCH_FILE_SIZE_MAX);
        for (size_t i = 0; i < ELEMENTSOF(local); i++)
                if ((uint32_t) fs.f_type == local[i])
                        return 0;
        return sd_bus_error_set(error, SD_BUS_ERROR_INVALID_ARGS,
                                "The module is on a file system that others serve (network, FUSE): copy it "
                                "into a memfd first");
}

/* Reads what the caller gave into a sealed memfd of ours. The offset of his descriptor is his: it is not
 * relied on. */
int module_fd_read(int fd, int *ret, sd_bus_error *error) {
        char path[32];
        int copy, r;

        (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        copy = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (copy < 0)
                copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0 || lseek(copy, 0, SEEK_SET) < 0)
                r = -errno;
        else
                r = sealed_memfd_new_from_fd(copy, PATCH_FILE_SIZE_MAX, "klpd-module", ret);
        if (copy >= 0)
                close(copy);
        if (r < 0)
                return sd_bus_error_setf(error, ERROR_NOT_MODULE, "Can't read the module: %s", strerror(-r));
        return 0;
}
