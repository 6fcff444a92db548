/* SPDX-License-Identifier: Apache-2.0 */

/* NodeExpandVolume: the disk grows where this node holds it, the kernel sees the new size, then the
 * filesystem takes it. */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "csi/node/encrypt.h"
#include "fs/formats/format.h"
#include "fs/tools/tools.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

/* The device behind the path, by the kernel's own name for it. */
static int fill_device(Job *job, Error *err) {
        const TargetFacts *target = &job->target_facts;
        cleanup(closep) int root_fd = file_open_root();
        uint64_t devno = S_ISBLK(target->type) ? target->rdev : target->mounted_on;
        Device *device = &job->device.device;
        BlockInfo info;
        int r;

        if (target->is_dead)
                return error_set(err, ERROR_UNAVAILABLE, "the filesystem at %s does not answer",
                                 target->path);
        if (devno == 0)
                return error_set(err, ERROR_NOT_FOUND, "what is mounted at %s (%s) is not a volume",
                                 target->path, target->source_name);
        r = block_sysfs_info(root_fd, devno, &info);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "the device of %s is gone", target->path);
        (void)snprintf(device->path, sizeof(device->path), "/dev/%s", info.name);
        device->devno = devno;
        device->size_bytes = info.size_bytes;
        return 0;
}

static int read_size(Job *job, DeviceFacts *facts, Error *err) {
        const Device *device = &facts->device;
        int r;

        closep(&job->device_fd);
        job->device_fd = block_open(device->path, O_RDONLY, device->devno);
        r = job->device_fd < 0 ? job->device_fd
                               : block_get_size(job->device_fd, &facts->size_bytes);
        return r < 0 ? error_set_errno(err, r, "look at %s", device->path) : 0;
}

/* A volume is as large as its disk; a partition of it, or a mapping (LVM, multipath), may be
 * smaller until somebody makes that larger, and the filesystem takes what there is. */
static void find_capacity(Job *job, const DeviceFacts *disk, const CapacityRange *range) {
        cleanup(closep) int root_fd = file_open_root();
        const LogField field = {"volume", job->volume.volume_id};
        uint64_t whole_bytes = 0;

        job->capacity_bytes = disk->size_bytes;
        if (disk->size_bytes >= range->required_bytes ||
            block_sysfs_whole_size(root_fd, disk->device.devno, &whole_bytes) < 0 ||
            whole_bytes < range->required_bytes)
                return;
        job->capacity_bytes = whole_bytes;
        log_fields(LOG_LEVEL_INFO, &field, 1,
                   "%s has %" PRIu64 " bytes of the %" PRIu64
                   " of its disk: the filesystem takes those",
                   disk->device.path, disk->size_bytes, whole_bytes);
}

static int check_size(const DeviceFacts *disk, uint64_t size_bytes, const CapacityRange *range,
                      Error *err) {
        if (size_bytes < range->required_bytes)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%s has %" PRIu64 " bytes, %" PRIu64
                                 " are required: the volume was not expanded, or the kernel does "
                                 "not see it yet",
                                 disk->device.path, size_bytes, range->required_bytes);
        if (range->limit_bytes != 0 && disk->size_bytes > range->limit_bytes)
                return error_set(err, ERROR_RANGE,
                                 "%s has %" PRIu64 " bytes, the limit is %" PRIu64,
                                 disk->device.path, disk->size_bytes, range->limit_bytes);
        return 0;
}

/* The size of a volume is that of its disk: what is encrypted has a header in it as well. */
static int expand_disk(Job *job, const CapacityRange *range, Error *err) {
        const Provider *provider = job->node->config.provider;
        bool is_encrypted = encrypt_find_disk(job);
        DeviceFacts *disk = is_encrypted ? &job->disk : &job->device;
        void *self = job->node->config.provider_self;
        int r = 0;

        if (provider->grow_device)
                r = provider->grow_device(self, job->call, &job->volume, &disk->device, range, err);
        if (r == 0 && provider->rescan_device)
                r = provider->rescan_device(self, job->call, &job->volume, &disk->device, err);
        if (r == 0)
                r = read_size(job, disk, err);
        if (r == 0) {
                find_capacity(job, disk, range);
                r = check_size(disk, job->capacity_bytes, range, err);
        }
        if (r == 0 && is_encrypted)
                r = encrypt_resize(job, err);
        if (r == 0 && is_encrypted)
                r = read_size(job, &job->device, err);
        return r;
}

/* ext4 tells its size on the device also while it is mounted, and then no tool is run for nothing.
 * XFS and btrfs write it there later. */
static bool is_grown(const Job *job) {
        FsReader reader;
        FsVolume volume;

        /* Of others it is no use to wait for their disk. */
        if (fs_kind_from_type(job->target_facts.mount.fs_type) != FS_KIND_EXT ||
            fs_reader_from_fd(&reader, job->device_fd) < 0 ||
            fs_read_volume(&reader, &volume) != 0 || volume.kind != FS_KIND_EXT)
                return false;
        return volume.fs_bytes >= job->device.size_bytes ||
               job->device.size_bytes - volume.fs_bytes < volume.block_bytes;
}

/* Whether the volume is mounted at the staging path, so that it can grow there. */
static bool has_staged(Job *job, const NodeExpandRequest *request) {
        const TargetFacts *facts = &job->source_facts;

        return request->staging_path[0] != '\0' &&
               node_path_open(&job->source, &job->node->root, "staging_target_path",
                              request->staging_path, NULL) == 0 &&
               target_facts_read(&job->source_facts, &job->source, NULL, NULL) == 0 &&
               facts->is_mounted && !facts->is_dead &&
               facts->mounted_on == job->target_facts.mounted_on;
}

/* XFS grows only by a mount that can be written: a target may be read-only. A target that nobody
 * holds can be unpublished while a frozen filesystem does not grow. */
static int choose_mount(Job *job, const NodeExpandRequest *request, const NodePath **pathp,
                        Error *err) {
        const TargetFacts *facts = &job->target_facts;

        *pathp = &job->target;
        if (has_staged(job, request)) {
                facts = &job->source_facts;
                *pathp = &job->source;
        }
        if (facts->is_forced_ro)
                return error_set(err, ERROR_PRECONDITION,
                                 "the filesystem at %s became read-only after an error: it is "
                                 "checked and grown when it is staged the next time",
                                 facts->path);
        if (facts->mount.flags & MOUNT_FLAG_READ_ONLY)
                *pathp = NULL;
        return 0;
}

static int check_bound(const char *fs_type, uint64_t device_bytes, Error *err) {
        const FsToolset *set = fs_toolset_find(fs_kind_from_type(fs_type));

        if (!set || device_bytes >= set->grows_to_least_bytes)
                return 0;
        return error_set(err, ERROR_RANGE,
                         "%s grows to %" PRIu64 " bytes or more, the device has %" PRIu64
                         ": expand the volume further",
                         fs_type, set->grows_to_least_bytes, device_bytes);
}

static int grow(Job *job, const NodeExpandRequest *request, Error *err) {
        const char *fs_type = job->target_facts.mount.fs_type;
        const NodePath *path;
        int r;

        r = choose_mount(job, request, &path, err);
        /* Read-only as asked: whoever mounts it for writing grows it. */
        if (r < 0 || !path || is_grown(job))
                return r;
        if (fs_kind_from_type(fs_type) == FS_KIND_EXT && !job->node->can_grow_mounted_ext)
                return error_set(err, ERROR_PRECONDITION,
                                 "the kernel grows a mounted %s only for a process with "
                                 "CAP_SYS_RESOURCE, which this one has not: it grows when it is "
                                 "staged the next time",
                                 fs_type);
        r = check_bound(fs_type, job->device.size_bytes, err);
        if (r == 0)
                r = grow_mounted(job->node, request->volume_id, fs_type, path->fd,
                                 job->device.size_bytes, err);
        if (r == 0)
                growth_note(job->node, request->volume_id, NULL);
        return r;
}

static int expand(Job *job, const NodeExpandRequest *request, Error *err) {
        int r;

        r = node_locks_acquire(job->node, job->call, request->volume_id, HOLD_EXCLUSIVE,
                               request->volume_path, &job->locks, err);
        if (r == 0)
                r = node_check_hanging(job->node, request->volume_id, err);
        if (r == 0)
                r = grow_check_late(job->node, request->volume_id, err);
        if (r == 0)
                r = job_open_volume(job, request->volume_path, NULL, err);
        if (r == 0)
                r = fill_device(job, err);
        if (r == 0)
                r = expand_disk(job, &request->capacity_range, err);
        if (r == 0 && !S_ISBLK(job->target_facts.type))
                r = grow(job, request, err);
        return r;
}

int node_expand(Node *node, const Call *call, const NodeExpandRequest *request,
                NodeExpandResult *result, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "expand");
        job->volume.secrets = &request->secrets;
        r = expand(job, request, err);
        /* Kubelet lets a pod start whose volume is mounted and did not grow after this code alone.
         */
        if (r < 0 && err && err->code == ERROR_EXHAUSTED && job->target_facts.is_mounted)
                err->code = ERROR_PRECONDITION;
        if (r == 0)
                result->capacity_bytes = job->capacity_bytes;
        return r;
}
