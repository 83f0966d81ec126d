/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See errors.h. */
#include <stdarg.h>
#include <stdio.h>

#include "klpd/errors.h"

int failure_set(Failure *f, int r, const char *name, const char *format, ...) {
        char *message = NULL;
        va_list ap;

        va_start(ap, format);
        if (vasprintf(&message, format, ap) < 0)
                message = NULL;
        va_end(ap);
        failure_done(f);
        *f = (Failure) { .name = name, .message = message, .error = r };
        return r < 0 ? r : -EIO;
}

void failure_done(Failure *f) {
        free(f->message);
        *f = (Failure) {};
}

const char *failure_message(const Failure *f) {
        if (f->message)
                return f->message;
        return f->name ? "Out of memory" : "";
}
