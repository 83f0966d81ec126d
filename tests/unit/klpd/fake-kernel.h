/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel behind fake-hands.h: modules, a stack of patches, one transition at a time, and what happens later: answers,
 * events of the shim, the end of a transition. Nothing here is called by klpd; fake-hands.c is what it calls.
 */
#pragma once

#include "fake-hands.h"

#define MODULES_MAX 64U

typedef struct FakeModule {
        Patch *patch;
        bool registered, enabled, transition, target;
        unsigned birth;
        unsigned n_stale, n_unload;
} FakeModule;

typedef struct Later {
        FakeKernel *kernel;
        struct Later *next;
        sd_event_source *source;
        int r;
        char text[128];
        HandsCallback callback;
        HelperStacksCallback stacks_callback;
        HandsInspectCallback inspect_callback;
        InspectResult result;
        void *userdata;
        ShimEvent event;
        bool is_event, completes;
        size_t module;
} Later;

struct FakeKernel {
        Hands base;
        sd_event *event;
        HandsListener listener;
        char *kernel;
        FakeModule modules[MODULES_MAX];
        size_t n_modules;
        uint64_t generation, seq;
        unsigned births, inspections, haste;
        bool shim, livepatch;
        char log[4096], assisted[1024];
        const char *kill; /* fake_kill_helper() */
        bool kill_after, killed;
        Later *laters;
};

/* What the file's tags say of how it behaves (fake-hands.h). */
bool fake_tagged(const FakeModule *m, const char *tag);
FakeModule *fake_find(const FakeKernel *k, const char *name);
FakeModule *fake_under_way(const FakeKernel *k);
/* Belongs to the kernel's list; the caller fills in what is to happen then. */
Later *fake_later(FakeKernel *k, uint64_t usec);
void fake_later_free(Later *l);
/* To whoever listens, after a moment, in order. */
void fake_send_event(FakeKernel *k, const FakeModule *m, enum klp_shim_event kind,
                     enum klp_shim_operation operation, enum klp_shim_end end);
/* A transition begins, ends, or is told to turn round. */
void fake_finish(FakeKernel *k, FakeModule *m, enum klp_shim_end end);
void fake_begin(FakeKernel *k, FakeModule *m, bool target);
bool fake_on_stack(const FakeModule *m);
/* A module is loaded; takes patch over, unless it fails. */
int fake_insert(FakeKernel *k, Patch *patch);
void fake_reverse(FakeKernel *k, FakeModule *m, bool value);
