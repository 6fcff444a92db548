/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/str.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parse_u64(void **state) {
        static const struct {
                const char *text;
                uint64_t max;
                int r;
                uint64_t value;
        } cases[] = {
                {"0", 10, 0, 0},
                {"18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
                {"18446744073709551616", UINT64_MAX, -ERANGE, 0},
                {"11", 10, -ERANGE, 0},
                {"", 10, -EINVAL, 0},
                {" 1", 10, -EINVAL, 0},
                {"1 ", 10, -EINVAL, 0},
                {"+1", 10, -EINVAL, 0},
                {"-1", 10, -EINVAL, 0},
                {"0x1", 10, -EINVAL, 0},
                {NULL, 10, -EINVAL, 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t value = 77;

                assert_int_equal(str_parse_u64(cases[i].text, cases[i].max, &value), cases[i].r);
                assert_int_equal(value, cases[i].r < 0 ? 77 : cases[i].value);
        }
}

static void test_parse_size(void **state) {
        static const struct {
                const char *text;
                int r;
                uint64_t value;
        } cases[] = {
                {"1", 0, 1},
                {"1Ki", 0, 1024},
                {"1k", 0, 1000},
                {"3Gi", 0, 3ULL << 30},
                {"15Ei", 0, 15ULL << 60},
                {"16Ei", -ERANGE, 0},
                {"1ki", -EINVAL, 0},
                {"1i", -EINVAL, 0},
                {"1GiB", -EINVAL, 0},
                {"1.5Gi", -EINVAL, 0},
                {"Gi", -EINVAL, 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint64_t value = 77;

                assert_int_equal(str_parse_size(cases[i].text, &value), cases[i].r);
                assert_int_equal(value, cases[i].r < 0 ? 77 : cases[i].value);
        }
}

static void test_make_utf8(void **state) {
        char good[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80";
        char bad[] = "a\xff\xc0\x80\xed\xa0\x80\xc3";
        /* A zero-width space, a byte order mark, a tag, and one that turns the direction. */
        /* NOLINTBEGIN(misc-misleading-bidirectional): what is looked for. */
        char unseen[] = "a\xe2\x80\x8b"
                        "b\xef\xbb\xbf"
                        "c\xf3\xa0\x81\x81"
                        "d\xe2\x80\xae";
        /* NOLINTEND(misc-misleading-bidirectional) */

        char controls[] = "a\x1b[31m\r\b\x07\x7f\tb\nc";

        str_make_utf8(controls);
        assert_string_equal(controls, "a?[31m????\tb\nc");
        str_make_utf8(good);
        assert_string_equal(good, "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
        str_make_utf8(bad);
        assert_string_equal(bad, "a???????");
        str_make_utf8(unseen);
        assert_string_equal(unseen, "a???b???c????d???");
}

static void test_strbuf(void **state) {
        cleanup(strbuf_deinit) StrBuf buf = {0};
        cleanup(freep) char *text = NULL, *empty = NULL;

        assert_string_equal(strbuf_text(&buf), "");
        for (int i = 0; i < 1000; i++)
                strbuf_printf(&buf, "%d,", i % 10);
        assert_int_equal(buf.n, 2000);
        text = strbuf_steal(&buf);
        assert_int_equal(strlen(text), 2000);
        empty = strbuf_steal(&buf);
        assert_string_equal(empty, "");
}

static void test_trim_and_suffix(void **state) {
        char text[] = "a b \n";

        str_trim_end(text);
        assert_string_equal(text, "a b");
        assert_true(str_has_suffix("x.conf", ".conf"));
        assert_false(str_has_suffix("f", ".conf"));
}

static void test_utf8_length(void **state) {
        static const struct {
                const char *text;
                size_t n, length;
        } cases[] = {
                {"a", 1, 1},
                {"", 0, 0},
                {"\0", 1, 1},
                {"\xc3\xa9", 2, 2},
                {"\xc3\xa9", 1, 0},
                {"\xe2\x82\xac", 3, 3},
                {"\xe2\x82\xac", 2, 0},
                {"\xf0\x9f\x92\xbe", 4, 4},
                {"\xc0\x80", 2, 0},
                {"\xed\xa0\x80", 3, 0},
                {"\xf4\x90\x80\x80", 4, 0},
                {"\x80", 1, 0},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(str_utf8_length(cases[i].text, cases[i].n), cases[i].length);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_utf8_length), cmocka_unit_test(test_parse_u64),
                cmocka_unit_test(test_parse_size),  cmocka_unit_test(test_make_utf8),
                cmocka_unit_test(test_strbuf),      cmocka_unit_test(test_trim_and_suffix),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
