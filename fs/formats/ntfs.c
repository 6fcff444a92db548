/* SPDX-License-Identifier: Apache-2.0 */
/* NTFS, which has no feature words. */

#include "fs/formats/formats_internal.h"

#include <string.h>

static int ntfs_read(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        (void)source;
        if (memcmp(sb + 3, "NTFS    ", 8) != 0)
                return FS_E_NONE;
        volume->kind = FS_KIND_NTFS;
        volume->type = "ntfs3";
        volume->sector_bytes = le16(sb + 0xb);
        volume->block_bytes = volume->sector_bytes * sb[0xd];
        if (!is_power_of_two(volume->sector_bytes) || volume->sector_bytes < 256 ||
            volume->sector_bytes > 4096)
                volume_malformed(volume, "sector size %u", volume->sector_bytes);
        if (__builtin_mul_overflow(le64(sb + 0x28), (uint64_t)volume->sector_bytes,
                                   &volume->fs_bytes))
                volume_malformed(volume, "sector count");
        return 0;
}

const FsFormat format_ntfs = {
        .kind = FS_KIND_NTFS,
        .name = "ntfs3",
        .types = {"ntfs3", "ntfs"},
        .read = ntfs_read,
};
