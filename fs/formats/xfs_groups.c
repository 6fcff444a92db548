/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of XFS' allocation groups: free space in the second sector of each, inodes in the
 * third. A driver that finds one damaged shuts the filesystem down while it mounts, and then says
 * EIO (Linux 6.18).
 */

#include "fs/formats/formats_internal.h"

#include "fs/volume/checksum.h"

#include "common/base/cleanup.h"

#include <stdio.h>

#define GROUPS_MAX 4096
#define SECTOR_MAX 32768

/* Offsets of the Linux kernel's fs/xfs/libxfs/xfs_format.h: struct xfs_agf, xfs_agi. */
static const struct {
        const char *name;
        uint32_t magic;
        unsigned int sector, crc_offset;
} headers[] = {
        {"AGF", 0x58414746, 1, 0xd8},
        {"AGI", 0x58414749, 2, 0x138},
};

typedef struct Geometry {
        uint64_t group_bytes;
        uint32_t sector_bytes, n_groups;
        bool has_checksums;
} Geometry;

/* Return: 0; FS_E_NONE: nothing to look at; -errno. */
static int read_geometry(const FsReader *reader, Geometry *geometry) {
        uint8_t sb[512];
        int r = reader->read(reader->userdata, 0, sb, sizeof(sb));

        if (r < 0)
                return r;
        *geometry = (Geometry){
                .group_bytes = (uint64_t)be32(sb + 0x54) * be32(sb + 4),
                .sector_bytes = be16(sb + 0x66),
                .n_groups = be32(sb + 0x58),
                .has_checksums = (be16(sb + 0x64) & 15) == 5,
        };
        if (be32(sb) != 0x58465342 || geometry->sector_bytes < 512 ||
            geometry->sector_bytes > SECTOR_MAX || geometry->group_bytes == 0)
                return FS_E_NONE;
        return 0;
}

static bool is_sound(const Geometry *geometry, size_t kind, uint32_t group, uint8_t *sector) {
        uint8_t *crc = sector + headers[kind].crc_offset;
        uint32_t stored = le32(crc);

        if (be32(sector) != headers[kind].magic || be32(sector + 8) != group)
                return false;
        if (!geometry->has_checksums)
                return true;
        memset(crc, 0, 4);
        return (checksum_crc32c(UINT32_MAX, sector, geometry->sector_bytes) ^ UINT32_MAX) == stored;
}

int xfs_find_damage(const FsReader *reader, char text[FS_DAMAGE_MAX]) {
        cleanup(freep) uint8_t *sector = malloc(SECTOR_MAX);
        Geometry geometry;
        int r = sector ? read_geometry(reader, &geometry) : -ENOMEM;

        for (uint32_t group = 0; r == 0 && group < geometry.n_groups && group < GROUPS_MAX;
             group++) {
                for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
                        uint64_t at = group * geometry.group_bytes +
                                      (uint64_t)headers[i].sector * geometry.sector_bytes;

                        r = reader->read(reader->userdata, at, sector, geometry.sector_bytes);
                        if (r == -ENODATA)
                                return 0;
                        if (r < 0)
                                return r;
                        if (is_sound(&geometry, i, group, sector))
                                continue;
                        (void)snprintf(text, FS_DAMAGE_MAX, "the %s of allocation group %u",
                                       headers[i].name, group);
                        return 1;
                }
        }
        return r < 0 ? r : 0;
}
