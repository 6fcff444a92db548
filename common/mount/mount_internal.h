/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_MOUNT_MOUNT_INTERNAL_H
#define BERTH_MOUNT_MOUNT_INTERNAL_H

/* mount(2), for kernels and sandboxes that answer ENOSYS to the new mount API. */

#include "common/mount/mount_api.h"

#include <fcntl.h>
#include <limits.h>

#define MOUNT_AT_EMPTY_PATH 0x1000

/* "/proc/self/fd/2147483647/" and one name */
#define MOUNT_PATH_MAX (32 + NAME_MAX + 1)

/* A path that follows no link but that of the descriptor. Return: 0; -EINVAL if @name is not one
 * component; -ENAMETOOLONG. */
int mount_child_path(int parent_fd, const char *name, char path[MOUNT_PATH_MAX]);

/* As the functions of mount_api.h without "legacy"; @context is already empty. */
int mount_legacy_new(const MountSpec *spec, const MountPlace *place, MountContext *context);
int mount_legacy_bind(int source_fd, const MountPlace *place, unsigned int set, unsigned int clear,
                      MountContext *context);

#endif
