/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/api/arena.h"

#include <setjmp.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_zeroed_and_aligned(void **state) {
        Arena *arena;

        assert_int_equal(arena_new(&arena, 1U << 20), 0);
        for (size_t n = 0; n < 6000; n += 37) {
                unsigned char *p = arena_alloc(arena, n);

                assert_non_null(p);
                assert_int_equal((uintptr_t)p % alignof(max_align_t), 0);
                for (size_t i = 0; i < n; i++)
                        assert_int_equal(p[i], 0);
                memset(p, 0xa5, n);
        }
        arena_free(arena);
}

static void test_limit_is_exact(void **state) {
        Arena *arena;

        assert_int_equal(arena_new(&arena, 64), 0);
        assert_non_null(arena_alloc(arena, 48));
        assert_null(arena_alloc(arena, 17));
        assert_non_null(arena_alloc(arena, 16));
        assert_null(arena_alloc(arena, 1));
        assert_null(arena_alloc(arena, SIZE_MAX));
        arena_free(arena);

        /* A request that only its rounding pushes over the limit. */
        assert_int_equal(arena_new(&arena, 20), 0);
        assert_null(arena_alloc(arena, 17));
        assert_non_null(arena_alloc(arena, 16));
        arena_free(arena);
}

static void test_large_keeps_small_block(void **state) {
        Arena *arena;
        char *a, *b;

        assert_int_equal(arena_new(&arena, 1U << 20), 0);
        a = arena_alloc(arena, 16);
        assert_non_null(arena_alloc(arena, 100000));
        b = arena_alloc(arena, 16);
        assert_ptr_equal(a + 16, b);
        arena_free(arena);
        arena_free(NULL);
}

static void test_array_overflow(void **state) {
        Arena *arena;

        assert_int_equal(arena_new(&arena, SIZE_MAX), 0);
        assert_null(arena_alloc_array(arena, SIZE_MAX / 2, 3));
        assert_non_null(arena_alloc_array(arena, 10, 10));
        arena_free(arena);
}

static void test_text(void **state) {
        Arena *arena;

        assert_int_equal(arena_new(&arena, 4096), 0);
        assert_null(arena_strdup(arena, NULL));
        assert_string_equal(arena_strdup(arena, "volume"), "volume");
        assert_string_equal(arena_printf(arena, "%s-%d", "pvc", 7), "pvc-7");
        assert_null(arena_printf(arena, "%5000d", 1));
        arena_free(arena);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_zeroed_and_aligned),
                cmocka_unit_test(test_limit_is_exact),
                cmocka_unit_test(test_large_keeps_small_block),
                cmocka_unit_test(test_array_overflow),
                cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
