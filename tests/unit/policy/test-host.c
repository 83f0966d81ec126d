/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The rules that look at the host and at the candidate's file, which no JSON describes: `ready`,
 * `integrity`, and what a host's own hold and quarantine add to the policy's. Each starts from a plan that
 * is allowed and changes one fact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "policy/plan.h"
#include "shim/klp_shim_abi.h"

typedef struct Setup {
        Inventory *inventory;
        Patch *managed, *plain, *old;
        Policy *policy;
        HostFacts host;
        FileFacts file;
        Request request;
        Plan *plan;
} Setup;

static int setup(void **state) {
        Setup *s = calloc(1, sizeof(*s));

        assert_non_null(s);
        assert_int_equal(inventory_new("6.1.0-47-amd64", &s->inventory), 0);
        assert_int_equal(patch_new("managed", &s->managed), 0);
        s->managed->cumulative = true;
        s->managed->level = 2;
        assert_int_equal(free_and_strdup(&s->managed->digest, "aabb"), 0);
        assert_int_equal(free_and_strdup(&s->managed->build_id, "0123"), 0);
        assert_int_equal(patch_add_function(s->managed, "vmlinux", "ip_options_get", 0), 0);
        assert_int_equal(patch_new("plain", &s->plain), 0);
        s->plain->kind = PATCH_PLAIN;
        s->plain->cumulative = true;
        assert_int_equal(patch_new("old", &s->old), 0);
        s->old->level = 1;
        assert_int_equal(inventory_push(s->inventory, s->old), 0);
        assert_int_equal(policy_new_profile(POLICY_PROFILE_DEFAULT, &s->policy), 0);
        host_facts_init(&s->host);
        s->request = (Request) { .kind = REQUEST_APPLY, .candidate = s->managed };
        assert_int_equal(plan_new(&s->plan), 0);
        *state = s;
        return 0;
}

static int teardown(void **state) {
        Setup *s = *state;

        plan_free(s->plan);
        policy_free(s->policy);
        patch_unref(s->old);
        patch_unref(s->plain);
        patch_unref(s->managed);
        inventory_free(s->inventory);
        free(s);
        return 0;
}

static void make_plan(Setup *s) {
        const PlanInput input = {
                        .policy = s->policy,
                        .inventory = s->inventory,
                        .host = &s->host,
                        .file = &s->file,
                        .request = &s->request,
        };

        assert_int_equal(plan_rebuild(s->plan, &input, NULL), 0);
}

static void check_allowed(Setup *s) {
        make_plan(s);
        if (s->plan->n_violations > 0)
                assert_string_equal(s->plan->violations[0].message, "(nothing)");
        assert_int_equal(s->plan->verdict, VERDICT_ALLOW);
}

static void check_refused(Setup *s, Rule rule, const char *part) {
        make_plan(s);
        assert_int_equal(s->plan->verdict, VERDICT_REFUSE);
        assert_int_equal(s->plan->n_violations, 1);
        assert_int_equal(s->plan->violations[0].rule, rule);
        assert_non_null(s->plan->violations[0].have);
        assert_non_null(s->plan->violations[0].want);
        assert_non_null(s->plan->violations[0].remedy);
        if (!strstr(s->plan->violations[0].message, part))
                assert_string_equal(s->plan->violations[0].message, part);
        assert_int_equal(s->plan->n_steps, 0);
}

static void test_an_unsuspicious_host_is_ready(void **state) {
        check_allowed(*state);
}

static void test_each_missing_ability_of_the_kernel_is_named(void **state) {
        Setup *s = *state;

        s->host.livepatch = false;
        s->host.ftrace_enabled = false; /* follows from that: one message */
        check_refused(s, RULE_READY, "no livepatch support");
        host_facts_init(&s->host);
        s->host.ftrace_enabled = false;
        check_refused(s, RULE_READY, "ftrace is switched off");
        host_facts_init(&s->host);
        s->host.reliable_stacks = false;
        check_refused(s, RULE_READY, "no reliable stack traces");
        host_facts_init(&s->host);
        s->host.modules_disabled = true;
        check_refused(s, RULE_READY, "loads no modules any more");
        host_facts_init(&s->host);
        s->host.in_container = true;
        check_refused(s, RULE_READY, "container");
}

static void test_all_that_is_missing_is_reported_at_once(void **state) {
        Setup *s = *state;

        s->host.ftrace_enabled = s->host.reliable_stacks = false;
        s->host.modules_disabled = true;
        s->host.shim_abi = 0;
        make_plan(s);
        assert_int_equal(s->plan->n_violations, 4);
}

static void test_a_managed_patch_needs_the_shim_of_this_abi(void **state) {
        Setup *s = *state;

        s->host.shim_abi = 0;
        s->host.shim_problem = "module not found";
        check_refused(s, RULE_READY, "module not found");
        s->host.shim_abi = KLP_SHIM_ABI + 1;
        check_refused(s, RULE_READY, "klp_shim has ABI");
        s->request.candidate = s->plain;
        check_allowed(s);
}

static void test_a_kprobe_on_a_target_is_named_and_elsewhere_ignored(void **state) {
        const PatchFunction on[] = {{.object = (char *) "vmlinux", .function = (char *) "ip_options_get"}};
        const PatchFunction off[] = { { .object = (char *) "nfs", .function = (char *) "ip_options_get" },
                                      { .object = (char *) "vmlinux", .function = (char *) "ip_options" } };
        Setup *s = *state;

        s->host.kprobes = off;
        s->host.n_kprobes = 2;
        check_allowed(s);
        s->host.kprobes = on;
        s->host.n_kprobes = 1;
        check_refused(s, RULE_READY, "a kprobe sits on ip_options_get");
        assert_string_equal(s->plan->violations[0].function, "vmlinux:ip_options_get");
}

static void test_required_signatures_name_who_requires_them(void **state) {
        Setup *s = *state;

        s->host.signatures_required = true;
        s->host.signatures_required_by = "lockdown=integrity";
        s->file.module_signature = SIGNATURE_GOOD;
        check_allowed(s);
        s->file.module_signature = SIGNATURE_MISSING;
        check_refused(s, RULE_READY, "lockdown=integrity requires signed modules");
        s->file.module_signature = SIGNATURE_WRONG;
        check_refused(s, RULE_READY, "none that the kernel accepts");
        s->host.signatures_required = false;
        check_allowed(s);
}

static void test_an_lsm_that_refuses_the_file_is_named(void **state) {
        Setup *s = *state;

        s->file.lsm = "loadpin";
        check_refused(s, RULE_READY, "loadpin");
}

static void test_a_disable_needs_none_of_that(void **state) {
        Setup *s = *state;

        s->host.ftrace_enabled = s->host.reliable_stacks = false;
        s->host.modules_disabled = true;
        s->request = (Request) { .kind = REQUEST_DISABLE, .patch = "old" };
        check_allowed(s);
}

static void test_content_must_be_the_pinned_one(void **state) {
        Setup *s = *state;

        s->file.pinned_digest = "aabb";
        s->file.pinned_by = "the import";
        check_allowed(s);
        s->file.pinned_digest = "aabc";
        check_refused(s, RULE_INTEGRITY, "the import says aabc");
        assert_int_equal(free_and_strdup(&s->managed->digest, NULL), 0);
        check_refused(s, RULE_INTEGRITY, "unknown"); /* what wasn't measured can't be trusted */
}

static void test_a_signature_is_needed_only_where_the_policy_says_so(void **state) {
        Setup *s = *state;

        s->file.signature = SIGNATURE_MISSING;
        check_allowed(s);
        s->policy->require_signature = true;
        check_refused(s, RULE_INTEGRITY, "no signature");
        s->file.signature = SIGNATURE_WRONG;
        check_refused(s, RULE_INTEGRITY, "can't be trusted");
        s->file.signature = SIGNATURE_UNKNOWN;
        check_refused(s, RULE_INTEGRITY, "not checked");
        s->file.signature = SIGNATURE_GOOD;
        check_allowed(s);
}

static void test_a_file_that_others_may_write_is_refused(void **state) {
        Setup *s = *state;

        s->file.writable_path = "/var/lib/klpd/patches";
        check_refused(s, RULE_INTEGRITY, "/var/lib/klpd/patches");
}

static void test_a_hold_of_the_host_or_of_a_stream_refuses(void **state) {
        char *streams[] = { (char *) "acme/x", (char *) "local/base", NULL };
        Setup *s = *state;

        s->host.held = true;
        s->host.hold_reason = "change freeze";
        check_refused(s, RULE_HOLD, "change freeze");
        host_facts_init(&s->host);
        s->host.held_streams = streams;
        check_refused(s, RULE_HOLD, "local/base is held");
        streams[1] = (char *) "local/bases";
        check_allowed(s);
}

static void test_content_in_the_hosts_quarantine_is_refused(void **state) {
        char *list[] = { (char *) "ffff", (char *) "0123", NULL };
        Setup *s = *state;

        s->host.quarantine = list;
        check_refused(s, RULE_QUARANTINE, "quarantine"); /* by build id */
        list[1] = (char *) "aabb";
        check_refused(s, RULE_QUARANTINE, "quarantine"); /* by digest */
        list[1] = (char *) "aab";
        check_allowed(s);
}

static void test_what_is_not_known_is_not_checked(void **state) {
        Setup *s = *state;
        const PlanInput offline = { .policy = s->policy, .inventory = s->inventory, .request = &s->request };

        s->policy->require_signature = true;
        assert_int_equal(plan_rebuild(s->plan, &offline, NULL), 0);
        assert_int_equal(s->plan->verdict, VERDICT_ALLOW);
}

static void test_a_plan_outlives_what_it_was_made_of(void **state) {
        Setup *s = *state;

        check_allowed(s);
        s->inventory = inventory_free(s->inventory);
        s->managed = patch_unref(s->managed);
        s->old = patch_unref(s->old);
        s->policy = policy_free(s->policy);
        assert_string_equal(s->plan->candidate->name, "managed");
        assert_string_equal(s->plan->functions[0].function, "ip_options_get");
        assert_string_equal(s->plan->steps[0].patch, "managed");
}

static void test_a_guarded_state_refuses_a_plain_patch_where_the_policy_would_not(void **state) {
        Setup *s = *state;

        s->request.candidate = s->plain;
        assert_int_equal(patch_add_state(s->plain, 7, 1, 0, NULL), 0);
        check_allowed(s);
        assert_int_equal(patch_add_state(s->old, 7, 1, 0, NULL), 0);
        check_refused(s, RULE_PLAIN_OVER_MANAGED, "would replace old, which holds state 7");
        s->policy->modes[RULE_PLAIN_OVER_MANAGED] = RULE_OFF;
        check_refused(s, RULE_READY, "old holds states, and klp_shim guards them");
        s->host.shim_abi = 0; /* then there is no guard */
        check_allowed(s);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_an_unsuspicious_host_is_ready),
                TEST(test_each_missing_ability_of_the_kernel_is_named),
                TEST(test_all_that_is_missing_is_reported_at_once),
                TEST(test_a_managed_patch_needs_the_shim_of_this_abi),
                TEST(test_a_kprobe_on_a_target_is_named_and_elsewhere_ignored),
                TEST(test_required_signatures_name_who_requires_them),
                TEST(test_an_lsm_that_refuses_the_file_is_named),
                TEST(test_a_disable_needs_none_of_that),
                TEST(test_a_guarded_state_refuses_a_plain_patch_where_the_policy_would_not),
                TEST(test_content_must_be_the_pinned_one),
                TEST(test_a_signature_is_needed_only_where_the_policy_says_so),
                TEST(test_a_file_that_others_may_write_is_refused),
                TEST(test_a_hold_of_the_host_or_of_a_stream_refuses),
                TEST(test_content_in_the_hosts_quarantine_is_refused),
                TEST(test_what_is_not_known_is_not_checked),
                TEST(test_a_plan_outlives_what_it_was_made_of),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
