/* SPDX-License-Identifier: Apache-2.0 */

#include "common/mount/procfs.h"

#include "common/base/cleanup.h"
#include "common/mount/mount_syscall.h"

int procfs_open(void) {
        cleanup(closep) int fs_fd = sys_fsopen("proc");
        int r;

        if (fs_fd < 0)
                return fs_fd;
        r = sys_fsconfig(fs_fd, MOUNT_CONFIG_CREATE, NULL, NULL);
        if (r < 0)
                return r;
        return sys_fsmount(fs_fd,
                           MOUNT_ATTRIBUTE_NOSUID | MOUNT_ATTRIBUTE_NODEV | MOUNT_ATTRIBUTE_NOEXEC);
}
