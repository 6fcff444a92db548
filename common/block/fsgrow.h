/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_FSGROW_H
#define BERTH_BLOCK_FSGROW_H

/*
 * Growing a mounted filesystem, which its kernel does. By a descriptor: a path may be another one
 * in the namespace of whoever mounted it, and the tools, which take a path, look it up in mountinfo
 * and then call the same.
 */

#include <stdint.h>

/**
 * fsgrow_ext() - ext2, ext3, ext4 to @bytes (EXT4_IOC_RESIZE_FS, Linux 3.3)
 * @fd: of its root directory, opened for reading
 *
 * Return: 0, also if it is that large already; -EPERM without CAP_SYS_RESOURCE, or with errors
 * recorded; another -errno.
 */
int fsgrow_ext(int fd, uint64_t bytes);

/* XFS, its data section (XFS_IOC_FSGROWFSDATA). Return: 0, also if nothing is to be done; -EROFS;
 * another -errno. */
int fsgrow_xfs(int fd, uint64_t bytes);

/* btrfs of one device, to that device's size (BTRFS_IOC_RESIZE). Return: 0; -EINVAL below 256 MiB;
 * another -errno. */
int fsgrow_btrfs(int fd);

#endif
