/* SPDX-License-Identifier: Apache-2.0 */
/* Readers against superblocks that the real tools and kernels wrote (tests/data/superblocks). */

#undef NDEBUG
#include "fs/formats/format.h"
#include "fs/volume/checksum.h"
#include "fs/volume/superblock.h"
#include "tests/lib/pieces.h"

#include "common/base/cleanup.h"

#include <assert.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

typedef struct Expected {
        const char *name, *type;
        uint32_t block, sector;
        FsChecksum checksum;
        FsLog log;
        unsigned int state;
        uint64_t compat, ro_compat, incompat, log_incompat;
} Expected;

#define GOOD FS_CHECKSUM_GOOD
#define NONE FS_CHECKSUM_NONE

/* clang-format off */
static const Expected expected[] = {
        {"ext2", "ext2", 1024, 1024, NONE, FS_LOG_NONE, 0, 0x38, 0x3, 0x2, 0},
        {"ext3", "ext3", 1024, 1024, NONE, FS_LOG_CLEAN, 0, 0x3c, 0x3, 0x2, 0},
        {"ext4", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x103c, 0x46b, 0x22c2, 0},
        {"ext4-caught-orphan_file", "ext4", 4096, 4096, GOOD, FS_LOG_DIRTY, FS_STATE_ORPHANS, 0x103c, 0x1046b, 0x22c6, 0x12},
        {"ext4-1k", "ext4", 1024, 1024, GOOD, FS_LOG_CLEAN, 0, 0x3c, 0x46b, 0x2c2, 0},
        {"ext4-64k", "ext4", 65536, 65536, GOOD, FS_LOG_CLEAN, 0, 0x3c, 0x46b, 0x2c2, 0},
        {"ext4-fast_commit", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x43c, 0x46b, 0x2c2, 0},
        {"ext4-caught-fast_commit", "ext4", 4096, 4096, GOOD, FS_LOG_DIRTY, 0, 0x43c, 0x46b, 0x2c6, 0x32},
        {"ext4-mmp", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x3c, 0x46b, 0x3c2, 0},
        {"ext4-caught-mmp", "ext4", 4096, 4096, GOOD, FS_LOG_DIRTY, FS_STATE_MMP, 0x3c, 0x46b, 0x3c6, 0x12},
        {"ext4-bigalloc", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x3c, 0x66b, 0x2c2, 0},
        {"ext4-many", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x23c, 0xa56b, 0x3c6c2, 0},
        {"ext4-meta_bg", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x2c, 0x46b, 0x2d2, 0},
        {"ext4-recipe-3.18", "ext4", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0x3c, 0x46b, 0x2c2, 0},
        {"ext4-journal_dev", "jbd", 4096, 4096, NONE, FS_LOG_NONE, FS_STATE_JOURNAL_DEVICE, 0, 0, 0x8, 0},
        {"xfs", "xfs", 4096, 512, GOOD, FS_LOG_CLEAN, 0, 0, 0xd, 0xb, 0},
        {"xfs-caught", "xfs", 4096, 512, GOOD, FS_LOG_DIRTY, 0, 0, 0xd, 0xb, 0},
        {"xfs-v4", "xfs", 4096, 512, NONE, FS_LOG_CLEAN, 0, 0, 0, 0, 0},
        {"xfs-all", "xfs", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0, 0xf, 0x2b, 0},
        {"xfs-16k", "xfs", 16384, 512, GOOD, FS_LOG_CLEAN, 0, 0, 0xd, 0xb, 0},
        {"xfs-ci", "xfs", 4096, 512, GOOD, FS_LOG_CLEAN, 0, 0, 0xd, 0xb, 0},
        {"xfs-recipe-4.2", "xfs", 4096, 512, GOOD, FS_LOG_CLEAN, 0, 0, 0x1, 0x3, 0},
        {"btrfs", "btrfs", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0, 0x3, 0x341, 0},
        {"btrfs-caught", "btrfs", 4096, 4096, GOOD, FS_LOG_DIRTY, 0, 0, 0x3, 0x341, 0},
        {"btrfs-xxhash", "btrfs", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0, 0x3, 0x341, 0},
        {"btrfs-sha256", "btrfs", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0, 0x3, 0x341, 0},
        {"btrfs-blake2", "btrfs", 4096, 4096, GOOD, FS_LOG_CLEAN, 0, 0, 0x3, 0x341, 0},
        {"btrfs-64k", "btrfs", 65536, 65536, GOOD, FS_LOG_CLEAN, 0, 0, 0x3, 0x341, 0},
        {"f2fs", "f2fs", 4096, 512, GOOD, FS_LOG_CLEAN, 0, 0, 0, 0, 0},
        {"vfat", "vfat", 2048, 512, NONE, FS_LOG_NONE, 0, 0, 0, 0, 0},
        {"exfat", "exfat", 4096, 512, NONE, FS_LOG_NONE, 0, 0, 0, 0, 0},
        {"ntfs", "ntfs3", 4096, 512, NONE, FS_LOG_NONE, 0, 0, 0, 0, 0},
        {"erofs", "erofs", 4096, 0, GOOD, FS_LOG_NONE, 0, 0x3, 0, 0x1, 0},
        {"squashfs", "squashfs", 131072, 0, NONE, FS_LOG_NONE, 0, 0, 0, 0, 0},
};
/* clang-format on */

static int read_pieces(Pieces *pieces, FsVolume *volume) {
        FsReader reader = pieces_reader(pieces);

        return fs_read_volume(&reader, volume);
}

static void test_recorded(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(expected); i++) {
                const Expected *e = &expected[i];
                Pieces pieces;
                FsVolume v;

                print_message("%s\n", e->name);
                pieces_load(&pieces, e->name);
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_string_equal(v.type, e->type);
                assert_string_equal(v.problem, "");
                assert_int_equal(v.block_bytes, e->block);
                assert_int_equal(v.sector_bytes, e->sector);
                assert_int_equal(v.checksum, e->checksum);
                assert_int_equal(v.log, e->log);
                assert_int_equal(v.state, e->state);
                assert_int_equal(v.words[FS_CLASS_COMPAT], e->compat);
                assert_int_equal(v.words[FS_CLASS_RO_COMPAT], e->ro_compat);
                assert_int_equal(v.words[FS_CLASS_INCOMPAT], e->incompat);
                assert_int_equal(v.words[FS_CLASS_LOG_INCOMPAT], e->log_incompat);
                assert_true(v.fs_bytes <= v.device_bytes);
                assert_int_equal(v.device_bytes, pieces.size_bytes);
                pieces_unload(&pieces);
        }
}

static void test_names(void **state) {
        static const struct {
                const char *name, *label;
        } labels[] = {{"ext3", "label-of-ext3"},
                      {"xfs", "label-of-xfs"},
                      {"btrfs", "label-of-btrfs"},
                      {"f2fs", "label-of-f2fs"},
                      {"vfat", "LABELOFFAT "}};
        char uuid[37];
        Pieces pieces;
        FsVolume v;

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(labels); i++) {
                pieces_load(&pieces, labels[i].name);
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_string_equal(v.label, labels[i].label);
                pieces_unload(&pieces);
        }
        pieces_load(&pieces, "ext2");
        assert_int_equal(read_pieces(&pieces, &v), 0);
        fs_uuid_format(v.uuid, uuid);
        assert_string_equal(uuid, "00000000-0000-4000-8000-0000000000e2");
        pieces_unload(&pieces);
        pieces_load(&pieces, "f2fs");
        assert_int_equal(read_pieces(&pieces, &v), 0);
        assert_int_equal(v.words[FS_CLASS_FEATURE], 0x908);
        assert_true(v.writer[0] != '\0');
        pieces_unload(&pieces);
}

/* One byte changed breaks each checksum that there is. */
static void test_bad_checksum(void **state) {
        static const struct {
                const char *name;
                uint64_t offset;
        } bytes[] = {{"ext4", 1024 + 0x78},
                     {"xfs", 0x6c},
                     {"xfs-all", 0x6c},
                     {"btrfs", 65536 + 0x12b},
                     {"btrfs-xxhash", 65536 + 0x20},
                     {"btrfs-sha256", 65536 + 0x20},
                     {"btrfs-blake2", 65536 + 0x20},
                     {"f2fs", 1024 + 0x7c},
                     {"erofs", 1024 + 0x30}};

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(bytes); i++) {
                uint8_t changed[1];
                Pieces pieces;
                FsVolume v;

                pieces_load(&pieces, bytes[i].name);
                assert_int_equal(pieces_read(&pieces, bytes[i].offset, changed, 1), 0);
                changed[0] ^= 0x55;
                pieces_cover(&pieces, bytes[i].offset, changed, 1);
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal(v.checksum, FS_CHECKSUM_BAD);
                pieces_unload(&pieces);
        }
}

/* h_fmt of every record header says big endian, as a log from s390x has it. */
static void test_xfs_log_order(void **state) {
        Pieces pieces;
        FsVolume v;
        uint8_t big_endian[4] = {0, 0, 0, 2};
        size_t n_headers = 0;

        (void)state;
        pieces_load(&pieces, "xfs-caught");
        assert_int_equal(read_pieces(&pieces, &v), 0);
        assert_int_equal(v.log_order, FS_BYTE_ORDER_LITTLE);
        for (size_t i = 0, n = pieces.n_pieces; i < n; i++) {
                const Piece *piece = &pieces.pieces[i];

                for (size_t at = 0; at + 4 <= piece->n; at += 8) {
                        if (be32(piece->data + at) != 0xfeedbabe)
                                continue;
                        pieces_cover(&pieces, piece->offset + at + 0x12c, big_endian, 4);
                        n_headers++;
                }
        }
        assert_true(n_headers > 0);
        assert_int_equal(read_pieces(&pieces, &v), 0);
        assert_int_equal(v.log, FS_LOG_DIRTY);
        assert_int_equal(v.log_order, FS_BYTE_ORDER_BIG);
        pieces_unload(&pieces);
}

typedef struct Poke {
        const char *name;
        uint64_t offset;
        uint8_t bytes[8];
        size_t n;
        const char *problem; /* part of it */
} Poke;

/* clang-format off */
static const Poke pokes[] = {
        {"ext4", 1024 + 0x18, {7}, 4, "log block size"},
        {"ext4", 1024 + 0x18, {255, 255, 255, 255}, 4, "log block size"},
        {"ext4", 1024 + 0x58, {192, 0}, 2, "inode size"},
        {"ext4", 1024 + 0x175, {2}, 1, "checksum type"},
        {"ext4", 1024 + 0xfe, {0, 0}, 2, "descriptor size"},
        {"ext4", 1024 + 0x28, {0, 0, 0, 0}, 4, "group"},
        {"ext4", 1024 + 0x150, {255, 255, 255, 255}, 4, "block count"},
        {"xfs", 4, {0, 0, 0, 0}, 4, "block size"},
        {"xfs", 0x66, {0, 0}, 2, "sector size"},
        {"xfs", 0x68, {0xff, 0xff}, 2, "inode size"},
        {"xfs", 8, {255, 255, 255, 255, 255, 255, 255, 255}, 8, "block"},
        {"xfs", 0x7c, {200}, 1, "allocation groups"},
        {"xfs", 0x64, {0, 5}, 2, "without the bits"},
        {"btrfs", 65536 + 0x90, {0, 0, 0, 0}, 4, "sectorsize 0"},
        {"btrfs", 65536 + 0x94, {0, 0, 16, 0}, 4, "nodesize 1048576"},
        {"btrfs", 65536 + 0xc4, {9, 0}, 2, "checksum type 9"},
        {"btrfs", 65536 + 0x30, {0, 0, 0, 4}, 4, "its own address"},
        {"f2fs", 1024 + 0x10, {32, 0, 0, 0}, 4, "log block size 32"},
        {"f2fs", 1024 + 0x14, {10, 0, 0, 0}, 4, "segment 10"},
        {"f2fs", 1024 + 0x884, {0, 0x10, 0, 0}, 4, "encoding 0"},
        {"f2fs", 1024 + 0x30, {1, 0, 0, 0}, 4, "segment count"},
        {"f2fs", 1024 + 0x2c, {1, 0, 0, 0}, 4, "section count"},
        {"f2fs", 1024 + 0x18, {0, 0, 0, 0}, 4, "section of no segments"},
        {"f2fs", 1024 + 0x1c, {0, 1, 0, 0}, 4, "sections in a zone"},
        {"f2fs", 1024 + 0x4c, {0, 9, 0, 0}, 4, "start of an area"},
        {"f2fs", 1024 + 0x64, {4, 0, 0, 0}, 4, "number of an inode"},
        {"f2fs", 1024 + 0x47c, {65, 0, 0, 0}, 4, "extension count"},
        {"f2fs", 1024 + 0x680, {0, 2, 0, 0}, 4, "checkpoint payload"},
        {"f2fs", 5120 + 0x4c, {0, 9, 0, 0}, 4, "second superblock"},
        {"f2fs", 5120 + 0x884, {0xff, 0, 0, 0}, 4, "second superblock"},
        {"ext4-many", 1024 + 0x27c, {7, 0}, 2, "encoding"},
        {"erofs", 1024 + 0xc, {40}, 1, "2^40"},
        {"exfat", 0x6c, {200}, 1, "2^200"},
        {"squashfs", 12, {1, 2, 3, 4}, 4, "block size"},
        {"squashfs", 0x16, {18}, 1, "block size 2^18"},
        {"squashfs", 0x18, {0, 4}, 2, "options of the compressor"},
        {"squashfs", 0x1a, {0, 0}, 2, "table of IDs"},
        {"squashfs", 0x22, {255}, 1, "root inode"},
        {"squashfs", 0x14, {4}, 1, "root inode"},
        {"squashfs", 0x30, {1}, 1, "table of IDs"},
        {"squashfs", 0x38, {0, 0, 0, 0, 0, 0, 0, 0}, 8, "table of attributes"},
        {"squashfs", 0x4a, {1}, 1, "tables of directories"},
        {"squashfs", 0x51, {9}, 1, "table of fragments"},
        {"squashfs", 0x58, {1}, 1, "table of lookup"},
};
/* clang-format on */

static void test_malformed(void **state) {
        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(pokes); i++) {
                uint8_t bytes[8];
                Pieces pieces;
                FsVolume v;

                print_message("%s at %llu: %s\n", pokes[i].name,
                              (unsigned long long)pokes[i].offset, pokes[i].problem);
                memcpy(bytes, pokes[i].bytes, sizeof(bytes));
                pieces_load(&pieces, pokes[i].name);
                pieces_cover(&pieces, pokes[i].offset, bytes, pokes[i].n);
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_true(v.state & FS_STATE_MALFORMED);
                assert_non_null(strstr(v.problem, pokes[i].problem));
                pieces_unload(&pieces);
        }
}

/* A path in the first slot alone is opened as well, and so is one of the copy, which is taken where
 * the first is refused. A bit of erofs makes a table of what else is there. */
static void test_named_devices(void **state) {
        static const struct {
                const char *name;
                uint64_t offset;
                uint8_t bytes[4];
                uint32_t n_devices;
        } cases[] = {
                {"f2fs", 1024 + 0x899, "/x", 2},  {"f2fs", 1024 + 0x899 + 68, "/x", 2},
                {"f2fs", 5120 + 0x899, "/x", 2},  {"f2fs", 5120 + 0x899 + 7 * 68, "/x", 2},
                {"erofs", 1024 + 0x50, {0x8}, 1}, {"erofs", 1024 + 0x50, {0xb}, 1},
        };

        for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
                uint8_t bytes[4], two[2] = {2, 0};
                Pieces pieces;
                FsVolume v;

                memcpy(bytes, cases[i].bytes, sizeof(bytes));
                pieces_load(&pieces, cases[i].name);
                pieces_cover(&pieces, cases[i].offset, bytes, sizeof(bytes));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal(v.n_devices, cases[i].n_devices);
                if (cases[i].n_devices == 1) {
                        pieces_cover(&pieces, 1024 + 0x56, two, sizeof(two));
                        assert_int_equal(read_pieces(&pieces, &v), 0);
                        assert_int_equal(v.n_devices, 3);
                }
                pieces_unload(&pieces);
        }
}

/* Where the superblock of the journal is. */
static uint64_t find_journal(const Pieces *pieces) {
        for (size_t i = 0; i < pieces->n_pieces; i++)
                for (size_t at = 0; at + 4 <= pieces->pieces[i].n; at += 1024)
                        if (be32(pieces->pieces[i].data + at) == 0xc03b3998)
                                return pieces->pieces[i].offset + at;
        fail_msg("no journal");
        return 0;
}

/* What was said of a filesystem since it was made, of those without checksums. Offsets:
 * fs/ext4/ext4.h, struct ext4_super_block; include/linux/jbd2.h, struct journal_superblock_s;
 * fs/xfs, struct xfs_dsb. */
static void test_states(void **state) {
        static const struct {
                const char *name;
                bool in_journal;
                uint64_t offset;
                uint8_t bytes[4];
                size_t n;
                FsLog log;
                unsigned int state;
        } rows[] = {
                {"ext3", false, 1024 + 0x3a, {3}, 2, FS_LOG_CLEAN, FS_STATE_ERRORS},
                {"ext3", false, 1024 + 0x194, {5}, 4, FS_LOG_CLEAN, FS_STATE_ERRORS},
                {"ext3", false, 1024 + 0x3a, {0}, 2, FS_LOG_CLEAN, 0},
                {"ext2", false, 1024 + 0x3a, {0}, 2, FS_LOG_NONE, FS_STATE_UNCLEAN},
                {"ext3", false, 1024 + 0x60, {6}, 4, FS_LOG_DIRTY, 0},
                {"ext3", false, 1024 + 0xe4, {1}, 4, FS_LOG_UNREADABLE, 0},
                {"ext3", true, 0x1c, {0, 0, 0, 1}, 4, FS_LOG_DIRTY, 0},
                {"ext3", true, 0, {0}, 4, FS_LOG_UNREADABLE, 0},
                {"ext3", true, 4, {0, 0, 0, 5}, 4, FS_LOG_UNREADABLE, 0},
                {"xfs-v4", false, 0x7e, {1}, 1, FS_LOG_CLEAN, FS_STATE_IN_PROGRESS},
                {"xfs-v4", false, 0x34, {0x7f}, 1, FS_LOG_UNREADABLE, 0},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                uint8_t bytes[4];
                Pieces pieces;
                FsVolume v;

                memcpy(bytes, rows[i].bytes, sizeof(bytes));
                pieces_load(&pieces, rows[i].name);
                pieces_cover(&pieces,
                             rows[i].offset + (rows[i].in_journal ? find_journal(&pieces) : 0),
                             bytes, rows[i].n);
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal(v.log, rows[i].log);
                assert_int_equal(v.state, rows[i].state);
                pieces_unload(&pieces);
        }
}

/* A V5 superblock keeps its V4 words, and kernels before 5.15 are the only ones not to look. */
static void test_xfs_features2(void **state) {
        Pieces pieces;
        FsVolume v;

        (void)state;
        pieces_load(&pieces, "xfs");
        assert_int_equal(read_pieces(&pieces, &v), 0);
        assert_int_equal(v.words[FS_CLASS_FEATURES2], 0x18a);
        pieces_unload(&pieces);
}

/* As mkfs.xfs 6.13 writes "-m metadir=1" without a realtime device: groups of a size, and none of
 * them. */
static void test_metadir(void **state) {
        static const struct {
                uint8_t incompat[4], groups[16]; /* number, extents, their logarithm, padding */
                bool ok;
        } rows[] = {
                {{0, 0, 1, 0x4b}, {0, 0, 0, 0, 0, 0x10, 0, 0, 20}, true},
                {{0, 0, 1, 0x4b}, {0, 0, 0, 0, 0, 0x10, 0, 0, 21}, false},
                {{0, 0, 1, 0x4b}, {0, 0, 0, 1, 0, 0x10, 0, 0, 20}, false},
                {{0, 0, 1, 0x4b}, {0, 0, 0, 0, 0, 0, 0, 1, 0}, false},
                {{0, 0, 1, 0x4b}, {0, 0, 0, 0, 0, 0x10, 0, 0, 20, 1}, false},
                {{0, 0, 1, 0x0b}, {0, 0, 0, 0, 0, 0x10, 0, 0, 20}, false},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                uint8_t incompat[4], groups[16];
                Pieces pieces;
                FsVolume v;

                memcpy(incompat, rows[i].incompat, sizeof(incompat));
                memcpy(groups, rows[i].groups, sizeof(groups));
                pieces_load(&pieces, "xfs");
                pieces_cover(&pieces, 0xd8, incompat, sizeof(incompat));
                pieces_cover(&pieces, 0x110, groups, sizeof(groups));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal(!(v.state & FS_STATE_MALFORMED), rows[i].ok);
                pieces_unload(&pieces);
        }
}

/* nrext64 or parent on a log that mkfs made before it knew them. */
static void test_short_log(void **state) {
        static const struct {
                uint8_t incompat, log_blocks[4];
                bool is_short;
        } rows[] = {
                {0x2b, {0, 0, 0x05, 0x58}, true},
                {0x8b, {0, 0, 0x3f, 0xff}, true},
                {0x2b, {0, 0, 0x40, 0}, false},
                {0x0b, {0, 0, 0x05, 0x58}, false},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
                uint8_t incompat[4] = {0, 0, 0, rows[i].incompat}, blocks[4];
                Pieces pieces;
                FsVolume v;

                memcpy(blocks, rows[i].log_blocks, sizeof(blocks));
                pieces_load(&pieces, "xfs");
                pieces_cover(&pieces, 0xd8, incompat, sizeof(incompat));
                pieces_cover(&pieces, 0x60, blocks, sizeof(blocks));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal((v.state & FS_STATE_LOG_SHORT) != 0, rows[i].is_short);
                pieces_unload(&pieces);
        }
}

/* A bit of a btrfs superblock turned over with the checksum right: what only the trees tell. */
static void test_btrfs_trees(void **state) {
        static const struct {
                size_t at;
                uint8_t bits;
                const char *problem;
        } flips[] = {
                {0x48, 1, "tree root"},        {0x51, 0x40, "tree root"},
                {0x5a, 1, "chunk tree"},       {0xa4, 1, "chunk tree root"},
                {0xc6, 1, "tree root"},        {0xc7, 1, "chunk tree root"},
                {0xb4, 8, "no block group"},   {0xa5, 1, "chunk tree root"},
                {0xa0, 1, "system chunk"},     {0x10b, 1, "another device"},
                {0x333, 1, "system chunk"},    {0x33e, 1, "not those of the chunk tree"},
                {0x37a, 1, "chunk tree root"}, {0x73, 8, "total bytes"},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(flips); i++) {
                uint8_t sb[4096];
                uint32_t crc;
                Pieces pieces;
                FsReader reader;
                FsVolume v;

                pieces_load(&pieces, "btrfs");
                reader = pieces_reader(&pieces);
                assert_int_equal(reader.read(reader.userdata, 65536, sb, sizeof(sb)), 0);
                sb[flips[i].at] ^= flips[i].bits;
                crc = checksum_crc32c(UINT32_MAX, sb + 32, sizeof(sb) - 32) ^ UINT32_MAX;
                for (unsigned int k = 0; k < 4; k++)
                        sb[k] = (uint8_t)(crc >> (8 * k));
                pieces_cover(&pieces, 65536, sb, sizeof(sb));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                print_message("0x%zx: %s\n", flips[i].at, v.problem);
                assert_int_equal(v.checksum, FS_CHECKSUM_GOOD);
                assert_non_null(strstr(v.problem, flips[i].problem));
                pieces_unload(&pieces);
        }
}

/* Without the tree, a btrfs has the old cache from its first mount on, or will have it then. */
static void test_v1_cache(void **state) {
        static const uint8_t generations[][8] = {
                {0},
                {9},
                {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
        };

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(generations); i++) {
                uint8_t none[8] = {0}, generation[8];
                Pieces pieces;
                FsVolume v;

                memcpy(generation, generations[i], sizeof(generation));
                pieces_load(&pieces, "btrfs");
                pieces_cover(&pieces, 65536 + 0xb4, none, sizeof(none));
                pieces_cover(&pieces, 65536 + 0x22b, generation, sizeof(generation));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_int_equal((v.state & FS_STATE_V1_SPACE_CACHE) != 0, i > 0);
                /* Beside a free space tree it is left over, and not looked at. */
                none[0] = 3;
                pieces_cover(&pieces, 65536 + 0xb4, none, sizeof(none));
                assert_int_equal(read_pieces(&pieces, &v), 0);
                assert_false(v.state & FS_STATE_V1_SPACE_CACHE);
                pieces_unload(&pieces);
        }
}

static int failing_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        uint64_t *good_bytes = userdata;

        (void)buffer;
        return offset + n > *good_bytes ? -EIO : 0;
}

/* A read error is passed up: never "nothing there". */
static void test_read_errors(void **state) {
        uint64_t good_bytes = 0;
        FsReader reader = {.read = failing_read, .userdata = &good_bytes, .size_bytes = 1U << 30};
        FsVolume v;

        (void)state;
        assert_int_equal(fs_read_volume(&reader, &v), -EIO);
        good_bytes = 8192;
        assert_int_equal(fs_read_volume(&reader, &v), -EIO);
        assert_int_equal(fs_read_backup(&reader, &v), -EIO);
}

static void test_nothing(void **state) {
        static const uint64_t sizes[] = {0, 1, 511, 1024, 65536, 65536 + 4095, 1U << 20};
        FsBuffer buffer = {0};
        FsReader reader;
        FsVolume v;

        (void)state;
        for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
                fs_reader_from_buffer(&reader, &buffer, sizes[i]);
                assert_int_equal(fs_read_volume(&reader, &v), FS_E_NONE);
                assert_int_equal(fs_read_backup(&reader, &v), FS_E_NONE);
        }
}

/* The primary is gone, and the copy is found where mkfs puts it. */
static void test_backup(void **state) {
        uint8_t zeros[4096] = {0}, sb[4096];
        Pieces pieces;
        FsReader reader;
        FsVolume v;

        (void)state;
        pieces_load(&pieces, "ext4");
        assert_int_equal(pieces_read(&pieces, 1024, sb, 1024), 0);
        pieces_cover(&pieces, 1024, zeros, 1024);
        pieces_cover(&pieces, UINT64_C(32768) * 4096, sb, 1024);
        reader = pieces_reader(&pieces);
        assert_int_equal(fs_read_volume(&reader, &v), FS_E_NONE);
        assert_int_equal(fs_read_backup(&reader, &v), 0);
        assert_string_equal(v.type, "ext4");
        assert_int_equal(v.backup_offset, UINT64_C(32768) * 4096);
        pieces_unload(&pieces);

        pieces_load(&pieces, "btrfs");
        assert_int_equal(pieces_read(&pieces, 65536, sb, 4096), 0);
        pieces_cover(&pieces, 65536, zeros, 4096);
        pieces_cover(&pieces, UINT64_C(64) << 20, sb, 4096);
        reader = pieces_reader(&pieces);
        assert_int_equal(fs_read_backup(&reader, &v), 0);
        assert_string_equal(v.type, "btrfs");
        pieces_unload(&pieces);
}

static unsigned int n_reads;
static size_t n_read_bytes;

static int counting_read(void *userdata, uint64_t offset, void *buffer, size_t n) {
        n_reads++;
        n_read_bytes += n;
        return pieces_read(userdata, offset, buffer, n);
}

/* Whatever an image claims, reading ends. */
static void test_bounded(void **state) {
        uint8_t huge[4] = {0x7f, 255, 255, 255};
        Pieces pieces;
        FsReader reader;
        FsVolume v;

        (void)state;
        pieces_load(&pieces, "xfs");
        pieces_cover(&pieces, 0x60, huge, 4);
        pieces.size_bytes = UINT64_MAX / 2;
        reader = pieces_reader(&pieces);
        reader.read = counting_read;
        assert_int_equal(fs_read_volume(&reader, &v), 0);
        assert_true(n_reads <= FS_READS_MAX);
        assert_true(n_read_bytes <= FS_READ_BYTES_MAX);
        pieces_unload(&pieces);
}

static void test_checksums(void **state) {
        uint8_t digest[32];

        (void)state;
        assert_int_equal(checksum_crc32c(UINT32_MAX, "123456789", 9) ^ UINT32_MAX, 0xe3069283);
        assert_int_equal(checksum_crc32(UINT32_MAX, "123456789", 9) ^ UINT32_MAX, 0xcbf43926);
        assert_true(checksum_xxhash64("", 0) == 0xef46db3751d8e999ULL);
        assert_true(checksum_xxhash64("abc", 3) == 0x44bc2cf5ad770999ULL);
        checksum_blake2b_256("abc", 3, digest);
        assert_memory_equal(digest,
                            "\xbd\xdd\x81\x3c\x63\x42\x39\x72\x31\x71\xef\x3f\xee\x98\x57"
                            "\x9b\x94\x96\x4e\x3b\xb1\xcb\x3e\x42\x72\x62\xc8\xc0\x68\xd5"
                            "\x23\x19",
                            32);
}

static void test_kinds(void **state) {
        (void)state;
        assert_null(fs_format(FS_KIND_NONE));
        for (FsKind kind = FS_KIND_NONE + 1; kind < _FS_KIND_N; kind++) {
                const FsFormat *format = fs_format(kind);

                assert_non_null(format);
                assert_non_null(format->read);
                assert_string_equal(fs_kind_name(kind), format->name);
                assert_int_equal(fs_kind_from_type(format->types[0]), kind);
        }
        assert_int_equal(fs_kind_from_type("ext3"), FS_KIND_EXT);
        assert_int_equal(fs_kind_from_type("xfs"), FS_KIND_XFS);
        assert_int_equal(fs_kind_from_type("ext"), FS_KIND_NONE);
        assert_int_equal(fs_kind_from_type(""), FS_KIND_NONE);
        assert_int_equal(fs_kind_from_type("zfs"), FS_KIND_NONE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_checksums),     cmocka_unit_test(test_kinds),
                cmocka_unit_test(test_recorded),      cmocka_unit_test(test_names),
                cmocka_unit_test(test_bad_checksum),  cmocka_unit_test(test_malformed),
                cmocka_unit_test(test_metadir),       cmocka_unit_test(test_short_log),
                cmocka_unit_test(test_v1_cache),      cmocka_unit_test(test_xfs_log_order),
                cmocka_unit_test(test_read_errors),   cmocka_unit_test(test_nothing),
                cmocka_unit_test(test_backup),        cmocka_unit_test(test_bounded),
                cmocka_unit_test(test_btrfs_trees),   cmocka_unit_test(test_states),
                cmocka_unit_test(test_xfs_features2), cmocka_unit_test(test_named_devices),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
