/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VERDICT_VERDICT_H
#define BERTH_FS_VERDICT_VERDICT_H

/*
 * Pure: (what is on the volume, what the host is, how it would be mounted) -> read-write,
 * read-only, read-only without touching the log, or no, with every reason and its way out. What it
 * says is held against real mounts by tests/oracle.
 */

#include "fs/hosts/hosts.h"

/* From best to worst; a verdict is the worst of its reasons. */
typedef enum FsAnswer {
        FS_ANSWER_RW = 0,
        FS_ANSWER_RO,            /* "ro" works; it may write to replay the log */
        FS_ANSWER_RO_NORECOVERY, /* only ro with noload (ext), norecovery (XFS), rescue=nologreplay
                                    (btrfs) */
        FS_ANSWER_NO,
} FsAnswer;

typedef enum FsReasonKind {
        FS_REASON_FEATURE = 0, /* a bit this kernel does not have */
        FS_REASON_GATE,        /* it has it, and was built without an option */
        FS_REASON_DRIVER,      /* no driver */
        FS_REASON_BLOCK_SIZE,  /* block against page size */
        FS_REASON_SECTOR_SIZE, /* block or sector against the device's logical sector */
        FS_REASON_SIZE,        /* the device is shorter than the filesystem */
        FS_REASON_CHECKSUM,    /* superblock checksum */
        FS_REASON_MALFORMED,   /* values no kernel takes */
        FS_REASON_REPAIR,      /* needsrepair, inprogress */
        FS_REASON_LOG_RO,      /* dirty log, and the device cannot be written */
        FS_REASON_LOG_ORDER,   /* dirty log of the other byte order */
        FS_REASON_LOG_DEVICE,  /* log or journal on another device */
        FS_REASON_RT_DEVICE,   /* XFS realtime device */
        FS_REASON_UUID,        /* the same UUID is mounted on this host: nouuid */
        FS_REASON_DEVICES,     /* more than one device, seed */
        FS_REASON_RO_DEVICE,   /* the device cannot be written */
        FS_REASON_RO_FORMAT,   /* erofs, squashfs, read-only feature, revision */
        FS_REASON_MMP_BLOCK,   /* the multi-mount block makes no sense: no read-write mount */
        FS_REASON_SUPER_FLAGS, /* btrfs: an offline conversion was not finished */
        FS_REASON_SHUTS_DOWN,  /* damage that the first write meets */
        FS_REASON_ORPHAN_FILE, /* ext: an orphan file that is larger than the driver allows */
        FS_REASON_GROUPS,      /* ext: group descriptors are damaged */
        FS_REASON_LOG_DAMAGED, /* the log or journal makes no sense */
        /* Notes: they limit nothing today. */
        FS_REASON_ERRORS,       /* recorded errors: fsck */
        FS_REASON_MMP,          /* mount waits for the multi-mount check */
        FS_REASON_AFTER_CRASH,  /* fine while clean; not after a crash of a newer node */
        FS_REASON_FIRST_MOUNT,  /* a kernel will raise the requirement at the first rw mount */
        FS_REASON_TOOLS,        /* this host's fsck/resize refuse it */
        FS_REASON_MANY_GROUPS,  /* XFS: grown to many times its first size */
        FS_REASON_EXPERIMENTAL, /* the kernel calls it so */
        FS_REASON_UNCONFIRMED,  /* the answer rests on a guess: a vendor kernel, unread config */
        _FS_REASON_N,
} FsReasonKind;

typedef struct FsReason {
        FsReasonKind kind;
        FsAnswer limit; /* the best it leaves; RW: a note */
        FsClass class;
        uint64_t bit;
        const FsFeature *feature; /* NULL: a bit that nobody knows, or not about a feature */
        FsGate gate;
        uint32_t need_kernel; /* 0, FS_VERSION_NEVER */
        uint64_t need, have;  /* bytes, counts */
        int os_errno;         /* of a read-write attempt; 0: none, or not known */
        FsEvidence evidence;
        FsConfidence confidence;
} FsReason;

/* FsVerdict.options: what the mount must have */
enum {
        FS_OPTION_NOUUID = 1U << 0,
};

#define FS_REASONS_MAX 32

typedef struct FsVerdict {
        FsAnswer answer;
        FsAnswer after_crash; /* if a node crashes while it is mounted read-write there */
        unsigned int options; /* FS_OPTION_* */
        int expected_errno;   /* of a read-write attempt; 0 = none; what facts and sources say */
        FsConfidence confidence;
        FsReason reasons[FS_REASONS_MAX]; /* worst first */
        size_t n_reasons;
        bool more; /* there were more reasons than fit */
} FsVerdict;

/* What is not on the volume and not of the host: the device as attached there. Zeroed = unknown. */
typedef struct FsSituation {
        uint32_t logical_sector_bytes; /* of the device; 0 unknown */
        bool device_read_only;
        bool uuid_mounted; /* a filesystem with this UUID is mounted from another device */
} FsSituation;

/**
 * fs_situation_read() - the device as it is attached here: sector size, whether it can be written,
 * whether its UUID is mounted from another device
 * @fd: the device or image; for an image everything stays unknown
 *
 * Reads /proc/self/mountinfo and, only for XFS and btrfs, the superblocks of what is mounted of the
 * same type. What cannot be read stays unknown.
 */
void fs_situation_read(int fd, const FsVolume *volume, FsSituation *situation);

/* @situation may be NULL. */
void fs_verdict(const FsVolume *volume, const FsHost *host, const FsSituation *situation,
                FsVerdict *verdict);

/* "read-write", "read-only", "read-only without log recovery", "no"; and for JSON "rw", "ro",
 * "ro-norecovery", "no". Static. */
const char *fs_answer_text(FsAnswer answer);
const char *fs_answer_name(FsAnswer answer);

/* Options that make a mount of this answer possible: "", "ro", "ro,noload"... Static. */
const char *fs_answer_options(FsAnswer answer, FsKind kind);

#define FS_SENTENCE_MAX 401

/* One sentence for an event or a gRPC status: what, why, the way out. At most 400 bytes, UTF-8. */
void fs_verdict_sentence(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict,
                         char text[FS_SENTENCE_MAX]);

/* One reason, in words, with and without the way out. Returns bytes written, at most @n - 1. */
size_t fs_reason_format(const FsReason *reason, const FsVolume *volume, const FsHost *host,
                        char *text, size_t n);
size_t fs_reason_way_out(const FsReason *reason, const FsVolume *volume, const FsHost *host,
                         char *text, size_t n);

/* At most 15 bytes for a cell of a table: "nrext64", "block 64K". Returns @text. */
char *fs_reason_short(const FsReason *reason, char text[16]);

struct json_t *fs_verdict_to_json(const FsVolume *volume, const FsHost *host,
                                  const FsVerdict *verdict);

/* What the volume is, for the same JSON. */
struct json_t *fs_volume_to_json(const FsVolume *volume);

#endif
