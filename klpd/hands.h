/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What klpd's core needs from the kernel, and from the programs that act on it for klpd, as one small
 * interface. The real hands (hands-kernel.c) are the shim's client, the livepatch files of sysfs,
 * klpd-helper and the sandboxed inspector; unit and bus tests have hands that play a kernel
 * (tests/unit/klpd/fake-hands.c): what those can't show, the VM scenarios do with the real ones.
 *
 * Reading is done at once: dumps and small files. What changes something, and what parses hostile bytes, is
 * only started: the callback comes later from the event loop, exactly once, never from within the call that
 * started it; if that call returns a negative errno, never. Changes are made one after the other.
 */
#pragma once

#include "klpd/helper-client.h"
#include "klpd/inspect-client.h"
#include "klpd/shim-client.h"
#include "klpd/signature-client.h"
#include "policy/model.h"

typedef struct Hands Hands;
typedef struct HandsInspection HandsInspection;
typedef struct HandsSignature HandsSignature;

/* What the kernel says of one patch: sysfs, the module, and the shim where it knows it. */
typedef struct KernelPatch {
        bool module;       /* a module of that name is loaded; what is built in is none */
        int refcount;      /* of the module; -1: can't be unloaded, or is being */
        bool listed;       /* /sys/kernel/livepatch/NAME is there */
        bool enabled;      /* its "enabled" reads 1 */
        bool transition;   /* its "transition" reads 1 */
        bool registered;   /* with the shim */
        uint32_t flags;    /* KLP_SHIM_PATCH_*, if registered */
} KernelPatch;

/* The kernel apart from what is on the stack: for the properties on the bus. */
typedef struct KernelStatus {
        bool livepatch;         /* /sys/kernel/livepatch is there */
        uint32_t shim_abi;      /* 0: the shim isn't there */
        char shim_problem[384]; /* why, or "" */
        uint64_t generation;    /* 0 without the shim */
} KernelStatus;

/* r < 0: it failed, and text says in words why, as far as that is known (else ""). What hands_lost() names
 * isn't known to have failed: who acts looks at the kernel then. */
typedef void (*HandsCallback)(int r, const char *text, void *userdata);

/* As InspectCallback of inspect-client.h: result is NULL on error and borrowed otherwise. */
typedef void (*HandsInspectCallback)(int r, const char *text, const InspectResult *result, void *userdata);

typedef struct HandsListener {
        void (*event)(const ShimEvent *event, void *userdata);
        void (*resync)(void *userdata);  /* events were lost, or the shim came or went: read again */
        /* The metadata of a plain patch by the name and build id (may be NULL) of its module; borrowed,
         * or NULL. */
        Patch *(*lookup)(const char *name, const char *build_id, void *userdata);
        void *userdata;
} HandsListener;

typedef struct HandsVTable {
        Hands *(*free)(Hands *h);
        void (*listen)(Hands *h, const HandsListener *listener);
        /* From the configuration: a bound for each change, and settle assist (0 CPUs: off). */
        void (*configure)(Hands *h, uint64_t deadline_usec, unsigned assist_cpus);

        bool (*has_livepatch)(Hands *h); /* the kernel: /sys/kernel/livepatch is there */
        int (*read_status)(Hands *h, KernelStatus *ret);
        int (*read_inventory)(Hands *h, Inventory **ret);
        /* All but hold and quarantine; strings live until the next call. */
        int (*read_host_facts)(Hands *h, HostFacts *ret);
        int (*read_patch)(Hands *h, const char *name, KernelPatch *ret);
        /* What is registered with the shim, on the stack or not, and what states live; without shim:
         * -ENOENT. */
        int (*read_snapshot)(Hands *h, ShimSnapshot **ret);
        int (*read_tasks)(Hands *h, ShimTask **ret, size_t *ret_n);

        /* fd: sealed memfd of a module file as it is on disk. */
        int (*inspect)(Hands *h, int fd, HandsInspectCallback callback, void *userdata,
                       HandsInspection **ret);
        /* Ends it without a callback. Also frees one that has called back. */
        HandsInspection *(*inspect_free)(HandsInspection *i);
        /* Who signed a module or a fleet document: signature-client.h, where the use is shown. */
        int (*check_signature)(Hands *h, const SignatureSpec *spec, SignatureCallback callback, void *userdata,
                               HandsSignature **ret);
        /* Ends it without a callback. Also frees one that has called back. */
        HandsSignature *(*signature_free)(HandsSignature *s);

        /* A change of the kernel is being prepared: whoever makes it may get up meanwhile. For speed only. */
        void (*wake)(Hands *h);
        int (*load_shim)(Hands *h, HandsCallback callback, void *userdata);
        /* assist: a plain patch, which is enabled by being loaded. */
        int (*load)(Hands *h, int module_fd, const char *name, bool assist, HandsCallback callback,
                    void *userdata);
        /* With settle assist. */
        int (*enable)(Hands *h, const char *name, uint64_t generation, HandsCallback callback,
                      void *userdata);
        /* assist: not for reversals. */
        int (*write_enabled)(Hands *h, const char *name, bool value, bool assist, HandsCallback callback,
                             void *userdata);
        /* Ends the transition under way, which has to be that patch's, by force. */
        int (*force)(Hands *h, const char *name, HandsCallback callback, void *userdata);
        int (*unload)(Hands *h, const char *name, HandsCallback callback, void *userdata);
        int (*read_stacks)(Hands *h, const HelperTask *tasks, size_t n, HelperStacksCallback callback,
                           void *userdata);
} HandsVTable;

/* First member of every kind of hands. */
struct Hands {
        const HandsVTable *vtable;
};

static inline Hands *hands_free(Hands *h) {
        return h ? h->vtable->free(h) : NULL;
}
DEFINE_CLEANUP(Hands *, hands_free);

/* root_fd: "/"; duplicated. socket_path, inspect_program: NULL for the installed ones. */
int hands_kernel_new(sd_event *event, int root_fd, const char *socket_path, const char *inspect_program,
                     Hands **ret);

/* The helper went with the request (-ECONNRESET, -EBADMSG: by now it is done or never will be) or hangs in it
 * (-ETIMEDOUT: it may still be done): only the kernel tells what became of it. */
static inline bool hands_lost(int r) {
        return r == -ECONNRESET || r == -EBADMSG || r == -ETIMEDOUT;
}

/* The result of an unload(), after a look at the kernel if that is needed. */
static inline int hands_unload_result(Hands *h, const char *name, int r) {
        KernelPatch kernel;

        return hands_lost(r) && h->vtable->read_patch(h, name, &kernel) >= 0 && !kernel.module ? 0 : r;
}

/* The shim's snapshot for one name, or NULL; borrowed. */
static inline const ShimPatch *shim_snapshot_find(const ShimSnapshot *s, const char *name) {
        for (size_t i = 0; s && i < s->n_patches; i++)
                if (patch_name_equal(s->patches[i].patch->name, name))
                        return &s->patches[i];
        return NULL;
}
