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

#endif
