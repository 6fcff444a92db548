/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_SOURCE_H
#define BERTH_FS_VOLUME_SOURCE_H

/* What the readers of one format each read from, and say of it. */

#include "fs/volume/bytes.h"
#include "fs/volume/superblock.h"

#include <errno.h>

/* A reader with its budget: whatever an image claims, reading ends. */
typedef struct FsSource {
        const FsReader *reader;
        unsigned int n_reads;
        size_t n_bytes;
} FsSource;

/* -ENODATA beyond the end, -E2BIG when the budget is used up, -errno of a failed read. */
int source_read(FsSource *source, uint64_t offset, void *buffer, size_t n);

/* -ENODATA and -E2BIG come from what the image claims, not from the device. */
static inline bool source_is_image_fault(int r) {
        return r == -ENODATA || r == -E2BIG;
}

/* Marks @volume malformed; the first problem stays. */
void volume_malformed(FsVolume *volume, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* What a kernel's own superblock check asks for. */
typedef struct SuperblockRule {
        bool (*ok)(const uint8_t *sb);
        uint32_t since; /* FS_VERSION_ANY: in every kernel that this engine judges */
        const char *problem;
} SuperblockRule;

/* Marks @volume malformed by the first rule that does not hold. */
void superblock_rules(const SuperblockRule *rules, size_t n_rules, const uint8_t *sb,
                      FsVolume *volume);

/* Copies at most @n bytes of on-disk text up to its NUL; unprintable bytes become '?'. */
void volume_text(char *text, size_t n_text, const uint8_t *bytes, size_t n);

/* The first bytes of a device, zero-filled beyond its end, that every reader is given. */
#define FS_HEAD_BYTES 8192

#endif
