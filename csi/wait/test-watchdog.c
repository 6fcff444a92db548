/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/wait/watchdog.h"

#include "common/base/cleanup.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <time.h>

#include <cmocka.h>

/* What "hangs": a pipe that nobody writes to yet. */
typedef struct PipeWork {
        int fd;
        int answer;
} PipeWork;

static void read_pipe(void *data) {
        PipeWork *work = data;
        char c = 0;

        work->answer = read(work->fd, &c, 1) == 1 ? c : -1;
}

static void test_in_time(void **state) {
        Watchdog *watchdog;
        int fds[2];
        PipeWork work;

        assert_int_equal(watchdog_new(&watchdog), 0);
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        work = (PipeWork){fds[0], 0};
        assert_int_equal(watchdog_run(watchdog, "a", read_pipe, &work, sizeof(work), 60000), 0);
        assert_int_equal(work.answer, 'x');
        close(fds[0]);
        close(fds[1]);
        watchdog_free(watchdog);
}

/* Late; while it hangs nobody else is sent there; then it works again. */
static void test_late(void **state) {
        const struct timespec moment = {.tv_nsec = 1000000};
        Watchdog *watchdog;
        int fds[2], r;
        PipeWork work;

        assert_int_equal(watchdog_new(&watchdog), 0);
        assert_int_equal(pipe(fds), 0);
        work = (PipeWork){fds[0], 0};
        assert_int_equal(watchdog_run(watchdog, "a", read_pipe, &work, sizeof(work), 30),
                         WATCHDOG_E_LATE);
        assert_int_equal(work.answer, 0);
        assert_int_equal(watchdog_run(watchdog, "a", read_pipe, &work, sizeof(work), 30),
                         WATCHDOG_E_HANGING);
        /* Another key is not concerned. */
        assert_int_equal(write(fds[1], "yz", 2), 2);
        do {
                r = watchdog_run(watchdog, "a", read_pipe, &work, sizeof(work), 60000);
                nanosleep(&moment, NULL);
        } while (r == WATCHDOG_E_HANGING);
        assert_int_equal(r, 0);
        assert_int_equal(work.answer, 'z');
        close(fds[0]);
        close(fds[1]);
        watchdog_free(watchdog);
}

static void read_and_close(void *data) {
        const PipeWork *work = data;

        read_pipe(data);
        close(work->fd);
}

static void test_limit_and_free(void **state) {
        static const char bytes[WATCHDOG_LATE_MAX] = {0};
        Watchdog *watchdog;
        struct pollfd end = {0};
        PipeWork work;
        char key[16];
        int fds[2];

        assert_int_equal(watchdog_new(&watchdog), 0);
        assert_int_equal(pipe(fds), 0);
        for (int i = 0; i < WATCHDOG_LATE_MAX; i++) {
                snprintf(key, sizeof(key), "%d", i);
                work = (PipeWork){dup(fds[0]), 0};
                assert_int_equal(
                        watchdog_run(watchdog, key, read_and_close, &work, sizeof(work), 0),
                        WATCHDOG_E_LATE);
        }
        assert_int_equal(watchdog_run(watchdog, "one more", read_pipe, &work, sizeof(work), 0),
                         -EAGAIN);
        /* Its owner goes first; the threads end later. */
        watchdog_free(watchdog);
        assert_int_equal(write(fds[1], bytes, sizeof(bytes)), sizeof(bytes));
        close(fds[0]);
        end.fd = fds[1];
        assert_int_equal(poll(&end, 1, 60000), 1);
        assert_int_equal(end.revents, POLLERR);
        close(fds[1]);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_in_time),
                cmocka_unit_test(test_late),
                cmocka_unit_test(test_limit_and_free),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
