/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_CLOUD_DRIVE_INTERNAL_H
#define BERTH_CSI_CLOUD_DRIVE_INTERNAL_H

#include "csi/cloud/drive.h"

#include <stdbool.h>

/* @text: padded with spaces or zeros to @n bytes. */
bool drive_is_label(const uint8_t *text, size_t n, const char *label);

/* Each as drive_read_file(); the caller of drive_fat() has found a boot sector's signature. */
int drive_iso(const DriveReader *reader, const char *label, const char *const *path, size_t limit,
              char **textp, size_t *n_textp);
int drive_fat(const DriveReader *reader, const char *label, const char *const *path, size_t limit,
              char **textp, size_t *n_textp);

static inline uint32_t drive_le16(const uint8_t *at) {
        return (uint32_t)at[0] | (uint32_t)at[1] << 8;
}

static inline uint32_t drive_le32(const uint8_t *at) {
        return drive_le16(at) | drive_le16(at + 2) << 16;
}

#endif
