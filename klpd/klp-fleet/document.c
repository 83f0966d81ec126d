/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See document.h. Written beside, under a name with a dot, which nobody looks at; then renamed. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/fleet-slot.h"
#include "klpd/klp-fleet/document.h"

#define NAME_BYTES 128U

static void closep(int *fd) {
        if (*fd >= 0)
                (void) close(*fd);
}
#define _cleanup_close_ _cleanup_(closep)

static int open_directory(int root_fd) {
        static const char path[] = FLEET_NETWORK_DIRECTORY;
        char *slash, parent[sizeof(path)];
        int fd;

        (void) strcpy(parent, path + 1);
        slash = strrchr(parent, '/');
        *slash = 0;
        if (mkdirat(root_fd, parent, 0755) < 0 && errno != EEXIST)
                return -errno;
        if (mkdirat(root_fd, path + 1, 0755) < 0 && errno != EEXIST)
                return -errno;
        fd = openat(root_fd, path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Whether the file is there with just these bytes. */
static bool is_there(int fd, const char *name, const char *data, size_t size) {
        _cleanup_close_ int file = openat(fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        _cleanup_free_ char *have = NULL;
        struct stat st;
        size_t n = 0;

        if (file < 0 || fstat(file, &st) < 0 || !S_ISREG(st.st_mode) || (size_t) st.st_size != size)
                return false;
        have = malloc(size + 1);
        while (have && n < size) {
                ssize_t k = read(file, have + n, size - n);

                if (k <= 0 && !(k < 0 && errno == EINTR))
                        return false;
                n += k > 0 ? (size_t) k : 0;
        }
        return have && memcmp(have, data, size) == 0;
}

static int write_all(int file, const char *data, size_t size) {
        while (size > 0) {
                ssize_t n = write(file, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                data += n;
                size -= (size_t) n;
        }
        return 0;
}

static int replace(int fd, const char *name, const char *data, size_t size) {
        _cleanup_close_ int file = -EBADF;
        char beside[NAME_BYTES + 8];
        int r;

        (void) snprintf(beside, sizeof(beside), ".%s.new", name);
        if (unlinkat(fd, beside, 0) < 0 && errno != ENOENT) /* of one that was killed */
                return -errno;
        file = openat(fd, beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
        if (file < 0)
                return -errno;
        r = write_all(file, data, size);
        if (r >= 0 && renameat(fd, beside, fd, name) < 0)
                r = -errno;
        if (r < 0)
                (void) unlinkat(fd, beside, 0);
        return r;
}

int document_store(int root_fd, const char *name, const char *document, size_t document_size,
                   const char *signature, size_t signature_size) {
        char file[NAME_BYTES], signature_file[NAME_BYTES];
        _cleanup_close_ int fd = open_directory(root_fd);
        bool changed = false;
        int r = 0;

        if (fd < 0)
                return fd;
        if ((size_t) snprintf(file, sizeof(file), "%s.json", name) >= sizeof(file) ||
            (size_t) snprintf(signature_file, sizeof(signature_file), "%s.json" FLEET_SIGNATURE_SUFFIX, name) >=
                    sizeof(signature_file))
                return -ENAMETOOLONG;
        if (!is_there(fd, signature_file, signature, signature_size)) {
                changed = true;
                r = replace(fd, signature_file, signature, signature_size);
        }
        if (r >= 0 && !is_there(fd, file, document, document_size)) {
                changed = true;
                r = replace(fd, file, document, document_size);
        }
        return r < 0 ? r : changed;
}
