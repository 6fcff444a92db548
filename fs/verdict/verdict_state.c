/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the superblock tells of now: further devices, a twin with its UUID, damage, the log, what
 * may only be read.
 */

#include "fs/verdict/verdict_internal.h"

#include "common/base/cleanup.h"

#include <errno.h>

#define XFS_INCOMPAT_REPAIR 0x10U
#define XFS_INCOMPAT_ZONED  0x200U

/* mkfs.xfs makes groups of up to 1 TiB, and few of them; a growth adds groups of the first ones'
 * size. */
#define XFS_GROUPS_MANY 1000U
#define XFS_GROUP_LARGE (UINT64_C(256) << 30)

/* WRITTEN, RELOC, ERROR, SEEDING, METADUMP and its V2: the rest are unfinished conversions. */
#define BTRFS_FLAGS_FINE   ((UINT64_C(7) << 32) | 0x7U)
#define BTRFS_FLAG_FSID_V2 (UINT64_C(1) << 36)

/* Errors that became exact somewhere between: 6.1 says EINVAL, 6.12 the rest. */
static int exact_errno(const VerdictCase *c, int os_errno) {
        if (c->host->kernel < K(6, 2))
                return EINVAL;
        return c->host->kernel >= K(6, 12) ? os_errno : 0;
}

void verdict_judge_devices(const VerdictCase *c) {
        const FsVolume *v = c->volume;

        if (v->n_devices > 1)
                verdict_add_sizes(c,
                                  (FsReason){.kind = FS_REASON_DEVICES,
                                             .limit = FS_ANSWER_NO,
                                             /* Of erofs: what opening the tag says. */
                                             .os_errno = v->kind == FS_KIND_BTRFS
                                                                 ? exact_errno(c, ENOENT)
                                                         : v->kind == FS_KIND_EROFS ? 0
                                                                                    : EINVAL},
                                  v->n_devices, 1);
        if (v->state & FS_STATE_SEED)
                verdict_add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_EXTERNAL_LOG)
                verdict_add_plain(c, FS_REASON_LOG_DEVICE,
                                  v->kind == FS_KIND_EXT ? FS_ANSWER_RO_NORECOVERY : FS_ANSWER_NO,
                                  v->kind == FS_KIND_EXT ? exact_errno(c, ENXIO) : EINVAL);
        if (v->state & FS_STATE_REALTIME && !(v->words[FS_CLASS_INCOMPAT] & XFS_INCOMPAT_ZONED))
                verdict_add_plain(c, FS_REASON_RT_DEVICE, FS_ANSWER_NO,
                                  fs_host_gate(c->host, FS_GATE_XFS_RT, NULL) ? EINVAL : ENOSYS);
        if (c->situation.device_read_only) {
                if (v->log == FS_LOG_DIRTY)
                        verdict_add_plain(c, FS_REASON_LOG_RO, FS_ANSWER_RO_NORECOVERY, EACCES);
                verdict_add_plain(c, FS_REASON_RO_DEVICE, FS_ANSWER_RO, EACCES);
        }
}

void verdict_judge_uuid(const VerdictCase *c) {
        if (!c->situation.uuid_mounted)
                return;
        if (c->volume->kind == FS_KIND_XFS) {
                c->verdict->options |= FS_OPTION_NOUUID;
                verdict_add_plain(c, FS_REASON_UUID, FS_ANSWER_RW, EINVAL);
        } else if (c->volume->kind == FS_KIND_BTRFS) {
                bool temp =
                        c->host->btrfs_temp_fsid == FS_TRI_YES ||
                        (c->host->btrfs_temp_fsid == FS_TRI_UNKNOWN && c->host->kernel >= K(6, 7));

                if (!temp)
                        verdict_add(c, (FsReason){.kind = FS_REASON_UUID,
                                                  .limit = FS_ANSWER_NO,
                                                  .need_kernel = K(6, 7),
                                                  .os_errno = EEXIST});
        }
}

/* --- state --- */

/* Kernels that could change the UUID themselves, 5.0 to 6.6, take that flag away and mount. */
static void judge_super_flags(const VerdictCase *c) {
        uint64_t flags = c->volume->words[FS_CLASS_FLAGS] & ~BTRFS_FLAGS_FINE;

        if (c->host->kernel >= K(5, 0) && c->host->kernel < K(6, 7))
                flags &= ~BTRFS_FLAG_FSID_V2;
        if (flags)
                verdict_add(c,
                            (FsReason){.kind = FS_REASON_SUPER_FLAGS,
                                       .limit = FS_ANSWER_NO,
                                       .class = FS_CLASS_FLAGS,
                                       .bit = flags,
                                       .os_errno = flags & BTRFS_FLAG_FSID_V2 ? EAGAIN : EINVAL});
}

static void judge_orphan_file(const VerdictCase *c) {
        FsHas has = fs_kernel_has(FS_CHANGE_EXT_ORPHAN_512, c->host->kernel);

        if (has)
                verdict_add(c, (FsReason){.kind = FS_REASON_ORPHAN_FILE,
                                          .limit = FS_ANSWER_NO,
                                          .os_errno = EUCLEAN,
                                          .confidence = has == FS_HAS ? FS_CONFIDENCE_HIGH
                                                                      : FS_CONFIDENCE_LOW});
}

void verdict_judge_integrity(const VerdictCase *c) {
        const FsVolume *v = c->volume;
        int checksum_errno = v->kind == FS_KIND_XFS                                ? EUCLEAN
                             : v->kind == FS_KIND_BTRFS || v->kind == FS_KIND_F2FS ? EINVAL
                             : v->block_bytes > c->host->page_bytes                ? 0
                                                                                   : EBADMSG;

        if (v->checksum == FS_CHECKSUM_BAD)
                verdict_add_plain(c, FS_REASON_CHECKSUM, FS_ANSWER_NO, checksum_errno);
        if (v->state & FS_STATE_MALFORMED)
                /* Each value has an error of its own. */
                verdict_add(c, (FsReason){.kind = FS_REASON_MALFORMED,
                                          .limit = FS_ANSWER_NO,
                                          .confidence = c->host->kernel < v->problem_since
                                                                ? FS_CONFIDENCE_LOW
                                                                : FS_CONFIDENCE_HIGH});
        if (v->state & FS_STATE_RT_INODES && fs_host_gate(c->host, FS_GATE_XFS_RT, NULL))
                verdict_add_plain(c, FS_REASON_MALFORMED, FS_ANSWER_NO, 0);
        if (v->state & FS_STATE_SHUTS_DOWN)
                verdict_add_plain(c, FS_REASON_SHUTS_DOWN, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_ORPHAN_FILE_LARGE)
                judge_orphan_file(c);
        if (v->state & FS_STATE_GROUPS_BROKEN)
                verdict_add_plain(c, FS_REASON_GROUPS, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_NIL_UUID)
                verdict_add_plain(c, FS_REASON_UUID, FS_ANSWER_NO, EINVAL);
        if (v->kind == FS_KIND_XFS && v->state & FS_STATE_NEEDS_REPAIR)
                verdict_add(
                        c, (FsReason){.kind = FS_REASON_REPAIR,
                                      .limit = c->host->kernel >= K(6, 12) ? FS_ANSWER_RO_NORECOVERY
                                                                           : FS_ANSWER_NO,
                                      .os_errno = fs_host_has(c->host, v->kind, FS_CLASS_INCOMPAT,
                                                              XFS_INCOMPAT_REPAIR, NULL)
                                                          ? EUCLEAN
                                                          : EINVAL});
        if (v->state & FS_STATE_IN_PROGRESS)
                verdict_add_plain(c, FS_REASON_REPAIR, FS_ANSWER_NO, EUCLEAN);
        if (v->kind == FS_KIND_BTRFS)
                judge_super_flags(c);
}

void verdict_judge_log(const VerdictCase *c) {
        const FsVolume *v = c->volume;

        if (v->log == FS_LOG_DIRTY && v->log_order != FS_BYTE_ORDER_UNKNOWN &&
            v->log_order != c->host->byte_order)
                verdict_add_plain(c, FS_REASON_LOG_ORDER, FS_ANSWER_RO_NORECOVERY, EIO);
        if (v->kind != FS_KIND_F2FS && v->log == FS_LOG_UNREADABLE)
                verdict_add_plain(c, FS_REASON_LOG_DAMAGED, FS_ANSWER_RO_NORECOVERY, 0);
        if (v->state & FS_STATE_JOURNAL_SMALL && c->host->kernel >= K(5, 10))
                verdict_add_plain(c, FS_REASON_LOG_DAMAGED, FS_ANSWER_RO_NORECOVERY, EINVAL);
        /* How much is enough differs by kernel. */
        if (v->state & FS_STATE_LOG_SHORT)
                verdict_add(c, (FsReason){.kind = FS_REASON_UNCONFIRMED,
                                          .confidence = FS_CONFIDENCE_LOW});
        if (v->state & FS_STATE_MMP_BROKEN)
                verdict_add_plain(c, FS_REASON_MMP_BLOCK, FS_ANSWER_RO, 0);
        else if (v->state & FS_STATE_MMP)
                verdict_add_plain(c, FS_REASON_MMP, FS_ANSWER_RW, 0);
}

void verdict_judge_format(const VerdictCase *c) {
        const FsVolume *v = c->volume;

        if (v->kind == FS_KIND_EROFS || v->kind == FS_KIND_SQUASHFS)
                verdict_add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO, 0);
        if (v->state & FS_STATE_FORCED_RO)
                verdict_add_plain(c, FS_REASON_RO_FORMAT, FS_ANSWER_RO,
                                  v->kind == FS_KIND_XFS ? EROFS : 0);
        if (v->n_groups > XFS_GROUPS_MANY && v->fs_bytes / v->n_groups < XFS_GROUP_LARGE)
                verdict_add(c, (FsReason){.kind = FS_REASON_MANY_GROUPS, .have = v->n_groups});
        if (v->state & FS_STATE_ERRORS ||
            (v->kind == FS_KIND_F2FS && v->state & FS_STATE_NEEDS_REPAIR))
                verdict_add_plain(c, FS_REASON_ERRORS, FS_ANSWER_RW, 0);
}
