/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The repository's cache on disk (repository-internal.h). Text:
 *
 *   klpd-repository-cache VERSION RELEASE
 *   PATH <tab> IDENTITY <tab> RECORDED or - <tab> PATCH as JSON       one for each usable file, sorted by path
 *   sha256 HEX                                                        of all bytes before this line
 *
 * IDENTITY is what stat said of the module and of what is beside it, and is only ever compared. Files with a problem
 * aren't kept: they are few, and their problem may have been ours.
 */
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/repository-internal.h"
#include "klpd/state-file.h"
#include "policy/json.h"

#define CACHE_PATH "var/lib/klpd/repository.cache"
#define CACHE_BYTES_MAX (64U * 1024U * 1024U)
#define CHECKSUM_LINE (sizeof("sha256 \n") - 1 + DIGEST_HEX_LEN)
#define FIELDS 4U
#define IDENTITY_MAX 1024U

typedef struct CacheLine {
        const char *path, *identity, *recorded, *patch; /* in text, each ended with NUL */
} CacheLine;

struct RepositoryCache {
        char *text;
        CacheLine *lines; /* sorted by path */
        size_t n_lines;
};

RepositoryCache *repository_cache_free(RepositoryCache *c) {
        if (!c)
                return NULL;
        free(c->text);
        free(c->lines);
        free(c);
        return NULL;
}

static void identity_text(const File *f, char buf[static IDENTITY_MAX]) {
        size_t n = 0;

        for (unsigned i = 0; i < _PART_MAX; i++) {
                const Identity *p = &f->parts[i];

                n += (size_t) snprintf(buf + n, IDENTITY_MAX - n,
                                       "%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%" PRId64 ".%ld.%" PRId64
                                       ".%ld.%x.%x,",
                                       (uint64_t) p->dev, (uint64_t) p->ino, (uint64_t) p->size,
                                       (int64_t) p->mtime.tv_sec, p->mtime.tv_nsec, (int64_t) p->ctime.tv_sec,
                                       p->ctime.tv_nsec, p->mode, p->uid);
        }
}

static void header_text(const char *release, char *buf, size_t size) {
        (void) snprintf(buf, size, "klpd-repository-cache %s %s\n", KLPD_VERSION, release);
}

/* ---- reading ---- */

/* The checksum is right, and the text belongs to this klpd and kernel; cut to what is between. */
static int check_frame(const char *text, size_t size, const char *release, size_t *ret_begin, size_t *ret_end) {
        char header[256], line[CHECKSUM_LINE + 1], digest[DIGEST_HEX_LEN + 1];

        header_text(release, header, sizeof(header));
        if (size < strlen(header) + CHECKSUM_LINE || strncmp(text, header, strlen(header)) != 0)
                return -EBADMSG;
        bytes_digest(text, size - CHECKSUM_LINE, digest);
        (void) snprintf(line, sizeof(line), "sha256 %s\n", digest);
        if (memcmp(text + size - CHECKSUM_LINE, line, CHECKSUM_LINE) != 0)
                return -EBADMSG;
        *ret_begin = strlen(header);
        *ret_end = size - CHECKSUM_LINE;
        return 0;
}

/* One line, cut into its fields in place. */
static bool split_line(char *p, CacheLine *ret) {
        char *fields[FIELDS] = { p };

        for (unsigned i = 1; i < FIELDS; i++) {
                char *tab = strchr(fields[i - 1], '\t');

                if (!tab)
                        return false;
                *tab = 0;
                fields[i] = tab + 1;
        }
        *ret = (CacheLine) { fields[0], fields[1], fields[2], fields[3] };
        return true;
}

static int split_lines(RepositoryCache *c, size_t begin, size_t end) {
        size_t n = 0;

        for (const char *p = c->text + begin; p < c->text + end; p++)
                n += *p == '\n';
        if (n > REPOSITORY_ENTRIES_MAX)
                return -E2BIG;
        c->lines = calloc(n + 1, sizeof(*c->lines));
        if (!c->lines)
                return -ENOMEM;
        for (char *p = c->text + begin; p < c->text + end;) {
                char *newline = memchr(p, '\n', (size_t) (c->text + end - p));

                if (!newline)
                        return -EBADMSG;
                *newline = 0;
                if (!split_line(p, &c->lines[c->n_lines]) ||
                    (c->n_lines > 0 && strcmp(c->lines[c->n_lines - 1].path, c->lines[c->n_lines].path) >= 0))
                        return -EBADMSG;
                c->n_lines++;
                p = newline + 1;
        }
        return 0;
}

static int check_owner(int root_fd) {
        struct stat st;

        if (fstatat(root_fd, CACHE_PATH, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return -errno;
        return st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) ? -EPERM : 0;
}

int repository_cache_read(int root_fd, const char *release, RepositoryCache **ret) {
        _cleanup_(repository_cache_freep) RepositoryCache *c = NULL;
        size_t size, begin, end;
        int r;

        r = check_owner(root_fd);
        if (r < 0)
                return -ENOENT;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        r = state_file_read(root_fd, CACHE_PATH, CACHE_BYTES_MAX, &c->text, &size);
        if (r >= 0)
                r = check_frame(c->text, size, release, &begin, &end);
        if (r >= 0)
                r = split_lines(c, begin, end);
        if (r < 0)
                return r == -ENOMEM ? r : -ENOENT;
        *ret = TAKE_PTR(c);
        return 0;
}

static int line_compare(const void *key, const void *line) {
        return strcmp(key, ((const CacheLine *) line)->path);
}

int repository_cache_take(const RepositoryCache *c, File *f) {
        _cleanup_patch_unref_ Patch *patch = NULL;
        _cleanup_free_ char *recorded = NULL;
        char identity[IDENTITY_MAX];
        const CacheLine *line;

        if (!c || c->n_lines == 0)
                return 0;
        line = bsearch(f->entry.path, c->lines, c->n_lines, sizeof(*c->lines), line_compare);
        if (!line)
                return 0;
        identity_text(f, identity);
        if (!streq(identity, line->identity))
                return 0;
        if (patch_parse(line->patch, strlen(line->patch), &patch, NULL) < 0)
                return 0;
        if (!streq(line->recorded, "-")) {
                recorded = strdup(line->recorded);
                if (!recorded)
                        return -ENOMEM;
        }
        patch_unref(f->entry.patch);
        f->entry.patch = TAKE_PTR(patch);
        f->entry.recorded = TAKE_PTR(recorded);
        f->pending = false;
        return 1;
}

/* ---- writing ---- */

static bool is_plain(const char *text) {
        for (const char *p = text; *p; p++)
                if ((unsigned char) *p < ' ' || *p == 0x7f)
                        return false;
        return true;
}

static int write_line(FILE *out, const File *f) {
        _cleanup_free_ char *line = NULL;
        char identity[IDENTITY_MAX];
        struct json_object *json;
        int r;

        if (f->pending || f->entry.problem || !is_plain(f->entry.path))
                return 0;
        json = patch_to_json(f->entry.patch);
        if (!json)
                return -ENOMEM;
        r = json_to_line(json, &line);
        json_object_put(json);
        if (r < 0)
                return r;
        identity_text(f, identity);
        return fprintf(out, "%s\t%s\t%s\t%s\n", f->entry.path, identity, f->entry.recorded ?: "-", line) < 0
                               ? -ENOMEM
                               : 0;
}

static int make_text(const Repository *r, char **ret, size_t *ret_size) {
        char header[256], digest[DIGEST_HEX_LEN + 1];
        _cleanup_free_ char *text = NULL;
        size_t size = 0;
        FILE *out;
        int k = 0;

        out = open_memstream(&text, &size);
        if (!out)
                return -ENOMEM;
        header_text(r->release, header, sizeof(header));
        (void) fputs(header, out);
        for (size_t i = 0; k >= 0 && i < r->n_files; i++)
                k = write_line(out, r->files[i]);
        if (fflush(out) != 0 && k >= 0)
                k = -ENOMEM;
        if (k >= 0) {
                bytes_digest(text, size, digest);
                (void) fprintf(out, "sha256 %s\n", digest);
        }
        if (fclose(out) != 0 && k >= 0)
                k = -ENOMEM;
        if (k >= 0 && size > CACHE_BYTES_MAX)
                k = -EFBIG;
        if (k < 0)
                return k;
        *ret = TAKE_PTR(text);
        *ret_size = size;
        return 0;
}

int repository_cache_write(const Repository *r) {
        _cleanup_free_ char *text = NULL;
        size_t size;
        int k;

        k = make_text(r, &text, &size);
        return k < 0 ? k : state_file_write_unsynced(r->root_fd, CACHE_PATH, text, size, 0600);
}
