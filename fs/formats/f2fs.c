/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f2fs: two superblocks at 1 KiB and 5 KiB, little endian, and the mount state in the newer of two
 * checkpoints. Its one feature word is enforced by no kernel. Offsets: struct f2fs_super_block,
 * struct f2fs_checkpoint.
 */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include <string.h>

#define F2FS_MAGIC       0xf2f52010U
#define F2FS_SIZE        3072U
#define F2FS_SB_CHECKSUM 0x800U
#define F2FS_CASEFOLD    0x1000U

#define CP_UMOUNT    0x1U
#define CP_ORPHANS   0x2U
#define CP_ERROR     0x8U
#define CP_NEED_FSCK 0x10U

static void f2fs_check(const uint8_t *sb, FsVolume *volume) {
        uint32_t log_sector = le32(sb + 8);

        /* Block = page: 4 KiB up to 6.6, 4 to 64 KiB after. */
        if (volume->block_bytes < 4096 || volume->block_bytes > 65536)
                volume_malformed(volume, "log block size %u", le32(sb + 0x10));
        if (log_sector < 9 || log_sector > 12)
                volume_malformed(volume, "log sector size %u", log_sector);
        if (le32(sb + 0x14) != 9)
                volume_malformed(volume, "log blocks in a segment %u", le32(sb + 0x14));
        if (le32(sb + 0x18) == 0 || le32(sb + 0x1c) == 0)
                volume_malformed(volume, "section of no segments");
        /* mkfs -O casefold without -C makes one that no kernel mounts. */
        if (volume->words[FS_CLASS_FEATURE] & F2FS_CASEFOLD && le16(sb + 0xac6) != 1)
                volume_malformed(volume, "encoding %u", (unsigned int)le16(sb + 0xac6));
}

/* UTF-16LE, ASCII kept and anything else shown as '?': it is for people to recognise a volume. */
static void f2fs_label(const uint8_t *name, FsVolume *volume) {
        size_t n = 0;

        while (n < sizeof(volume->label) - 1) {
                uint16_t unit = le16(name + 2 * n);

                if (unit == 0)
                        break;
                volume->label[n] = '?';
                if (unit >= 0x20 && unit < 0x7f)
                        volume->label[n] = (char)unit;
                n++;
        }
        volume->label[n] = '\0';
}

static bool f2fs_parse(const uint8_t sb[3072], FsVolume *volume) {
        uint32_t log_block = le32(sb + 0x10), log_sector = le32(sb + 8);
        uint32_t n_devices = 0;

        if (le32(sb) != F2FS_MAGIC)
                return false;
        volume->kind = FS_KIND_F2FS;
        volume->type = "f2fs";
        volume->block_bytes = log_block >= 9 && log_block <= 16 ? 1U << log_block : 0;
        volume->sector_bytes = log_sector >= 9 && log_sector <= 12 ? 1U << log_sector : 0;
        volume->words[FS_CLASS_FEATURE] = le32(sb + 0x884);
        if (__builtin_mul_overflow(le64(sb + 0x24), (uint64_t)volume->block_bytes,
                                   &volume->fs_bytes)) {
                volume->fs_bytes = UINT64_MAX;
                volume_malformed(volume, "block count");
        }
        volume->has_uuid = true;
        memcpy(volume->uuid, sb + 0x6c, 16);
        f2fs_label(sb + 0x7c, volume);
        volume_text(volume->writer, sizeof(volume->writer), sb + 0x684, 64);
        for (size_t i = 0; i < 8; i++)
                n_devices += sb[0x899 + 68 * i] != 0;
        volume->n_devices = n_devices > 1 ? n_devices : 1;
        if (volume->words[FS_CLASS_FEATURE] & F2FS_SB_CHECKSUM)
                volume->checksum = checksum_crc32(F2FS_MAGIC, sb, 0xbfc) == le32(sb + 0xbfc)
                                           ? FS_CHECKSUM_GOOD
                                           : FS_CHECKSUM_BAD;
        f2fs_check(sb, volume);
        return true;
}

/* The two checkpoint packs are a segment apart; the one with the higher version counts. */
static int f2fs_checkpoint(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t version = 0, block = le32(sb + 0x4c);
        uint32_t flags = 0;

        for (unsigned int pack = 0; pack < 2; pack++) {
                uint8_t cp[0x8c];
                int r = source_read(source, (block + UINT64_C(512) * pack) * volume->block_bytes,
                                    cp, sizeof(cp));

                if (r < 0 && !source_is_image_fault(r))
                        return r;
                if (r < 0 || le64(cp) < version)
                        continue;
                version = le64(cp);
                flags = le32(cp + 0x84);
        }
        if (version == 0) {
                volume->log = FS_LOG_UNREADABLE;
                return 0;
        }
        volume->log = flags & CP_UMOUNT ? FS_LOG_CLEAN : FS_LOG_DIRTY;
        if (flags & CP_ORPHANS)
                volume->state |= FS_STATE_ORPHANS;
        if (flags & CP_ERROR)
                volume->state |= FS_STATE_ERRORS;
        if (flags & CP_NEED_FSCK)
                volume->state |= FS_STATE_NEEDS_REPAIR;
        return 0;
}

static int f2fs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        const uint8_t *sb = head + 0x400;

        if (!f2fs_parse(sb, volume))
                return FS_E_NONE;
        if (volume->state & FS_STATE_MALFORMED)
                return 0;
        return f2fs_checkpoint(source, sb, volume);
}

static int backup_f2fs(FsSource *source, FsVolume *volume) {
        uint8_t sb[3072];
        int r = source_read(source, 0x1400, sb, sizeof(sb));

        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        if (!f2fs_parse(sb, volume))
                return FS_E_NONE;
        volume->backup_offset = 0x1400;
        return 0;
}

const FsFormat format_f2fs = {
        .kind = FS_KIND_F2FS,
        .name = "f2fs",
        .types = {"f2fs"},
        .read = f2fs_read,
        .read_backup = backup_f2fs,
        .no_recovery = "ro,disable_roll_forward",
        .repair = "fsck.f2fs",
};
