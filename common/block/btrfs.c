/* SPDX-License-Identifier: Apache-2.0 */

#include "common/block/btrfs.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

static void format_uuid(const uint8_t uuid[BTRFS_FSID_SIZE], char text[37]) {
        size_t at = 0;

        for (size_t i = 0; i < BTRFS_FSID_SIZE; i++)
                at += (size_t)snprintf(text + at, 37 - at, "%s%02x",
                                       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

/* "7:3\n" */
static int parse_number(char *text, uint64_t *devnop) {
        char *colon = strchr(text, ':');
        uint64_t major_number, minor_number;

        str_trim_end(text);
        if (!colon)
                return -EINVAL;
        *colon = '\0';
        if (str_parse_u64(text, UINT_MAX, &major_number) < 0 ||
            str_parse_u64(colon + 1, UINT_MAX, &minor_number) < 0)
                return -EINVAL;
        *devnop = makedev((unsigned int)major_number, (unsigned int)minor_number);
        return 0;
}

static int read_device(const char *uuid, uint64_t *devnop) {
        cleanup(closedirp) DIR *dir = NULL;
        cleanup(freep) char *text = NULL;
        struct dirent *entry;
        char path[PATH_MAX];
        int r;

        (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices", uuid);
        dir = opendir(path);
        if (!dir)
                return -errno;
        do
                entry = readdir(dir);
        while (entry && entry->d_name[0] == '.');
        if (!entry)
                return -ENODEV;
        (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices/%.64s/dev", uuid,
                       entry->d_name);
        r = file_read_at(AT_FDCWD, path, 64, &text, NULL);
        return r < 0 ? r : parse_number(text, devnop);
}

int btrfs_get_device(int fd, uint64_t *devnop) {
        cleanup(closep) int root_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct btrfs_ioctl_fs_info_args info = {0};
        char uuid[37];

        if (root_fd < 0 || ioctl(root_fd, BTRFS_IOC_FS_INFO, &info) < 0)
                return -errno;
        if (info.num_devices != 1)
                return -E2BIG;
        format_uuid(info.fsid, uuid);
        return read_device(uuid, devnop);
}

int btrfs_forget_device(const char *path) {
        struct btrfs_ioctl_vol_args arguments = {0};
        cleanup(closep) int fd = -1;
        size_t n = strlen(path);

        if (n >= sizeof(arguments.name))
                return -ENAMETOOLONG;
        fd = open("/dev/btrfs-control", O_RDWR | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        memcpy(arguments.name, path, n);
        return ioctl(fd, BTRFS_IOC_FORGET_DEV, &arguments) < 0 ? -errno : 0;
}
