/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See test-util.h. */
#include "test-util.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

void tree_init(Tree *t) {
        const char *tmp = getenv("TMPDIR");

        snprintf(t->path, sizeof(t->path), "%s/klpd-hands-XXXXXX", tmp ?: "/tmp");
        assert_non_null(mkdtemp(t->path));
        t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(t->fd >= 0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
        return remove(path);
}

void tree_done(Tree *t) {
        close(t->fd);
        assert_int_equal(nftw(t->path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

void tree_mkdir(Tree *t, const char *path) {
        char part[256];

        for (const char *p = path; *p; p++)
                if (p[1] == '/' || !p[1]) {
                        snprintf(part, sizeof(part), "%.*s", (int) (p + 1 - path), path);
                        assert_true(mkdirat(t->fd, part, 0755) >= 0 || errno == EEXIST);
                }
}

void tree_write_bytes(Tree *t, const char *path, const void *bytes, size_t size) {
        char dir[256];
        int fd;

        snprintf(dir, sizeof(dir), "%s", path);
        *strrchr(dir, '/') = 0;
        tree_mkdir(t, dir);
        fd = openat(t->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, bytes, size), size);
        close(fd);
}

void tree_write(Tree *t, const char *path, const char *text) {
        tree_write_bytes(t, path, text, strlen(text));
}

char *tree_read(Tree *t, const char *path) {
        char full[400];
        size_t size;

        snprintf(full, sizeof(full), "%s/%s", t->path, path);
        return (char *) read_whole_file(full, &size);
}

uint8_t *read_whole_file(const char *path, size_t *ret_size) {
        FILE *f = fopen(path, "re");
        uint8_t *bytes;
        long size;

        assert_non_null(f);
        assert_int_equal(fseek(f, 0, SEEK_END), 0);
        size = ftell(f);
        rewind(f);
        bytes = calloc(1, (size_t) size + 1);
        assert_non_null(bytes);
        assert_int_equal(fread(bytes, 1, (size_t) size, f), (size_t) size);
        fclose(f);
        *ret_size = (size_t) size;
        return bytes;
}

void assert_contains(const char *text, const char *part) {
        if (!strstr(text, part))
                fail_msg("'%s' does not contain '%s'", text, part);
}
