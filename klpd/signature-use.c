/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The names of what is signed (signature.h): apart from signature.c, so that who only names them needs no libcrypto. */
#include "klpd/signature.h"

static const char *const uses[] = {
        [SIGNATURE_USE_MODULE] = "module",
        [SIGNATURE_USE_DOCUMENT] = "document",
};

const char *signature_use_to_string(SignatureUse use) {
        return uses[use];
}

int signature_use_from_string(const char *text, SignatureUse *ret) {
        for (size_t i = 0; i < ELEMENTSOF(uses); i++)
                if (streq(text, uses[i])) {
                        *ret = (SignatureUse) i;
                        return 0;
                }
        return -EINVAL;
}
