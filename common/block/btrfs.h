/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_BTRFS_H
#define BERTH_BLOCK_BTRFS_H

/* btrfs has a device number of its own, and mountinfo has the name by which it was mounted, which
 * may be a link that leads nowhere by now, or elsewhere. The kernel is asked instead. */

#include <stdint.h>

/**
 * btrfs_get_device() - the disk below a mounted btrfs of one device
 * @fd: of a directory in it; O_PATH is enough
 *
 * Return: 0; -ENOTTY if it is no btrfs; -E2BIG if it has several devices; another -errno.
 */
int btrfs_get_device(int fd, uint64_t *devnop);

/**
 * btrfs_forget_device() - drop what btrfs remembers of a device that nothing of it is mounted from
 * @path: "/dev/loop3", at most BTRFS_PATH_NAME_MAX bytes
 *
 * The kernel keeps a list of devices that it was shown, by number, also when another disk has the
 * number by now: a mount then fails with EEXIST (Linux 6.18).
 *
 * Source: BTRFS_IOC_FORGET_DEV, linux/btrfs.h, Linux 5.1.
 *
 * Return: 0; -ENOENT: it knows none; -EBUSY: it is mounted; another -errno.
 */
int btrfs_forget_device(const char *path);

#endif
