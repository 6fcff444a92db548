/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "common/base/string_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_get(void **state) {
        const StringPair pairs[] = {{"a", "1"}, {"b", ""}};
        const StringMap map = {pairs, 2}, empty = {0};

        assert_string_equal(string_map_get(&map, "a"), "1");
        assert_string_equal(string_map_get(&map, "b"), "");
        assert_null(string_map_get(&map, "c"));
        assert_null(string_map_get(&empty, "a"));
        assert_null(string_map_get(NULL, "a"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_get),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
