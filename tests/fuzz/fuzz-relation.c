/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* "requires" and "conflicts", streams and names: short strings that come from modules. */
#include "policy/relation.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *s = malloc(size + 1), *vendor = NULL, *stream = NULL;
        _cleanup_patch_unref_ Patch *p = NULL;
        Relation r;

        must(s);
        memcpy(s, data, size);
        s[size] = 0; /* ends at the first NUL, wherever it is */
        if (relation_parse(s, &r) >= 0) {
                must(patch_new("p", &p) == 0);
                (void) relation_matches(&r, p);
                if (r.kind == RELATION_STREAM)
                        must(r.vendor_size > 0 && r.vendor_size <= PATCH_NAME_MAX && r.stream_size > 0);
        }
        if (patch_parse_stream(s, &vendor, &stream) >= 0) {
                must(patch_name_is_valid(vendor) && patch_name_is_valid(stream));
                must(relation_parse(s, &r) == 0 && r.op == RELATION_ANY);
        }
        p = patch_unref(p);
        if (patch_new(s, &p) >= 0)
                must(patch_name_is_valid(s));
        return 0;
}
