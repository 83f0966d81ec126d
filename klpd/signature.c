/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See signature.h. Two questions that are kept apart: is this a signature of these bytes by the key of that
 * certificate (libcrypto's CMS, without its idea of trust), and do we trust that certificate (its X.509, with our
 * flags). Whoever fits the signer's name is tried, trusted certificates first; the last reason is the one told.
 */
#include "klpd/signature.h"

#include <openssl/pem.h> /* before cms.h, which declares its PEM functions only then */

#include <endian.h>
#include <limits.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "klpd/digest.h"

#define EMBEDDED_CERTIFICATES_MAX 16
#define CHAIN_DEPTH_MAX 4
#define SECURITY_BITS_MIN 112
#define SECURITY_LEVEL 2 /* libcrypto's name for 112 bits, for the chain's own signatures */
#define MARKER_LEN 28U   /* "~Module signature appended~\n" */
#define PKEY_ID_PKCS7 2

struct SignatureTrust {
        STACK_OF(X509) * certificates;
        X509_STORE *store;
        char problem[128]; /* a file that is no certificate, or "" */
};

DEFINE_CLEANUP(BIO *, BIO_free_all);
DEFINE_CLEANUP(CMS_ContentInfo *, CMS_ContentInfo_free);
DEFINE_CLEANUP(X509 *, X509_free);
DEFINE_CLEANUP(X509_STORE_CTX *, X509_STORE_CTX_free);

static void certificates_freep(STACK_OF(X509) * *stack) {
        sk_X509_pop_free(*stack, X509_free);
}

/* Nothing is encrypted here, so nobody is asked for a password. */
static int no_password(char *buf, int size, int writing, void *userdata) {
        return -1;
}

/* PEM may begin with any text; DER, here, always with a SEQUENCE. */
static bool is_pem(const void *bytes, size_t size) {
        static const char begin[] = "-----BEGIN ";

        return size > 0 && *(const uint8_t *) bytes != 0x30 &&
               memmem(bytes, size, begin, strlen(begin)) != NULL;
}

/* ---- what is trusted ---- */

SignatureTrust *signature_trust_free(SignatureTrust *t) {
        if (!t)
                return NULL;
        sk_X509_pop_free(t->certificates, X509_free);
        X509_STORE_free(t->store);
        free(t);
        return NULL;
}

/* Takes the certificate, also after an error. */
static int trust_add(SignatureTrust *t, X509 *certificate) {
        _cleanup_(X509_freep) X509 *c = certificate;

        if (sk_X509_num(t->certificates) >= (int) SIGNATURE_CERTIFICATES_MAX)
                return -E2BIG;
        if (X509_STORE_add_cert(t->store, c) != 1)
                return -ENOMEM;
        if (sk_X509_push(t->certificates, c) <= 0)
                return -ENOMEM;
        TAKE_PTR(c);
        return 0;
}

/* > 0: as many certificates; 0: none, which is the file's fault. */
static int trust_add_file(SignatureTrust *t, const void *bytes, size_t size) {
        const unsigned char *p = bytes;
        _cleanup_(BIO_free_allp) BIO *in = NULL;
        X509 *c;
        int n = 0, r;

        if (!is_pem(bytes, size)) {
                c = d2i_X509(NULL, &p, (long) size);
                if (!c || p != (const unsigned char *) bytes + size) {
                        X509_free(c);
                        return 0;
                }
                r = trust_add(t, c);
                return r < 0 ? r : 1;
        }
        in = BIO_new_mem_buf(bytes, (int) size);
        if (!in)
                return -ENOMEM;
        while ((c = PEM_read_bio_X509(in, NULL, no_password, NULL))) {
                r = trust_add(t, c);
                if (r < 0)
                        return r;
                n++;
        }
        return n;
}

static int trust_add_files(SignatureTrust *t, const uint8_t *p, size_t size) {
        while (size > 0) {
                uint32_t lengths[2], n_name, n_bytes;
                int r;

                if (size < sizeof(lengths))
                        return -EBADMSG;
                memcpy(lengths, p, sizeof(lengths));
                n_name = le32toh(lengths[0]);
                n_bytes = le32toh(lengths[1]);
                p += sizeof(lengths);
                size -= sizeof(lengths);
                if (n_name > size || n_bytes > size - n_name)
                        return -EBADMSG;
                r = trust_add_file(t, p + n_name, n_bytes);
                if (r < 0)
                        return r;
                if (r == 0 && !t->problem[0])
                        (void) snprintf(t->problem, sizeof(t->problem), "%.*s", (int) n_name, (const char *) p);
                p += n_name + n_bytes;
                size -= n_name + n_bytes;
        }
        return 0;
}

int signature_trust_parse(const void *bytes, size_t size, SignatureTrust **ret) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = NULL;
        int r;

        if (size > SIGNATURE_TRUST_BYTES_MAX)
                return -E2BIG;
        t = calloc(1, sizeof(*t));
        if (!t)
                return -ENOMEM;
        t->certificates = sk_X509_new_null();
        t->store = X509_STORE_new();
        if (!t->certificates || !t->store)
                return -ENOMEM;
        r = trust_add_files(t, bytes, size);
        ERR_clear_error();
        if (r < 0)
                return r;
        *ret = TAKE_PTR(t);
        return 0;
}

/* ---- saying so ---- */

static _printf_(2, 3) void wrong(SignatureVerdict *v, const char *format, ...) {
        va_list ap;

        v->status = SIGNATURE_WRONG;
        v->valid_from_usec = v->valid_until_usec = 0;
        va_start(ap, format);
        (void) vsnprintf(v->reason, sizeof(v->reason), format, ap);
        va_end(ap);
}

/* RFC 2253, so ASCII without control characters; cut where it is too long. */
static char *name_to_string(const X509_NAME *name, char *buf, size_t size) {
        _cleanup_(BIO_free_allp) BIO *out = BIO_new(BIO_s_mem());
        int n = -1;

        if (out && name && X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253) >= 0)
                n = BIO_read(out, buf, (int) size - 1);
        buf[n > 0 ? n : 0] = 0;
        return buf;
}

static uint64_t time_to_usec(const ASN1_TIME *t) {
        struct tm tm;
        time_t seconds;

        if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
                return 0;
        seconds = timegm(&tm);
        return seconds < 0 ? 0 : (uint64_t) seconds * 1000000;
}

static int key_to_string(X509 *certificate, char buf[static 65]) {
        unsigned char *der = NULL, md[EVP_MAX_MD_SIZE];
        unsigned n = 0;
        int size, ok;

        size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
        if (size <= 0)
                return -ENOMEM;
        ok = EVP_Digest(der, (size_t) size, md, &n, EVP_sha256(), NULL);
        OPENSSL_free(der);
        if (ok != 1 || n != 32)
                return -ENOMEM;
        for (unsigned i = 0; i < n; i++)
                (void) snprintf(buf + 2 * i, 3, "%02x", md[i]);
        return 0;
}

/* ---- one signature ---- */

typedef struct Check {
        const SignatureTrust *trust;
        SignatureUse use;
        uint64_t now_usec;
        const void *content;
        size_t content_size;
        CMS_ContentInfo *cms;
        CMS_SignerInfo *signer; /* cms's */
        STACK_OF(X509) * embedded;
        SignatureVerdict *verdict;
} Check;

static int signature_parse(const void *bytes, size_t size, CMS_ContentInfo **ret) {
        const unsigned char *p = bytes;
        CMS_ContentInfo *cms;

        if (is_pem(bytes, size)) {
                _cleanup_(BIO_free_allp) BIO *in = BIO_new_mem_buf(bytes, (int) size);

                cms = in ? PEM_read_bio_CMS(in, NULL, no_password, NULL) : NULL;
        } else {
                cms = d2i_CMS_ContentInfo(NULL, &p, (long) size);
                if (cms && p != (const unsigned char *) bytes + size) {
                        CMS_ContentInfo_free(cms);
                        cms = NULL;
                }
        }
        if (!cms)
                return -EBADMSG;
        *ret = cms;
        return 0;
}

/* Whether it is of the one form that we take; else the verdict says what isn't. */
static bool check_form(Check *c) {
        STACK_OF(CMS_SignerInfo) * signers;
        ASN1_OCTET_STRING **content;
        X509_ALGOR *digest = NULL;
        int nid;

        if (OBJ_obj2nid(CMS_get0_type(c->cms)) != NID_pkcs7_signed ||
            OBJ_obj2nid(CMS_get0_eContentType(c->cms)) != NID_pkcs7_data) {
                wrong(c->verdict, "it is no CMS signature of data");
                return false;
        }
        content = CMS_get0_content(c->cms);
        if (content && *content) {
                wrong(c->verdict, "it carries a content of its own, and is no detached signature");
                return false;
        }
        signers = CMS_get0_SignerInfos(c->cms);
        if (sk_CMS_SignerInfo_num(signers) != 1) {
                wrong(c->verdict, "it has %d signers, and must have one", sk_CMS_SignerInfo_num(signers));
                return false;
        }
        c->signer = sk_CMS_SignerInfo_value(signers, 0);
        CMS_SignerInfo_get0_algs(c->signer, NULL, NULL, &digest, NULL);
        nid = digest ? OBJ_obj2nid(digest->algorithm) : NID_undef;
        if (nid != NID_sha256 && nid != NID_sha384 && nid != NID_sha512) {
                wrong(c->verdict, "its digest is %s, which isn't accepted (SHA-256, SHA-384, SHA-512 are)",
                      nid == NID_undef ? "unknown" : OBJ_nid2sn(nid));
                return false;
        }
        c->embedded = CMS_get1_certs(c->cms);
        if (c->embedded && sk_X509_num(c->embedded) > EMBEDDED_CERTIFICATES_MAX) {
                wrong(c->verdict, "more than %d certificates come with it", EMBEDDED_CERTIFICATES_MAX);
                return false;
        }
        return true;
}

/* The bytes were signed with the key of that certificate: arithmetic, no trust. */
static bool check_content(Check *c, X509 *certificate) {
        _cleanup_(BIO_free_allp) BIO *in = NULL;

        CMS_SignerInfo_set1_signer_cert(c->signer, certificate);
        in = BIO_new_mem_buf(c->content, (int) c->content_size);
        return in && CMS_verify(c->cms, NULL, NULL, in, NULL,
                                CMS_BINARY | CMS_DETACHED | CMS_NOINTERN | CMS_NO_SIGNER_CERT_VERIFY) == 1;
}

/* What the certificate itself allows. */
static bool check_key(Check *c, X509 *certificate, const char *name) {
        EVP_PKEY *key = X509_get0_pubkey(certificate);

        if (!key || EVP_PKEY_get_security_bits(key) < SECURITY_BITS_MIN) {
                wrong(c->verdict, "the key of '%s' is of a kind that isn't known, or too short", name);
                return false;
        }
        if (!(X509_get_key_usage(certificate) & KU_DIGITAL_SIGNATURE)) {
                wrong(c->verdict, "the certificate of '%s' isn't one for signatures (its key usage)", name);
                return false;
        }
        return true;
}

static void take_chain(Check *c, X509_STORE_CTX *ctx) {
        STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(ctx);

        c->verdict->valid_until_usec = INT64_MAX;
        for (int i = 0; i < sk_X509_num(chain); i++) {
                uint64_t usec = time_to_usec(X509_get0_notAfter(sk_X509_value(chain, i)));

                if (usec < c->verdict->valid_until_usec)
                        c->verdict->valid_until_usec = usec;
        }
}

static void take_untimely(Check *c, const X509 *certificate) {
        if (!certificate)
                return;
        c->verdict->valid_from_usec = time_to_usec(X509_get0_notBefore(certificate));
        c->verdict->valid_until_usec = time_to_usec(X509_get0_notAfter(certificate));
}

static bool check_trust(Check *c, X509 *certificate, const char *name) {
        _cleanup_(X509_STORE_CTX_freep) X509_STORE_CTX *ctx = X509_STORE_CTX_new();
        X509_VERIFY_PARAM *param;
        unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN; /* a certificate in the directory is an anchor by itself */
        int error;

        if (!ctx || X509_STORE_CTX_init(ctx, c->trust->store, certificate, c->embedded) != 1) {
                wrong(c->verdict, "out of memory");
                return false;
        }
        param = X509_STORE_CTX_get0_param(ctx);
        if (c->use == SIGNATURE_USE_MODULE)
                flags |= X509_V_FLAG_NO_CHECK_TIME;
        else
                X509_VERIFY_PARAM_set_time(param, (time_t) (c->now_usec / 1000000));
        (void) X509_VERIFY_PARAM_set_flags(param, flags);
        X509_VERIFY_PARAM_set_depth(param, CHAIN_DEPTH_MAX);
        X509_VERIFY_PARAM_set_auth_level(param, SECURITY_LEVEL);
        if (X509_verify_cert(ctx) == 1) {
                take_chain(c, ctx);
                return true;
        }
        error = X509_STORE_CTX_get_error(ctx);
        if (error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
            error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE ||
            error == X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT || error == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
                wrong(c->verdict, "it was signed by '%s', which isn't trusted", name);
        else
                wrong(c->verdict, "it was signed by '%s', and that isn't trusted: %s", name,
                      X509_verify_cert_error_string(error));
        if (error == X509_V_ERR_CERT_NOT_YET_VALID || error == X509_V_ERR_CERT_HAS_EXPIRED)
                take_untimely(c, X509_STORE_CTX_get_current_cert(ctx));
        return false;
}

/* True: good, and the verdict says by whom. */
static bool check_certificate(Check *c, X509 *certificate) {
        char name[SIGNATURE_SIGNER_MAX + 1];

        name_to_string(X509_get_subject_name(certificate), name, sizeof(name));
        if (!check_content(c, certificate)) {
                wrong(c->verdict, "these bytes are not what '%s' signed, or the signature isn't by that key", name);
                return false;
        }
        if (!check_key(c, certificate, name) || !check_trust(c, certificate, name))
                return false;
        if (key_to_string(certificate, c->verdict->key) < 0) {
                wrong(c->verdict, "out of memory");
                return false;
        }
        (void) snprintf(c->verdict->signer, sizeof(c->verdict->signer), "%s", name);
        c->verdict->reason[0] = 0;
        c->verdict->valid_from_usec = 0;
        c->verdict->status = SIGNATURE_GOOD;
        return true;
}

static void check_unknown(Check *c) {
        char issuer[SIGNATURE_SIGNER_MAX + 1] = "";
        ASN1_INTEGER *serial = NULL;
        X509_NAME *name = NULL;

        (void) CMS_SignerInfo_get0_signer_id(c->signer, NULL, &name, &serial);
        if (name)
                wrong(c->verdict, "its signer isn't trusted (a certificate issued by '%s')",
                      name_to_string(name, issuer, sizeof(issuer)));
        else
                wrong(c->verdict, "its signer isn't trusted (no certificate with that key is known)");
}

static bool check_signers(Check *c) {
        STACK_OF(X509) *const stacks[] = { c->trust->certificates, c->embedded };
        bool known = false;

        for (size_t k = 0; k < ELEMENTSOF(stacks); k++)
                for (int i = 0; stacks[k] && i < sk_X509_num(stacks[k]); i++) {
                        X509 *certificate = sk_X509_value(stacks[k], i);

                        if (CMS_SignerInfo_cert_cmp(c->signer, certificate) != 0)
                                continue;
                        known = true;
                        if (check_certificate(c, certificate))
                                return true;
                }
        if (!known)
                check_unknown(c);
        return false;
}

/* Writes the verdict. */
static bool check_signature(Check *c, const void *bytes, size_t size) {
        _cleanup_(CMS_ContentInfo_freep) CMS_ContentInfo *cms = NULL;
        _cleanup_(certificates_freep) STACK_OF(X509) *embedded = NULL;
        bool good;

        if (size > SIGNATURE_SIZE_MAX || c->content_size > INT_MAX) {
                wrong(c->verdict, "it is larger than %u KiB", SIGNATURE_SIZE_MAX / 1024);
                return false;
        }
        if (signature_parse(bytes, size, &cms) < 0) {
                ERR_clear_error();
                wrong(c->verdict, "it can't be read as a CMS or PKCS#7 signature");
                return false;
        }
        c->cms = cms;
        good = check_form(c) && check_signers(c);
        embedded = TAKE_PTR(c->embedded);
        c->cms = NULL;
        ERR_clear_error();
        return good;
}

/* ---- a module's two, a document's one ---- */

/* The appended one, of n bytes with its trailer and marker; the kernel's rules (kernel/module_signature.c). */
static bool check_appended(Check *c, const uint8_t *module, size_t size, size_t n) {
        static const uint8_t header[] = { 0, 0, PKEY_ID_PKCS7, 0, 0, 0, 0, 0 };
        const uint8_t *trailer = module + size - MARKER_LEN - sizeof(header) - sizeof(uint32_t);

        if (memcmp(trailer, header, sizeof(header)) != 0) {
                wrong(c->verdict, "its appended signature is of a kind that isn't known (not PKCS#7)");
                return false;
        }
        c->content = module;
        c->content_size = size - n;
        if (!check_signature(c, module + size - n, n - MARKER_LEN - sizeof(header) - sizeof(uint32_t)))
                return false;
        c->verdict->appended = true;
        return true;
}

/* A reason that doesn't hide that a file of certificates was not usable. */
static void mention_problem(const SignatureTrust *t, SignatureVerdict *v) {
        size_t n = strlen(v->reason);

        if (v->status == SIGNATURE_WRONG && t->problem[0])
                (void) snprintf(v->reason + n, sizeof(v->reason) - n, " ('%s' is no certificate)", t->problem);
}

int signature_verify(const SignatureTrust *trust, SignatureUse use, uint64_t now_usec, const void *content,
                     size_t content_size, const void *detached, size_t detached_size, SignatureVerdict *ret) {
        SignatureVerdict v = { .status = SIGNATURE_MISSING, .reason = "it has no signature" }, second = {};
        Check c = { .trust = trust, .use = use, .now_usec = now_usec, .verdict = &v };
        size_t appended = 0;
        bool good = false;

        if (use == SIGNATURE_USE_MODULE && module_signature_size(content, content_size, &appended) < 0) {
                wrong(&v, "its appended signature has an impossible length");
                appended = 0;
        }
        if (detached && detached_size > 0) {
                c.content = content;
                c.content_size = content_size;
                good = check_signature(&c, detached, detached_size);
        }
        if (v.status != SIGNATURE_MISSING && !good)
                c.verdict = &second; /* the first reason is the one told */
        if (!good && appended > 0 && detached && detached_size > 0) {
                c.content_size = content_size - appended;
                good = check_signature(&c, detached, detached_size);
        }
        if (!good && appended > 0)
                good = check_appended(&c, content, content_size, appended);
        if (good)
                v = *c.verdict;
        mention_problem(trust, &v);
        *ret = v;
        return 0;
}

void signature_warm_up(void) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = NULL;
        unsigned char md[EVP_MAX_MD_SIZE];
        SignatureVerdict v;
        unsigned n;

        OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CRYPTO_STRINGS | OPENSSL_INIT_ADD_ALL_DIGESTS, NULL);
        (void) EVP_Digest("", 0, md, &n, EVP_sha256(), NULL);
        if (signature_trust_parse("", 0, &t) >= 0)
                (void) signature_verify(t, SIGNATURE_USE_DOCUMENT, 0, "", 0, "0", 1, &v);
}
