/* SPDX-License-Identifier: Apache-2.0 */
/* erofs, which is read-only by nature. */

#include "fs/formats/formats_internal.h"
#include "fs/volume/checksum.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

#define EROFS_MAGIC     0xe0f5e1e2U
#define EROFS_OFFSET    1024U
#define EROFS_SB_CHKSUM 0x1U

#define EROFS_COMPR_CFGS   0x2U /* shares its bit with big_pcluster */
#define EROFS_DEVICE_TABLE 0x8U
#define EROFS_48BIT        0x80U
#define EROFS_METABOX      0x100U
#define EROFS_LAYOUTS      5U

/* Over the rest of the block that holds the superblock, its own field as zero. */
static int erofs_checksum(FsSource *source, FsVolume *volume) {
        size_t n = volume->block_bytes > EROFS_OFFSET ? volume->block_bytes - EROFS_OFFSET
                                                      : volume->block_bytes;
        cleanup(freep) uint8_t *block = malloc(n);
        uint32_t stored;
        int r;

        if (!block)
                return -ENOMEM;
        r = source_read(source, EROFS_OFFSET, block, n);
        if (r < 0) {
                volume->checksum = FS_CHECKSUM_BAD;
                return source_is_image_fault(r) ? 0 : r;
        }
        stored = le32(block + 4);
        put_le32(block + 4, 0);
        volume->checksum = checksum_crc32c(UINT32_MAX, block, n) == stored ? FS_CHECKSUM_GOOD
                                                                           : FS_CHECKSUM_BAD;
        return 0;
}

/* The inode of the root directory: 32 bytes each, from a block on. A mount reads it. */
static int erofs_root(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        uint64_t nid = le16(sb + 0xe), meta = le32(sb + 0x28);
        uint8_t inode[32];
        int r;

        if (volume->words[FS_CLASS_INCOMPAT] & EROFS_48BIT)
                return 0;
        r = source_read(source, meta * volume->block_bytes + nid * sizeof(inode), inode,
                        sizeof(inode));
        if (r < 0 && !source_is_image_fault(r))
                return r;
        if (r < 0 || le16(inode) >> 4 || (le16(inode) >> 1 & 7) >= EROFS_LAYOUTS ||
            (le16(inode + 4) & 0170000) != 0040000)
                volume_malformed(volume, "root inode");
        return 0;
}

/* What the kernel needs to know of to decompress: each algorithm is one bit. Before the field there
 * was LZ4 alone. */
static void erofs_algorithms(const uint8_t *sb, FsVolume *volume) {
        if (volume->words[FS_CLASS_INCOMPAT] & EROFS_COMPR_CFGS)
                volume->words[FS_CLASS_ALGORITHM] = le16(sb + 0x54);
}

/* A slot of the table has a tag, which Linux 5.19 to 6.3 takes for the path of a device and opens.
 */
static void erofs_devices(const uint8_t *sb, FsVolume *volume) {
        if (volume->words[FS_CLASS_INCOMPAT] & EROFS_DEVICE_TABLE)
                volume->n_devices = 1U + le16(sb + 0x56);
}

static void erofs_check(const uint8_t *sb, FsVolume *volume) {
        if (sb[0x5a])
                volume_malformed(volume, "directory block size 2^%u", (unsigned int)sb[0x5a]);
        if (sb[0x5b] && le32(sb + 0x5c) == 0) {
                volume_malformed(volume, "attribute prefixes");
                volume->problem_since = FS_VERSION(6, 4, 0);
        }
        if (volume->words[FS_CLASS_INCOMPAT] & EROFS_METABOX && le64(sb + 0x78) == 0)
                volume_malformed(volume, "metabox inode");
}

static int erofs_read(FsSource *source, const uint8_t *head, FsVolume *volume) {
        const uint8_t *sb = head + EROFS_OFFSET;
        int r;

        if (le32(sb) != EROFS_MAGIC)
                return FS_E_NONE;
        volume->kind = FS_KIND_EROFS;
        volume->type = "erofs";
        volume->words[FS_CLASS_COMPAT] = le32(sb + 8);
        volume->words[FS_CLASS_INCOMPAT] = le32(sb + 0x50);
        volume->has_uuid = true;
        memcpy(volume->uuid, sb + 0x30, 16);
        volume_text(volume->label, sizeof(volume->label), sb + 0x40, 16);
        erofs_devices(sb, volume);
        if (sb[0xc] < 9 || sb[0xc] > 16) {
                volume_malformed(volume, "block size 2^%u", (unsigned int)sb[0xc]);
                return 0;
        }
        volume->block_bytes = 1U << sb[0xc];
        volume->fs_bytes = (uint64_t)le32(sb + 0x24) << sb[0xc];
        if (volume->words[FS_CLASS_COMPAT] & EROFS_SB_CHKSUM) {
                r = erofs_checksum(source, volume);
                if (r < 0 || volume->checksum == FS_CHECKSUM_BAD)
                        return r;
        }
        erofs_algorithms(sb, volume);
        erofs_check(sb, volume);
        return erofs_root(source, sb, volume);
}

const FsFormat format_erofs = {
        .kind = FS_KIND_EROFS,
        .name = "erofs",
        .types = {"erofs"},
        .read = erofs_read,
        .class_names = {[FS_CLASS_ALGORITHM] = "compressor"},
};
