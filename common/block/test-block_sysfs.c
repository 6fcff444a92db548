/* SPDX-License-Identifier: Apache-2.0 */

/* A sysfs tree as QEMU's NVMe, virtio and SCSI disks make it. */

#undef NDEBUG
#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_sysfs.h"

#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

static char root[] = "/tmp/berth-sysfs-XXXXXX";
static int root_fd = -1;

static void put(const char *path, const char *text, size_t n) {
        cleanup(freep) char *directory = str_printf("%s/%s", root, path);
        cleanup(closep) int fd = -1;

        *strrchr(directory, '/') = '\0';
        assert_int_equal(file_make_directories(directory, 0755), 0);
        fd = openat(root_fd, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        assert_true(fd >= 0);
        assert_int_equal(file_write_all(fd, text, n), 0);
}

static void put_text(const char *directory, const char *name, const char *text) {
        cleanup(freep) char *path = str_printf("%s/%s", directory, name);

        put(path, text, strlen(text));
}

static void put_disk(const char *directory, const char *name, const char *dev, const char *sectors,
                     const char *sector) {
        cleanup(freep) char *uevent =
                str_printf("MAJOR=0\nDEVNAME=%s\nDEVTYPE=disk\nDISKSEQ=9\n", name);
        cleanup(freep) char *by_dev = str_printf("sys/dev/block/%s", dev);
        cleanup(freep) char *by_class = str_printf("sys/class/block/%s", name);
        cleanup(freep) char *up3 = str_printf("../../../%s", directory);

        put_text(directory, "uevent", uevent);
        put_text(directory, "dev", dev);
        put_text(directory, "size", sectors);
        put_text(directory, "ro", "0\n");
        if (sector)
                put_text(directory, "queue/logical_block_size", sector);
        assert_int_equal(symlinkat(up3, root_fd, by_dev), 0);
        assert_int_equal(symlinkat(up3, root_fd, by_class), 0);
}

static int set_up(void **state) {
        cleanup(freep) char *a = NULL, *b = NULL;

        assert_non_null(mkdtemp(root));
        root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
        a = str_printf("%s/sys/dev/block", root);
        b = str_printf("%s/sys/class/block", root);
        assert_int_equal(file_make_directories(a, 0755), 0);
        assert_int_equal(file_make_directories(b, 0755), 0);

        put_disk("sys/devices/pci/nvme/nvme0/nvme0n1", "nvme0n1", "259:0", "2097152\n", "4096\n");
        put_text("sys/devices/pci/nvme/nvme0", "serial", "vol0aaaabbbb           \n");
        assert_int_equal(
                symlinkat("../../nvme0", root_fd, "sys/devices/pci/nvme/nvme0/nvme0n1/device"), 0);
        put_text("sys/devices/pci/nvme/nvme0/nvme0n1", "wwid", "nvme.1b36-766f6c-0001\n");
        put_disk("sys/devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1", "nvme0n1p1", "259:1", "2048\n",
                 NULL);
        put_text("sys/devices/pci/nvme/nvme0/nvme0n1/nvme0n1p1", "partition", "1\n");

        put_disk("sys/devices/virtio/block/vda", "vda", "254:0", "4096\n", "512\n");
        put_text("sys/devices/virtio/block/vda", "serial", "vol-0123456789abcdef");

        put_disk("sys/devices/scsi/0:0:0:1/block/sda", "sda", "8:0", "8192\n", "512\n");
        put("sys/devices/scsi/0:0:0:1/vpd_pg80", "\0\x80\0\x0c  0QEMU_disk  ", 18);
        put_text("sys/devices/scsi/0:0:0:1", "wwid", "naa.5000c500deadbeef\n");
        assert_int_equal(
                symlinkat("../../../0:0:0:1", root_fd, "sys/devices/scsi/0:0:0:1/block/sda/device"),
                0);
        put_disk("sys/devices/virtual/block/dm-0", "dm-0", "253:0", "2048\n", "512\n");
        put_text("sys/devices/virtual/block/dm-0/slaves", "unused", "");
        assert_int_equal(symlinkat("../../../../pci/nvme/nvme0/nvme0n1/nvme0n1p1", root_fd,
                                   "sys/devices/virtual/block/dm-0/slaves/nvme0n1p1"),
                         0);
        put_disk("sys/devices/virtual/block/loop0", "loop0", "7:0", "0\n", "512\n");
        return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at) {
        return remove(path);
}

static int tear_down(void **state) {
        close(root_fd);
        return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void test_info(void **state) {
        BlockInfo info;

        assert_int_equal(block_sysfs_info(root_fd, makedev(259, 0), &info), 0);
        assert_string_equal(info.name, "nvme0n1");
        assert_int_equal(info.devno, makedev(259, 0));
        assert_int_equal(info.size_bytes, 1UL << 30);
        assert_int_equal(info.logical_sector_bytes, 4096);
        assert_false(info.is_partition);
        assert_int_equal(block_sysfs_info(root_fd, makedev(259, 1), &info), 0);
        assert_string_equal(info.name, "nvme0n1p1");
        assert_true(info.is_partition);
        assert_int_equal(info.logical_sector_bytes, 4096);
        assert_int_equal(block_sysfs_info(root_fd, makedev(1, 1), &info), -ENODEV);
        assert_int_equal(block_sysfs_name(root_fd, makedev(259, 1), info.name), 0);
        assert_string_equal(info.name, "nvme0n1p1");
        assert_int_equal(block_sysfs_name(root_fd, makedev(1, 1), info.name), -ENODEV);
        assert_int_equal(block_sysfs_size(root_fd, makedev(259, 0), &info.size_bytes), 0);
        assert_int_equal(info.size_bytes, 1UL << 30);
        assert_int_equal(block_sysfs_size(root_fd, makedev(1, 1), &info.size_bytes), -ENODEV);
        assert_int_equal(block_sysfs_info_by_name(root_fd, "vda", &info), 0);
        assert_int_equal(info.devno, makedev(254, 0));
        assert_int_equal(block_sysfs_info_by_name(root_fd, "vdb", &info), -ENODEV);
        assert_int_equal(block_sysfs_info_by_name(root_fd, "../vda", &info), -ENODEV);
}

static void test_list(void **state) {
        cleanup(freep) char(*names)[BLOCK_NAME_MAX] = NULL;
        size_t n = 0;

        assert_int_equal(block_sysfs_list(root_fd, &names, &n), 0);
        assert_int_equal(n, 6);
        assert_string_equal(names[0], "dm-0");
        assert_string_equal(names[5], "vda");
}

static void test_is_on(void **state) {
        const uint64_t disk = makedev(259, 0), partition = makedev(259, 1),
                       mapper = makedev(253, 0);

        assert_int_equal(block_sysfs_is_on(root_fd, disk, disk), 1);
        assert_int_equal(block_sysfs_is_on(root_fd, partition, disk), 1);
        assert_int_equal(block_sysfs_is_on(root_fd, disk, partition), 0);
        assert_int_equal(block_sysfs_is_on(root_fd, mapper, partition), 1);
        assert_int_equal(block_sysfs_is_on(root_fd, mapper, disk), 1);
        assert_int_equal(block_sysfs_is_on(root_fd, mapper, makedev(8, 0)), 0);
        assert_int_equal(block_sysfs_is_on(root_fd, makedev(1, 1), disk), 0);
}

static void test_disk(void **state) {
        const uint64_t own[] = {makedev(259, 0), makedev(253, 0)};
        uint64_t disk = 0;

        for (size_t i = 0; i < N_ELEMENTS(own); i++) {
                assert_int_equal(block_sysfs_disk(root_fd, own[i], &disk), 0);
                assert_int_equal(disk, own[i]);
        }
        assert_int_equal(block_sysfs_disk(root_fd, makedev(259, 1), &disk), 0);
        assert_int_equal(disk, makedev(259, 0));
        assert_int_equal(block_sysfs_disk(root_fd, makedev(1, 1), &disk), -ENODEV);
}

static void test_written(void **state) {
        const uint64_t disk = makedev(259, 0);
        uint64_t n_sectors = 0;
        bool writing = true;

        assert_int_equal(block_sysfs_written(root_fd, disk, &n_sectors, &writing), -ENOENT);
        put_text("sys/devices/pci/nvme/nvme0/nvme0n1", "inflight", "       3        0\n");
        put_text("sys/devices/pci/nvme/nvme0/nvme0n1", "stat",
                 "  330519    59018 31249735   586168   115900    64014  4097581    25579        0 "
                 "   "
                 "62428   625522       50        0 32243830      462    71536    13312\n");
        assert_int_equal(block_sysfs_written(root_fd, disk, &n_sectors, &writing), 0);
        assert_int_equal(n_sectors, 4097581);
        assert_false(writing);
        put_text("sys/devices/pci/nvme/nvme0/nvme0n1", "inflight", "       0        1\n");
        assert_int_equal(block_sysfs_written(root_fd, disk, &n_sectors, &writing), 0);
        assert_true(writing);
        put_text("sys/devices/scsi/0:0:0:1/block/sda", "inflight", "0\n");
        assert_int_equal(block_sysfs_written(root_fd, makedev(8, 0), &n_sectors, &writing), -EIO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_info),    cmocka_unit_test(test_list),
                cmocka_unit_test(test_is_on),   cmocka_unit_test(test_disk),
                cmocka_unit_test(test_written),
        };

        return cmocka_run_group_tests(tests, set_up, tear_down);
}
