/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VERDICT_VERDICT_INTERNAL_H
#define BERTH_FS_VERDICT_VERDICT_INTERNAL_H

/* The rules of a verdict, for verdict.c, which says in which order they are asked. */

#include "fs/verdict/verdict.h"

#define K(major, minor) FS_VERSION(major, minor, 0)

#define EXT_INCOMPAT_CRYPT 0x10000U

typedef struct VerdictCase {
        const FsVolume *volume;
        const FsHost *host;
        FsSituation situation;
        FsVerdict *verdict;
} VerdictCase;

/* Keeps the worst reasons, worst first, and the order of the rules among equals. */
void verdict_add(const VerdictCase *c, FsReason reason);
void verdict_add_plain(const VerdictCase *c, FsReasonKind kind, FsAnswer limit, int os_errno);
void verdict_add_sizes(const VerdictCase *c, FsReason reason, uint64_t need, uint64_t have);

/* --- features --- */

void verdict_judge_driver(const VerdictCase *c);
void verdict_judge_features(const VerdictCase *c);
void verdict_judge_folded_crypt(const VerdictCase *c);
void verdict_judge_consequences(const VerdictCase *c);
void verdict_judge_tools(const VerdictCase *c);

/* --- geometry --- */

void verdict_judge_block(const VerdictCase *c);
void verdict_judge_sector(const VerdictCase *c);
void verdict_judge_size(const VerdictCase *c);

/* --- state --- */

void verdict_judge_devices(const VerdictCase *c);
void verdict_judge_uuid(const VerdictCase *c);
void verdict_judge_integrity(const VerdictCase *c);
void verdict_judge_log(const VerdictCase *c);
void verdict_judge_format(const VerdictCase *c);

#endif
