/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/api/status.h"

#include "common/base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* CSI specification v1.12, "Error Scheme", and the table of the house style. */
static void test_every_code(void **state) {
        static const struct {
                ErrorCode code;
                int status;
                const char *name;
        } cases[] = {
                {ERROR_NONE, 0, "OK"},
                {ERROR_INVALID, 3, "InvalidArgument"},
                {ERROR_NOT_FOUND, 5, "NotFound"},
                {ERROR_CONFLICT, 6, "AlreadyExists"},
                {ERROR_PRECONDITION, 9, "FailedPrecondition"},
                {ERROR_UNSUPPORTED, 9, "FailedPrecondition"},
                {ERROR_RANGE, 11, "OutOfRange"},
                {ERROR_EXHAUSTED, 8, "ResourceExhausted"},
                {ERROR_AGAIN, 10, "Aborted"},
                {ERROR_UNAVAILABLE, 14, "Unavailable"},
                {ERROR_TIMEOUT, 4, "DeadlineExceeded"},
                {ERROR_DENIED, 7, "PermissionDenied"},
                {ERROR_INTERNAL, 13, "Internal"},
        };

        assert_int_equal(N_ELEMENTS(cases), _ERROR_N);
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(status_from_code(cases[i].code), cases[i].status);
                assert_string_equal(status_name(cases[i].status), cases[i].name);
        }
}

static void test_names_out_of_range(void **state) {
        assert_string_equal(status_name(STATUS_UNIMPLEMENTED), "Unimplemented");
        assert_string_equal(status_name(STATUS_CANCELLED), "Canceled");
        assert_string_equal(status_name(16), "Unauthenticated");
        assert_string_equal(status_name(17), "Unknown");
        assert_string_equal(status_name(-1), "Unknown");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_every_code),
                cmocka_unit_test(test_names_out_of_range),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
