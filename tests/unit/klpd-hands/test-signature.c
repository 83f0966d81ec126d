/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signatures: which are taken for good, and what is said of the others (signature.h), on keys and signatures that
 * make-signatures.sh has made for this run; then the same through the real sandboxed child (signature-client.h),
 * with a directory of certificates. Arguments: klpd-inspect, the directory that make-signatures.sh wrote.
 */
#include "test-util.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/sealed-memfd.h"
#include "klpd/signature-client.h"

#define DAY_USEC (UINT64_C(24) * 3600 * 1000000)

static const char *program, *directory;

typedef struct Bytes {
        uint8_t *bytes;
        size_t size;
} Bytes;

static void bytes_done(Bytes *b) {
        free(b->bytes);
}
#define _cleanup_bytes_ _cleanup_(bytes_done)

static Bytes load(const char *name) {
        char path[512];
        Bytes b;

        (void) snprintf(path, sizeof(path), "%s/%s", directory, name);
        b.bytes = read_whole_file(path, &b.size);
        return b;
}

static uint64_t now_usec(void) {
        return (uint64_t) time(NULL) * 1000000;
}

/* Certificates by name, "" ends; as signature_trust_collect() puts them together. */
static SignatureTrust *trust(const char *const *names) {
        uint8_t block[65536];
        SignatureTrust *t;
        size_t n = 0;

        for (size_t i = 0; names[i]; i++) {
                _cleanup_bytes_ Bytes b = load(names[i]);
                uint32_t lengths[2] = { (uint32_t) strlen(names[i]), (uint32_t) b.size };

                assert_true(n + sizeof(lengths) + lengths[0] + lengths[1] <= sizeof(block));
                memcpy(block + n, lengths, sizeof(lengths));
                memcpy(block + n + sizeof(lengths), names[i], lengths[0]);
                memcpy(block + n + sizeof(lengths) + lengths[0], b.bytes, lengths[1]);
                n += sizeof(lengths) + lengths[0] + lengths[1];
        }
        assert_int_equal(signature_trust_parse(block, n, &t), 0);
        return t;
}
#define TRUST(...) trust((const char *const[]) { __VA_ARGS__, NULL })

static SignatureVerdict verify(const SignatureTrust *t, SignatureUse use, uint64_t now, const char *content,
                               const char *signature) {
        _cleanup_bytes_ Bytes c = load(content);
        SignatureVerdict v;
        Bytes s = {};

        if (signature)
                s = load(signature);
        assert_int_equal(signature_verify(t, use, now, c.bytes, c.size, s.bytes, s.size, &v), 0);
        bytes_done(&s);
        return v;
}

typedef struct Case {
        const char *content, *signature;
        SignatureStatus module, document;
        const char *text; /* of the signer, or of the reason */
} Case;

static void test_each_form_is_good_or_refused_with_its_reason(void **state) {
        static const Case cases[] = {
                { "content", NULL, SIGNATURE_MISSING, SIGNATURE_MISSING, "no signature" },
                { "content", "attributes.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "plain.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "keyid.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "sha384.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "pem.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "pkcs7.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Trusted signer,O=Klpd tests" },
                { "content", "elliptic.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Elliptic" },
                { "content", "chain.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, "CN=Vouched for by ca" },
                { "changed", "attributes.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "not what 'CN=Trusted signer" },
                { "changed", "plain.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "not what 'CN=Trusted signer" },
                { "content", "chain-alone.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "issued by 'CN=Authority'" },
                { "content", "false-chain.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "invalid CA certificate" },
                { "content", "other.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "'CN=Somebody else', which isn't" },
                { "content", "twin.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "CN=Trusted signer" },
                { "content", "sha1.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "digest is SHA1" },
                { "content", "short.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "too short" },
                { "content", "crypt.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "key usage" },
                { "content", "embedded.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "content of its own" },
                { "content", "two.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "2 signers" },
                { "content", "enveloped.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, "no CMS signature" },
                { "content", "content", SIGNATURE_WRONG, SIGNATURE_WRONG, "can't be read" },
                { "content", "trusted.pem", SIGNATURE_WRONG, SIGNATURE_WRONG, "can't be read" },
                { "signed.ko", NULL, SIGNATURE_GOOD, SIGNATURE_MISSING, NULL },
                { "signed-changed.ko", NULL, SIGNATURE_WRONG, SIGNATURE_MISSING, NULL },
                { "signed-other.ko", NULL, SIGNATURE_WRONG, SIGNATURE_MISSING, NULL },
                /* one of the two has to be good; the detached one may be over the file with or without the other */
                { "signed.ko", "other.p7s", SIGNATURE_GOOD, SIGNATURE_WRONG, NULL },
                { "signed-other.ko", "plain.p7s", SIGNATURE_GOOD, SIGNATURE_WRONG, NULL },
                { "signed-other.ko", "over-appended.p7s", SIGNATURE_GOOD, SIGNATURE_GOOD, NULL },
                { "signed-changed.ko", "plain.p7s", SIGNATURE_WRONG, SIGNATURE_WRONG, NULL },
        };
        _cleanup_(signature_trust_freep) SignatureTrust *t =
                        TRUST("trusted.pem", "ec.pem", "ca.pem", "short.pem", "crypt.pem");

        for (size_t i = 0; i < ELEMENTSOF(cases); i++)
                for (unsigned use = 0; use < _SIGNATURE_USE_MAX; use++) {
                        const Case *c = &cases[i];
                        SignatureVerdict v = verify(t, (SignatureUse) use, now_usec(), c->content, c->signature);
                        SignatureStatus want = use == SIGNATURE_USE_MODULE ? c->module : c->document;

                        if (v.status != want)
                                fail_msg("%s, %s: status %d, not %d (%s%s)", c->content, c->signature ?: "-",
                                         v.status, want, v.signer, v.reason);
                        if (c->text)
                                assert_contains(v.status == SIGNATURE_GOOD ? v.signer : v.reason, c->text);
                        assert_int_equal(strlen(v.key), v.status == SIGNATURE_GOOD ? 64 : 0);
                        assert_int_equal(v.status == SIGNATURE_GOOD, v.reason[0] == 0);
                        assert_int_equal(v.status == SIGNATURE_GOOD, v.signer[0] != 0);
                }
}

static void test_an_appended_signature_is_told_from_a_detached_one(void **state) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = TRUST("trusted.der");

        assert_true(verify(t, SIGNATURE_USE_MODULE, 0, "signed.ko", NULL).appended);
        assert_true(verify(t, SIGNATURE_USE_MODULE, 0, "signed.ko", "other.p7s").appended);
        assert_false(verify(t, SIGNATURE_USE_MODULE, 0, "content", "plain.p7s").appended);
}

static void test_expiry_counts_for_documents_and_not_for_modules(void **state) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = TRUST("trusted.pem", "ca.pem");
        uint64_t now = now_usec(), later = now + 40 * DAY_USEC, past = now - 40 * DAY_USEC;
        SignatureVerdict v;

        v = verify(t, SIGNATURE_USE_DOCUMENT, now, "content", "plain.p7s");
        assert_int_equal(v.status, SIGNATURE_GOOD);
        assert_in_range(v.valid_until_usec, now + 29 * DAY_USEC, now + 31 * DAY_USEC);
        v = verify(t, SIGNATURE_USE_DOCUMENT, later, "content", "plain.p7s");
        assert_int_equal(v.status, SIGNATURE_WRONG);
        assert_contains(v.reason, "expired");
        assert_in_range(v.valid_until_usec, now + 29 * DAY_USEC, now + 31 * DAY_USEC);
        v = verify(t, SIGNATURE_USE_DOCUMENT, past, "content", "plain.p7s");
        assert_int_equal(v.status, SIGNATURE_WRONG);
        assert_contains(v.reason, "not yet valid");
        /* when it is worth another look; where time isn't the reason, it never is */
        assert_in_range(v.valid_from_usec, now - DAY_USEC, now);
        assert_int_equal(verify(t, SIGNATURE_USE_DOCUMENT, v.valid_from_usec, "content", "plain.p7s").status,
                         SIGNATURE_GOOD);
        assert_int_equal(verify(t, SIGNATURE_USE_DOCUMENT, v.valid_from_usec - 1000000, "content", "plain.p7s").status,
                         SIGNATURE_WRONG);
        v = verify(t, SIGNATURE_USE_DOCUMENT, past, "content", "other.p7s");
        assert_int_equal(v.valid_from_usec, 0);
        assert_int_equal(v.valid_until_usec, 0);
        assert_int_equal(verify(t, SIGNATURE_USE_MODULE, later, "content", "plain.p7s").status, SIGNATURE_GOOD);
        assert_int_equal(verify(t, SIGNATURE_USE_MODULE, past, "content", "plain.p7s").status, SIGNATURE_GOOD);

        /* the first of the chain to expire, which is the one that was vouched for */
        v = verify(t, SIGNATURE_USE_DOCUMENT, now, "content", "chain.p7s");
        assert_in_range(v.valid_until_usec, now + 2 * DAY_USEC, now + 4 * DAY_USEC);
        v = verify(t, SIGNATURE_USE_DOCUMENT, now + 5 * DAY_USEC, "content", "chain.p7s");
        assert_contains(v.reason, "expired");
}

static void test_the_key_names_the_signer_also_in_another_certificate(void **state) {
        _cleanup_(signature_trust_freep) SignatureTrust *pem = TRUST("trusted.pem"), *both = TRUST("twin.pem",
                                                                                                   "trusted.der");
        SignatureVerdict a = verify(pem, SIGNATURE_USE_MODULE, 0, "content", "plain.p7s"),
                         b = verify(both, SIGNATURE_USE_MODULE, 0, "content", "plain.p7s"),
                         c = verify(both, SIGNATURE_USE_MODULE, 0, "content", "twin.p7s");

        assert_string_equal(a.key, b.key);
        assert_string_equal(a.signer, c.signer);
        assert_string_not_equal(a.key, c.key);
}

static void test_nobody_is_trusted_without_certificates(void **state) {
        _cleanup_(signature_trust_freep) SignatureTrust *none = TRUST(NULL), *broken = TRUST("plain.p7s", "content");
        SignatureVerdict v = verify(none, SIGNATURE_USE_MODULE, 0, "content", "attributes.p7s");

        assert_int_equal(v.status, SIGNATURE_WRONG);
        assert_contains(v.reason, "isn't trusted");
        v = verify(broken, SIGNATURE_USE_MODULE, 0, "content", "plain.p7s");
        assert_int_equal(v.status, SIGNATURE_WRONG);
        assert_contains(v.reason, "'plain.p7s' is no certificate");
}

static void test_damaged_blocks_and_trailers_are_refused(void **state) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = TRUST("trusted.pem");
        _cleanup_bytes_ Bytes module = load("signed.ko"), signature = load("plain.p7s");
        static const uint8_t block[] = { 4, 0, 0, 0, 200, 0, 0, 0, 'n', 'a', 'm', 'e' };
        SignatureTrust *never = NULL;
        SignatureVerdict v;

        for (size_t n = 1; n < sizeof(block); n++)
                assert_int_equal(signature_trust_parse(block, n, &never), -EBADMSG);
        assert_null(never);

        module.bytes[module.size - 28 - 12 + 2] = 1; /* PGP */
        assert_int_equal(signature_verify(t, SIGNATURE_USE_MODULE, 0, module.bytes, module.size, NULL, 0, &v), 0);
        assert_contains(v.reason, "kind");
        module.bytes[module.size - 28 - 4] = 0x7f;
        assert_int_equal(signature_verify(t, SIGNATURE_USE_MODULE, 0, module.bytes, module.size, NULL, 0, &v), 0);
        assert_int_equal(v.status, SIGNATURE_WRONG);
        assert_contains(v.reason, "length");

        for (size_t n = 0; n < signature.size; n++) {
                assert_int_equal(signature_verify(t, SIGNATURE_USE_DOCUMENT, now_usec(), "x", 1, signature.bytes, n, &v),
                                 0);
                assert_int_equal(v.status, n == 0 ? SIGNATURE_MISSING : SIGNATURE_WRONG);
        }
}

/* ---- through the child ---- */

typedef struct Answer {
        bool there;
        int error;
        char text[600];
        SignatureVerdict verdict;
} Answer;

static void on_checked(int error, const char *text, const SignatureVerdict *verdict, void *userdata) {
        Answer *a = userdata;

        assert_false(a->there);
        a->there = true;
        a->error = error;
        (void) snprintf(a->text, sizeof(a->text), "%s", text);
        if (verdict)
                a->verdict = *verdict;
        assert_int_equal(error < 0, verdict == NULL);
}

static int memfd_of(const char *name) {
        _cleanup_bytes_ Bytes b = load(name);
        int fd;

        assert_int_equal(sealed_memfd_new_from_bytes(b.bytes, b.size, "x", &fd), 0);
        return fd;
}

static void check_with(const char *with, Tree *t, SignatureUse use, const char *content, const char *signature,
                       Answer *a) {
        SignatureSpec spec = { .use = use, .signature_fd = -EBADF, .now_usec = now_usec() };
        SignatureCheck *check;
        sd_event *event;

        *a = (Answer) {};
        spec.content_fd = memfd_of(content);
        if (signature)
                spec.signature_fd = memfd_of(signature);
        assert_true(sd_event_new(&event) >= 0);
        assert_int_equal(signature_check_new(event, t->fd, &spec, with, 0, on_checked, a, &check), 0);
        assert_false(a->there);
        while (!a->there)
                assert_true(sd_event_run(event, 30000000) > 0);
        signature_check_free(check);
        sd_event_unref(event);
        close(spec.content_fd);
        if (spec.signature_fd >= 0)
                close(spec.signature_fd);
}

static void install(Tree *t, const char *to, const char *name) {
        _cleanup_bytes_ Bytes b = load(name);
        char path[256];

        (void) snprintf(path, sizeof(path), "%s/%s", to, name);
        tree_write_bytes(t, path, b.bytes, b.size);
}

static void test_the_child_says_who_signed_and_uses_are_apart(void **state) {
        Tree t;
        Answer a;

        tree_init(&t);
        check_with(program, &t, SIGNATURE_USE_DOCUMENT, "content", "plain.p7s", &a);
        assert_int_equal(a.error, 0);
        assert_int_equal(a.verdict.status, SIGNATURE_WRONG);

        install(&t, SIGNATURE_DOCUMENT_CERTIFICATES, "trusted.pem");
        check_with(program, &t, SIGNATURE_USE_DOCUMENT, "content", "plain.p7s", &a);
        assert_string_equal(a.verdict.reason, "");
        assert_int_equal(a.verdict.status, SIGNATURE_GOOD);
        assert_string_equal(a.verdict.signer, "CN=Trusted signer,O=Klpd tests");
        assert_true(a.verdict.valid_until_usec > now_usec());
        check_with(program, &t, SIGNATURE_USE_MODULE, "signed.ko", NULL, &a);
        assert_int_equal(a.verdict.status, SIGNATURE_WRONG);

        install(&t, SIGNATURE_MODULE_CERTIFICATES, "trusted.der");
        check_with(program, &t, SIGNATURE_USE_MODULE, "signed.ko", NULL, &a);
        assert_int_equal(a.verdict.status, SIGNATURE_GOOD);
        assert_true(a.verdict.appended);
        check_with(program, &t, SIGNATURE_USE_MODULE, "content", NULL, &a);
        assert_int_equal(a.verdict.status, SIGNATURE_MISSING);
        check_with(program, &t, SIGNATURE_USE_MODULE, "changed", "elliptic.p7s", &a);
        assert_int_equal(a.verdict.status, SIGNATURE_WRONG);
        tree_done(&t);
}

static void test_certificates_that_others_may_write_are_not_used(void **state) {
        char path[256];
        Tree t;
        Answer a;

        tree_init(&t);
        install(&t, SIGNATURE_MODULE_CERTIFICATES, "trusted.pem");
        (void) snprintf(path, sizeof(path), "%s/%s/trusted.pem", t.path, SIGNATURE_MODULE_CERTIFICATES);
        assert_int_equal(chmod(path, 0664), 0);
        check_with(program, &t, SIGNATURE_USE_MODULE, "signed.ko", NULL, &a);
        assert_int_equal(a.error, -EPERM);
        assert_contains(a.text, "etc/klpd/certs.d/trusted.pem may be written");
        assert_int_equal(chmod(path, 0644), 0);
        *strrchr(path, '/') = 0;
        assert_int_equal(chmod(path, 0777), 0);
        check_with(program, &t, SIGNATURE_USE_MODULE, "signed.ko", NULL, &a);
        assert_int_equal(a.error, -EPERM);
        assert_contains(a.text, "etc/klpd/certs.d may be written");
        tree_done(&t);
}

static void test_a_child_that_says_nonsense_vouches_for_nobody(void **state) {
        static const char *const lies[] = {
                "{}",
                "{\"patch\":{}}",
                "{\"signature\":\"good\",\"signer\":\"CN=me\",\"key\":\"\",\"valid-until\":1,\"valid-from\":0,\"appended\":false,"
                "\"reason\":\"\"}",
                "{\"signature\":\"great\",\"signer\":\"CN=me\",\"key\":\"\",\"valid-until\":1,\"valid-from\":0,\"appended\":false,"
                "\"reason\":\"so\"}",
        };
        char path[256];
        Tree t;
        Answer a;

        tree_init(&t);
        (void) snprintf(path, sizeof(path), "%s/bin/liar", t.path);
        for (size_t i = 0; i < ELEMENTSOF(lies); i++) {
                char script[512];

                (void) snprintf(script, sizeof(script), "#!/bin/sh\necho '%s'\n", lies[i]);
                tree_write(&t, "bin/liar", script);
                assert_int_equal(chmod(path, 0755), 0);
                check_with(path, &t, SIGNATURE_USE_DOCUMENT, "content", "plain.p7s", &a);
                assert_int_equal(a.error, -EPROTO);
        }
        check_with("/bin/true", &t, SIGNATURE_USE_DOCUMENT, "content", "plain.p7s", &a);
        assert_int_equal(a.error, -EPROTO);
        tree_done(&t);
}

int main(int argc, char *argv[]) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_each_form_is_good_or_refused_with_its_reason),
                cmocka_unit_test(test_an_appended_signature_is_told_from_a_detached_one),
                cmocka_unit_test(test_expiry_counts_for_documents_and_not_for_modules),
                cmocka_unit_test(test_the_key_names_the_signer_also_in_another_certificate),
                cmocka_unit_test(test_nobody_is_trusted_without_certificates),
                cmocka_unit_test(test_damaged_blocks_and_trailers_are_refused),
                cmocka_unit_test(test_the_child_says_who_signed_and_uses_are_apart),
                cmocka_unit_test(test_certificates_that_others_may_write_are_not_used),
                cmocka_unit_test(test_a_child_that_says_nonsense_vouches_for_nobody),
        };

        if (argc < 3)
                return 77;
        program = argv[1];
        directory = argv[2];
        return cmocka_run_group_tests(tests, NULL, NULL);
}
