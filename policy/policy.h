/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A policy: a mode for each rule, and the lists that some rules look at. Profiles (SEMANTICS.md section 4)
 * are nothing but policies that are shipped; the default one, block-disable, is also built in. A policy file
 * names the profile it starts from and says what is different. A Policy owns all that it points to.
 */
#pragma once

#include "policy/error.h"
#include "policy/rule.h"
#include "policy/strv.h"

#define POLICY_PROFILE_DEFAULT "block-disable"

typedef struct VendorPair {
        char *a, *b; /* either order */
} VendorPair;

typedef struct Policy {
        char *profile; /* what it started from */
        RuleMode modes[_RULE_MAX];
        VendorPair *compatible_vendors;
        size_t n_compatible_vendors;
        bool hold;           /* the whole host */
        char *hold_reason;   /* or NULL */
        char **hold_streams; /* "vendor/stream" */
        char **quarantine;   /* digests or build ids */
        bool require_signature;
        bool allow_force; /* finishing a transition by force */
} Policy;

/* The built-in profile of that name; -ENOENT. */
int policy_new_profile(const char *profile, Policy **ret);
Policy *policy_free(Policy *p); /* NULL is fine; returns NULL */
DEFINE_CLEANUP(Policy *, policy_free);
#define _cleanup_policy_free_ _cleanup_(policy_freep)

/* The default policy; static, lives for good. */
const Policy *policy_default(void);
/* Names of the profiles that are built in, NULL-terminated, static. */
const char *const *policy_profiles(void);
bool policy_vendors_compatible(const Policy *p, const char *a, const char *b);
