/* SPDX-License-Identifier: Apache-2.0 */

#undef NDEBUG

#include "csi/wait/patience.h"

#include "common/base/cleanup.h"
#include "csi/node/share.h"

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
        Patience *patience;
        int fds[2];
        PipeWork work;

        assert_int_equal(patience_new(&patience), 0);
        assert_int_equal(pipe(fds), 0);
        assert_int_equal(write(fds[1], "x", 1), 1);
        work = (PipeWork){fds[0], 0};
        assert_int_equal(patience_run(patience, "a", read_pipe, &work, sizeof(work), 60000), 0);
        assert_int_equal(work.answer, 'x');
        close(fds[0]);
        close(fds[1]);
        patience_free(patience);
}

/* Late; while it hangs nobody else is sent there; then it works again. */
static void test_late(void **state) {
        const struct timespec moment = {.tv_nsec = 1000000};
        Patience *patience;
        int fds[2], r;
        PipeWork work;

        assert_int_equal(patience_new(&patience), 0);
        assert_int_equal(pipe(fds), 0);
        work = (PipeWork){fds[0], 0};
        assert_int_equal(patience_run(patience, "a", read_pipe, &work, sizeof(work), 30),
                         PATIENCE_E_LATE);
        assert_int_equal(work.answer, 0);
        assert_int_equal(patience_run(patience, "a", read_pipe, &work, sizeof(work), 30),
                         PATIENCE_E_HANGING);
        /* Another key is not concerned. */
        assert_int_equal(write(fds[1], "yz", 2), 2);
        do {
                r = patience_run(patience, "a", read_pipe, &work, sizeof(work), 60000);
                nanosleep(&moment, NULL);
        } while (r == PATIENCE_E_HANGING);
        assert_int_equal(r, 0);
        assert_int_equal(work.answer, 'z');
        close(fds[0]);
        close(fds[1]);
        patience_free(patience);
}

static void read_and_close(void *data) {
        const PipeWork *work = data;

        read_pipe(data);
        close(work->fd);
}

static void test_limit_and_free(void **state) {
        static const char bytes[PATIENCE_LATE_MAX] = {0};
        Patience *patience;
        struct pollfd end = {0};
        PipeWork work;
        char key[16];
        int fds[2];

        assert_int_equal(patience_new(&patience), 0);
        assert_int_equal(pipe(fds), 0);
        for (int i = 0; i < PATIENCE_LATE_MAX; i++) {
                snprintf(key, sizeof(key), "%d", i);
                work = (PipeWork){dup(fds[0]), 0};
                assert_int_equal(
                        patience_run(patience, key, read_and_close, &work, sizeof(work), 0),
                        PATIENCE_E_LATE);
        }
        assert_int_equal(patience_run(patience, "one more", read_pipe, &work, sizeof(work), 0),
                         -EAGAIN);
        /* Its owner goes first; the threads end later. */
        patience_free(patience);
        assert_int_equal(write(fds[1], bytes, sizeof(bytes)), sizeof(bytes));
        close(fds[0]);
        end.fd = fds[1];
        assert_int_equal(poll(&end, 1, 60000), 1);
        assert_int_equal(end.revents, POLLERR);
        close(fds[1]);
}

static void test_helper_words(void **state) {
        static const struct {
                const char *words;
                ErrorCode code;
        } cases[] = {
                {"mount.nfs: access denied by server while mounting nas:/e", ERROR_DENIED},
                {"mount.nfs: mounting nas:/e failed, reason given by server: No such file or "
                 "directory",
                 ERROR_NOT_FOUND},
                {"mount.nfs: Connection refused for nas:/e on /t", ERROR_UNAVAILABLE},
                {"mount.nfs: Connection timed out", ERROR_UNAVAILABLE},
                {"mount.nfs: Failed to resolve server nas: Name or service not known",
                 ERROR_UNAVAILABLE},
                {"mount.nfs: requested NFS version or transport protocol is not supported",
                 ERROR_PRECONDITION},
                {"mount.nfs: No such device", ERROR_PRECONDITION},
                {"mount.nfs: an incorrect mount option was specified", ERROR_INVALID},
                {"mount.nfs: something else", ERROR_INTERNAL},
                {"", ERROR_INTERNAL},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++)
                assert_int_equal(share_helper_code(cases[i].words), cases[i].code);
        assert_true(share_is_remote("nfs4"));
        assert_true(share_is_remote("fuse.sshfs"));
        assert_false(share_is_remote("ext4"));
        assert_false(share_is_remote("nfsd"));
        assert_false(share_is_remote(NULL));
}

/* Left: what is asked for; right: as Linux 6.1 and 6.18 show it in mountinfo. */
static void test_sources(void **state) {
        static const struct {
                const char *asked, *shown;
                bool is_same;
        } cases[] = {
                {"nas:/", "nas:/", true},
                {"nas:/a", "nas:/a", true},
                {"nas:/a//b/", "nas:/a/b", true},
                {"nas:/a/b/", "nas:/a/b", true},
                {"nas:///", "nas:/", true},
                {"nas:/./a/./b/.", "nas:/a/b", true},
                {"nas:a", "nas:/a", true},
                {"nas:", "nas:/", true},
                {"nas:/.a/..b", "nas:/.a/..b", true},
                {"nas:/a:b/", "nas:/a:b", true},
                {"[fe80::1%eth0]:/a/", "[fe80::1%eth0]:/a", true},
                {"[2001:db8::1]:/", "[2001:db8::1]:/", true},
                /* NFSv3 is shown as it was asked for. */
                {"nas:/a//b/", "nas:/a//b/", true},
                {"nas:/a", "nas:/b", false},
                {"nas:/a", "nas:/", false},
                {"nas:/a", "nas:/a/b", false},
                {"nas:/ab", "nas:/a/b", false},
                {"nas:/a", "nas2:/a", false},
                {"nas:/a", "na:s/a", false},
                {"[2001:db8::1]:/a", "[2001:db8::2]:/a", false},
                {"[2001:db8::1]:/a", "[2001:db8::1]:/b", false},
                {"[2001:db8::1", "[2001:db8::1", true},
                {"//nas/a", "//nas/a", true},
                {"//nas/a", "//nas/a/", false},
                {"", "nas:/", false},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                assert_int_equal(share_is_same_source(cases[i].asked, cases[i].shown),
                                 cases[i].is_same);
                assert_int_equal(share_is_same_source(cases[i].shown, cases[i].asked),
                                 cases[i].is_same);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_in_time),        cmocka_unit_test(test_late),
                cmocka_unit_test(test_limit_and_free), cmocka_unit_test(test_helper_words),
                cmocka_unit_test(test_sources),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
