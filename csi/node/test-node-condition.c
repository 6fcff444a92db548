/* SPDX-License-Identifier: Apache-2.0 */

/* Filesystems and disks that go wrong, and what is said of them. */

#include "csi/node/test-node.h"

#include "csi/node/condition.h"

#include <linux/fs.h>

/* fs/xfs/libxfs/xfs_fs.h and include/uapi/linux/ext4.h: both have the same number. */
#define TEST_IOC_SHUTDOWN _IOR('X', 125, uint32_t)

static const Ask ext4 = {.fs_type = "ext4"};

static void expect_condition(Node *node, const char *id, const char *path, const char *words) {
        NodeStatsResult result;

        expect_ok(stats(node, id, path, &result));
        assert(result.has_condition && result.has_bytes);
        printf("  %s\n", result.condition_message);
        fflush(stdout);
        assert(result.abnormal == (words != NULL));
        assert(!words || strstr(result.condition_message, words));
}

/* "loop3" of the disk's path */
static const char *disk_name(const Disk *disk) {
        return disk->path + strlen("/dev/");
}

/* The kernel's own way to have an error: /sys/fs/ext4/<disk>/trigger_fs_error. */
static void test_ext4_error(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("err-1", 64 * MIB);
        char path[96];
        int fd;

        expect_ok(stage(node, "err-1", &(Ask){.fs_type = "ext4", .flag = "errors=remount-ro"}));
        expect_ok(publish(node, "err-1", TARGET, &ext4));
        expect_condition(node, "err-1", TARGET, NULL);
        (void)snprintf(path, sizeof(path), "/sys/fs/ext4/%s/trigger_fs_error", disk_name(disk));
        make_file(path, "test");
        fd = open(TARGET "/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert(fd < 0 && errno == EROFS);
        expect_condition(node, "err-1", TARGET, "after an error");
        expect_condition(node, "err-1", STAGING, "ext4 recorded 1 errors");
        /* Who wants to write is told; who reads, and who has it already, goes on. */
        expect(ERROR_PRECONDITION, publish(node, "err-1", TARGET2, &ext4));
        printf("  %s\n", last_error.message);
        assert(!exists(TARGET2));
        expect_ok(publish(node, "err-1", TARGET2, &(Ask){.fs_type = "ext4", .readonly = true}));
        expect_ok(publish(node, "err-1", TARGET, &ext4));
        expect_ok(unpublish(node, "err-1", TARGET2));
        expect_ok(unpublish(node, "err-1", TARGET));
        expect_ok(unstage(node, "err-1", STAGING));
        /* Staged again it is checked, and well. */
        expect_ok(stage(node, "err-1", &ext4));
        expect_condition(node, "err-1", STAGING, NULL);
        expect_ok(unstage(node, "err-1", STAGING));
        node_free(node);
}

static void shut_down(const char *fs_type, const char *id, uint64_t size_bytes, const char *words) {
        const Ask ask = {.fs_type = fs_type};
        Node *node = node_open(NULL);
        uint32_t no_flush = 2;
        int fd;

        disk_new(id, size_bytes);
        expect_ok(stage(node, id, &ask));
        expect_ok(publish(node, id, TARGET, &ask));
        fd = open(TARGET, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert(fd >= 0 && ioctl(fd, TEST_IOC_SHUTDOWN, &no_flush) == 0);
        close(fd);
        expect_condition(node, id, TARGET, words);
        expect_ok(unpublish(node, id, TARGET));
        expect_ok(unstage(node, id, STAGING));
        expect_ok(stage(node, id, &ask));
        expect_condition(node, id, STAGING, NULL);
        expect_ok(unstage(node, id, STAGING));
        node_free(node);
}

static void test_ext4_shutdown(void) {
        shut_down("ext4", "down-e", 64 * MIB, "shut down");
}

static void test_xfs_shutdown(void) {
        shut_down("xfs", "down-x", 512 * MIB, "shut down");
}

static void test_smaller_device(void) {
        Node *node = node_open(NULL);
        Disk *disk = disk_new("small-1", 64 * MIB);

        expect_ok(stage(node, "small-1", &ext4));
        disk_resize(disk, 32 * MIB);
        assert(loop_set_capacity(disk->loop_fd) == 0);
        expect_condition(node, "small-1", STAGING, "the device has 33554432 bytes, less than");
        disk_resize(disk, 64 * MIB);
        assert(loop_set_capacity(disk->loop_fd) == 0);
        expect_condition(node, "small-1", STAGING, NULL);
        expect_ok(unstage(node, "small-1", STAGING));
        node_free(node);
}

/* Reads that fail, counted by btrfs: the file behind the disk became shorter. */
static void test_btrfs_errors(void) {
        const Ask ask = {.fs_type = "btrfs"};
        Node *node = node_open(NULL);
        Disk *disk = disk_new("stat-1", 256 * MIB);
        char *block = malloc(MIB);
        bool failed = false;
        int fd;

        expect_ok(stage(node, "stat-1", &ask));
        fd = open(STAGING "/file", O_CREAT | O_RDWR | O_CLOEXEC, 0600);
        memset(block, 'x', MIB);
        for (int i = 0; i < 96; i++)
                assert(write(fd, block, MIB) == (ssize_t)MIB);
        assert(fsync(fd) == 0);
        assert(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) == 0);
        expect_condition(node, "stat-1", STAGING, NULL);
        disk_resize(disk, 64 * MIB);
        for (int i = 0; i < 96; i++)
                failed = pread(fd, block, MIB, (off_t)i * (off_t)MIB) < 0 || failed;
        free(block);
        close(fd);
        if (!failed)
                printf("  no read failed: the data lies elsewhere\n");
        else
                expect_condition(node, "stat-1", STAGING, "btrfs recorded");
        expect_ok(unstage(node, "stat-1", STAGING));
        node_free(node);
}

/* A read-only target hides whether its filesystem is read-only by accident; its staging path
 * tells. */
static void test_read_only_target(void) {
        const Ask ro = {.fs_type = "ext4", .readonly = true};
        const NodeStatsRequest request = {"ro-1", TARGET, STAGING};
        NodeStatsResult result = {0};
        Node *node = node_open(NULL);
        Call call = call_make();
        Error err = {0};
        int fd;

        disk_new("ro-1", 64 * MIB);
        expect_ok(stage(node, "ro-1", &ext4));
        expect_ok(publish(node, "ro-1", TARGET, &ro));
        expect_condition(node, "ro-1", TARGET, NULL);
        /* The filesystem alone; mount(2) would change the mount too. */
        fd = fspick(AT_FDCWD, STAGING, FSPICK_CLOEXEC);
        assert(fd >= 0 && fsconfig(fd, FSCONFIG_SET_FLAG, "ro", NULL, 0) == 0);
        assert(fsconfig(fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) == 0);
        close(fd);
        expect_condition(node, "ro-1", TARGET, NULL);
        assert(node_stats(node, &call, &request, &result, &err) == 0);
        assert(result.abnormal && strstr(result.condition_message, "read-only"));
        expect_ok(unpublish(node, "ro-1", TARGET));
        expect_ok(unstage(node, "ro-1", STAGING));
        node_free(node);
}

/* The disk vanishes under a raw block volume. */
static void test_block_gone(void) {
        const Ask block = {.fs_type = "block"};
        Node *node = node_open(NULL);
        Disk *disk = disk_new("gone-1", 16 * MIB);

        expect_ok(publish(node, "gone-1", TARGET, &block));
        expect_condition(node, "gone-1", TARGET, NULL);
        disk_detach(disk);
        expect_condition(node, "gone-1", TARGET, "the device has no size any more");
        expect_ok(unpublish(node, "gone-1", TARGET));
        node_free(node);
}

int main(int argc, char **argv) {
        static const TestCase tests[] = {
                {"ext4_error", test_ext4_error},     {"ext4_shutdown", test_ext4_shutdown},
                {"xfs_shutdown", test_xfs_shutdown}, {"smaller_device", test_smaller_device},
                {"btrfs_errors", test_btrfs_errors}, {"read_only_target", test_read_only_target},
                {"block_gone", test_block_gone},
        };

        return run_tests(tests, N_ELEMENTS(tests), argc > 1 ? argv[1] : NULL);
}
