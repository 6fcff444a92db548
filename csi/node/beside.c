/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A disk is mounted, or it is shown raw to pods, and never both: who writes to the device destroys
 * what the kernel has mounted, and a filesystem that is made there destroys what a pod has. The
 * kernel does not tell: a mount does not keep others from opening the device, nor they a mount.
 */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_sysfs.h"
#include "common/mount/mount_query.h"
#include "common/mount/mountinfo.h"
#include "csi/kubelet/volumes.h"
#include "csi/node/growing.h"
#include "csi/node/marker.h"
#include "csi/node/node_internal.h"

#include "fs/formats/format.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

/* --- mounted --- */

/* btrfs has numbers of its own, and its source is what it was mounted by. Any other path may lead
 * to what hangs. */
static uint64_t device_of(const Mount *mount) {
        struct stat source;

        if (major(mount->dev) != 0)
                return mount->dev;
        if (str_has_prefix(mount->source, "/dev/") && stat(mount->source, &source) == 0 &&
            S_ISBLK(source.st_mode))
                return source.st_rdev;
        return 0;
}

int job_check_not_mounted(const Job *job, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        cleanup(mount_table_freep) MountTable *table = NULL;
        const Device *device = &job->device.device;
        uint64_t devno, last = 0;
        int r = mountinfo_read(&table);

        if (r != 0)
                return error_set_errno(err, r < 0 ? r : -EIO, "read mountinfo");
        for (size_t i = 0; i < table->n_mounts; i++) {
                devno = device_of(&table->mounts[i]);
                /* Many mounts are of one filesystem. */
                if (devno == 0 || devno == last)
                        continue;
                last = devno;
                if (block_sysfs_is_on(root_fd, devno, device->devno) > 0)
                        return error_set(err, ERROR_PRECONDITION,
                                         "%s is mounted at %s: it is no raw block device for a pod "
                                         "until it is unmounted",
                                         device->path, table->mounts[i].target);
        }
        return 0;
}

/* --- shown --- */

/* Only a device node can be bound from these, and none is a whole tree. */
static bool is_node(const Mount *mount, uint64_t *devnop) {
        struct stat status;

        if ((!str_equal(mount->fs_type, "devtmpfs") && !str_equal(mount->fs_type, "tmpfs")) ||
            str_equal(mount->root, "/") || lstat(mount->target, &status) < 0 ||
            !S_ISBLK(status.st_mode))
                return false;
        *devnop = status.st_rdev;
        return true;
}

int job_check_not_shown(const Job *job, const Device *device, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        cleanup(mount_table_freep) MountTable *table = NULL;
        char root[PATH_MAX];
        uint64_t devno;
        int r = node_root_real(&job->node->root, root, err);

        if (r < 0)
                return r;
        r = mountinfo_read(&table);
        if (r != 0)
                return error_set_errno(err, r < 0 ? r : -EIO, "read mountinfo");
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];

                if (!node_root_below(root, mount->target) || !is_node(mount, &devno))
                        continue;
                /* A partition, too, of a disk that is shown as a whole. */
                if (block_sysfs_is_on(root_fd, devno, device->devno) > 0 ||
                    block_sysfs_is_on(root_fd, device->devno, devno) > 0)
                        return error_set(err, ERROR_PRECONDITION,
                                         "%s is published as a raw block device at %s: it is "
                                         "neither formatted nor mounted until it is unpublished",
                                         device->path, mount->target);
        }
        return 0;
}

/* --- notes of what was being done to its filesystem --- */

typedef struct Forget {
        const char *volume_id;
        const uint8_t *uuid; /* of the filesystem on the device; NULL: none */
} Forget;

/* What is mounted there may hang, and notes are below it only. */
static bool is_mount_root(int fd) {
        cleanup(mount_status_deinit) MountStatus status = {0};

        return mount_query(fd, MOUNT_QUERY_SHORT, &status) != 0 || status.is_root;
}

static int forget(int parent_fd, const char *name, void *userdata) {
        const Forget *wanted = userdata;
        cleanup(closep) int fd =
                openat(parent_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        const NodePath path = {.parent_fd = parent_fd, .fd = fd, .type = S_IFDIR};
        int r = 0;

        if (fd < 0 || is_mount_root(fd))
                return 0;
        if (marker_names(&path, wanted->volume_id))
                r = marker_remove(&path);
        if (r == 0 && wanted->uuid && growing_read(&path, wanted->uuid) != GROWING_NONE)
                r = growing_end(&path);
        return r;
}

int job_forget_notes(const Job *job, Error *err) {
        cleanup(freep) FsVolume *volume = calloc(1, sizeof(*volume));
        Forget wanted = {.volume_id = job->volume.volume_id};
        FsReader reader;
        int r;

        if (!volume)
                return error_set_errno(err, ENOMEM, "look at %s", job->device.device.path);
        if (fs_reader_from_fd(&reader, job->device_fd) == 0 && fs_read_volume(&reader, volume) == 0)
                wanted.uuid = volume->uuid;
        r = kubelet_each_mount_point(job->node->root.here, forget, &wanted);
        return r < 0 ? error_set_errno(err, r,
                                       "remove notes about %s from kubelet's directories before it "
                                       "is a raw block device of a pod",
                                       job->device.device.path)
                     : 0;
}
