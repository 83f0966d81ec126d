/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What these tests share: a temporary tree, and the event loop run until something is so. */
#pragma once

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include <cmocka.h>

#include "policy/util.h"

typedef struct Tree {
        char path[64];
        int fd;
} Tree;

static inline void tree_new(Tree *t) {
        (void) snprintf(t->path, sizeof(t->path), "/tmp/klpd-test.XXXXXX");
        assert_non_null(mkdtemp(t->path));
        t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(t->fd >= 0);
}

static inline int tree_remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static inline void tree_done(Tree *t) {
        (void) nftw(t->path, tree_remove_one, 16, FTW_DEPTH | FTW_PHYS);
        close(t->fd);
}

static inline void tree_write_n(const Tree *t, const char *path, const void *data, size_t size) {
        char directory[256];
        int fd;

        (void) snprintf(directory, sizeof(directory), "%s", path);
        for (char *p = directory; (p = strchr(p, '/')); *p++ = '/') {
                *p = 0;
                (void) mkdirat(t->fd, directory, 0755);
        }
        fd = openat(t->fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, size), (ssize_t) size);
        close(fd);
}

static inline void tree_write(const Tree *t, const char *path, const char *text) {
        tree_write_n(t, path, text, strlen(text));
}

/* Runs the loop until *flag, at most 20 s. */
static inline void loop_until(sd_event *event, const bool *flag) {
        for (unsigned i = 0; i < 2000 && !*flag; i++)
                assert_true(sd_event_run(event, 10000) >= 0);
        assert_true(*flag);
}
