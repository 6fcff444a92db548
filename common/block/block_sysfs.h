/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_BLOCK_SYSFS_H
#define BERTH_BLOCK_BLOCK_SYSFS_H

/*
 * Block devices as sysfs shows them, without opening one. @root_fd is the directory that stands for
 * "/", so that recorded trees of other machines are test data. Names and links of udev are not
 * looked at: they go stale and are missing where no udev runs.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "nvme0n1p128", and longer ones of device mapper; the kernel's DISK_NAME_LEN */
#define BLOCK_NAME_MAX 32

typedef struct BlockInfo {
        char name[BLOCK_NAME_MAX]; /* "sdb" */
        uint64_t devno;            /* makedev(3) */
        uint64_t size_bytes;
        uint32_t logical_sector_bytes;
        bool is_read_only;
        bool is_partition;
} BlockInfo;

/* A "dev" attribute, "8:16\n", which is cut up. Pure. Return: 0; -EIO. */
int block_sysfs_parse_devno(char *text, uint64_t *devnop);

/* By device number. Return: 0; -ENODEV if there is no such device; another -errno. */
int block_sysfs_info(int root_fd, uint64_t devno, BlockInfo *info);

/* Only the kernel's name of a device, at the cost of one call. Return: as block_sysfs_info(). */
int block_sysfs_name(int root_fd, uint64_t devno, char name[BLOCK_NAME_MAX]);

/* Only its size; 0 is a device that is gone and still has users. Return: as block_sysfs_info(). */
int block_sysfs_size(int root_fd, uint64_t devno, uint64_t *bytesp);

/* The size of the largest disk below it: a partition's disk, the slaves of a device of device
 * mapper; its own if there is none. Return: as block_sysfs_info(). */
int block_sysfs_whole_size(int root_fd, uint64_t devno, uint64_t *bytesp);

/* The disk that a partition is of; any other device is its own. Return: as block_sysfs_info(). */
int block_sysfs_disk(int root_fd, uint64_t devno, uint64_t *diskp);

/* By kernel name, "sdb". */
int block_sysfs_info_by_name(int root_fd, const char *name, BlockInfo *info);

/**
 * block_sysfs_read() - one attribute of a device
 * @attribute: below its directory: "serial", "device/wwid", "device/vpd_pg80", "dm/uuid"
 * @text:      NUL-terminated, white space at both ends removed; may hold NULs for binary pages
 * @np:        length; may be NULL
 *
 * Return: 0; -ENOENT if the device has no such attribute; -EFBIG if it does not fit.
 */
int block_sysfs_read(int root_fd, uint64_t devno, const char *attribute, char *text, size_t n_text,
                     size_t *np);

/**
 * block_sysfs_written() - how much was written to a device, to see whether anything was meanwhile
 * @sectorsp: of 512 bytes, since it was made, as far as they are through; discards do not count
 * @writingp: something is on its way, of which @sectorsp may not tell yet
 *
 * Source: "stat" and "inflight", Documentation/ABI/stable/sysfs-block. Counts nothing while
 * queue/iostats is 0. Return: 0; -EIO; as block_sysfs_read().
 */
int block_sysfs_written(int root_fd, uint64_t devno, uint64_t *sectorsp, bool *writingp);

/**
 * block_sysfs_is_on() - whether one device is another one, or lies on it
 *
 * A partition lies on its disk; a device of device mapper (LUKS, LVM, multipath) on its slaves.
 *
 * Return: 1; 0, also if there is no such device any more; -errno.
 */
int block_sysfs_is_on(int root_fd, uint64_t devno, uint64_t below_devno);

/* The first device that lies on it and keeps it: of LVM, LUKS, multipath, md. Return: 1; 0 none;
 * -errno. */
int block_sysfs_holder(int root_fd, uint64_t devno, char name[BLOCK_NAME_MAX]);

/**
 * block_sysfs_list() - kernel names of all block devices, partitions too, sorted
 * @namesp: new array of *@np names, caller frees with free()
 */
int block_sysfs_list(int root_fd, char (**namesp)[BLOCK_NAME_MAX], size_t *np);

#endif
