/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who signed these bytes, and is he trusted? Pure: bytes and the time come in as arguments. Signatures and the
 * bytes under them are hostile, so this runs in the sandboxed child only (klpd-inspect, in a run of its own, in
 * which no ELF and no compressed data is read); everybody else asks signature-client.h.
 *
 * A signature is one CMS/PKCS#7 SignedData object without content, in DER (or PEM, where it is a file of its
 * own), with exactly one signer, as the kernel's sign-file and `openssl cms -sign -binary` make it, with or
 * without signed attributes. Digests: SHA-256, SHA-384, SHA-512; keys: 112 bits of security or more (RSA from
 * 2048 bits).
 *
 *   module    the detached signature, if there is one (NAME.ko.p7s, as by `sign-file -d`), over the decompressed
 *             file, with or without an appended signature; else the appended one of the kernel's format
 *             (struct module_signature), over what stands before it. If both are there, one of them has to be good.
 *   document  the detached signature (FILE.json.p7s), over all bytes.
 *
 * The signer is trusted if his certificate is among the trusted ones, or was issued by one of those (over at most
 * 4 certificates that come with the signature). Validity: for modules it is ignored, as the kernel does, since a
 * module that was signed while the certificate was valid has to load for as long as there are hosts with its kernel;
 * take the certificate away to end its trust. For documents every certificate of the chain has to be valid at the
 * time that is passed; the verdict says since when and until when they are.
 */
#pragma once

#include "policy/model.h"

#define SIGNATURE_SIZE_MAX (64U * 1024U)
#define SIGNATURE_CERTIFICATES_MAX 256U
#define SIGNATURE_TRUST_BYTES_MAX (1024U * 1024U)
#define SIGNATURE_SIGNER_MAX 255U
#define SIGNATURE_REASON_MAX 383U

typedef enum SignatureUse {
        SIGNATURE_USE_MODULE,
        SIGNATURE_USE_DOCUMENT,
        _SIGNATURE_USE_MAX,
} SignatureUse;

typedef struct SignatureVerdict {
        SignatureStatus status; /* MISSING, WRONG or GOOD; never UNKNOWN */
        bool appended;          /* good: which of a module's signatures it was */
        char signer[SIGNATURE_SIGNER_MAX + 1]; /* good: subject of the signer's certificate, RFC 2253, ASCII */
        /* good: SHA-256 of the signer's public key (SubjectPublicKeyInfo), lower-case hex: stays the same when a
         * certificate is renewed with the same key. What `serial` of fleet documents is bound to. */
        char key[65];
        uint64_t valid_until_usec; /* good: when the first certificate of the chain expires, CLOCK_REALTIME */
        uint64_t valid_from_usec;  /* of a document, wrong only because a certificate isn't valid now: both say when
                                      that one is; else 0 */
        char reason[SIGNATURE_REASON_MAX + 1]; /* else: why not, a clause in ASCII; "" if good */
} SignatureVerdict;

/*
 * Trusted certificates, as one block of bytes that the parent makes (signature-client.c) without looking into the
 * files: for each file the lengths of name and content, 32 bits each, little-endian, then both. A file has one
 * certificate in DER or any number in PEM.
 */
typedef struct SignatureTrust SignatureTrust;

/* -EBADMSG: not such a block. -E2BIG: over SIGNATURE_CERTIFICATES_MAX. A file that isn't a certificate is not
 * trusted, and is named in the reason of verdicts that are not good. */
int signature_trust_parse(const void *bytes, size_t size, SignatureTrust **ret);
SignatureTrust *signature_trust_free(SignatureTrust *t); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(SignatureTrust *, signature_trust_free);

/* detached may be NULL; now_usec only matters for documents. -ENOMEM; all else is a verdict. */
int signature_verify(const SignatureTrust *trust, SignatureUse use, uint64_t now_usec, const void *content,
                     size_t content_size, const void *detached, size_t detached_size, SignatureVerdict *ret);

/* What libcrypto sets up when it is used first: before the sandbox is entered. */
void signature_warm_up(void);

const char *signature_use_to_string(SignatureUse use);
int signature_use_from_string(const char *text, SignatureUse *ret);
