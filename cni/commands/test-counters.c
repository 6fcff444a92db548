/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "cni/spec/test-support.h"

#include "cni/commands/counters.h"
#include "common/base/cleanup.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define N_PROCESSES 4
#define N_CALLS     100U

static Counters counters; /* too large for a stack */

typedef struct Place {
        char directory[64];
        char path[96];
} Place;

static int setup(void **state) {
        Place *place = calloc(1, sizeof(*place));

        if (!place)
                return -1;
        snprintf(place->directory, sizeof(place->directory), "/tmp/berth-counters-XXXXXX");
        if (!mkdtemp(place->directory))
                return -1;
        snprintf(place->path, sizeof(place->path), "%s/counters", place->directory);
        *state = place;
        return 0;
}

static int teardown(void **state) {
        Place *place = *state;
        int r;

        (void)unlink(place->path);
        r = rmdir(place->directory);
        free(place);
        return r;
}

/* Nobody asks: nothing is made. */
static void test_without_a_file(void **state) {
        Place *place = *state;

        counters_add(place->path, ROLE_BERTH, VERB_ADD, 0, 1);
        assert_int_equal(access(place->path, F_OK), -1);
        assert_int_equal(counters_read(place->path, &counters), -ENOENT);
}

static void test_calls(void **state) {
        Place *place = *state;
        const CallCounter *call;
        struct stat info;

        assert_int_equal(counters_make(place->path), 0);
        assert_int_equal(stat(place->path, &info), 0);
        assert_int_equal(info.st_mode & 0777, 0600);
        counters_add(place->path, ROLE_PTP, VERB_ADD, 0, 500000);
        counters_add(place->path, ROLE_PTP, VERB_ADD, 11, 500001);
        counters_add(place->path, ROLE_PTP, VERB_ADD, 4711, UINT64_C(40000000000));
        /* Not one more, and not one less after a new start of who reads them. */
        assert_int_equal(counters_make(place->path), 0);
        assert_int_equal(counters_read(place->path, &counters), 0);
        call = &counters.calls[ROLE_PTP][VERB_ADD];
        assert_int_equal(call->n, 3);
        assert_int_equal(call->nsecs, UINT64_C(40001000001));
        assert_int_equal(call->within[0], 1);
        assert_int_equal(call->within[1], 1);
        assert_int_equal(call->within[COUNTER_BOUNDS_N], 1);
        assert_int_equal(call->failed[counter_reason(11)], 1);
        assert_string_equal(counter_reason_name(counter_reason(11)), "again");
        assert_int_equal(call->failed[counter_reason(4711)], 1);
        assert_string_equal(counter_reason_name(counter_reason(4711)), "other");
        assert_null(counter_reason_name(COUNTER_REASONS_MAX - 1));
        assert_int_equal(counters.calls[ROLE_PTP][VERB_DEL].n, 0);
}

/* Of another version, cut, a link: it is left alone by a call, and made anew by berth-node. */
static void test_what_is_no_file_of_ours(void **state) {
        Place *place = *state;

        memset(&counters, 0, sizeof(counters));
        counters.magic = 1;
        assert_int_equal(
                file_write_atomic(AT_FDCWD, place->path, &counters, sizeof(counters), 0600), 0);
        counters_add(place->path, ROLE_BERTH, VERB_ADD, 0, 1);
        assert_int_equal(counters_read(place->path, &counters), -EINVAL);
        assert_int_equal(counters.calls[ROLE_BERTH][VERB_ADD].n, 0);
        assert_int_equal(truncate(place->path, 100), 0);
        counters_add(place->path, ROLE_BERTH, VERB_ADD, 0, 1);
        assert_int_equal(counters_read(place->path, &counters), -EINVAL);
        assert_int_equal(counters_make(place->path), 0);
        assert_int_equal(counters_read(place->path, &counters), 0);
        assert_int_equal(unlink(place->path), 0);
        assert_int_equal(symlink("/dev/zero", place->path), 0);
        counters_add(place->path, ROLE_BERTH, VERB_ADD, 0, 1);
        assert_int_equal(counters_read(place->path, &counters), -EINVAL);
}

static void test_many_at_once(void **state) {
        Place *place = *state;

        assert_int_equal(counters_make(place->path), 0);
        for (unsigned int i = 0; i < N_PROCESSES; i++) {
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid > 0)
                        continue;
                for (unsigned int k = 0; k < N_CALLS; k++)
                        counters_add(place->path, ROLE_BERTH, VERB_DEL, 0, 7);
                _exit(0);
        }
        for (unsigned int i = 0; i < N_PROCESSES; i++)
                assert_true(wait(NULL) > 0);
        assert_int_equal(counters_read(place->path, &counters), 0);
        assert_int_equal(counters.calls[ROLE_BERTH][VERB_DEL].n, N_PROCESSES * N_CALLS);
        assert_int_equal(counters.calls[ROLE_BERTH][VERB_DEL].nsecs, 7 * N_PROCESSES * N_CALLS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_without_a_file, setup, teardown),
                cmocka_unit_test_setup_teardown(test_calls, setup, teardown),
                cmocka_unit_test_setup_teardown(test_what_is_no_file_of_ours, setup, teardown),
                cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
