/* SPDX-License-Identifier: Apache-2.0 */

#include "cni/spec/sysctl.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/mount/procfs.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define ROOT "/proc/"

void sysctls_close(Sysctls *sysctls) {
        if (sysctls->proc_fd >= 0)
                closep(&sysctls->proc_fd);
        sysctls->proc_fd = -1;
}

int sysctl_open(Sysctls *sysctls, const char *path, int flags) {
        int fd;

        if (sysctls->proc_fd == -1)
                sysctls->proc_fd = procfs_open();
        if (sysctls->proc_fd < 0)
                sysctls->proc_fd = AT_FDCWD;
        if (sysctls->proc_fd != AT_FDCWD && str_has_prefix(path, ROOT))
                path += strlen(ROOT);
        fd = openat(sysctls->proc_fd, path, flags | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int sysctl_read(Sysctls *sysctls, const char *path, size_t limit, char **textp) {
        cleanup(closep) int fd = sysctl_open(sysctls, path, O_RDONLY);
        int r = fd < 0 ? fd : file_read_fd(fd, limit, textp, NULL);

        if (r == 0)
                str_trim_end(*textp);
        return r;
}

int sysctl_write(Sysctls *sysctls, const char *path, const char *value) {
        cleanup(closep) int fd = sysctl_open(sysctls, path, O_WRONLY | O_NOFOLLOW);

        return fd < 0 ? fd : file_write_all(fd, value, strlen(value));
}
