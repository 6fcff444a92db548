/* SPDX-License-Identifier: Apache-2.0 */
/* FAT12, FAT16 and FAT32, which have no feature words. */

#include "fs/formats/formats_internal.h"

#include <string.h>

static int vfat_read(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        bool fat32 = memcmp(sb + 0x52, "FAT32   ", 8) == 0;

        (void)source;
        if (le16(sb + 0x1fe) != 0xaa55 ||
            (!fat32 && memcmp(sb + 0x36, "FAT1", 4) != 0 && memcmp(sb + 0x36, "FAT  ", 5) != 0))
                return FS_E_NONE;
        volume->kind = FS_KIND_VFAT;
        volume->type = "vfat";
        volume->sector_bytes = le16(sb + 0xb);
        volume->block_bytes = volume->sector_bytes * sb[0xd];
        if (!is_power_of_two(volume->sector_bytes) || volume->sector_bytes < 512 ||
            volume->sector_bytes > 4096 || !is_power_of_two(sb[0xd]))
                volume_malformed(volume, "sector size %u", volume->sector_bytes);
        volume->fs_bytes = (uint64_t)(le16(sb + 0x13) ? le16(sb + 0x13) : le32(sb + 0x20)) *
                           volume->sector_bytes;
        volume_text(volume->label, sizeof(volume->label), sb + (fat32 ? 0x47 : 0x2b), 11);
        if (sb[fat32 ? 0x41 : 0x25] & 1)
                volume->state |= FS_STATE_UNCLEAN;
        return 0;
}

const FsFormat format_vfat = {
        .kind = FS_KIND_VFAT,
        .name = "vfat",
        .types = {"vfat"},
        .read = vfat_read,
};
