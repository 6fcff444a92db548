/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VERDICT_EXPLAIN_H
#define BERTH_FS_VERDICT_EXPLAIN_H

/*
 * After a mount that failed although the verdict allowed it, or because it was not asked: one
 * sentence from the errno, the verdict and the kernel's own words. The fs-context log is empty for
 * superblock trouble of ext4, XFS, btrfs and f2fs, so the verdict usually knows best.
 */

#include "fs/verdict/verdict.h"

typedef struct FsFailure {
        int os_errno;        /* of the mount call */
        bool read_only;      /* it was asked read-only */
        const char *options; /* as given, without secrets; may be "" */
        const char *damage;  /* of the filesystem, as fs_find_damage() tells; NULL: none is known */
        const char *kernel_text; /* lines of the fs-context log or of /dev/kmsg; may be NULL */
} FsFailure;

/**
 * fs_explain() - one sentence, at most 400 bytes
 * @verdict: NULL if none could be made
 *
 * Also sets the code: PRECONDITION where retrying is useless, UNAVAILABLE where it may help.
 */
ErrorCode fs_explain(const FsVolume *volume, const FsHost *host, const FsVerdict *verdict,
                     const FsFailure *failure, char text[FS_SENTENCE_MAX]);

#endif
