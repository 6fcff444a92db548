/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_FEATURES_FEATURE_H
#define BERTH_FS_FEATURES_FEATURE_H

/*
 * (Not features.h: that name is libc's.)
 *
 * The feature tables: which bit is called what, which kernel has it, what else it needs, how mkfs
 * turns it on and off. They are the one source in the tree; fs/features/feature_table.c is data and
 * nothing else. tests/oracle holds them against the installed tools, /sys/fs and real mounts.
 */

#include "fs/volume/superblock.h"
#include "fs/volume/version.h"

/* Kernel configuration that a known feature still needs. */
typedef enum FsGate {
        FS_GATE_NONE = 0,
        FS_GATE_XFS_V4,
        FS_GATE_XFS_ASCII_CI,
        FS_GATE_XFS_RT,
        FS_GATE_XFS_QUOTA,
        FS_GATE_UNICODE,
        FS_GATE_QUOTA, /* CONFIG_QUOTA and CONFIG_QFMT_V2 */
        FS_GATE_THP,   /* CONFIG_TRANSPARENT_HUGEPAGE: blocks larger than a page */
        FS_GATE_BTRFS_EXPERIMENTAL,
        FS_GATE_ZONED,
        FS_GATE_F2FS_COMPRESSION,
        FS_GATE_SQUASHFS_ZLIB,
        FS_GATE_SQUASHFS_LZO,
        FS_GATE_SQUASHFS_XZ,
        FS_GATE_SQUASHFS_LZ4,
        FS_GATE_SQUASHFS_ZSTD,
        FS_GATE_EROFS_ZIP,
        FS_GATE_EROFS_LZMA,
        FS_GATE_EROFS_DEFLATE,
        FS_GATE_EROFS_ZSTD,
        FS_GATE_VERITY,     /* files cannot be opened; the mount works */
        FS_GATE_ENCRYPTION, /* likewise */
        _FS_GATE_N,
} FsGate;

typedef struct FsGateInfo {
        const char *options[3];   /* "CONFIG_QUOTA", "CONFIG_QFMT_V2", NULL: all are needed */
        uint32_t exists_since;    /* before that kernel the feature needs no option */
        uint32_t default_n_since; /* upstream default turned to n; FS_VERSION_NEVER: it is y or
                                     distributions turn it on */
        bool usually_on;          /* what to assume where the configuration cannot be read */
        bool blocks_mount;
        const char *source; /* where the option is declared */
} FsGateInfo;

extern const FsGateInfo fs_gates[_FS_GATE_N];

/* "CONFIG_QUOTA and CONFIG_QFMT_V2". Static. */
const char *fs_gate_text(FsGate gate);

/* How sure a row is: read in the sources of both sides of the step, one side, or a document. */
typedef enum FsConfidence {
        FS_CONFIDENCE_HIGH = 0,
        FS_CONFIDENCE_MEDIUM,
        FS_CONFIDENCE_LOW,
        _FS_CONFIDENCE_N,
} FsConfidence;

const char *fs_confidence_name(FsConfidence confidence);

/* FsFeature.flags */
enum {
        FS_FEATURE_RUNTIME = 1U << 0,       /* set by the kernel, not by mkfs */
        FS_FEATURE_STATE = 1U << 1,         /* says a state, not an ability */
        FS_FEATURE_WHILE_MOUNTED = 1U << 2, /* set at mount, gone after a clean unmount */
        FS_FEATURE_FORCES_RO = 1U << 3,     /* known, and the mount becomes read-only */
        FS_FEATURE_GATE_RO_OK = 1U << 4,    /* without its gate a read-only mount still works */
        FS_FEATURE_EXPERIMENTAL = 1U << 5,
        FS_FEATURE_TOOLS_REFUSE = 1U << 6, /* kernels ignore the bit, older fsck/resize refuse it */
};

typedef struct FsFeature {
        FsKind kind;
        FsClass class;
        uint64_t bit;
        const char *name;
        uint32_t rw_since, ro_since; /* kernel; FS_VERSION_ANY, FS_VERSION_NEVER */
        FsGate gate;
        unsigned int flags;
        uint32_t tool_since;   /* first mkfs/fsck that knows it; FS_VERSION_ANY */
        uint32_t tool_default; /* first whose upstream mkfs turns it on; FS_VERSION_NEVER */
        uint32_t plan_since;   /* our mkfs plan uses it when every kernel is at least this;
                                  FS_VERSION_ANY: always; FS_VERSION_NEVER: only when asked for */
        const char *mkfs_on, *mkfs_off; /* switch as typed, NULL: none */
        FsConfidence confidence;
        const char *undo; /* offline command that takes it off an unmounted volume; NULL: none */
        const char *note; /* why a number is what it is, or what a user should know; may be NULL */
        const char *source; /* the header and the macro that define the bit */
} FsFeature;

/* All rows, grouped by kind and class. */
extern const FsFeature fs_features[];
extern const size_t fs_n_features;

/* The row of @bit (one bit set); NULL: nobody knows it. */
const FsFeature *fs_feature_find(FsKind kind, FsClass class, uint64_t bit);

/* By name as mkfs and people write it ("sparse", "orphan_file"); NULL. */
const FsFeature *fs_feature_find_name(FsKind kind, const char *name);

/* The bit that @f sets by itself once it is mounted read-write (orphan_file, fast_commit: until a
 * clean unmount; metadata_csum: for good). False: none. */
bool fs_feature_consequence(const FsFeature *f, FsClass *classp, uint64_t *bitp);

/* What a kernel does with a bit it does not know. */
typedef enum FsUnknown {
        FS_UNKNOWN_IGNORED = 0,   /* mounts read-write */
        FS_UNKNOWN_RO,            /* read-write refused, read-only works */
        FS_UNKNOWN_RO_NORECOVERY, /* only when the log is not touched */
        FS_UNKNOWN_NO,
        FS_UNKNOWN_MISREAD, /* mounts, and may misread: f2fs. We refuse ourselves */
} FsUnknown;

FsUnknown fs_class_unknown(FsKind kind, FsClass class);

/* What a distribution's kernel has beyond its number. */
typedef struct FsBackport {
        const char *release_part; /* ".el7" */
        uint32_t from, before;    /* kernel version range, [from, before) */
        FsKind kind;
        FsClass class;
        uint64_t bits;
        const char *source;
} FsBackport;

extern const FsBackport fs_backports[];
extern const size_t fs_n_backports;

/* What kernels do otherwise since a change that is no feature bit. */
typedef enum FsChange {
        FS_CHANGE_XFS_WRITES_COMPAT,  /* an unknown compat bit is no corruption of what it writes */
        FS_CHANGE_XFS_RO_RECOVERY,    /* an unknown ro_compat bit is looked at after recovery */
        FS_CHANGE_BTRFS_MAKES_GROUPS, /* block groups are made up where their tree is unknown */
        FS_CHANGE_EROFS_BELOW_PAGE,   /* blocks below a page */
        FS_CHANGE_EXT_ORPHAN_512,     /* an orphan file has at most 512 blocks */
} FsChange;

typedef enum FsHas {
        FS_HAS_NOT = 0,
        FS_HAS_MAYBE, /* its series took the change at a number that is not known */
        FS_HAS,
} FsHas;

/* In kernels [maybe, before), surely from @sure on: a row for each stable series that took the
 * change, the last for mainline. */
typedef struct FsChangeRow {
        FsChange change;
        uint32_t maybe, sure, before;
        const char *source;
} FsChangeRow;

extern const FsChangeRow fs_changes[];
extern const size_t fs_n_changes;

FsHas fs_kernel_has(FsChange change, uint32_t kernel);

/* Upstream's drivers, the preferred one of a kind first. */
typedef struct FsDriver {
        FsKind kind;
        const char *name;   /* in /proc/filesystems and for a mount */
        const char *option; /* "CONFIG_NTFS3_FS" */
        uint32_t since;
        const char *source;
} FsDriver;

extern const FsDriver fs_drivers[];
extern const size_t fs_n_drivers;

/* The first kernel with any driver of @kind; FS_VERSION_ANY: the table does not know one, which is
 * no reason to call it missing. */
uint32_t fs_driver_since(FsKind kind);

/* Where a distribution's kernels have gates otherwise than upstream's default, or what its
 * configuration leaves no doubt about. Of rows that match a release the last one counts. */
typedef struct FsDistributionGate {
        const char *release_part; /* "-rt-amd64|-rt-arm64": any of them */
        uint32_t from, before;    /* kernel version range, [from, before) */
        uint32_t gates;           /* bits 1 << FsGate */
        bool on;
        const char *source; /* the configuration that was read, or a public report */
} FsDistributionGate;

extern const FsDistributionGate fs_distribution_gates[];
extern const size_t fs_n_distribution_gates;

/* Likewise for drivers that a distribution leaves out, or is known to build. UEK and ELRepo kernels
 * name themselves otherwise. */
typedef struct FsDistributionDriver {
        const char *release_part;
        uint32_t from, before;
        FsKind kind;
        bool built;
        const char *source;
        const char *name; /* which of two drivers; NULL: there is one, or it is not known */
} FsDistributionDriver;

extern const FsDistributionDriver fs_distribution_drivers[];
extern const size_t fs_n_distribution_drivers;

#endif
