/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_DRIVE_H
#define BERTH_CSI_CLOUD_DRIVE_H

/*
 * One file of a small drive with a label, ISO 9660 (with or without Joliet) or FAT, read without
 * mounting it: anybody who may attach a disk can write one, and the kernel's drivers were not made
 * for that. Everything read has a limit. Sources: ECMA-119; Joliet 1; Microsoft's FAT32 File System
 * Specification 1.03.
 */

#include <stddef.h>
#include <stdint.h>

/* Fills all @n bytes at @offset, or returns -errno (-ENODATA beyond the end). */
typedef struct DriveReader {
        int (*read)(void *userdata, uint64_t offset, void *buffer, size_t n);
        void *userdata;
} DriveReader;

#define DRIVE_E_OTHER 1 /* no such filesystem, or another label */

/* A directory that is larger is not searched to its end. */
#define DRIVE_DIRECTORY_MAX 65536U

/**
 * drive_read_file() - a file by its path
 * @label: ASCII; upper and lower case are the same, as in names
 * @path:  names from the root on, NULL-terminated: "openstack", "latest", "meta_data.json"
 * @limit: most bytes the file may have
 * @textp: new, NUL-terminated; caller frees
 *
 * Return: 0; DRIVE_E_OTHER; -ENOENT; -EFBIG; -EBADMSG for what contradicts itself; another -errno.
 */
int drive_read_file(const DriveReader *reader, const char *label, const char *const *path,
                    size_t limit, char **textp, size_t *n_textp);

#endif
