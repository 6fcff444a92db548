/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/behind.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The child has what it was given, under other numbers, and nothing else: who waits for the end of
 * a pipe that it does not keep gets it at once. */
static void test_fork(void **state) {
        int kept[2], answers[2], dropped[2], status;
        int *fds[] = {&answers[1], &kept[0]}; /* descending: 0 must not overwrite what 1 is to be */
        char byte = 'x', got = 0;
        pid_t pid;

        assert_int_equal(pipe2(answers, O_CLOEXEC), 0);
        assert_int_equal(pipe2(kept, O_CLOEXEC), 0);
        assert_int_equal(pipe2(dropped, O_CLOEXEC), 0);
        pid = behind_fork(fds, 2);
        if (pid == 0) {
                if (answers[1] != 0 || kept[0] != 1 || fcntl(2, F_GETFD) >= 0 ||
                    fcntl(dropped[1], F_GETFD) >= 0 || getsid(0) != getpid())
                        _exit(1);
                if (read(kept[0], &byte, 1) != 1 || write(answers[1], &byte, 1) != 1)
                        _exit(2);
                behind_wait_rcu();
                _exit(0);
        }
        assert_true(pid > 0);
        close(dropped[1]);
        assert_int_equal(read(dropped[0], &got, 1), 0);
        assert_int_equal(write(kept[1], "y", 1), 1);
        assert_int_equal(read(answers[0], &got, 1), 1);
        assert_int_equal(got, 'y');
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        assert_int_equal(behind_fork(fds, BEHIND_FDS_MAX + 1), -E2BIG);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_fork)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
