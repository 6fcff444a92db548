/* SPDX-License-Identifier: Apache-2.0 */
/* The device as it is attached to this node, and who else has its UUID mounted. */

#include "fs/formats/format.h"
#include "fs/verdict/verdict.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/mount/mountinfo.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Opens what a mount names as its source; only a block device, and never one that blocks. */
static bool has_uuid(const char *source, dev_t own, const FsVolume *volume) {
        cleanup(closep) int fd = open(source, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        FsReader reader;
        FsVolume other;
        struct stat st;

        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISBLK(st.st_mode) || st.st_rdev == own)
                return false;
        if (fs_reader_from_fd(&reader, fd) < 0 || fs_read_volume(&reader, &other) != 0)
                return false;
        return other.kind == volume->kind && memcmp(other.uuid, volume->uuid, 16) == 0;
}

static bool uuid_is_mounted(dev_t own, const FsVolume *volume) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        const char *last = "";

        if (volume->kind != FS_KIND_XFS && volume->kind != FS_KIND_BTRFS)
                return false;
        if (mountinfo_read(&table) != 0)
                return false;
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];

                /* Binds of one volume come in a row: look at it once. */
                if (!str_equal(mount->fs_type, volume->type) || str_equal(mount->source, last) ||
                    mount->source[0] != '/')
                        continue;
                last = mount->source;
                if (has_uuid(mount->source, own, volume))
                        return true;
        }
        return false;
}

void fs_situation_read(int fd, const FsVolume *volume, FsSituation *situation) {
        FsSituation read = {0};
        struct stat st;

        if (fstat(fd, &st) == 0 && S_ISBLK(st.st_mode)) {
                /* Each stays unknown when its ioctl fails. */
                (void)block_get_logical_sector(fd, &read.logical_sector_bytes);
                (void)block_get_read_only(fd, &read.device_read_only);
                read.uuid_mounted = uuid_is_mounted(st.st_rdev, volume);
        }
        *situation = read;
}
