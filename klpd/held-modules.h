/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Which plain livepatches were left by a forced transition? Nothing says so: but the core never lets go of the module of
 * what was forced out, and of all others it does. So a livepatch that is on no list any more and whose module is held
 * all the same, by no other module, is one, once that has been so for HELD_USEC: between the end of its sysfs entry
 * and the dropping of the reference lie microseconds, on a busy host more. (Of managed patches the shim says it.)
 *
 * One object remembers since when it has seen which; it is asked at each reading of the kernel.
 */
#pragma once

#include "klpd/livepatch-sysfs.h"

#define HELD_USEC UINT64_C(1000000)

typedef struct HeldModules {
        struct HeldModule {
                char *name;
                uint64_t since_usec;
                bool seen;
        } *list;
        size_t n;
} HeldModules;

/* Sets `pinned` of those modules. now_usec: CLOCK_MONOTONIC. -ENOMEM: none is set. */
int held_modules_update(HeldModules *h, const SysfsPatches *patches, SysfsModules *modules, uint64_t now_usec);
void held_modules_done(HeldModules *h);
