/* SPDX-License-Identifier: Apache-2.0 */

/* Freeze and thaw a mounted filesystem. */

#include "common/block/fsfreeze.h"

#include <errno.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

int fsfreeze_freeze(int fd) {
        return ioctl(fd, FIFREEZE, 0) < 0 ? -errno : 0;
}

int fsfreeze_thaw(int fd) {
        return ioctl(fd, FITHAW, 0) < 0 ? -errno : 0;
}
