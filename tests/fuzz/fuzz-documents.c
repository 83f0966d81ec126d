/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every parser of a document, on the same bytes: none crashes, an error always has a message, and what one
 * accepts it also accepts after it was written again, as the same.
 */
#include "policy/json.h"
#include "tests/fuzz/fuzz.h"

static char *text_of(struct json_object *obj) {
        char *line = NULL;

        must(obj);
        must(json_to_line(obj, &line) == 0);
        json_object_put(obj);
        return line;
}

#define CHECK(type, parse, to_json, done)                                               \
        static void check_##parse(const char *text, size_t size) {                      \
                PolicyError error = {};                                                 \
                type *first = NULL, *second = NULL;                                     \
                                                                                        \
                if (parse(text, size, &first, &error) < 0) {                            \
                        must(!first && error.message[0]);                               \
                        return;                                                         \
                }                                                                       \
                _cleanup_free_ char *a = text_of(to_json(first));                       \
                must(parse(a, strlen(a), &second, &error) == 0);                        \
                _cleanup_free_ char *b = text_of(to_json(second));                      \
                must(streq(a, b));                                                      \
                done(first);                                                            \
                done(second);                                                           \
        }                                                                               \
        struct check_##parse##_needs_semicolon

CHECK(Patch, patch_parse, patch_to_json, patch_unref);
CHECK(Patch, manifest_parse, patch_to_json, patch_unref);
CHECK(Inventory, inventory_parse, inventory_to_json, inventory_free);
CHECK(Policy, policy_parse, policy_to_json, policy_free);
CHECK(Plan, plan_parse, plan_to_json, plan_free);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const char *text = (const char *) data;

        check_patch_parse(text, size);
        check_manifest_parse(text, size);
        check_inventory_parse(text, size);
        check_policy_parse(text, size);
        check_plan_parse(text, size);
        return 0;
}
