/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shim/klp_shim_diff.c against SEMANTICS.md sections 2 and 3. Stacks are written as tables; what comes out
 * is written down as text, "P0.1 pre_patch" being the call of that callback of state 1 by patch P0 ("N" is
 * the new patch), so that a failing test shows both lists. Besides the named cases, random changes are held
 * against a slow second implementation that follows the text of the specification and shares no code with
 * the first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "policy/util.h"
#include "shim/klp_shim_abi.h"
#include "shim/klp_shim_diff.h"

#define BD KLP_SHIM_STATE_BLOCK_DISABLE
#define SH KLP_SHIM_STATE_SHADOW
#define TO KLP_SHIM_STATE_TAKEOVER

#define MAX_ENTRIES 256U

#define STATES(...) ((const struct klp_diff_state[]){ __VA_ARGS__ })
#define N_STATES(...) ((u32) (sizeof(STATES(__VA_ARGS__)) / sizeof(struct klp_diff_state)))
#define PATCH(...) { .states = STATES(__VA_ARGS__), .n_states = N_STATES(__VA_ARGS__), .managed = true }
#define PLAIN(...) { .states = STATES(__VA_ARGS__), .n_states = N_STATES(__VA_ARGS__), .managed = false }
#define EMPTY() { .states = NULL, .n_states = 0, .managed = true }

static void append(char *buf, size_t size, const char *format, ...) _printf_(3, 4);

static void append(char *buf, size_t size, const char *format, ...) {
        size_t used = strlen(buf);
        va_list ap;

        va_start(ap, format);
        assert_true(vsnprintf(buf + used, size - used, format, ap) < (int) (size - used));
        va_end(ap);
}

static void append_patch(const struct klp_diff_change *change, u32 patch, char *buf, size_t size) {
        if (patch == KLP_DIFF_NONE)
                append(buf, size, "-");
        else if (change->op != KLP_DIFF_DISABLE && patch == change->n_stack)
                append(buf, size, "N");
        else
                append(buf, size, "P%u", patch);
}

static void format_fates(const struct klp_diff_change *change, const struct klp_diff_entry *entries, u32 n,
                         char *buf, size_t size) {
        buf[0] = 0;
        for (u32 i = 0; i < n; i++) {
                append(buf, size, "%s%llu:%s ", i ? ", " : "", (unsigned long long) entries[i].id,
                       klp_diff_fate_name(entries[i].fate));
                append_patch(change, entries[i].from_patch, buf, size);
                append(buf, size, ">");
                append_patch(change, entries[i].to_patch, buf, size);
                if (entries[i].unsafe)
                        append(buf, size, " unsafe");
        }
}

static void format_calls(const struct klp_diff_change *change, const struct klp_diff_call *calls, u32 n,
                         char *buf, size_t size) {
        buf[0] = 0;
        for (u32 i = 0; i < n; i++) {
                append(buf, size, "%s", i ? ", " : "");
                append_patch(change, calls[i].patch, buf, size);
                append(buf, size, ".%u %s", calls[i].state, klp_diff_callback_name(calls[i].callback));
        }
}

static u32 fates(const struct klp_diff_change *change, struct klp_diff_entry *entries) {
        struct klp_diff_entry scratch[MAX_ENTRIES];

        assert_true(klp_diff_max_entries(change) <= MAX_ENTRIES);
        return klp_diff_fates(change, entries, scratch);
}

static void check_fates(const struct klp_diff_change *change, const char *expected) {
        struct klp_diff_entry entries[MAX_ENTRIES];
        char buf[4096];

        format_fates(change, entries, fates(change, entries), buf, sizeof(buf));
        assert_string_equal(buf, expected);
}

static void check_calls(const struct klp_diff_change *change, enum klp_diff_phase phase, u32 failed,
                        const char *expected) {
        struct klp_diff_entry entries[MAX_ENTRIES];
        struct klp_diff_call calls[2 * MAX_ENTRIES];
        char buf[4096];
        u32 n;

        n = fates(change, entries);
        n = klp_diff_calls(change, entries, n, phase, failed, calls);
        format_calls(change, calls, n, buf, sizeof(buf));
        assert_string_equal(buf, expected);
}

static void check_phases(const struct klp_diff_change *change, const char *prepare, const char *complete,
                         const char *reverse) {
        check_calls(change, KLP_DIFF_PREPARE, 0, prepare);
        check_calls(change, KLP_DIFF_COMPLETE, 0, complete);
        check_calls(change, KLP_DIFF_REVERSE, 0, reverse);
}

static void test_enable_on_empty_stack_introduces_in_array_order(void **arg) {
        const struct klp_diff_patch new = PATCH({ 9, 1, 0 }, { 2, 1, BD }, { 5, 7, SH });
        const struct klp_diff_change change = { .op = KLP_DIFF_ENABLE, .new_patch = &new };

        check_fates(&change, "9:introduce ->N, 2:introduce ->N, 5:introduce ->N");
        check_phases(&change, "N.0 pre_patch, N.1 pre_patch, N.2 pre_patch",
                     "N.0 post_patch, N.1 post_patch, N.2 post_patch",
                     "N.0 post_unpatch, N.1 post_unpatch, N.2 post_unpatch");
}

static void test_patch_without_states_changes_nothing(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 1, 0 }) };
        const struct klp_diff_patch new = EMPTY();
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_ENABLE, .stack = stack, .n_stack = 1, .new_patch = &new};
        const struct klp_diff_change alone = { .op = KLP_DIFF_REPLACE, .new_patch = &new };

        check_fates(&change, "1:keep P0>P0");
        check_phases(&change, "", "", "");
        check_fates(&alone, "");
        check_phases(&alone, "", "", "");
}

static void test_replace_keeps_shared_state_without_callbacks(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 1, SH }, { 2, 1, 0 }) };
        const struct klp_diff_patch new = PATCH({ 1, 1, SH }, { 3, 1, 0 });
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_fates(&change, "3:introduce ->N, 2:remove P0>-, 1:keep P0>N");
        check_phases(&change, "N.1 pre_patch, P0.1 pre_unpatch", "P0.1 post_unpatch, N.1 post_patch",
                     "P0.1 post_patch, N.1 post_unpatch");
}

static void test_replace_shows_all_five_fates_in_visiting_order(void **arg) {
        const struct klp_diff_patch stack[] = {
                PATCH({ 10, 1, 0 }, { 20, 1, 0 }, { 30, 1, 0 }, { 40, 2, 0 }, { 50, 1, 0 }),
        };
        /* 50 comes first: the new holder's array order; 40 gets a lower version, 20 a higher one without
         * takeover */
        const struct klp_diff_patch new = PATCH({50, 2, TO}, {60, 1, 0}, {40, 1, 0}, {30, 1, 0}, {20, 2, 0});
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_fates(&change, "50:takeover P0>N, 60:introduce ->N, 40:exchange P0>N, 20:exchange P0>N, "
                             "10:remove P0>-, "
                             "30:keep P0>N");
        check_phases(&change,
                     "N.0 pre_takeover, N.1 pre_patch, N.2 pre_patch, N.4 pre_patch, "
                     "P0.0 pre_unpatch, P0.1 pre_unpatch, P0.3 pre_unpatch",
                     "P0.0 post_unpatch, P0.1 post_unpatch, P0.3 post_unpatch, "
                     "N.0 post_takeover, N.1 post_patch, N.2 post_patch, N.4 post_patch",
                     "P0.0 post_patch, P0.1 post_patch, P0.3 post_patch, "
                     "N.0 cancel_takeover, N.1 post_unpatch, N.2 post_unpatch, N.4 post_unpatch");
}

static void test_undo_reverses_what_succeeded_for_every_k(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 1, 0 }, { 2, 1, 0 }, { 3, 1, 0 }) };
        const struct klp_diff_patch new = PATCH({ 4, 1, 0 }, { 1, 2, TO }, { 2, 2, 0 });
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_calls(&change, KLP_DIFF_PREPARE, 0,
                    "N.0 pre_patch, N.1 pre_takeover, N.2 pre_patch, P0.1 pre_unpatch, P0.2 pre_unpatch");
        check_calls(&change, KLP_DIFF_UNDO, 0, "");
        check_calls(&change, KLP_DIFF_UNDO, 1, "N.0 post_unpatch");
        check_calls(&change, KLP_DIFF_UNDO, 2, "N.1 cancel_takeover, N.0 post_unpatch");
        /* pre_unpatch is void: no failure beyond the third call, all three are undone */
        check_calls(&change, KLP_DIFF_UNDO, 3, "N.2 post_unpatch, N.1 cancel_takeover, N.0 post_unpatch");
        check_calls(&change, KLP_DIFF_UNDO, 5, "N.2 post_unpatch, N.1 cancel_takeover, N.0 post_unpatch");
}

static void test_old_patches_are_visited_from_the_top_down(void **arg) {
        const struct klp_diff_patch stack[] = {
                PATCH({ 1, 1, 0 }, { 2, 1, 0 }),
                PATCH({ 4, 1, 0 }, { 3, 1, 0 }, { 2, 1, 0 }),
                PATCH({ 5, 1, 0 }),
        };
        const struct klp_diff_patch new = PATCH({ 3, 9, 0 });
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 3, .new_patch = &new};

        check_fates(&change, "3:exchange P1>N, 5:remove P2>-, 4:remove P1>-, 2:remove P1>-, 1:remove P0>-");
        /* the exchanged state stands where it stands in its old patch, not where the new patch has it */
        check_phases(&change,
                     "N.0 pre_patch, P2.0 pre_unpatch, P1.0 pre_unpatch, P1.1 pre_unpatch, P1.2 "
                     "pre_unpatch, P0.0 pre_unpatch",
                     "P2.0 post_unpatch, P1.0 post_unpatch, P1.1 post_unpatch, P1.2 post_unpatch, P0.0 "
                     "post_unpatch, "
                     "N.0 post_patch",
                     "P2.0 post_patch, P1.0 post_patch, P1.1 post_patch, P1.2 post_patch, P0.0 post_patch, "
                     "N.0 post_unpatch");
}

static void test_stacked_patches_count_references(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 1, SH }), PATCH({ 1, 1, SH }) };
        const struct klp_diff_patch new = PATCH({ 1, 1, SH });
        struct klp_diff_change change = {
                        .op = KLP_DIFF_ENABLE, .stack = stack, .n_stack = 2, .new_patch = &new};

        check_fates(&change, "1:keep P1>N");
        check_phases(&change, "", "", "");

        change = (struct klp_diff_change){
                        .op = KLP_DIFF_DISABLE, .stack = stack, .n_stack = 2, .disabled = 1};
        check_fates(&change, "1:keep P1>P0");
        check_phases(&change, "", "", "");

        change.disabled = 0;
        check_fates(&change, "1:keep P1>P1");
        check_phases(&change, "", "", "");

        change = (struct klp_diff_change){
                        .op = KLP_DIFF_DISABLE, .stack = stack, .n_stack = 1, .disabled = 0};
        check_fates(&change, "1:remove P0>-");
        check_phases(&change, "P0.0 pre_unpatch", "P0.0 post_unpatch", "P0.0 post_patch");
}

static void test_disable_never_calls_a_patch_that_is_stacked_above(void **arg) {
        const struct klp_diff_patch stack[] = {PATCH({1, 1, 0}, {2, 1, 0}), PATCH({2, 2, TO}, {3, 1, 0})};
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_DISABLE, .stack = stack, .n_stack = 2, .disabled = 0};

        check_fates(&change, "1:remove P0>-, 2:keep P1>P1, 3:keep P1>P1");
        check_phases(&change, "P0.0 pre_unpatch", "P0.0 post_unpatch", "P0.0 post_patch");
}

static void test_disable_that_falls_back_to_another_version_is_unsafe_and_calls_nobody(void **arg) {
        const struct klp_diff_patch stack[] = {
                PATCH({ 1, 1, 0 }, { 2, 3, TO }, { 7, 1, 0 }),
                PATCH({ 1, 2, 0 }, { 2, 2, 0 }, { 4, 1, 0 }),
        };
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_DISABLE, .stack = stack, .n_stack = 2, .disabled = 1};

        /* also upwards with takeover callbacks: a disable has no place for a callback that may refuse */
        check_fates(&change,
                    "1:exchange P1>P0 unsafe, 2:exchange P1>P0 unsafe, 4:remove P1>-, 7:keep P0>P0");
        check_phases(&change, "P1.2 pre_unpatch", "P1.2 post_unpatch", "P1.2 post_patch");
}

static void test_exchange_is_unsafe_outside_of_a_replace(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 1, 0 }) };
        const struct klp_diff_patch new = PATCH({ 1, 2, 0 });
        struct klp_diff_change change = {
                        .op = KLP_DIFF_ENABLE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_fates(&change, "1:exchange P0>N unsafe");
        check_phases(&change, "", "", "");
        change.op = KLP_DIFF_REPLACE;
        check_fates(&change, "1:exchange P0>N");
}

static void test_exchange_with_shadow_on_either_side_is_unsafe(void **arg) {
        const struct klp_diff_patch stack[] = {PATCH({1, 2, SH}, {2, 2, 0}, {3, 2, SH}, {4, 2, BD})};
        const struct klp_diff_patch new = PATCH({ 1, 1, 0 }, { 2, 1, SH }, { 3, 1, SH }, { 4, 1, BD });
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_fates(&change, "1:exchange P0>N unsafe, 2:exchange P0>N unsafe, 3:exchange P0>N unsafe, "
                             "4:exchange P0>N");
        check_phases(&change, "N.3 pre_patch, P0.3 pre_unpatch", "P0.3 post_unpatch, N.3 post_patch",
                     "P0.3 post_patch, N.3 post_unpatch");
}

static void test_takeover_needs_a_higher_version_and_callbacks_of_the_new_holder(void **arg) {
        /* the old state's own takeover flag doesn't matter */
        const struct klp_diff_patch stack[] = {PATCH({1, 2, TO}, {2, 2, TO}, {3, 2, 0}, {4, 2, SH})};
        const struct klp_diff_patch new = PATCH({ 1, 3, 0 }, { 2, 1, TO }, { 3, 3, TO }, { 4, 3, SH | TO });
        struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 1, .new_patch = &new};

        check_fates(&change, "1:exchange P0>N, 2:exchange P0>N, 3:takeover P0>N, 4:takeover P0>N");
        change.op = KLP_DIFF_ENABLE;
        check_fates(&change,
                    "1:exchange P0>N unsafe, 2:exchange P0>N unsafe, 3:takeover P0>N, 4:takeover P0>N");
        check_phases(&change, "N.2 pre_takeover, N.3 pre_takeover", "N.2 post_takeover, N.3 post_takeover",
                     "N.2 cancel_takeover, N.3 cancel_takeover");
}

static void test_holder_is_the_topmost_patch_that_has_the_state(void **arg) {
        const struct klp_diff_patch stack[] = { PATCH({ 1, 5, 0 }), PATCH({ 1, 3, 0 }), EMPTY() };
        const struct klp_diff_patch new = PATCH({ 1, 5, 0 });
        const struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = stack, .n_stack = 3, .new_patch = &new};

        check_fates(&change, "1:exchange P1>N");
        check_phases(&change, "N.0 pre_patch, P1.0 pre_unpatch", "P1.0 post_unpatch, N.0 post_patch",
                     "P1.0 post_patch, N.0 post_unpatch");
}

static void test_plain_patches_get_no_per_state_callbacks(void **arg) {
        const struct klp_diff_patch plain_stack[] = { PLAIN({ 1, 1, 0 }, { 2, 1, 0 }), PATCH({ 3, 1, 0 }) };
        const struct klp_diff_patch managed = PATCH({ 1, 2, TO }, { 4, 1, 0 });
        const struct klp_diff_patch plain = PLAIN({ 5, 1, 0 });
        struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = plain_stack, .n_stack = 2, .new_patch = &managed};

        check_fates(&change, "1:takeover P0>N, 4:introduce ->N, 3:remove P1>-, 2:remove P0>-");
        check_phases(&change, "N.0 pre_takeover, N.1 pre_patch, P1.0 pre_unpatch",
                     "P1.0 post_unpatch, N.0 post_takeover, N.1 post_patch",
                     "P1.0 post_patch, N.0 cancel_takeover, N.1 post_unpatch");

        /* a plain patch has no hook: the core calls nothing for the patches that it replaces */
        change.new_patch = &plain;
        check_fates(&change, "5:introduce ->N, 3:remove P1>-, 1:remove P0>-, 2:remove P0>-");
        check_phases(&change, "", "", "");

        change = (struct klp_diff_change){
                        .op = KLP_DIFF_DISABLE, .stack = plain_stack, .n_stack = 2, .disabled = 0};
        check_fates(&change, "1:remove P0>-, 2:remove P0>-, 3:keep P1>P1");
        check_phases(&change, "", "", "");
}

static void test_names_cover_every_value_and_nothing_else(void **arg) {
        for (unsigned i = KLP_DIFF_INTRODUCE; i <= KLP_DIFF_REMOVE; i++)
                assert_non_null(klp_diff_fate_name((enum klp_diff_fate) i));
        for (unsigned i = KLP_DIFF_PRE_PATCH; i <= KLP_DIFF_CANCEL_TAKEOVER; i++)
                assert_non_null(klp_diff_callback_name((enum klp_diff_callback) i));
        assert_null(klp_diff_fate_name((enum klp_diff_fate) 0));
        assert_null(klp_diff_fate_name((enum klp_diff_fate) 6));
        assert_null(klp_diff_callback_name((enum klp_diff_callback) 0));
        assert_null(klp_diff_callback_name((enum klp_diff_callback) 8));
}

/* --- the second implementation --- */

static uint64_t random_state = 0x853c49e6748fea9bULL;

static u32 random_below(u32 n) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        return (u32) ((random_state >> 32) % n);
}

static const struct klp_diff_state *reference_find(const struct klp_diff_patch *patch, u64 id,
                                                   u32 *ret_index) {
        for (u32 i = 0; i < patch->n_states; i++)
                if (patch->states[i].id == id) {
                        *ret_index = i;
                        return &patch->states[i];
                }
        return NULL;
}

/* Section 2: "its holder is the topmost enabled patch that has it". */
static const struct klp_diff_state *reference_holder(const struct klp_diff_patch *const *stack, u32 n,
                                                     u64 id, u32 *ret_patch, u32 *ret_state) {
        const struct klp_diff_state *holder = NULL;

        for (u32 i = 0; i < n; i++) {
                u32 index;
                const struct klp_diff_state *s = stack[i] ? reference_find(stack[i], id, &index) : NULL;

                if (s) {
                        holder = s;
                        *ret_patch = i;
                        *ret_state = index;
                }
        }
        return holder;
}

static void reference_check_entry(const struct klp_diff_change *change, const struct klp_diff_entry *e) {
        const struct klp_diff_patch *before[8] = {}, *after[8] = {};
        u32 fp = KLP_DIFF_NONE, fs = KLP_DIFF_NONE, tp = KLP_DIFF_NONE, ts = KLP_DIFF_NONE;
        const struct klp_diff_state *from, *to;
        enum klp_diff_fate fate;
        bool unsafe = false;

        for (u32 i = 0; i < change->n_stack; i++) {
                before[i] = &change->stack[i];
                if (change->op == KLP_DIFF_ENABLE ||
                    (change->op == KLP_DIFF_DISABLE && change->disabled != i))
                        after[i] = &change->stack[i];
        }
        if (change->op != KLP_DIFF_DISABLE)
                after[change->n_stack] = change->new_patch;

        from = reference_holder(before, 8, e->id, &fp, &fs);
        to = reference_holder(after, 8, e->id, &tp, &ts);
        assert_true(from || to);
        if (!from)
                fate = KLP_DIFF_INTRODUCE;
        else if (!to)
                fate = KLP_DIFF_REMOVE;
        else if (from->version == to->version)
                fate = KLP_DIFF_KEEP;
        else if (to->version > from->version && (to->flags & TO) && change->op != KLP_DIFF_DISABLE)
                fate = KLP_DIFF_TAKEOVER;
        else {
                fate = KLP_DIFF_EXCHANGE;
                unsafe = change->op != KLP_DIFF_REPLACE || (from->flags & SH) || (to->flags & SH);
        }

        assert_int_equal(e->fate, fate);
        assert_int_equal(e->unsafe, unsafe);
        assert_int_equal(e->from_patch, fp);
        assert_int_equal(e->from_state, fs);
        assert_int_equal(e->to_patch, tp);
        assert_int_equal(e->to_state, ts);
}

static u32 random_states(struct klp_diff_state *states, u32 max) {
        u32 n = random_below(max + 1), n_out = 0, unused;

        for (u32 i = 0; i < n; i++) {
                const struct klp_diff_patch so_far = { .states = states, .n_states = n_out };
                u64 id = 1 + random_below(12);

                if (reference_find(&so_far, id, &unused))
                        continue;
                states[n_out++] = (struct klp_diff_state){ id, 1 + random_below(3), random_below(8) };
        }
        return n_out;
}

static bool balanced(const struct klp_diff_call *calls, u32 n, u32 entry, enum klp_diff_callback a,
                     enum klp_diff_callback b) {
        unsigned n_a = 0, n_b = 0;

        for (u32 i = 0; i < n; i++)
                if (calls[i].entry == entry) {
                        n_a += calls[i].callback == a;
                        n_b += calls[i].callback == b;
                }
        return n_a == n_b && n_a <= 1;
}

/* Whatever PREPARE began, each of the three ends finishes, exactly once. */
static void check_ends(const struct klp_diff_change *change, const struct klp_diff_entry *entries, u32 n) {
        struct klp_diff_call calls[4 * MAX_ENTRIES];
        u32 n_prepare, n_all;

        n_prepare = klp_diff_calls(change, entries, n, KLP_DIFF_PREPARE, 0, calls);
        assert_true(n_prepare <= 2 * n);

        n_all = n_prepare + klp_diff_calls(change, entries, n, KLP_DIFF_COMPLETE, 0, calls + n_prepare);
        for (u32 i = 0; i < n; i++) {
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_PATCH, KLP_DIFF_POST_PATCH));
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_UNPATCH, KLP_DIFF_POST_UNPATCH));
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_TAKEOVER, KLP_DIFF_POST_TAKEOVER));
        }

        n_all = n_prepare + klp_diff_calls(change, entries, n, KLP_DIFF_REVERSE, 0, calls + n_prepare);
        for (u32 i = 0; i < n; i++) {
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_PATCH, KLP_DIFF_POST_UNPATCH));
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_UNPATCH, KLP_DIFF_POST_PATCH));
                assert_true(balanced(calls, n_all, i, KLP_DIFF_PRE_TAKEOVER, KLP_DIFF_CANCEL_TAKEOVER));
        }
        for (u32 i = 0; i < n_all; i++)
                assert_false(entries[calls[i].entry].unsafe);
}

static void check_visiting_order(const struct klp_diff_change *change, const struct klp_diff_entry *entries,
                                 u32 n) {
        /* each is a key of its own that must never fall: class, then patches from the top, then array order
         */
        for (u32 i = 1; i < n; i++) {
                const struct klp_diff_entry *a = &entries[i - 1], *b = &entries[i];
                u32 ca = a->fate == KLP_DIFF_KEEP ? 2 : a->fate == KLP_DIFF_REMOVE;
                u32 cb = b->fate == KLP_DIFF_KEEP ? 2 : b->fate == KLP_DIFF_REMOVE;
                u32 pa = ca == 1 ? a->from_patch : a->to_patch, pb = cb == 1 ? b->from_patch : b->to_patch;
                u32 sa = ca == 1 ? a->from_state : a->to_state, sb = cb == 1 ? b->from_state : b->to_state;

                assert_true(ca <= cb);
                if (ca == cb) {
                        assert_true(pa >= pb);
                        if (pa == pb)
                                assert_true(sa < sb);
                }
        }
}

static void test_random_changes_agree_with_the_text_of_the_specification(void **arg) {
        for (unsigned round = 0; round < 50000; round++) {
                struct klp_diff_state states[6][12];
                struct klp_diff_patch stack[5], new;
                struct klp_diff_entry entries[MAX_ENTRIES], some[MAX_ENTRIES];
                struct klp_diff_change change = { .stack = stack };
                u32 n, n_some, n_ids = 0;

                change.n_stack = random_below(6);
                for (u32 i = 0; i < change.n_stack; i++)
                        stack[i] = (struct klp_diff_patch){states[i], random_states(states[i], 12),
                                                           random_below(4) > 0};
                new = (struct klp_diff_patch){states[5], random_states(states[5], 12), random_below(4) > 0};
                change.op = (enum klp_diff_op) (1 + random_below(change.n_stack > 0 ? 3 : 2));
                if (change.op == KLP_DIFF_DISABLE)
                        change.disabled = random_below(change.n_stack);
                else
                        change.new_patch = &new;

                n = fates(&change, entries);
                for (u32 i = 0; i < n; i++)
                        reference_check_entry(&change, &entries[i]);
                for (u64 id = 1; id <= 12; id++) {
                        u32 unused, seen = 0;
                        bool somewhere = change.new_patch && reference_find(&new, id, &unused);

                        for (u32 i = 0; i < change.n_stack; i++)
                                somewhere = somewhere || reference_find(&stack[i], id, &unused);
                        for (u32 i = 0; i < n; i++)
                                seen += entries[i].id == id;
                        assert_int_equal(seen, somewhere);
                        n_ids += somewhere;
                }
                assert_int_equal(n, n_ids);
                check_visiting_order(&change, entries, n);
                check_ends(&change, entries, n);

                /* the variant without scratch: the same entries, those of one patch only, in the same order
                 */
                if (change.op == KLP_DIFF_REPLACE)
                        continue;
                n_some = klp_diff_fates_of_patch(&change, some);
                assert_int_equal(n_some, change.new_patch ? new.n_states : stack[change.disabled].n_states);
                for (u32 i = 0, j = 0; i < n_some; i++, j++) {
                        while (j < n && entries[j].id != some[i].id)
                                j++;
                        assert_true(j < n);
                        assert_memory_equal(&some[i].fate, &entries[j].fate, sizeof(some[i].fate));
                        reference_check_entry(&change, &some[i]);
                }
        }
}

static void test_large_unordered_tables_are_sorted(void **arg) {
        enum { N = 5000 };
        struct klp_diff_state *old_states = calloc(N, sizeof(*old_states)),
                              *new_states = calloc(N, sizeof(*new_states));
        struct klp_diff_entry *entries = calloc(2 * N, sizeof(*entries)),
                              *scratch = calloc(2 * N, sizeof(*scratch));
        struct klp_diff_call *calls = calloc(4 * N, sizeof(*calls));
        struct klp_diff_patch old = { old_states, N, true }, new = { new_states, N, true };
        struct klp_diff_change change = {
                        .op = KLP_DIFF_REPLACE, .stack = &old, .n_stack = 1, .new_patch = &new};
        u32 n;

        assert_true(old_states && new_states && entries && scratch && calls);
        for (u32 i = 0; i < N; i++) {
                /* 7919 is prime to 5000: every id once, in no order; descending on the other side */
                old_states[i] = (struct klp_diff_state){ (i * 7919ULL) % N, 1, 0 };
                new_states[i] = (struct klp_diff_state){ N - 1 - i, 2, 0 };
        }
        n = klp_diff_fates(&change, entries, scratch);
        assert_int_equal(n, N);
        for (u32 i = 0; i < n; i++) {
                assert_int_equal(entries[i].fate, KLP_DIFF_EXCHANGE);
                assert_int_equal(entries[i].id, N - 1 - i);
                assert_int_equal(old_states[entries[i].from_state].id, entries[i].id);
        }
        n = klp_diff_calls(&change, entries, n, KLP_DIFF_PREPARE, 0, calls);
        assert_int_equal(n, 2 * N);
        for (u32 i = 0; i < N; i++) {
                assert_int_equal(calls[i].state, i);
                assert_int_equal(calls[N + i].callback, KLP_DIFF_PRE_UNPATCH);
                assert_int_equal(calls[N + i].state, i);
        }
        free(old_states);
        free(new_states);
        free(entries);
        free(scratch);
        free(calls);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_enable_on_empty_stack_introduces_in_array_order),
                cmocka_unit_test(test_patch_without_states_changes_nothing),
                cmocka_unit_test(test_replace_keeps_shared_state_without_callbacks),
                cmocka_unit_test(test_replace_shows_all_five_fates_in_visiting_order),
                cmocka_unit_test(test_undo_reverses_what_succeeded_for_every_k),
                cmocka_unit_test(test_old_patches_are_visited_from_the_top_down),
                cmocka_unit_test(test_stacked_patches_count_references),
                cmocka_unit_test(test_disable_never_calls_a_patch_that_is_stacked_above),
                cmocka_unit_test(test_disable_that_falls_back_to_another_version_is_unsafe_and_calls_nobody),
                cmocka_unit_test(test_exchange_is_unsafe_outside_of_a_replace),
                cmocka_unit_test(test_exchange_with_shadow_on_either_side_is_unsafe),
                cmocka_unit_test(test_takeover_needs_a_higher_version_and_callbacks_of_the_new_holder),
                cmocka_unit_test(test_holder_is_the_topmost_patch_that_has_the_state),
                cmocka_unit_test(test_plain_patches_get_no_per_state_callbacks),
                cmocka_unit_test(test_names_cover_every_value_and_nothing_else),
                cmocka_unit_test(test_random_changes_agree_with_the_text_of_the_specification),
                cmocka_unit_test(test_large_unordered_tables_are_sorted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
