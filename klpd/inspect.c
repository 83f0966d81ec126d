/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd-inspect: reads one hostile module, or one hostile signature, for klpd, in a sandbox of its own.
 *
 * Model of a module: descriptor 0 is the module's file (a sealed memfd, perhaps compressed), 1 is a pipe for the answer,
 * and 3, if it is open, an empty memfd that gets the decompressed content. One answer, one JSON object on
 * one line, then the end:
 *
 *   {"patch": PATCH, "vermagic": string, "signature-size": number, "module-relocations": bool,
 *    "decompressed": bool}
 *   {"error": errno, "message": string}
 *
 * With --signature USE NOW (signature.h; NOW in microseconds of CLOCK_REALTIME): 0 is what was signed, 3 the trusted
 * certificates, 4, if it is open, the detached signature; the answer is
 *
 *   {"signature": "good"|"wrong"|"missing", "signer": string, "key": string, "valid-from": number,
 *    "valid-until": number, "appended": bool, "reason": string}
 *
 * Exit status 0 if there is an answer, also one that refuses. Nothing here is trusted by klpd but as a claim
 * about bytes.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "klpd/digest.h"
#include "klpd/inspect-sandbox.h"
#include "klpd/patch-file.h"
#include "klpd/signature.h"
#include "policy/json.h"

#define INPUT_FD 0
#define ANSWER_FD 1
#define CONTENT_FD 3
#define TRUST_FD 3
#define SIGNATURE_FD 4

typedef struct Input {
        const void *bytes;
        size_t size;
} Input;

static int write_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, p, n);

                if (k < 0)
                        return -errno;
                p += k;
                n -= (size_t) k;
        }
        return 0;
}

static int answer(struct json_object *object) {
        _cleanup_free_ char *line = NULL;
        int r;

        r = json_to_line(object, &line);
        if (r < 0)
                return r;
        r = write_all(ANSWER_FD, line, strlen(line));
        return r < 0 ? r : write_all(ANSWER_FD, "\n", 1);
}

static int answer_error(int r, const PolicyError *error) {
        struct json_object *object;

        object = json_object_new_object();
        if (!object)
                return -ENOMEM;
        json_object_object_add(object, "error", json_object_new_int(-r));
        json_object_object_add(object, "message", json_object_new_string(error->message));
        r = answer(object);
        json_object_put(object);
        return r;
}

static int answer_file(const PatchFile *file, bool decompressed) {
        struct json_object *object, *patch;
        int r;

        object = json_object_new_object();
        patch = patch_to_json(file->patch);
        if (!object || !patch) {
                json_object_put(object);
                json_object_put(patch);
                return -ENOMEM;
        }
        json_object_object_add(object, "patch", patch);
        json_object_object_add(object, "vermagic", json_object_new_string(file->vermagic));
        json_object_object_add(object, "signature-size",
                               json_object_new_int64((int64_t) file->signature_size));
        json_object_object_add(object, "module-relocations",
                               json_object_new_boolean(file->has_module_relocations));
        json_object_object_add(object, "decompressed", json_object_new_boolean(decompressed));
        r = answer(object);
        json_object_put(object);
        return r;
}

/* *ret_file is NULL if error says why. */
static int inspect(const void *bytes, size_t size, PolicyError *error, PatchFile **ret_file,
                   bool *ret_decompressed) {
        _cleanup_free_ void *content = NULL;
        size_t content_size = 0;
        int r;

        r = patch_file_decompress(bytes, size, &content, &content_size, error);
        if (r == -ENODATA)
                return patch_file_read(bytes, size, ret_file, error);
        if (r < 0)
                return r;

        r = write_all(CONTENT_FD, content, content_size);
        if (r < 0)
                return policy_error_set(error, r, "can't hand over the decompressed content: %s",
                                        strerror(-r));
        *ret_decompressed = true;
        return patch_file_read(content, content_size, ret_file, error);
}

/* ---- a signature ---- */

static int answer_verdict(const SignatureVerdict *v) {
        struct json_object *object = json_object_new_object();
        int r;

        if (!object)
                return -ENOMEM;
        json_object_object_add(object, "signature",
                               json_object_new_string(v->status == SIGNATURE_GOOD      ? "good"
                                                      : v->status == SIGNATURE_MISSING ? "missing"
                                                                                       : "wrong"));
        json_object_object_add(object, "signer", json_object_new_string(v->signer));
        json_object_object_add(object, "key", json_object_new_string(v->key));
        json_object_object_add(object, "valid-until", json_object_new_int64((int64_t) v->valid_until_usec));
        json_object_object_add(object, "valid-from", json_object_new_int64((int64_t) v->valid_from_usec));
        json_object_object_add(object, "appended", json_object_new_boolean(v->appended));
        json_object_object_add(object, "reason", json_object_new_string(v->reason));
        r = answer(object);
        json_object_put(object);
        return r;
}

static int check_signature(const Input *input, SignatureUse use, uint64_t now_usec, PolicyError *error) {
        _cleanup_(signature_trust_freep) SignatureTrust *trust = NULL;
        SignatureVerdict verdict;
        int r;

        r = signature_trust_parse(input[1].bytes, input[1].size, &trust);
        if (r < 0)
                return policy_error_set(error, r, "the trusted certificates can't be used: %s",
                                        r == -E2BIG ? "there are too many" : strerror(-r));
        r = signature_verify(trust, use, now_usec, input[0].bytes, input[0].size, input[2].bytes,
                             input[2].size, &verdict);
        if (r < 0)
                return policy_error_set(error, r, "can't check the signature: %s", strerror(-r));
        return answer_verdict(&verdict);
}

/* ---- both ---- */

/* What libraries set up when they are used first, while that is still allowed. */
static void warm_up(bool signature) {
        char digest[DIGEST_HEX_LEN + 1];
        struct json_object *object;

        (void) module_digest("", 0, digest);
        if (signature)
                signature_warm_up();
        object = json_object_new_object();
        if (object)
                json_object_object_add(object, "seed", NULL);
        json_object_put(object);
}

/* An empty file is one of no bytes. */
static int input_map(int fd, Input *ret) {
        struct stat st;
        void *map;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (!S_ISREG(st.st_mode))
                return -EINVAL;
        *ret = (Input) { .bytes = "" };
        if (st.st_size == 0)
                return 0;
        map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (map == MAP_FAILED)
                return -errno;
        *ret = (Input) { .bytes = map, .size = (size_t) st.st_size };
        return 0;
}

static int parse_arguments(int argc, char *argv[], SignatureUse *ret_use, uint64_t *ret_now_usec) {
        char *end;

        if (argc == 1)
                return 0;
        if (argc != 4 || !streq(argv[1], "--signature") || signature_use_from_string(argv[2], ret_use) < 0)
                return -EINVAL;
        errno = 0;
        *ret_now_usec = strtoull(argv[3], &end, 10);
        return errno != 0 || end == argv[3] || *end ? -EINVAL : 1;
}

static int map_inputs(bool signature, Input *inputs) {
        int r;

        r = input_map(INPUT_FD, &inputs[0]);
        if (r < 0 || !signature)
                return r < 0 ? r : inputs[0].size > 0 ? 0 : -EINVAL;
        r = input_map(TRUST_FD, &inputs[1]);
        if (r < 0)
                return r;
        r = input_map(SIGNATURE_FD, &inputs[2]);
        return r == -EBADF ? 0 : r;
}

static int work(const Input *inputs, int signature, SignatureUse use, uint64_t now_usec, PolicyError *error) {
        _cleanup_patch_file_free_ PatchFile *file = NULL;
        bool decompressed = false;
        int r;

        r = inspect_sandbox_enter();
        if (r < 0)
                return policy_error_set(error, r, "klpd-inspect can't enter its sandbox: %s", strerror(-r));
        if (signature)
                return check_signature(inputs, use, now_usec, error);
        r = inspect(inputs[0].bytes, inputs[0].size, error, &file, &decompressed);
        return r < 0 ? r : answer_file(file, decompressed);
}

int main(int argc, char *argv[]) {
        SignatureUse use = SIGNATURE_USE_MODULE;
        PolicyError error = {};
        Input inputs[3] = {};
        uint64_t now_usec = 0;
        int signature, r;

        signature = parse_arguments(argc, argv, &use, &now_usec);
        if (signature < 0 || map_inputs(signature > 0, inputs) < 0) {
                fprintf(stderr, "klpd-inspect takes a module on its standard input, or --signature USE NOW and what "
                                "klpd-inspect(8) says.\n");
                return EXIT_FAILURE;
        }
        warm_up(signature > 0);
        r = work(inputs, signature, use, now_usec, &error);
        if (r < 0 && error.message[0])
                r = answer_error(r, &error);
        /* no handlers of libraries: the sandbox would kill for them */
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
