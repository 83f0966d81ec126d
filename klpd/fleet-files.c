/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fleet-files.h. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/fleet-files.h"
#include "klpd/sha256.h"
#include "policy/json.h"

void fleet_files_done(FleetFiles *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->list[i].path);
        free(f->list);
        *f = (FleetFiles){};
}

/* Takes path. */
static int add(FleetFiles *f, char *path) {
        FleetFile *bigger = reallocarray(f->list, f->n + 1, sizeof(*bigger));
        const char *slash = strrchr(path, '/');

        if (!bigger) {
                free(path);
                return -ENOMEM;
        }
        f->list = bigger;
        f->list[f->n++] = (FleetFile){path, slash ? slash + 1 : path};
        return 0;
}

static int add_directory(FleetFiles *f, const char *path) {
        struct dirent *e;
        DIR *d = opendir(path);
        int r = 0;

        if (!d)
                return errno == ENOENT ? 0 : -errno;
        while (r >= 0 && (errno = 0, e = readdir(d))) {
                size_t n = strlen(e->d_name);
                char *file;

                if (e->d_name[0] == '.' || n < 6 || !streq(e->d_name + n - 5, ".json"))
                        continue;
                r = asprintf(&file, "%s/%s", path, e->d_name) < 0 ? -ENOMEM : add(f, file);
        }
        if (r >= 0)
                r = -errno;
        closedir(d);
        return r;
}

static int compare(const void *a, const void *b) {
        return strcmp(((const FleetFile *) a)->name, ((const FleetFile *) b)->name);
}

/* Insertion order decides among equals, and qsort() doesn't keep it: earlier files hide later ones first. */
static void hide(FleetFiles *f, size_t from) {
        for (size_t i = from; i < f->n;) {
                bool hidden = false;

                for (size_t k = 0; k < from && !hidden; k++)
                        hidden = streq(f->list[k].name, f->list[i].name);
                if (!hidden) {
                        i++;
                        continue;
                }
                free(f->list[i].path);
                f->list[i] = f->list[--f->n];
        }
}

static int add_path(FleetFiles *f, const char *path) {
        size_t from = f->n;
        struct stat st;
        char *copy;
        int r;

        if (stat(path, &st) < 0)
                return -errno;
        if (S_ISDIR(st.st_mode))
                r = add_directory(f, path);
        else {
                copy = strdup(path);
                r = copy ? add(f, copy) : -ENOMEM;
        }
        if (r >= 0)
                hide(f, from);
        return r;
}

/* -1 is an error, in errno. */
static int is_mask(const char *path) {
        struct stat st;

        if (stat(path, &st) < 0)
                return -1;
        return S_ISCHR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size == 0);
}

static int drop_masks(FleetFiles *f, char **ret_failed) {
        size_t n = 0;
        int mask = 0, r = 0;

        for (size_t i = 0; i < f->n; i++) {
                if (r >= 0) {
                        mask = is_mask(f->list[i].path);
                        if (mask < 0) {
                                r = -errno;
                                *ret_failed = strdup(f->list[i].path);
                        }
                }
                if (r >= 0 && !mask)
                        f->list[n++] = f->list[i];
                else
                        free(f->list[i].path);
        }
        f->n = n;
        return r;
}

int fleet_files_find(char *const *paths, bool all, FleetFiles *ret, char **ret_failed) {
        FleetFiles f = {};
        int r = 0;

        *ret_failed = NULL;
        for (; *paths; paths++) {
                r = add_path(&f, *paths);
                if (r == -ENOENT && !all)
                        r = 0;
                if (r < 0) {
                        *ret_failed = strdup(*paths);
                        break;
                }
        }
        if (r >= 0)
                r = drop_masks(&f, ret_failed);
        if (r < 0) {
                fleet_files_done(&f);
                return r;
        }
        if (f.n > 0)
                qsort(f.list, f.n, sizeof(*f.list), compare);
        *ret = f;
        return 0;
}

/* Only regular files: a pipe or a device would have no end. */
int fleet_file_read(const char *path, size_t max, char **ret, size_t *ret_size) {
        _cleanup_free_ char *text = NULL;
        struct stat st;
        size_t n = 0;
        int fd, r = 0;

        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (fd < 0)
                return -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (!S_ISREG(st.st_mode))
                r = -EINVAL;
        else if ((uint64_t) st.st_size > max)
                r = -EFBIG;
        else {
                text = malloc((size_t) st.st_size + 1);
                if (!text)
                        r = -ENOMEM;
        }
        while (r >= 0 && n < (size_t) st.st_size) {
                ssize_t k = read(fd, text + n, (size_t) st.st_size - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        r = -errno;
                if (k <= 0)
                        break;
                n += (size_t) k;
        }
        close(fd);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(text);
        *ret_size = n;
        return 0;
}

int fleet_file_parse(const char *path, const char *text, size_t size, FleetDocument **ret,
                     PolicyError *error) {
        _cleanup_fleet_document_free_ FleetDocument *d = NULL;
        char digest[DIGEST_HEX_LEN + 1];
        int r;

        if (error)
                *error = (PolicyError){};
        r = fleet_document_parse(text, size, &d, error);
        if (r < 0)
                return r;
        /* No document ends as a signed module does, so this is the SHA-256 of all of it. */
        r = module_digest(text, size, digest);
        if (r < 0)
                return r;
        d->source = strdup(path);
        d->digest = strdup(digest);
        if (!d->source || !d->digest)
                return -ENOMEM;
        *ret = TAKE_PTR(d);
        return 0;
}

int fleet_file_load(const char *path, FleetDocument **ret, PolicyError *error) {
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        int r;

        if (error)
                *error = (PolicyError){};
        r = fleet_file_read(path, JSON_SIZE_MAX, &text, &size);
        return r < 0 ? r : fleet_file_parse(path, text, size, ret, error);
}

static int hex_value(char c) {
        return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int fleet_host_id(FleetSlice machine_id, uint8_t ret[16]) {
        static const uint8_t application[16] = FLEET_APPLICATION_ID;
        uint8_t key[16], mac[SHA256_SIZE];

        if (!machine_id.s || machine_id.n != 32)
                return -EINVAL;
        for (unsigned i = 0; i < 16; i++) {
                int high = hex_value(machine_id.s[2 * i]), low = hex_value(machine_id.s[2 * i + 1]);

                if (high < 0 || low < 0)
                        return -EINVAL;
                key[i] = (uint8_t) (high << 4 | low);
        }
        sha256_hmac(key, sizeof(key), application, sizeof(application), mac);
        memcpy(ret, mac, 16);
        ret[6] = (ret[6] & 0x0f) | 0x40; /* a UUID of version 4 */
        ret[8] = (ret[8] & 0x3f) | 0x80;
        return 0;
}
