/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See signature-client.h. Certificates are not looked into here, only read: libcrypto's X.509 stays in the child.
 * Its answer is a claim of a process that has seen nothing but the signature; each of its parts is held to its form.
 */
#include "klpd/signature-client.h"

#include <ctype.h>
#include <dirent.h>
#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/inspect-child.h"
#include "klpd/livepatch-sysfs-read.h"
#include "klpd/sealed-memfd.h"
#include "klpd/state-file.h"

struct SignatureCheck {
        InspectChild *child;
        sd_event_source *defer; /* a failure that is known at once */
        int error;
        char text[PATH_MAX + 128];
        SignatureCallback callback;
        void *userdata;
};

/* ---- the trusted certificates ---- */

typedef struct Block {
        uint8_t *bytes;
        size_t n;
} Block;

static bool is_certificate_name(const char *name) {
        static const char *const endings[] = { ".pem", ".crt", ".cer", ".der", ".x509" };
        size_t n = strlen(name);

        for (size_t i = 0; i < ELEMENTSOF(endings) && name[0] != '.'; i++) {
                size_t k = strlen(endings[i]);

                if (n > k && streq(name + n - k, endings[i]))
                        return true;
        }
        return false;
}

static bool others_may_write(const struct stat *st) {
        return (st->st_uid != 0 && st->st_uid != geteuid()) || (st->st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

static int block_append(Block *b, const char *name, const char *content, size_t size) {
        uint32_t lengths[2] = { htole32((uint32_t) strlen(name)), htole32((uint32_t) size) };
        size_t n = sizeof(lengths) + strlen(name) + size;
        uint8_t *bigger;

        if (n > SIGNATURE_TRUST_BYTES_MAX - b->n)
                return -E2BIG;
        bigger = realloc(b->bytes, b->n + n);
        if (!bigger)
                return -ENOMEM;
        b->bytes = bigger;
        memcpy(bigger + b->n, lengths, sizeof(lengths));
        memcpy(bigger + b->n + sizeof(lengths), name, strlen(name));
        memcpy(bigger + b->n + sizeof(lengths) + strlen(name), content, size);
        b->n += n;
        return 0;
}

static int add_file(Block *b, int root_fd, const char *path, const char *name) {
        _cleanup_free_ char *content = NULL;
        struct stat st;
        size_t size;
        int r;

        if (fstatat(root_fd, path, &st, 0) < 0)
                return -errno;
        if (others_may_write(&st))
                return -EPERM;
        r = state_file_read(root_fd, path, SIGNATURE_TRUST_BYTES_MAX, &content, &size);
        return r < 0 ? (r == -EFBIG ? -E2BIG : r) : block_append(b, name, content, size);
}

/* In the order of their names, so that the same directory always gives the same block. path is left at what an
 * error is about. */
static int add_directory(Block *b, int root_fd, const char *directory, char *path) {
        struct dirent **names;
        struct stat st;
        int fd, n, r = 0;

        (void) snprintf(path, PATH_MAX, "%s", directory);
        fd = openat(root_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        if (fstat(fd, &st) < 0)
                r = -errno;
        else if (others_may_write(&st))
                r = -EPERM;
        n = r < 0 ? 0 : scandirat(fd, ".", &names, NULL, alphasort);
        close(fd);
        if (r < 0 || n < 0)
                return r < 0 ? r : -ENOMEM;

        for (int i = 0; i < n; i++) {
                if (r >= 0 && is_certificate_name(names[i]->d_name)) {
                        (void) snprintf(path, PATH_MAX, "%s/%s", directory, names[i]->d_name);
                        r = add_file(b, root_fd, path, names[i]->d_name);
                }
                free(names[i]);
        }
        free(names);
        return r;
}

int signature_trust_collect(int root_fd, SignatureUse use, int *ret_fd, char *path) {
        static const char *const directories[] = {
                [SIGNATURE_USE_MODULE] = SIGNATURE_MODULE_CERTIFICATES,
                [SIGNATURE_USE_DOCUMENT] = SIGNATURE_DOCUMENT_CERTIFICATES,
        };
        Block b = {};
        int r;

        r = add_directory(&b, root_fd, directories[use], path);
        if (r >= 0)
                r = sealed_memfd_new_from_bytes(b.bytes ?: (const uint8_t *) "", b.n, "klpd-trust", ret_fd);
        free(b.bytes);
        return r;
}

/* ---- the answer ---- */

/* ASCII that is fit to be shown. */
static bool take_text(struct json_object *answer, const char *key, char *buf, size_t size) {
        struct json_object *value = inspect_answer_member(answer, key, json_type_string);
        const char *s;

        if (!value)
                return false;
        s = json_object_get_string(value);
        if ((size_t) json_object_get_string_len(value) >= size || strlen(s) >= size)
                return false;
        for (const char *p = s; *p; p++)
                if (!isascii(*p) || !isprint((unsigned char) *p))
                        return false;
        (void) snprintf(buf, size, "%s", s);
        return true;
}

static int take_verdict(struct json_object *answer, SignatureVerdict *v) {
        struct json_object *status = inspect_answer_member(answer, "signature", json_type_string),
                           *until = inspect_answer_member(answer, "valid-until", json_type_int),
                           *from = inspect_answer_member(answer, "valid-from", json_type_int),
                           *appended = inspect_answer_member(answer, "appended", json_type_boolean);

        if (!status || !until || !from || !appended || json_object_get_int64(until) < 0 ||
            json_object_get_int64(from) < 0 ||
            !take_text(answer, "signer", v->signer, sizeof(v->signer)) ||
            !take_text(answer, "key", v->key, sizeof(v->key)) ||
            !take_text(answer, "reason", v->reason, sizeof(v->reason)))
                return -EPROTO;
        v->valid_until_usec = (uint64_t) json_object_get_int64(until);
        v->valid_from_usec = (uint64_t) json_object_get_int64(from);
        v->appended = json_object_get_boolean(appended);
        if (streq(json_object_get_string(status), "good"))
                v->status = SIGNATURE_GOOD;
        else if (streq(json_object_get_string(status), "wrong"))
                v->status = SIGNATURE_WRONG;
        else if (streq(json_object_get_string(status), "missing"))
                v->status = SIGNATURE_MISSING;
        else
                return -EPROTO;
        if (v->status == SIGNATURE_GOOD)
                return strlen(v->key) == 64 && strspn(v->key, "0123456789abcdef") == 64 && !v->reason[0]
                                       ? 0
                                       : -EPROTO;
        return !v->signer[0] && !v->key[0] && v->reason[0] ? 0 : -EPROTO;
}

static void on_answer(int error, const char *text, struct json_object *answer, void *userdata) {
        SignatureCheck *c = userdata;
        SignatureVerdict v = {};
        int r = error;

        if (r >= 0) {
                text = "klpd-inspect printed what is no verdict";
                r = take_verdict(answer, &v);
        }
        c->callback(r, r < 0 ? text : "", r < 0 ? NULL : &v, c->userdata);
}

/* ---- the request ---- */

static int on_defer(sd_event_source *s, void *userdata) {
        SignatureCheck *c = userdata;

        c->callback(c->error, c->text, NULL, c->userdata);
        return 0;
}

static int fail_later(SignatureCheck *c, sd_event *event, int error, const char *path) {
        c->error = error;
        if (error == -EPERM)
                (void) snprintf(c->text, sizeof(c->text),
                                "/%s may be written by others than root, so nothing in it is trusted", path);
        else
                (void) snprintf(c->text, sizeof(c->text), "can't read the trusted certificates, /%s: %s", path,
                                strerror(-error));
        return sd_event_add_defer(event, &c->defer, on_defer, c);
}

static int start(SignatureCheck *c, sd_event *event, const SignatureSpec *spec, int trust_fd,
                 const char *program, uint64_t timeout_usec) {
        char use[32], now[32];
        char *arguments[] = { (char *) "--signature", use, now, NULL };
        InspectChildSpec child = {
                .program = program,
                .arguments = arguments,
                .fds = { spec->content_fd, trust_fd, spec->signature_fd },
                .n_fds = spec->signature_fd >= 0 ? 3 : 2,
                .timeout_usec = timeout_usec,
                .what = "the signature",
        };

        (void) snprintf(use, sizeof(use), "%s", signature_use_to_string(spec->use));
        (void) snprintf(now, sizeof(now), "%" PRIu64, spec->now_usec);
        return inspect_child_new(event, &child, on_answer, c, &c->child);
}

int signature_check_new(sd_event *event, int root_fd, const SignatureSpec *spec, const char *program,
                        uint64_t timeout_usec, SignatureCallback callback, void *userdata,
                        SignatureCheck **ret) {
        _cleanup_(signature_check_freep) SignatureCheck *c = NULL;
        _cleanup_close_ int trust_fd = -EBADF;
        char path[PATH_MAX];
        int r;

        r = sealed_memfd_check(spec->content_fd);
        if (r >= 0 && spec->signature_fd >= 0)
                r = sealed_memfd_check(spec->signature_fd);
        if (r < 0)
                return r;
        c = calloc(1, sizeof(*c));
        if (!c)
                return -ENOMEM;
        c->callback = callback;
        c->userdata = userdata;
        r = signature_trust_collect(root_fd, spec->use, &trust_fd, path);
        if (r < 0)
                r = fail_later(c, event, r, path);
        else
                r = start(c, event, spec, trust_fd, program, timeout_usec);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(c);
        return 0;
}

SignatureCheck *signature_check_free(SignatureCheck *c) {
        if (!c)
                return NULL;
        inspect_child_free(c->child);
        sd_event_source_disable_unref(c->defer);
        free(c);
        return NULL;
}
