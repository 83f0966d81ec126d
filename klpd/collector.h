/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removes modules that are no longer used, late (SEMANTICS.md 5.4): when the grace period is over, nothing
 * of the patch is in sysfs, its transition is over and its reference count is 0. An exiting task may still
 * run the code of a patch that was replaced long after the transition (KERNEL-FACTS.md). Who is used again
 * meanwhile is forgotten; who is still referenced is looked at again later. Why somebody stays is recorded
 * once, and can be asked for as long as it is so.
 *
 * What is to be removed outlives klpd (collector-record.h): the next one goes on with it.
 */
#pragma once

#include "klpd/prepare.h"

typedef struct Collector Collector;

typedef struct CollectorHandlers {
        bool (*busy)(void *userdata);                         /* a job runs: not now */
        void (*removed)(const char *module, void *userdata);
        void (*kept)(const char *module, void *userdata);     /* it should have gone, and can't: collector_why() */
        void *userdata;
} CollectorHandlers;

int collector_new(const World *world, const CollectorHandlers *handlers, Collector **ret);
Collector *collector_free(Collector *c); /* NULL is fine */
DEFINE_CLEANUP(Collector *, collector_free);

/* What an earlier klpd of this boot had to remove. */
void collector_load(Collector *c);
/* From now on, after the grace period of the configuration. Again: the grace period starts anew. */
int collector_add(Collector *c, const char *module);
size_t collector_pending(const Collector *c);
/* Why a module is still there that should have been removed, or NULL; borrowed, until the loop goes on. */
const char *collector_why(const Collector *c, const char *module);
/* All of these, as the kernel has them now. Stops at the first negative value, and returns it. */
int collector_foreach_kept(const Collector *c, int (*callback)(const char *module, const char *why, void *userdata),
                           void *userdata);
