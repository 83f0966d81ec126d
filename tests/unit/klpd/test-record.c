/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the log says of a transaction, there and back; and what klpd does about one that it finds. */
#include "test-util.h"

#include "klpd/transaction-record.h"
#include "policy/strv.h"

static const TransactionRecord example = {
        .id = 7,
        .boot = "0123456789abcdef0123456789abcdef",
        .kind = REQUEST_DOWNGRADE,
        .patch = (char *) "fix_1",
        .step = (char *) "enable",
        .loads = true,
        .cancelled = true,
        .phase = SETTLE_REVERSING,
        .uid = 1000,
        .reason = (char *) "two\nlines \\ and ümlauts = ",
        .timeout_usec = 5000000,
        .start_usec = UINT64_C(1800000000000000),
        .replace_foreign = true,
        .allow_vendor = (char *[]) { (char *) "a", (char *) "b", NULL },
        .replaced = (char *[]) { (char *) "old_1", (char *) "old_2", NULL },
        .frozen = (char *[]) { (char *) "ssh.service", NULL },
        .digest = (char *) "0123",
        .back_reason = (char *) "not well:\nno",
        .back_origin = (char *) "fix_2",
        .back_result = (char *) "reversed",
};

static void test_a_record_is_the_same_after_being_written_and_read(void **state) {
        _cleanup_free_ char *text = NULL, *again = NULL;
        TransactionRecord r;
        size_t size, size_again;

        assert_int_equal(transaction_record_format(&example, &text, &size), 0);
        assert_int_equal(transaction_record_parse(text, size, &r), 0);
        assert_string_equal(r.reason, example.reason);
        assert_string_equal(r.replaced[1], "old_2");
        assert_int_equal(r.phase, SETTLE_REVERSING);
        assert_int_equal(r.timeout_usec, 5000000);
        assert_true(r.cancelled && r.replace_foreign && !r.over);
        assert_int_equal(transaction_record_format(&r, &again, &size_again), 0);
        assert_int_equal(size_again, size);
        assert_memory_equal(again, text, size);
        transaction_record_done(&r);
}

static void test_a_record_with_anything_missing_or_odd_is_not_believed(void **state) {
        _cleanup_free_ char *text = NULL;
        TransactionRecord r;
        char odd[2048];
        size_t size;

        assert_int_equal(transaction_record_format(&example, &text, &size), 0);
        for (size_t n = 0; n < size; n++)
                /* What ends in the middle of the lists of replaced patches and so on has all that is
                 * needed, but no end of line. */
                if (text[n] != '\n' || n + 1 < size)
                        if (transaction_record_parse(text, n, &r) >= 0) {
                                assert_int_equal(text[n - 1], '\n');
                                assert_non_null(strstr(text, "\nreplace-foreign="));
                                assert_true(text + n > strstr(text, "\nreplace-foreign="));
                                transaction_record_done(&r);
                        }
        for (size_t i = 0; i < size; i++) {
                memcpy(odd, text, size);
                odd[i] = 0;
                assert_int_equal(transaction_record_parse(odd, size, &r), -EBADMSG);
        }
        static const char *const more[] = { "over=0\n", "what=1\n", "replaced=../x\n", "frozen=a/b\n", "frozen=\n", "x\n", "\n",
                                            "allow-vendor=\\x\n", "allow-vendor=\\\n", "back-origin=x\n" };
        for (size_t i = 0; i < ELEMENTSOF(more); i++) {
                (void) snprintf(odd, sizeof(odd), "%s%s", text, more[i]);
                assert_int_equal(transaction_record_parse(odd, strlen(odd), &r), -EBADMSG);
        }
}

typedef struct Case {
        const char *name;
        RequestKind kind;
        SettlePhase phase;
        bool loads;
        RecoveryView view;
        RecoveryAction want;
} Case;

static void test_what_is_done_follows_from_record_and_kernel(void **state) {
        static const Case cases[] = {
                { "another boot", REQUEST_APPLY, 0, true, { .module = true, .enabled = true }, RECOVERY_NOTHING },
                { "never loaded", REQUEST_APPLY, 0, true, { .same_boot = true }, RECOVERY_NOTHING },
                { "loaded by it", REQUEST_APPLY, 0, true, { .same_boot = true, .module = true }, RECOVERY_UNDO },
                { "loaded before", REQUEST_APPLY, 0, false, { .same_boot = true, .module = true }, RECOVERY_NOTHING },
                { "under way", REQUEST_APPLY, 0, true,
                  { .same_boot = true, .module = true, .enabled = true, .transition = true }, RECOVERY_FOLLOW },
                { "to be reversed", REQUEST_APPLY, SETTLE_REVERSING, true,
                  { .same_boot = true, .module = true, .enabled = true, .transition = true }, RECOVERY_REVERSE },
                { "being reversed", REQUEST_APPLY, SETTLE_REVERSING, true,
                  { .same_boot = true, .module = true, .transition = true }, RECOVERY_FOLLOW },
                { "reversed", REQUEST_APPLY, SETTLE_REVERSING, true, { .same_boot = true, .module = true },
                  RECOVERY_UNDO },
                { "in force", REQUEST_DOWNGRADE, 0, true,
                  { .same_boot = true, .module = true, .enabled = true, .replaced_gone = true }, RECOVERY_FINISH },
                { "in force before it was reversed", REQUEST_APPLY, SETTLE_REVERSING, true,
                  { .same_boot = true, .module = true, .enabled = true }, RECOVERY_FINISH },
                { "neither old nor new", REQUEST_APPLY, SETTLE_REVERSING, true,
                  { .same_boot = true, .module = true, .replaced_gone = true }, RECOVERY_AGAIN },
                { "neither, and not our doing", REQUEST_APPLY, SETTLE_FORWARD, true,
                  { .same_boot = true, .module = true, .replaced_gone = true }, RECOVERY_UNDO },
                { "disable not begun", REQUEST_DISABLE, 0, false,
                  { .same_boot = true, .module = true, .enabled = true }, RECOVERY_NOTHING },
                { "disable under way", REQUEST_DISABLE, 0, false,
                  { .same_boot = true, .module = true, .transition = true }, RECOVERY_FOLLOW },
                { "disable to be reversed", REQUEST_DISABLE, SETTLE_REVERSING, false,
                  { .same_boot = true, .module = true, .transition = true }, RECOVERY_REVERSE },
                { "disable being reversed", REQUEST_DISABLE, SETTLE_REVERSING, false,
                  { .same_boot = true, .module = true, .enabled = true, .transition = true }, RECOVERY_FOLLOW },
                { "disabled", REQUEST_DISABLE, 0, false, { .same_boot = true, .module = true }, RECOVERY_FINISH },
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Case *c = &cases[i];
                TransactionRecord r = { .kind = c->kind, .phase = c->phase, .loads = c->loads };

                if (recovery_decide(&r, &c->view) != c->want)
                        fail_msg("%s: %s instead of %s", c->name,
                                 recovery_action_to_string(recovery_decide(&r, &c->view)),
                                 recovery_action_to_string(c->want));
                r.over = true;
                assert_int_equal(recovery_decide(&r, &c->view), RECOVERY_NOTHING);
        }
}

static void test_going_back_that_was_decided_is_gone_on_with(void **state) {
        static const struct {
                Case c;
                const char *origin;
        } cases[] = {
                        {{"to be taken back",
                          REQUEST_APPLY,
                          0,
                          true,
                          {.same_boot = true, .module = true, .enabled = true, .replaced_gone = true},
                          RECOVERY_BACK},
                         NULL},
                        {{"to be taken back, and gone",
                          REQUEST_APPLY,
                          0,
                          true,
                          {.same_boot = true},
                          RECOVERY_NOTHING},
                         NULL},
                        {{"rejected",
                          REQUEST_DISABLE,
                          0,
                          false,
                          {.same_boot = true, .module = true, .enabled = true},
                          RECOVERY_BACK},
                         NULL},
                        {{"taken back by a disable, not begun",
                          REQUEST_DISABLE,
                          0,
                          false,
                          {.same_boot = true, .module = true, .enabled = true},
                          RECOVERY_BACK},
                         "x"},
                        {{"taken back by another, loaded",
                          REQUEST_DOWNGRADE,
                          0,
                          true,
                          {.same_boot = true, .module = true},
                          RECOVERY_BACK},
                         "x"},
                        {{"taken back by another, under way",
                          REQUEST_DOWNGRADE,
                          0,
                          true,
                          {.same_boot = true, .module = true, .enabled = true, .transition = true},
                          RECOVERY_FOLLOW},
                         "x"},
                        {{"taken back",
                          REQUEST_DISABLE,
                          0,
                          false,
                          {.same_boot = true, .module = true},
                          RECOVERY_FINISH},
                         "x"},
                        {{"taken back in another boot",
                          REQUEST_DISABLE,
                          0,
                          false,
                          {.enabled = true},
                          RECOVERY_NOTHING},
                         "x"},
        };

        for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
                const Case *c = &cases[i].c;
                TransactionRecord r = {
                        .kind = c->kind,
                        .phase = c->phase,
                        .loads = c->loads,
                        .back_reason = (char *) "not well",
                        .back_origin = (char *) cases[i].origin,
                };

                if (recovery_decide(&r, &c->view) != c->want)
                        fail_msg("%s: %s instead of %s", c->name,
                                 recovery_action_to_string(recovery_decide(&r, &c->view)),
                                 recovery_action_to_string(c->want));
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_a_record_is_the_same_after_being_written_and_read),
                cmocka_unit_test(test_a_record_with_anything_missing_or_odd_is_not_believed),
                cmocka_unit_test(test_what_is_done_follows_from_record_and_kernel),
                cmocka_unit_test(test_going_back_that_was_decided_is_gone_on_with),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
