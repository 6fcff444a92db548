/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_GROWING_H
#define BERTH_CSI_NODE_GROWING_H

/*
 * The note, in a staging directory, that a resize2fs of ours works on the volume. Killed with this
 * daemon at any point it leaves an invalid resize inode and free counts that are wrong, which
 * e2fsck mends without a loss, and only with -y: tried at each of its writes. Without the note
 * whatever damaged the filesystem is unknown, and a person decides.
 */

#include "csi/kubelet/path.h"

#include <stdint.h>

/* @uuid: of the filesystem. Return: 0; -errno. */
int growing_begin(const NodePath *path, const uint8_t uuid[16]);

/* Whether there is a note about this filesystem. */
bool growing_was_cut(const NodePath *path, const uint8_t uuid[16]);

/* Gone already is done. Return: 0; -errno. */
int growing_end(const NodePath *path);

#endif
