/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_DISK_INTERNAL_H
#define BERTH_CSI_CLOUD_DISK_INTERNAL_H

/* What the files of the disk finder share: one disk of this node, as sysfs shows it. */

#include "common/block/block_sysfs.h"
#include "csi/cloud/disk.h"
#include "csi/cloud/disk_page.h"

typedef struct Disk {
        char name[BLOCK_NAME_MAX]; /* "sdb" */
        DiskBus bus;
        uint64_t devno;
        int fd;                     /* owned: its directory in sysfs */
        char vendor[64], model[64]; /* "" where it has none */
        char shown[DISK_TEXT_MAX];  /* what it says of itself, for messages; "" nothing */
} Disk;

#define DISK_INIT ((Disk){.fd = -1})

/* Reads no identity yet. Return: 0; -ENODEV for what is no disk of a cloud; another -errno. */
int disk_open(int root_fd, const char *name, Disk *disk);
void disk_close(Disk *disk);

typedef enum DiskMatch {
        DISK_MATCH_NO,
        DISK_MATCH_TEXT_ONLY, /* right but for vendor, model or parent */
        DISK_MATCH_YES,
} DiskMatch;

/* Whether @disk shows itself as @identity; disk->shown is filled on the way. */
DiskMatch disk_match(int root_fd, Disk *disk, const DiskIdentity *identity);

/* One attribute of a directory of sysfs, white space at its ends removed. -errno. */
int disk_attribute(int dir_fd, const char *name, char *text, size_t n_text);

/* The device number in a "dev" attribute. */
int disk_devno(int dir_fd, const char *name, uint64_t *devnop);

#endif
