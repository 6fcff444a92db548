/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Refusing to format. Every signature of the table at its place on an otherwise empty image,
 * damaged superblocks of real filesystems, and devices that cannot be read: never "blank".
 */

#undef NDEBUG
#include "fs/look/inspect.h"
#include "tests/lib/pieces.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cmocka.h>

#define MIB  (UINT64_C(1) << 20)
#define SIZE (512 * MIB)

static FsInspection seen;

static int image(uint64_t size) {
        int fd = memfd_create("berth-inspect", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        return fd;
}

static void put(int fd, uint64_t offset, const void *bytes, size_t n) {
        assert_int_equal(pwrite(fd, bytes, n, (off_t)offset), (ssize_t)n);
}

static void look(int fd, FsFind find) {
        Error err = {0};

        assert_int_equal(fs_inspect(fd, NULL, &seen, &err), 0);
        if (seen.find != find)
                print_error("found %s: %s\n", fs_find_name(seen.find), seen.why);
        assert_int_equal(seen.find, find);
        assert_int_equal(fs_blank_test(fd, NULL, &err) == 0, find == FS_FIND_BLANK);
        if (find != FS_FIND_BLANK)
                assert_int_equal(err.code, ERROR_PRECONDITION);
}

static void put_pieces(int fd, const Pieces *pieces) {
        for (size_t i = 0; i < pieces->n_pieces; i++)
                put(fd, pieces->pieces[i].offset, pieces->pieces[i].data, pieces->pieces[i].n);
}

static int image_of(const char *name) {
        Pieces pieces;
        int fd;

        pieces_load(&pieces, name);
        fd = image(pieces.size_bytes);
        put_pieces(fd, &pieces);
        pieces_unload(&pieces);
        return fd;
}

static void test_blank(void **state) {
        static const uint64_t sizes[] = {65536,
                                         MIB,
                                         MIB + 512,
                                         3 * MIB + 511,
                                         64 * MIB,
                                         64 * MIB + 1,
                                         2048 * MIB,
                                         UINT64_C(307200) * MIB,
                                         UINT64_C(70000) * 1024 * MIB};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                cleanup(closep) int fd = image(sizes[i]);

                look(fd, FS_FIND_BLANK);
                assert_int_equal(seen.n_hits, 0);
                assert_true(seen.n_read < 96 * MIB);
        }
}

typedef struct Signature {
        const char *type;
        int64_t offset; /* negative: from the end */
        const char *bytes;
        size_t n;
} Signature;

/* clang-format off */
static const Signature signatures[] = {
        {"LVM2_member", 512, "LABELONE\1\0\0\0\0\0\0\0\0\0\0\0\x20\0\0\0LVM2 001", 32},
        {"LVM2_member", 1536, "LABELONE", 8},
        {"linux_raid_member", 4096, "\xfc\x4e\x2b\xa9", 4},
        {"linux_raid_member", 0, "\xfc\x4e\x2b\xa9", 4},
        {"linux_raid_member", -8192, "\xfc\x4e\x2b\xa9", 4},
        {"linux_raid_member", -65536, "\xfc\x4e\x2b\xa9", 4},
        {"linux_raid_member", -65536, "\xa9\x2b\x4e\xfc", 4},
        {"crypto_LUKS", 0, "LUKS\xba\xbe\0\1", 8},
        {"crypto_LUKS", 0x4000, "SKUL\xba\xbe\0\2", 8},
        {"crypto_LUKS", 0x400000, "SKUL\xba\xbe\0\2", 8},
        {"BitLocker", 3, "-FVE-FS-", 8},
        {"zfs_member", 0x20000, "\x0c\xb1\xba\0\0\0\0\0", 8},
        {"zfs_member", 0x40000 + 0x20000 + 1024 * 7, "\0\0\0\0\0\xba\xb1\x0c", 8},
        {"zfs_member", -0x80000 + 0x20000 + 1024 * 127, "\x0c\xb1\xba\0\0\0\0\0", 8},
        {"zfs_member", -0x40000 + 0x20000, "\x0c\xb1\xba\0\0\0\0\0", 8},
        {"swap", 4096 - 10, "SWAPSPACE2", 10},
        {"swap", 16384 - 10, "SWAPSPACE2", 10},
        {"swap", 65536 - 10, "SWAPSPACE2", 10},
        {"swsuspend", 4096 - 10, "S1SUSPEND\0", 10},
        {"gpt", 512, "EFI PART", 8},
        {"gpt", 4096, "EFI PART", 8},
        {"gpt-backup", -512, "EFI PART", 8},
        {"gpt-backup", -4096, "EFI PART", 8},
        {"bcache", 4096 + 24, "\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81", 16},
        {"bcachefs", 4096 + 24, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", 16},
        {"bcachefs", 0x200018, "\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef", 16},
        {"stratis", 516, "!Stra0tis\x86\xff\x02^\x41rh", 16},
        {"vdo", 0, "dmvdo001", 8},
        {"ceph_bluestore", 0, "bluestore block device", 22},
        {"drbd", -4036, "\x83\x74\x02\x6d", 4},
        {"ocfs2", 2048, "OCFSV2", 6},
        {"gfs2", 65536, "\x01\x16\x19\x70", 4},
        {"reiserfs", 65536 + 0x34, "ReIsEr2Fs", 9},
        {"jfs", 32768, "JFS1", 4},
        {"apfs", 32, "NXSB", 4},
        {"VMFS_volume_member", 1048576, "\x0d\xd0\x01\xc0", 4},
        {"xfs_external_log", 0, "\xfe\xed\xba\xbe", 4},
        {"iso9660", 32769, "CD001", 5},
        {"hfsplus", 1024, "H+\0\x04", 4},
        {"nilfs2", 1030, "\x34\x34", 2},
};
/* clang-format on */

static void test_signatures(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(signatures); i++) {
                const Signature *s = &signatures[i];
                cleanup(closep) int fd = image(SIZE);
                bool named = false;

                print_message("%s at %lld\n", s->type, (long long)s->offset);
                put(fd, s->offset < 0 ? SIZE - (uint64_t)-s->offset : (uint64_t)s->offset, s->bytes,
                    s->n);
                look(fd, FS_FIND_OTHER);
                for (size_t k = 0; k < seen.n_hits; k++)
                        named |= str_equal(seen.hits[k].type, s->type);
                assert_true(named);
        }
}

/* One byte at either end of a known place, of every seventh. */
static void test_any_byte(void **state) {
        static FsRegion regions[FS_REGIONS_MAX];
        size_t n = fs_known_places(SIZE, regions);

        (void)state;
        for (size_t i = 0; i < n; i += 7) {
                uint64_t ends[2] = {regions[i].offset, regions[i].offset + regions[i].n - 1};

                for (size_t k = 0; k < 2; k++) {
                        cleanup(closep) int fd = image(SIZE);

                        put(fd, ends[k], "\1", 1);
                        look(fd, FS_FIND_OTHER);
                }
        }
}

static void test_regions(void **state) {
        static const uint64_t sizes[] = {0, 1, 4096, MIB, 64 * MIB + 100, SIZE, UINT64_MAX};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                static FsRegion regions[FS_REGIONS_MAX];
                size_t n = fs_blank_regions(sizes[i], UINT64_MAX - i, regions);
                uint64_t end = 0;

                for (size_t k = 0; k < n; k++) {
                        assert_true(k == 0 || regions[k].offset >= end);
                        assert_true(regions[k].n <= FS_REGION_BYTES_MAX);
                        assert_true(regions[k].n > 0);
                        end = regions[k].offset + regions[k].n;
                        assert_true(end <= sizes[i]);
                }
                if (sizes[i])
                        assert_int_equal(end, sizes[i]);
        }
}

/* Nowhere is so much left out that a thousandth of the device and one block could hide there. */
static void test_gaps(void **state) {
        static const uint64_t phases[] = {0, 1, 12345678901, UINT64_MAX};

        (void)state;
        for (uint64_t size = 64 * MIB + 512; size < (UINT64_C(1) << 45); size += size / 3 + 512) {
                static FsRegion regions[FS_REGIONS_MAX];
                size_t n = fs_blank_regions(size, phases[size / 512 % 4], regions);
                uint64_t end = 0;

                assert_true(n < FS_REGIONS_MAX);
                for (size_t k = 0; k < n; k++) {
                        assert_true(regions[k].offset - end <= size / 1000);
                        end = regions[k].offset + regions[k].n;
                }
        }
}

static bool is_read(const FsRegion *regions, size_t n, uint64_t offset) {
        for (size_t i = 0; i < n; i++)
                if (offset >= regions[i].offset && offset < regions[i].offset + regions[i].n)
                        return true;
        return false;
}

/* mkfs.xfs cuts a disk into groups of equal size, rounded up to whole blocks; what stood at the end
 * of a smaller disk stands before a round offset. */
static void test_places(void **state) {
        static const uint64_t sizes[] = {300 * MIB, SIZE, 1000000 * MIB};
        static const uint64_t rounds[] = {MIB, MIB, 1024 * MIB};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                static FsRegion regions[FS_REGIONS_MAX];
                size_t n = fs_blank_regions(sizes[i], 0, regions);

                for (uint64_t n_groups = 2; n_groups <= 128; n_groups++)
                        assert_true(is_read(regions, n,
                                            (sizes[i] / 4096 + n_groups - 1) / n_groups * 4096));
                for (uint64_t at = rounds[i]; at <= sizes[i]; at += rounds[i])
                        assert_true(is_read(regions, n, at - 65536));
        }
}

static void test_filesystems(void **state) {
        static const char *const names[] = {
                "ext2",    "ext4",  "ext4-1k",         "xfs",       "xfs-v4",
                "xfs-all", "btrfs", "btrfs-blake2",    "f2fs",      "vfat",
                "exfat",   "ntfs",  "ext4-caught-mmp", "xfs-caught"};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(names); i++) {
                cleanup(closep) int fd = image_of(names[i]);

                print_message("%s\n", names[i]);
                look(fd, FS_FIND_FILESYSTEM);
        }
}

/* The class of trouble that loses data elsewhere: a wrong checksum hides a filesystem from blkid.
 */
static void test_bad_checksums(void **state) {
        static const struct {
                const char *name;
                uint64_t offset;
        } rows[] = {{"ext4", 1024 + 0x78}, {"xfs", 0x6c}, {"btrfs", 65536 + 0x12b}};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                cleanup(closep) int fd = image_of(rows[i].name);

                put(fd, rows[i].offset, "changed", 7);
                look(fd, FS_FIND_FILESYSTEM);
                assert_int_equal(seen.volume.checksum, FS_CHECKSUM_BAD);
                assert_non_null(strstr(seen.why, "checksum is wrong"));
        }
}

/* Groups that mke2fs gives a copy, for each size of block and some of bigalloc's clusters: 1, the
 * powers of 3, 5 and 7 that the device has room for, and the last one. */
static void test_ext_copies(void **state) {
        static const uint64_t groups[] = {1,     3,     5,      7,      9,      81,    729,
                                          2187,  2401,  3125,   6561,   15625,  16807, 19683,
                                          59049, 78125, 117649, 177147, 390625, 823543};
        static const uint64_t group_bytes[] = {8 * MIB,     32 * MIB,   128 * MIB,
                                               512 * MIB,   2048 * MIB, 8192 * MIB,
                                               32768 * MIB, 16 * MIB,   1024 * MIB};

        (void)state;
        for (uint64_t size = UINT64_C(1) << 33; size <= UINT64_C(1) << 46; size *= 2) {
                static FsRegion regions[FS_REGIONS_MAX];
                size_t n = fs_known_places(size, regions);

                for (size_t i = 0; i < N_ELEMENTS(group_bytes); i++) {
                        uint64_t start = group_bytes[i] == 8 * MIB ? 1024 : 0;

                        for (size_t k = 0; k < N_ELEMENTS(groups); k++)
                                if (groups[k] * group_bytes[i] + start < size)
                                        assert_true(is_read(regions, n,
                                                            groups[k] * group_bytes[i] + start));
                        if (size > group_bytes[i])
                                assert_true(is_read(regions, n, size - group_bytes[i] + start));
                }
        }
}

/* The copy of a group that is far out, alone. */
static void far_copy(const uint8_t *sb, uint16_t group, uint64_t group_bytes, uint64_t size) {
        cleanup(closep) int fd = image(size);
        uint8_t copy[1024];

        memcpy(copy, sb, sizeof(copy));
        copy[0x5a] = (uint8_t)group;
        copy[0x5b] = (uint8_t)(group >> 8);
        put(fd, group * group_bytes, copy, sizeof(copy));
        look(fd, FS_FIND_OTHER);
        assert_non_null(strstr(seen.why, "ext"));
}

static void test_far_copies(void **state) {
        static const uint16_t groups[] = {2401, 3125, 6561, 16807};
        uint8_t sb[1024];
        Pieces pieces;

        (void)state;
        pieces_load(&pieces, "ext4");
        assert_int_equal(pieces_read(&pieces, 1024, sb, sizeof(sb)), 0);
        pieces_unload(&pieces);
        for (size_t i = 0; i < N_ELEMENTS(groups); i++)
                far_copy(sb, groups[i], 128 * MIB, UINT64_C(3) << 40);
        far_copy(sb, 3125, 32 * MIB, UINT64_C(1) << 40);
}

static void test_backup_only(void **state) {
        cleanup(closep) int ext_fd = image(SIZE);
        cleanup(closep) int btrfs_fd = image(SIZE);
        uint8_t sb[4096];
        Pieces pieces;

        (void)state;
        pieces_load(&pieces, "ext4");
        assert_int_equal(pieces_read(&pieces, 1024, sb, 1024), 0);
        pieces_unload(&pieces);
        put(ext_fd, UINT64_C(32768) * 4096, sb, 1024);
        look(ext_fd, FS_FIND_OTHER);
        assert_non_null(strstr(seen.why, "ext4 that lost its superblock"));
        assert_int_equal(seen.volume.backup_offset, UINT64_C(32768) * 4096);
        pieces_load(&pieces, "btrfs");
        assert_int_equal(pieces_read(&pieces, 65536, sb, 4096), 0);
        pieces_unload(&pieces);
        put(btrfs_fd, 64 * MIB, sb, 4096);
        look(btrfs_fd, FS_FIND_OTHER);
}

/* The first MiB of an XFS was overwritten with zeros: its groups still have copies. */
static void test_xfs_groups(void **state) {
        static const uint64_t sizes[] = {512 * MIB, 8192 * MIB * 1024};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                cleanup(closep) int fd = image(sizes[i]);
                uint64_t group = i ? UINT64_C(268435455) * 4096 : sizes[i] / 4;

                put(fd, group * 2, "XFSB", 4);
                look(fd, FS_FIND_OTHER);
        }
}

static void test_two_things(void **state) {
        cleanup(closep) int lvm_fd = image_of("ext4"), md_fd = image_of("xfs"),
                            luks_fd = image_of("btrfs"), gpt_fd = image_of("ext4"),
                            stale_fd = image_of("ext4");

        (void)state;
        put(lvm_fd, 512, signatures[0].bytes, signatures[0].n);
        look(lvm_fd, FS_FIND_OTHER);
        assert_non_null(strstr(seen.why, "ext4 and also LVM2_member"));
        put(md_fd, seen.size_bytes = 300 * MIB - 8192, "\xfc\x4e\x2b\xa9", 4);
        look(md_fd, FS_FIND_OTHER);
        put(luks_fd, 0, "LUKS\xba\xbe\0\2", 8);
        look(luks_fd, FS_FIND_OTHER);
        put(gpt_fd, 512, "EFI PART", 8);
        look(gpt_fd, FS_FIND_OTHER);
        /* mkfs leaves the backup of a partition table that is gone; that does no harm. */
        put(stale_fd, 256 * MIB - 512, "EFI PART", 8);
        look(stale_fd, FS_FIND_FILESYSTEM);
}

/* Both in use on the same disk, as far as anybody can tell; a few such bytes may be a file's. */
static void test_filesystem_and_zfs(void **state) {
        static const char magic[] = "\x0c\xb1\xba\0\0\0\0\0", swapped[] = "\0\0\0\0\0\xba\xb1\x0c";
        static const uint64_t labels[] = {0, 0x40000, UINT64_MAX - 0x80000 + 1,
                                          UINT64_MAX - 0x40000 + 1};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(labels); i++) {
                cleanup(closep) int fd = image_of("ext4");
                off_t size = lseek(fd, 0, SEEK_END) & ~(off_t)0x3ffff;
                uint64_t label = i < 2 ? labels[i] : (uint64_t)size + labels[i];

                for (uint64_t slot = 4; slot < 8; slot++) {
                        /* No file lies in the last ring: one is enough there. */
                        look(fd, i == 3 && slot > 4 ? FS_FIND_OTHER : FS_FIND_FILESYSTEM);
                        put(fd, label + 0x20000 + slot * 1024, slot % 2 ? magic : swapped, 8);
                }
                look(fd, FS_FIND_OTHER);
                assert_non_null(strstr(seen.why, "ext4 and also zfs_member"));
        }
}

static void test_journal_device(void **state) {
        cleanup(closep) int fd = image_of("ext4-journal_dev");

        (void)state;
        look(fd, FS_FIND_OTHER);
}

static void expect_unknown(int fd, const FsExpect *expect, const char *part) {
        Error err = {0};

        assert_int_equal(fs_inspect(fd, expect, &seen, &err), 0);
        assert_int_equal(seen.find, FS_FIND_UNKNOWN);
        assert_non_null(strstr(seen.why, part));
        assert_true(fs_blank_test(fd, expect, &err) < 0);
        assert_int_equal(err.code, ERROR_PRECONDITION);
        assert_non_null(strstr(err.message, "not known"));
}

static void test_could_not_look(void **state) {
        cleanup(closep) int fd = image(SIZE), empty = image(0), tiny = image(4096);
        cleanup(closep) int unreadable = -1;
        FsExpect size = {.size_bytes = SIZE + 4096}, devno = {.devno = 0x700};
        char path[64];
        Error err = {0};
        int ends[2];

        (void)state;
        expect_unknown(fd, &size, "were expected");
        size.size_bytes = SIZE;
        assert_int_equal(fs_blank_test(fd, &size, &err), 0);
        expect_unknown(fd, &devno, "not the device");
        expect_unknown(empty, NULL, "has 0 bytes");
        expect_unknown(tiny, NULL, "has 4096 bytes, too few");
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
        unreadable = open(path, O_WRONLY | O_CLOEXEC);
        assert_true(unreadable >= 0);
        expect_unknown(unreadable, NULL, "could not be read");
        assert_int_equal(seen.read_errno, EBADF);
        assert_int_equal(pipe(ends), 0);
        assert_true(fs_blank_test(ends[0], NULL, &err) < 0);
        close(ends[0]);
        close(ends[1]);
}

/* Reads that begin from @offset to @end fail. False where filters cannot be set, as in an emulator.
 */
static bool break_disk(uint32_t offset, uint32_t end) {
        const unsigned int low = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__ ? 4 : 0;
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pread64, 0, 4),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3]) + low),
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, offset, 0, 2),
                BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, end, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EIO),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = N_ELEMENTS(code), .filter = code};

        return sizeof(long) == 8 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* One block in the middle of a disk that is zero everywhere else. */
static void test_unreadable_block(void **state) {
        cleanup(closep) int fd = image(SIZE);

        (void)state;
        look(fd, FS_FIND_BLANK);
        if (!break_disk(SIZE / 2 - 65536, SIZE / 2))
                skip();
        expect_unknown(fd, NULL, "could not be read");
        assert_int_equal(seen.read_errno, EIO);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_regions),          cmocka_unit_test(test_gaps),
                cmocka_unit_test(test_places),           cmocka_unit_test(test_blank),
                cmocka_unit_test(test_signatures),       cmocka_unit_test(test_any_byte),
                cmocka_unit_test(test_filesystems),      cmocka_unit_test(test_bad_checksums),
                cmocka_unit_test(test_ext_copies),       cmocka_unit_test(test_far_copies),
                cmocka_unit_test(test_backup_only),      cmocka_unit_test(test_two_things),
                cmocka_unit_test(test_xfs_groups),       cmocka_unit_test(test_filesystem_and_zfs),
                cmocka_unit_test(test_journal_device),   cmocka_unit_test(test_could_not_look),
                cmocka_unit_test(test_unreadable_block), /* the last: what it breaks stays so */
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
