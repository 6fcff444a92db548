/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_FS_INSPECT_H
#define BERTH_CSI_FS_INSPECT_H

/*
 * What is on a device: proven blank, a filesystem, something else by name, or "could not look".
 * Nobody may format unless this says FS_FIND_BLANK. Nothing found is not blank; a read that failed
 * is not blank; a superblock with a bad checksum is not blank; a byte that is not zero where
 * signatures live is not blank.
 */

#include "common/base/error.h"
#include "csi/fs/superblock.h"

typedef enum FsFind {
        FS_FIND_UNKNOWN = 0, /* could not look everywhere: never format, never say "empty" */
        FS_FIND_BLANK,       /* proven: every region read, all zero, no signature */
        FS_FIND_FILESYSTEM,  /* one that we read, and nothing that contradicts it */
        FS_FIND_OTHER,       /* anything else: see hits and why */
} FsFind;

typedef struct FsHit {
        char type[32];   /* libblkid's name: "LVM2_member", "gpt"; ours for what it does not know */
        char usage[16];  /* "filesystem", "raid", "crypto", "other", "partitions", "data" */
        uint64_t offset; /* of the magic, when known */
        bool bad_checksum;
} FsHit;

#define FS_HITS_MAX 16

typedef struct FsInspection {
        FsFind find;
        FsVolume volume; /* with FS_FIND_FILESYSTEM, and with FS_FIND_OTHER if kind is not NONE */
        FsHit hits[FS_HITS_MAX];
        size_t n_hits;
        char why[256];   /* one clause: "holds LVM2_member at offset 536" */
        int read_errno;  /* with FS_FIND_UNKNOWN: the first read that failed; 0 */
        uint64_t n_read; /* bytes that were really read and looked at */
        uint64_t size_bytes;
} FsInspection;

/* What the caller knows of the device. */
typedef struct FsExpect {
        uint64_t size_bytes; /* 0: not known; else any other size is FS_FIND_UNKNOWN */
        uint64_t devno;      /* st_rdev that was proven to be the volume; 0: not checked */
} FsExpect;

/**
 * fs_inspect() - look at a device or image, opened for reading; nothing is written
 * @fd:     borrowed; its position is not kept
 * @expect: may be NULL
 *
 * No exec. Reads a known set of regions: up to about 3 MiB on a blank device, 128 KiB or so when a
 * filesystem is found at once.
 *
 * Return: 0 with @inspection filled, whatever was found; negative with @err when not even that
 * (memory, a bad descriptor).
 */
int fs_inspect(int fd, const FsExpect *expect, FsInspection *inspection, Error *err);

/**
 * fs_blank_test() - may this device be formatted
 *
 * Return: 0 proven blank; ERROR_PRECONDITION in @err and what was found or why we could not look.
 */
int fs_blank_test(int fd, const FsExpect *expect, Error *err);

/* "blank", "filesystem", "other", "unknown". Static. */
const char *fs_find_name(FsFind find);

/**
 * fs_blank_regions() - the regions where signatures live, for a device of this size
 * @regions: at most FS_REGIONS_MAX, sorted, not overlapping, inside the device
 *
 * The first MiB (ext, XFS, f2fs, btrfs, LUKS, LVM, GPT, swap, md 1.1 and 1.2), the last MiB (md
 * 0.90 and 1.0, ZFS labels, backup GPT, drbd, firmware RAID), btrfs mirrors, ext backups, LUKS2
 * second headers. Source: facts of libblkid's and the formats' own documents.
 */
typedef struct FsRegion {
        uint64_t offset, n;
} FsRegion;

#define FS_REGIONS_MAX 32

size_t fs_blank_regions(uint64_t size_bytes, FsRegion regions[FS_REGIONS_MAX]);

#endif
