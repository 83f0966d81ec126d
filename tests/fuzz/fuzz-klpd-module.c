/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Module files: the whole reader if the input begins like ELF or like a compressed file, else .modinfo by
 * itself (twice, as of a managed and of a plain patch). What is accepted must be a patch that policy can
 * write and read again.
 */
#include "klpd/digest.h"
#include "klpd/livepatch-sysfs.h"
#include "klpd/patch-file-modinfo.h"
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

static void check(const PatchFile *file) {
        _cleanup_patch_unref_ Patch *again = NULL;
        _cleanup_free_ char *line = NULL;
        struct json_object *json;
        PolicyError error = {};

        must(file->patch && file->patch->name && file->patch->kernel && file->vermagic);
        json = patch_to_json(file->patch);
        must(json);
        must(json_to_line(json, &line) >= 0);
        json_object_put(json);
        must(patch_parse(line, strlen(line), &again, &error) >= 0);
        must(again->n_states == file->patch->n_states && again->n_functions == file->patch->n_functions);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        PolicyError error = {};
        size_t n;

        if (module_signature_size(data, size, &n) >= 0)
                must(n <= size);

        if (size >= 4 && (data[0] == 0x7f || data[0] == 0xfd || data[0] == 0x28)) {
                _cleanup_patch_file_free_ PatchFile *file = NULL;
                _cleanup_free_ void *content = NULL;

                if (patch_file_read(data, size, &file, &error) >= 0)
                        check(file);
                if (patch_file_decompress(data, size, &content, &n, &error) >= 0)
                        must(n <= PATCH_FILE_SIZE_MAX);
                return 0;
        }

        for (unsigned managed = 0; managed < 2; managed++) {
                _cleanup_patch_file_free_ PatchFile *file = calloc(1, sizeof(PatchFile));

                must(file);
                if (patch_file_parse_modinfo(data, size, &(ModinfoContext){.managed = managed}, file,
                                             &error) >= 0)
                        check(file);
                else
                        must(error.message[0]);
        }
        return 0;
}
