/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/nvme.h"

#include <errno.h>
#include <linux/nvme_ioctl.h>
#include <string.h>
#include <sys/ioctl.h>

#define OPCODE_IDENTIFY 0x06

int nvme_identify_namespace(int fd, uint8_t data[NVME_IDENTIFY_BYTES]) {
        struct nvme_admin_cmd command = {
                .opcode = OPCODE_IDENTIFY,
                .addr = (uint64_t)(uintptr_t)data,
                .data_len = NVME_IDENTIFY_BYTES,
        };
        int r;

        r = ioctl(fd, NVME_IOCTL_ID);
        if (r < 0)
                return -errno;
        command.nsid = (uint32_t)r;
        memset(data, 0, NVME_IDENTIFY_BYTES);
        r = ioctl(fd, NVME_IOCTL_ADMIN_CMD, &command);
        if (r < 0)
                return -errno;
        return r > 0 ? -EIO : 0;
}
