/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The feature tables: data and nothing else. Sources of a kernel's number: the masks in
 * fs/ext4/ext4.h, include/linux/jbd2.h, fs/xfs/libxfs/xfs_format.h, fs/btrfs/fs.h, fs/f2fs/f2fs.h
 * and fs/erofs/erofs_fs.h of the trees named in tests/data/fs/kernel-masks.csv, which
 * test-feature.c holds against these rows. Of a tool's number: its release notes and running it.
 *
 * Columns: kind, class, bit, name; first kernel that mounts it read-write, read-only; gate; flags;
 * first tool that knows it, first that turns it on by itself; from which kernel our plan uses it;
 * switch on, switch off; confidence; how to take it off; note;
 * where the bit is defined.
 */

#include "fs/features/feature.h"

#define K(major, minor) FS_VERSION(major, minor, 0)
#define KP(a, b, c)     FS_VERSION(a, b, c)
#define ANY             FS_VERSION_ANY
#define NEVER           FS_VERSION_NEVER
#define HIGH            FS_CONFIDENCE_HIGH
#define MEDIUM          FS_CONFIDENCE_MEDIUM

#define EXT_C FS_KIND_EXT, FS_CLASS_COMPAT
#define EXT_I FS_KIND_EXT, FS_CLASS_INCOMPAT
#define EXT_R FS_KIND_EXT, FS_CLASS_RO_COMPAT
#define JBD_C FS_KIND_EXT, FS_CLASS_LOG_COMPAT
#define JBD_I FS_KIND_EXT, FS_CLASS_LOG_INCOMPAT
#define XFS_V FS_KIND_XFS, FS_CLASS_VERSION
#define XFS_N FS_KIND_XFS, FS_CLASS_VERSIONNUM
#define XFS_2 FS_KIND_XFS, FS_CLASS_FEATURES2
#define XFS_R FS_KIND_XFS, FS_CLASS_RO_COMPAT
#define XFS_I FS_KIND_XFS, FS_CLASS_INCOMPAT
#define XFS_L FS_KIND_XFS, FS_CLASS_LOG_INCOMPAT
#define BTR_R FS_KIND_BTRFS, FS_CLASS_RO_COMPAT
#define BTR_I FS_KIND_BTRFS, FS_CLASS_INCOMPAT
#define BTR_A FS_KIND_BTRFS, FS_CLASS_ALGORITHM
#define F2F_F FS_KIND_F2FS, FS_CLASS_FEATURE
#define ERO_C FS_KIND_EROFS, FS_CLASS_COMPAT
#define ERO_I FS_KIND_EROFS, FS_CLASS_INCOMPAT
#define ERO_A FS_KIND_EROFS, FS_CLASS_ALGORITHM
#define SQU_V FS_KIND_SQUASHFS, FS_CLASS_VERSION
#define SQU_A FS_KIND_SQUASHFS, FS_CLASS_ALGORITHM

#define RUNTIME FS_FEATURE_RUNTIME
#define STATE   FS_FEATURE_STATE
#define MOUNTED FS_FEATURE_WHILE_MOUNTED
#define TOOLS   FS_FEATURE_TOOLS_REFUSE
#define EXPER   FS_FEATURE_EXPERIMENTAL
#define RO_OK   FS_FEATURE_GATE_RO_OK
#define NOGATE  FS_GATE_NONE

/* Where a bit is defined: macros of these headers of Linux 7.3.4, and what it does not define in
 * those of e2fsprogs 1.47.4. fs/refresh compares them with other versions. */
#define EXT4_H      "fs/ext4/ext4.h "
#define JBD2_H      "include/linux/jbd2.h "
#define XFS_H       "fs/xfs/libxfs/xfs_format.h "
#define BTRFS_H     "include/uapi/linux/btrfs.h "
#define F2FS_H      "fs/f2fs/f2fs.h "
#define EROFS_H     "fs/erofs/erofs_fs.h "
#define SQUASHFS_H  "fs/squashfs/squashfs_fs.h "
#define E2FSPROGS_H "e2fsprogs lib/ext2fs/ext2_fs.h "

/* clang-format off */
const FsFeature fs_features[] = {
/* ext4. Tools are e2fsprogs. A kernel ignores any compat bit; e2fsck and resize2fs refuse those they do not know. */
{EXT_C, 0x1,   "dir_prealloc",   ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_DIR_PREALLOC"},
{EXT_C, 0x2,   "imagic_inodes",  ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_IMAGIC_INODES"},
{EXT_C, 0x4,   "has_journal",    ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O has_journal", "-O ^has_journal", HIGH, "tune2fs -O ^has_journal", "the journal has feature words of its own", EXT4_H "EXT4_FEATURE_COMPAT_HAS_JOURNAL"},
{EXT_C, 0x8,   "ext_attr",       ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O ext_attr", "-O ^ext_attr", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_EXT_ATTR"},
{EXT_C, 0x10,  "resize_inode",   ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O resize_inode", "-O ^resize_inode", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_RESIZE_INODE"},
{EXT_C, 0x20,  "dir_index",      ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O dir_index", "-O ^dir_index", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_DIR_INDEX"},
{EXT_C, 0x40,  "lazy_bg",        ANY, ANY, NOGATE, TOOLS, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, E2FSPROGS_H "EXT2_FEATURE_COMPAT_LAZY_BG"},
{EXT_C, 0x80,  "exclude_inode",  ANY, ANY, NOGATE, TOOLS, NEVER, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "next3 snapshots", E2FSPROGS_H "EXT2_FEATURE_COMPAT_EXCLUDE_INODE, in a comment"},
{EXT_C, 0x100, "exclude_bitmap", ANY, ANY, NOGATE, TOOLS, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "next3 snapshots", E2FSPROGS_H "EXT2_FEATURE_COMPAT_EXCLUDE_BITMAP"},
{EXT_C, 0x200, "sparse_super2",  ANY, ANY, NOGATE, TOOLS, KP(1, 43, 0), NEVER, NEVER, "-O sparse_super2", "-O ^sparse_super2", HIGH, NULL, "no kernel grows it online", EXT4_H "EXT4_FEATURE_COMPAT_SPARSE_SUPER2"},
{EXT_C, 0x400, "fast_commit",    ANY, ANY, NOGATE, TOOLS, KP(1, 46, 0), NEVER, NEVER, "-O fast_commit", "-O ^fast_commit", HIGH, "tune2fs -O ^fast_commit", "while mounted, the journal needs Linux 5.10", EXT4_H "EXT4_FEATURE_COMPAT_FAST_COMMIT"},
{EXT_C, 0x800, "stable_inodes",  ANY, ANY, NOGATE, TOOLS, KP(1, 45, 4), NEVER, NEVER, "-O stable_inodes", "-O ^stable_inodes", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_COMPAT_STABLE_INODES"},
{EXT_C, 0x1000, "orphan_file",   ANY, ANY, NOGATE, TOOLS, KP(1, 47, 0), KP(1, 47, 0), K(5, 15), "-O orphan_file", "-O ^orphan_file", HIGH, "tune2fs -O ^orphan_file", "while mounted, orphan_present needs Linux 5.15", EXT4_H "EXT4_FEATURE_COMPAT_ORPHAN_FILE"},

{EXT_I, 0x1,    "compression",   NEVER, NEVER, NOGATE, 0, NEVER, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_COMPRESSION"},
{EXT_I, 0x2,    "filetype",      ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O filetype", "-O ^filetype", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_FILETYPE"},
{EXT_I, 0x4,    "needs_recovery", ANY, ANY, NOGATE, RUNTIME | STATE, ANY, NEVER, NEVER, NULL, NULL, HIGH, "e2fsck -fy", "the journal must be replayed", EXT4_H "EXT4_FEATURE_INCOMPAT_RECOVER"},
{EXT_I, 0x8,    "journal_dev",   NEVER, NEVER, NOGATE, 0, ANY, NEVER, NEVER, "-O journal_dev", NULL, HIGH, NULL, "an external journal, not a filesystem", EXT4_H "EXT4_FEATURE_INCOMPAT_JOURNAL_DEV"},
{EXT_I, 0x10,   "meta_bg",       ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, "-O meta_bg", "-O ^meta_bg", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_META_BG"},
{EXT_I, 0x40,   "extent",        KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, ANY, ANY, "-O extent", "-O ^extent", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_EXTENTS"},
{EXT_I, 0x80,   "64bit",         KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, KP(1, 42, 0), KP(1, 43, 0), K(3, 18), "-O 64bit", "-O ^64bit", HIGH, "resize2fs -s", NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_64BIT"},
{EXT_I, 0x100,  "mmp",           K(3, 0), K(3, 0), NOGATE, 0, KP(1, 42, 0), NEVER, NEVER, "-O mmp", "-O ^mmp", HIGH, "tune2fs -O ^mmp", "after a crash the next mount waits about 45 s", EXT4_H "EXT4_FEATURE_INCOMPAT_MMP"},
{EXT_I, 0x200,  "flex_bg",       KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, ANY, ANY, "-O flex_bg", "-O ^flex_bg", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_FLEX_BG"},
{EXT_I, 0x400,  "ea_inode",      K(4, 13), K(4, 13), NOGATE, 0, KP(1, 43, 5), NEVER, NEVER, "-O ea_inode", "-O ^ea_inode", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_EA_INODE"},
{EXT_I, 0x1000, "dirdata",       NEVER, NEVER, NOGATE, 0, NEVER, NEVER, NEVER, NULL, NULL, HIGH, NULL, "Lustre servers only", EXT4_H "EXT4_FEATURE_INCOMPAT_DIRDATA"},
{EXT_I, 0x2000, "metadata_csum_seed", K(4, 4), K(4, 4), NOGATE, 0, KP(1, 43, 0), KP(1, 47, 0), K(5, 15), "-O metadata_csum_seed", "-O ^metadata_csum_seed", HIGH, "tune2fs -O ^metadata_csum_seed", "Linux has it since 4.4; tools that turn it on are as new as Linux 6.1", EXT4_H "EXT4_FEATURE_INCOMPAT_CSUM_SEED"},
{EXT_I, 0x4000, "large_dir",     K(4, 13), K(4, 13), NOGATE, 0, KP(1, 44, 0), NEVER, NEVER, "-O large_dir", "-O ^large_dir", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_LARGEDIR"},
{EXT_I, 0x8000, "inline_data",   K(3, 8), K(3, 8), NOGATE, 0, KP(1, 43, 0), NEVER, NEVER, "-O inline_data", "-O ^inline_data", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_INLINE_DATA"},
{EXT_I, 0x10000, "encrypt",      K(4, 1), K(4, 1), FS_GATE_ENCRYPTION, 0, KP(1, 43, 0), NEVER, NEVER, "-O encrypt", "-O ^encrypt", HIGH, NULL, "4.1 to 5.4 want blocks of a page", EXT4_H "EXT4_FEATURE_INCOMPAT_ENCRYPT"},
{EXT_I, 0x20000, "casefold",     K(5, 2), K(5, 2), FS_GATE_UNICODE, 0, KP(1, 45, 7), NEVER, NEVER, "-O casefold", "-O ^casefold", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_INCOMPAT_CASEFOLD"},

{EXT_R, 0x1,    "sparse_super",  ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O sparse_super", "-O ^sparse_super", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_SPARSE_SUPER"},
{EXT_R, 0x2,    "large_file",    ANY, ANY, NOGATE, 0, ANY, ANY, ANY, "-O large_file", "-O ^large_file", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_LARGE_FILE"},
{EXT_R, 0x4,    "btree_dir",     ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_BTREE_DIR"},
{EXT_R, 0x8,    "huge_file",     KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, ANY, ANY, "-O huge_file", "-O ^huge_file", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_HUGE_FILE"},
{EXT_R, 0x10,   "uninit_bg",     KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, NEVER, ANY, "-O uninit_bg", "-O ^uninit_bg", HIGH, "tune2fs -O ^uninit_bg", "metadata_csum takes its place", EXT4_H "EXT4_FEATURE_RO_COMPAT_GDT_CSUM"},
{EXT_R, 0x20,   "dir_nlink",     KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, ANY, ANY, "-O dir_nlink", "-O ^dir_nlink", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_DIR_NLINK"},
{EXT_R, 0x40,   "extra_isize",   KP(2, 6, 28), KP(2, 6, 28), NOGATE, 0, ANY, ANY, ANY, "-O extra_isize", "-O ^extra_isize", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_EXTRA_ISIZE"},
{EXT_R, 0x80,   "has_snapshot",  NEVER, ANY, NOGATE, 0, NEVER, NEVER, NEVER, NULL, NULL, HIGH, NULL, "next3 only", E2FSPROGS_H "EXT4_FEATURE_RO_COMPAT_HAS_SNAPSHOT"},
{EXT_R, 0x100,  "quota",         K(3, 6), ANY, FS_GATE_QUOTA, RO_OK, KP(1, 42, 0), NEVER, NEVER, "-O quota", "-O ^quota", HIGH, "tune2fs -O ^quota", NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_QUOTA"},
{EXT_R, 0x200,  "bigalloc",      K(3, 2), ANY, NOGATE, 0, KP(1, 42, 0), NEVER, NEVER, "-O bigalloc", "-O ^bigalloc", HIGH, NULL, NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_BIGALLOC"},
{EXT_R, 0x400,  "metadata_csum", K(3, 5), ANY, NOGATE, 0, KP(1, 43, 0), KP(1, 44, 0), K(3, 18), "-O metadata_csum", "-O ^metadata_csum", HIGH, "tune2fs -O ^metadata_csum", "the first read-write mount by 3.18 or later gives the journal csum_v3", EXT4_H "EXT4_FEATURE_RO_COMPAT_METADATA_CSUM"},
{EXT_R, 0x800,  "replica",       NEVER, ANY, NOGATE, 0, NEVER, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, E2FSPROGS_H "EXT4_FEATURE_RO_COMPAT_REPLICA"},
{EXT_R, 0x1000, "read-only",     ANY, ANY, NOGATE, FS_FEATURE_FORCES_RO, KP(1, 42, 8), NEVER, NEVER, NULL, NULL, HIGH, "tune2fs -O ^read-only", "set by tune2fs; a read-write request is answered with a read-only mount", EXT4_H "EXT4_FEATURE_RO_COMPAT_READONLY"},
{EXT_R, 0x2000, "project",       K(4, 5), ANY, FS_GATE_QUOTA, RO_OK, KP(1, 43, 0), NEVER, NEVER, "-O project,quota", "-O ^project", HIGH, "tune2fs -O ^project", NULL, EXT4_H "EXT4_FEATURE_RO_COMPAT_PROJECT"},
{EXT_R, 0x4000, "shared_blocks", NEVER, ANY, NOGATE, 0, KP(1, 44, 4), NEVER, NEVER, NULL, NULL, HIGH, "e2fsck -E unshare_blocks", "Android images", E2FSPROGS_H "EXT4_FEATURE_RO_COMPAT_SHARED_BLOCKS"},
{EXT_R, 0x8000, "verity",        K(5, 4), ANY, FS_GATE_VERITY, 0, KP(1, 44, 5), NEVER, NEVER, "-O verity", "-O ^verity", HIGH, NULL, "5.4 to 6.2 want blocks of a page", EXT4_H "EXT4_FEATURE_RO_COMPAT_VERITY"},
{EXT_R, 0x10000, "orphan_present", K(5, 15), ANY, NOGATE, RUNTIME | MOUNTED, KP(1, 47, 0), NEVER, NEVER, NULL, NULL, HIGH, "e2fsck -fy", "set while mounted, or after a crash, with orphan_file", EXT4_H "EXT4_FEATURE_RO_COMPAT_ORPHAN_PRESENT"},

{JBD_C, 0x1,    "checksum",      ANY, ANY, NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, JBD2_H "JBD2_FEATURE_COMPAT_CHECKSUM"},
{JBD_I, 0x1,    "revoke",        ANY, ANY, NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, JBD2_H "JBD2_FEATURE_INCOMPAT_REVOKE"},
{JBD_I, 0x2,    "journal 64bit", ANY, ANY, NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, JBD2_H "JBD2_FEATURE_INCOMPAT_64BIT"},
{JBD_I, 0x4,    "async_commit",  KP(2, 6, 28), KP(2, 6, 28), NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, JBD2_H "JBD2_FEATURE_INCOMPAT_ASYNC_COMMIT"},
{JBD_I, 0x8,    "csum_v2",       K(3, 5), K(3, 5), NOGATE, RUNTIME, KP(1, 43, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, JBD2_H "JBD2_FEATURE_INCOMPAT_CSUM_V2"},
{JBD_I, 0x10,   "csum_v3",       K(3, 18), K(3, 18), NOGATE, RUNTIME, KP(1, 43, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, "comes with metadata_csum at the first read-write mount", JBD2_H "JBD2_FEATURE_INCOMPAT_CSUM_V3"},
{JBD_I, 0x20,   "journal fast_commit", K(5, 10), K(5, 10), NOGATE, RUNTIME | MOUNTED, KP(1, 46, 0), NEVER, NEVER, NULL, NULL, HIGH, "e2fsck -fy", "set while mounted, or after a crash, with fast_commit", JBD2_H "JBD2_FEATURE_INCOMPAT_FAST_COMMIT"},

/* XFS. Tools are xfsprogs. plan_since follows the LTS profiles that xfsprogs ships (mkfs/lts_*.conf). */
{XFS_V, 1U << 4, "V4 (crc=0)",   ANY, ANY, FS_GATE_XFS_V4, 0, ANY, ANY, NEVER, "-m crc=0", "-m crc=1", HIGH, NULL, "kernels drop it by September 2030", XFS_H "XFS_SB_VERSION_4"},
{XFS_V, 1U << 5, "V5 (crc=1)",   K(3, 15), K(3, 10), NOGATE, 0, KP(3, 2, 0), KP(3, 2, 3), ANY, "-m crc=1", "-m crc=0", HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_5"},

{XFS_N, 0x10,   "attr",    ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_ATTRBIT"},
{XFS_N, 0x20,   "nlink",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_NLINKBIT"},
{XFS_N, 0x40,   "quota",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_QUOTABIT"},
{XFS_N, 0x80,   "align",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_ALIGNBIT"},
{XFS_N, 0x100,  "dalign",  ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_DALIGNBIT"},
{XFS_N, 0x200,  "shared",  NEVER, NEVER, NOGATE, 0, NEVER, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_SHAREDBIT"},
{XFS_N, 0x400,  "logv2",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_LOGV2BIT"},
{XFS_N, 0x800,  "sector",  ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_SECTORBIT"},
{XFS_N, 0x1000, "extflg",  ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_EXTFLGBIT"},
{XFS_N, 0x2000, "dirv2",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_DIRV2BIT"},
{XFS_N, 0x4000, "ascii-ci", KP(2, 6, 29), KP(2, 6, 29), FS_GATE_XFS_ASCII_CI, 0, ANY, NEVER, NEVER, "-n version=ci", "-n version=2", HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_BORGBIT"},
{XFS_N, 0x8000, "morebits", ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION_MOREBITSBIT"},

{XFS_2, 0x2,    "lazysbcount", ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, MEDIUM, NULL, NULL, XFS_H "XFS_SB_VERSION2_LAZYSBCOUNTBIT"},
{XFS_2, 0x8,    "attr2",       ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, MEDIUM, NULL, NULL, XFS_H "XFS_SB_VERSION2_ATTR2BIT"},
{XFS_2, 0x80,   "projid32",    ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, MEDIUM, NULL, NULL, XFS_H "XFS_SB_VERSION2_PROJID32BIT"},
{XFS_2, 0x100,  "crc",         K(3, 10), K(3, 10), NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, "the mark of V5", XFS_H "XFS_SB_VERSION2_CRCBIT"},
{XFS_2, 0x200,  "ftype (V4)",  K(3, 13), K(3, 13), NOGATE, 0, ANY, ANY, NEVER, "-n ftype=1", "-n ftype=0", HIGH, NULL, NULL, XFS_H "XFS_SB_VERSION2_FTYPE"},

{XFS_R, 0x1,    "finobt",      K(3, 16), K(3, 10), NOGATE, 0, KP(3, 2, 1), KP(3, 2, 3), ANY, "-m finobt=1", "-m finobt=0", HIGH, NULL, NULL, XFS_H "XFS_SB_FEAT_RO_COMPAT_FINOBT"},
{XFS_R, 0x2,    "rmapbt",      K(4, 8), K(3, 10), NOGATE, 0, KP(4, 8, 0), KP(6, 5, 0), K(6, 6), "-m rmapbt=1", "-m rmapbt=0", HIGH, NULL, "in profiles since lts_6.6", XFS_H "XFS_SB_FEAT_RO_COMPAT_RMAPBT"},
{XFS_R, 0x4,    "reflink",     K(4, 9), K(3, 10), NOGATE, 0, KP(4, 9, 0), KP(5, 1, 0), K(5, 4), "-m reflink=1", "-m reflink=0", HIGH, NULL, "experimental before 4.16; in profiles since lts_5.4", XFS_H "XFS_SB_FEAT_RO_COMPAT_REFLINK"},
{XFS_R, 0x8,    "inobtcount",  K(5, 10), K(3, 10), NOGATE, 0, KP(5, 10, 0), KP(5, 15, 0), K(5, 15), "-m inobtcount=1", "-m inobtcount=0", HIGH, NULL, "in profiles since lts_5.15", XFS_H "XFS_SB_FEAT_RO_COMPAT_INOBTCNT"},

{XFS_I, 0x1,    "ftype",       K(3, 13), K(3, 13), NOGATE, 0, KP(3, 2, 0), KP(3, 2, 3), ANY, "-n ftype=1", NULL, HIGH, NULL, "V5 always has it", XFS_H "XFS_SB_FEAT_INCOMPAT_FTYPE"},
{XFS_I, 0x2,    "sparse",      K(4, 2), K(4, 2), NOGATE, 0, KP(4, 2, 0), KP(4, 16, 0), K(4, 2), "-i sparse=1", "-i sparse=0", HIGH, NULL, NULL, XFS_H "XFS_SB_FEAT_INCOMPAT_SPINODES"},
{XFS_I, 0x4,    "meta_uuid",   K(4, 3), K(4, 3), NOGATE, RUNTIME, KP(4, 3, 0), NEVER, NEVER, NULL, NULL, HIGH, "xfs_admin -U restore", "set by xfs_admin -U generate", XFS_H "XFS_SB_FEAT_INCOMPAT_META_UUID"},
{XFS_I, 0x8,    "bigtime",     K(5, 10), K(5, 10), NOGATE, 0, KP(5, 10, 0), KP(5, 15, 0), K(5, 15), "-m bigtime=1", "-m bigtime=0", HIGH, NULL, "in profiles since lts_5.15", XFS_H "XFS_SB_FEAT_INCOMPAT_BIGTIME"},
{XFS_I, 0x10,   "needsrepair", K(5, 11), K(5, 11), NOGATE, RUNTIME | STATE, KP(5, 11, 0), NEVER, NEVER, NULL, NULL, HIGH, "xfs_repair", "an offline change was not finished", XFS_H "XFS_SB_FEAT_INCOMPAT_NEEDSREPAIR"},
{XFS_I, 0x20,   "nrext64",     K(5, 19), K(5, 19), NOGATE, 0, KP(5, 19, 0), KP(6, 5, 0), K(6, 6), "-i nrext64=1", "-i nrext64=0", HIGH, NULL, "in profiles since lts_6.6", XFS_H "XFS_SB_FEAT_INCOMPAT_NREXT64"},
{XFS_I, 0x40,   "exchange",    K(6, 10), K(6, 10), NOGATE, 0, KP(6, 10, 0), KP(6, 18, 0), K(6, 18), "-i exchange=1", "-i exchange=0", HIGH, NULL, "in profiles since lts_6.18", XFS_H "XFS_SB_FEAT_INCOMPAT_EXCHRANGE"},
{XFS_I, 0x80,   "parent",      K(6, 10), K(6, 10), NOGATE, 0, KP(6, 10, 0), KP(6, 18, 0), K(6, 18), "-n parent=1", "-n parent=0", HIGH, NULL, "in profiles since lts_6.18", XFS_H "XFS_SB_FEAT_INCOMPAT_PARENT"},
{XFS_I, 0x100,  "metadir",     K(6, 13), K(6, 13), NOGATE, EXPER, KP(6, 13, 0), NEVER, NEVER, "-m metadir=1", "-m metadir=0", HIGH, NULL, "experimental through 6.18", XFS_H "XFS_SB_FEAT_INCOMPAT_METADIR"},
{XFS_I, 0x200,  "zoned",       K(6, 15), K(6, 15), FS_GATE_XFS_RT, EXPER, KP(6, 15, 0), NEVER, NEVER, "-r zoned=1", "-r zoned=0", MEDIUM, NULL, NULL, XFS_H "XFS_SB_FEAT_INCOMPAT_ZONED"},
{XFS_I, 0x400,  "zone_gaps",   K(6, 15), K(6, 15), NOGATE, EXPER, KP(6, 15, 0), NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, XFS_H "XFS_SB_FEAT_INCOMPAT_ZONE_GAPS"},
{XFS_L, 0x1,    "log_xattrs",  K(5, 19), K(5, 19), NOGATE, RUNTIME, KP(5, 19, 0), NEVER, NEVER, NULL, NULL, MEDIUM, "mount where it was written, and unmount", "a debugging knob", XFS_H "XFS_SB_FEAT_INCOMPAT_LOG_XATTRS"},

/* btrfs. Tools are btrfs-progs. */
{BTR_R, 0x1,    "free_space_tree",       K(4, 5), ANY, NOGATE, 0, KP(4, 7, 0), KP(5, 15, 0), K(4, 9), "-R free-space-tree", "-R ^free-space-tree", HIGH, "btrfs check --clear-space-cache v2", NULL, BTRFS_H "BTRFS_FEATURE_COMPAT_RO_FREE_SPACE_TREE"},
{BTR_R, 0x2,    "free_space_tree_valid", K(4, 9), ANY, NOGATE, 0, KP(4, 9, 0), KP(5, 15, 0), NEVER, NULL, NULL, HIGH, "btrfs check --clear-space-cache v2", "comes with free_space_tree", BTRFS_H "BTRFS_FEATURE_COMPAT_RO_FREE_SPACE_TREE_VALID"},
{BTR_R, 0x4,    "verity",                K(5, 15), ANY, NOGATE, RUNTIME, KP(5, 15, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_COMPAT_RO_VERITY"},
{BTR_R, 0x8,    "block_group_tree",      K(6, 1), K(6, 1), NOGATE, 0, KP(6, 3, 0), KP(6, 19, 0), K(6, 1), "-O block-group-tree", "-O ^block-group-tree", MEDIUM, "btrfstune --convert-from-block-group-tree", "without it, only some kernels (5.15 and 6.1 stable) mount it even read-only", BTRFS_H "BTRFS_FEATURE_COMPAT_RO_BLOCK_GROUP_TREE"},

{BTR_I, 0x1,     "mixed_backref",    ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, "every btrfs has it", BTRFS_H "BTRFS_FEATURE_INCOMPAT_MIXED_BACKREF"},
{BTR_I, 0x2,     "default_subvol",   ANY, ANY, NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_DEFAULT_SUBVOL"},
{BTR_I, 0x4,     "mixed_groups",     ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, "-M", NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_MIXED_GROUPS"},
{BTR_I, 0x8,     "compress_lzo",     ANY, ANY, NOGATE, RUNTIME, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, "a mount with compress=lzo sets it for good", BTRFS_H "BTRFS_FEATURE_INCOMPAT_COMPRESS_LZO"},
{BTR_I, 0x10,    "compress_zstd",    K(4, 14), K(4, 14), NOGATE, RUNTIME, KP(4, 14, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, "a mount with compress=zstd sets it for good", BTRFS_H "BTRFS_FEATURE_INCOMPAT_COMPRESS_ZSTD"},
{BTR_I, 0x20,    "big_metadata",     K(3, 4), K(3, 4), NOGATE, RUNTIME, ANY, KP(6, 14, 0), NEVER, NULL, NULL, HIGH, NULL, "kernels set it when nodesize is above a page", BTRFS_H "BTRFS_FEATURE_INCOMPAT_BIG_METADATA"},
{BTR_I, 0x40,    "extended_iref",    K(3, 7), K(3, 7), NOGATE, 0, ANY, KP(3, 12, 0), ANY, "-O extref", "-O ^extref", HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_EXTENDED_IREF"},
{BTR_I, 0x80,    "raid56",           K(3, 9), K(3, 9), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_RAID56"},
{BTR_I, 0x100,   "skinny_metadata",  K(3, 10), K(3, 10), NOGATE, 0, ANY, KP(3, 18, 0), ANY, "-O skinny-metadata", "-O ^skinny-metadata", HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_SKINNY_METADATA"},
{BTR_I, 0x200,   "no_holes",         K(3, 14), K(3, 14), NOGATE, 0, KP(3, 14, 0), KP(5, 15, 0), K(4, 9), "-O no-holes", "-O ^no-holes", HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_NO_HOLES"},
{BTR_I, 0x400,   "metadata_uuid",    K(5, 0), K(5, 0), NOGATE, RUNTIME, KP(5, 0, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, "set by btrfstune -m", BTRFS_H "BTRFS_FEATURE_INCOMPAT_METADATA_UUID"},
{BTR_I, 0x800,   "raid1c34",         K(5, 5), K(5, 5), NOGATE, 0, KP(5, 4, 0), NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_RAID1C34"},
{BTR_I, 0x1000,  "zoned",            K(5, 12), K(5, 12), FS_GATE_ZONED, 0, KP(5, 12, 0), NEVER, NEVER, "-O zoned", NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_ZONED"},
{BTR_I, 0x2000,  "extent_tree_v2",   K(6, 13), K(6, 13), FS_GATE_BTRFS_EXPERIMENTAL, EXPER, KP(5, 17, 0), NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "no release kernel mounts it", BTRFS_H "BTRFS_FEATURE_INCOMPAT_EXTENT_TREE_V2"},
{BTR_I, 0x4000,  "raid_stripe_tree", K(6, 13), K(6, 13), FS_GATE_BTRFS_EXPERIMENTAL, EXPER, KP(6, 7, 0), NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "no release kernel mounts it", BTRFS_H "BTRFS_FEATURE_INCOMPAT_RAID_STRIPE_TREE"},
{BTR_I, 0x10000, "simple_quota",     K(6, 7), K(6, 7), NOGATE, 0, KP(6, 7, 0), NEVER, NEVER, "-O squota", NULL, HIGH, NULL, NULL, BTRFS_H "BTRFS_FEATURE_INCOMPAT_SIMPLE_QUOTA"},
{BTR_I, 0x20000, "remap_tree",       K(7, 0), K(7, 0), FS_GATE_BTRFS_EXPERIMENTAL, EXPER, KP(7, 0, 0), NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "no release kernel mounts it", BTRFS_H "BTRFS_FEATURE_INCOMPAT_REMAP_TREE"},

{BTR_A, 1U << 0, "crc32c",   ANY, ANY, NOGATE, 0, ANY, ANY, NEVER, "--csum crc32c", NULL, HIGH, NULL, NULL, "include/uapi/linux/btrfs_tree.h BTRFS_CSUM_TYPE_CRC32"},
{BTR_A, 1U << 1, "xxhash64", K(5, 5), K(5, 5), NOGATE, 0, KP(5, 4, 0), NEVER, NEVER, "--csum xxhash64", NULL, HIGH, NULL, NULL, "include/uapi/linux/btrfs_tree.h BTRFS_CSUM_TYPE_XXHASH"},
{BTR_A, 1U << 2, "sha256",   K(5, 5), K(5, 5), NOGATE, 0, KP(5, 4, 0), NEVER, NEVER, "--csum sha256", NULL, HIGH, NULL, NULL, "include/uapi/linux/btrfs_tree.h BTRFS_CSUM_TYPE_SHA256"},
{BTR_A, 1U << 3, "blake2b",  K(5, 5), K(5, 5), NOGATE, 0, KP(5, 4, 0), NEVER, NEVER, "--csum blake2b", NULL, HIGH, NULL, NULL, "include/uapi/linux/btrfs_tree.h BTRFS_CSUM_TYPE_BLAKE2"},

/* f2fs. Tools are f2fs-tools. No kernel refuses a bit it does not know: it mounts and may misread. */
{F2F_F, 0x1,     "encrypt",        K(4, 2), K(4, 2), NOGATE, 0, ANY, NEVER, NEVER, "-O encrypt", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_ENCRYPT"},
{F2F_F, 0x2,     "blkzoned",       K(4, 10), K(4, 10), FS_GATE_ZONED, 0, ANY, NEVER, NEVER, "-m", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_BLKZONED"},
{F2F_F, 0x4,     "atomic_write",   K(4, 14), K(4, 14), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_ATOMIC_WRITE"},
{F2F_F, 0x8,     "extra_attr",     K(4, 14), K(4, 14), NOGATE, 0, ANY, NEVER, NEVER, "-O extra_attr", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_EXTRA_ATTR"},
{F2F_F, 0x10,    "project_quota",  K(4, 14), K(4, 14), FS_GATE_QUOTA, RO_OK, ANY, NEVER, NEVER, "-O extra_attr,project_quota", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_PRJQUOTA"},
{F2F_F, 0x20,    "inode_checksum", K(4, 14), K(4, 14), NOGATE, 0, ANY, NEVER, NEVER, "-O extra_attr,inode_checksum", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_INODE_CHKSUM"},
{F2F_F, 0x40,    "flexible_inline_xattr", K(4, 16), K(4, 16), NOGATE, 0, ANY, NEVER, NEVER, "-O extra_attr,flexible_inline_xattr", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_FLEXIBLE_INLINE_XATTR"},
{F2F_F, 0x80,    "quota_ino",      K(4, 16), K(4, 16), FS_GATE_QUOTA, RO_OK, ANY, NEVER, NEVER, "-O quota", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_QUOTA_INO"},
{F2F_F, 0x100,   "inode_crtime",   K(4, 17), K(4, 17), NOGATE, 0, ANY, NEVER, NEVER, "-O extra_attr,inode_crtime", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_INODE_CRTIME"},
{F2F_F, 0x200,   "lost_found",     K(4, 17), K(4, 17), NOGATE, 0, ANY, NEVER, NEVER, "-O lost_found", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_LOST_FOUND"},
{F2F_F, 0x400,   "verity",         K(5, 4), K(5, 4), NOGATE, 0, ANY, NEVER, NEVER, "-O verity", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_VERITY"},
{F2F_F, 0x800,   "sb_checksum",    K(4, 20), K(4, 20), NOGATE, 0, ANY, NEVER, NEVER, "-O sb_checksum", NULL, MEDIUM, NULL, NULL, F2FS_H "F2FS_FEATURE_SB_CHKSUM"},
{F2F_F, 0x1000,  "casefold",       K(5, 4), K(5, 4), FS_GATE_UNICODE, 0, ANY, NEVER, NEVER, "-O casefold -C utf8", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_CASEFOLD"},
{F2F_F, 0x2000,  "compression",    K(5, 6), K(5, 6), FS_GATE_F2FS_COMPRESSION, 0, ANY, NEVER, NEVER, "-O extra_attr,compression", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_COMPRESSION"},
{F2F_F, 0x4000,  "readonly",       K(5, 14), K(5, 14), NOGATE, FS_FEATURE_FORCES_RO, ANY, NEVER, NEVER, "-O ro", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_RO"},
{F2F_F, 0x8000,  "device_alias",   K(6, 13), K(6, 13), NOGATE, 0, ANY, NEVER, NEVER, "-O device_alias", NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_DEVICE_ALIAS"},
{F2F_F, 0x10000, "packed_ssa",     K(6, 18), K(6, 18), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, F2FS_H "F2FS_FEATURE_PACKED_SSA"},

/* erofs and squashfs: read-only by nature, so "read-write" here means that the kernel reads it. A kernel ignores compat bits. */
{ERO_C, 0x1,   "sb_chksum",      ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, "checked since 5.5", EROFS_H "EROFS_FEATURE_COMPAT_SB_CHKSUM"},
{ERO_C, 0x2,   "mtime",          ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, NULL, EROFS_H "EROFS_FEATURE_COMPAT_MTIME"},
{ERO_C, 0x4,   "xattr_filter",   ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, HIGH, NULL, "used since 6.6", EROFS_H "EROFS_FEATURE_COMPAT_XATTR_FILTER"},
{ERO_C, 0x8,   "shared_ea_in_metabox", ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, "comes with metabox", EROFS_H "EROFS_FEATURE_COMPAT_SHARED_EA_IN_METABOX"},
{ERO_C, 0x10,  "plain_xattr_pfx", ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_COMPAT_PLAIN_XATTR_PFX"},
{ERO_C, 0x20,  "ishare_xattrs",  ANY, ANY, NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_COMPAT_ISHARE_XATTRS"},
{ERO_I, 0x1,   "zero_padding",   K(5, 3), K(5, 3), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_LZ4_0PADDING"},
{ERO_I, 0x2,   "big_pcluster",   K(5, 13), K(5, 13), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_BIG_PCLUSTER"},
{ERO_I, 0x4,   "chunked_file",   K(5, 15), K(5, 15), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_CHUNKED_FILE"},
{ERO_I, 0x8,   "device_table",   K(5, 16), K(5, 16), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_DEVICE_TABLE"},
{ERO_I, 0x10,  "ztailpacking",   K(5, 17), K(5, 17), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_ZTAILPACKING"},
{ERO_I, 0x20,  "fragments",      K(6, 1), K(6, 1), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_FRAGMENTS"},
{ERO_I, 0x40,  "xattr_prefixes", K(6, 4), K(6, 4), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_XATTR_PREFIXES"},
{ERO_I, 0x80,  "48bit",          K(6, 15), K(6, 15), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_48BIT"},
{ERO_I, 0x100, "metabox",        K(6, 17), K(6, 17), NOGATE, 0, ANY, NEVER, NEVER, NULL, NULL, MEDIUM, NULL, NULL, EROFS_H "EROFS_FEATURE_INCOMPAT_METABOX"},

{ERO_A, 1U << 0, "LZ4",     K(5, 3),  K(5, 3),  FS_GATE_EROFS_ZIP, 0, ANY, NEVER, NEVER, "-zlz4", NULL, HIGH, NULL, NULL, EROFS_H "Z_EROFS_COMPRESSION_LZ4"},
{ERO_A, 1U << 1, "LZMA",    K(5, 16), K(5, 16), FS_GATE_EROFS_LZMA, 0, ANY, NEVER, NEVER, "-zlzma", NULL, HIGH, NULL, "MicroLZMA", EROFS_H "Z_EROFS_COMPRESSION_LZMA"},
{ERO_A, 1U << 2, "DEFLATE", K(6, 6),  K(6, 6),  FS_GATE_EROFS_DEFLATE, 0, ANY, NEVER, NEVER, "-zdeflate", NULL, HIGH, NULL, NULL, EROFS_H "Z_EROFS_COMPRESSION_DEFLATE"},
{ERO_A, 1U << 3, "ZSTD",    K(6, 10), K(6, 10), FS_GATE_EROFS_ZSTD, 0, ANY, NEVER, NEVER, "-zzstd", NULL, HIGH, NULL, NULL, EROFS_H "Z_EROFS_COMPRESSION_ZSTD"},

{SQU_V, 1U << 4, "squashfs 4", KP(2, 6, 29), KP(2, 6, 29), NOGATE, 0, ANY, ANY, NEVER, NULL, NULL, HIGH, NULL, NULL, SQUASHFS_H "SQUASHFS_MAJOR"},
{SQU_A, 1U << 1, "zlib", KP(2, 6, 29), KP(2, 6, 29), FS_GATE_SQUASHFS_ZLIB, 0, ANY, ANY, NEVER, "-comp gzip", NULL, HIGH, NULL, NULL, SQUASHFS_H "ZLIB_COMPRESSION"},
{SQU_A, 1U << 2, "lzma", NEVER, NEVER, NOGATE, 0, ANY, NEVER, NEVER, "-comp lzma", NULL, HIGH, NULL, NULL, SQUASHFS_H "LZMA_COMPRESSION"},
{SQU_A, 1U << 3, "lzo",  KP(2, 6, 38), KP(2, 6, 38), FS_GATE_SQUASHFS_LZO, 0, ANY, NEVER, NEVER, "-comp lzo", NULL, HIGH, NULL, NULL, SQUASHFS_H "LZO_COMPRESSION"},
{SQU_A, 1U << 4, "xz",   KP(2, 6, 38), KP(2, 6, 38), FS_GATE_SQUASHFS_XZ, 0, ANY, NEVER, NEVER, "-comp xz", NULL, HIGH, NULL, NULL, SQUASHFS_H "XZ_COMPRESSION"},
{SQU_A, 1U << 5, "lz4",  K(3, 19), K(3, 19), FS_GATE_SQUASHFS_LZ4, 0, ANY, NEVER, NEVER, "-comp lz4", NULL, HIGH, NULL, NULL, SQUASHFS_H "LZ4_COMPRESSION"},
{SQU_A, 1U << 6, "zstd", K(4, 14), K(4, 14), FS_GATE_SQUASHFS_ZSTD, 0, ANY, NEVER, NEVER, "-comp zstd", NULL, HIGH, NULL, NULL, SQUASHFS_H "ZSTD_COMPRESSION"},
};
const size_t fs_n_features = sizeof(fs_features) / sizeof(fs_features[0]);

const FsGateInfo fs_gates[_FS_GATE_N] = {
[FS_GATE_XFS_V4]            = {{"CONFIG_XFS_SUPPORT_V4"}, K(5, 10), K(6, 18), true, true, "fs/xfs/Kconfig"},
[FS_GATE_XFS_ASCII_CI]      = {{"CONFIG_XFS_SUPPORT_ASCII_CI"}, K(6, 4), K(6, 18), true, true, "fs/xfs/Kconfig"},
[FS_GATE_XFS_RT]            = {{"CONFIG_XFS_RT"}, ANY, NEVER, false, true, "fs/xfs/Kconfig"},
[FS_GATE_XFS_QUOTA]         = {{"CONFIG_XFS_QUOTA"}, ANY, NEVER, true, false, "fs/xfs/Kconfig"},
[FS_GATE_UNICODE]           = {{"CONFIG_UNICODE"}, ANY, NEVER, true, true, "fs/unicode/Kconfig"},
[FS_GATE_QUOTA]             = {{"CONFIG_QUOTA", "CONFIG_QFMT_V2"}, ANY, NEVER, true, true, "fs/quota/Kconfig"},
[FS_GATE_THP]               = {{"CONFIG_TRANSPARENT_HUGEPAGE"}, ANY, NEVER, true, true, "mm/Kconfig"},
[FS_GATE_BTRFS_EXPERIMENTAL] = {{"CONFIG_BTRFS_EXPERIMENTAL"}, ANY, NEVER, false, true, "fs/btrfs/Kconfig"},
[FS_GATE_ZONED]             = {{"CONFIG_BLK_DEV_ZONED"}, ANY, NEVER, true, true, "block/Kconfig"},
[FS_GATE_F2FS_COMPRESSION]  = {{"CONFIG_F2FS_FS_COMPRESSION"}, ANY, NEVER, true, false, "fs/f2fs/Kconfig"},
[FS_GATE_SQUASHFS_ZLIB]     = {{"CONFIG_SQUASHFS_ZLIB"}, ANY, NEVER, true, true, "fs/squashfs/Kconfig"},
[FS_GATE_SQUASHFS_LZO]      = {{"CONFIG_SQUASHFS_LZO"}, ANY, NEVER, true, true, "fs/squashfs/Kconfig"},
[FS_GATE_SQUASHFS_XZ]       = {{"CONFIG_SQUASHFS_XZ"}, ANY, NEVER, true, true, "fs/squashfs/Kconfig"},
[FS_GATE_SQUASHFS_LZ4]      = {{"CONFIG_SQUASHFS_LZ4"}, ANY, NEVER, true, true, "fs/squashfs/Kconfig"},
[FS_GATE_SQUASHFS_ZSTD]     = {{"CONFIG_SQUASHFS_ZSTD"}, ANY, NEVER, true, true, "fs/squashfs/Kconfig"},
[FS_GATE_EROFS_ZIP]         = {{"CONFIG_EROFS_FS_ZIP"}, ANY, NEVER, true, true, "fs/erofs/Kconfig"},
[FS_GATE_EROFS_LZMA]        = {{"CONFIG_EROFS_FS_ZIP_LZMA"}, ANY, NEVER, true, true, "fs/erofs/Kconfig"},
[FS_GATE_EROFS_DEFLATE]     = {{"CONFIG_EROFS_FS_ZIP_DEFLATE"}, ANY, NEVER, true, true, "fs/erofs/Kconfig"},
[FS_GATE_EROFS_ZSTD]        = {{"CONFIG_EROFS_FS_ZIP_ZSTD"}, ANY, NEVER, true, true, "fs/erofs/Kconfig"},
[FS_GATE_VERITY]            = {{"CONFIG_FS_VERITY"}, ANY, NEVER, true, false, "fs/verity/Kconfig"},
[FS_GATE_ENCRYPTION]        = {{"CONFIG_FS_ENCRYPTION"}, ANY, NEVER, true, false, "fs/crypto/Kconfig"},
};

/* Distributions whose number says less than they have. Read in their source trees, unless noted. */
const FsBackport fs_backports[] = {
{".el7", K(3, 10), K(3, 11), FS_KIND_EXT, FS_CLASS_LOG_INCOMPAT, 0x10, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_XFS, FS_CLASS_VERSION, 1U << 5, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_XFS, FS_CLASS_RO_COMPAT, 0x1, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_XFS, FS_CLASS_INCOMPAT, 0x7, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_XFS, FS_CLASS_FEATURES2, 0x200, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_BTRFS, FS_CLASS_RO_COMPAT, 0x3, "3.10.0-1160.el7"},
{".el7", K(3, 10), K(3, 11), FS_KIND_BTRFS, FS_CLASS_INCOMPAT, 0x200, "3.10.0-1160.el7"},
{"-default", K(4, 12), K(4, 13), FS_KIND_XFS, FS_CLASS_RO_COMPAT, 0x8, "SUSE KB 000020881"},
{"-default", K(4, 12), K(4, 13), FS_KIND_XFS, FS_CLASS_INCOMPAT, 0x8, "SUSE KB 000020881"},
};
const size_t fs_n_backports = sizeof(fs_backports) / sizeof(fs_backports[0]);

/* "seen": read in the source of that number, or mounted on it by tests/oracle. */
const FsChangeRow fs_changes[] = {
{FS_CHANGE_XFS_WRITES_COMPAT, K(6, 1), KP(6, 1, 176), K(6, 2), "6.1.176 seen"},
{FS_CHANGE_XFS_WRITES_COMPAT, K(6, 6), K(6, 7), K(6, 7), "not known"},
{FS_CHANGE_XFS_WRITES_COMPAT, K(6, 12), KP(6, 12, 95), K(6, 13), "6.12.95 seen"},
{FS_CHANGE_XFS_WRITES_COMPAT, K(6, 13), K(6, 13), FS_VERSION_NEVER, "6.16 seen"},
{FS_CHANGE_XFS_RO_RECOVERY, K(5, 10), KP(5, 10, 262), K(5, 11), "5.10.262 seen"},
{FS_CHANGE_XFS_RO_RECOVERY, K(5, 15), K(5, 16), K(5, 16), "not known"},
{FS_CHANGE_XFS_RO_RECOVERY, K(6, 1), K(6, 1), FS_VERSION_NEVER, "6.1.176 seen"},
{FS_CHANGE_BTRFS_MAKES_GROUPS, K(5, 10), KP(5, 10, 262), K(5, 11), "5.10.262 seen"},
{FS_CHANGE_BTRFS_MAKES_GROUPS, K(5, 15), KP(5, 15, 135), K(5, 16), "5.15.135 seen"},
{FS_CHANGE_EROFS_BELOW_PAGE, K(6, 1), KP(6, 1, 176), K(6, 2), "6.1.176 seen"},
{FS_CHANGE_EROFS_BELOW_PAGE, K(6, 4), K(6, 4), FS_VERSION_NEVER, "fs/erofs/super.c of 6.4"},
{FS_CHANGE_EXT_ORPHAN_512, KP(5, 15, 197), K(5, 16), K(5, 16), "commit 7c11c56eb32e"},
{FS_CHANGE_EXT_ORPHAN_512, KP(6, 1, 159), K(6, 2), K(6, 2), "commit 7c11c56eb32e"},
{FS_CHANGE_EXT_ORPHAN_512, KP(6, 6, 118), KP(6, 6, 141), K(6, 7), "6.6.141 read"},
{FS_CHANGE_EXT_ORPHAN_512, KP(6, 12, 60), K(6, 13), K(6, 13), "commit 7c11c56eb32e"},
{FS_CHANGE_EXT_ORPHAN_512, KP(6, 17, 10), K(6, 18), K(6, 18), "commit 7c11c56eb32e"},
{FS_CHANGE_EXT_ORPHAN_512, K(6, 18), KP(6, 18, 44), K(6, 19), "6.18.44 seen"},
{FS_CHANGE_EXT_ORPHAN_512, K(6, 19), K(6, 19), FS_VERSION_NEVER, "commit 7c11c56eb32e"},
};
const size_t fs_n_changes = sizeof(fs_changes) / sizeof(fs_changes[0]);

const FsDriver fs_drivers[] = {
{FS_KIND_EXT,      "ext4",     "CONFIG_EXT4_FS",  KP(2, 6, 28), "fs/ext4/Kconfig"},
{FS_KIND_XFS,      "xfs",      "CONFIG_XFS_FS",   KP(2, 6, 0),  "fs/xfs/Kconfig"},
{FS_KIND_BTRFS,    "btrfs",    "CONFIG_BTRFS_FS", KP(2, 6, 29), "fs/btrfs/Kconfig"},
{FS_KIND_F2FS,     "f2fs",     "CONFIG_F2FS_FS",  K(3, 8),      "fs/f2fs/Kconfig"},
{FS_KIND_EROFS,    "erofs",    "CONFIG_EROFS_FS", K(5, 4),      "fs/erofs/Kconfig"},
{FS_KIND_SQUASHFS, "squashfs", "CONFIG_SQUASHFS", KP(2, 6, 29), "fs/squashfs/Kconfig"},
{FS_KIND_VFAT,     "vfat",     "CONFIG_VFAT_FS",  KP(2, 6, 0),  "fs/fat/Kconfig"},
{FS_KIND_EXFAT,    "exfat",    "CONFIG_EXFAT_FS", K(5, 7),      "fs/exfat/Kconfig"},
{FS_KIND_NTFS,     "ntfs3",    "CONFIG_NTFS3_FS", K(5, 15),     "fs/ntfs3/Kconfig"},
/* Another driver than the one of that name until 6.8, which did not write. */
{FS_KIND_NTFS,     "ntfs",     "CONFIG_NTFS_FS",  K(7, 1),      "fs/ntfs/Kconfig"},
};
const size_t fs_n_drivers = sizeof(fs_drivers) / sizeof(fs_drivers[0]);

/* Debian's flavours. What all its kernels that are served have in common was read in each of their
 * configurations: tests/data/fs/kernel-configs.csv, which test-feature.c holds against these rows. */
#define DEBIAN     "-amd64|-arm64|-686|-armmp|-powerpc64le|-s390x"
#define DEBIAN_RT  "-rt-amd64|-rt-arm64|-rt-686|-rt-armmp"
#define DEBIAN_ALL "Debian linux-config-5.10, 6.1, 6.12, 7.2, 7.3"
#define RASPBERRY  "-rpi-v8|-rpi-2712|-rpi-v7|-rpi-v7l|-rpi-v6"
#define EL8        "kernel-4.18.0-513.18.1.el8_9, kernel-x86_64.config"
#define EL9        "kernel-5.14.0-362.24.1.el9_3, kernel-x86_64-rhel.config"
#define ARK        "kernel-ark 6.3, kernel-x86_64-rhel.config"
#define TALOS      "siderolabs/pkgs kernel/build/config-amd64 of 6.18.45"
#define FLATCAR    "flatcar/scripts commonconfig-6.12"
#define G(gate)    (1U << FS_GATE_##gate)

#define SQUASHFS_OLD (G(SQUASHFS_ZLIB) | G(SQUASHFS_LZO) | G(SQUASHFS_XZ))
#define SQUASHFS_ALL (SQUASHFS_OLD | G(SQUASHFS_LZ4) | G(SQUASHFS_ZSTD))
#define QUOTAS       (G(QUOTA) | G(XFS_QUOTA))

const FsDistributionGate fs_distribution_gates[] = {
{DEBIAN, K(5, 10), K(7, 4), G(XFS_V4) | G(XFS_RT) | QUOTAS | G(ZONED) | G(THP) | SQUASHFS_ALL, true, DEBIAN_ALL},
{DEBIAN, K(5, 10), K(7, 4), G(F2FS_COMPRESSION) | G(EROFS_ZIP) | G(VERITY) | G(ENCRYPTION), true, DEBIAN_ALL},
{"-cloud-amd64|-cloud-arm64", K(5, 10), K(7, 4), G(F2FS_COMPRESSION), false, DEBIAN_ALL},
{"-armmp", K(5, 10), K(7, 4), G(THP), false, "Debian linux-config-6.1, 6.12: armhf_none_armmp"},
{"-armmp-lpae", K(5, 10), K(7, 4), G(THP), true, "Debian linux-config-6.1, 6.12: armhf_none_armmp-lpae"},
{DEBIAN_RT, K(5, 10), K(7, 4), G(THP), false, "mm/Kconfig: depends on !PREEMPT_RT"},
{DEBIAN, K(5, 10), K(5, 11), G(UNICODE), false, "Debian linux-config-5.10"},
{DEBIAN, K(6, 1), K(7, 4), G(UNICODE), true, "Debian linux-config-6.1, 6.12, 7.2, 7.3"},
{DEBIAN, K(6, 12), K(6, 13), G(XFS_ASCII_CI), true, "Debian linux-config-6.12"},
{DEBIAN, K(7, 2), K(7, 4), G(XFS_ASCII_CI) | G(BTRFS_EXPERIMENTAL), false, "Debian linux-config-7.2, 7.3"},
{DEBIAN, K(6, 1), K(6, 2), G(EROFS_LZMA), false, "Debian linux-config-6.1"},
{DEBIAN, K(6, 12), K(7, 4), G(EROFS_LZMA) | G(EROFS_DEFLATE) | G(EROFS_ZSTD), true, "Debian linux-config-6.12, 7.2, 7.3"},

{".el7", K(3, 10), K(3, 11), QUOTAS | G(THP) | SQUASHFS_OLD, true, "kernel-3.10.0-1160.el7, kernel-3.10.0-x86_64.config"},
{".el8", K(4, 18), K(4, 19), QUOTAS | G(THP) | SQUASHFS_OLD, true, EL8},
{".el8", K(4, 18), K(4, 19), G(XFS_RT) | G(ZONED) | G(SQUASHFS_ZSTD) | G(ENCRYPTION) | G(VERITY), false, EL8},
{".el9", K(5, 14), K(5, 15), G(XFS_V4) | QUOTAS | G(THP) | G(ZONED) | SQUASHFS_OLD | G(SQUASHFS_ZSTD), true, EL9},
{".el9", K(5, 14), K(5, 15), G(XFS_RT) | G(UNICODE) | G(ENCRYPTION), false, EL9},
{".el10", K(6, 12), NEVER, G(XFS_V4), false, "oamg/leapp-repository#1318"},
/* SLES 16; Tumbleweed has names in -default too, and upstream's default. */
{"-160000|-160100|-160200", K(6, 12), K(6, 13), G(XFS_V4), false, "SUSE/suse-migration-services#478"},

{"-talos", K(6, 18), K(6, 19), G(XFS_V4) | G(XFS_ASCII_CI) | QUOTAS | G(THP) | G(SQUASHFS_XZ) | G(SQUASHFS_ZSTD) | G(ENCRYPTION), true, TALOS},
{"-talos", K(6, 18), K(6, 19), G(XFS_RT) | G(UNICODE) | G(ZONED) | G(SQUASHFS_ZLIB) | G(SQUASHFS_LZO) | G(SQUASHFS_LZ4) | G(VERITY) | G(BTRFS_EXPERIMENTAL), false, TALOS},
{"-flatcar", K(6, 12), K(6, 13), G(XFS_V4) | QUOTAS | G(THP) | SQUASHFS_ALL | G(EROFS_ZIP) | G(ENCRYPTION), true, FLATCAR},
{"-flatcar", K(6, 12), K(6, 13), G(XFS_RT) | G(UNICODE), false, FLATCAR},
{RASPBERRY, K(5, 2), KP(6, 12, 25), G(UNICODE), false, "raspberrypi/linux#6808"},
{RASPBERRY, KP(6, 12, 30), NEVER, G(UNICODE), true, "raspberrypi/linux#6809"},
{"-microsoft-standard-WSL2", K(5, 10), K(5, 16), G(UNICODE), false, "microsoft/WSL#10371"},
};
const size_t fs_n_distribution_gates = sizeof(fs_distribution_gates) / sizeof(fs_distribution_gates[0]);

const FsDistributionDriver fs_distribution_drivers[] = {
{"-cloud-amd64|-cloud-arm64", K(5, 10), K(7, 4), FS_KIND_F2FS, false, DEBIAN_ALL, NULL},
{DEBIAN, K(6, 1), K(6, 2), FS_KIND_NTFS, false, "Debian linux-config-6.1", NULL},
{DEBIAN, K(6, 12), K(6, 13), FS_KIND_NTFS, true, "Debian linux-config-6.12", "ntfs3"},
{DEBIAN, K(7, 2), K(7, 4), FS_KIND_NTFS, true, "Debian linux-config-7.2, 7.3: CONFIG_NTFS_FS, no CONFIG_NTFS3_FS", "ntfs"},
{".el7", ANY, NEVER, FS_KIND_F2FS, false, "kernel-3.10.0-1160.el7, kernel-3.10.0-x86_64.config", NULL},
{".el8", ANY, NEVER, FS_KIND_BTRFS, false, EL8, NULL},
{".el8", ANY, NEVER, FS_KIND_F2FS, false, EL8, NULL},
{".el9", ANY, NEVER, FS_KIND_BTRFS, false, EL9, NULL},
{".el9", ANY, NEVER, FS_KIND_F2FS, false, EL9, NULL},
{".el10", ANY, NEVER, FS_KIND_BTRFS, false, ARK, NULL},
{".el10", ANY, NEVER, FS_KIND_F2FS, false, ARK, NULL},
{"-talos", K(6, 18), K(6, 19), FS_KIND_F2FS, false, TALOS, NULL},
{"-talos", K(6, 18), K(6, 19), FS_KIND_EROFS, false, TALOS, NULL},
{"-talos", K(6, 18), K(6, 19), FS_KIND_EXFAT, false, TALOS, NULL},
{"-talos", K(6, 18), K(6, 19), FS_KIND_NTFS, false, TALOS, NULL},
{"-flatcar", K(6, 12), K(6, 13), FS_KIND_F2FS, false, FLATCAR, NULL},
{"-flatcar", K(6, 12), K(6, 13), FS_KIND_EXFAT, false, FLATCAR, NULL},
{"-flatcar", K(6, 12), K(6, 13), FS_KIND_NTFS, false, FLATCAR, NULL},
};
const size_t fs_n_distribution_drivers = sizeof(fs_distribution_drivers) / sizeof(fs_distribution_drivers[0]);
/* clang-format on */
