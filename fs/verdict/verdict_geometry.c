/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizes: a block against the host's page, a sector against the device's, the filesystem against the
 * device. Kernel numbers: fs/ext4/super.c, fs/xfs/xfs_mount.c, fs/btrfs/disk-io.c, fs/f2fs/super.c,
 * fs/erofs/super.c and fs/squashfs/super.c of the versions named.
 */

#include "fs/verdict/verdict_internal.h"

#include "common/base/str.h"

#include <errno.h>

#define EXT_RO_VERITY 0x8000U

/* --- block size against page size --- */

/* Blocks above a page are folios of that order, which only this option gives. */
static void judge_large_blocks(const VerdictCase *c, int os_errno) {
        FsConfidence confidence;
        bool on = fs_host_gate(c->host, FS_GATE_THP, &confidence);

        if (on && confidence == FS_CONFIDENCE_HIGH)
                return;
        verdict_add_sizes(c,
                          (FsReason){.kind = on ? FS_REASON_UNCONFIRMED : FS_REASON_GATE,
                                     .limit = on ? FS_ANSWER_RW : FS_ANSWER_NO,
                                     .gate = FS_GATE_THP,
                                     .evidence = c->host->gate_evidence[FS_GATE_THP],
                                     .confidence = confidence,
                                     .os_errno = on ? 0 : os_errno},
                          c->volume->block_bytes, c->host->page_bytes);
}

static void judge_ext_block(const VerdictCase *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes,
                 kernel = c->host->kernel;
        bool crypt = c->volume->words[FS_CLASS_INCOMPAT] & EXT_INCOMPAT_CRYPT;
        bool verity = c->volume->words[FS_CLASS_RO_COMPAT] & EXT_RO_VERITY;
        bool told = c->host->ext_large_blocks != FS_TRI_UNKNOWN;
        bool large = told ? c->host->ext_large_blocks == FS_TRI_YES : kernel >= K(6, 19);
        FsReason reason = {.kind = FS_REASON_BLOCK_SIZE, .limit = FS_ANSWER_NO, .os_errno = EINVAL};

        if (block > page && (!large || crypt)) {
                reason.need_kernel = crypt ? FS_VERSION_NEVER : K(6, 19);
                verdict_add_sizes(c, reason, block, page);
        } else if (block > page) {
                if (!told)
                        judge_large_blocks(c, EINVAL);
        } else if (block != page && ((crypt && kernel < K(5, 5)) ||
                                     (verity && kernel >= K(5, 4) && kernel < K(6, 3)))) {
                reason.need_kernel = verity ? K(6, 3) : K(5, 5);
                reason.feature = crypt && kernel < K(5, 5)
                                         ? fs_feature_find_name(FS_KIND_EXT, "encrypt")
                                         : fs_feature_find_name(FS_KIND_EXT, "verity");
                verdict_add_sizes(c, reason, block, page);
        }
}

static void judge_xfs_block(const VerdictCase *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        bool v5 = c->volume->words[FS_CLASS_VERSION] == 1U << 5;

        if (block <= page)
                return;
        if (v5 && c->host->kernel >= K(6, 12)) {
                judge_large_blocks(c, ENOSYS);
                if (c->host->kernel < K(6, 19))
                        verdict_add(c, (FsReason){.kind = FS_REASON_EXPERIMENTAL,
                                                  .need = block,
                                                  .have = page});
                return;
        }
        verdict_add_sizes(c,
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

static void judge_btrfs_block(const VerdictCase *c) {
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
                verdict_add_sizes(c, reason, block, page);
                return;
        }
        if (block < page && c->volume->state & FS_STATE_V1_SPACE_CACHE) {
                reason.feature = fs_feature_find_name(FS_KIND_BTRFS, "free_space_tree");
                reason.need_kernel = FS_VERSION_NEVER;
                verdict_add_sizes(c, reason, block, page);
        } else if (block < page && c->host->kernel < K(5, 19)) {
                verdict_add(
                        c, (FsReason){.kind = FS_REASON_EXPERIMENTAL, .need = block, .have = page});
        }
}

/* Up to 6.6 the module does not even load where a page is not 4K. */
static void judge_f2fs_block(const VerdictCase *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        bool old = c->host->kernel < K(6, 7);

        if (block != page || (old && page != 4096))
                verdict_add_sizes(
                        c,
                        (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                                   .limit = FS_ANSWER_NO,
                                   .need_kernel = block == page ? K(6, 7) : FS_VERSION_NEVER,
                                   .os_errno = old && page != 4096 ? ENODEV : EINVAL},
                        block, page);
}

static void judge_erofs_block(const VerdictCase *c) {
        uint32_t block = c->volume->block_bytes, page = c->host->page_bytes;
        FsHas sub_page = fs_kernel_has(FS_CHANGE_EROFS_BELOW_PAGE, c->host->kernel);

        if (block == page || (sub_page == FS_HAS && block < page))
                return;
        verdict_add_sizes(c,
                          (FsReason){.kind = FS_REASON_BLOCK_SIZE,
                                     .limit = FS_ANSWER_NO,
                                     .need_kernel = block < page ? K(6, 4) : FS_VERSION_NEVER,
                                     .confidence = sub_page == FS_HAS_MAYBE && block < page
                                                           ? FS_CONFIDENCE_LOW
                                                           : FS_CONFIDENCE_HIGH,
                                     .os_errno = EINVAL},
                          block, page);
}

void verdict_judge_block(const VerdictCase *c) {
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
                        verdict_add_sizes(c,
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
 * device; btrfs reads its superblock in blocks of 4 KiB; squashfs takes the device's, up to a page.
 * Of NTFS' drivers `ntfs` compares (ntfs_validate_mft_io_geometry()). */
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
                return host->page_bytes;
        case FS_KIND_NONE:
        case _FS_KIND_N:
                break;
        }
        return 0;
}

/* What btrfs answers above a page is not always the same. */
static int sector_errno(const VerdictCase *c) {
        if (c->volume->kind == FS_KIND_XFS)
                return ENOSYS;
        return c->volume->kind == FS_KIND_BTRFS &&
                               c->situation.logical_sector_bytes > c->host->page_bytes
                       ? 0
                       : EINVAL;
}

void verdict_judge_sector(const VerdictCase *c) {
        uint32_t largest = largest_sector(c->volume, c->host),
                 logical = c->situation.logical_sector_bytes;
        uint32_t page = c->host->page_bytes;
        bool own = c->volume->kind == FS_KIND_XFS && c->volume->sector_bytes > page;

        if (largest && logical > largest)
                verdict_add_sizes(c,
                                  (FsReason){.kind = FS_REASON_SECTOR_SIZE,
                                             .limit = FS_ANSWER_NO,
                                             .os_errno = sector_errno(c)},
                                  logical, largest);
        /* Block devices have sectors above a page since 6.15, and XFS sets its own on the device.
         */
        else if ((own || logical > page) && c->host->kernel < K(6, 15))
                verdict_add_sizes(c,
                                  (FsReason){.kind = FS_REASON_SECTOR_SIZE,
                                             .limit = FS_ANSWER_NO,
                                             .need_kernel = K(6, 15)},
                                  own ? c->volume->sector_bytes : logical, page);
}

void verdict_judge_size(const VerdictCase *c) {
        const FsVolume *v = c->volume;

        if (v->kind == FS_KIND_VFAT || v->kind == FS_KIND_EXFAT || v->kind == FS_KIND_NTFS ||
            v->device_bytes == 0 || v->fs_bytes <= v->device_bytes)
                return;
        /* erofs does not compare: what lies beyond the end cannot be read, the rest can. */
        verdict_add_sizes(
                c,
                (FsReason){.kind = FS_REASON_SIZE,
                           .limit = v->kind == FS_KIND_EROFS ? FS_ANSWER_RO : FS_ANSWER_NO,
                           .os_errno = v->kind == FS_KIND_XFS     ? EIO
                                       : v->kind == FS_KIND_EROFS ? 0
                                                                  : EINVAL},
                v->fs_bytes, v->device_bytes);
}
