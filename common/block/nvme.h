/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_BLOCK_NVME_H
#define BERTH_BLOCK_NVME_H

/* What an NVMe namespace says of itself and sysfs does not show. Source: NVM Express 1.4, 5.15. */

#include <stdint.h>

#define NVME_IDENTIFY_BYTES 4096

/* The vendor's part of Identify Namespace. */
#define NVME_VENDOR_OFFSET 384

/**
 * nvme_identify_namespace() - Identify Namespace data structure (CNS 0)
 * @fd: of the namespace's block device, open for reading
 *
 * Return: 0; -ENOTTY for what is no NVMe namespace; -EACCES without CAP_SYS_ADMIN; -EIO the
 * controller refuses; another -errno.
 */
int nvme_identify_namespace(int fd, uint8_t data[NVME_IDENTIFY_BYTES]);

#endif
