/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdarg.h>
#include <stdio.h>

#include "policy/error.h"

int policy_error_set(PolicyError *error, int r, const char *format, ...) {
        va_list ap;

        if (!error)
                return r;
        error->line = error->column = 0;
        error->key[0] = 0;
        va_start(ap, format);
        (void) vsnprintf(error->message, sizeof(error->message), format, ap);
        va_end(ap);
        return r;
}

char *policy_error_format(const PolicyError *error, const char *source, char *buf, size_t size) {
        char place[32] = "";

        if (error->line > 0)
                (void) snprintf(place, sizeof(place), "%s%u", source ? ":" : "line ", error->line);
        (void) snprintf(buf, size, "%s%s%s%s%s%s", source ?: "", place,
                        source || error->line > 0 ? ": " : "", error->key, error->key[0] ? ": " : "",
                        error->message);
        return buf;
}
