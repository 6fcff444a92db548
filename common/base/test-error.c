/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/error.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_set_and_wrap(void **state) {
        Error err = {0};
        int r;

        r = error_set_errno(&err, -EBUSY, "open %s", "/dev/sdb");
        assert_int_equal(r, -EBUSY);
        assert_int_equal(err.code, ERROR_PRECONDITION);
        assert_int_equal(err.os_errno, EBUSY);
        assert_int_equal(error_wrap(&err, r, "stage %s", "pvc-1"), -EBUSY);
        assert_string_equal(err.message, "stage pvc-1: open /dev/sdb: Device or resource busy");
}

static void test_wrap_of_empty_derives_from_errno(void **state) {
        Error err = {0};

        assert_int_equal(error_wrap(&err, -ENOENT, "find disk"), -ENOENT);
        assert_int_equal(err.code, ERROR_NOT_FOUND);
        assert_string_equal(err.message, "find disk: failed: No such file or directory");
}

static void test_null_error_is_fine(void **state) {
        assert_true(error_set(NULL, ERROR_INVALID, "x") < 0);
        assert_int_equal(error_set_errno(NULL, EIO, "x"), -EIO);
        assert_int_equal(error_wrap(NULL, -EIO, "x"), -EIO);
}

static void test_join_keeps_first_code(void **state) {
        Error err = {0}, other = {0};

        error_join(&err, &other);
        assert_false(error_is_set(&err));
        error_set(&other, ERROR_NOT_FOUND, "a");
        error_join(&err, &other);
        error_set(&other, ERROR_INTERNAL, "b");
        error_join(&err, &other);
        assert_int_equal(err.code, ERROR_NOT_FOUND);
        assert_string_equal(err.message, "a; b");
}

/* A message is cut between characters: half of one would make gRPC clients refuse the whole status.
 */
static void test_long_message_is_cut_at_a_character(void **state) {
        char text[1024] = "";
        Error err = {0};
        size_t n;

        for (size_t i = 0; i < 1000; i += 2)
                memcpy(text + i, "\xc3\xa9", 3);
        error_set(&err, ERROR_INVALID, "x%s", text);
        n = strlen(err.message);
        assert_true(n < ERROR_MESSAGE_MAX && n > ERROR_MESSAGE_MAX - 5);
        assert_int_equal(n % 2, 1);
}

static void test_every_code_has_a_name_and_fails(void **state) {
        for (int code = ERROR_INVALID; code < _ERROR_N; code++) {
                Error err = {0};

                assert_string_not_equal(error_code_name((ErrorCode)code), "unknown");
                assert_true(error_set(&err, (ErrorCode)code, "x") < 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_set_and_wrap),
                cmocka_unit_test(test_wrap_of_empty_derives_from_errno),
                cmocka_unit_test(test_null_error_is_fine),
                cmocka_unit_test(test_join_keeps_first_code),
                cmocka_unit_test(test_long_message_is_cut_at_a_character),
                cmocka_unit_test(test_every_code_has_a_name_and_fails),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
