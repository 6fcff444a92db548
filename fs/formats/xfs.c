/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XFS V4 and V5: the superblock in sector 0, big endian but for its checksum. There is no dirty
 * flag: whether the log must be recovered is in the log, fs/formats/xfs_log.c. Offsets: struct
 * xfs_dsb.
 */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include <string.h>

#define XFS_MAGIC       0x58465342U
#define XFS_SECTOR_MAX  32768U
#define XFS_MOREBITS    0x8000U
#define XFS_FLAG_RO     0x1U
#define XFS_NEEDSREPAIR 0x10U

/* nrext64 and parent: their transactions are larger, and a mount refuses a log that cannot hold
 * them (xfs_log_calc_minimum_size()). Since mkfs.xfs knows them it makes no log of less than this;
 * one that is shorter got them later. */
#define XFS_LARGE_LOG_FEATURES 0xa0U
#define XFS_LOG_ENOUGH         (UINT64_C(64) << 20)

/* V4 words that the kernel knows; it keeps features2 twice and joins the two when they differ. */
#define XFS_FEATURES2_KNOWN 0x38aU

static bool xfs_words(const uint8_t *sb, FsVolume *volume) {
        uint16_t version = be16(sb + 0x64);
        uint32_t features2 = be32(sb + 0xc8);

        volume->words[FS_CLASS_VERSION] = UINT64_C(1) << (version & 15);
        volume->words[FS_CLASS_VERSIONNUM] = version & 0xfff0U;
        if ((version & 15) == 5) {
                volume->words[FS_CLASS_COMPAT] = be32(sb + 0xd0);
                volume->words[FS_CLASS_RO_COMPAT] = be32(sb + 0xd4);
                volume->words[FS_CLASS_INCOMPAT] = be32(sb + 0xd8);
                volume->words[FS_CLASS_LOG_INCOMPAT] = be32(sb + 0xdc);
        }
        /* V5 keeps the word too, with its own mark; kernels look at the rest of it. */
        if (version & XFS_MOREBITS || (version & 15) == 5)
                volume->words[FS_CLASS_FEATURES2] = features2;
        return (version & 15) == 5;
}

/* Over the whole sector, its own field as zero. */
static int xfs_checksum(FsSource *source, FsVolume *volume) {
        uint8_t sector[4096], zero[4] = {0};
        uint32_t crc = UINT32_MAX, stored = 0;

        if (volume->sector_bytes < 512 || volume->sector_bytes > XFS_SECTOR_MAX ||
            !is_power_of_two(volume->sector_bytes)) {
                volume_malformed(volume, "sector size %u", volume->sector_bytes);
                return 0;
        }
        for (uint32_t at = 0; at < volume->sector_bytes; at += sizeof(sector)) {
                size_t n = volume->sector_bytes - at;
                int r;

                if (n > sizeof(sector))
                        n = sizeof(sector);
                r = source_read(source, at, sector, n);
                if (r < 0) {
                        volume->checksum = FS_CHECKSUM_BAD;
                        return source_is_image_fault(r) ? 0 : r;
                }
                if (at == 0) {
                        stored = le32(sector + 0xe0);
                        memcpy(sector + 0xe0, zero, sizeof(zero));
                }
                crc = checksum_crc32c(crc, sector, n);
        }
        volume->checksum = (crc ^ UINT32_MAX) == stored ? FS_CHECKSUM_GOOD : FS_CHECKSUM_BAD;
        return 0;
}

static bool is_zero(const uint8_t *bytes, size_t n) {
        for (size_t i = 0; i < n; i++) {
                if (bytes[i])
                        return false;
        }
        return true;
}

static void xfs_state(const uint8_t *sb, FsVolume *volume) {
        if (volume->words[FS_CLASS_INCOMPAT] & XFS_NEEDSREPAIR)
                volume->state |= FS_STATE_NEEDS_REPAIR;
        if (sb[0x7e])
                volume->state |= FS_STATE_IN_PROGRESS;
        if (be64(sb + 0x10) || (volume->words[FS_CLASS_INCOMPAT] & 0x200U))
                volume->state |= FS_STATE_REALTIME;
        if (volume->words[FS_CLASS_INCOMPAT] & XFS_LARGE_LOG_FEATURES &&
            (uint64_t)be32(sb + 0x60) * volume->block_bytes < XFS_LOG_ENOUGH)
                volume->state |= FS_STATE_LOG_SHORT;
        if (is_zero(volume->uuid, sizeof(volume->uuid)))
                volume->state |= FS_STATE_NIL_UUID;
        if (sb[0xb2] & XFS_FLAG_RO)
                volume->state |= FS_STATE_FORCED_RO;
        if ((be32(sb + 0xc8) | be32(sb + 0xcc)) & ~(be32(sb + 0xc8) | XFS_FEATURES2_KNOWN))
                volume->state |= FS_STATE_SHUTS_DOWN;
}

static int xfs_log(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t start = be64(sb + 0x30), ag_blocks = be32(sb + 0x54), block;
        uint32_t ag; /* the kernel's has 32 bits as well, and drops the rest */
        uint64_t n_bytes = (uint64_t)be32(sb + 0x60) * volume->block_bytes;
        uint8_t ag_log = sb[0x7c];

        if (start == 0) {
                volume->log = FS_LOG_EXTERNAL;
                volume->state |= FS_STATE_EXTERNAL_LOG;
                return 0;
        }
        ag = (uint32_t)(start >> ag_log);
        block = ag * ag_blocks + (start & ((UINT64_C(1) << ag_log) - 1));
        if (ag >= be32(sb + 0x58) || block > UINT64_MAX / 131072) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        return xfs_log_read(source, block * volume->block_bytes, n_bytes, be64(sb + 0xf0), volume);
}

static int xfs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        int r;

        if (be32(head) != XFS_MAGIC)
                return FS_E_NONE;
        volume->kind = FS_KIND_XFS;
        volume->type = "xfs";
        volume->block_bytes = be32(head + 4);
        volume->sector_bytes = be16(head + 0x66);
        volume->inode_bytes = be16(head + 0x68);
        volume->n_groups = be32(head + 0x58);
        volume->has_uuid = true;
        memcpy(volume->uuid, head + 0x20, 16);
        volume_text(volume->label, sizeof(volume->label), head + 0x6c, 12);
        if (__builtin_mul_overflow(be64(head + 8), (uint64_t)volume->block_bytes,
                                   &volume->fs_bytes)) {
                volume->fs_bytes = UINT64_MAX;
                volume_malformed(volume, "block count");
        }
        if (xfs_words(head, volume)) {
                r = xfs_checksum(source, volume);
                if (r < 0)
                        return r;
        }
        xfs_state(head, volume);
        xfs_check(head, volume);
        if (volume->state & FS_STATE_MALFORMED || volume->checksum == FS_CHECKSUM_BAD)
                return 0;
        r = xfs_log(source, head, volume);
        return r < 0 ? r : xfs_check_inodes(source, head, volume);
}

const FsFormat format_xfs = {
        .kind = FS_KIND_XFS,
        .name = "xfs",
        .types = {"xfs"},
        .read = xfs_read,
        .find_damage = xfs_find_damage,
        .class_names = {[FS_CLASS_LOG_INCOMPAT] = "log_incompat"},
        .no_recovery = "ro,norecovery",
        .repair = "xfs_repair",
};
