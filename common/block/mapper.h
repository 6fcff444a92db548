/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_MAPPER_H
#define BERTH_BLOCK_MAPPER_H

/*
 * Devices of device mapper as sysfs shows them, and their removal. @root_fd: see block_sysfs.h.
 * Source: Linux include/uapi/linux/dm-ioctl.h; libcryptsetup names its devices' UUIDs
 * "CRYPT-LUKS2-<header's UUID without dashes>-<name>".
 */

#include "common/block/block_sysfs.h"

/* DM_NAME_LEN, DM_UUID_LEN */
#define MAPPER_NAME_MAX 128
#define MAPPER_UUID_MAX 129

typedef struct Mapper {
        char kernel_name[BLOCK_NAME_MAX]; /* "dm-3" */
        uint64_t devno;
        uint64_t sequence; /* no two mappers since the boot have the same; 0 before Linux 5.15 */
        char name[MAPPER_NAME_MAX];
        char uuid[MAPPER_UUID_MAX]; /* "" none */
        bool is_crypt;
        unsigned int n_slaves; /* devices below it that the kernel still has */
        uint64_t slave;        /* the last of them */
        uint64_t size_bytes;
} Mapper;

/* By its own number. Return: 0; -ENODEV if there is none, or it is no device of device mapper. */
int mapper_read(int root_fd, uint64_t devno, Mapper *mapper);

/* By the name below /dev/mapper. Return: 0; -ENODEV; another -errno. */
int mapper_find(int root_fd, const char *name, Mapper *mapper);

/* A crypt mapper that lies right on the device @below. Return: likewise. */
int mapper_find_crypt_on(int root_fd, uint64_t below, Mapper *mapper);

/**
 * mapper_remove() - take the mapper away, and its node below /dev/mapper
 *
 * It is removed only if it is still the one that @mapper tells of. What was written through it is
 * on its device then, unless that is gone.
 *
 * Return: 0, also if it is gone already; -EBUSY somebody has it open; another -errno.
 */
int mapper_remove(const Mapper *mapper);

#endif
