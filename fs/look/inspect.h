/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_LOOK_INSPECT_H
#define BERTH_FS_LOOK_INSPECT_H

/*
 * What is on a device: proven blank, a filesystem, something else by name, or "could not look".
 * Nobody may format unless this says FS_FIND_BLANK. Nothing found is not blank; a read that failed
 * is not blank; a superblock with a bad checksum is not blank; a byte that is not zero where
 * signatures live is not blank.
 */

#include "common/base/error.h"
#include "fs/volume/superblock.h"

typedef enum FsFind {
        FS_FIND_UNKNOWN = 0, /* could not look everywhere: never format, never say "empty" */
        FS_FIND_BLANK,       /* every region of fs_blank_regions() read, all zero */
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
        bool is_noise;       /* what lies between the known places is of no meaning: the device is
                                one that was encrypted a moment ago */
        /* What the provider knows of the bytes: 1 there is data, 0 there is none, certainly; -errno
         * it could not look; FS_DATA_UNKNOWN it cannot know. NULL: it cannot know. */
        int (*has_data)(void *userdata);
        void *userdata;
} FsExpect;

#define FS_DATA_UNKNOWN 2

/**
 * fs_inspect() - look at a device or image, opened for reading; nothing is written
 * @fd:     borrowed; its position is not kept
 * @expect: may be NULL
 *
 * No exec. A filesystem is found in 128 KiB or so; for a blank device what fs_blank_regions() says
 * is read, some 2,300 reads, by up to 32 threads. No read error is ever "blank".
 *
 * Return: 0 with @inspection filled, whatever was found; negative with @err when not even that
 * (memory, a bad descriptor).
 */
int fs_inspect(int fd, const FsExpect *expect, FsInspection *inspection, Error *err);

/* Everything libblkid finds, also with bad checksums and partition tables, but for the type
 * @without (NULL: none). Return: 0; -errno when it could not look. */
int fs_inspect_library(int fd, const char *without, FsInspection *out);

/**
 * fs_blank_test() - may this device be formatted
 *
 * Return: 0 proven blank; ERROR_PRECONDITION in @err and what was found or why we could not look.
 */
int fs_blank_test(int fd, const FsExpect *expect, Error *err);

/* "blank", "filesystem", "other", "unknown". Static. */
const char *fs_find_name(FsFind find);

/* A read; at most FS_REGION_BYTES_MAX long. */
typedef struct FsRegion {
        uint64_t offset, n;
} FsRegion;

#define FS_REGION_BYTES_MAX UINT64_C(131072)
/* Of any size of device. */
#define FS_REGIONS_MAX 4096

/**
 * fs_blank_regions() - what must be read, and be zero, for a device of this size to be called blank
 * @phase:   any number: where the samples begin, so that two looks see different blocks
 * @regions: FS_REGIONS_MAX; filled sorted, not overlapping, inside the device
 *
 * All of a device up to 64 MiB. Else the first MiB and the last 4, every known place of a format
 * (signatures.h), where XFS keeps copies at any plausible size of its groups, 1,024 or so round
 * offsets, and 1,000 samples of 4 KiB. Source: libblkid's probes, the formats' own documents.
 */
size_t fs_blank_regions(uint64_t size_bytes, uint64_t phase, FsRegion *regions);

/* The part of it that does not depend on chance: where a format's signature or copy may be. */
size_t fs_known_places(uint64_t size_bytes, FsRegion *regions);

#endif
