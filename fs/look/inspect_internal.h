/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_LOOK_INSPECT_INTERNAL_H
#define BERTH_FS_LOOK_INSPECT_INTERNAL_H

#include "fs/look/inspect.h"

/* Adds a hit; one of the same type counts once. */
void inspect_hit(FsInspection *out, const FsHit *hit);

#endif
