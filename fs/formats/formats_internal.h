/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_FORMATS_FORMATS_INTERNAL_H
#define BERTH_FS_FORMATS_FORMATS_INTERNAL_H

/* The formats, and between the files of one. */

#include "fs/formats/format.h"
#include "fs/volume/source.h"
#include "fs/volume/version.h"

extern const FsFormat format_ext, format_xfs, format_btrfs, format_f2fs, format_erofs,
        format_squashfs, format_vfat, format_exfat, format_ntfs;

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

/* XFS: fs/formats/xfs_groups.c. As fs_find_damage(). */
int xfs_find_damage(const FsReader *reader, char text[FS_DAMAGE_MAX]);

#endif
