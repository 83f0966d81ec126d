/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-kept.h. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/fleet-kept.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/state-file.h"

#define MAGIC "klpd-fleet-document 1 "
/* Two sizes, the digest, blanks, the line's end. */
#define LINE_MAX_BYTES (sizeof(MAGIC) + 2 * 11 + DIGEST_HEX_LEN + 2)

void fleet_kept_done(FleetKept *k) {
        free(k->text);
        free(k->signature);
        *k = (FleetKept){};
}

static int kept_path(const char *name, char *buf, size_t size) {
        int n = snprintf(buf, size, "%s/%s", FLEET_KEPT_DIRECTORY, name);

        return n < 0 || (size_t) n >= size || strchr(name, '/') || name[0] == '.' ? -EINVAL : 0;
}

static int kept_copy(const char *bytes, size_t size, char **ret) {
        char *copy = malloc(size + 1);

        if (!copy)
                return -ENOMEM;
        memcpy(copy, bytes, size);
        copy[size] = 0;
        *ret = copy;
        return 0;
}

/* Digits up to the blank behind them, as they are written: no sign, no zero in front. */
static const char *parse_size(const char *p, const char *end, size_t *ret) {
        const char *begin = p;
        size_t value = 0;

        for (; p < end && *p >= '0' && *p <= '9'; p++) {
                value = value * 10 + (size_t) (*p - '0');
                if (value > FLEET_KEPT_BYTES_MAX)
                        return NULL;
        }
        if (p == begin || p == end || *p != ' ' || (*begin == '0' && p > begin + 1))
                return NULL;
        *ret = value;
        return p + 1;
}

int fleet_kept_parse(const char *bytes, size_t size, FleetKept *ret) {
        static const char magic[] = MAGIC;
        const char *p = bytes, *end = bytes + size;
        char digest[DIGEST_HEX_LEN + 1];
        FleetKept k = {};
        int r;

        if (size < strlen(magic) || memcmp(bytes, magic, strlen(magic)) != 0)
                return -EBADMSG;
        p = parse_size(p + strlen(magic), end, &k.size);
        p = p ? parse_size(p, end, &k.signature_size) : NULL;
        if (!p || (size_t) (end - p) < DIGEST_HEX_LEN + 1 || p[DIGEST_HEX_LEN] != '\n' ||
            (size_t) (end - p) - DIGEST_HEX_LEN - 1 != k.size + k.signature_size)
                return -EBADMSG;
        bytes_digest(p + DIGEST_HEX_LEN + 1, k.size + k.signature_size, digest);
        if (memcmp(digest, p, DIGEST_HEX_LEN) != 0)
                return -EBADMSG;
        p += DIGEST_HEX_LEN + 1;
        r = kept_copy(p, k.size, &k.text);
        if (r >= 0 && k.signature_size > 0)
                r = kept_copy(p + k.size, k.signature_size, &k.signature);
        if (r < 0) {
                fleet_kept_done(&k);
                return r;
        }
        *ret = k;
        return 0;
}

int fleet_kept_read(int root_fd, const char *name, FleetKept *ret) {
        _cleanup_free_ char *bytes = NULL;
        char path[PATH_MAX];
        size_t size;
        int r;

        r = kept_path(name, path, sizeof(path));
        if (r >= 0)
                r = state_file_read(root_fd, path, LINE_MAX_BYTES + FLEET_KEPT_BYTES_MAX, &bytes, &size);
        return r < 0 ? r : fleet_kept_parse(bytes, size, ret);
}

static int kept_format(const FleetKept *k, char **ret, size_t *ret_size) {
        size_t size = k->size + k->signature_size;
        _cleanup_free_ char *bytes = malloc(LINE_MAX_BYTES + size + 1);
        char digest[DIGEST_HEX_LEN + 1];
        char line[LINE_MAX_BYTES + 1];
        int n;

        if (!bytes)
                return -ENOMEM;
        memcpy(bytes + LINE_MAX_BYTES, k->text, k->size);
        if (k->signature_size > 0)
                memcpy(bytes + LINE_MAX_BYTES + k->size, k->signature, k->signature_size);
        bytes_digest(bytes + LINE_MAX_BYTES, size, digest);
        n = snprintf(line, sizeof(line), MAGIC "%zu %zu %s\n", k->size, k->signature_size, digest);
        if (n < 0 || (size_t) n > LINE_MAX_BYTES)
                return -EINVAL;
        memmove(bytes + n, bytes + LINE_MAX_BYTES, size);
        memcpy(bytes, line, (size_t) n);
        *ret = TAKE_PTR(bytes);
        *ret_size = (size_t) n + size;
        return 0;
}

int fleet_kept_write(int root_fd, const char *name, const FleetKept *k) {
        _cleanup_free_ char *bytes = NULL, *there = NULL;
        char path[PATH_MAX];
        size_t size, n;
        int r;

        r = kept_path(name, path, sizeof(path));
        if (r < 0)
                return r;
        if (k->size > FLEET_KEPT_BYTES_MAX || k->signature_size > FLEET_KEPT_BYTES_MAX - k->size) {
                r = state_file_unlink(root_fd, path);
                return r < 0 ? r : -E2BIG;
        }
        r = kept_format(k, &bytes, &size);
        if (r < 0)
                return r;
        if (state_file_read(root_fd, path, size, &there, &n) >= 0 && n == size &&
            memcmp(there, bytes, size) == 0)
                return 0;
        r = state_directory_make(root_fd, FLEET_KEPT_DIRECTORY);
        return r < 0 ? r : state_file_write(root_fd, path, bytes, size, 0600);
}

int fleet_kept_tidy(int root_fd, const char *const *names, size_t n) {
        struct dirent *e;
        int fd, r = 0;
        DIR *d;

        fd = openat(root_fd, FLEET_KEPT_DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        d = fdopendir(fd);
        if (!d) {
                r = -errno;
                (void) close(fd);
                return r;
        }
        while (r >= 0 && (errno = 0, e = readdir(d))) {
                bool wanted = e->d_name[0] == '.';

                for (size_t i = 0; i < n && !wanted; i++)
                        wanted = streq(e->d_name, names[i]);
                if (!wanted && unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT)
                        r = -errno;
        }
        if (r >= 0 && errno > 0)
                r = -errno;
        (void) closedir(d);
        return r;
}
