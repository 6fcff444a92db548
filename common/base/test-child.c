/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "common/base/child.h"

#include "common/base/cleanup.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

/* To the end of what it says. Return: as waitpid(2) tells. */
static int finish(Child *child) {
        int status, r = 0;

        while (r == 0) {
                struct pollfd wait = {.fd = child->output_fd, .events = POLLIN};

                assert_true(poll(&wait, 1, -1) >= 0);
                r = child_read(child);
        }
        assert_int_equal(r, 1);
        assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
        return status;
}

static void test_input_and_output(void **state) {
        static const char *const argv[] = {
                "/bin/sh", "-c", "cat; cat /proc/self/fd/0 >&2; ls /proc/self/fd | wc -l; exit 3",
                NULL};
        Child child = CHILD_NULL;
        int status;

        assert_int_equal(child_start(&child, argv, "given\n"), 0);
        assert_int_equal(child_start(&child, argv, NULL), -EBUSY);
        status = finish(&child);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
        /* Its own three, and what ls opens. */
        assert_string_equal(child.output, "given\ngiven\n4\n");
        child_deinit(&child);
        assert_int_equal(child.pid, 0);
}

static void test_no_program(void **state) {
        static const char *const argv[] = {"/none/program", NULL};
        Child child = CHILD_NULL;

        /* User emulation makes fork() of vfork(): the parent cannot see that exec failed. */
        if (getenv("MESON_EXE_WRAPPER"))
                skip();
        assert_int_equal(child_start(&child, argv, NULL), -ENOENT);
        assert_int_equal(child.pid, 0);
        child_deinit(&child);
}

static void test_much(void **state) {
        static const char *const argv[] = {"/bin/sh", "-c", "head -c 600000 /dev/zero", NULL};
        Child child = CHILD_NULL;

        assert_int_equal(child_start(&child, argv, NULL), 0);
        assert_int_equal(finish(&child), 0);
        assert_true(child.truncated);
        assert_int_equal(child.n_output, CHILD_OUTPUT_MAX);
        child_deinit(&child);
}

static void test_group_is_killed(void **state) {
        static const char *const argv[] = {"/bin/sh", "-c", "sleep 1000 & echo on; wait", NULL};
        Child child = CHILD_NULL;
        struct pollfd wait;
        int status;

        assert_int_equal(child_start(&child, argv, NULL), 0);
        wait = (struct pollfd){.fd = child.output_fd, .events = POLLIN};
        assert_int_equal(poll(&wait, 1, -1), 1);
        assert_int_equal(child_read(&child), 0);
        child_kill(&child);
        /* The end of the pipe: both are gone. */
        status = finish(&child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        child_deinit(&child);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_input_and_output),
                cmocka_unit_test(test_no_program),
                cmocka_unit_test(test_much),
                cmocka_unit_test(test_group_is_killed),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
