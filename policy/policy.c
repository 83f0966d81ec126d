/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Policies and the profiles that are built in. policy/profiles/NAME.json are the same, as files; a test
 * holds the two together.
 */
#include "policy/policy.h"

typedef struct Profile {
        const char *name;
        RuleMode level_order, state_version, downgrade_version, cumulative_states, block_disable,
                        irreversible;
} Profile;

/* SEMANTICS.md section 4: a profile is nothing but modes; what it doesn't name is "enforce" in all three. */
static const Profile profiles[] = {
        { "upstream", RULE_ENFORCE, RULE_ENFORCE, RULE_ENFORCE, RULE_ENFORCE, RULE_OFF, RULE_OFF },
        { "block-disable", RULE_ENFORCE, RULE_ENFORCE, RULE_OFF, RULE_OFF, RULE_ENFORCE, RULE_ENFORCE },
        { "level-only", RULE_ENFORCE, RULE_OFF, RULE_OFF, RULE_OFF, RULE_OFF, RULE_OFF },
};

static const char *const profile_names[] = { "upstream", "block-disable", "level-only", NULL };

const char *const *policy_profiles(void) {
        return profile_names;
}

static void set_modes(Policy *p, const Profile *profile) {
        for (int i = 0; i < _RULE_MAX; i++)
                p->modes[i] = RULE_ENFORCE;
        p->modes[RULE_LEVEL_ORDER] = profile->level_order;
        p->modes[RULE_STATE_VERSION] = profile->state_version;
        p->modes[RULE_DOWNGRADE_VERSION] = profile->downgrade_version;
        p->modes[RULE_CUMULATIVE_STATES] = profile->cumulative_states;
        p->modes[RULE_BLOCK_DISABLE] = profile->block_disable;
        p->modes[RULE_IRREVERSIBLE] = profile->irreversible;
}

int policy_new_profile(const char *profile, Policy **ret) {
        _cleanup_policy_free_ Policy *p = NULL;
        size_t i;

        for (i = 0; i < ELEMENTSOF(profiles); i++)
                if (streq(profiles[i].name, profile))
                        break;
        if (i >= ELEMENTSOF(profiles))
                return -ENOENT;

        p = calloc(1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        p->profile = strdup(profile);
        if (!p->profile)
                return -ENOMEM;
        set_modes(p, &profiles[i]);
        *ret = TAKE_PTR(p);
        return 0;
}

Policy *policy_free(Policy *p) {
        if (!p)
                return NULL;
        for (size_t i = 0; i < p->n_compatible_vendors; i++) {
                free(p->compatible_vendors[i].a);
                free(p->compatible_vendors[i].b);
        }
        free(p->compatible_vendors);
        free(p->hold_reason);
        strv_free(p->hold_streams);
        strv_free(p->quarantine);
        free(p->profile);
        free(p);
        return NULL;
}

const Policy *policy_default(void) {
        static char name[] = POLICY_PROFILE_DEFAULT;
        static Policy policy;

        if (!policy.profile) {
                for (size_t i = 0; i < ELEMENTSOF(profiles); i++)
                        if (streq(profiles[i].name, name))
                                set_modes(&policy, &profiles[i]);
                policy.profile = name;
        }
        return &policy;
}

bool policy_vendors_compatible(const Policy *p, const char *a, const char *b) {
        for (size_t i = 0; i < p->n_compatible_vendors; i++) {
                const VendorPair *v = &p->compatible_vendors[i];

                if ((streq(v->a, a) && streq(v->b, b)) || (streq(v->a, b) && streq(v->b, a)))
                        return true;
        }
        return false;
}
