/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * klpd's errors on the bus (org.klpd1.xml), and the one struct in which a failure travels from where it is
 * understood to where it is told: the name for programs, one sentence for people. Owns its message.
 */
#pragma once

#include "policy/util.h"

#define ERROR_NO_SUCH_PATCH "org.klpd1.Error.NoSuchPatch"
#define ERROR_NO_SUCH_JOB "org.klpd1.Error.NoSuchJob"
#define ERROR_BUSY "org.klpd1.Error.Busy"
#define ERROR_NOT_MODULE "org.klpd1.Error.NotModule"
#define ERROR_EXISTS "org.klpd1.Error.Exists"
#define ERROR_IN_USE "org.klpd1.Error.InUse"
#define ERROR_REFUSED "org.klpd1.Error.Refused"
#define ERROR_SHIM_UNAVAILABLE "org.klpd1.Error.ShimUnavailable"
#define ERROR_UNSUPPORTED "org.klpd1.Error.Unsupported"
#define ERROR_FAILED "org.klpd1.Error.Failed"
#define ERROR_INVALID_ARGS "org.freedesktop.DBus.Error.InvalidArgs"

typedef struct Failure {
        const char *name; /* static, one of the above; NULL: none */
        char *message;    /* NULL for want of memory too */
        int error;        /* negative errno where one is behind it, or 0 */
} Failure;

/* Replaces what was there. Returns r, which must be negative, or -EIO in its place. */
int failure_set(Failure *f, int r, const char *name, const char *format, ...) _printf_(4, 5);
void failure_done(Failure *f);
const char *failure_message(const Failure *f); /* never NULL */
