/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd-inspect: reads one hostile module for klpd, in a sandbox of its own.
 *
 * Model: descriptor 0 is the module's file (a sealed memfd, perhaps compressed), 1 is a pipe for the answer,
 * and 3, if it is open, an empty memfd that gets the decompressed content. One answer, one JSON object on
 * one line, then the end:
 *
 *   {"patch": PATCH, "vermagic": string, "signature-size": number, "module-relocations": bool,
 *    "decompressed": bool}
 *   {"error": errno, "message": string}
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
#include "policy/json.h"

#define MODULE_FD 0
#define ANSWER_FD 1
#define CONTENT_FD 3

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

/* What libraries set up when they are used first, while that is still allowed. */
static void warm_up(void) {
        char digest[DIGEST_HEX_LEN + 1];
        struct json_object *object;

        (void) module_digest("", 0, digest);
        object = json_object_new_object();
        if (object)
                json_object_object_add(object, "seed", NULL);
        json_object_put(object);
}

int main(int argc, char *argv[]) {
        _cleanup_patch_file_free_ PatchFile *file = NULL;
        PolicyError error = {};
        bool decompressed = false;
        struct stat st;
        void *map;
        int r;

        if (argc > 1 || fstat(MODULE_FD, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size <= 0) {
                fprintf(stderr,
                        "klpd-inspect takes no arguments, but a module on its standard input.\n");
                return EXIT_FAILURE;
        }
        map = mmap(NULL, (size_t) st.st_size, PROT_READ, MAP_PRIVATE, MODULE_FD, 0);
        if (map == MAP_FAILED) {
                perror("klpd-inspect: can't map the module");
                return EXIT_FAILURE;
        }

        warm_up();
        r = inspect_sandbox_enter();
        if (r < 0) {
                policy_error_set(&error, r, "klpd-inspect can't enter its sandbox: %s", strerror(-r));
                _exit(answer_error(r, &error) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
        }

        r = inspect(map, (size_t) st.st_size, &error, &file, &decompressed);
        r = r < 0 ? answer_error(r, &error) : answer_file(file, decompressed);
        file = patch_file_free(file);
        /* no handlers of libraries: the sandbox would kill for them */
        _exit(r < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}
