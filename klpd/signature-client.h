/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Asks the sandboxed child (klpd-inspect) who signed something, asynchronously: sealed bytes and, beside them, a
 * detached signature go in; a SignatureVerdict comes out (signature.h says what is accepted and trusted, and how
 * expiry counts). Each check is a run of its own, which reads nothing but the signature, so that a module's ELF
 * can't speak for its signature.
 *
 * Trusted certificates are read from their directory at each check, one file after the other, in PEM or DER, as
 * *.pem, *.crt, *.cer, *.der or *.x509:
 *
 *   SIGNATURE_USE_MODULE    /etc/klpd/certs.d         who may sign patches
 *   SIGNATURE_USE_DOCUMENT  /etc/klpd/fleet-certs.d   who may sign fleet documents
 *
 * so that a vendor whose patches are trusted can't order a fleet about. A directory that isn't there trusts nobody.
 * A directory or file that others than root may write fails the check: -EPERM, and text names it.
 *
 * How a fleet document is checked (also through Hands, with check_signature(), which is what the daemon does):
 *
 *   sealed_memfd_new_from_bytes(text, size, "fleet-document", &fd);
 *   sealed_memfd_new_from_bytes(p7s, p7s_size, "fleet-signature", &signature_fd);    (or -EBADF: there is none)
 *   signature_check_new(event, root_fd, &(SignatureSpec) { .use = SIGNATURE_USE_DOCUMENT, .content_fd = fd,
 *                       .signature_fd = signature_fd, .now_usec = …CLOCK_REALTIME… }, NULL, 0, callback, …, &check);
 *
 * and the callback's verdict->status == SIGNATURE_GOOD says: verdict->signer (name, for people) and verdict->key
 * (what `serial` is bound to) signed exactly these bytes, until verdict->valid_until_usec. Everything else is no
 * signature by anybody trusted, and verdict->reason is a clause that says why.
 */
#pragma once

#include <systemd/sd-event.h>

#include "klpd/signature.h"

#define SIGNATURE_MODULE_CERTIFICATES "etc/klpd/certs.d"
#define SIGNATURE_DOCUMENT_CERTIFICATES "etc/klpd/fleet-certs.d"
#define SIGNATURE_SUFFIX ".p7s"

typedef struct SignatureSpec {
        SignatureUse use;
        int content_fd;    /* sealed memfd: of a module the decompressed file */
        int signature_fd;  /* sealed memfd of the detached signature, or -EBADF. Larger than SIGNATURE_SIZE_MAX is
                              a verdict: wrong */
        uint64_t now_usec; /* CLOCK_REALTIME; modules: doesn't matter */
} SignatureSpec;

typedef struct SignatureCheck SignatureCheck;

/* error < 0: nothing is known about the signature, and text says why; verdict is NULL. As InspectCallback: once,
 * from the event loop, never from within signature_check_new(). */
typedef void (*SignatureCallback)(int error, const char *text, const SignatureVerdict *verdict, void *userdata);

/* Starts. spec and its descriptors are borrowed for the call. program NULL: the installed klpd-inspect.
 * timeout_usec 0: 10 s. -EPERM: a descriptor isn't sealed. Everything about certificates comes by the callback. */
int signature_check_new(sd_event *event, int root_fd, const SignatureSpec *spec, const char *program,
                        uint64_t timeout_usec, SignatureCallback callback, void *userdata, SignatureCheck **ret);
/* Ends it without a callback. NULL is fine; returns NULL. */
SignatureCheck *signature_check_free(SignatureCheck *c);
DEFINE_CLEANUP(SignatureCheck *, signature_check_free);

/* The trusted certificates as the block that signature_trust_parse() takes, in a sealed memfd. -EPERM,
 * -E2BIG, or what can't be read: path (at least PATH_MAX) is what it is about. */
int signature_trust_collect(int root_fd, SignatureUse use, int *ret_fd, char *path);
