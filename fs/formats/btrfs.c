/* SPDX-License-Identifier: Apache-2.0 */
/*
 * btrfs: a 4 KiB superblock at 64 KiB, little endian, with copies at 64 MiB and 256 GiB that a
 * mount does not look at. Offsets: struct btrfs_super_block.
 */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include "common/base/cleanup.h"
#include "common/base/sha256.h"

#include <string.h>

#define BTRFS_OFFSET        65536U
#define BTRFS_SIZE          4096U
#define BTRFS_FLAG_ERROR    0x4U /* no transaction begins on one that says so */
#define BTRFS_FLAG_SEED     (UINT64_C(1) << 32)
#define BTRFS_MIXED_GROUPS  0x4U
#define BTRFS_METADATA_UUID 0x400U
#define BTRFS_RO_FREE_TREE  0x1U

FsChecksum btrfs_checksum(uint16_t type, const uint8_t *block, size_t n_block) {
        const uint8_t *body = block + 32;
        size_t n = n_block - 32;
        uint8_t digest[32] = {0};
        size_t n_digest = 32;
        uint64_t hash;

        switch (type) {
        case 0:
                put_le32(digest, checksum_crc32c(UINT32_MAX, body, n) ^ UINT32_MAX);
                n_digest = 4;
                break;
        case 1:
                hash = checksum_xxhash64(body, n);
                put_le32(digest, (uint32_t)hash);
                put_le32(digest + 4, (uint32_t)(hash >> 32));
                n_digest = 8;
                break;
        case 2:
                sha256(body, n, digest);
                break;
        case 3:
                checksum_blake2b_256(body, n, digest);
                break;
        default:
                return FS_CHECKSUM_UNKNOWN;
        }
        return memcmp(block, digest, n_digest) == 0 ? FS_CHECKSUM_GOOD : FS_CHECKSUM_BAD;
}

/* btrfs_validate_super(); the page size is the verdict's. */
static void btrfs_check(const uint8_t *sb, FsVolume *volume) {
        uint32_t sector = volume->block_bytes, node = volume->node_bytes;

        if (!is_power_of_two(sector) || sector < 4096 || sector > 65536)
                volume_malformed(volume, "sectorsize %u", sector);
        if (!is_power_of_two(node) || node < sector || node > 65536)
                volume_malformed(volume, "nodesize %u", node);
        if ((volume->words[FS_CLASS_INCOMPAT] & BTRFS_MIXED_GROUPS) && sector != node)
                volume_malformed(volume, "mixed groups with nodesize %u", node);
        if (le64(sb + 0x88) == 0)
                volume_malformed(volume, "no devices");
        if (volume->checksum == FS_CHECKSUM_UNKNOWN)
                volume_malformed(volume, "checksum type %u", (unsigned int)le16(sb + 0xc4));
        if (le32(sb + 0x98) != node)
                volume_malformed(volume, "leafsize %u", le32(sb + 0x98));
        if (!is_power_of_two(le32(sb + 0x9c)))
                volume_malformed(volume, "stripesize %u", le32(sb + 0x9c));
        if (le64(sb + 0x78) < 6 * (uint64_t)node)
                volume_malformed(volume, "bytes used");
        if (le32(sb + 0xa0) > 2048 || le32(sb + 0xa0) < 17 + 80)
                volume_malformed(volume, "system chunk array of %u bytes", le32(sb + 0xa0));
        /* With metadata_uuid the trees keep the old one. */
        if (memcmp(sb + 0x11b,
                   sb + (volume->words[FS_CLASS_INCOMPAT] & BTRFS_METADATA_UUID ? 0x23b : 0x20),
                   16) != 0)
                volume_malformed(volume, "UUID of its device item");
        if (le64(sb + 0x50) & 4095 || le64(sb + 0x58) & 4095 || le64(sb + 0x60) & 4095)
                volume_malformed(volume, "tree root address");
        if (sb[0xc6] >= 8 || sb[0xc7] >= 8 || sb[0xc8] >= 8)
                volume_malformed(volume, "tree level");
}

static bool btrfs_parse(const uint8_t sb[4096], FsVolume *volume) {
        uint16_t algorithm = le16(sb + 0xc4);
        uint64_t n_devices = le64(sb + 0x88), cache = le64(sb + 0x22b);

        if (memcmp(sb + 0x40, "_BHRfS_M", 8) != 0)
                return false;
        volume->kind = FS_KIND_BTRFS;
        volume->type = "btrfs";
        volume->block_bytes = le32(sb + 0x90);
        volume->sector_bytes = volume->block_bytes;
        volume->node_bytes = le32(sb + 0x94);
        volume->words[FS_CLASS_COMPAT] = le64(sb + 0xac);
        volume->words[FS_CLASS_RO_COMPAT] = le64(sb + 0xb4);
        volume->words[FS_CLASS_INCOMPAT] = le64(sb + 0xbc);
        volume->words[FS_CLASS_ALGORITHM] = algorithm < 64 ? UINT64_C(1) << algorithm : 0;
        volume->words[FS_CLASS_FLAGS] = le64(sb + 0x38);
        volume->fs_bytes = le64(sb + 0xc9 + 8);
        volume->n_devices = n_devices > UINT32_MAX ? UINT32_MAX : (uint32_t)n_devices;
        volume->has_uuid = true;
        memcpy(volume->uuid, sb + 0x20, 16);
        volume_text(volume->label, sizeof(volume->label), sb + 0x12b, 256);
        volume->checksum = btrfs_checksum(algorithm, sb, BTRFS_SIZE);
        volume->log = le64(sb + 0x60) ? FS_LOG_DIRTY : FS_LOG_CLEAN;
        if (volume->words[FS_CLASS_FLAGS] & BTRFS_FLAG_SEED)
                volume->state |= FS_STATE_SEED;
        if (volume->words[FS_CLASS_FLAGS] & BTRFS_FLAG_ERROR)
                volume->state |= FS_STATE_SHUTS_DOWN;
        /* All ones is what mkfs leaves for the first mount to begin one. */
        if (!(volume->words[FS_CLASS_RO_COMPAT] & BTRFS_RO_FREE_TREE) && cache != 0)
                volume->state |= FS_STATE_V1_SPACE_CACHE;
        btrfs_check(sb, volume);
        return true;
}

static int btrfs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        uint8_t sb[BTRFS_SIZE];
        int r = source_read(source, BTRFS_OFFSET, sb, sizeof(sb));

        (void)head;
        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        if (!btrfs_parse(sb, volume))
                return FS_E_NONE;
        /* A copy says where it stands itself. */
        if (le64(sb + 0x30) != BTRFS_OFFSET)
                volume_malformed(volume, "its own address");
        if (volume->state & FS_STATE_MALFORMED || volume->checksum != FS_CHECKSUM_GOOD)
                return 0;
        return btrfs_check_trees(source, sb, volume);
}

static int backup_btrfs(FsSource *source, FsVolume *volume) {
        static const uint64_t offsets[] = {UINT64_C(64) << 20, UINT64_C(256) << 30};
        uint8_t sb[4096];

        for (size_t i = 0; i < N_ELEMENTS(offsets); i++) {
                int r = source_read(source, offsets[i], sb, sizeof(sb));

                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r == 0 && btrfs_parse(sb, volume)) {
                        volume->backup_offset = offsets[i];
                        return 0;
                }
        }
        return FS_E_NONE;
}

const FsFormat format_btrfs = {
        .kind = FS_KIND_BTRFS,
        .name = "btrfs",
        .types = {"btrfs"},
        .read = btrfs_read,
        .read_backup = backup_btrfs,
        .class_names = {[FS_CLASS_RO_COMPAT] = "compat_ro"},
        .no_recovery = "ro,rescue=nologreplay",
        .repair = "btrfs check",
};
