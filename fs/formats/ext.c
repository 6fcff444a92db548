/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ext2, ext3, ext4: the superblock at 1024, little endian, and the journal's own superblock, big
 * endian, which is a gate of its own (a kernel that does not know a journal feature cannot mount
 * unless told not to load the journal). Offsets: struct ext4_super_block, struct
 * journal_superblock_s.
 */

#include "fs/formats/ext_internal.h"
#include "fs/volume/checksum.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* s_default_mount_opts: EXT4_DEFM_JMODE, all of it for writeback, and EXT4_DEFM_NOBARRIER. */
#define EXT_DEFAULT_JOURNAL_MODE 0x60U
#define EXT_DEFAULT_NOBARRIER    0x100U

#define EXT_MAGIC    0xef53U
#define JBD2_MAGIC   0xc03b3998U
#define EXTENT_MAGIC 0xf30aU
#define MMP_MAGIC    0x004d4d50U
#define MMP_CLEAN    0xff4d4d50U

#define EXT_COMPAT_HAS_JOURNAL   0x4U
#define EXT_COMPAT_FAST_COMMIT   0x400U
#define EXT_INCOMPAT_RECOVER     0x4U
#define EXT_INCOMPAT_JOURNAL_DEV 0x8U
#define EXT_INCOMPAT_64BIT       0x80U
#define EXT_INCOMPAT_MMP         0x100U
#define EXT_INCOMPAT_CASEFOLD    0x20000U
#define EXT_RO_BIGALLOC          0x200U
#define EXT_RO_METADATA_CSUM     0x400U
#define EXT_RO_ORPHAN_PRESENT    0x10000U

/* What decides ext2 / ext3 / ext4, as libblkid does: features beyond those of the ext3 driver. */
#define EXT3_INCOMPAT 0x16U
#define EXT3_RO       0x7U

/* Fast commits take as many blocks of a journal as it says, else 256; 1024 must be left (jbd2). */
#define JOURNAL_BLOCKS_MIN 1024U
#define FAST_COMMIT_BLOCKS 256U

/* An extent tree is at most 5 deep (ext4_extents.h). */
#define EXTENT_DEPTH_MAX 5

/* s_inodes_count and s_free_inodes_count. */
int fs_ext_count_files(const FsReader *reader, uint64_t *n_filesp) {
        uint8_t sb[64];
        int r = reader->read(reader->userdata, 1024, sb, sizeof(sb));

        if (r < 0)
                return r;
        if (le16(sb + 0x38) != EXT_MAGIC || le32(sb) < le32(sb + 0x10))
                return -EUCLEAN;
        *n_filesp = le32(sb) - le32(sb + 0x10);
        return 0;
}

static const char *ext_type(const FsVolume *volume) {
        uint64_t incompat = volume->words[FS_CLASS_INCOMPAT],
                 ro = volume->words[FS_CLASS_RO_COMPAT];

        if (incompat & EXT_INCOMPAT_JOURNAL_DEV)
                return "jbd";
        if ((incompat & ~(uint64_t)EXT3_INCOMPAT) || (ro & ~(uint64_t)EXT3_RO))
                return "ext4";
        return volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_HAS_JOURNAL ? "ext3" : "ext2";
}

static FsChecksum ext_checksum(const uint8_t *sb, const FsVolume *volume) {
        if (!(volume->words[FS_CLASS_RO_COMPAT] & EXT_RO_METADATA_CSUM))
                return FS_CHECKSUM_NONE;
        if (sb[0x175] != 1)
                return FS_CHECKSUM_UNKNOWN;
        return checksum_crc32c(UINT32_MAX, sb, 0x3fc) == le32(sb + 0x3fc) ? FS_CHECKSUM_GOOD
                                                                          : FS_CHECKSUM_BAD;
}

static void ext_state(const uint8_t *sb, FsVolume *volume) {
        uint16_t state = le16(sb + 0x3a);

        volume->n_errors = le32(sb + 0x194);
        if ((state & 2) || volume->n_errors)
                volume->state |= FS_STATE_ERRORS;
        if (!(state & 1) && !(volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_HAS_JOURNAL))
                volume->state |= FS_STATE_UNCLEAN;
        if (le32(sb + 0xe8) || (volume->words[FS_CLASS_RO_COMPAT] & EXT_RO_ORPHAN_PRESENT))
                volume->state |= FS_STATE_ORPHANS;
        if (le32(sb + 0x4c) > 1)
                volume->state |= FS_STATE_FORCED_RO;
        if (le32(sb + 0x160) & 4)
                volume->state |= FS_STATE_TEST;
        if (volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_JOURNAL_DEV)
                volume->state |= FS_STATE_JOURNAL_DEVICE;
}

/* Options that hold at every mount, whoever mounts it (tune2fs -o, -E mount_opts). The bits first,
 * as the kernel takes them. Its behaviour on errors is not among them: the mount says that. */
static void ext_own_options(const uint8_t sb[1024], FsVolume *volume) {
        uint32_t bits = le32(sb + 0x100);
        char text[65];

        volume_text(text, sizeof(text), sb + 0x200, 64);
        (void)snprintf(volume->own_options, sizeof(volume->own_options), "%s%s%s",
                       bits & EXT_DEFAULT_NOBARRIER ? "nobarrier," : "",
                       (bits & EXT_DEFAULT_JOURNAL_MODE) == EXT_DEFAULT_JOURNAL_MODE
                               ? "data=writeback,"
                               : "",
                       text);
}

static bool ext_parse(const uint8_t sb[1024], FsVolume *volume) {
        uint32_t log_block = le32(sb + 0x18);
        uint64_t n_blocks = le32(sb + 4);

        if (le16(sb + 0x38) != EXT_MAGIC)
                return false;
        volume->kind = FS_KIND_EXT;
        /* Revision 0 has a fixed inode size, and zeros in the feature words; kernels look at them
         * all the same. */
        volume->words[FS_CLASS_COMPAT] = le32(sb + 0x5c);
        volume->words[FS_CLASS_INCOMPAT] = le32(sb + 0x60);
        volume->words[FS_CLASS_RO_COMPAT] = le32(sb + 0x64);
        volume->inode_bytes = le32(sb + 0x4c) >= 1 ? le16(sb + 0x58) : 128;
        if (volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_64BIT)
                n_blocks |= (uint64_t)le32(sb + 0x150) << 32;
        volume->block_bytes = log_block <= 6 ? 1024U << log_block : 0;
        volume->sector_bytes = volume->block_bytes;
        if (volume->words[FS_CLASS_RO_COMPAT] & EXT_RO_BIGALLOC && le32(sb + 0x1c) <= 20)
                volume->node_bytes = 1024U << le32(sb + 0x1c);
        if (__builtin_mul_overflow(n_blocks, (uint64_t)volume->block_bytes, &volume->fs_bytes)) {
                volume->fs_bytes = UINT64_MAX;
                volume_malformed(volume, "block count");
        }
        volume->has_uuid = true;
        memcpy(volume->uuid, sb + 0x68, 16);
        volume_text(volume->label, sizeof(volume->label), sb + 0x78, 16);
        volume_text(volume->last_mounted, sizeof(volume->last_mounted), sb + 0x88, 64);
        ext_own_options(sb, volume);
        volume->checksum = ext_checksum(sb, volume);
        volume->type = ext_type(volume);
        ext_state(sb, volume);
        /* A journal device has a superblock of little more than its UUID. */
        if (!(volume->state & FS_STATE_JOURNAL_DEVICE))
                ext_check(sb, volume);
        return true;
}

/* The first physical block of a file from its i_block: an extent tree or a block map. 0: none. */
static int ext_first_block(FsSource *source, const FsVolume *volume, const uint8_t i_block[60],
                           bool extents, uint64_t *blockp) {
        uint8_t node[60];

        memcpy(node, i_block, sizeof(node));
        if (!extents) {
                *blockp = le32(node);
                return 0;
        }
        for (unsigned int depth = 0; depth <= EXTENT_DEPTH_MAX; depth++) {
                uint64_t block;
                int r;

                if (le16(node) != EXTENT_MAGIC || le16(node + 2) == 0)
                        break;
                if (le16(node + 6) == 0) {
                        *blockp = le32(node + 20) | ((uint64_t)le16(node + 18) << 32);
                        return 0;
                }
                block = le32(node + 16) | ((uint64_t)le16(node + 20) << 32);
                r = source_read(source, block * volume->block_bytes, node, sizeof(node));
                if (r < 0)
                        return r;
        }
        *blockp = 0;
        return 0;
}

static int ext_journal_parse(const uint8_t jsb[1024], FsVolume *volume) {
        uint32_t type = be32(jsb + 4);

        if (be32(jsb) != JBD2_MAGIC || (type != 3 && type != 4)) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        /* s_start 0: nothing to replay. Fast commits live elsewhere, and set s_start as well. */
        volume->log = be32(jsb + 0x1c) ? FS_LOG_DIRTY : FS_LOG_CLEAN;
        if (type == 4) {
                volume->words[FS_CLASS_LOG_COMPAT] = be32(jsb + 0x24);
                volume->words[FS_CLASS_LOG_INCOMPAT] = be32(jsb + 0x28);
                volume->words[FS_CLASS_LOG_RO_COMPAT] = be32(jsb + 0x2c);
        }
        if (volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_FAST_COMMIT &&
            be32(jsb + 0x10) < (uint64_t)JOURNAL_BLOCKS_MIN +
                                       (be32(jsb + 0x54) ? be32(jsb + 0x54) : FAST_COMMIT_BLOCKS))
                volume->state |= FS_STATE_JOURNAL_SMALL;
        return 0;
}

static int ext_journal(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint8_t inode[256] = {0}, jsb[1024] = {0};
        uint64_t block = 0;
        int r;

        if (le32(sb + 0xe0) == 0) {
                volume->log = FS_LOG_EXTERNAL;
                volume->state |= FS_STATE_EXTERNAL_LOG;
                return 0;
        }
        /* With both, the kernel does not know which. */
        if (le32(sb + 0xe4)) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        r = ext_read_inode(source, sb, le32(sb + 0xe0), inode);
        if (r == FS_E_NONE) {
                volume->log = volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_RECOVER
                                      ? FS_LOG_DIRTY
                                      : FS_LOG_CLEAN;
                return 0;
        }
        if (r == 0)
                r = ext_first_block(source, volume, inode + 0x28, le32(inode + 0x20) & 0x80000U,
                                    &block);
        if (r == 0 && block == 0)
                r = -ENODATA;
        if (r == 0 && block > UINT64_MAX / 131072)
                r = -ENODATA;
        if (r == 0)
                r = source_read(source, block * volume->block_bytes, jsb, sizeof(jsb));
        if (r < 0) {
                volume->log = FS_LOG_UNREADABLE;
                return source_is_image_fault(r) ? 0 : r;
        }
        return ext_journal_parse(jsb, volume);
}

static int ext_mmp(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t block = le64(sb + 0x168);
        uint8_t mmp[8];
        int r;

        if (block == 0 || block > UINT64_MAX / 131072) {
                volume->state |= FS_STATE_MMP_BROKEN;
                return 0;
        }
        r = source_read(source, block * volume->block_bytes, mmp, sizeof(mmp));
        if (r < 0 && !source_is_image_fault(r))
                return r;
        if (r < 0 || le32(mmp) != MMP_MAGIC)
                volume->state |= FS_STATE_MMP_BROKEN;
        else if (le32(mmp + 4) != MMP_CLEAN)
                volume->state |= FS_STATE_MMP;
        return 0;
}

static int ext_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        const uint8_t *sb = head + 1024;
        int r;

        if (!ext_parse(sb, volume))
                return FS_E_NONE;
        if (volume->state & (FS_STATE_MALFORMED | FS_STATE_JOURNAL_DEVICE) ||
            volume->checksum == FS_CHECKSUM_BAD)
                return 0;
        r = ext_check_inodes(source, sb, volume);
        if (r < 0)
                return r;
        if (volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_HAS_JOURNAL) {
                r = ext_journal(source, sb, volume);
                if (r < 0)
                        return r;
        }
        /* The superblock's flag is what the kernel goes by; the journal may be empty beside it. */
        if (volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_RECOVER && volume->log == FS_LOG_CLEAN)
                volume->log = FS_LOG_DIRTY;
        if (volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_MMP)
                return ext_mmp(source, sb, volume);
        return 0;
}

/* Group 1 of an ext filesystem with blocks of 1, 2, 4... 64 KiB: 8 * block blocks to a group, and
 * the superblock at its start (1K blocks start at block 1). */
static int backup_ext(FsSource *source, FsVolume *volume) {
        uint8_t sb[1024];

        for (unsigned int log = 10; log <= 16; log++) {
                uint64_t offset = ((uint64_t)8 << (2 * log)) + (log == 10 ? 1024 : 0);
                int r = source_read(source, offset, sb, sizeof(sb));

                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r == 0 && ext_parse(sb, volume)) {
                        volume->backup_offset = offset;
                        return 0;
                }
        }
        return FS_E_NONE;
}

const FsFormat format_ext = {
        .kind = FS_KIND_EXT,
        .name = "ext",
        .types = {"ext2", "ext3", "ext4"},
        .read = ext_read,
        .read_backup = backup_ext,
        .no_recovery = "ro,noload",
        .repair = "e2fsck -f",
};
