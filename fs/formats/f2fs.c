/* SPDX-License-Identifier: Apache-2.0 */
/*
 * f2fs: two superblocks at 1 KiB and 5 KiB, little endian, and the mount state in the newer of two
 * checkpoints. Its one feature word is enforced by no kernel. Offsets: struct f2fs_super_block,
 * struct f2fs_checkpoint.
 */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include <string.h>

#include "common/base/cleanup.h"

#define F2FS_MAGIC       0xf2f52010U
#define F2FS_SIZE        3072U
#define F2FS_SB_CHECKSUM 0x800U
#define F2FS_CASEFOLD    0x1000U

#define CP_UMOUNT    0x1U
#define CP_ORPHANS   0x2U
#define CP_ERROR     0x8U
#define CP_NEED_FSCK 0x10U

#define F2FS_BACKUP       0x1400U
#define F2FS_DEVICES      8U
#define F2FS_SEGMENTS     9U /* at least; and at most, 16 TiB */
#define F2FS_SEGMENTS_MAX 8388608U

static bool sector_ok(const uint8_t *sb) {
        return le32(sb + 8) + le32(sb + 0xc) == le32(sb + 0x10);
}

static bool section_ok(const uint8_t *sb) {
        return le32(sb + 0x18) != 0;
}

static bool zone_ok(const uint8_t *sb) {
        return le32(sb + 0x1c) != 0 && le32(sb + 0x1c) <= le32(sb + 0x2c);
}

static bool segments_ok(const uint8_t *sb) {
        uint32_t n = le32(sb + 0x30);

        return n >= F2FS_SEGMENTS && n <= F2FS_SEGMENTS_MAX && n <= le64(sb + 0x24) >> 9;
}

static bool sections_ok(const uint8_t *sb) {
        uint64_t n = le32(sb + 0x2c), n_main = le32(sb + 0x44), in_one = le32(sb + 0x18);

        return n >= 1 && n <= n_main && n_main == n * in_one && le32(sb + 0x30) / in_one >= n;
}

/* Checkpoints, SIT, NAT, SSA and data follow each other without a gap, in this order. */
static bool areas_ok(const uint8_t *sb) {
        uint64_t at = le32(sb + 0x48);

        for (size_t i = 0; i < 5; i++) {
                if (le32(sb + 0x4c + 4 * i) != at)
                        return false;
                at += (uint64_t)le32(sb + 0x34 + 4 * i) << 9;
        }
        return at <= le32(sb + 0x48) + ((uint64_t)le32(sb + 0x30) << 9);
}

static bool inodes_ok(const uint8_t *sb) {
        return le32(sb + 0x60) == 3 && le32(sb + 0x64) == 1 && le32(sb + 0x68) == 2;
}

static bool extensions_ok(const uint8_t *sb) {
        return le32(sb + 0x47c) <= 64 && sb[0xac5] <= 64 && le32(sb + 0x47c) + sb[0xac5] <= 64;
}

static bool payload_ok(const uint8_t *sb) {
        return le32(sb + 0x680) < 504;
}

/* sanity_check_raw_super(): of the first one that breaks a rule the kernel, and fsck.f2fs, go on to
 * the second. */
static const SuperblockRule rules[] = {
        {sector_ok, FS_VERSION_ANY, "sectors in a block"},
        {section_ok, FS_VERSION_ANY, "section of no segments"},
        {zone_ok, FS_VERSION_ANY, "sections in a zone"},
        {segments_ok, FS_VERSION_ANY, "segment count"},
        {sections_ok, FS_VERSION_ANY, "section count"},
        {areas_ok, FS_VERSION_ANY, "start of an area"},
        {inodes_ok, FS_VERSION_ANY, "number of an inode"},
        {extensions_ok, FS_VERSION_ANY, "extension count"},
        {payload_ok, FS_VERSION_ANY, "checkpoint payload"},
};

static void f2fs_check(const uint8_t *sb, FsVolume *volume) {
        uint32_t log_sector = le32(sb + 8);

        /* Block = page: 4 KiB up to 6.6, 4 to 64 KiB after. */
        if (volume->block_bytes < 4096 || volume->block_bytes > 65536)
                volume_malformed(volume, "log block size %u", le32(sb + 0x10));
        if (log_sector < 9 || log_sector > 12)
                volume_malformed(volume, "log sector size %u", log_sector);
        if (le32(sb + 0x14) != 9)
                volume_malformed(volume, "log blocks in a segment %u", le32(sb + 0x14));
        /* mkfs -O casefold without -C makes one that no kernel mounts. */
        if (volume->words[FS_CLASS_FEATURE] & F2FS_CASEFOLD && le16(sb + 0xac6) != 1)
                volume_malformed(volume, "encoding %u", (unsigned int)le16(sb + 0xac6));
        superblock_rules(rules, N_ELEMENTS(rules), sb, volume);
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

/* Each is a path that drivers and tools open, also where it is the only one. */
static uint32_t f2fs_devices(const uint8_t *sb) {
        uint32_t n = 0;

        for (size_t i = 0; i < F2FS_DEVICES; i++)
                n += sb[0x899 + 68 * i] != 0;
        return n == 1 ? 2 : n == 0 ? 1 : n;
}

static bool f2fs_parse(const uint8_t sb[3072], FsVolume *volume) {
        uint32_t log_block = le32(sb + 0x10), log_sector = le32(sb + 8);

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
        volume->n_devices = f2fs_devices(sb);
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

/* What decides where things are, what is opened and how names are read; not the texts, extensions,
 * notes of errors and quota inodes, which kernels write one copy after the other. */
static bool is_alike(const uint8_t *sb, const uint8_t *second) {
        return memcmp(sb + 8, second + 8, 0x7c - 8) == 0 &&
               memcmp(sb + 0x680, second + 0x680, 4) == 0 &&
               memcmp(sb + 0x884, second + 0x884, 5) == 0 &&
               memcmp(sb + 0x899, second + 0x899, (size_t)F2FS_DEVICES * 68) == 0 &&
               memcmp(sb + 0xac6, second + 0xac6, 4) == 0;
}

/* Which of the two is taken differs by kernel, by tool, and by what they find in the first. */
static int f2fs_second(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint8_t second[F2FS_SIZE];
        int r = source_read(source, F2FS_BACKUP, second, sizeof(second));

        if (r < 0)
                return source_is_image_fault(r) ? 0 : r;
        if (le32(second) != F2FS_MAGIC)
                return 0;
        if (f2fs_devices(second) > volume->n_devices)
                volume->n_devices = f2fs_devices(second);
        if (!is_alike(sb, second))
                volume_malformed(volume, "second superblock, unlike the first");
        return 0;
}

static int f2fs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        const uint8_t *sb = head + 0x400;
        int r;

        if (!f2fs_parse(sb, volume))
                return FS_E_NONE;
        r = f2fs_second(source, sb, volume);
        if (r < 0 || volume->state & FS_STATE_MALFORMED)
                return r;
        return f2fs_checkpoint(source, sb, volume);
}

static int backup_f2fs(FsSource *source, FsVolume *volume) {
        uint8_t sb[F2FS_SIZE];
        int r = source_read(source, F2FS_BACKUP, sb, sizeof(sb));

        if (r < 0)
                return source_is_image_fault(r) ? FS_E_NONE : r;
        if (!f2fs_parse(sb, volume))
                return FS_E_NONE;
        volume->backup_offset = F2FS_BACKUP;
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
