/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_CONDITION_H
#define BERTH_CSI_NODE_CONDITION_H

/*
 * Whether a published volume is well, from what the kernel says. Nothing is written, and no server
 * or disk is waited for: only what the kernel knows already is asked, and what the caller found.
 */

#include "csi/node/facts.h"

#include <sys/statvfs.h>

/* 0 and false: well, or not known. */
typedef struct ConditionFacts {
        bool is_dead;       /* the mount does not answer, or its device is gone */
        bool hangs;         /* it was asked and has not answered yet */
        bool is_forced_ro;  /* read-only without being asked */
        bool has_lost_disk; /* what it is on is not the volume's by its name any more */
        int open_errno;     /* of opening the root directory for reading */
        bool has_sizes;
        uint64_t fs_bytes; /* what the filesystem believes to have */
        uint64_t device_bytes;
        uint64_t n_errors;     /* that it recorded: ext4's superblock, btrfs' device statistics */
        const char *not_grown; /* borrowed; why it did not take its whole device; NULL: it did */
        const char *fs_type;   /* borrowed; "" for a raw block volume */
        const char *device;    /* borrowed; for messages */
} ConditionFacts;

#define CONDITION_MAX 640

/* Pure. One or more clauses into @text. Return: whether it is abnormal. */
bool condition_judge(const ConditionFacts *facts, char text[CONDITION_MAX]);

/**
 * condition_read() - @facts of a mounted filesystem
 * @facts: hangs and open_errno are the caller's
 * @target: lives as long as @facts
 * @usage:  of the same filesystem; NULL: not known
 */
void condition_read(ConditionFacts *facts, const TargetFacts *target, const struct statvfs *usage);

#endif
