/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules. Each looks at one thing and adds at most one reason; the verdict is the worst of them.
 * Kernel numbers of block-size rules: fs/ext4/super.c, fs/xfs/xfs_mount.c, fs/btrfs/disk-io.c,
 * fs/f2fs/super.c, fs/erofs/super.c and fs/squashfs/super.c of the versions named.
 */

#include "fs/verdict/verdict.h"

#include "common/base/str.h"

#include <errno.h>
#include <string.h>

#define K(major, minor) FS_VERSION(major, minor, 0)

#define EXT_COMPAT_JOURNAL  0x4U
#define EXT_INCOMPAT_CRYPT  0x10000U
#define EXT_INCOMPAT_FOLD   0x20000U
#define F2FS_CRYPT          0x1U
#define F2FS_FOLD           0x1000U
#define EXT_RO_VERITY       0x8000U
#define XFS_INCOMPAT_REPAIR 0x10U
#define XFS_INCOMPAT_ZONED  0x200U
#define BTRFS_RO_GROUP_TREE 0x8U

/* mkfs.xfs makes groups of up to 1 TiB, and few of them; a growth adds groups of the first ones'
 * size. */
#define XFS_GROUPS_MANY 1000U
#define XFS_GROUP_LARGE (UINT64_C(256) << 30)

/* WRITTEN, RELOC, ERROR, SEEDING, METADUMP and its V2: the rest are unfinished conversions. */
#define BTRFS_FLAGS_FINE   ((UINT64_C(7) << 32) | 0x7U)
#define BTRFS_FLAG_FSID_V2 (UINT64_C(1) << 36)

typedef struct Case {
        const FsVolume *volume;
        const FsHost *host;
        FsSituation situation;
        FsVerdict *verdict;
} Case;

static void add(const Case *c, FsReason reason) {
        FsVerdict *verdict = c->verdict;
        size_t at = verdict->n_reasons;

        if (reason.limit > verdict->answer)
                verdict->answer = reason.limit;
        if (at == FS_REASONS_MAX) {
                verdict->more = true;
                if (verdict->reasons[at - 1].limit >= reason.limit)
                        return;
                at--;
        } else {
                verdict->n_reasons++;
        }
        /* Worst first, and in the order of the rules among equals. */
        while (at > 0 && verdict->reasons[at - 1].limit < reason.limit) {
                verdict->reasons[at] = verdict->reasons[at - 1];
                at--;
        }
        verdict->reasons[at] = reason;
}

static void add_plain(const Case *c, FsReasonKind kind, FsAnswer limit, int os_errno) {
        add(c, (FsReason){.kind = kind, .limit = limit, .os_errno = os_errno});
}

static void add_sizes(const Case *c, FsReason reason, uint64_t need, uint64_t have) {
        reason.need = need;
        reason.have = have;
        add(c, reason);
}

/* --- feature words --- */

/* @first in a stable series, known to have a change of a later release. */
static bool is_stable(uint32_t kernel, uint32_t first) {
        return kernel >= first && FS_VERSION_MAJOR(kernel) == FS_VERSION_MAJOR(first) &&
               FS_VERSION_MINOR(kernel) == FS_VERSION_MINOR(first);
}

/* XFS checks what it writes: before 6.13 it took a compat bit that it did not know for a corruption
 * and shut down. */
static bool xfs_writes_unknown_compat(uint32_t kernel) {
        return kernel >= K(6, 13) || is_stable(kernel, FS_VERSION(6, 12, 95)) ||
               is_stable(kernel, FS_VERSION(6, 1, 176));
}

static bool btrfs_makes_up_groups(uint32_t kernel) {
        return is_stable(kernel, FS_VERSION(5, 15, 135)) ||
               is_stable(kernel, FS_VERSION(5, 10, 262));
}

/* Before 5.15 a V5 superblock's V4 words were not looked at. */
static bool is_ignored_word(const Case *c, FsClass class) {
        return c->volume->kind == FS_KIND_XFS && c->host->kernel < K(5, 15) &&
               c->volume->words[FS_CLASS_VERSION] == 1U << 5 &&
               (class == FS_CLASS_VERSIONNUM || class == FS_CLASS_FEATURES2);
}

/* In a series that took such a change at a number that is not known. */
static FsConfidence missing_confidence(const Case *c, FsClass class, uint64_t bit) {
        static const uint32_t xfs[] = {FS_VERSION(6, 12, 95), FS_VERSION(6, 6, 200),
                                       FS_VERSION(6, 1, 176)};
        static const uint32_t xfs_ro[] = {FS_VERSION(5, 15, 4095), FS_VERSION(5, 10, 262)};
        static const uint32_t btrfs[] = {FS_VERSION(5, 15, 135), FS_VERSION(5, 10, 262)};
        bool is_xfs = c->volume->kind == FS_KIND_XFS && class == FS_CLASS_COMPAT;
        bool is_btrfs = c->volume->kind == FS_KIND_BTRFS && class == FS_CLASS_RO_COMPAT &&
                        bit == BTRFS_RO_GROUP_TREE;
        bool is_xfs_ro = c->volume->kind == FS_KIND_XFS && class == FS_CLASS_RO_COMPAT &&
                         c->volume->log == FS_LOG_DIRTY;
        const uint32_t *list = is_xfs ? xfs : is_xfs_ro ? xfs_ro : btrfs;
        size_t n = is_xfs ? 3 : is_btrfs || is_xfs_ro ? 2 : 0;

        for (size_t i = 0; i < n; i++) {
                if (c->host->kernel < list[i] &&
                    is_stable(list[i], FS_VERSION(FS_VERSION_MAJOR(c->host->kernel),
                                                  FS_VERSION_MINOR(c->host->kernel), 0)))
                        return FS_CONFIDENCE_LOW;
        }
        return FS_CONFIDENCE_HIGH;
}

/* What a bit that the kernel does not have leaves. */
static FsAnswer missing_limit(const Case *c, FsClass class, uint64_t bit, const FsFeature *f) {
        bool dirty = c->volume->log == FS_LOG_DIRTY;
        uint32_t kernel = c->host->kernel;

        if (is_ignored_word(c, class))
                return FS_ANSWER_RW;
        switch (fs_class_unknown(c->volume->kind, class)) {
        case FS_UNKNOWN_IGNORED:
                return c->volume->kind == FS_KIND_XFS && !xfs_writes_unknown_compat(kernel)
                               ? FS_ANSWER_RO
                               : FS_ANSWER_RW;
        case FS_UNKNOWN_RO:
                /* Kernels without the tree only mount it where they make up block groups. */
                if (c->volume->kind == FS_KIND_BTRFS && bit == BTRFS_RO_GROUP_TREE) {
                        if (!btrfs_makes_up_groups(kernel))
                                return FS_ANSWER_NO;
                } else if (f && f->ro_since > kernel) {
                        return FS_ANSWER_NO;
                }
                /* Recovery writes the superblock: XFS before 6.1 checks the bits even then, and
                 * btrfs refuses to replay a tree it does not fully know. */
                if (dirty && c->volume->kind == FS_KIND_XFS && kernel < K(6, 1) &&
                    !is_stable(kernel, FS_VERSION(5, 10, 262)))
                        return FS_ANSWER_RO_NORECOVERY;
                if (dirty && c->volume->kind == FS_KIND_BTRFS)
                        return FS_ANSWER_RO_NORECOVERY;
                return FS_ANSWER_RO;
        case FS_UNKNOWN_RO_NORECOVERY:
                /* XFS looks at log bits when there is a log to recover; else it mounts, and shuts
                 * down when it first writes the superblock. */
                if (c->volume->kind == FS_KIND_XFS && !dirty)
                        return FS_ANSWER_RO;
                return FS_ANSWER_RO_NORECOVERY;
        case FS_UNKNOWN_NO:
        case FS_UNKNOWN_MISREAD:
                break;
        }
        return FS_ANSWER_NO;
}

/* erofs_load_compr_cfgs() said EINVAL; z_erofs_parse_cfgs(), which came with 6.7, EOPNOTSUPP. */
static int missing_compressor_errno(uint32_t kernel) {
        if (kernel < K(6, 6))
                return EINVAL;
        return kernel >= K(6, 7) ? EOPNOTSUPP : 0;
}

static int missing_errno(const Case *c, FsClass class) {
        if (c->volume->kind == FS_KIND_EROFS && class == FS_CLASS_ALGORITHM)
                return missing_compressor_errno(c->host->kernel);
        if (fs_class_unknown(c->volume->kind, class) == FS_UNKNOWN_MISREAD ||
            class == FS_CLASS_COMPAT)
                return 0;
        if (c->volume->kind == FS_KIND_XFS && class == FS_CLASS_LOG_INCOMPAT &&
            c->volume->log != FS_LOG_DIRTY)
                return 0;
        return EINVAL;
}

static void judge_gate(const Case *c, FsClass class, const FsFeature *f) {
        FsConfidence confidence;
        bool on = fs_host_gate(c->host, f->gate, &confidence);
        FsReason reason = {
                .class = class,
                .bit = f->bit,
                .feature = f,
                .gate = f->gate,
                .evidence = c->host->gate_evidence[f->gate],
                .confidence = confidence,
        };

        if (on && confidence == FS_CONFIDENCE_HIGH)
                return;
        reason.kind = FS_REASON_UNCONFIRMED;
        if (!on && fs_gates[f->gate].blocks_mount) {
                reason.kind = FS_REASON_GATE;
                reason.limit = f->flags & FS_FEATURE_GATE_RO_OK ? FS_ANSWER_RO : FS_ANSWER_NO;
                reason.os_errno = f->gate == FS_GATE_XFS_RT ? ENOSYS : EINVAL;
                if (c->volume->kind == FS_KIND_EROFS && class == FS_CLASS_ALGORITHM)
                        reason.os_errno = missing_compressor_errno(c->host->kernel);
        }
        if (on || fs_gates[f->gate].blocks_mount)
                add(c, reason);
}

static void judge_bit(const Case *c, FsClass class, uint64_t bit) {
        const FsFeature *f = fs_feature_find(c->volume->kind, class, bit);
        FsEvidence evidence;
        bool has = fs_host_has(c->host, c->volume->kind, class, bit, &evidence);
        FsReason reason = {
                .kind = FS_REASON_FEATURE,
                .class = class,
                .bit = bit,
                .feature = f,
                .need_kernel = f ? f->rw_since : FS_VERSION_NEVER,
                .evidence = evidence,
                .confidence = f ? f->confidence : FS_CONFIDENCE_HIGH,
        };

        if (!has) {
                reason.limit = missing_limit(c, class, bit, f);
                reason.os_errno = missing_errno(c, class);
                reason.confidence = missing_confidence(c, class, bit) == FS_CONFIDENCE_LOW
                                            ? FS_CONFIDENCE_LOW
                                            : reason.confidence;
                if (reason.limit != FS_ANSWER_RW)
                        add(c, reason);
                return;
        }
        if (!f)
                return;
        if (f->flags & FS_FEATURE_FORCES_RO) {
                reason.kind = FS_REASON_RO_FORMAT;
                reason.limit = FS_ANSWER_RO;
                reason.os_errno = c->volume->kind == FS_KIND_F2FS ? EROFS : 0;
                add(c, reason);
        }
        if (f->flags & FS_FEATURE_EXPERIMENTAL && f->gate == FS_GATE_NONE &&
            c->host->kernel < K(7, 3)) {
                reason.kind = FS_REASON_EXPERIMENTAL;
                reason.limit = FS_ANSWER_RW;
                add(c, reason);
        }
        if (f->gate != FS_GATE_NONE)
                judge_gate(c, class, f);
}

static void judge_features(const Case *c) {
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t word = c->volume->words[class];

                if (class == FS_CLASS_FLAGS)
                        continue;
                while (word) {
                        uint64_t bit = word & (0 - word);

                        word &= ~bit;
                        judge_bit(c, class, bit);
                }
        }
}

/* Names that are both folded and encrypted need a hash that ext4 and f2fs have since 5.13. */
static void judge_folded_crypt(const Case *c) {
        bool ext = c->volume->kind == FS_KIND_EXT, f2fs = c->volume->kind == FS_KIND_F2FS;
        FsClass class = ext ? FS_CLASS_INCOMPAT : FS_CLASS_FEATURE;
        uint64_t both = ext ? EXT_INCOMPAT_CRYPT | EXT_INCOMPAT_FOLD : F2FS_CRYPT | F2FS_FOLD;

        if ((!ext && !f2fs) || (c->volume->words[class] & both) != both ||
            c->host->kernel >= K(5, 13))
                return;
        add(c, (FsReason){.kind = FS_REASON_FEATURE,
                          .limit = FS_ANSWER_NO,
                          .class = class,
                          .bit = both,
                          .feature = fs_feature_find(c->volume->kind, class,
                                                     ext ? EXT_INCOMPAT_FOLD : F2FS_FOLD),
                          .need_kernel = K(5, 13),
                          .os_errno = EINVAL});
}

static void judge_driver(const Case *c) {
        if (c->host->drivers[c->volume->kind] == FS_TRI_NO)
                add(c, (FsReason){
                               .kind = FS_REASON_DRIVER,
                               .limit = FS_ANSWER_NO,
                               .need_kernel = fs_driver_since(c->volume->kind),
                               .os_errno = ENODEV,
                       });
}

/* --- block size against page size --- */

/* Blocks above a page are folios of that order, which only this option gives. */
static void judge_large_blocks(const Case *c, int os_errno) {
        FsConfidence confidence;
        bool on = fs_host_gate(c->host, FS_GATE_THP, &confidence);

        if (on && confidence == FS_CONFIDENCE_HIGH)
                return;
        add_sizes(c,
                  (FsReason){.kind = on ? FS_REASON_UNCONFIRMED : FS_REASON_GATE,
                             .limit = on ? FS_ANSWER_RW : FS_ANSWER_NO,
                             .gate = FS_GATE_THP,
                             .evidence = c->host->gate_evidence[FS_GATE_THP],
                             .confidence = confidence,
                             .os_errno = on ? 0 : os_errno},
                  c->volume->block_bytes, c->host->page_bytes);
}

static void judge_ext_block(const Case *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes,
                 kernel = c->host->kernel;
        bool crypt = c->volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_CRYPT;
        bool verity = c->volume->words[FS_CLASS_RO_COMPAT] & EXT_RO_VERITY;
        bool told = c->host->ext_large_blocks != FS_TRI_UNKNOWN;
        bool large = told ? c->host->ext_large_blocks == FS_TRI_YES : kernel >= K(6, 19);
        FsReason reason = {.kind = FS_REASON_BLOCK_SIZE, .limit = FS_ANSWER_NO, .os_errno = EINVAL};

        if (block > page && (!large || crypt)) {
                reason.need_kernel = crypt ? FS_VERSION_NEVER : K(6, 19);
                add_sizes(c, reason, block, page);
        } else if (block > page) {
                if (!told)
                        judge_large_blocks(c, EINVAL);
        } else if (block != page && ((crypt && kernel < K(5, 5)) ||
                                     (verity && kernel >= K(5, 4) && kernel < K(6, 3)))) {
                reason.need_kernel = verity ? K(6, 3) : K(5, 5);
                reason.feature = crypt && kernel < K(5, 5)
                                         ? fs_feature_find_name(FS_KIND_EXT, "encrypt")
                                         : fs_feature_find_name(FS_KIND_EXT, "verity");
                add_sizes(c, reason, block, page);
        }
}

static void judge_xfs_block(const Case *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        bool v5 = c->volume->words[FS_CLASS_VERSION] == 1U << 5;

        if (block <= page)
                return;
        if (v5 && c->host->kernel >= K(6, 12)) {
                judge_large_blocks(c, ENOSYS);
                if (c->host->kernel < K(6, 19))
                        add(c, (FsReason){.kind = FS_REASON_EXPERIMENTAL,
                                          .need = block,
                                          .have = page});
                return;
        }
        add_sizes(c,
                  (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                             .limit = FS_ANSWER_NO,
                             .need_kernel = v5 ? K(6, 12) : FS_VERSION_NEVER,
                             .os_errno = ENOSYS},
                  block, page);
}

/* First kernel that takes this sector size on this page size; NEVER: none without experiments. */
static uint32_t btrfs_block_since(uint32_t block, uint32_t page) {
        if (block == page)
                return FS_VERSION_ANY;
        if (block > page)
                return FS_VERSION_NEVER;
        if (block == 4096)
                return page == 65536 ? K(5, 15) : K(5, 19);
        return K(7, 3);
}

static void judge_btrfs_block(const Case *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        uint32_t since = btrfs_block_since(block, page);
        bool told = c->host->btrfs_sector_sizes != 0;
        FsReason reason = {.kind = FS_REASON_BLOCK_SIZE,
                           .limit = FS_ANSWER_NO,
                           .need_kernel = since,
                           .os_errno = EINVAL,
                           .evidence = told ? FS_EVIDENCE_SYSFS : FS_EVIDENCE_TABLE};
        bool ok = told ? (c->host->btrfs_sector_sizes & block) == block : c->host->kernel >= since;

        if (!ok) {
                /* 5.12 to 5.14 read 4K sectors on 64K pages; not confirmed in their sources. */
                if (block == 4096 && page == 65536 && c->host->kernel >= K(5, 12) && !told) {
                        reason.limit = FS_ANSWER_RO;
                        reason.confidence = FS_CONFIDENCE_LOW;
                }
                add_sizes(c, reason, block, page);
                return;
        }
        if (block < page && c->volume->state & FS_STATE_V1_SPACE_CACHE) {
                reason.feature = fs_feature_find_name(FS_KIND_BTRFS, "free_space_tree");
                reason.need_kernel = FS_VERSION_NEVER;
                add_sizes(c, reason, block, page);
        } else if (block < page && c->host->kernel < K(5, 19)) {
                add(c, (FsReason){.kind = FS_REASON_EXPERIMENTAL, .need = block, .have = page});
        }
}

/* Up to 6.6 the module does not even load where a page is not 4K. */
static void judge_f2fs_block(const Case *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        bool old = c->host->kernel < K(6, 7);

        if (block != page || (old && page != 4096))
                add_sizes(c,
                          (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                                     .limit = FS_ANSWER_NO,
                                     .need_kernel = block == page ? K(6, 7) : FS_VERSION_NEVER,
                                     .os_errno = old && page != 4096 ? ENODEV : EINVAL},
                          block, page);
}

static void judge_erofs_block(const Case *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        /* 6.1 stable took the change as well: 6.1.176 has it, and when it came is not known. */
        bool stable = c->host->kernel >= K(6, 1) && c->host->kernel < K(6, 2);
        bool sub_page =
                c->host->kernel >= K(6, 4) || (stable && c->host->kernel >= FS_VERSION(6, 1, 176));

        if (block == page || (sub_page && block < page))
                return;
        add_sizes(c,
                  (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                             .limit = FS_ANSWER_NO,
                             .need_kernel = block < page ? K(6, 4) : FS_VERSION_NEVER,
                             .confidence = stable && block < page ? FS_CONFIDENCE_LOW
                                                                  : FS_CONFIDENCE_HIGH,
                             .os_errno = EINVAL},
                  block, page);
}

static void judge_block(const Case *c) {
        if (c->volume->block_bytes == 0)
                return;
        switch (c->volume->kind) {
        case FS_KIND_EXT:
                judge_ext_block(c);
                break;
        case FS_KIND_XFS:
                judge_xfs_block(c);
                break;
        case FS_KIND_BTRFS:
                judge_btrfs_block(c);
                break;
        case FS_KIND_F2FS:
                judge_f2fs_block(c);
                break;
        case FS_KIND_EROFS:
                judge_erofs_block(c);
                break;
        case FS_KIND_SQUASHFS:
                if (c->volume->block_bytes < c->host->page_bytes)
                        add_sizes(c,
                                  (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                                             .limit = FS_ANSWER_NO,
                                             .need_kernel = FS_VERSION_NEVER,
                                             .os_errno = EINVAL},
                                  c->volume->block_bytes, c->host->page_bytes);
                break;
        case FS_KIND_NONE:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
        case FS_KIND_NTFS:
        case _FS_KIND_N:
                break;
        }
}

/* --- the device --- */

/* The largest logical sector of a device that a driver takes; 0: any. XFS, vfat and exfat compare
 * with the sector that they were made for; ext, f2fs, erofs and NTFS set their block size on the
 * device; btrfs reads its superblock in blocks of 4 KiB; squashfs takes the device's. Of NTFS'
 * drivers `ntfs` compares (ntfs_validate_mft_io_geometry()). */
static uint32_t largest_sector(const FsVolume *v, const FsHost *host) {
        if (v->kind == FS_KIND_NTFS && host->ntfs_driver && str_equal(host->ntfs_driver, "ntfs"))
                return v->sector_bytes;
        switch (v->kind) {
        case FS_KIND_EXT:
        case FS_KIND_F2FS:
        case FS_KIND_EROFS:
        case FS_KIND_NTFS:
                return v->block_bytes;
        case FS_KIND_BTRFS:
                return 4096;
        case FS_KIND_XFS:
        case FS_KIND_VFAT:
        case FS_KIND_EXFAT:
                return v->sector_bytes;
        case FS_KIND_SQUASHFS:
        case FS_KIND_NONE:
        case _FS_KIND_N:
                break;
        }
        return 0;
}

static void judge_sector(const Case *c) {
        uint32_t largest = largest_sector(c->volume, c->host),
                 logical = c->situation.logical_sector_bytes;
        uint32_t page = c->host->page_bytes;
        bool own = c->volume->kind == FS_KIND_XFS && c->volume->sector_bytes > page;

        if (largest && logical > largest)
                add_sizes(c,
                          (FsReason){.kind = FS_REASON_SECTOR_SIZE,
                                     .limit = FS_ANSWER_NO,
                                     .os_errno = c->volume->kind == FS_KIND_XFS ? ENOSYS : EINVAL},
                          logical, largest);
        /* Block devices have sectors above a page since 6.15, and XFS sets its own on the device.
         */
        else if ((own || logical > page) && c->host->kernel < K(6, 15))
                add_sizes(c,
                          (FsReason){.kind = FS_REASON_SECTOR_SIZE,
                                     .limit = FS_ANSWER_NO,
                                     .need_kernel = K(6, 15)},
                          own ? c->volume->sector_bytes : logical, page);
}

static void judge_size(const Case *c) {
        const FsVolume *v = c->volume;

        if (v->kind == FS_KIND_VFAT || v->kind == FS_KIND_EXFAT || v->kind == FS_KIND_NTFS ||
            v->device_bytes == 0 || v->fs_bytes <= v->device_bytes)
                return;
        /* erofs does not compare: what lies beyond the end cannot be read, the rest can. */
        add_sizes(c,
                  (FsReason){.kind = FS_REASON_SIZE,
                             .limit = v->kind == FS_KIND_EROFS ? FS_ANSWER_RO : FS_ANSWER_NO,
                             .os_errno = v->kind == FS_KIND_XFS     ? EIO
                                         : v->kind == FS_KIND_EROFS ? 0
                                                                    : EINVAL},
                  v->fs_bytes, v->device_bytes);
}

/* Errors that became exact somewhere between: 6.1 says EINVAL, 6.12 the rest. */
static int exact_errno(const Case *c, int os_errno) {
        if (c->host->kernel < K(6, 2))
                return EINVAL;
        return c->host->kernel >= K(6, 12) ? os_errno : 0;
}

static void judge_devices(const Case *c) {
        const FsVolume *v = c->volume;

        if (v->n_devices > 1)
                add_sizes(c,
                          (FsReason){.kind = FS_REASON_DEVICES,
                                     .limit = FS_ANSWER_NO,
                                     .os_errno = v->kind == FS_KIND_BTRFS ? exact_errno(c, ENOENT)
                                                                          : EINVAL},
                          v->n_devices, 1);
        if (v->state & FS_STATE_SEED)
                add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_EXTERNAL_LOG)
                add_plain(c, FS_REASON_LOG_DEVICE,
                          v->kind == FS_KIND_EXT ? FS_ANSWER_RO_NORECOVERY : FS_ANSWER_NO,
                          v->kind == FS_KIND_EXT ? exact_errno(c, ENXIO) : EINVAL);
        if (v->state & FS_STATE_REALTIME && !(v->words[FS_CLASS_INCOMPAT] & XFS_INCOMPAT_ZONED))
                add_plain(c, FS_REASON_RT_DEVICE, FS_ANSWER_NO,
                          fs_host_gate(c->host, FS_GATE_XFS_RT, NULL) ? EINVAL : ENOSYS);
        if (c->situation.device_read_only) {
                if (v->log == FS_LOG_DIRTY)
                        add_plain(c, FS_REASON_LOG_RO, FS_ANSWER_RO_NORECOVERY, EACCES);
                add_plain(c, FS_REASON_RO_DEVICE, FS_ANSWER_RO, EACCES);
        }
}

static void judge_uuid(const Case *c) {
        if (!c->situation.uuid_mounted)
                return;
        if (c->volume->kind == FS_KIND_XFS) {
                c->verdict->options |= FS_OPTION_NOUUID;
                add_plain(c, FS_REASON_UUID, FS_ANSWER_RW, EINVAL);
        } else if (c->volume->kind == FS_KIND_BTRFS) {
                bool temp =
                        c->host->btrfs_temp_fsid == FS_TRI_YES ||
                        (c->host->btrfs_temp_fsid == FS_TRI_UNKNOWN && c->host->kernel >= K(6, 7));

                if (!temp)
                        add(c, (FsReason){.kind = FS_REASON_UUID,
                                          .limit = FS_ANSWER_NO,
                                          .need_kernel = K(6, 7),
                                          .os_errno = EEXIST});
        }
}

/* --- state --- */

/* Kernels that could change the UUID themselves, 5.0 to 6.6, take that flag away and mount. */
static void judge_super_flags(const Case *c) {
        uint64_t flags = c->volume->words[FS_CLASS_FLAGS] & ~BTRFS_FLAGS_FINE;

        if (c->host->kernel >= K(5, 0) && c->host->kernel < K(6, 7))
                flags &= ~BTRFS_FLAG_FSID_V2;
        if (flags)
                add(c, (FsReason){.kind = FS_REASON_SUPER_FLAGS,
                                  .limit = FS_ANSWER_NO,
                                  .class = FS_CLASS_FLAGS,
                                  .bit = flags,
                                  .os_errno = flags & BTRFS_FLAG_FSID_V2 ? EAGAIN : EINVAL});
}

static void judge_integrity(const Case *c) {
        const FsVolume *v = c->volume;
        int checksum_errno = v->kind == FS_KIND_XFS                                ? EUCLEAN
                             : v->kind == FS_KIND_BTRFS || v->kind == FS_KIND_F2FS ? EINVAL
                             : v->block_bytes > c->host->page_bytes                ? 0
                                                                                   : EBADMSG;

        if (v->checksum == FS_CHECKSUM_BAD)
                add_plain(c, FS_REASON_CHECKSUM, FS_ANSWER_NO, checksum_errno);
        if (v->state & FS_STATE_MALFORMED)
                /* Each value has an error of its own. */
                add(c, (FsReason){.kind = FS_REASON_MALFORMED,
                                  .limit = FS_ANSWER_NO,
                                  .confidence = c->host->kernel < v->problem_since
                                                        ? FS_CONFIDENCE_LOW
                                                        : FS_CONFIDENCE_HIGH});
        if (v->state & FS_STATE_RT_INODES && fs_host_gate(c->host, FS_GATE_XFS_RT, NULL))
                add_plain(c, FS_REASON_MALFORMED, FS_ANSWER_NO, 0);
        if (v->state & FS_STATE_SHUTS_DOWN)
                add_plain(c, FS_REASON_SHUTS_DOWN, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_GROUPS_BROKEN)
                add_plain(c, FS_REASON_GROUPS, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_NIL_UUID)
                add_plain(c, FS_REASON_UUID, FS_ANSWER_NO, EINVAL);
        if (v->kind == FS_KIND_XFS && v->state & FS_STATE_NEEDS_REPAIR)
                add(c, (FsReason){.kind = FS_REASON_REPAIR,
                                  .limit = c->host->kernel >= K(6, 12) ? FS_ANSWER_RO_NORECOVERY
                                                                       : FS_ANSWER_NO,
                                  .os_errno = fs_host_has(c->host, v->kind, FS_CLASS_INCOMPAT,
                                                          XFS_INCOMPAT_REPAIR, NULL)
                                                      ? EUCLEAN
                                                      : EINVAL});
        if (v->state & FS_STATE_IN_PROGRESS)
                add_plain(c, FS_REASON_REPAIR, FS_ANSWER_NO, EUCLEAN);
        if (v->kind == FS_KIND_BTRFS)
                judge_super_flags(c);
}

static void judge_log(const Case *c) {
        const FsVolume *v = c->volume;

        if (v->log == FS_LOG_DIRTY && v->log_order != FS_BYTE_ORDER_UNKNOWN &&
            v->log_order != c->host->byte_order)
                add_plain(c, FS_REASON_LOG_ORDER, FS_ANSWER_RO_NORECOVERY, EIO);
        if (v->kind != FS_KIND_F2FS && v->log == FS_LOG_UNREADABLE)
                add_plain(c, FS_REASON_LOG_DAMAGED, FS_ANSWER_RO_NORECOVERY, 0);
        if (v->state & FS_STATE_JOURNAL_SMALL && c->host->kernel >= K(5, 10))
                add_plain(c, FS_REASON_LOG_DAMAGED, FS_ANSWER_RO_NORECOVERY, EINVAL);
        /* How much is enough differs by kernel. */
        if (v->state & FS_STATE_LOG_SHORT)
                add(c, (FsReason){.kind = FS_REASON_UNCONFIRMED, .confidence = FS_CONFIDENCE_LOW});
        if (v->state & FS_STATE_MMP_BROKEN)
                add_plain(c, FS_REASON_MMP_BLOCK, FS_ANSWER_RO, 0);
        else if (v->state & FS_STATE_MMP)
                add_plain(c, FS_REASON_MMP, FS_ANSWER_RW, 0);
}

static void judge_format(const Case *c) {
        const FsVolume *v = c->volume;

        if (v->kind == FS_KIND_EROFS || v->kind == FS_KIND_SQUASHFS)
                add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_FORCED_RO)
                add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO, v->kind == FS_KIND_XFS ? EROFS : 0);
        if (v->n_groups > XFS_GROUPS_MANY && v->fs_bytes / v->n_groups < XFS_GROUP_LARGE)
                add(c, (FsReason){.kind = FS_REASON_MANY_GROUPS, .have = v->n_groups});
        if (v->state & FS_STATE_ERRORS ||
            (v->kind == FS_KIND_F2FS && v->state & FS_STATE_NEEDS_REPAIR))
                add_plain(c, FS_REASON_ERRORS, FS_ANSWER_RW, 0);
}

/* --- what is fine now and will not be later --- */

static void judge_consequence(const Case *c, const FsFeature *f) {
        FsClass then;
        uint64_t bit;
        const FsFeature *set;
        FsAnswer limit;

        if (!fs_feature_consequence(f, &then, &bit) || c->volume->words[then] & bit ||
            fs_host_has(c->host, FS_KIND_EXT, then, bit, NULL))
                return;
        limit = then == FS_CLASS_RO_COMPAT ? FS_ANSWER_RO : FS_ANSWER_RO_NORECOVERY;
        set = fs_feature_find(FS_KIND_EXT, then, bit);
        if (limit > c->verdict->after_crash)
                c->verdict->after_crash = limit;
        add(c,
            (FsReason){.kind = set && set->flags & FS_FEATURE_WHILE_MOUNTED ? FS_REASON_AFTER_CRASH
                                                                            : FS_REASON_FIRST_MOUNT,
                       .class = f->class,
                       .bit = f->bit,
                       .feature = f,
                       .need_kernel = set ? set->rw_since : FS_VERSION_NEVER});
}

static void judge_consequences(const Case *c) {
        if (c->volume->kind != FS_KIND_EXT ||
            !(c->volume->words[FS_CLASS_COMPAT] & EXT_COMPAT_JOURNAL))
                return;
        for (size_t i = 0; i < fs_n_features; i++) {
                const FsFeature *f = &fs_features[i];

                if (f->kind == FS_KIND_EXT && c->volume->words[f->class] & f->bit)
                        judge_consequence(c, f);
        }
}

static uint32_t tools_version(const FsHost *host, FsKind kind) {
        static const FsTools tools[_FS_KIND_N] = {
                [FS_KIND_EXT] = FS_TOOLS_E2FSPROGS,
                [FS_KIND_XFS] = FS_TOOLS_XFSPROGS,
                [FS_KIND_BTRFS] = FS_TOOLS_BTRFS,
                [FS_KIND_F2FS] = FS_TOOLS_F2FS,
        };

        if (kind != FS_KIND_EXT && tools[kind] == FS_TOOLS_E2FSPROGS)
                return FS_TOOLS_UNKNOWN;
        return host->tools[tools[kind]];
}

/* Tools refuse what they do not know in every class, also where the kernel would not mind. */
static void judge_tools(const Case *c) {
        uint32_t tools = tools_version(c->host, c->volume->kind);

        if (tools == FS_TOOLS_UNKNOWN || tools == FS_TOOLS_ABSENT)
                return;
        for (FsClass class = 0; class < _FS_CLASS_N; class ++) {
                uint64_t word = class == FS_CLASS_FLAGS ? 0 : c->volume->words[class];

                while (word) {
                        uint64_t bit = word & (0 - word);
                        const FsFeature *f = fs_feature_find(c->volume->kind, class, bit);

                        word &= ~bit;
                        if (f && f->tool_since <= tools)
                                continue;
                        add(c, (FsReason){.kind = FS_REASON_TOOLS,
                                          .class = class,
                                          .bit = bit,
                                          .feature = f,
                                          .need = f ? f->tool_since : FS_VERSION_NEVER,
                                          .have = tools});
                        return;
                }
        }
}

/* Of the worst reason, but that a driver must be there first, and that features are looked at
 * before the log. */
static int first_errno(const FsVerdict *verdict) {
        for (size_t i = 0; i < verdict->n_reasons; i++)
                if (verdict->reasons[i].os_errno == ENODEV)
                        return ENODEV;
        if (verdict->reasons[0].kind == FS_REASON_LOG_ORDER)
                for (size_t i = 1; i < verdict->n_reasons; i++)
                        if (verdict->reasons[i].kind == FS_REASON_FEATURE &&
                            verdict->reasons[i].os_errno)
                                return verdict->reasons[i].os_errno;
        return verdict->reasons[0].os_errno;
}

static void judge_all(const Case *c) {
        judge_driver(c);
        judge_integrity(c);
        judge_features(c);
        judge_folded_crypt(c);
        judge_block(c);
        judge_sector(c);
        judge_size(c);
        judge_devices(c);
        judge_uuid(c);
        judge_log(c);
        judge_format(c);
        judge_consequences(c);
        judge_tools(c);
}

/* Where the page size was taken for granted, and another one would have another answer. */
static bool rests_on_page(const Case *c) {
        static const uint32_t pages[] = {4096, 16384, 65536};

        for (size_t i = 0; c->host->page_assumed && i < 3; i++) {
                FsHost host = *c->host;
                FsVerdict verdict = {0};
                Case other = {.volume = c->volume,
                              .host = &host,
                              .situation = c->situation,
                              .verdict = &verdict};

                host.page_bytes = pages[i];
                judge_all(&other);
                if (verdict.answer != c->verdict->answer)
                        return true;
        }
        return false;
}

/* No number tells which drivers a kernel was built with: ext is in all that run nodes. */
static FsConfidence driver_confidence(const Case *c) {
        if (c->host->driver_evidence[c->volume->kind] == FS_EVIDENCE_BACKPORT)
                return FS_CONFIDENCE_MEDIUM;
        if (c->host->drivers[c->volume->kind] != FS_TRI_UNKNOWN || c->volume->kind == FS_KIND_EXT)
                return FS_CONFIDENCE_HIGH;
        return c->volume->kind == FS_KIND_NTFS ? FS_CONFIDENCE_LOW : FS_CONFIDENCE_MEDIUM;
}

static FsConfidence lesser(FsConfidence a, FsConfidence b) {
        return a > b ? a : b;
}

void fs_verdict(const FsVolume *volume, const FsHost *host, const FsSituation *situation,
                FsVerdict *verdict) {
        Case c = {.volume = volume, .host = host, .verdict = verdict};

        if (situation)
                c.situation = *situation;
        memset(verdict, 0, sizeof(*verdict));
        judge_all(&c);
        if (verdict->answer > verdict->after_crash)
                verdict->after_crash = verdict->answer;
        verdict->confidence = lesser(host->confidence, driver_confidence(&c));
        if (rests_on_page(&c))
                verdict->confidence = lesser(verdict->confidence, FS_CONFIDENCE_MEDIUM);
        for (size_t i = 0; i < verdict->n_reasons; i++) {
                const FsReason *reason = &verdict->reasons[i];

                if (reason->confidence > verdict->confidence &&
                    (reason->limit != FS_ANSWER_RW || reason->kind == FS_REASON_UNCONFIRMED))
                        verdict->confidence = reason->confidence;
        }
        if (verdict->n_reasons && verdict->answer != FS_ANSWER_RW)
                verdict->expected_errno = first_errno(verdict);
}
