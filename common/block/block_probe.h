/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_BLOCK_PROBE_H
#define BERTH_BLOCK_BLOCK_PROBE_H

/*
 * What libblkid knows to be on a device. It tells three answers apart that `blkid -p` does not:
 * something, nothing that it knows, and "could not look". Nothing known is not a proof of an empty
 * device; that needs a look at the bytes themselves.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct BlockSignature {
        char type[32];  /* libblkid's name: "ext4", "LVM2_member", "gpt" */
        char usage[16]; /* "filesystem", "raid", "crypto", "other", "partitions" */
        char uuid[64];  /* "" if it has none */
        char label[256];
        uint64_t offset; /* of the magic bytes */
        bool has_offset;
        bool is_bad_checksum; /* the magic is right and the checksum is not: damaged or half
                                 written, and by no means empty */
} BlockSignature;

#define BLOCK_SIGNATURES_MAX 16

typedef struct BlockProbe {
        BlockSignature signatures[BLOCK_SIGNATURES_MAX]; /* in the order that libblkid finds them */
        size_t n_signatures;
        bool is_more; /* there were more than fit */
} BlockProbe;

#define BLOCK_PROBE_E_FOUND 1

/**
 * block_probe() - every signature on a device or image, as wipefs(8) lists them
 * @fd:    open for reading; nothing is written
 * @probe: filled unless the result is negative
 *
 * Superblocks and partition tables, also those with a bad checksum. A device that holds signatures
 * of several kinds is "something", and all are listed.
 *
 * Return: BLOCK_PROBE_E_FOUND; 0: libblkid read everything and knows nothing of it; negative: it
 * could not look: -ENODATA for a device of less than 2 sectors, -EACCES for one that libblkid
 * refuses to look at (private device mapper), -EIO and others for a read that failed.
 */
int block_probe(int fd, BlockProbe *probe);

/* As block_probe(), and does not look for one type, by libblkid's name. */
int block_probe_without(int fd, const char *type, BlockProbe *probe);

#endif
