/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Modules into the kernel and out of it; the only file that knows libkmod (which it uses for the shim alone:
 * a livepatch comes as a descriptor, never by name). Called by klpd-helper; all of these block as long as
 * the kernel does.
 *
 * Errors are the kernel's; error->message says what they mean for a livepatch.
 */
#pragma once

#include "policy/error.h"

/*
 * finit_module() of a sealed memfd. -EPERM: no seals, or refused by lockdown or another LSM, which the text
 * names; -EEXIST: a module of that name is loaded; -ENOEXEC: not a module for this kernel; -ENOENT: an
 * unknown symbol; -EKEYREJECTED, -ENOKEY, -EBADMSG: signature; what a patch's init or a callback returned.
 */
int loader_load(int root_fd, int fd, const char *name, const char *params, PolicyError *error);

/* modprobe klp_shim. 0 also if it is there already. -ENOENT: not installed for this kernel. */
int loader_load_shim(int root_fd, PolicyError *error);

/* delete_module(O_NONBLOCK). -EWOULDBLOCK: in use; -ENOENT: not loaded; -EBUSY: it is coming or going. */
int loader_unload(const char *name, PolicyError *error);

/* The text for what finit_module() returned: r is the negative errno. Pure but for the files below root_fd.
 * Returns r. */
int loader_explain(int root_fd, const char *name, int r, PolicyError *error);
