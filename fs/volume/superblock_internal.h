/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_SUPERBLOCK_INTERNAL_H
#define BERTH_FS_VOLUME_SUPERBLOCK_INTERNAL_H

/* Between superblock.c and the readers of one format each. */

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

/*
 * Each gets the first bytes of the device (@head, FS_HEAD_BYTES, zero-filled beyond its end) and
 * decides whether this is its format. Return: 0; FS_E_NONE; -errno.
 */
#define FS_HEAD_BYTES 8192

int ext_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int xfs_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int btrfs_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int f2fs_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int erofs_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int squashfs_read(FsSource *source, const uint8_t *head, FsVolume *volume);
int plain_read(FsSource *source, const uint8_t *head, FsVolume *volume);

/* Fills @volume from a superblock found anywhere; the log is not looked at. */
bool ext_parse(const uint8_t sb[1024], FsVolume *volume);
bool btrfs_parse(const uint8_t sb[4096], FsVolume *volume);
bool f2fs_parse(const uint8_t sb[3072], FsVolume *volume);

/* btrfs: a checksum of this type in the first 32 bytes of @block, over the rest of it. */
FsChecksum btrfs_checksum(uint16_t type, const uint8_t *block, size_t n_block);

/* btrfs: fs/formats/btrfs_tree.c. Of a superblock that broke no rule: its system chunks, and the
 * roots of the trees that every mount reads. Return: 0; -errno of a failed read. */
int btrfs_check_trees(FsSource *source, const uint8_t *sb, FsVolume *volume);

/* XFS log: fs/formats/xfs_log.c. @offset, @n_bytes of the log on this device; @lsn of the
 * superblock, which must not be ahead of it. Sets log and log_order. Return: 0; -errno of a failed
 * read. */
int xfs_log_read(FsSource *source, uint64_t offset, uint64_t n_bytes, uint64_t lsn,
                 FsVolume *volume);

/* XFS: fs/formats/xfs_check.c. Marks @volume malformed by the first rule that @sb breaks; then by
 * the inodes that every mount reads, of a superblock that broke none. Return: 0; -errno of a failed
 * read. */
void xfs_check(const uint8_t *sb, FsVolume *volume);
int xfs_check_inodes(FsSource *source, const uint8_t *sb, FsVolume *volume);

#endif
