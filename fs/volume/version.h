/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_FS_VOLUME_VERSION_H
#define BERTH_FS_VOLUME_VERSION_H

#include <stdint.h>

/* Versions of kernels and tools: major, minor and patch in one comparable number. */
#define FS_VERSION(major, minor, patch)                                                            \
        (((uint32_t)(major) << 24) | ((uint32_t)(minor) << 12) | (uint32_t)(patch))
#define FS_VERSION_ANY      0U
#define FS_VERSION_NEVER    UINT32_MAX
#define FS_VERSION_MAJOR(v) ((v) >> 24)
#define FS_VERSION_MINOR(v) (((v) >> 12) & 0xfffU)
#define FS_VERSION_PATCH(v) ((v)&0xfffU)

/* "5.10", "6.1.192", "3.10.0-1160.el7.x86_64" to a version; what follows the numbers is not looked
 * at. Return: 0; -EINVAL. */
int fs_version_parse(const char *text, uint32_t *versionp);

/* "5.10"; a patch of 0 is left out. @text: 24 bytes. Returns @text. */
char *fs_version_format(uint32_t version, char text[24]);

#endif
