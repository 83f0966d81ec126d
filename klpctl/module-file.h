/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads a livepatch module, which may be anything, as the daemon does: by klpd-inspect, in its sandbox. The parsers
 * of foreign bytes, and the libraries that they need, stay out of klpctl.
 */
#pragma once

#include "policy/error.h"
#include "policy/model.h"

/* fd: a file, read from its offset. Waits until it is read. Errors are those of inspect-client.h, each with a sentence.
 * KLPCTL_INSPECT in the environment names another klpd-inspect than the installed one. */
int module_file_read(int fd, Patch **ret, PolicyError *error);
