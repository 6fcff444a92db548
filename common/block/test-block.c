/* SPDX-License-Identifier: Apache-2.0 */

/* Loop devices and what the kernel says of block devices, on devices of our own. */

#include "tests/lib/test.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_probe.h"
#include "common/block/block_sysfs.h"
#include "common/block/loop.h"

#include <limits.h>
#include <pthread.h>

static int backing_file(uint64_t size_bytes, struct stat *status) {
        char path[] = "/var/tmp/berth-loop-XXXXXX";
        int fd = mkostemp(path, O_CLOEXEC);

        assert(fd >= 0);
        unlink(path);
        assert(ftruncate(fd, (off_t)size_bytes) == 0);
        assert(fstat(fd, status) == 0);
        return fd;
}

static void test_attach_find_grow_detach(void) {
        struct stat status;
        cleanup(closep) int backing = backing_file(16UL << 20, &status), fd = -1;
        LoopConfig config = {.backing_fd = backing, .wants_direct_io = true, .is_autoclear = true};
        unsigned int number, found = 0;
        LoopStatus loop;
        uint64_t size;

        assert(loop_find(status.st_dev, status.st_ino, UINT_MAX, &found) == LOOP_E_NONE);
        assert(!loop_is_possible(backing));
        assert(loop_attach(&config, &number, &fd) == 0);
        assert(loop_get_status(fd, &loop) == 0);
        assert(loop.backing_dev == status.st_dev && loop.backing_inode == status.st_ino);
        assert(loop.is_autoclear && !loop.is_read_only);
        printf("direct I/O: %d\n", loop.is_direct_io);
        assert(loop_find(status.st_dev, status.st_ino, UINT_MAX, &found) == 0 && found == number);
        found = 0;
        assert(loop_find(status.st_dev, status.st_ino, number, &found) == 0 && found == number);
        /* A wrong hint is only a hint. */
        assert(loop_find(status.st_dev, status.st_ino, number + 1, &found) == 0);
        assert(found == number);

        assert(block_get_size(fd, &size) == 0 && size == 16UL << 20);
        assert(ftruncate(backing, 32L << 20) == 0);
        assert(loop_set_capacity(fd) == 0);
        assert(block_get_size(fd, &size) == 0 && size == 32UL << 20);
        assert(loop_detach(fd) == 0);
        closep(&fd);
        assert(loop_find(status.st_dev, status.st_ino, number, &found) == LOOP_E_NONE);
}

/* A file of which one descriptor is open proves by a lease that no loop device is behind it. */
static void test_possible(void) {
        char path[] = "/var/tmp/berth-loop-XXXXXX";
        cleanup(closep) int backing = mkostemp(path, O_CLOEXEC), fd = -1, other = -1;
        LoopConfig config = {.backing_fd = backing, .is_autoclear = true};
        unsigned int number;

        assert(backing >= 0 && ftruncate(backing, 1L << 20) == 0);
        other = open(path, O_RDONLY | O_CLOEXEC);
        assert(loop_is_possible(backing));
        closep(&other);
        assert(!loop_is_possible(backing));
        assert(loop_attach(&config, &number, &fd) == 0);
        closep(&backing);
        /* Only the loop device is left, and whoever looks. */
        other = open(path, O_RDONLY | O_CLOEXEC);
        assert(loop_is_possible(other));
        closep(&other);
        other = open(path, O_RDWR | O_CLOEXEC);
        assert(loop_is_possible(other));
        assert(loop_detach(fd) == 0);
        closep(&fd);
        assert(!loop_is_possible(other));
        unlink(path);
}

/* Written to the device, detached by the one user that is left: it must be in the file. */
static void test_detach_keeps_data(void) {
        struct stat status;
        cleanup(closep) int backing = backing_file(1UL << 20, &status), fd = -1, writer = -1;
        LoopConfig config = {.backing_fd = backing};
        char path[LOOP_PATH_MAX], text[5] = "";
        unsigned int number;

        assert(loop_attach(&config, &number, &fd) == 0);
        loop_path(number, path);
        writer = open(path, O_WRONLY | O_CLOEXEC);
        assert(writer >= 0 && write(writer, "data", 4) == 4);
        closep(&writer);
        assert(loop_detach(fd) == 0);
        assert(pread(backing, text, 4, 0) == 4 && str_equal(text, "data"));
}

static void test_read_only(void) {
        struct stat status;
        cleanup(closep) int backing = backing_file(1UL << 20, &status), fd = -1;
        LoopConfig config = {.backing_fd = backing,
                             .is_read_only = true,
                             .is_autoclear = true,
                             .logical_sector_bytes = 4096,
                             .offset_bytes = 8192,
                             .limit_bytes = 65536};
        unsigned int number;
        bool read_only = false;
        uint32_t sector;
        uint64_t size;

        assert(loop_attach(&config, &number, &fd) == 0);
        assert(block_get_read_only(fd, &read_only) == 0 && read_only);
        assert(block_get_logical_sector(fd, &sector) == 0 && sector == 4096);
        assert(block_get_size(fd, &size) == 0 && size == 65536);
        assert(block_flush(fd) == 0);
}

static void test_open_and_sysfs(void) {
        char path[32], wrong[40];
        cleanup(closep) int fd = test_loop_open(4UL << 20, path), root = -1, opened = -1,
                            again = -1;
        uint64_t sequence = 0;
        BlockInfo info;
        struct stat status;
        BlockProbe probe;

        assert(fstat(fd, &status) == 0);
        root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        assert(block_sysfs_info(root, status.st_rdev, &info) == 0);
        assert(str_equal(info.name, path + strlen("/dev/")));
        assert(info.size_bytes == 4UL << 20 && info.logical_sector_bytes == 512);
        opened = block_open(path, O_RDWR | O_EXCL, status.st_rdev);
        assert(opened >= 0);
        again = block_open(path, O_RDONLY | O_EXCL, status.st_rdev);
        assert(again == -EBUSY);
        assert(block_open(path, O_RDONLY, status.st_rdev + 1) == -ENXIO);
        assert(block_open("/dev/null", O_RDONLY, 0) == -ENOTBLK);
        snprintf(wrong, sizeof(wrong), "%s-", path);
        assert(block_open(wrong, O_RDONLY, 0) == -ENOENT);
        assert(block_get_sequence(opened, &sequence) == 0 && sequence > 0);
        assert(block_probe(opened, &probe) == 0);
        closep(&opened);
        assert(test_run("mkfs.ext4", "-q", path, NULL) == 0);
        assert(block_probe(fd, &probe) == BLOCK_PROBE_E_FOUND);
        assert(str_equal(probe.signatures[0].type, "ext4"));
        assert(str_equal(probe.signatures[0].usage, "filesystem"));
        assert(probe.signatures[0].offset == 0x438);
}

/* A loop device whose file became shorter: reads fail, and that is not "nothing". */
static void test_probe_unreadable(void) {
        struct stat status;
        cleanup(closep) int backing = backing_file(8UL << 20, &status), fd = -1;
        LoopConfig config = {.backing_fd = backing, .is_autoclear = true};
        unsigned int number;
        BlockProbe probe;

        assert(loop_attach(&config, &number, &fd) == 0);
        assert(ftruncate(backing, 1L << 20) == 0);
        (void)block_flush(fd);
        assert(block_probe(fd, &probe) < 0);
}

static void *attach_some(void *userdata) {
        bool *okp = userdata;

        for (int i = 0; i < 8; i++) {
                struct stat status;
                cleanup(closep) int backing = backing_file(1UL << 20, &status), fd = -1;
                LoopConfig config = {.backing_fd = backing, .is_autoclear = true};
                unsigned int number, found;

                if (loop_attach(&config, &number, &fd) != 0 ||
                    loop_find(status.st_dev, status.st_ino, UINT_MAX, &found) != 0 ||
                    found != number)
                        *okp = false;
        }
        return NULL;
}

/* Everybody asks for a free number at once. */
static void test_attach_race(void) {
        pthread_t threads[8];
        bool ok = true;

        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert(pthread_create(&threads[i], NULL, attach_some, &ok) == 0);
        for (size_t i = 0; i < N_ELEMENTS(threads); i++)
                assert(pthread_join(threads[i], NULL) == 0);
        assert(ok);
}

int main(void) {
        test_require_root();
        test_attach_find_grow_detach();
        test_possible();
        test_detach_keeps_data();
        test_read_only();
        test_open_and_sysfs();
        test_probe_unreadable();
        test_attach_race();
        return 0;
}
