/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What people type and what they see: quantities, text for terminals, tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "klpctl/parse.h"
#include "klpctl/table.h"

static void test_numbers_are_digits_in_range(void **state) {
        uint32_t u = 7;
        uint64_t t = 7;

        assert_int_equal(parse_u32("0", &u), 0);
        assert_int_equal(u, 0);
        assert_int_equal(parse_u32("4294967295", &u), 0);
        assert_int_equal(u, UINT32_MAX);
        assert_int_equal(parse_u32("4294967296", &u), -ERANGE);
        assert_int_equal(parse_u64("18446744073709551615", &t), 0);
        assert_true(t == UINT64_MAX);
        assert_int_equal(parse_u64("18446744073709551616", &t), -ERANGE);
        for (const char *const *s = (const char *const[]) { "", "-1", "+1", " 1", "1 ", "1x", "0x1", NULL }; *s; s++)
                assert_int_equal(parse_u64(*s, &t), -EINVAL);
        assert_int_equal(u, UINT32_MAX); /* not touched by errors */
}

static void test_spans(void **state) {
        static const struct {
                const char *text;
                uint64_t usec;
        } good[] = {
                { "90", 90 * USEC_PER_SEC },          { "90s", 90 * USEC_PER_SEC },    { "500ms", 500000 },
                { "1min 30s", 90 * USEC_PER_SEC },    { "2h", 7200 * USEC_PER_SEC },   { " 1 d ", 86400 * USEC_PER_SEC },
                { "1w2us", 604800 * USEC_PER_SEC + 2 },
        };
        uint64_t usec;

        for (size_t i = 0; i < ELEMENTSOF(good); i++) {
                assert_int_equal(parse_span(good[i].text, &usec), 0);
                assert_true(usec == good[i].usec);
        }
        for (const char *const *s = (const char *const[]) { "", " ", "s", "-1", "1x", "1.5s", "1 fortnight", NULL }; *s; s++)
                assert_int_equal(parse_span(*s, &usec), -EINVAL);
        assert_int_equal(parse_span("99999999999999999999", &usec), -ERANGE);
        assert_int_equal(parse_span("18446744073709551615 s", &usec), -ERANGE);
}

static void test_times(void **state) {
        /* 2026-11-21 11:05:30 UTC */
        const uint64_t now = UINT64_C(1795259130) * USEC_PER_SEC, midnight = UINT64_C(1795219200) * USEC_PER_SEC;
        uint64_t usec;

        setenv("TZ", "UTC", 1);
        assert_int_equal(parse_time("now", now, &usec), 0);
        assert_true(usec == now);
        assert_int_equal(parse_time("today", now, &usec), 0);
        assert_true(usec == midnight);
        assert_int_equal(parse_time("yesterday", now, &usec), 0);
        assert_true(usec == midnight - 86400 * USEC_PER_SEC);
        assert_int_equal(parse_time("2026-11-21", now, &usec), 0);
        assert_true(usec == midnight);
        assert_int_equal(parse_time("2026-11-21 11:05:30", now, &usec), 0);
        assert_true(usec == now);
        assert_int_equal(parse_time("11:05:30", now, &usec), 0);
        assert_true(usec == now);
        assert_int_equal(parse_time("11:05", now, &usec), 0);
        assert_true(usec == now - 30 * USEC_PER_SEC);
        assert_int_equal(parse_time("-2h", now, &usec), 0);
        assert_true(usec == now - 7200 * USEC_PER_SEC);
        assert_int_equal(parse_time("1 min ago", now, &usec), 0);
        assert_true(usec == now - 60 * USEC_PER_SEC);
        assert_int_equal(parse_time("@12", now, &usec), 0);
        assert_true(usec == 12 * USEC_PER_SEC);
        for (const char *const *s = (const char *const[]) { "", "soon", "2026-13-01", "2026-02-30", "25:00", "@", "@x", "-",
                                                            " ago", "2026-11-21x", NULL }; *s; s++)
                assert_int_equal(parse_time(*s, now, &usec), -EINVAL);
        assert_int_equal(parse_time("@99999999999999999", now, &usec), -ERANGE);
}

static void test_quantities_are_short(void **state) {
        assert_string_equal(FORMAT_SPAN(999), "999us");
        assert_string_equal(FORMAT_SPAN(83123), "83ms");
        assert_string_equal(FORMAT_SPAN(1260000), "1.2s");
        assert_string_equal(FORMAT_SPAN(UINT64_C(125) * USEC_PER_SEC), "2min 5s");
        assert_string_equal(FORMAT_SPAN(UINT64_C(90000) * USEC_PER_SEC), "1d 1h");
        assert_string_equal(FORMAT_BYTES(12), "12B");
        assert_string_equal(FORMAT_BYTES(1536), "1.5K");
        assert_string_equal(FORMAT_BYTES(UINT64_MAX), "16.0E");
}

static Terminal make_terminal(bool utf8, size_t width) {
        Terminal t;

        setenv("SYSTEMD_UTF8", utf8 ? "1" : "0", 1);
        setenv("SYSTEMD_COLORS", "0", 1);
        terminal_init(&t);
        t.width = width;
        return t;
}

static void assert_printable(const Terminal *t, const char *in, const char *want) {
        _cleanup_free_ char *out = text_printable(t, in);

        assert_string_equal(out, want);
}

static void test_text_of_others_has_no_power_over_the_terminal(void **state) {
        Terminal utf8 = make_terminal(true, 80), ascii;

        assert_printable(&utf8, "plain", "plain");
        assert_printable(&utf8, "a\x1b[2Jb\r\n\t\x7f", "a\\x1b[2Jb\\x0d\\x0a\\x09\\x7f");
        assert_printable(&utf8, "r\xc3\xa4tsel \xe2\x80\xa6", "r\xc3\xa4tsel \xe2\x80\xa6");
        assert_printable(&utf8, "\xc3", "\\xc3");                         /* cut short */
        assert_printable(&utf8, "\xff\xc0\x80", "\\xff\\xc0\\x80");       /* not UTF-8 */
        assert_printable(&utf8, "\xc2\x9b" "1m", "\\xc2\\x9b1m");         /* CSI as one character */
        assert_printable(&utf8, "\xe2\x80\xae" "x", "\\xe2\\x80\\xaex");  /* right-to-left override */

        ascii = make_terminal(false, 80);
        assert_printable(&ascii, "r\xc3\xa4tsel\x1b", "r?tsel\\x1b");
}

static void test_width_is_columns_not_bytes(void **state) {
        Terminal t = make_terminal(true, 80);
        _cleanup_free_ char *cut = NULL, *wide = NULL;

        assert_int_equal(text_width(&t, "r\xc3\xa4tsel"), 6);
        assert_int_equal(text_width(&t, "\xe6\xbc\xa2\xe5\xad\x97"), 4);
        cut = text_ellipsize(&t, "r\xc3\xa4tsel", 4);
        assert_string_equal(cut, "r\xc3\xa4t\xe2\x80\xa6");
        wide = text_ellipsize(&t, "\xe6\xbc\xa2\xe5\xad\x97", 3); /* no half character */
        assert_string_equal(wide, "\xe6\xbc\xa2\xe2\x80\xa6");
}

/* What a function prints on standard output. */
static char *capture(int (*print)(void *), void *userdata) {
        FILE *file = tmpfile();
        char *text = NULL;
        size_t size = 0;
        int saved;

        fflush(stdout);
        saved = dup(STDOUT_FILENO);
        assert_true(saved >= 0 && dup2(fileno(file), STDOUT_FILENO) >= 0);
        assert_int_equal(print(userdata), 0);
        fflush(stdout);
        assert_true(dup2(saved, STDOUT_FILENO) >= 0);
        close(saved);

        rewind(file);
        assert_true(getdelim(&text, &size, EOF, file) >= 0);
        fclose(file);
        return text;
}

static int print_table(void *userdata) {
        return table_print(userdata, true);
}

static void test_tables_shrink_the_widest_first_and_never_what_may_not(void **state) {
        static const Column columns[] = {
                { .title = "ID", .right = true },
                { .title = "LONG", .shrink = true, .min = 4 },
                { .title = "EMPTY", .hide_empty = true },
                { .title = "SHORT", .shrink = true, .min = 4 },
        };
        Terminal t = make_terminal(false, 24);
        _cleanup_(table_freep) Table *table = table_new(&t, columns, ELEMENTSOF(columns));
        _cleanup_free_ char *out = NULL;

        table_cell(table, COLOUR_NORMAL, "12345");
        table_cell(table, COLOUR_RED, "abcdefghijklmnopqrst");
        table_cell(table, COLOUR_NORMAL, NULL);
        table_cell(table, COLOUR_NORMAL, "short");
        table_note(table, COLOUR_NORMAL, "a note that is longer than the width, and stays whole");
        table_cellf(table, COLOUR_NORMAL, "%d", 6);
        table_cell(table, COLOUR_NORMAL, "x");
        table_cell(table, COLOUR_NORMAL, "");
        table_cell(table, COLOUR_NORMAL, "y");

        assert_int_equal(table_rows(table), 2);
        out = capture(print_table, table);
        assert_string_equal(out, "   ID LONG         SHORT\n"
                                 "12345 abcdefghijk~ short\n"
                                 "    a note that is longer than the width, and stays whole\n"
                                 "    6 x            y\n");
}

static void test_a_table_of_many_rows_keeps_them_all(void **state) {
        static const Column columns[] = { { .title = "N", .right = true } };
        Terminal t = make_terminal(false, 0);
        _cleanup_(table_freep) Table *table = table_new(&t, columns, 1);
        _cleanup_free_ char *out = NULL;

        for (int i = 0; i < 10000; i++)
                table_cellf(table, COLOUR_NORMAL, "%d", i);
        assert_int_equal(table_rows(table), 10000);
        out = capture(print_table, table);
        assert_non_null(strstr(out, "\n 777\n"));
        assert_string_equal(out + strlen(out) - 5, "9999\n");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_numbers_are_digits_in_range),
                cmocka_unit_test(test_spans),
                cmocka_unit_test(test_times),
                cmocka_unit_test(test_quantities_are_short),
                cmocka_unit_test(test_text_of_others_has_no_power_over_the_terminal),
                cmocka_unit_test(test_width_is_columns_not_bytes),
                cmocka_unit_test(test_tables_shrink_the_widest_first_and_never_what_may_not),
                cmocka_unit_test(test_a_table_of_many_rows_keeps_them_all),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
