/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_TEST_MEND_H
#define BERTH_TEST_MEND_H

/*
 * Makes the checksum of a superblock right again after a byte of it was changed, so that what lies
 * behind the check is reached too. Each takes the whole superblock where it begins, with @n bytes
 * of it at hand, and leaves it alone when
 * @n is too small. Offsets: the kernel's headers of each filesystem.
 */

#include "fs/volume/bytes.h"
#include "fs/volume/checksum.h"

#include <string.h>

__attribute__((unused)) static void mend_ext(uint8_t *sb, size_t n) {
        if (n >= 1024)
                put_le32(sb + 0x3fc, checksum_crc32c(UINT32_MAX, sb, 0x3fc));
}

__attribute__((unused)) static void mend_xfs(uint8_t *sb, size_t n) {
        uint16_t sector;

        if (n < 512)
                return;
        sector = be16(sb + 0x66);
        if (sector < 512 || sector > n)
                return;
        put_le32(sb + 0xe0, 0);
        put_le32(sb + 0xe0, checksum_crc32c(UINT32_MAX, sb, sector) ^ UINT32_MAX);
}

/* CRC-32C and xxHash; the other two kinds stay as they are. */
__attribute__((unused)) static void mend_btrfs(uint8_t *sb, size_t n) {
        if (n < 4096)
                return;
        memset(sb, 0, 32);
        if (le16(sb + 0xc4) == 1) {
                uint64_t hash = checksum_xxhash64(sb + 32, 4096 - 32);

                put_le32(sb, (uint32_t)hash);
                put_le32(sb + 4, (uint32_t)(hash >> 32));
                return;
        }
        put_le32(sb, checksum_crc32c(UINT32_MAX, sb + 32, 4096 - 32) ^ UINT32_MAX);
}

/* Over the rest of the first block of 4 KiB, which begins 1 KiB before @sb. */
__attribute__((unused)) static void mend_erofs(uint8_t *sb, size_t n) {
        if (n < 4096 - 1024 || !(le32(sb + 8) & 1))
                return;
        put_le32(sb + 4, 0);
        put_le32(sb + 4, checksum_crc32c(UINT32_MAX, sb, 4096 - 1024));
}

/* The magic says which it is; @offset is where @bytes stand on the device. */
__attribute__((unused)) static void mend_at(uint64_t offset, uint8_t *bytes, size_t n) {
        uint64_t end = offset + n;

        if (end < offset)
                return;
        if (offset == 0 && n >= 512 && memcmp(bytes, "XFSB", 4) == 0) {
                mend_xfs(bytes, n);
                return;
        }
        if (offset <= 1024 && end >= 2048) {
                uint8_t *sb = bytes + (1024 - offset);

                if (le16(sb + 0x38) == 0xef53)
                        mend_ext(sb, (size_t)(end - 1024));
                else if (le32(sb) == 0xe0f5e1e2)
                        mend_erofs(sb, (size_t)(end - 1024));
        }
        if (offset <= 65536 && end >= 65536 + 4096 &&
            memcmp(bytes + (65536 - offset) + 0x40, "_BHRfS_M", 8) == 0)
                mend_btrfs(bytes + (65536 - offset), 4096);
}

#endif
