/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See patch-signature.h. One check after the other: the module's, then the manifest's. Owns the one under way. */
#include "klpd/patch-signature.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "klpd/livepatch-sysfs-read.h"
#include "klpd/sealed-memfd.h"

struct PatchSignature {
        Hands *hands;
        HandsSignature *check;
        SignatureCallback callback;
        void *userdata;
        SignatureVerdict verdict; /* the module's */
        int manifest_fd, manifest_signature_fd;
};

PatchSignature *patch_signature_free(PatchSignature *s) {
        if (!s)
                return NULL;
        s->hands->vtable->signature_free(s->check);
        closep(&s->manifest_fd);
        closep(&s->manifest_signature_fd);
        free(s);
        return NULL;
}

/* A detached signature as a sealed memfd, or -EBADF if there is none. One that is too large is cut, and so wrong. */
static int open_signature(int root_fd, const char *path, const void *bytes, size_t size, int *ret) {
        _cleanup_close_ int fd = -EBADF;
        uint8_t buf[SIGNATURE_SIZE_MAX + 1];
        size_t n = 0;

        *ret = -EBADF;
        if (bytes)
                return sealed_memfd_new_from_bytes(bytes, size, "klpd-signature", ret);
        if (!path)
                return 0;
        fd = openat(root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        while (n < sizeof(buf)) {
                ssize_t k = read(fd, buf + n, sizeof(buf) - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t) k;
        }
        return sealed_memfd_new_from_bytes(buf, n, "klpd-signature", ret);
}

static void on_manifest_checked(int error, const char *text, const SignatureVerdict *verdict, void *userdata) {
        PatchSignature *s = userdata;
        SignatureVerdict v = s->verdict;

        if (error >= 0 && verdict->status != SIGNATURE_GOOD) {
                v = (SignatureVerdict) { .status = verdict->status };
                (void) snprintf(v.reason, sizeof(v.reason), "its manifest: %.*s", (int) sizeof(v.reason) - 32,
                                verdict->reason);
        }
        s->callback(error, text, error < 0 ? NULL : &v, s->userdata);
}

static void on_module_checked(int error, const char *text, const SignatureVerdict *verdict, void *userdata) {
        PatchSignature *s = userdata;
        int r;

        if (error < 0 || verdict->status != SIGNATURE_GOOD || s->manifest_fd < 0) {
                s->callback(error, text, verdict, s->userdata);
                return;
        }
        s->verdict = *verdict;
        s->check = s->hands->vtable->signature_free(s->check);
        r = s->hands->vtable->check_signature(s->hands,
                                              &(SignatureSpec) {
                                                              .use = SIGNATURE_USE_MODULE,
                                                              .content_fd = s->manifest_fd,
                                                              .signature_fd = s->manifest_signature_fd,
                                              },
                                              on_manifest_checked, s, &s->check);
        if (r < 0)
                s->callback(r, "the manifest's signature can't be checked", NULL, s->userdata);
}

static int start(PatchSignature *s, int root_fd, const PatchSignatureSpec *spec) {
        _cleanup_close_ int signature_fd = -EBADF;
        int r;

        r = open_signature(root_fd, spec->signature, spec->signature_bytes, spec->n_signature_bytes,
                           &signature_fd);
        if (r >= 0)
                r = open_signature(root_fd, spec->manifest_signature, spec->manifest_signature_bytes,
                                   spec->n_manifest_signature_bytes, &s->manifest_signature_fd);
        if (r >= 0 && spec->manifest)
                r = sealed_memfd_new_from_bytes(spec->manifest, strlen(spec->manifest), "klpd-manifest",
                                                &s->manifest_fd);
        if (r < 0)
                return r;
        return s->hands->vtable->check_signature(s->hands,
                                                 &(SignatureSpec) {
                                                                 .use = SIGNATURE_USE_MODULE,
                                                                 .content_fd = spec->content_fd,
                                                                 .signature_fd = signature_fd,
                                                 },
                                                 on_module_checked, s, &s->check);
}

int patch_signature_new(Hands *hands, int root_fd, const PatchSignatureSpec *spec, SignatureCallback callback,
                        void *userdata, PatchSignature **ret) {
        _cleanup_(patch_signature_freep) PatchSignature *s = NULL;
        int r;

        s = malloc(sizeof(*s));
        if (!s)
                return -ENOMEM;
        *s = (PatchSignature){
                        .hands = hands,
                        .callback = callback,
                        .userdata = userdata,
                        .manifest_fd = -EBADF,
                        .manifest_signature_fd = -EBADF,
        };
        r = start(s, root_fd, spec);
        if (r < 0)
                return r;
        *ret = TAKE_PTR(s);
        return 0;
}
