/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verdict as a table: what was recorded of a volume, a kernel and a page size, and the answer.
 * That the answers are true of real kernels is tests/oracle's to say.
 */

#undef NDEBUG
#include "fs/formats/format.h"
#include "fs/verdict/verdict.h"
#include "tests/lib/pieces.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <assert.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static FsVolume volume;
static FsHost host;
static FsVerdict verdict;

static void load(const char *name) {
        Pieces pieces;
        FsReader reader;

        pieces_load(&pieces, name);
        reader = pieces_reader(&pieces);
        assert_int_equal(fs_read_volume(&reader, &volume), 0);
        pieces_unload(&pieces);
}

static void judge(const char *name, const char *release, uint32_t page_bytes,
                  const FsSituation *situation) {
        Error err = {0};

        load(name);
        assert_int_equal(
                fs_host_from_release(&host, release, page_bytes, FS_BYTE_ORDER_LITTLE, &err), 0);
        fs_verdict(&volume, &host, situation, &verdict);
}

typedef struct Row {
        const char *volume, *release;
        uint32_t page_kib;
        FsAnswer answer;
        int os_errno;
        const char *reason; /* fs_reason_short() of the first, NULL: none */
} Row;

#define RW    FS_ANSWER_RW
#define RO    FS_ANSWER_RO
#define NOREC FS_ANSWER_RO_NORECOVERY
#define NO    FS_ANSWER_NO

/* clang-format off */
static const Row rows[] = {
        /* features, rw and not */
        {"ext4", "4.4", 4, RW, 0, "orphan_file"},
        {"ext4", "4.1", 4, NO, EINVAL, "metadata_csum_s"},
        {"ext4", "5.15", 4, RW, 0, NULL},
        {"ext4-caught-orphan_file", "5.10", 4, RO, EINVAL, "orphan_present"},
        {"ext4-caught-orphan_file", "5.15", 4, RW, 0, NULL},
        {"ext4-caught-fast_commit", "5.4", 4, NOREC, EINVAL, "journal fast_co"},
        {"ext4-caught-fast_commit", "5.10", 4, RW, 0, NULL},
        {"ext4-recipe-3.18", "3.18", 64, RW, 0, NULL},
        {"ext4-recipe-3.18", "3.10", 4, RW, 0, "metadata_csum"},
        {"ext4-many", "5.4", 4, NO, EINVAL, "casefold"},
        {"ext4-many", "5.12", 4, NO, EINVAL, "casefold"},
        {"ext4-many", "5.13", 4, RW, 0, "quota"},
        {"ext4-many", "4.19", 4, NO, EINVAL, "casefold"},
        {"ext4-journal_dev", "6.18", 4, NO, EINVAL, "journal_dev"},
        {"xfs", "5.4", 4, NO, EINVAL, "bigtime"},
        {"xfs", "5.10", 4, RW, 0, NULL},
        {"xfs-all", "5.17", 4, NO, EINVAL, "nrext64"},
        {"xfs-all", "6.1", 64, RW, 0, NULL},
        {"xfs-recipe-4.2", "4.2", 64, RW, 0, NULL},
        {"xfs-recipe-4.2", "3.10.0-1160.el7.x86_64", 4, RW, 0, NULL},
        {"xfs-recipe-4.2", "3.18", 4, NO, EINVAL, "sparse"},
        {"xfs-v4", "6.1", 4, RW, 0, "V4 (crc=0)"},
        {"xfs-v4", "6.17", 4, RW, 0, "V4 (crc=0)"},
        {"xfs-v4", "6.18", 4, NO, EINVAL, "V4 (crc=0)"},
        {"xfs-ci", "6.18", 4, NO, EINVAL, "ascii-ci"},
        {"btrfs", "4.9", 4, RW, 0, NULL},
        {"btrfs", "4.4", 4, RO, EINVAL, "free_space_tree"},
        {"btrfs", "3.10", 4, NO, EINVAL, "no_holes"},
        {"btrfs-sha256", "5.4", 4, NO, EINVAL, "sha256"},
        {"btrfs-xxhash", "5.5", 4, RW, 0, NULL},
        {"btrfs", "4.18.0-553.el8.x86_64", 4, NO, ENODEV, "no driver"},
        {"f2fs", "6.6", 4, RW, 0, NULL},
        {"f2fs", "4.14", 4, NO, 0, "inode_crtime"},
        {"exfat", "5.4", 4, NO, ENODEV, "no driver"},
        {"ntfs", "5.15", 4, RW, 0, NULL},
        {"erofs", "5.10", 4, RO, 0, "ro format"},
        {"squashfs", "4.9", 4, NO, EINVAL, "zstd"},
        {"squashfs", "5.10", 64, RO, 0, "ro format"},
        /* block against page */
        {"ext4-64k", "6.1", 64, RW, 0, NULL},
        {"ext4-64k", "6.18", 4, NO, EINVAL, "block 64K"},
        {"ext4-64k", "6.19", 4, RW, 0, "block 64K"},
        {"ext4-64k", "6.19.10+deb13-rt-amd64", 4, NO, EINVAL, "block 64K"},
        {"ext4-many", "5.15", 64, NO, EINVAL, "block 4K"},
        {"ext4-many", "6.3", 64, RW, 0, "quota"},
        {"xfs-16k", "6.11", 4, NO, ENOSYS, "block 16K"},
        {"xfs-16k", "6.12", 4, RW, 0, "block 16K"},
        {"xfs-16k", "6.12.118+deb13-amd64", 4, RW, 0, "block 16K"},
        {"xfs-16k", "6.12.118+deb13-rt-amd64", 4, NO, ENOSYS, "block 16K"},
        {"xfs-16k", "6.1", 16, RW, 0, NULL},
        {"btrfs", "5.10", 64, NO, EINVAL, "block 4K"},
        {"btrfs", "5.15", 64, RW, 0, "0x0"},
        {"btrfs", "5.15", 16, NO, EINVAL, "block 4K"},
        {"btrfs", "5.19", 16, RW, 0, NULL},
        {"btrfs-64k", "6.6", 4, NO, EINVAL, "block 64K"},
        {"btrfs-64k", "4.19", 64, RW, 0, NULL},
        {"f2fs", "6.6", 64, NO, ENODEV, "block 4K"},
        {"f2fs", "6.12", 16, NO, EINVAL, "block 4K"},
        {"erofs", "5.15", 64, NO, EINVAL, "block 4K"},
        {"erofs", "6.6", 64, RO, 0, "ro format"},
};
/* clang-format on */

static void test_rows(void **state) {
        char text[16];

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                const Row *row = &rows[i];

                judge(row->volume, row->release, row->page_kib * 1024, NULL);
                print_message("%s on %s, %uK\n", row->volume, row->release, row->page_kib);
                assert_int_equal(verdict.answer, row->answer);
                assert_int_equal(verdict.expected_errno, row->os_errno);
                if (row->reason)
                        assert_string_equal(fs_reason_short(&verdict.reasons[0], text),
                                            row->reason);
                else
                        assert_int_equal(verdict.n_reasons, 0);
        }
}

static void expect(FsAnswer answer, FsReasonKind kind, int os_errno) {
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, answer);
        assert_int_equal(verdict.reasons[0].kind, kind);
        assert_int_equal(verdict.expected_errno, os_errno);
}

static void test_unknown_bits(void **state) {
        (void)state;
        judge("ext4", "6.18", 4096, NULL);
        volume.words[FS_CLASS_COMPAT] |= 0x80000000;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x80000000;
        expect(RO, FS_REASON_FEATURE, EINVAL);
        volume.words[FS_CLASS_LOG_INCOMPAT] |= 0x40;
        expect(NOREC, FS_REASON_FEATURE, EINVAL);
        volume.words[FS_CLASS_INCOMPAT] |= 0x40000;
        expect(NO, FS_REASON_FEATURE, EINVAL);
        assert_null(verdict.reasons[0].feature);

        judge("xfs", "5.15", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x10;
        expect(RO, FS_REASON_FEATURE, EINVAL);
        /* Recovery writes the superblock, whose verifier refused before 6.1. */
        volume.log = FS_LOG_DIRTY;
        expect(NOREC, FS_REASON_FEATURE, EINVAL);
        judge("xfs-all", "6.18", 4096, NULL);
        assert_int_equal(verdict.answer, RW);
        assert_int_not_equal(verdict.confidence, FS_CONFIDENCE_LOW);
        volume.state |= FS_STATE_LOG_SHORT;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        assert_int_equal(verdict.confidence, FS_CONFIDENCE_LOW);
        judge("f2fs", "6.18", 4096, NULL);
        volume.words[FS_CLASS_FEATURE] |= 1U << 20;
        expect(NO, FS_REASON_FEATURE, 0);
}

/* erofs by compressor: the kernel that took it, and the error that it had for others. */
static void test_erofs_compressors(void **state) {
        static const struct {
                uint64_t algorithm;
                const char *too_old, *first;
                int os_errno;
        } compressors[] = {
                {2, "5.15", "5.16", EINVAL},
                {4, "6.5", "6.6", EINVAL},
                {8, "6.9", "6.10", EOPNOTSUPP},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(compressors); i++) {
                judge("erofs", compressors[i].too_old, 4096, NULL);
                volume.words[FS_CLASS_INCOMPAT] |= 2;
                volume.words[FS_CLASS_ALGORITHM] = compressors[i].algorithm;
                expect(NO, FS_REASON_FEATURE, compressors[i].os_errno);
                judge("erofs", compressors[i].first, 4096, NULL);
                volume.words[FS_CLASS_INCOMPAT] |= 2;
                volume.words[FS_CLASS_ALGORITHM] = compressors[i].algorithm;
                fs_verdict(&volume, &host, NULL, &verdict);
                assert_int_equal(verdict.answer, RO);
        }
        judge("erofs", "6.18", 4096, NULL);
        volume.words[FS_CLASS_INCOMPAT] |= 2;
        volume.words[FS_CLASS_ALGORITHM] = 16;
        expect(NO, FS_REASON_FEATURE, EOPNOTSUPP);
}

/* A device's sectors: whose drivers take which. */
static void test_sectors(void **state) {
        static const struct {
                const char *volume, *release;
                uint32_t logical;
                FsAnswer answer;
        } sectors[] = {
                {"f2fs", "6.18", 4096, RW},  {"f2fs", "6.18", 8192, NO},
                {"ntfs", "6.18", 4096, RW},  {"ntfs", "6.18", 8192, NO},
                {"btrfs", "6.18", 4096, RW}, {"btrfs", "6.18", 8192, NO},
                {"exfat", "6.18", 512, RW},  {"exfat", "6.18", 4096, NO},
                {"xfs", "6.18", 4096, NO},   {"xfs-all", "6.18", 4096, RW},
                {"ext4", "6.18", 4096, RW},  {"ext4-1k", "6.18", 4096, NO},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sectors); i++) {
                FsSituation situation = {.logical_sector_bytes = sectors[i].logical};

                print_message("%s on %u\n", sectors[i].volume, sectors[i].logical);
                judge(sectors[i].volume, sectors[i].release, 4096, &situation);
                assert_int_equal(verdict.answer, sectors[i].answer);
        }
        /* Sectors of the filesystem above a page: the disk has nothing to do with it. */
        load("xfs-16k");
        volume.sector_bytes = 8192;
        for (uint32_t minor = 14; minor <= 15; minor++) {
                char text[256];

                host.kernel = FS_VERSION(6, minor, 0);
                fs_verdict(&volume, &host, NULL, &verdict);
                assert_int_equal(verdict.answer, minor == 14 ? NO : RW);
                fs_reason_format(&verdict.reasons[0], &volume, &host, text, sizeof(text));
                assert_true(minor == 15 ||
                            strstr(text, "sectors of 8K on pages of 4K need Linux 6.15"));
        }
}

/* An XFS of 16 MiB groups that grew, and one whose groups are as large as they get. */
static void test_many_groups(void **state) {
        char text[256];

        (void)state;
        judge("xfs", "6.18", 4096, NULL);
        assert_int_equal(volume.n_groups, 4);
        volume.n_groups = 2731;
        volume.fs_bytes = volume.n_groups * (UINT64_C(16) << 20);
        volume.device_bytes = volume.fs_bytes;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        assert_int_equal(verdict.reasons[0].kind, FS_REASON_MANY_GROUPS);
        fs_reason_format(&verdict.reasons[0], &volume, &host, text, sizeof(text));
        assert_non_null(strstr(text, "2731 allocation groups"));
        volume.fs_bytes = volume.n_groups * (UINT64_C(1) << 40);
        volume.device_bytes = volume.fs_bytes;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.n_reasons, 0);
}

/* Names both folded and encrypted. */
static void test_folded_crypt(void **state) {
        (void)state;
        judge("f2fs", "5.12", 4096, NULL);
        volume.words[FS_CLASS_FEATURE] |= 0x1001;
        expect(NO, FS_REASON_FEATURE, EINVAL);
        assert_int_equal(verdict.reasons[0].need_kernel, FS_VERSION(5, 13, 0));
        judge("f2fs", "5.13", 4096, NULL);
        volume.words[FS_CLASS_FEATURE] |= 0x1001;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
}

/* A log root that nothing is behind: without replay the rest is there. */
static void test_btrfs_log(void **state) {
        (void)state;
        judge("btrfs", "6.18", 4096, NULL);
        volume.log = FS_LOG_UNREADABLE;
        expect(NOREC, FS_REASON_LOG_DAMAGED, 0);
}

/* What a bit that the kernel does not know leaves hangs on the log. */
static void test_unknown_beside_log(void **state) {
        (void)state;
        judge("btrfs-caught", "6.12", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x80000000;
        expect(NOREC, FS_REASON_FEATURE, EINVAL);
        judge("xfs", "6.12", 4096, NULL);
        volume.words[FS_CLASS_LOG_INCOMPAT] |= 0x80000000;
        expect(RO, FS_REASON_FEATURE, 0);
        judge("xfs-caught", "6.12", 4096, NULL);
        volume.words[FS_CLASS_LOG_INCOMPAT] |= 0x80000000;
        expect(NOREC, FS_REASON_FEATURE, EINVAL);
}

/* Without its driver nothing else is looked at; f2fs' refuses to load where pages are large. */
static void test_driver_first(void **state) {
        (void)state;
        judge("f2fs", "6.6", 65536, NULL);
        volume.checksum = FS_CHECKSUM_BAD;
        expect(NO, FS_REASON_CHECKSUM, ENODEV);
}

/* A page size that nobody told, where another one has another answer. */
static void test_assumed_page(void **state) {
        static const struct {
                const char *name;
                bool assumed;
                FsConfidence confidence;
        } cases[] = {
                {"ext4-64k", false, FS_CONFIDENCE_HIGH},
                {"ext4-64k", true, FS_CONFIDENCE_MEDIUM},
                {"ext4", true, FS_CONFIDENCE_HIGH},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                judge(cases[i].name, "6.1", 65536, NULL);
                host.page_assumed = cases[i].assumed;
                fs_verdict(&volume, &host, NULL, &verdict);
                assert_int_equal(verdict.answer, RW);
                assert_int_equal(verdict.confidence, cases[i].confidence);
        }
}

static void test_state(void **state) {
        (void)state;
        judge("xfs", "6.8", 4096, NULL);
        volume.words[FS_CLASS_INCOMPAT] |= 0x10;
        volume.state |= FS_STATE_NEEDS_REPAIR;
        expect(NO, FS_REASON_REPAIR, EUCLEAN);
        judge("xfs", "6.12", 4096, NULL);
        volume.words[FS_CLASS_INCOMPAT] |= 0x10;
        volume.state |= FS_STATE_NEEDS_REPAIR;
        expect(NOREC, FS_REASON_REPAIR, EUCLEAN);
        judge("xfs-caught", "6.12", 4096, NULL);
        volume.log_order = FS_BYTE_ORDER_BIG;
        expect(NOREC, FS_REASON_LOG_ORDER, EIO);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x80000000;
        expect(NOREC, FS_REASON_LOG_ORDER, EINVAL);
        volume.words[FS_CLASS_RO_COMPAT] &= ~UINT64_C(0x80000000);
        host.byte_order = FS_BYTE_ORDER_BIG;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);

        /* Of what kernels of those days did with bits that mean nothing to them. */
        judge("xfs", "5.10", 4096, NULL);
        volume.words[FS_CLASS_COMPAT] |= 0x80000000;
        expect(RO, FS_REASON_FEATURE, 0);
        judge("xfs", "6.13", 4096, NULL);
        volume.words[FS_CLASS_COMPAT] |= 0x80000000;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        judge("xfs", "5.10", 4096, NULL);
        volume.words[FS_CLASS_FEATURES2] |= 0x80000000;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        judge("xfs", "5.15", 4096, NULL);
        volume.words[FS_CLASS_FEATURES2] |= 0x80000000;
        expect(NO, FS_REASON_FEATURE, EINVAL);
        judge("xfs", "5.10", 4096, NULL);
        volume.words[FS_CLASS_INCOMPAT] |= 0x10;
        volume.state |= FS_STATE_NEEDS_REPAIR;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.expected_errno, EINVAL);
        judge("btrfs", "5.10.262", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x8;
        expect(RO, FS_REASON_FEATURE, EINVAL);
        judge("btrfs", "5.10.100", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x8;
        expect(NO, FS_REASON_FEATURE, EINVAL);
        assert_int_equal(verdict.confidence, FS_CONFIDENCE_LOW);
        judge("btrfs", "5.17", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x8;
        expect(NO, FS_REASON_FEATURE, EINVAL);
        judge("btrfs", "6.12", 16384, NULL);
        volume.words[FS_CLASS_RO_COMPAT] &= ~UINT64_C(3);
        volume.state |= FS_STATE_V1_SPACE_CACHE;
        expect(NO, FS_REASON_BLOCK_SIZE, EINVAL);

        judge("ext4", "6.12", 4096, NULL);
        volume.checksum = FS_CHECKSUM_BAD;
        expect(NO, FS_REASON_CHECKSUM, EBADMSG);
        judge("ext4", "6.12", 4096, NULL);
        volume.words[FS_CLASS_RO_COMPAT] |= 0x1000; /* readonly */
        expect(RO, FS_REASON_RO_FORMAT, 0);
        /* Blocks above a page are not encrypted. */
        judge("ext4-64k", "6.19", 4096, NULL);
        volume.words[FS_CLASS_INCOMPAT] |= 0x10000;
        expect(NO, FS_REASON_BLOCK_SIZE, EINVAL);
        judge("ext4", "6.12", 4096, NULL);
        volume.state |= FS_STATE_FORCED_RO;
        expect(RO, FS_REASON_RO_FORMAT, 0);
        judge("btrfs", "6.12", 4096, NULL);
        volume.words[FS_CLASS_FLAGS] |= UINT64_C(1) << 36;
        expect(NO, FS_REASON_SUPER_FLAGS, EAGAIN);
        /* These finish or forget the change of UUID by themselves. */
        judge("btrfs", "6.1", 4096, NULL);
        volume.words[FS_CLASS_FLAGS] |= UINT64_C(1) << 36;
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.answer, RW);
        judge("btrfs", "6.12", 4096, NULL);
        volume.n_devices = 2;
        expect(NO, FS_REASON_DEVICES, ENOENT);
        judge("ext4", "6.12", 4096, NULL);
        volume.device_bytes -= 4096;
        expect(NO, FS_REASON_SIZE, EINVAL);
}

static void test_situation(void **state) {
        FsSituation sectors = {.logical_sector_bytes = 4096};
        FsSituation read_only = {.device_read_only = true};
        FsSituation twin = {.uuid_mounted = true};

        (void)state;
        judge("ext4-1k", "6.18", 4096, &sectors);
        assert_int_equal(verdict.answer, NO);
        assert_int_equal(verdict.expected_errno, EINVAL);
        judge("xfs", "6.18", 4096, &sectors);
        assert_int_equal(verdict.answer, NO);
        assert_int_equal(verdict.expected_errno, ENOSYS);
        judge("xfs-all", "6.18", 4096, &sectors);
        assert_int_equal(verdict.answer, RW);
        judge("xfs-caught", "6.18", 4096, &read_only);
        assert_int_equal(verdict.answer, NOREC);
        judge("xfs", "6.18", 4096, &read_only);
        assert_int_equal(verdict.answer, RO);
        judge("xfs", "6.18", 4096, &twin);
        assert_int_equal(verdict.answer, RW);
        assert_int_equal(verdict.options, FS_OPTION_NOUUID);
        judge("btrfs", "6.6", 4096, &twin);
        assert_int_equal(verdict.answer, NO);
        judge("btrfs", "6.7", 4096, &twin);
        assert_int_equal(verdict.answer, RW);
        judge("ext4", "6.7", 4096, &twin);
        assert_int_equal(verdict.answer, RW);
}

static void test_after_crash(void **state) {
        (void)state;
        judge("ext4", "5.10", 4096, NULL);
        assert_int_equal(verdict.answer, RW);
        assert_int_equal(verdict.after_crash, RO);
        assert_int_equal(verdict.reasons[0].kind, FS_REASON_AFTER_CRASH);
        judge("ext4-fast_commit", "5.4", 4096, NULL);
        assert_int_equal(verdict.after_crash, NOREC);
        judge("ext4-recipe-3.18", "3.10", 4096, NULL);
        assert_int_equal(verdict.reasons[0].kind, FS_REASON_FIRST_MOUNT);
        judge("ext4", "5.15", 4096, NULL);
        assert_int_equal(verdict.after_crash, RW);
        judge("xfs", "5.4", 4096, NULL);
        assert_int_equal(verdict.after_crash, NO);
}

static void test_tools(void **state) {
        (void)state;
        judge("ext4", "6.1", 4096, NULL);
        host.tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 46, 2);
        expect(RW, FS_REASON_TOOLS, 0);
        assert_string_equal(verdict.reasons[0].feature->name, "orphan_file");
        host.tools[FS_TOOLS_E2FSPROGS] = FS_VERSION(1, 47, 0);
        fs_verdict(&volume, &host, NULL, &verdict);
        assert_int_equal(verdict.n_reasons, 0);
}

static void check_sentence(const char *wanted) {
        char text[FS_SENTENCE_MAX];

        fs_verdict_sentence(&volume, &host, &verdict, text);
        assert_string_equal(text, wanted);
}

static void test_sentences(void **state) {
        (void)state;
        judge("xfs-all", "5.17", 4096, NULL);
        check_sentence(
                "xfs cannot be mounted on Linux 5.17: it uses nrext64 (incompat 0x20), which "
                "needs Linux 5.19. Way out: use a node with Linux 5.19 or later, or copy the "
                "data to a volume made with -i nrext64=0");
        judge("xfs-all", "4.19", 4096, NULL);
        check_sentence("xfs cannot be mounted on Linux 4.19: it uses bigtime (incompat 0x8) and "
                       "nrext64 (incompat 0x20), which need Linux 5.19. Way out: use a node with "
                       "Linux 5.19 or later, or copy the data to a volume made with -i nrext64=0");
        judge("ext4-caught-orphan_file", "5.10", 4096, NULL);
        check_sentence("ext4 can only be mounted read-only on Linux 5.10: it uses orphan_present "
                       "(ro_compat 0x10000), which needs Linux 5.15. Way out: use a node with "
                       "Linux 5.15 or later, or on a node that has it, unmounted: e2fsck -fy");
        judge("btrfs", "5.10", 65536, NULL);
        check_sentence(
                "btrfs cannot be mounted on Linux 5.10: its sectorsize of 4K on pages of 64K "
                "needs Linux 5.15. Way out: use a node with Linux 5.15 or later");
        judge("xfs", "5.15", 4096, NULL);
        check_sentence("xfs mounts read-write on Linux 5.15");
}

/* Every volume on every kernel and page size: a sentence that fits a gRPC status, JSON that is
 * JSON, a way out for every reason that stands in the way. */
static void test_all_words(void **state) {
        static const char *const releases[] = {"3.10", "4.4",  "5.4", "5.15.100",
                                               "6.1",  "6.12", "7.3"};
        char text[512];

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows) * N_ELEMENTS(releases) * 3; i++) {
                FsSituation all = {.logical_sector_bytes = 8192,
                                   .device_read_only = true,
                                   .uuid_mounted = true};
                json_t *object;

                judge(rows[i / 21].volume, releases[i % 21 / 3], 4096U << (2 * (i % 3)),
                      i % 2 ? &all : NULL);
                fs_verdict_sentence(&volume, &host, &verdict, text);
                assert_true(strlen(text) <= 400);
                for (size_t k = 0; k < verdict.n_reasons; k++) {
                        const FsReason *reason = &verdict.reasons[k];

                        assert_true(fs_reason_format(reason, &volume, &host, text, 300) > 10);
                        fs_reason_way_out(reason, &volume, &host, text, 300);
                        assert_true(reason->limit == RW || text[0]);
                        assert_true(k == 0 || reason->limit <= verdict.reasons[k - 1].limit);
                }
                object = fs_verdict_to_json(&volume, &host, &verdict);
                assert_non_null(object);
                json_decref(object);
                object = fs_volume_to_json(&volume);
                assert_non_null(object);
                json_decref(object);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows),
                cmocka_unit_test(test_unknown_bits),
                cmocka_unit_test(test_state),
                cmocka_unit_test(test_situation),
                cmocka_unit_test(test_after_crash),
                cmocka_unit_test(test_tools),
                cmocka_unit_test(test_sentences),
                cmocka_unit_test(test_all_words),
                cmocka_unit_test(test_erofs_compressors),
                cmocka_unit_test(test_sectors),
                cmocka_unit_test(test_many_groups),
                cmocka_unit_test(test_folded_crypt),
                cmocka_unit_test(test_btrfs_log),
                cmocka_unit_test(test_unknown_beside_log),
                cmocka_unit_test(test_driver_first),
                cmocka_unit_test(test_assumed_page),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
