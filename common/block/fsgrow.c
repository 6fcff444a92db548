/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/fsgrow.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

/* fs/ext4/ext4.h; no header of the kernel's has it. */
#define EXT4_RESIZE_FS _IOW('f', 16, uint64_t)

/* fs/xfs/libxfs/xfs_fs.h, which is no header of the kernel's for others either: the geometry as
 * every kernel since 2.6 gives it. */
typedef struct XfsGeometry {
        uint32_t block_bytes, rt_extent_blocks, ag_blocks, ag_count, log_blocks, sector_bytes;
        uint32_t inode_bytes, inode_max_percent;
        uint64_t data_blocks, rt_blocks, rt_extents, log_start;
        uint8_t uuid[16];
        uint32_t stripe_unit, stripe_width;
        int32_t version;
        uint32_t flags, log_sector_bytes, rt_sector_bytes, directory_block_bytes;
} XfsGeometry;

typedef struct XfsGrow {
        uint64_t data_blocks;
        uint32_t inode_max_percent;
} XfsGrow;

_Static_assert(sizeof(XfsGeometry) == 112 && sizeof(XfsGrow) == 16, "as the kernel has them");

#define XFS_GEOMETRY _IOR('X', 100, XfsGeometry)
#define XFS_GROW     _IOW('X', 110, XfsGrow)

int fsgrow_ext(int fd, uint64_t bytes) {
        struct statfs fs;
        uint64_t blocks;

        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_bsize <= 0)
                return -EINVAL;
        blocks = bytes / (uint64_t)fs.f_bsize;
        return ioctl(fd, EXT4_RESIZE_FS, &blocks) < 0 ? -errno : 0;
}

int fsgrow_xfs(int fd, uint64_t bytes) {
        XfsGeometry geometry = {0};
        XfsGrow grow;

        if (ioctl(fd, XFS_GEOMETRY, &geometry) < 0)
                return -errno;
        if (geometry.block_bytes == 0)
                return -EINVAL;
        grow = (XfsGrow){bytes / geometry.block_bytes, geometry.inode_max_percent};
        if (grow.data_blocks <= geometry.data_blocks)
                return 0;
        return ioctl(fd, XFS_GROW, &grow) < 0 ? -errno : 0;
}

int fsgrow_btrfs(int fd) {
        struct btrfs_ioctl_vol_args args = {0};

        (void)snprintf(args.name, sizeof(args.name), "max");
        return ioctl(fd, BTRFS_IOC_RESIZE, &args) < 0 ? -errno : 0;
}
