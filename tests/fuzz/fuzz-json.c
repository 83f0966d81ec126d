/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The strict reader: what the scanner accepts json-c must accept too (the scanner is never the more lenient
 * of the two), no string of it has a NUL inside, and every place that can be located is in the document.
 */
#include "policy/json-scan.h"
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

static void check_strings(struct json_object *obj) {
        if (json_object_is_type(obj, json_type_string))
                must(strlen(json_object_get_string(obj)) == (size_t) json_object_get_string_len(obj));
        if (json_object_is_type(obj, json_type_array))
                for (size_t i = 0; i < json_object_array_length(obj); i++)
                        check_strings(json_object_array_get_idx(obj, i));
        if (json_object_is_type(obj, json_type_object)) {
                json_object_object_foreach(obj, key, member) {
                        (void) key;
                        check_strings(member);
                }
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data;
        struct json_object *obj = NULL;
        PolicyError error = {};
        unsigned line, column;

        if (json_scan(text, size, JSON_DEPTH_MAX, &error) < 0) {
                must(error.message[0] && error.line > 0 && error.column > 0);
                must(json_parse_strict(text, size, &obj, NULL) < 0);
                return 0;
        }
        must(json_parse_strict(text, size, &obj, &error) == 0);
        check_strings(obj);
        json_object_put(obj);
        if (json_locate(text, size, "[0]", &line, &column) >= 0)
                must(line > 0 && column > 0);
        if (json_locate(text, size, "a[1].b", &line, &column) >= 0)
                must(line > 0 && column > 0);
        return 0;
}
