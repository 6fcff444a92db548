/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_FORMATS_FORMAT_H
#define BERTH_FS_FORMATS_FORMAT_H

/*
 * What is special in one filesystem, and the reading of any. A new one is a source beside this
 * with its FsFormat, and a row in format.c.
 */

#include "fs/volume/source.h"

/* Text of fs_find_damage(). */
#define FS_DAMAGE_MAX 96

typedef struct FsFormat {
        FsKind kind;
        const char *name;     /* of the family, for tables and JSON: "ext" */
        const char *types[4]; /* what mount -t takes; ends with NULL */

        /* Whether @head, FS_HEAD_BYTES, begins such a filesystem, and what it says. Return: 0;
         * FS_E_NONE; -errno. */
        int (*read)(FsSource *source, const uint8_t *head, FsVolume *volume);

        /* From a copy of the superblock, with backup_offset. NULL: it keeps none, or at places that
         * only the primary tells. Return: as read(). */
        int (*read_backup)(FsSource *source, FsVolume *volume);

        /* fs_find_damage(). NULL: nothing is looked at. */
        int (*find_damage)(const FsReader *reader, char text[FS_DAMAGE_MAX]);

        const char *class_names[_FS_CLASS_N]; /* where its documents have another than most */
        const char *no_recovery; /* mount options that leave the log alone; NULL: "ro" does */
        const char *repair;      /* what repairs it, with safe switches; NULL: nothing known */
} FsFormat;

/* NULL: FS_KIND_NONE, or no kind at all. */
const FsFormat *fs_format(FsKind kind);

/**
 * fs_read_volume() - read the primary superblock, and the journal's or log's state
 * @volume: filled on 0
 *
 * A superblock with a bad checksum or nonsense values is reported as what it is, with checksum and
 * FS_STATE_MALFORMED saying so.
 *
 * Return: 0; FS_E_NONE; -errno of a failed read.
 */
int fs_read_volume(const FsReader *reader, FsVolume *volume);

/* Inodes in use, as the superblock of an ext filesystem has them: true right after an e2fsck.
 * Return: 0; -EUCLEAN: there is none; -errno of a failed read. */
int fs_ext_count_files(const FsReader *reader, uint64_t *n_filesp);

/**
 * fs_read_backup() - look where ext, XFS, btrfs and f2fs keep copies of a superblock
 *
 * For a device whose primary is gone. Reads a dozen places at most. XFS keeps copies at places only
 * the primary tells: not found.
 *
 * Return: as fs_read_volume(), with backup_offset set.
 */
int fs_read_backup(const FsReader *reader, FsVolume *volume);

/**
 * fs_find_damage() - look at what every mount reads of all parts of a filesystem
 * @text: what is damaged, of FS_DAMAGE_MAX bytes
 *
 * For a mount that failed with EIO, which drivers say of a disk that fails and of what they find
 * damaged on a sound one. XFS: the headers of its allocation groups, of the first 4096; others are
 * not looked at.
 *
 * Return: 1: damage was found, and all before it could be read; 0: none was; -errno of a read that
 * failed: it is the disk.
 */
int fs_find_damage(const FsReader *reader, FsKind kind, char text[FS_DAMAGE_MAX]);

/* "ext", "xfs"...: family name for tables and JSON. Static. */
const char *fs_kind_name(FsKind kind);

/* The family of a mount type ("ext3" -> FS_KIND_EXT); FS_KIND_NONE if we read no such thing. */
FsKind fs_kind_from_type(const char *type);

/* "ro_compat"...: class name as the filesystem's own documents have it. Static. */
const char *fs_class_name(FsKind kind, FsClass class);

#endif
