/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_BLOCK_IOCTL_H
#define BERTH_BLOCK_BLOCK_IOCTL_H

/* What an open block device says of itself. @fd is open for reading; O_PATH is not enough. Each
 * returns 0 or -errno; -ENOTTY for what is not a block device. */

#include <stdbool.h>
#include <stdint.h>

int block_get_size(int fd, uint64_t *bytesp);

/* Whether the device refuses writes: by its nature, by its attachment, or set so. */
int block_get_read_only(int fd, bool *read_onlyp);

/* The unit in which it is addressed: 512 or 4096, up to 64 KiB. */
int block_get_logical_sector(int fd, uint32_t *bytesp);

/* A number that no other disk had since boot, also not one of the same name. -ENOTTY before Linux
 * 5.15. */
int block_get_sequence(int fd, uint64_t *sequencep);

/* Writes out and forgets the page cache of the device, so that the next read is of the disk. */
int block_flush(int fd);

/* The kernel reads the partition table again. -EBUSY while a partition is in use. */
int block_read_partitions(int fd);

/**
 * block_open() - open a device node and prove which device it is
 * @path:  "/dev/sdb"
 * @flags: as open(2); O_CLOEXEC and O_NONBLOCK are added: a drive without medium must not block
 * @devno: the device it must be (st_rdev); 0: any block device
 *
 * Return: a descriptor; -ENOTBLK if it is not a block device; -ENXIO if it is another one, or its
 * device is gone; -EBUSY with O_EXCL if it is mounted or in exclusive use; another -errno.
 */
int block_open(const char *path, int flags, uint64_t devno);

/**
 * block_reopen() - another descriptor of the device behind @fd, whatever its name stands for by now
 * @fd:    a block device, or the file of an image
 * @flags: as block_open()
 *
 * Return: a descriptor; -ENXIO if it is not the same disk (its number, and its sequence number
 * where there is one); -EBUSY with O_EXCL if it is in use; another -errno.
 */
int block_reopen(int fd, int flags);

#endif
