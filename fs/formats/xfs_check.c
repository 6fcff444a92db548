/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernels check of an XFS superblock before they read anything else, and of the root inode
 * after it: xfs_validate_sb_common(), xfs_mountfs(), xfs_dinode_verify(). A table of rules; a rule
 * that is younger than Linux 4.18 says so, and older kernels may take what it refuses.
 */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"
#include "common/base/str.h"

#define AG_BYTES_MIN        (UINT64_C(16) << 20)
#define AG_BYTES_MAX        (UINT64_C(1) << 40)
#define AG_BLOCKS_MIN       64U
#define RT_EXTENT_MIN       4096U
#define RT_EXTENT_MAX       (1U << 30)
#define LOG_BLOCKS_MAX      (1024U * 1024U)
#define LOG_BYTES_MAX       ((UINT64_C(1) << 31) - 1024)
#define LOG_STRIPE_MAX      (256U * 1024U)
#define INODES_PER_CHUNK    64U
#define RT_GROUP_BLOCKS_MAX 0x7fffffffU

#define VERSION_DALIGN 0x100U
#define VERSION_SECTOR 0x800U
#define VERSION_SHARED 0x200U

/* Bits that every V5 superblock carries (xfs_sb_validate_v5_features()). */
#define V5_VERSIONNUM 0xb4a0U
#define V5_FEATURES2  0x18aU
/* Of V4: directories of version 2 and unwritten extents. */
#define V4_VERSIONNUM 0x3000U

#define INCOMPAT_SPARSE    0x2U
#define INCOMPAT_META_UUID 0x4U
#define INCOMPAT_BIGTIME   0x8U
#define INCOMPAT_NREXT64   0x20U
#define INCOMPAT_EXCHANGE  0x40U
#define INCOMPAT_METADIR   0x100U
#define INCOMPAT_ZONED     0x200U

#define QFLAGS_OLD 0x30U  /* OQUOTA_ENFD, OQUOTA_CHKD: V4 only */
#define QFLAGS_NEW 0x3c0U /* of V5 only */

#define RO_FINOBT  0x1U
#define RO_RMAPBT  0x2U
#define RO_REFLINK 0x4U
#define AGI_MAGIC  0x58414749U

#define DINODE_MAGIC         0x494eU
#define DINODE_FLAG2_BIGTIME 0x8U
#define DINODE_FLAG2_NREXT64 0x10U
#define MODE_TYPE            0170000U
#define MODE_DIRECTORY       0040000U
#define INODE_NONE           UINT64_MAX

static bool is_v5(const uint8_t *sb) {
        return (be16(sb + 0x64) & 15) == 5;
}

static uint32_t incompat(const uint8_t *sb) {
        return is_v5(sb) ? be32(sb + 0xd8) : 0;
}

static uint32_t block_bytes(const uint8_t *sb) {
        return be32(sb + 4);
}

static uint32_t log2_up(uint64_t n) {
        uint32_t log = 0;

        while (log < 63 && (UINT64_C(1) << log) < n)
                log++;
        return log;
}

static bool block_size_ok(const uint8_t *sb) {
        return sb[0x78] >= 9 && sb[0x78] <= 16 && block_bytes(sb) == 1U << sb[0x78] &&
               (!is_v5(sb) || block_bytes(sb) >= 1024);
}

static bool sector_ok(const uint8_t *sb) {
        return sb[0x79] >= 9 && sb[0x79] <= 15 && be16(sb + 0x66) == 1U << sb[0x79];
}

static bool inode_size_ok(const uint8_t *sb) {
        uint16_t size = be16(sb + 0x68);

        return sb[0x7a] >= 8 && sb[0x7a] <= 11 && size == 1U << sb[0x7a] &&
               be16(sb + 0x6a) == (block_bytes(sb) + size - 1) / size &&
               sb[0x7b] == (uint8_t)(sb[0x78] - sb[0x7a]);
}

/* Groups, all but the last of them full. */
static bool groups_ok(const uint8_t *sb) {
        uint32_t ag_blocks = be32(sb + 0x54), n_ags = be32(sb + 0x58);
        uint64_t n_blocks = be64(sb + 8), ag_bytes = (uint64_t)ag_blocks * block_bytes(sb);

        if (ag_bytes < AG_BYTES_MIN || ag_bytes > AG_BYTES_MAX || n_ags == 0)
                return false;
        return sb[0x7c] == log2_up(ag_blocks) &&
               n_ags == n_blocks / ag_blocks + (n_blocks % ag_blocks != 0);
}

static bool block_count_ok(const uint8_t *sb) {
        uint64_t ag_blocks = be32(sb + 0x54), n_ags = be32(sb + 0x58), n_blocks = be64(sb + 8);

        return n_blocks && n_blocks <= n_ags * ag_blocks &&
               n_blocks >= (n_ags - 1) * ag_blocks + AG_BLOCKS_MIN;
}

static bool directory_ok(const uint8_t *sb) {
        return sb[0xc0] + sb[0x78] <= 16;
}

static bool percent_ok(const uint8_t *sb) {
        return sb[0x7f] <= 100;
}

static bool shared_ok(const uint8_t *sb) {
        return sb[0xb3] == 0;
}

static bool log_size_ok(const uint8_t *sb) {
        uint32_t n = be32(sb + 0x60);

        return n && n <= LOG_BLOCKS_MAX && (uint64_t)n * block_bytes(sb) <= LOG_BYTES_MAX;
}

static bool log_sector_ok(const uint8_t *sb) {
        if (!(be16(sb + 0x64) & VERSION_SECTOR))
                return be16(sb + 0xc2) == 0 && sb[0xc1] == 0;
        return sb[0xc1] < 16 && be16(sb + 0xc2) == 1U << sb[0xc1];
}

static bool log_stripe_ok(const uint8_t *sb) {
        uint32_t unit = be32(sb + 0xc4);

        return unit <= 1 || (unit % block_bytes(sb) == 0 && unit <= LOG_STRIPE_MAX);
}

/* The kernel's product has 32 bits. */
static bool rt_extent_ok(const uint8_t *sb) {
        uint32_t bytes = be32(sb + 0x50) * block_bytes(sb);

        return bytes >= RT_EXTENT_MIN && bytes <= RT_EXTENT_MAX;
}

static bool rt_ok(const uint8_t *sb) {
        uint64_t n_blocks = be64(sb + 0x10), n_extents = be64(sb + 0x18);
        uint64_t bits = 8 * (uint64_t)block_bytes(sb);

        if (n_blocks == 0)
                return n_extents == 0 && be32(sb + 0x5c) == 0 && sb[0x7d] == 0 &&
                       be64(sb + 0x98) == 0;
        return be32(sb + 0x50) && n_extents == n_blocks / be32(sb + 0x50) && n_extents &&
               (incompat(sb) & INCOMPAT_METADIR ||
                be32(sb + 0x5c) == n_extents / bits + (n_extents % bits != 0));
}

static bool stripe_flag_ok(const uint8_t *sb) {
        return (be32(sb + 0xb8) != 0) == ((be16(sb + 0x64) & VERSION_DALIGN) != 0);
}

static bool stripe_ok(const uint8_t *sb) {
        uint64_t unit = (uint64_t)be32(sb + 0xb8) * block_bytes(sb);
        uint64_t width = (uint64_t)be32(sb + 0xbc) * block_bytes(sb);

        if (unit == 0)
                return width == 0;
        return unit <= INT32_MAX && width <= INT32_MAX && unit % be16(sb + 0x66) == 0 &&
               width >= unit && width % unit == 0;
}

static bool quota_flags_ok(const uint8_t *sb) {
        return !(be16(sb + 0xb0) & (is_v5(sb) ? QFLAGS_OLD : QFLAGS_NEW));
}

static bool version_ok(const uint8_t *sb) {
        uint16_t version = be16(sb + 0x64);

        if (!is_v5(sb))
                return (version & V4_VERSIONNUM) == V4_VERSIONNUM;
        return (version & V5_VERSIONNUM) == V5_VERSIONNUM &&
               (be32(sb + 0xc8) & V5_FEATURES2) == V5_FEATURES2;
}

/* Where sparse chunks are allowed, chunks are aligned to themselves and pieces to clusters. */
static bool sparse_ok(const uint8_t *sb) {
        uint32_t inode = be16(sb + 0x68), align = be32(sb + 0xb4);
        uint32_t chunk = INODES_PER_CHUNK * inode >> sb[0x78];
        uint32_t cluster = 8192 * (inode / 256);

        if (!(incompat(sb) & INCOMPAT_SPARSE))
                return !is_v5(sb) || be32(sb + 0xe4) == 0;
        if (align < cluster >> sb[0x78])
                cluster = 8192;
        return align == chunk && be32(sb + 0xe4) == cluster >> sb[0x78];
}

/* Counted in inodes, in 32 bits. */
static bool inode_alignment_ok(const uint8_t *sb) {
        return incompat(sb) & INCOMPAT_SPARSE || !is_v5(sb) ||
               be32(sb + 0xb4) << sb[0x7b] <= INODES_PER_CHUNK;
}

/* Realtime groups come with the metadata directory, also where there is no realtime device: a size
 * of two extents at least, its logarithm, their number, and the feature that defragments them
 * (xfs_validate_sb_rtgroups()). Zones want the directory. */
static bool metadir_ok(const uint8_t *sb) {
        uint64_t extents = be32(sb + 0x114), extent_blocks = be32(sb + 0x50);
        static const uint8_t padding[7];

        if (!(incompat(sb) & INCOMPAT_METADIR))
                return !(incompat(sb) & INCOMPAT_ZONED);
        return extents >= 2 && extent_blocks && extents <= RT_GROUP_BLOCKS_MAX / extent_blocks &&
               be32(sb + 0x110) == be64(sb + 0x18) / extents + (be64(sb + 0x18) % extents != 0) &&
               incompat(sb) & INCOMPAT_EXCHANGE && sb[0x118] == log2_up(extents * extent_blocks) &&
               memcmp(sb + 0x119, padding, sizeof(padding)) == 0;
}

static const SuperblockRule rules[] = {
        {block_size_ok, FS_VERSION_ANY, "block size"},
        {sector_ok, FS_VERSION_ANY, "sector size"},
        {inode_size_ok, FS_VERSION_ANY, "inode size"},
        {version_ok, FS_VERSION_ANY, "version without the bits that every one has"},
        {groups_ok, FS_VERSION_ANY, "allocation groups"},
        {block_count_ok, FS_VERSION_ANY, "block count"},
        {directory_ok, FS_VERSION_ANY, "directory block size"},
        {percent_ok, FS_VERSION_ANY, "percentage of inodes"},
        {shared_ok, FS_VERSION_ANY, "shared version number"},
        {quota_flags_ok, FS_VERSION_ANY, "quota flags"},
        {log_size_ok, FS_VERSION(4, 18, 0), "log size"},
        {log_sector_ok, FS_VERSION(6, 5, 0), "log sector size"},
        {log_stripe_ok, FS_VERSION(6, 5, 0), "log stripe unit"},
        {rt_extent_ok, FS_VERSION_ANY, "realtime extent size"},
        {rt_ok, FS_VERSION(4, 19, 0), "realtime geometry"},
        {stripe_flag_ok, FS_VERSION(5, 11, 0), "stripe unit beside the flag for it"},
        {stripe_ok, FS_VERSION(5, 11, 0), "stripe width and unit"},
        {sparse_ok, FS_VERSION(4, 2, 0), "alignment of inodes"},
        {inode_alignment_ok, FS_VERSION(6, 12, 0), "alignment of inodes"},
        {metadir_ok, FS_VERSION(6, 13, 0), "realtime groups"},
};

void xfs_check(const uint8_t *sb, FsVolume *volume) {
        superblock_rules(rules, N_ELEMENTS(rules), sb, volume);
}

/* --- inodes that every mount reads --- */

static int read_inode(FsSource *source, const uint8_t *sb, uint64_t ino, uint8_t *inode, size_t n) {
        uint32_t ag_log = sb[0x7c], per_block = sb[0x7b];
        uint64_t ag = ino >> (ag_log + per_block), block, offset;

        block = (ino >> per_block) & ((UINT64_C(1) << ag_log) - 1);
        if (ag >= be32(sb + 0x58) || block >= be32(sb + 0x54))
                return -ENODATA;
        offset = (ag * be32(sb + 0x54) + block) * block_bytes(sb) +
                 (ino & ((UINT64_C(1) << per_block) - 1)) * be16(sb + 0x68);
        return source_read(source, offset, inode, n);
}

static bool inode_is_sound(const uint8_t *sb, uint64_t ino, uint8_t *inode, size_t n) {
        uint32_t features = incompat(sb), stored;
        uint64_t flags2;

        if (be16(inode) != DINODE_MAGIC)
                return false;
        if (!is_v5(sb))
                return inode[4] <= 2;
        stored = le32(inode + 100);
        memset(inode + 100, 0, 4);
        flags2 = be64(inode + 0x78);
        return inode[4] == 3 && be64(inode + 152) == ino &&
               (checksum_crc32c(UINT32_MAX, inode, n) ^ UINT32_MAX) == stored &&
               memcmp(inode + 160, sb + (features & INCOMPAT_META_UUID ? 0xf8 : 0x20), 16) == 0 &&
               !(flags2 & DINODE_FLAG2_BIGTIME && !(features & INCOMPAT_BIGTIME)) &&
               !(flags2 & DINODE_FLAG2_NREXT64 && !(features & INCOMPAT_NREXT64));
}

static int check_root(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t ino = be64(sb + 0x38);
        uint8_t inode[2048];
        size_t n = be16(sb + 0x68);
        int r = read_inode(source, sb, ino, inode, n);

        if (r < 0 && !source_is_image_fault(r))
                return r;
        if (r < 0 || !inode_is_sound(sb, ino, inode, n) ||
            (be16(inode + 2) & MODE_TYPE) != MODE_DIRECTORY)
                volume_malformed(volume, "root inode");
        return 0;
}

/* The first free inode of the root's chunk, which the next file gets. */
static int first_free(FsSource *source, const uint8_t *sb, uint64_t *inop) {
        size_t n = be16(sb + 0x68);
        cleanup(freep) uint8_t *chunk = calloc(INODES_PER_CHUNK, n);
        uint64_t root = be64(sb + 0x38);
        int r;

        *inop = INODE_NONE;
        if (!chunk)
                return -ENOMEM;
        r = read_inode(source, sb, root, chunk, n * INODES_PER_CHUNK);
        if (r < 0)
                return source_is_image_fault(r) ? 0 : r;
        for (uint64_t i = 0; i < INODES_PER_CHUNK; i++) {
                const uint8_t *inode = chunk + i * n;

                if (be16(inode) == DINODE_MAGIC && be16(inode + 2) == 0) {
                        *inop = root + i;
                        break;
                }
        }
        return 0;
}

/* Numbers that the superblock gives to realtime inodes are no others': a directory that names one
 * of them is damaged. Drivers with realtime support read them at every mount. */
static int check_rt_inodes(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t root = be64(sb + 0x38), inos[2] = {be64(sb + 0x40), be64(sb + 0x48)};
        uint64_t next = INODE_NONE;
        int r;

        if (incompat(sb) & INCOMPAT_METADIR || inos[0] == INODE_NONE ||
            (inos[0] == root + 1 && inos[1] == root + 2))
                return 0;
        r = first_free(source, sb, &next);
        for (size_t i = 0; r == 0 && i < 2; i++) {
                uint8_t inode[2048];
                size_t n = be16(sb + 0x68);

                if (inos[i] == root)
                        volume_malformed(volume, "realtime inode %llu is the root",
                                         (unsigned long long)inos[i]);
                if (inos[i] == next)
                        volume->state |= FS_STATE_SHUTS_DOWN;
                r = read_inode(source, sb, inos[i], inode, n);
                if (r < 0 ? source_is_image_fault(r)
                          : !inode_is_sound(sb, inos[i], inode, n) || be16(inode + 2) == 0) {
                        volume->state |= FS_STATE_RT_INODES;
                        r = 0;
                }
        }
        return r;
}

/* Headers of the first group: as long as the superblock says, and with the trees of its features.
 * The inode tree is read by every mount, the free space's only to write. */
static int check_group(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint8_t headers[2][512];
        uint32_t features = is_v5(sb) ? be32(sb + 0xd4) : 0, length = be32(sb + 0x54);

        for (size_t i = 0; i < 2; i++) {
                int r = source_read(source, (i + 1) * be16(sb + 0x66), headers[i], 512);

                if (r < 0)
                        return source_is_image_fault(r) ? 0 : r;
        }
        if (be32(sb + 0x58) == 1)
                length = be32(sb + 0xc);
        if (be32(headers[1]) != AGI_MAGIC || be32(headers[1] + 0xc) != length ||
            (features & RO_FINOBT && be32(headers[1] + 0x14c) == 0)) {
                volume_malformed(volume, "first allocation group");
                volume->problem_since = FS_VERSION(6, 5, 0);
        }
        if ((features & RO_RMAPBT && be32(headers[0] + 0x24) == 0) ||
            (features & RO_REFLINK && be32(headers[0] + 0x5c) == 0))
                volume->state |= FS_STATE_SHUTS_DOWN;
        return 0;
}

int xfs_check_inodes(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        int r = check_group(source, sb, volume);

        if (r == 0 && !(volume->state & FS_STATE_MALFORMED))
                r = check_root(source, sb, volume);

        return r < 0 || volume->state & FS_STATE_MALFORMED ? r
                                                           : check_rt_inodes(source, sb, volume);
}
