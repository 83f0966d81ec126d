/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Removes modules that are no longer used, late (SEMANTICS.md 5.4): when the grace period is over, nothing
 * of the patch is in sysfs, its transition is over and its reference count is 0. An exiting task may still
 * run the code of a patch that was replaced long after the transition (KERNEL-FACTS.md). Who is used again
 * meanwhile is forgotten; who is still referenced is looked at again later, and that is recorded once, with
 * the reason.
 *
 * What is to be removed outlives klpd (collector-record.h): the next one goes on with it.
 */
#pragma once

#include "klpd/prepare.h"

typedef struct Collector Collector;

typedef struct CollectorHandlers {
        bool (*busy)(void *userdata);                         /* a job runs: not now */
        void (*removed)(const char *module, void *userdata);
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
