/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From what the kernel says (the shim's snapshot and sysfs, read at one moment) to policy's Inventory: what
 * runs, in stack order, and which livepatch modules are merely loaded. Pure: reads nothing itself.
 *
 * The order. Where the core says it (7.2) it is taken from there. Elsewhere the shim knows that of the
 * managed patches; a plain one is placed by the identity of its directory in sysfs where the caller has it
 * (created at enabling), else above those managed ones whose modules were loaded before its own.
 */
#pragma once

#include "klpd/livepatch-sysfs.h"
#include "klpd/shim-client.h"
#include "policy/model.h"

typedef struct InventorySources {
        const char *kernel;           /* uname -r */
        const char *kernel_build_id;  /* or NULL */
        ShimSnapshot *shim; /* or NULL; its patches get the build ids of their modules, and what the
                             * repository knows and the shim does not (fixes, tags) */
        const SysfsPatches *sysfs;    /* or NULL: kernel without livepatch */
        const SysfsModules *modules;  /* or NULL */
        /* As HandsListener.lookup; NULL: nothing is known of plain patches. */
        Patch *(*lookup)(const char *name, const char *build_id, void *userdata);
        /* The order of enabling: a number that rises with the creation of the patch's sysfs directory; 0:
         * not known. */
        uint64_t (*birth)(const char *name, void *userdata);
        void *userdata;
} InventorySources;

int inventory_build(const InventorySources *sources, Inventory **ret);
