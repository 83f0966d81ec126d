/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one table of rules (SEMANTICS.md section 4), in the order in which they are reported, and what runs
 * it.
 */
#include "policy/evaluation.h"

typedef struct RuleInfo {
        const char *name;
        unsigned changes;  /* ChangeKind: where it applies */
        bool host;         /* about the host: speaks once, however many changes a plan has */
        bool plain_always; /* for a plain candidate the kernel itself applies it, whatever the policy says */
        RuleMode mode;     /* of the default profile, block-disable */
        const char *override;
        void (*check)(Evaluation *e);
        const char *meaning;
        const char *explanation;
} RuleInfo;

static const RuleInfo rules[_RULE_MAX] = {
        [RULE_KERNEL_RELEASE] = {
                .name = "kernel-release",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_kernel_release,
                .meaning = "The patch was built for another kernel than the running one.",
                .explanation = "A livepatch redirects functions of one exact kernel. The release that the "
                               "module was built for (its vermagic) and, where the patch names one, the "
                               "build id of its vmlinux must be those of the running kernel. Use the build "
                               "of the patch for this kernel, or boot the kernel that it was made for.",
        },
        [RULE_INTEGRITY] = {
                .name = "integrity",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_integrity,
                .meaning = "The file's content is not the one that was pinned or recorded, it isn't signed "
                           "as the policy asks, or others may write it.",
                .explanation = "The SHA-256 of the decompressed file without its appended signature must "
                               "be the one in the fleet file, or the one recorded when the patch was "
                               "imported; where the policy says require-signature, a trusted key must have "
                               "signed it; and neither the file nor a directory above it may be writable "
                               "by others than root. Import the file again if it was meant to change.",
        },
        [RULE_IDENTITY] = {
                .name = "identity",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_identity,
                .meaning = "Something else already goes by the patch's name, its level or a state's "
                           "version.",
                .explanation = "One name, one level of a stream and one version of a state stand for one "
                               "content. Refused are: a module of that name that is loaded with other "
                               "content; an enabled patch of the same stream with the same level under "
                               "another name or content; a state with the live id and version whose "
                               "block-disable or shadow flag differs. Give the new content a new name, "
                               "level or version.",
        },
        [RULE_LEVEL_ORDER] = {
                .name = "level-order",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_level_order,
                .meaning = "An apply must go to a higher level of the stream, a downgrade to a lower one.",
                .explanation = "Levels order the patches of one vendor's stream. Apply goes up, downgrade "
                               "goes down, so that nobody goes back by accident. A level of 0 on either "
                               "side isn't compared. Use the other request if the direction is meant.",
        },
        [RULE_STATE_VERSION] = {
                .name = "state-version",
                .changes = CHANGE_APPLY,
                .plain_always = true,
                .mode = RULE_ENFORCE,
                .check = check_state_version,
                .meaning = "An apply would take a live state to a lower version.",
                .explanation = "A patch understands its states up to the version that it declares: an "
                               "older one may not understand what a newer one has left in the system. The "
                               "same or a higher version is fine, and so are new states. For plain patches "
                               "the kernel applies this rule itself.",
        },
        [RULE_DOWNGRADE_VERSION] = {
                .name = "downgrade-version",
                .changes = CHANGE_DOWNGRADE,
                .plain_always = true,
                .mode = RULE_OFF,
                .check = check_downgrade_version,
                .meaning = "A downgrade would take a live state to a lower version.",
                .explanation = "The same as state-version, for downgrades; off by default, because "
                               "callbacks can take a state back (an exchange), and what can't go back says "
                               "so with block-disable. For plain patches the kernel applies this rule "
                               "itself.",
        },
        [RULE_CUMULATIVE_STATES] = {
                .name = "cumulative-states",
                .changes = CHANGE_ENABLES,
                .plain_always = true,
                .mode = RULE_OFF,
                .check = check_cumulative_states,
                .meaning = "A cumulative patch lacks a state that is live.",
                .explanation = "Mainline's rule: what replaces everything must know every live state. Off "
                               "by default, because the callbacks of the patch that goes take the state "
                               "out (remove). For plain patches the kernel applies this rule itself.",
        },
        [RULE_BLOCK_DISABLE] = {
                .name = "block-disable",
                .changes = CHANGE_ANY,
                .mode = RULE_ENFORCE,
                .check = check_block_disable,
                .meaning = "A live state that can't be reverted while the system runs would be removed, "
                           "exchanged or taken to a lower version; or one that a plain patch holds would "
                           "be removed or exchanged by a replace.",
                .explanation = "A state with block-disable stays until the next boot: only patches that "
                               "have it too, in the same or (by takeover) a higher version, may follow. "
                               "When the kernel replaces a plain patch it calls nothing of it, so nobody "
                               "would revert its states. Apply a patch that has the state, or reboot "
                               "without it.",
        },
        [RULE_UNSAFE_EXCHANGE] = {
                .name = "unsafe-exchange",
                .changes = CHANGE_ANY,
                .mode = RULE_ENFORCE,
                .check = check_unsafe_exchange,
                .meaning = "A live state would be exchanged where that can't be done safely.",
                .explanation = "An exchange takes out one version of a state and brings in another. That "
                               "is safe only in an atomic replace, and only without shadow variables on "
                               "either side, since both generations would share one id. Not in a "
                               "non-cumulative enable, and not when a disable falls back to a lower patch. "
                               "Takeover callbacks in the newer patch, or a cumulative patch, avoid it.",
        },
        [RULE_IRREVERSIBLE] = {
                .name = "irreversible",
                .changes = CHANGE_ANY,
                .mode = RULE_ENFORCE,
                .override = "accept-irreversible",
                .check = check_irreversible,
                .meaning = "A state that can't be reverted while the system runs would come in, and the "
                           "request does not accept that.",
                .explanation = "Once the transition has completed there is no way back from a state with "
                               "block-disable but a reboot. Ask for it explicitly with "
                               "--accept-irreversible.",
        },
        [RULE_PLAIN_OVER_MANAGED] = {
                .name = "plain-over-managed",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_plain_over_managed,
                .meaning = "A plain cumulative patch would replace a managed patch that holds a live "
                           "state.",
                .explanation = "The kernel calls none of the old patch's callbacks then, and its states "
                               "would be left behind without an owner; the shim's guard state makes the "
                               "kernel refuse it too. Downgrade to a managed patch without states, or "
                               "disable the managed patch first.",
        },
        [RULE_VENDOR] = {
                .name = "vendor",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .override = "allow-vendor",
                .check = check_vendor,
                .meaning = "A cumulative patch would replace another vendor's patch.",
                .explanation = "A cumulative patch replaces everything, and another vendor's fixes would "
                               "be lost without notice. Name that vendor with --allow-vendor, or list the "
                               "pair under compatible-vendors in the policy.",
        },
        [RULE_FOREIGN] = {
                .name = "foreign",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .override = "replace-foreign",
                .check = check_foreign,
                .meaning = "A cumulative patch would replace a patch that klpd did not enable and knows "
                           "nothing about.",
                .explanation = "Somebody enabled it for a reason that klpd can't see. Give klpd its "
                               "manifest, or say --replace-foreign.",
        },
        [RULE_FUNCTION_OVERLAP] = {
                .name = "function-overlap",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_function_overlap,
                .meaning = "A non-cumulative patch redirects a function that another vendor's enabled "
                           "patch redirects.",
                .explanation = "The topmost patch wins, so the other vendor's fix in that function would "
                               "be switched off without notice. Disable the other patch first, or use a "
                               "patch that has both fixes.",
        },
        [RULE_REQUIRES] = {
                .name = "requires",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_requires,
                .meaning = "Something that the patch requires would not be in the stack after the change.",
                .explanation = "A patch may require a stream (with a level), a live state or a tag of the "
                               "patches beside it; it doesn't count itself, and a cumulative patch "
                               "replaces the others. Apply what it requires first.",
        },
        [RULE_CONFLICTS] = {
                .name = "conflicts",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_conflicts,
                .meaning = "Something that the patch conflicts with would be in the stack after the "
                           "change.",
                .explanation = "A patch may exclude a stream (with a level), a live state or a tag of the "
                               "patches beside it; it doesn't count itself. Disable what it conflicts with "
                               "first.",
        },
        [RULE_HOLD] = {
                .name = "hold",
                .changes = CHANGE_ANY,
                .mode = RULE_ENFORCE,
                .check = check_hold,
                .meaning = "The host or the stream is held.",
                .explanation = "Somebody asked that nothing changes here: in the policy, in a fleet file, "
                               "or by hand. Lift the hold first.",
        },
        [RULE_QUARANTINE] = {
                .name = "quarantine",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_quarantine,
                .meaning = "This content crashed, was rejected or was rolled back on this host before.",
                .explanation = "What has done harm once isn't tried again without an operator. Use another "
                               "build, or take the content out of quarantine.",
        },
        [RULE_BUSY] = {
                .name = "busy",
                .changes = CHANGE_ANY,
                .host = true,
                .mode = RULE_ENFORCE,
                .check = check_busy,
                .meaning = "Another transition is under way.",
                .explanation = "The kernel does one transition at a time. Wait for it (klpctl blocking "
                               "shows what it waits for), or cancel it.",
        },
        [RULE_FORCED] = {
                .name = "forced",
                .changes = CHANGE_ANY,
                .mode = RULE_ENFORCE,
                .check = check_forced,
                .meaning = "A transition was forced, and the change would remove or enable again what that "
                           "has pinned.",
                .explanation = "After a forced transition tasks may still run the old code: its module and "
                               "its states stay for good. Reboot to get rid of it.",
        },
        [RULE_READY] = {
                .name = "ready",
                .changes = CHANGE_ENABLES,
                .mode = RULE_ENFORCE,
                .check = check_ready,
                .meaning = "The kernel can't do it now.",
                .explanation = "Livepatching needs ftrace, reliable stacks, the right to load this module, "
                               "no kprobe on a function to be patched and, for managed patches, the shim. "
                               "The message says which is missing and who refuses.",
        },
};

static const char *const rule_modes[_RULE_MODE_MAX] = {
        [RULE_OFF] = "off",
        [RULE_WARN] = "warn",
        [RULE_ENFORCE] = "enforce",
};

const char *rule_to_string(Rule rule) {
        if (rule == RULE_NO_PATH)
                return "no-path";
        return rule >= 0 && rule < _RULE_MAX ? rules[rule].name : NULL;
}

Rule rule_from_string(const char *s) {
        for (int i = 0; i < _RULE_MAX; i++)
                if (streq(rules[i].name, s))
                        return (Rule) i;
        return _RULE_INVALID;
}

const char *rule_mode_to_string(RuleMode mode) {
        return mode >= 0 && mode < _RULE_MODE_MAX ? rule_modes[mode] : NULL;
}

RuleMode rule_mode_from_string(const char *s) {
        for (int i = 0; i < _RULE_MODE_MAX; i++)
                if (streq(rule_modes[i], s))
                        return (RuleMode) i;
        return _RULE_MODE_INVALID;
}

const char *rule_meaning(Rule rule) {
        return rule >= 0 && rule < _RULE_MAX ? rules[rule].meaning : NULL;
}

const char *rule_explanation(Rule rule) {
        return rule >= 0 && rule < _RULE_MAX ? rules[rule].explanation : NULL;
}

const char *rule_override(Rule rule) {
        return rule >= 0 && rule < _RULE_MAX ? rules[rule].override : NULL;
}

RuleMode rule_default_mode(Rule rule) {
        return rule >= 0 && rule < _RULE_MAX ? rules[rule].mode : RULE_OFF;
}

void rules_check(Evaluation *e) {
        const Patch *candidate = e->change.kind != CHANGE_DISABLE ? e->change.patch : NULL;
        bool plain = candidate && candidate->kind == PATCH_PLAIN;

        for (int i = 0; i < _RULE_MAX; i++) {
                const RuleInfo *rule = &rules[i];

                if (!(rule->changes & e->change.kind) || (rule->host && e->index > 0))
                        continue;
                e->mode = rule->plain_always && plain ? RULE_ENFORCE : e->policy->modes[i];
                if (e->mode == RULE_OFF)
                        continue;
                e->rule = (Rule) i;
                rule->check(e);
        }
}

Violation *violate(Evaluation *e, const Patch *patch) {
        Plan *p = e->plan;
        Violation *v = &e->spare;

        if (p->n_violations >= e->violations_room) {
                size_t room = e->violations_room > 0 ? 2 * e->violations_room : 8;
                Violation *bigger = arena_alloc(e->arena, room, sizeof(*bigger));

                if (bigger) {
                        if (p->n_violations > 0)
                                memcpy(bigger, p->violations, p->n_violations * sizeof(*bigger));
                        p->violations = bigger;
                        e->violations_room = room;
                }
        }
        if (p->n_violations < e->violations_room)
                v = &p->violations[p->n_violations++];

        *v = (Violation) { .rule = e->rule, .mode = e->mode, .patch = patch ? patch->name : NULL };
        return v;
}

void violation_set_state(Violation *v, const PatchState *s) {
        v->has_state = true;
        v->state = s->id;
        v->state_name = s->name;
}

const char *state_text(Evaluation *e, const PatchState *s) {
        if (s->name)
                return TEXT(e, "state %" PRIu64 " (%s)", s->id, s->name);
        return TEXT(e, "state %" PRIu64, s->id);
}
