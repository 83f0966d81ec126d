/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See log.h. One write() per line, so that lines of klpd and of its children don't mix; control characters
 * in what came from outside (names, errors of others) are replaced, so that nobody forges a second line.
 * Standard error is a socket of the journal's: one that doesn't read must not stop us, the line is lost then.
 */
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "klpd/log.h"

#define LINE_MAX_BYTES 2048U

void log_message(int priority, const char *format, ...) {
        char line[LINE_MAX_BYTES];
        va_list ap;
        size_t used;
        int n;

        n = snprintf(line, sizeof(line), "<%d>", priority & 7);
        used = (size_t) n;

        va_start(ap, format);
        n = vsnprintf(line + used, sizeof(line) - used - 1, format, ap);
        va_end(ap);
        if (n < 0)
                return;

        size_t end = used + (size_t) n;
        if (end > sizeof(line) - 2)
                end = sizeof(line) - 2;
        for (size_t i = used; i < end; i++)
                if ((unsigned char) line[i] < ' ' || line[i] == 0x7f)
                        line[i] = ' ';
        line[end++] = '\n';

        if (send(STDERR_FILENO, line, end, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == ENOTSOCK &&
            write(STDERR_FILENO, line, end) < 0)
                return; /* nobody is left who could be told */
}
