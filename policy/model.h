/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The model that everything is decided on: patches, what the kernel runs (the inventory), and what else is
 * known of the host and of the candidate's file. Words and defaults are those of SEMANTICS.md section 1.
 *
 * Ownership: a Patch is reference-counted (not atomically: one thread), so that repository, inventory,
 * request and plan share it. It is built with patch_new() and patch_add_*(), plain fields are assigned with
 * free_and_strdup() or directly (strings: malloc'ed, owned by the patch), and it isn't changed any more once
 * somebody else holds a reference. An Inventory owns its strings and a reference on each patch. Nothing here
 * does I/O.
 *
 * Errors: -ENOMEM, -EINVAL (not a possible name, version …), -EEXIST (a state id or function twice), -E2BIG
 * (bound).
 */
#pragma once

#include "policy/strv.h"
#include "policy/util.h"

/* Bounds that every reader keeps to; names are those of the shim's ABI (KLP_SHIM_NAME_LEN, with the NUL). */
#define PATCH_NAME_MAX 63U
#define PATCH_STRING_MAX 1024U /* summary, function, tag … */
#define PATCH_STATES_MAX 8192U
#define PATCH_FUNCTIONS_MAX 8192U
#define PATCH_LIST_MAX 4096U /* fixes, requires, conflicts, tags */
#define INVENTORY_PATCHES_MAX 4096U

#define PATCH_VENDOR_DEFAULT "local"
#define PATCH_STREAM_DEFAULT "base"

typedef enum PatchKind {
        PATCH_MANAGED,
        PATCH_PLAIN,
        PATCH_FOREIGN,
        _PATCH_KIND_MAX,
        _PATCH_KIND_INVALID = -EINVAL,
} PatchKind;

const char *patch_kind_to_string(PatchKind kind); /* "managed" …; NULL if out of range */
PatchKind patch_kind_from_string(const char *s);

/* PatchState.flags; the same bits as KLP_SHIM_STATE_* of shim/klp_shim_abi.h (asserted in model.c). */
#define PATCH_STATE_BLOCK_DISABLE (1U << 0)
#define PATCH_STATE_SHADOW (1U << 1)
#define PATCH_STATE_TAKEOVER (1U << 2)
#define PATCH_STATE_FLAGS_ALL (PATCH_STATE_BLOCK_DISABLE | PATCH_STATE_SHADOW | PATCH_STATE_TAKEOVER)

/* One bit: "block-disable", "shadow", "takeover", or NULL; back: 0 is unknown. */
const char *patch_state_flag_to_string(uint32_t flag);
uint32_t patch_state_flag_from_string(const char *s);

typedef struct PatchState {
        uint64_t id;
        uint32_t version;
        uint32_t flags;
        char *name; /* or NULL */
} PatchState;

typedef struct PatchFunction {
        char *object; /* "vmlinux" or a module */
        char *function;
        uint32_t sympos;
        uint32_t hash; /* of object and function; set by patch_add_function() */
} PatchFunction;

typedef struct Patch {
        unsigned n_ref;
        char *name;   /* the module's name as the kernel shows it: '-' is '_' */
        char *kernel; /* release that it was built for (vermagic); NULL: not known, not compared */
        char *vendor, *stream; /* never NULL; "" for a foreign patch */
        uint32_t level;
        bool cumulative;
        PatchKind kind;
        PatchState *states;
        size_t n_states;
        uint64_t highest_state; /* id; kept by patch_add_state() */
        PatchFunction *functions;
        size_t n_functions;
        char **fixes, **requires, **conflicts, **tags;
        char *summary, *severity; /* or NULL */

        /* What tells contents apart; lower-case hex, NULL: not known. */
        char *build_id;        /* of the module */
        char *srcversion;      /* of the module, where it has no build id */
        char *digest;          /* SHA-256 of the decompressed file without an appended signature */
        char *kernel_build_id; /* of the vmlinux that it was built for */

        /* In an inventory only. */
        bool forced; /* a forced transition has pinned it */
        bool orphan; /* not enabled: stands for the orphaned states that it still holds, which are all of its
                      * states; orphans come first in Inventory.patches */
} Patch;

/* Vendor, stream, kind as by default: local/base, managed, cumulative false, level 0. */
int patch_new(const char *name, Patch **ret);
Patch *patch_ref(Patch *p);   /* NULL is fine */
Patch *patch_unref(Patch *p); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Patch *, patch_unref);
#define _cleanup_patch_unref_ _cleanup_(patch_unrefp)

int patch_add_state(Patch *p, uint64_t id, uint32_t version, uint32_t flags, const char *name);
int patch_add_function(Patch *p, const char *object, const char *function, uint32_t sympos);
int patch_add_string(char ***list, const char *s); /* &p->fixes, &p->requires …; checks text and bound */
const PatchState *patch_find_state(const Patch *p, uint64_t id);

/* True if a string is a possible patch, vendor, stream, state or module name: 1..63 bytes of
 * [A-Za-z0-9_.+-]. */
bool patch_name_is_valid(const char *s);
/* Names compare as module names do: '-' and '_' are the same. */
bool patch_name_equal(const char *a, const char *b);
bool patch_same_stream(const Patch *a, const Patch *b); /* a foreign patch is in no stream */
/* < 0, 0, > 0: vendor, stream, level (numbers, not text), name. For sorting a repository. */
int patch_compare(const Patch *a, const Patch *b);

/* Whether two patches of one name have the same content, by what is known of both: digest, build id,
 * srcversion; where none of these is known of both, by their metadata. */
bool patch_same_content(const Patch *a, const Patch *b);
/* Reads "vendor/stream" (both valid names). Outputs are malloc'ed. */
int patch_parse_stream(const char *s, char **ret_vendor, char **ret_stream);

/* A livepatch module that is in the kernel but not on the stack. Only name is required. */
typedef struct LoadedModule {
        char *name, *build_id, *srcversion;
        bool forced; /* left by force: never enabled again */
} LoadedModule;

/* What the kernel runs now. patches: bottom of the stack first (after the orphans, if any). */
typedef struct Inventory {
        char *kernel;          /* release; never NULL */
        char *kernel_build_id; /* of /sys/kernel/notes, or NULL */
        uint64_t generation;   /* the shim's; 0: no shim */
        char *transition;      /* patch in transition, or NULL */
        Patch **patches;
        size_t n_patches;
        LoadedModule *loaded;
        size_t n_loaded;
} Inventory;

int inventory_new(const char *kernel, Inventory **ret);
Inventory *inventory_free(Inventory *i); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Inventory *, inventory_free);
#define _cleanup_inventory_free_ _cleanup_(inventory_freep)

/* On top of the stack; takes a reference of its own. -EEXIST: that name is on it. */
int inventory_push(Inventory *i, Patch *p);
int inventory_add_loaded(Inventory *i, const char *name, const char *build_id, const char *srcversion,
                         bool forced);
/* The enabled patch of that name (no orphans), or NULL. */
Patch *inventory_find(const Inventory *i, const char *name);
/* Highest level of that stream on the stack, 0 and false if none of it is enabled. */
bool inventory_level(const Inventory *i, const char *vendor, const char *stream, uint32_t *ret_level);

/*
 * What else of the host matters to the rule `ready` (SEMANTICS.md section 4), to `hold` and to `quarantine`.
 * Strings are owned by the caller and not copied by plan_build(). A zeroed HostFacts is a host that can do
 * nothing: host_facts_init() sets what an unsuspicious host has.
 */
typedef struct HostFacts {
        bool livepatch;           /* CONFIG_LIVEPATCH: /sys/kernel/livepatch is there */
        bool reliable_stacks;     /* HAVE_RELIABLE_STACKTRACE */
        bool ftrace_enabled;      /* /proc/sys/kernel/ftrace_enabled */
        bool modules_disabled;    /* /proc/sys/kernel/modules_disabled */
        bool signatures_required; /* module.sig_enforce, or lockdown */
        const char *signatures_required_by; /* "module.sig_enforce", "lockdown=integrity" …; for the message,
                                               or NULL */
        bool in_container;
        uint32_t shim_abi;        /* 0: the shim is not there */
        const char *shim_problem; /* why it isn't, or NULL */
        const PatchFunction *kprobes; /* functions that a kprobe sits on; hash not needed */
        size_t n_kprobes;
        bool held;               /* by the operator or the fleet */
        const char *hold_reason; /* or NULL */
        char *const *held_streams;     /* "vendor/stream" */
        char *const *quarantine;       /* digests or build ids of contents, lower-case hex */
} HostFacts;

void host_facts_init(HostFacts *h);

typedef enum SignatureStatus {
        SIGNATURE_UNKNOWN, /* not looked at */
        SIGNATURE_MISSING,
        SIGNATURE_WRONG,     /* there, but broken, or by nobody who is trusted */
        SIGNATURE_GOOD,
} SignatureStatus;

/* What is known of the candidate's file. A zeroed one knows nothing. Strings are the caller's. */
typedef struct FileFacts {
        const char *path;           /* for messages, or NULL */
        const char *pinned_digest;  /* what the fleet file says, or what import recorded; NULL: nothing */
        const char *pinned_by;      /* "import", "fleet file /etc/…"; for the message, or NULL */
        const char *writable_path;  /* the file or the directory above it that others may write, or NULL */
        SignatureStatus signature;        /* by the keys that klpd trusts */
        const char *signature_problem;    /* why it isn't good, a clause ("it was signed by …"); or NULL */
        SignatureStatus module_signature; /* appended, as the kernel would check it */
        const char *lsm; /* name of the LSM that refuses this file (loadpin, ima, selinux …), or NULL */
} FileFacts;
