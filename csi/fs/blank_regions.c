/* SPDX-License-Identifier: Apache-2.0 */
/* Where signatures live on a device of a given size. Pure. */

#include "csi/fs/inspect.h"

#include <string.h>

#define KIB   UINT64_C(1024)
#define MIB   (KIB * KIB)
#define PROBE (4 * KIB)

static void add(FsRegion *regions, size_t *np, uint64_t size_bytes, uint64_t offset, uint64_t n) {
        size_t at = *np;

        if (offset >= size_bytes || *np == FS_REGIONS_MAX)
                return;
        if (n > size_bytes - offset)
                n = size_bytes - offset;
        while (at > 0 && regions[at - 1].offset > offset) {
                regions[at] = regions[at - 1];
                at--;
        }
        regions[at] = (FsRegion){.offset = offset, .n = n};
        (*np)++;
}

static size_t merge(FsRegion *regions, size_t n) {
        size_t kept = 0;

        for (size_t i = 1; i < n; i++) {
                uint64_t end = regions[kept].offset + regions[kept].n;

                if (regions[i].offset > end) {
                        regions[++kept] = regions[i];
                        continue;
                }
                if (regions[i].offset + regions[i].n > end)
                        regions[kept].n = regions[i].offset + regions[i].n - regions[kept].offset;
        }
        return n ? kept + 1 : 0;
}

/* XFS keeps copies at the start of each allocation group, which only the primary tells; mkfs.xfs
 * cuts anything up to 4 TiB that is not striped into four, and more into groups of a block less
 * than 1 TiB. */
static void add_xfs_groups(FsRegion *regions, size_t *np, uint64_t size_bytes) {
        uint64_t n_blocks = size_bytes / 4096, group = (n_blocks + 3) / 4;

        if (group > 268435455)
                group = 268435455;

        for (uint64_t i = 1; i < 4; i++)
                add(regions, np, size_bytes, i * group * 4096, PROBE);
}

size_t fs_blank_regions(uint64_t size_bytes, FsRegion regions[FS_REGIONS_MAX]) {
        size_t n = 0;

        add(regions, &n, size_bytes, 0, MIB);
        add(regions, &n, size_bytes, size_bytes > MIB ? size_bytes - MIB : 0, MIB);
        add(regions, &n, size_bytes, 64 * MIB, PROBE);
        add(regions, &n, size_bytes, UINT64_C(256) * KIB * MIB, PROBE);
        /* Second headers of LUKS2 and copies of bcachefs beyond the first MiB; VMFS. */
        add(regions, &n, size_bytes, MIB, PROBE);
        add(regions, &n, size_bytes, 2 * MIB, PROBE);
        add(regions, &n, size_bytes, 4 * MIB, PROBE);
        /* ext group 1 (and 3, for the usual 4K blocks), by block size of 1K to 64K. */
        add(regions, &n, size_bytes, 8 * MIB, 2 * PROBE);
        for (unsigned int log = 11; log <= 16; log++)
                add(regions, &n, size_bytes, UINT64_C(8) << (2 * log), PROBE);
        add(regions, &n, size_bytes, 384 * MIB, PROBE);
        add_xfs_groups(regions, &n, size_bytes);
        return merge(regions, n);
}
