/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/facts.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "common/block/btrfs.h"
#include "common/mount/mountinfo.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/* --- device --- */

int device_is_busy(const char *path, uint64_t devno) {
        int fd = block_open(path, O_RDONLY | O_EXCL, devno);

        if (fd == -EBUSY)
                return 1;
        if (fd < 0)
                return fd;
        close(fd);
        return 0;
}

static int not_there(const DeviceFacts *facts, int r, Error *err) {
        if (r == -ENXIO || r == -ENOENT || r == -ENOTBLK || r == -ENODEV)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s is not the device any more that was found for the volume",
                                 facts->device.path);
        return error_set_errno(err, r, "open %s", facts->device.path);
}

static int read_numbers(DeviceFacts *facts, int fd, Error *err) {
        int r;

        if ((r = block_get_size(fd, &facts->size_bytes)) < 0 ||
            (r = block_get_logical_sector(fd, &facts->logical_sector_bytes)) < 0 ||
            (r = block_get_read_only(fd, &facts->is_read_only)) < 0)
                return error_set_errno(err, r, "look at %s", facts->device.path);
        if (block_get_sequence(fd, &facts->sequence) < 0)
                facts->sequence = 0;
        if (facts->device.sequence != 0 && facts->sequence != facts->device.sequence)
                return not_there(facts, -ENXIO, err);
        if (facts->size_bytes == 0)
                return error_set(err, ERROR_UNAVAILABLE, "%s has no size: it is gone or not ready",
                                 facts->device.path);
        if (facts->size_bytes < facts->device.size_bytes)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s has %" PRIu64 " bytes, the volume has %" PRIu64,
                                 facts->device.path, facts->size_bytes, facts->device.size_bytes);
        return 0;
}

static int read_name(DeviceFacts *facts, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        int r = block_sysfs_name(root_fd, facts->device.devno, facts->name);

        return r < 0 ? not_there(facts, r, err) : 0;
}

int device_facts_adopt(DeviceFacts *facts, int fd, Error *err) {
        int r = read_numbers(facts, fd, err);

        return r < 0 ? r : read_name(facts, err);
}

int device_facts_read(DeviceFacts *facts, int *fdp, Error *err) {
        cleanup(closep) int fd = -1;
        int r;

        fd = block_open(facts->device.path, O_RDONLY, facts->device.devno);
        if (fd < 0)
                return not_there(facts, fd, err);
        r = read_numbers(facts, fd, err);
        if (r < 0)
                return r;
        r = read_name(facts, err);
        if (r < 0)
                return r;
        r = device_is_busy(facts->device.path, facts->device.devno);
        if (r < 0)
                return not_there(facts, r, err);
        facts->is_free = r == 0;
        *fdp = fd_steal(&fd);
        return 0;
}

/* btrfs knows its filesystems by UUID: one that is mounted from other devices is in the way. */
static bool is_btrfs_elsewhere(const DeviceFacts *facts, const FsVolume *volume) {
        char uuid[37], path[160];

        fs_uuid_format(volume->uuid, uuid);
        (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%s", uuid);
        if (access(path, F_OK) < 0)
                return false;
        (void)snprintf(path, sizeof(path), "/sys/fs/btrfs/%s/devices/%s", uuid, facts->name);
        return access(path, F_OK) < 0;
}

FsExpect device_facts_expect(const DeviceFacts *facts) {
        return (FsExpect){.size_bytes = facts->device.size_bytes,
                          .devno = facts->device.devno,
                          .is_noise = facts->is_new_mapper,
                          .has_data = facts->has_data,
                          .userdata = facts->has_data_userdata};
}

int device_facts_inspect(DeviceFacts *facts, int fd, Error *err) {
        const FsExpect expect = device_facts_expect(facts);
        int r;

        r = fs_inspect(fd, &expect, &facts->inspection, err);
        /* What is cached of the device may be of another life of it, while somebody has it open. A
         * filesystem is mounted through the same cache; "blank" must be what is on the disk. */
        if (r == 0 && facts->inspection.find == FS_FIND_BLANK && facts->is_free) {
                (void)block_flush(fd);
                r = fs_inspect(fd, &expect, &facts->inspection, err);
        }
        if (r < 0)
                return r;
        facts->is_inspected = true;
        facts->is_uuid_mounted = facts->inspection.volume.kind == FS_KIND_BTRFS &&
                                 is_btrfs_elsewhere(facts, &facts->inspection.volume);
        return 0;
}

int device_is_bound(uint64_t devno) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        int r;

        r = mountinfo_read(&table);
        if (r < 0)
                return r;
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];
                struct stat status;

                /* Only a device node can be bound from these, and none is a whole tree. */
                if ((str_equal(mount->fs_type, "devtmpfs") || str_equal(mount->fs_type, "tmpfs")) &&
                    !str_equal(mount->root, "/") && lstat(mount->target, &status) == 0 &&
                    S_ISBLK(status.st_mode) && status.st_rdev == devno)
                        return 1;
        }
        return 0;
}

/* --- target --- */

uint64_t mount_device(const MountStatus *status) {
        struct stat source;

        if (major(status->dev) != 0)
                return status->dev;
        /* btrfs has a device number of its own; the source is the device that it was mounted by.
         * Any other path may lead to what hangs. */
        if (str_has_prefix(status->source, "/dev/") && stat(status->source, &source) == 0 &&
            S_ISBLK(source.st_mode))
                return source.st_rdev;
        return 0;
}

int mount_is_only(int fd) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        cleanup(mount_status_deinit) MountStatus status = {0};
        const Mount *mount;
        size_t n = 0;
        int r;

        r = mount_query(fd, MOUNT_QUERY_SHORT, &status);
        if (r == 0)
                r = mountinfo_read(&table);
        if (r != 0 || !status.is_root)
                return r < 0 ? r : 0;
        /* The number of the whole filesystem: what stat(2) tells is of a subvolume, on btrfs. */
        mount = mount_table_find_id(table, status.id);
        for (size_t i = 0; mount && i < table->n_mounts; i++)
                n += table->mounts[i].dev == mount->dev;
        return n == 1;
}

bool mount_is_forced_ro(const MountStatus *status) {
        if (status->is_super_read_only && !(status->flags & MOUNT_FLAG_READ_ONLY))
                return true;
        /* ext4 since Linux 6.15 stops writing without turning the whole filesystem read-only. */
        return mount_options_have(status->super_options, "emergency_ro") ||
               mount_options_have(status->super_options, "shutdown");
}

/* A filesystem on a disk that the kernel does not have any more. */
static bool is_device_gone(uint64_t devno) {
        cleanup(closep) int root_fd = file_open_root();
        uint64_t size_bytes;
        int r;

        r = block_sysfs_size(root_fd, devno, &size_bytes);
        return r == -ENODEV || (r == 0 && size_bytes == 0);
}

static int read_mount(TargetFacts *facts, int fd, Error *err) {
        int r;

        r = mount_query(fd, MOUNT_QUERY_SHORT, &facts->mount);
        if (r == 0 && facts->mount.is_root)
                r = mount_query(fd, MOUNT_QUERY_FULL, &facts->mount);
        if (node_path_is_dead_errno(r)) {
                facts->is_mounted = facts->is_dead = true;
                return 0;
        }
        if (r < 0)
                return error_set_errno(err, r, "look at the mount at %s", facts->path);
        if (!facts->mount.is_root)
                return 0;
        facts->is_mounted = true;
        if (!str_equal(facts->mount.fs_type, "btrfs") ||
            btrfs_get_device(fd, &facts->mounted_on) < 0)
                facts->mounted_on = mount_device(&facts->mount);
        facts->is_dead = facts->mounted_on != 0 && is_device_gone(facts->mounted_on);
        facts->is_forced_ro = mount_is_forced_ro(&facts->mount);
        (void)snprintf(facts->source_name, sizeof(facts->source_name), "%.60s",
                       facts->mount.source);
        str_make_utf8(facts->source_name);
        return 0;
}

int target_facts_read(TargetFacts *facts, const NodePath *path, const DeviceFacts *device,
                      Error *err) {
        cleanup(closep) int root_fd = -1;
        struct stat status;
        int r;

        facts->path = path->text;
        facts->type = path->type;
        if (path->is_dead) {
                facts->is_mounted = facts->is_dead = true;
                return 0;
        }
        if (path->fd < 0)
                return 0;
        if (S_ISBLK(path->type) && fstat(path->fd, &status) == 0)
                facts->rdev = status.st_rdev;
        r = read_mount(facts, path->fd, err);
        if (r < 0 || !device || facts->is_dead)
                return r;
        if (facts->rdev != 0) {
                facts->is_ours = facts->rdev == device->device.devno;
                return 0;
        }
        root_fd = file_open_root();
        facts->is_ours = facts->mounted_on != 0 &&
                         block_sysfs_is_on(root_fd, facts->mounted_on, device->device.devno) > 0;
        return 0;
}

void target_facts_deinit(TargetFacts *facts) {
        mount_status_deinit(&facts->mount);
}
