/* SPDX-License-Identifier: Apache-2.0 */
#undef NDEBUG
#include "common/block/filecopy.h"

#include "common/base/cleanup.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)

static int unnamed_file(void) {
        int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        return fd;
}

static uint64_t allocated_bytes(int fd) {
        struct stat st;

        assert_int_equal(fstat(fd, &st), 0);
        return (uint64_t)st.st_blocks * 512;
}

static void put(int fd, const char *text, uint64_t at) {
        assert_int_equal(pwrite(fd, text, strlen(text), (off_t)at), (ssize_t)strlen(text));
}

static void assert_text(int fd, const char *text, uint64_t at) {
        char found[64] = {0};

        assert_int_equal(pread(fd, found, strlen(text), (off_t)at), (ssize_t)strlen(text));
        assert_string_equal(found, text);
}

/* 64 MiB with three islands of data; the copy has the islands and no block more than the source. */
static int island_file(void) {
        int fd = unnamed_file();

        assert_int_equal(ftruncate(fd, 64 << 20), 0);
        put(fd, "first", 0);
        put(fd, "middle", 31 * MIB + 17);
        put(fd, "last", 64 * MIB - 4);
        return fd;
}

static void run_to_end(FileCopy *copy) {
        int r;

        for (unsigned int n = 0; (r = filecopy_step(copy)) == 0; n++)
                assert_true(n < 1000);
        assert_int_equal(r, FILECOPY_E_DONE);
        assert_int_equal(copy->at_bytes, copy->size_bytes);
}

static void test_copy_keeps_holes(void **state) {
        for (int real_blocks = 0; real_blocks < 2; real_blocks++) {
                cleanup(closep) int from_fd = island_file(), to_fd = unnamed_file();
                cleanup(filecopy_deinit) FileCopy copy = {
                        .from_fd = from_fd,
                        .to_fd = to_fd,
                        .size_bytes = 64 * MIB,
                        .real_blocks = real_blocks,
                };

                assert_int_equal(ftruncate(to_fd, 64 << 20), 0);
                run_to_end(&copy);
                assert_text(to_fd, "first", 0);
                assert_text(to_fd, "middle", 31 * MIB + 17);
                assert_text(to_fd, "last", 64 * MIB - 4);
                assert_int_equal(fsync(to_fd), 0);
                assert_true(allocated_bytes(to_fd) <= MIB);
        }
}

/* The source changes after it was copied: data where there was none, other data, holes. */
static void test_copy_again(void **state) {
        cleanup(closep) int from_fd = island_file(), to_fd = unnamed_file();
        FileCopy copy = {.from_fd = from_fd, .to_fd = to_fd, .size_bytes = 64 * MIB};
        struct timespec mark;

        assert_int_equal(ftruncate(to_fd, 64 << 20), 0);
        run_to_end(&copy);
        for (int changes = 1; changes >= 0; changes--) {
                cleanup(filecopy_deinit) FileCopy again = copy;

                if (changes) {
                        assert_int_equal(fallocate(from_fd,
                                                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                                                   (off_t)MIB),
                                         0);
                        put(from_fd, "MIDDLE", 31 * MIB + 17);
                        put(from_fd, "new", 40 * MIB - 1);
                        assert_int_equal(fallocate(from_fd,
                                                   FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                   (off_t)(63 * MIB), (off_t)MIB),
                                         0);
                }
                assert_int_equal(filecopy_mark(to_fd, &mark), 0);
                again.at_bytes = 0;
                again.is_again = true;
                run_to_end(&again);
                /* What is equal is not written. */
                assert_int_equal(filecopy_was_written(to_fd, &mark), changes);
                assert_text(to_fd, "MIDDLE", 31 * MIB + 17);
                assert_text(to_fd, "new", 40 * MIB - 1);
                assert_int_equal(lseek(to_fd, 0, SEEK_DATA), 31 * (off_t)MIB);
                assert_int_equal(lseek(to_fd, 41 * (off_t)MIB, SEEK_DATA), -1);
        }
        for (uint64_t at = 0; at < 64 * MIB; at += MIB) {
                static char one[MIB], other[MIB];

                assert_int_equal(pread(from_fd, one, MIB, (off_t)at), MIB);
                assert_int_equal(pread(to_fd, other, MIB, (off_t)at), MIB);
                assert_memory_equal(one, other, MIB);
        }
}

/* A copy that is stopped after any step and goes on with a fresh object is whole. */
static void test_copy_resumes(void **state) {
        cleanup(closep) int from_fd = unnamed_file(), to_fd = unnamed_file();
        uint64_t at = 0;

        assert_int_equal(ftruncate(from_fd, 20 << 20), 0);
        assert_int_equal(ftruncate(to_fd, 20 << 20), 0);
        for (uint64_t i = 0; i < 20 * MIB; i += 4096) {
                char text[32];

                snprintf(text, sizeof(text), "block %llu", (unsigned long long)i);
                put(from_fd, text, i);
        }
        for (unsigned int n = 0;; n++) {
                cleanup(filecopy_deinit) FileCopy copy = {
                        .from_fd = from_fd,
                        .to_fd = to_fd,
                        .at_bytes = at,
                        .size_bytes = 20 * MIB,
                };
                int r = filecopy_step(&copy);

                assert_true(r >= 0 && n < 100);
                assert_true(copy.at_bytes - at <= FILECOPY_STEP_BYTES);
                at = copy.at_bytes;
                if (r == FILECOPY_E_DONE) {
                        assert_true(n >= 4);
                        break;
                }
        }
        for (uint64_t i = 0; i < 20 * MIB; i += 4096) {
                char text[32];

                snprintf(text, sizeof(text), "block %llu", (unsigned long long)i);
                assert_text(to_fd, text, i);
        }
}

static void test_preallocate(void **state) {
        cleanup(closep) int fd = unnamed_file();
        uint64_t at = 0;
        struct stat st;
        int r;

        r = filecopy_preallocate(fd, 8 * MIB, &at);
        if (r == -EOPNOTSUPP)
                skip();
        assert_int_equal(r, FILECOPY_E_DONE);
        assert_true(allocated_bytes(fd) >= 8 * MIB);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(st.st_size, 0);
        assert_int_equal(filecopy_trim(fd), 0);
        assert_int_equal(allocated_bytes(fd), 0);
}

static void test_reflink_probe(void **state) {
        cleanup(closep) int dir_fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        cleanup(closep) int proc_fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        int r = filecopy_can_reflink(dir_fd);

        assert_true(r == 0 || r == 1);
        assert_true(filecopy_can_reflink(proc_fd) <= 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_copy_keeps_holes), cmocka_unit_test(test_copy_again),
                cmocka_unit_test(test_copy_resumes),     cmocka_unit_test(test_preallocate),
                cmocka_unit_test(test_reflink_probe),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
