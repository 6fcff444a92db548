/* SPDX-License-Identifier: Apache-2.0 */

/* Images in memory: signatures are written by hand, so that no tool is needed. */

#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_probe.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

static int image(size_t size_bytes) {
        int fd = memfd_create("image", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size_bytes), 0);
        return fd;
}

static void put(int fd, off_t offset, const void *data, size_t n) {
        assert_int_equal(pwrite(fd, data, n, offset), n);
}

static void test_nothing(void **state) {
        cleanup(closep) int fd = image(4UL << 20);
        BlockProbe probe;

        assert_int_equal(block_probe(fd, &probe), 0);
        assert_int_equal(probe.n_signatures, 0);
}

static void test_cannot_look(void **state) {
        cleanup(closep) int empty = image(0), tiny = image(1024), path = -1, directory = -1;
        BlockProbe probe;

        assert_int_equal(block_probe(empty, &probe), -ENODATA);
        assert_int_equal(block_probe(tiny, &probe), -ENODATA);
        path = open("/", O_PATH | O_CLOEXEC);
        assert_int_equal(block_probe(path, &probe), -ENOTBLK);
        directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(block_probe(directory, &probe), -ENOTBLK);
        assert_int_equal(block_probe(-1, &probe), -EBADF);
}

/* An image that cannot be read is not an empty one. */
static void test_write_only(void **state) {
        char path[] = "/tmp/berth-probe-XXXXXX";
        cleanup(closep) int fd = mkostemp(path, O_CLOEXEC), blind = -1;
        BlockProbe probe;

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 1L << 20), 0);
        blind = open(path, O_WRONLY | O_CLOEXEC);
        unlink(path);
        assert_true(blind >= 0);
        assert_true(block_probe(blind, &probe) < 0);
}

static void test_swap(void **state) {
        cleanup(closep) int fd = image(4UL << 20);
        BlockProbe probe;

        put(fd, 4096 - 10, "SWAPSPACE2", 10);
        put(fd, 1024, "\x01\0\0\0\xff\x03\0\0", 8);
        assert_int_equal(block_probe(fd, &probe), BLOCK_PROBE_E_FOUND);
        assert_int_equal(probe.n_signatures, 1);
        assert_string_equal(probe.signatures[0].type, "swap");
        assert_string_equal(probe.signatures[0].usage, "other");
        assert_true(probe.signatures[0].has_offset);
        assert_int_equal(probe.signatures[0].offset, 4096 - 10);
}

/* Two things at once are something; blkid calls them ambivalent and prints nothing. */
static void test_two(void **state) {
        cleanup(closep) int fd = image(8UL << 20);
        bool has_swap = false, has_luks = false;
        BlockProbe probe;

        put(fd, 4096 - 10, "SWAPSPACE2", 10);
        put(fd, 1024, "\x01\0\0\0\xff\x03\0\0", 8);
        put(fd, 0, "LUKS\xba\xbe\0\1", 8);
        assert_int_equal(block_probe(fd, &probe), BLOCK_PROBE_E_FOUND);
        for (size_t i = 0; i < probe.n_signatures; i++) {
                has_swap = has_swap || str_equal(probe.signatures[i].type, "swap");
                has_luks = has_luks || str_equal(probe.signatures[i].type, "crypto_LUKS");
        }
        assert_true(has_luks && has_swap);
}

/* Magic and nonsense: damaged, so not nothing. */
static void test_bad_checksum(void **state) {
        cleanup(closep) int fd = image(16UL << 20);
        BlockProbe probe;

        put(fd, (64L << 10) + 64, "_BHRfS_M", 8);
        assert_int_equal(block_probe(fd, &probe), BLOCK_PROBE_E_FOUND);
        assert_string_equal(probe.signatures[0].type, "btrfs");
        assert_true(probe.signatures[0].is_bad_checksum || probe.signatures[0].has_offset);
}

static void test_partition_table(void **state) {
        cleanup(closep) int fd = image(4UL << 20);
        BlockProbe probe;
        /* One Linux partition at sector 2048. */
        static const uint8_t entry[16] = {0, 0, 2, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0};

        put(fd, 446, entry, sizeof(entry));
        put(fd, 440, "\x12\x34\x56\x78", 4);
        put(fd, 510, "\x55\xaa", 2);
        assert_int_equal(block_probe(fd, &probe), BLOCK_PROBE_E_FOUND);
        assert_string_equal(probe.signatures[0].type, "dos");
        assert_string_equal(probe.signatures[0].usage, "partitions");
        assert_int_equal(probe.signatures[0].offset, 510);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_cannot_look),
                cmocka_unit_test(test_write_only),
                cmocka_unit_test(test_swap),
                cmocka_unit_test(test_two),
                cmocka_unit_test(test_bad_checksum),
                cmocka_unit_test(test_partition_table),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
