/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See state-file.h. The temporary name is the same for every file of a directory: one klpd writes there, one
 * file at a time (its loop is the lock), so that a crash leaves at most one stale file, which the next write
 * replaces.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/state-file.h"

#define TEMPORARY_NAME ".klpd-new"

static int split(const char *path, char *directory, size_t size) {
        const char *slash = strrchr(path, '/');

        if (!slash || (size_t) (slash - path) >= size)
                return -EINVAL;
        memcpy(directory, path, (size_t) (slash - path));
        directory[slash - path] = 0;
        return 0;
}

static int open_directory(int root_fd, const char *path) {
        int fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

static int write_bytes(int fd, const char *p, size_t size) {
        while (size > 0) {
                ssize_t n = write(fd, p, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                p += n;
                size -= (size_t) n;
        }
        return 0;
}

static int copy_bytes(int to, int from) {
        off_t offset = 0;
        struct stat st;

        if (fstat(from, &st) < 0)
                return -errno;
        while (offset < st.st_size) {
                ssize_t n = sendfile(to, from, &offset, (size_t) (st.st_size - offset));

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
        }
        return 0;
}

static int write_file(int root_fd, const char *path, const void *bytes, size_t size, int from, mode_t mode,
                      bool sync) {
        _cleanup_close_ int directory_fd = -EBADF, fd = -EBADF;
        char directory[PATH_MAX];
        int r;

        r = split(path, directory, sizeof(directory));
        if (r < 0)
                return r;
        directory_fd = open_directory(root_fd, directory);
        if (directory_fd < 0)
                return directory_fd;
        if (unlinkat(directory_fd, TEMPORARY_NAME, 0) < 0 && errno != ENOENT)
                return -errno;
        fd = openat(directory_fd, TEMPORARY_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
        if (fd < 0)
                return -errno;
        r = from >= 0 ? copy_bytes(fd, from) : write_bytes(fd, bytes, size);
        if (r >= 0 && (fchmod(fd, mode) < 0 || (sync && fsync(fd) < 0)))
                r = -errno;
        if (r >= 0 && renameat(directory_fd, TEMPORARY_NAME, directory_fd, strrchr(path, '/') + 1) < 0)
                r = -errno;
        if (r < 0) {
                (void) unlinkat(directory_fd, TEMPORARY_NAME, 0);
                return r;
        }
        return sync && fsync(directory_fd) < 0 ? -errno : 0;
}

int state_file_write(int root_fd, const char *path, const void *bytes, size_t size, mode_t mode) {
        return write_file(root_fd, path, bytes, size, -EBADF, mode, true);
}

int state_file_write_unsynced(int root_fd, const char *path, const void *bytes, size_t size, mode_t mode) {
        return write_file(root_fd, path, bytes, size, -EBADF, mode, false);
}

int state_file_write_fd(int root_fd, const char *path, int fd, mode_t mode) {
        return write_file(root_fd, path, NULL, 0, fd, mode, true);
}

int state_file_read(int root_fd, const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -EBADF;
        size_t size = 0, room;
        struct stat st;
        ssize_t n;

        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        if (st.st_size < 0 || (size_t) st.st_size > max)
                return -EFBIG;
        room = (size_t) st.st_size + 1; /* one more: a file that grows meanwhile is noticed */
        text = malloc(room + 1);
        if (!text)
                return -ENOMEM;
        while (size < room) {
                n = read(fd, text + size, room - size);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                size += (size_t) n;
        }
        if (size >= room)
                return -EAGAIN;
        text[size] = 0;
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

int state_file_unlink(int root_fd, const char *path) {
        if (unlinkat(root_fd, path, 0) >= 0)
                return 1;
        return errno == ENOENT ? 0 : -errno;
}

int state_directory_sync(int root_fd, const char *path) {
        _cleanup_close_ int fd = open_directory(root_fd, path);

        if (fd < 0)
                return fd;
        return fsync(fd) < 0 ? -errno : 0;
}

int state_directory_make(int root_fd, const char *path) {
        char part[PATH_MAX];
        int r;

        if (strlen(path) >= sizeof(part))
                return -ENAMETOOLONG;
        for (const char *p = path; p;) {
                p = strchr(p + 1, '/');
                (void) snprintf(part, sizeof(part), "%.*s", p ? (int) (p - path) : (int) strlen(path), path);
                if (mkdirat(root_fd, part, 0755) < 0) {
                        if (errno != EEXIST)
                                return -errno;
                        continue;
                }
                char *slash = strrchr(part, '/');

                if (slash) {
                        *slash = 0;
                        r = state_directory_sync(root_fd, part);
                        if (r < 0)
                                return r;
                }
        }
        return 0;
}
