/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy/strv.h"

char **strv_free(char **l) {
        for (char **s = l; s && *s; s++)
                free(*s);
        free(l);
        return NULL;
}

size_t strv_length(char *const *l) {
        size_t n = 0;

        while (l && l[n])
                n++;
        return n;
}

bool strv_contains(char *const *l, const char *s) {
        for (char *const *i = l; i && *i; i++)
                if (streq(*i, s))
                        return true;
        return false;
}

int strv_extend(char ***l, const char *s) {
        _cleanup_free_ char *copy = NULL;
        size_t n = strv_length(*l);
        char **bigger;

        copy = strdup(s);
        if (!copy)
                return -ENOMEM;

        /* Grows at powers of two: an empty vector is NULL, and one of n strings has room for the next power
         * above n. */
        if (n == 0 || (n & (n + 1)) == 0) {
                bigger = realloc(*l, 2 * (n + 1) * sizeof(char *));
                if (!bigger)
                        return -ENOMEM;
                *l = bigger;
        }
        (*l)[n] = TAKE_PTR(copy);
        (*l)[n + 1] = NULL;
        return 0;
}

int strv_copy(char *const *l, char ***ret) {
        _cleanup_strv_free_ char **copy = NULL;
        int r;

        for (char *const *s = l; s && *s; s++) {
                r = strv_extend(&copy, *s);
                if (r < 0)
                        return r;
        }
        *ret = TAKE_PTR(copy);
        return 0;
}
