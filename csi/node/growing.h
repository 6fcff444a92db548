/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_GROWING_H
#define BERTH_CSI_NODE_GROWING_H

/*
 * The note, in a staging directory, that a resize2fs of ours works on the volume, or failed. Killed
 * with this daemon at any point it leaves an invalid resize inode and free counts that are wrong,
 * which e2fsck mends without a loss, if it is answered: tried at each of its writes, and how it is
 * answered is in fsck_plan_cut_growth(). What one leaves that failed by itself is unknown, and may
 * need a person. Without the note a filesystem that has errors is checked as any other.
 */

#include "csi/kubelet/path.h"

#include <stdint.h>

typedef enum Growing {
        GROWING_NONE = 0,
        GROWING_CUT,    /* it was killed */
        GROWING_FAILED, /* it ended by itself, and not well */
} Growing;

/* @uuid: of the filesystem. Return: 0; -errno. */
int growing_begin(const NodePath *path, const uint8_t uuid[16]);
int growing_fail(const NodePath *path, const uint8_t uuid[16]);

/* What the note about this filesystem says. */
Growing growing_read(const NodePath *path, const uint8_t uuid[16]);

/* Gone already is done. Return: 0; -errno. */
int growing_end(const NodePath *path);

#endif
