/* SPDX-License-Identifier: Apache-2.0 */
/* exFAT, which has no feature words. */

#include "fs/formats/formats_internal.h"

#include <string.h>

static int exfat_read(FsSource *source, const uint8_t *sb, FsVolume *volume) {
        (void)source;
        if (memcmp(sb + 3, "EXFAT   ", 8) != 0)
                return FS_E_NONE;
        volume->kind = FS_KIND_EXFAT;
        volume->type = "exfat";
        if (sb[0x6c] < 9 || sb[0x6c] > 12 || sb[0x6d] > 25 - sb[0x6c]) {
                volume_malformed(volume, "sector size 2^%u", (unsigned int)sb[0x6c]);
                return 0;
        }
        volume->sector_bytes = 1U << sb[0x6c];
        volume->block_bytes = volume->sector_bytes << sb[0x6d];
        if (__builtin_mul_overflow(le64(sb + 0x48), (uint64_t)volume->sector_bytes,
                                   &volume->fs_bytes))
                volume_malformed(volume, "sector count");
        if (le16(sb + 0x6a) & 2)
                volume->state |= FS_STATE_UNCLEAN;
        return 0;
}

const FsFormat format_exfat = {
        .kind = FS_KIND_EXFAT,
        .name = "exfat",
        .types = {"exfat"},
        .read = exfat_read,
};
