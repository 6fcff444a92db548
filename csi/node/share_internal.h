/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_SHARE_INTERNAL_H
#define BERTH_CSI_NODE_SHARE_INTERNAL_H

/* What the files about shares have in common. */

#include "common/mount/mountinfo.h"
#include "csi/node/share.h"

#include <limits.h>

/* As mountinfo has it: the way there may have links, which kubelet's root may be one of. */
int share_real_path(const NodePath *path, char text[PATH_MAX], Error *err);

/* The topmost mount at @path; NULL: none. @tablep: owns it. */
int share_find_mount(const NodePath *path, MountTable **tablep, const Mount **mountp, Error *err);

/* Whether a mount is of @source, or of what the server led that to. */
bool share_is_of(const Node *node, const Mount *mount, const char *source);

#endif
