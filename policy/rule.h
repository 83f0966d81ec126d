/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules of SEMANTICS.md section 4, in its order: names, what they mean, what to do about them. The
 * checks themselves are functions of rules.c's table; here is what a user of the library needs to know of
 * them.
 */
#pragma once

#include "policy/util.h"

typedef enum Rule {
        RULE_KERNEL_RELEASE,
        RULE_INTEGRITY,
        RULE_IDENTITY,
        RULE_LEVEL_ORDER,
        RULE_STATE_VERSION,
        RULE_DOWNGRADE_VERSION,
        RULE_CUMULATIVE_STATES,
        RULE_BLOCK_DISABLE,
        RULE_UNSAFE_EXCHANGE,
        RULE_IRREVERSIBLE,
        RULE_PLAIN_OVER_MANAGED,
        RULE_VENDOR,
        RULE_FOREIGN,
        RULE_FUNCTION_OVERLAP,
        RULE_REQUIRES,
        RULE_CONFLICTS,
        RULE_HOLD,
        RULE_QUARANTINE,
        RULE_BUSY,
        RULE_FORCED,
        RULE_READY,
        _RULE_MAX,
        RULE_NO_PATH = _RULE_MAX, /* no rule of policy: what a converge without a way says first; always
                                     "enforce" */
        _RULE_INVALID = -EINVAL,
} Rule;

typedef enum RuleMode {
        RULE_OFF,
        RULE_WARN,
        RULE_ENFORCE,
        _RULE_MODE_MAX,
        _RULE_MODE_INVALID = -EINVAL,
} RuleMode;

const char *rule_to_string(Rule rule); /* "kernel-release" …, also "no-path"; NULL if out of range */
Rule rule_from_string(const char *s);  /* rules of policy only */
const char *rule_mode_to_string(RuleMode mode);
RuleMode rule_mode_from_string(const char *s);

const char *rule_meaning(Rule rule);      /* one sentence: what it refuses */
const char *rule_explanation(Rule rule);  /* a few sentences: why, and what makes a request acceptable */
/* The request's flag that lifts it ("accept-irreversible" …), or NULL. */
const char *rule_override(Rule rule);
RuleMode rule_default_mode(Rule rule);    /* of the profile block-disable */
