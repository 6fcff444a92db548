/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_SUPERBLOCK_H
#define BERTH_FS_VOLUME_SUPERBLOCK_H

/*
 * What a superblock says, in one plain struct for every filesystem: feature words, sizes, state.
 * Reads through a pread-style function, so that a device, an image and a fuzzer's buffer are the
 * same. It judges nothing: whether a host can mount this is fs/verdict/verdict.h, whether something
 * may be formatted over is fs/look/inspect.h.
 *
 * Work is bounded: at most FS_READS_MAX reads and FS_READ_BYTES_MAX bytes for one volume, whatever
 * the image says. Layouts: the kernel's fs/ext4/ext4.h, include/linux/jbd2.h,
 * fs/xfs/libxfs/xfs_format.h and xfs_log_format.h, include/uapi/linux/btrfs_tree.h,
 * include/linux/f2fs_fs.h, fs/erofs/erofs_fs.h, fs/squashfs/squashfs_fs.h.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FS_READS_MAX      128
#define FS_READ_BYTES_MAX 1048576U

/* One driver family; ext2, ext3 and ext4 are one (FsVolume.type tells them apart). */
typedef enum FsKind {
        FS_KIND_NONE = 0,
        FS_KIND_EXT,
        FS_KIND_XFS,
        FS_KIND_BTRFS,
        FS_KIND_F2FS,
        FS_KIND_EROFS,
        FS_KIND_SQUASHFS,
        FS_KIND_VFAT,
        FS_KIND_EXFAT,
        FS_KIND_NTFS,
        _FS_KIND_N,
} FsKind;

/* The words that gate a mount. What a class means to a kernel that does not know a bit in it is in
 * fs/features/feature.h. */
typedef enum FsClass {
        FS_CLASS_COMPAT = 0,
        FS_CLASS_RO_COMPAT,
        FS_CLASS_INCOMPAT,
        FS_CLASS_LOG_COMPAT,    /* jbd2 */
        FS_CLASS_LOG_RO_COMPAT, /* jbd2 */
        FS_CLASS_LOG_INCOMPAT,  /* jbd2, XFS */
        FS_CLASS_VERSION,       /* XFS: 1 << 4 or 1 << 5; squashfs, 1 << major */
        FS_CLASS_VERSIONNUM,    /* XFS: bits of sb_versionnum above the number */
        FS_CLASS_FEATURES2,     /* XFS V4 */
        FS_CLASS_FEATURE,       /* f2fs: its one word, which no kernel enforces */
        FS_CLASS_ALGORITHM,     /* btrfs: 1 << checksum type; squashfs, erofs: 1 << compressor */
        FS_CLASS_FLAGS,         /* btrfs super flags */
        _FS_CLASS_N,
} FsClass;

typedef enum FsChecksum {
        FS_CHECKSUM_NONE = 0, /* the format, or this one, has none */
        FS_CHECKSUM_GOOD,
        FS_CHECKSUM_BAD,
        FS_CHECKSUM_UNKNOWN, /* an algorithm that we do not know */
} FsChecksum;

/* The journal or log. A kernel replays a dirty one on any mount, also read-only. */
typedef enum FsLog {
        FS_LOG_NONE = 0,
        FS_LOG_CLEAN,
        FS_LOG_DIRTY,
        FS_LOG_EXTERNAL,   /* on another device, not looked at */
        FS_LOG_UNREADABLE, /* it is said to be there and makes no sense */
} FsLog;

typedef enum FsByteOrder {
        FS_BYTE_ORDER_UNKNOWN = 0,
        FS_BYTE_ORDER_LITTLE,
        FS_BYTE_ORDER_BIG,
} FsByteOrder;

/* FsVolume.state */
enum {
        FS_STATE_ERRORS = 1U << 0,       /* the filesystem itself recorded errors */
        FS_STATE_UNCLEAN = 1U << 1,      /* no journal, and not unmounted */
        FS_STATE_ORPHANS = 1U << 2,      /* unlinked files wait to be removed at the next mount */
        FS_STATE_NEEDS_REPAIR = 1U << 3, /* XFS needsrepair, f2fs NEED_FSCK */
        FS_STATE_IN_PROGRESS = 1U << 4,  /* XFS: mkfs or an offline tool did not finish */
        FS_STATE_FORCED_RO = 1U << 5,    /* ext: revision above 1, kernels mount it read-only; XFS:
                                            its read-only flag, kernels refuse read-write */
        FS_STATE_MMP = 1U << 6,          /* ext: MMP block says "in use" or "fsck running" */
        FS_STATE_MALFORMED = 1U << 7,    /* magic, but values no kernel takes: see problem */
        FS_STATE_TEST = 1U << 8,         /* ext: test_filesystem flag */
        FS_STATE_EXTERNAL_LOG = 1U << 9, /* needs logdev= or a journal device */
        FS_STATE_REALTIME = 1U << 10,    /* XFS: has a realtime device */
        FS_STATE_SEED = 1U << 11,        /* btrfs seed device: read-only by nature */
        FS_STATE_JOURNAL_DEVICE = 1U << 12, /* this is itself an external ext journal */
        FS_STATE_V1_SPACE_CACHE = 1U << 13, /* btrfs: the old space cache was in use */
        FS_STATE_MMP_BROKEN = 1U << 14,     /* ext: the MMP block makes no sense */
        FS_STATE_SHUTS_DOWN = 1U << 15, /* damaged where only a write notices: it shuts down then */
        FS_STATE_NIL_UUID = 1U << 16,   /* XFS: a UUID of zeros, refused */
        FS_STATE_GROUPS_BROKEN = 1U << 18, /* ext: the group descriptors' checksum is wrong */
        FS_STATE_JOURNAL_SMALL = 1U << 19, /* ext: no room in the journal for fast commits */
        FS_STATE_LOG_SHORT = 1U << 20,     /* XFS: shorter than mkfs makes it for these features */
        FS_STATE_ORPHAN_FILE_LARGE = 1U << 21, /* ext: an orphan file of more than 512 blocks */
        FS_STATE_RT_INODES = 1U << 17,         /* XFS: realtime inodes make no sense; drivers with
                                                  realtime support read them */
};

typedef struct FsVolume {
        FsKind kind;
        const char *type; /* static: "ext4", "xfs"; what mount -t takes */
        uint64_t words[_FS_CLASS_N];
        uint32_t block_bytes;  /* btrfs: its sectorsize, which is what a page size must suit */
        uint32_t sector_bytes; /* smallest unit it addresses the device in; 0: not tied */
        uint32_t node_bytes;   /* btrfs nodesize, ext cluster; else 0 */
        uint32_t inode_bytes;
        uint32_t n_groups;     /* XFS: allocation groups; else 0 */
        uint64_t fs_bytes;     /* what it claims of this device */
        uint64_t device_bytes; /* what the reader has */
        uint32_t n_devices;    /* btrfs, f2fs; else 1 */
        FsChecksum checksum;
        unsigned int state; /* FS_STATE_* */
        FsLog log;
        FsByteOrder log_order; /* XFS: who wrote the last record */
        uint32_t n_errors;     /* ext: times an error was recorded */
        bool has_uuid;
        uint8_t uuid[16];      /* what users see; for XFS meta_uuid is in metadata_uuid */
        char label[257];       /* UTF-8, unprintable bytes replaced */
        char last_mounted[65]; /* ext */
        char own_options[96]; /* ext: mount options that the superblock itself asks for, as words */
        char writer[65];      /* f2fs: uname of the kernel that wrote it last */
        char problem[96];     /* with FS_STATE_MALFORMED: which value */
        uint32_t problem_since; /* kernels before this one may not look at it; 0: all do */
        uint64_t backup_offset; /* 0: the primary was read; else where the copy was found */
} FsVolume;

/**
 * FsReader - bytes of a device
 * @read: fills all @n bytes at @offset or fails; -ENODATA beyond the end; another -errno is a read
 * error, which is passed up and never taken for "nothing there"
 */
typedef struct FsReader {
        int (*read)(void *userdata, uint64_t offset, void *buffer, size_t n);
        void *userdata;
        uint64_t size_bytes;
} FsReader;

/* Reads a block device or image with pread(2); its size is found with lseek(2). @fd is borrowed.
 * Return: 0; -errno. */
int fs_reader_from_fd(FsReader *reader, int fd);

/* Reads a buffer, borrowed. @size_bytes may be larger than @n: what lies beyond reads as zeros. */
typedef struct FsBuffer {
        const uint8_t *data;
        size_t n;
} FsBuffer;

void fs_reader_from_buffer(FsReader *reader, const FsBuffer *buffer, uint64_t size_bytes);

/* Of what reads a superblock: none is there. It says nothing about what else is. */
#define FS_E_NONE 1

/* 8-4-4-4-12 lower case. @text: 37 bytes. */
void fs_uuid_format(const uint8_t uuid[16], char text[37]);

#endif
