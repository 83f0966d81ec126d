/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A module that came over the bus as a file descriptor: whether it may be read at all, and reading it once
 * into a sealed memfd, after which the caller's descriptor is of no interest.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "policy/util.h"

/* Before authorisation: cheap, reads nothing. Negative with error set. */
int module_fd_check(int fd, sd_bus_error *error);
int module_fd_read(int fd, int *ret, sd_bus_error *error);
