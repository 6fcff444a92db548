/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/base/exec.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int run(const char *script, const char *input, uint64_t timeout_msecs, ExecResult *result) {
        const char *argv[] = {"sh", "-c", script, NULL};
        const ExecRequest request = {.argv = argv,
                                     .input = input,
                                     .n_input = input ? strlen(input) : 0,
                                     .timeout_msecs = timeout_msecs,
                                     .output_limit_bytes = 1000};

        return exec_run(&request, result);
}

static void test_output_errors_status(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};

        assert_int_equal(run("cat; echo oops >&2; exit 3", "hello", 5000, &result), 0);
        assert_int_equal(result.exit_status, 3);
        assert_string_equal(result.output, "hello");
        assert_string_equal(result.errors, "oops\n");
        assert_false(result.truncated);
}

static void test_output_is_bounded(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};

        assert_int_equal(run("yes | head -c 300000", NULL, 20000, &result), 0);
        assert_int_equal(result.n_output, 1000);
        assert_true(result.truncated);
}

static void test_deadline_kills_the_group(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};

        assert_int_equal(run("sleep 60 & sleep 60", NULL, 200, &result), -ETIMEDOUT);
        assert_int_equal(result.term_signal, SIGKILL);
        assert_true(result.duration_msecs < 30000);
}

static void test_grandchild_with_open_pipe_does_not_block(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};

        assert_int_equal(run("sleep 20 & echo done", NULL, 60000, &result), 0);
        assert_string_equal(result.output, "done\n");
        assert_true(result.duration_msecs < 15000);
}

static void test_early_close_of_stdin(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        cleanup(freep) char *input = calloc(1, 1 << 20);

        memset(input, 'x', (1 << 20) - 1);
        assert_int_equal(run("exec <&-; echo ok", input, 5000, &result), 0);
        assert_string_equal(result.output, "ok\n");
}

static bool always(void *userdata) {
        return true;
}

static void test_cancel(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        const char *argv[] = {"sleep", "60", NULL};
        const ExecRequest request = {.argv = argv, .cancelled = always};

        assert_int_equal(exec_run(&request, &result), -ECANCELED);
}

static void test_missing_program(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        const char *argv[] = {"berth-no-such-program", NULL};
        const ExecRequest request = {.argv = argv};

        /* User emulation makes fork() of vfork(): the parent cannot see that exec failed. */
        if (getenv("MESON_EXE_WRAPPER"))
                skip();
        assert_int_equal(exec_run(&request, &result), -ENOENT);
}

static void test_no_descriptor_leaks_into_the_child(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        cleanup(closep) int inherited = dup(STDOUT_FILENO);

        assert_true(inherited > 2);
        assert_int_equal(run("ls /proc/self/fd | wc -l", NULL, 5000, &result), 0);
        /* 0, 1, 2, and the directory that ls has open. */
        assert_string_equal(result.output, "4\n");
}

static void test_device_of_the_child(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        cleanup(fclosep) FILE *file = tmpfile();
        const char *argv[] = {"sh", "-c", "cat $0; ls /proc/self/fd | wc -l", EXEC_DEVICE_PATH,
                              NULL};
        const ExecRequest request = {.argv = argv, .device_fd = fileno(file)};

        assert_true(fputs("its bytes\n", file) >= 0 && fflush(file) == 0);
        assert_int_equal(exec_run(&request, &result), 0);
        assert_string_equal(result.output, "its bytes\n5\n");
}

static void test_expendable(void **state) {
        cleanup(exec_result_deinit) ExecResult result = {0};
        /* Read a little later: it is set right after the start. */
        const char *const argv[] = {"sh", "-c", "sleep 0.2; cat /proc/self/oom_score_adj", NULL};
        const ExecRequest request = {.argv = argv, .is_expendable = true};

        assert_int_equal(exec_run(&request, &result), 0);
        assert_string_equal(result.output, "1000\n");
}

static void *spawn_on(void *stop) {
        while (!__atomic_load_n((bool *)stop, __ATOMIC_RELAXED)) {
                cleanup(exec_result_deinit) ExecResult result = {0};

                (void)run(":", NULL, 5000, &result);
        }
        return NULL;
}

/* What was closed is closed, although children are born all the time. */
static void test_settle(void **state) {
        bool stop = false;
        pthread_t threads[3];

        /* User emulation makes fork() of vfork(): the parent cannot wait for the exec. */
        if (getenv("MESON_EXE_WRAPPER"))
                skip();
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, spawn_on, &stop), 0);
        for (int i = 0; i < 3000; i++) {
                cleanup(closep) int read_fd = -1;
                struct pollfd fd;
                int pair[2];

                assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
                read_fd = pair[0];
                close(pair[1]);
                exec_settle();
                fd = (struct pollfd){.fd = read_fd, .events = POLLIN};
                assert_int_equal(poll(&fd, 1, 0), 1);
                assert_true(fd.revents & POLLHUP);
        }
        __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
        for (size_t i = 0; i < 3; i++)
                assert_int_equal(pthread_join(threads[i], NULL), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_output_errors_status),
                cmocka_unit_test(test_output_is_bounded),
                cmocka_unit_test(test_deadline_kills_the_group),
                cmocka_unit_test(test_grandchild_with_open_pipe_does_not_block),
                cmocka_unit_test(test_settle),
                cmocka_unit_test(test_early_close_of_stdin),
                cmocka_unit_test(test_cancel),
                cmocka_unit_test(test_missing_program),
                cmocka_unit_test(test_no_descriptor_leaks_into_the_child),
                cmocka_unit_test(test_device_of_the_child),
                cmocka_unit_test(test_expendable),
        };

        (void)signal(SIGPIPE, SIG_IGN);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
