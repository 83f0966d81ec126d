/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Signatures: 'T' and a block of trusted certificates; 'M' and a module with an appended signature; anything else is
 * a detached signature. Trusted are two certificates whose keys nobody has any more; the corpus has signatures by them
 * of other bytes than those that are asked about here, so that nothing that is made of it may ever be good.
 */
#include "klpd/signature.h"
#include "tests/fuzz/fuzz.h"

#define NOW_USEC (UINT64_C(1795300000) * 1000000)

static const char certificates[] =
                "-----BEGIN CERTIFICATE-----\n"
                "MIIDRzCCAi+gAwIBAgIUBmqx1zrScl6d1rUbt48gdOPgCS0wDQYJKoZIhvcNAQEL\n"
                "BQAwLjETMBEGA1UECgwKS2xwZCB0ZXN0czEXMBUGA1UEAwwOVHJ1c3RlZCBzaWdu\n"
                "ZXIwHhcNMjYxMTIxMTgwNjI0WhcNMjYxMjIxMTgwNjI0WjAuMRMwEQYDVQQKDApL\n"
                "bHBkIHRlc3RzMRcwFQYDVQQDDA5UcnVzdGVkIHNpZ25lcjCCASIwDQYJKoZIhvcN\n"
                "AQEBBQADggEPADCCAQoCggEBAN6fK7yvquRU5V4RN1ghnsh6gUUcqEBWbiLhu6Bc\n"
                "uqPUvVFXIjL4itDekFCpxyKfUWOsptzHGD2T53AZ6VGg7CB21DfONg43Oq7NZFhx\n"
                "WDl2aY3tAL61hDvInAyTmamGbHsx/ltBJVB2hLDZY8KkrsV42uW0HEgOjqblsJaB\n"
                "ixPJF84otiPBoCKWDNUZR32Ou90LewSJHD3jyxbOavcYbjMGgReOX0YpYsSWQk7Y\n"
                "SPKG6dvduyQVecN4xSY8QVGFD3tz0+l/FbkrA0Gf3/o7PI7IsvizoMBtOgu1PvyA\n"
                "z6g4A4LQTkp1FVzXwPLZl7vVC92OGv+JYDsqzcrHrBkmA08CAwEAAaNdMFswHQYD\n"
                "VR0OBBYEFBVxnB2we5TnIrRtfSSCGXldNz1zMB8GA1UdIwQYMBaAFBVxnB2we5Tn\n"
                "IrRtfSSCGXldNz1zMAsGA1UdDwQEAwIHgDAMBgNVHRMBAf8EAjAAMA0GCSqGSIb3\n"
                "DQEBCwUAA4IBAQDL6EPWNViWKhoR5kvq/ZAsASM8ZX6xBP5WIregvgu/3TlPH4He\n"
                "0Z8Skwvr68aD+RMDC4cOT+A7gN+sjrfj3eB8GRIGjS3SgbadS0rxqTKbtSAo9tHm\n"
                "I9Mx4PxGBI2azXuhSpZ+GpPLzMXQI9F6ts7AuZSP2eOO5syfwnz0HAF+u4vWZEp4\n"
                "zrlF+jS52aQO/tJMaqYEsBuHhOvN3apbjCoObIyxv1TIkbxYGHNHpWuMILpdbZWj\n"
                "j+fstykOQ9eNmEhrnCqqUXy6sgwCcbX3V4QAjje7gmy5q+Yey5mJ4xSVU7oK/sPo\n"
                "R1FI8M3gc74fFfXgvlKeIZHp2bsmmSZcK6Mq\n"
                "-----END CERTIFICATE-----\n"
                "-----BEGIN CERTIFICATE-----\n"
                "MIIBezCCASGgAwIBAgIUQJPu31C/M2+t+YJZ6Xio0xO3Mw0wCgYIKoZIzj0EAwIw\n"
                "EzERMA8GA1UEAwwIRWxsaXB0aWMwHhcNMjYxMTIxMTgwNjI1WhcNMjYxMjIxMTgw\n"
                "NjI1WjATMREwDwYDVQQDDAhFbGxpcHRpYzBZMBMGByqGSM49AgEGCCqGSM49AwEH\n"
                "A0IABOveu04RuDqkjgJ3RR+2fcaZ1EJZqm9TkXhLn/gWKrL9dihc+IU/HcdMn8iU\n"
                "j+g/pUK8lF00dXVbMbNUUrQJBUajUzBRMB0GA1UdDgQWBBTSlDU4mFipyMgRjtPy\n"
                "KDQalRFZ2TAfBgNVHSMEGDAWgBTSlDU4mFipyMgRjtPyKDQalRFZ2TAPBgNVHRMB\n"
                "Af8EBTADAQH/MAoGCCqGSM49BAMCA0gAMEUCIQCPlVxxo4Zz9hqq2Du9okJ+X8lA\n"
                "JBOP2nF8USfxC5LPgwIgQ1gbV8kYPwV+xEYMBzBA8NjBItu9FaldJFdtnIFJpr0=\n"
                "-----END CERTIFICATE-----\n";

static void check(const SignatureTrust *t, SignatureUse use, const void *content, size_t content_size,
                  const void *detached, size_t detached_size) {
        SignatureVerdict v;

        must(signature_verify(t, use, NOW_USEC, content, content_size, detached, detached_size, &v) == 0);
        must(v.status == SIGNATURE_MISSING || v.status == SIGNATURE_WRONG);
        must(v.reason[0] && !v.signer[0] && !v.key[0]);
}

static void check_trust(const uint8_t *data, size_t size) {
        _cleanup_(signature_trust_freep) SignatureTrust *t = NULL;

        if (signature_trust_parse(data, size, &t) >= 0)
                check(t, SIGNATURE_USE_DOCUMENT, "x", 1, "0", 1);
}

static SignatureTrust *trust(void) {
        uint32_t lengths[2] = { 4, sizeof(certificates) - 1 };
        uint8_t block[sizeof(certificates) + 16];
        SignatureTrust *t;

        memcpy(block, lengths, sizeof(lengths));
        memcpy(block + sizeof(lengths), "file", 4);
        memcpy(block + sizeof(lengths) + 4, certificates, sizeof(certificates) - 1);
        must(signature_trust_parse(block, sizeof(lengths) + 4 + sizeof(certificates) - 1, &t) == 0);
        return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static SignatureTrust *t;

        t = t ?: trust();
        if (size > 0 && *data == 'T')
                check_trust(data + 1, size - 1);
        else if (size > 0 && *data == 'M')
                check(t, SIGNATURE_USE_MODULE, data + 1, size - 1, NULL, 0);
        else {
                check(t, SIGNATURE_USE_MODULE, "never signed", 12, data, size);
                check(t, SIGNATURE_USE_DOCUMENT, "never signed", 12, data, size);
        }
        return 0;
}
