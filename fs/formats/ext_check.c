/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels check of an ext superblock (ext4_load_super() and what it calls), then of the first
 * group's descriptor and of the inodes that every mount reads. A table of rules; one that is
 * younger than Linux 4.18 says so.
 */

#include "fs/formats/ext_internal.h"
#include "fs/volume/checksum.h"

#include <string.h>

#include "common/base/cleanup.h"

#define COMPAT_JOURNAL     0x4U
#define COMPAT_ORPHAN_FILE 0x1000U
#define ORPHAN_BLOCKS_MAX  512
#define INCOMPAT_RECOVER   0x4U
#define INCOMPAT_64BIT     0x80U
#define INCOMPAT_META_BG   0x10U
#define INCOMPAT_FLEX_BG   0x200U
#define INCOMPAT_CSUM_SEED 0x2000U
#define INCOMPAT_CRYPT     0x10000U
#define INCOMPAT_CASEFOLD  0x20000U
#define RO_UNINIT_BG       0x10U
#define RO_EXTRA_SIZE      0x40U
#define RO_BIGALLOC        0x200U
#define RO_METADATA_CSUM   0x400U

/* EXT4_MAX_DESC_SIZE of the kernel */
#define DESC_MAX 1024U

#define INODE_ROOT      2U
#define INODE_FIRST     11U
#define HASH_SIPHASH    6U
#define CREATOR_HURD    1U
#define ERRORS_CONTINUE 1U
#define MODE_TYPE       0170000U
#define MODE_DIRECTORY  0040000U
#define MODE_FILE       0100000U

static uint32_t block_bytes(const uint8_t *sb) {
        return 1024U << le32(sb + 0x18);
}

static uint32_t incompat(const uint8_t *sb) {
        return le32(sb + 0x60);
}

static uint32_t ro_compat(const uint8_t *sb) {
        return le32(sb + 0x64);
}

static bool is_bigalloc(const uint8_t *sb) {
        return ro_compat(sb) & RO_BIGALLOC;
}

static uint32_t inode_bytes(const uint8_t *sb) {
        return le32(sb + 0x4c) == 0 ? 128 : le16(sb + 0x58);
}

static uint32_t desc_bytes(const uint8_t *sb) {
        return incompat(sb) & INCOMPAT_64BIT ? le16(sb + 0xfe) : 32;
}

/* What of a descriptor there is to read, whatever a superblock says. */
static uint32_t desc_read_bytes(const uint8_t *sb) {
        return desc_bytes(sb) < DESC_MAX ? desc_bytes(sb) : DESC_MAX;
}

static uint64_t n_blocks(const uint8_t *sb) {
        return le32(sb + 4) |
               (incompat(sb) & INCOMPAT_64BIT ? (uint64_t)le32(sb + 0x150) << 32 : 0);
}

static uint64_t n_groups(const uint8_t *sb) {
        uint64_t blocks = n_blocks(sb) - le32(sb + 0x14), per_group = le32(sb + 0x20);

        return blocks / per_group + (blocks % per_group != 0);
}

static bool block_size_ok(const uint8_t *sb) {
        return le32(sb + 0x18) <= 6;
}

static bool cluster_size_ok(const uint8_t *sb) {
        uint32_t block = le32(sb + 0x18), cluster = le32(sb + 0x1c);

        return cluster <= 20 && (is_bigalloc(sb) ? cluster >= block : cluster == block);
}

static bool inode_size_ok(const uint8_t *sb) {
        uint32_t n = inode_bytes(sb);

        return n >= 128 && is_power_of_two(n) && n <= block_bytes(sb);
}

static bool extra_size_ok(const uint8_t *sb) {
        uint32_t n = inode_bytes(sb);

        return n <= 128 || !(ro_compat(sb) & RO_EXTRA_SIZE) ||
               (le16(sb + 0x15c) <= n - 128 && le16(sb + 0x15e) <= n - 128);
}

/* Clusters and inodes of a group have a bitmap of one block. */
static bool group_ok(const uint8_t *sb) {
        uint32_t blocks = le32(sb + 0x20), clusters = le32(sb + 0x24), bits = 8 * block_bytes(sb);
        uint32_t ratio = le32(sb + 0x1c) - le32(sb + 0x18);

        return clusters && clusters <= bits && blocks == (uint64_t)clusters << ratio;
}

static bool inodes_ok(const uint8_t *sb) {
        uint32_t per_group = le32(sb + 0x28);

        return per_group <= 8 * block_bytes(sb) && per_group >= block_bytes(sb) / inode_bytes(sb);
}

static bool first_block_ok(const uint8_t *sb) {
        uint32_t first = le32(sb + 0x14);

        if (first >= n_blocks(sb))
                return false;
        if (block_bytes(sb) > 1024)
                return first == 0;
        return first == 1 || (is_bigalloc(sb) && first == 0);
}

static bool inode_count_ok(const uint8_t *sb) {
        return le32(sb) == n_groups(sb) * le32(sb + 0x28);
}

static bool first_inode_ok(const uint8_t *sb) {
        return le32(sb + 0x4c) == 0 ||
               (le32(sb + 0x54) >= INODE_FIRST && le32(sb + 0x54) <= INT32_MAX);
}

static bool descriptor_ok(const uint8_t *sb) {
        uint16_t n = le16(sb + 0xfe);

        return !(incompat(sb) & INCOMPAT_64BIT) || (n >= 64 && n <= 1024 && is_power_of_two(n));
}

static bool reserved_ok(const uint8_t *sb) {
        return le16(sb + 0xce) <= block_bytes(sb) / 4;
}

static bool encoding_ok(const uint8_t *sb) {
        return !(incompat(sb) & INCOMPAT_CASEFOLD) || le16(sb + 0x27c) == 1;
}

static bool hash_ok(const uint8_t *sb) {
        bool in_entries = incompat(sb) & INCOMPAT_CASEFOLD && incompat(sb) & INCOMPAT_CRYPT;

        return sb[0xfc] < HASH_SIPHASH || (sb[0xfc] == HASH_SIPHASH && in_entries);
}

static bool flex_ok(const uint8_t *sb) {
        return !(incompat(sb) & INCOMPAT_FLEX_BG) || sb[0x174] < 32;
}

static bool creator_ok(const uint8_t *sb) {
        return le32(sb + 0x48) != CREATOR_HURD || !(incompat(sb) & INCOMPAT_64BIT);
}

static bool recovery_ok(const uint8_t *sb) {
        return !(incompat(sb) & INCOMPAT_RECOVER) || le32(sb + 0x5c) & COMPAT_JOURNAL;
}

static bool checksum_type_ok(const uint8_t *sb) {
        return !(ro_compat(sb) & RO_METADATA_CSUM) || sb[0x175] == 1;
}

/* In this order: later ones divide by what earlier ones found to be no zero. */
static const SuperblockRule rules[] = {
        {block_size_ok, FS_VERSION_ANY, "log block size"},
        {cluster_size_ok, FS_VERSION_ANY, "log cluster size"},
        {inode_size_ok, FS_VERSION_ANY, "inode size"},
        {checksum_type_ok, FS_VERSION_ANY, "checksum type"},
        {descriptor_ok, FS_VERSION_ANY, "group descriptor size"},
        {group_ok, FS_VERSION_ANY, "blocks of a group"},
        {inodes_ok, FS_VERSION_ANY, "inodes of a group"},
        {first_block_ok, FS_VERSION_ANY, "first data block"},
        {inode_count_ok, FS_VERSION(4, 18, 0), "inode count"},
        {first_inode_ok, FS_VERSION(4, 18, 0), "first inode"},
        {reserved_ok, FS_VERSION(4, 18, 0), "reserved descriptor blocks"},
        {encoding_ok, FS_VERSION_ANY, "encoding"},
        {recovery_ok, FS_VERSION_ANY, "a journal to replay, and none there"},
        {creator_ok, FS_VERSION_ANY, "creator"},
        {extra_size_ok, FS_VERSION(5, 10, 0), "extra inode size"},
        {hash_ok, FS_VERSION(6, 12, 0), "directory hash"},
        {flex_ok, FS_VERSION(6, 18, 0), "groups of a flex group"},
};

void ext_check(const uint8_t *sb, FsVolume *volume) {
        superblock_rules(rules, N_ELEMENTS(rules), sb, volume);
}

/* --- descriptors and inodes --- */

static uint32_t checksum_seed(const uint8_t *sb) {
        if (incompat(sb) & INCOMPAT_CSUM_SEED)
                return le32(sb + 0x270);
        return checksum_crc32c(UINT32_MAX, sb + 0x68, 16);
}

/* Descriptors stand behind the superblock, but with meta_bg from a group on. Return: 0; FS_E_NONE:
 * not where we look; -errno. */
static int read_descriptor(FsSource *source, const uint8_t *sb, uint64_t group,
                           uint8_t desc[DESC_MAX]) {
        uint64_t per_block = block_bytes(sb) / desc_bytes(sb);

        if (incompat(sb) & INCOMPAT_META_BG && group / per_block >= le32(sb + 0x104) && group > 0)
                return FS_E_NONE;
        memset(desc, 0, DESC_MAX);
        return source_read(source,
                           (UINT64_C(1) + 1024 / block_bytes(sb)) * block_bytes(sb) +
                                   group * desc_bytes(sb),
                           desc, desc_read_bytes(sb));
}

/* Of the whole descriptor, as large as the superblock says. */
static bool descriptor_sum_ok(const uint8_t *sb, uint32_t group, const uint8_t desc[DESC_MAX]) {
        uint8_t number[4], zero[2] = {0};
        uint32_t n = desc_read_bytes(sb), crc;
        uint16_t sum;

        put_le32(number, group);
        if (ro_compat(sb) & RO_METADATA_CSUM) {
                crc = checksum_crc32c(checksum_seed(sb), number, 4);
                crc = checksum_crc32c(crc, desc, 0x1e);
                crc = checksum_crc32c(crc, zero, 2);
                crc = checksum_crc32c(crc, desc + 0x20, n - 0x20);
                return (uint16_t)crc == le16(desc + 0x1e);
        }
        if (!(ro_compat(sb) & RO_UNINIT_BG))
                return true;
        sum = checksum_crc16(UINT16_MAX, sb + 0x68, 16);
        sum = checksum_crc16(sum, number, 4);
        sum = checksum_crc16(sum, desc, 0x1e);
        if (incompat(sb) & INCOMPAT_64BIT)
                sum = checksum_crc16(sum, desc + 0x20, n - 0x20);
        return sum == le16(desc + 0x1e);
}

static uint64_t joined(const uint8_t *sb, const uint8_t *desc, size_t low, size_t high) {
        return le32(desc + low) |
               (incompat(sb) & INCOMPAT_64BIT ? (uint64_t)le32(desc + high) << 32 : 0);
}

/* Superblock, descriptors and room for more of them, in front of the group's own blocks. */
static bool overlaps_head(const uint8_t *sb, const uint8_t desc[DESC_MAX]) {
        uint64_t per_block = block_bytes(sb) / desc_bytes(sb);
        uint64_t head =
                le32(sb + 0x14) + 1 + (n_groups(sb) + per_block - 1) / per_block + le16(sb + 0xce);

        if (incompat(sb) & INCOMPAT_META_BG)
                return false;
        return joined(sb, desc, 0, 0x20) < head || joined(sb, desc, 4, 0x24) < head ||
               joined(sb, desc, 8, 0x28) < head;
}

/* Without flex_bg each group holds its own bitmaps and inodes; the second tells. */
static int check_own_group(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t first = le32(sb + 0x14) + (uint64_t)le32(sb + 0x20);
        uint8_t desc[DESC_MAX];
        int r;

        if (incompat(sb) & INCOMPAT_FLEX_BG || n_groups(sb) < 2)
                return 0;
        r = read_descriptor(source, sb, 1, desc);
        if (r != 0)
                return r == FS_E_NONE || source_is_image_fault(r) ? 0 : r;
        if (joined(sb, desc, 0, 0x20) < first || joined(sb, desc, 4, 0x24) < first ||
            joined(sb, desc, 8, 0x28) < first)
                volume_malformed(volume, "second group without its own blocks");
        return 0;
}

/* Each group's blocks are of this filesystem, for a kernel that only reads as well. The last group
 * tells where descriptors have another size than they were written with. */
static int check_last_group(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t first = le32(sb + 0x14), end = n_blocks(sb);
        uint8_t desc[DESC_MAX];
        int r;

        r = read_descriptor(source, sb, n_groups(sb) - 1, desc);
        if (r != 0)
                return r == FS_E_NONE || source_is_image_fault(r) ? 0 : r;
        for (size_t at = 0; at < 12; at += 4) {
                uint64_t block = joined(sb, desc, at, 0x20 + at);

                if (block < first || block >= end) {
                        volume_malformed(volume, "last group without blocks of its own");
                        break;
                }
        }
        return 0;
}

static int check_descriptor(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint8_t desc[DESC_MAX];
        int r = read_descriptor(source, sb, 0, desc);

        if (r != 0)
                return r == FS_E_NONE || source_is_image_fault(r) ? 0 : r;
        /* A read-only mount goes on. */
        if (!descriptor_sum_ok(sb, 0, desc))
                volume->state |= FS_STATE_GROUPS_BROKEN;
        if (overlaps_head(sb, desc)) {
                volume_malformed(volume, "first group overlaps the descriptors");
                volume->problem_since = FS_VERSION(5, 7, 0);
        }
        return 0;
}

int ext_read_inode(FsSource *source, const uint8_t *sb, uint32_t ino, uint8_t inode[256]) {
        uint32_t per_group = le32(sb + 0x28), n = inode_bytes(sb) < 256 ? inode_bytes(sb) : 256;
        uint64_t table;
        uint8_t desc[DESC_MAX];
        int r;

        if (ino == 0 || ino > le32(sb) || per_group == 0)
                return -ENODATA;
        r = read_descriptor(source, sb, (ino - 1) / per_group, desc);
        if (r != 0)
                return r;
        table = joined(sb, desc, 8, 0x28);
        if (table == 0 || table > UINT64_MAX / 131072)
                return -ENODATA;
        memset(inode, 0, 256);
        return source_read(source,
                           table * block_bytes(sb) +
                                   (uint64_t)((ino - 1) % per_group) * inode_bytes(sb),
                           inode, n);
}

/* The checksum covers inodes up to 256 bytes as they are read here; larger ones are taken as good.
 */
static bool inode_sum_ok(const uint8_t *sb, uint32_t ino, const uint8_t inode[256]) {
        uint32_t n = inode_bytes(sb), crc, stored = le16(inode + 0x7c), mask = 0xffff;
        uint8_t copy[256], number[4];

        if (!(ro_compat(sb) & RO_METADATA_CSUM) || n > 256)
                return true;
        memcpy(copy, inode, 256);
        memset(copy + 0x7c, 0, 2);
        if (n > 128 && le16(inode + 0x80) >= 4) {
                stored |= (uint32_t)le16(inode + 0x82) << 16;
                mask = UINT32_MAX;
                memset(copy + 0x82, 0, 2);
        }
        put_le32(number, ino);
        crc = checksum_crc32c(checksum_seed(sb), number, 4);
        crc = checksum_crc32c(crc, inode + 0x64, 4);
        return (checksum_crc32c(crc, copy, n) & mask) == stored;
}

/* Return: 0: there; FS_E_NONE: not looked at; -ENODATA: it makes no sense; -errno of a read. */
static int check_inode(FsSource *source, const uint8_t *sb, uint32_t ino, uint16_t type) {
        uint8_t inode[256];
        int r = ext_read_inode(source, sb, ino, inode);

        if (r != 0)
                return source_is_image_fault(r) ? -ENODATA : r;
        if (!inode_sum_ok(sb, ino, inode) || (le16(inode) & MODE_TYPE) != type ||
            le16(inode + 0x1a) == 0)
                return -ENODATA;
        return type != MODE_DIRECTORY || le32(inode + 4) ? 0 : -ENODATA;
}

/* An inode that was found good: its size in blocks. */
static int check_orphan_file(FsSource *source, const uint8_t *sb, uint32_t ino, FsVolume *volume) {
        uint8_t inode[256];
        int r = ext_read_inode(source, sb, ino, inode);
        uint64_t size;

        if (r != 0)
                return r;
        size = le32(inode + 4) | (uint64_t)le32(inode + 0x6c) << 32;
        if (size / block_bytes(sb) > ORPHAN_BLOCKS_MAX)
                volume->state |= FS_STATE_ORPHAN_FILE_LARGE;
        return 0;
}

typedef struct Inode {
        uint32_t ino;
        uint16_t type;
        const char *problem;
        uint32_t since;
} Inode;

int ext_check_inodes(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        bool journal = le32(sb + 0x5c) & COMPAT_JOURNAL && le32(sb + 0xe0);
        bool orphans = le32(sb + 0x5c) & COMPAT_ORPHAN_FILE;
        const Inode inodes[] = {
                {INODE_ROOT, MODE_DIRECTORY, "root inode", FS_VERSION_ANY},
                {journal ? le32(sb + 0xe0) : INODE_ROOT, journal ? MODE_FILE : MODE_DIRECTORY,
                 "journal inode", FS_VERSION(5, 2, 0)},
                {orphans ? le32(sb + 0x280) : INODE_ROOT, orphans ? MODE_FILE : MODE_DIRECTORY,
                 "orphan file inode", FS_VERSION(5, 15, 0)},
        };
        int r = check_descriptor(source, sb, volume);

        if (r == 0)
                r = check_own_group(source, sb, volume);
        if (r == 0)
                r = check_last_group(source, sb, volume);
        for (size_t i = 0; r == 0 && i < N_ELEMENTS(inodes); i++) {
                int found = check_inode(source, sb, inodes[i].ino, inodes[i].type);

                if (found == -ENODATA && !(volume->state & FS_STATE_MALFORMED)) {
                        volume_malformed(volume, "%s", inodes[i].problem);
                        volume->problem_since = inodes[i].since;
                } else if (found < 0 && found != -ENODATA) {
                        r = found;
                }
        }
        if (r == 0 && orphans && !(volume->state & FS_STATE_MALFORMED))
                r = check_orphan_file(source, sb, le32(sb + 0x280), volume);
        /* Numbers below the first inode are never given out: a filesystem of one group that has
         * only those is full. */
        if (le32(sb + 0x4c) > 0 && le32(sb + 0x54) > INODE_FIRST &&
            (n_groups(sb) == 1 || le16(sb + 0x3c) != ERRORS_CONTINUE))
                volume->state |= FS_STATE_SHUTS_DOWN;
        /* Clusters of one block of 1 KiB: refused to be written (6.18). */
        if (is_bigalloc(sb) && block_bytes(sb) == 1024 && le32(sb + 0x1c) == 0)
                volume->state |= FS_STATE_SHUTS_DOWN;
        return r;
}
