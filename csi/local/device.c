/* SPDX-License-Identifier: Apache-2.0 */

/* The node's half of the provider: volumes become loop devices. */

#include "csi/local/attach.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/block/block_ioctl.h"
#include "common/block/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

int local_node_info(void *self, const Call *call, NodeInfo *info, Error *err) {
        Pool *pool = self;
        StringPair *pair = arena_alloc(call->arena, sizeof(*pair));
        NodeInfo filled = {
                .node_id = arena_strdup(call->arena, pool->node_name),
                .max_volumes = pool->volume_limit,
                .has_topology = true,
        };

        if (pair) {
                pair->key = LOCAL_TOPOLOGY_KEY;
                pair->value = arena_strdup(call->arena, pool->topology_value);
        }
        if (!pair || !pair->value || !filled.node_id)
                return error_set_errno(err, ENOMEM, "node info");
        filled.topology.segments = (StringMap){.pairs = pair, .n_pairs = 1};
        *info = filled;
        return 0;
}

int local_ready(void *self, const Call *call, Error *err) {
        Pool *pool = self;
        struct statvfs fs;

        if (fstatvfs(pool->fd, &fs) < 0)
                return error_set(err, ERROR_UNAVAILABLE, "pool %s: %s", pool->path,
                                 errno == EIO ? "input/output error" : "cannot be looked at");
        if ((fs.f_flag & ST_RDONLY) || pool_is_read_only(pool))
                return error_set(err, ERROR_UNAVAILABLE,
                                 "pool %s is on a filesystem that is read-only", pool->path);
        return 0;
}

int local_find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                      Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        AttachMode mode = ATTACH_FOR_MOUNT;
        Pool *pool = self;
        Entry *entry = NULL;
        Error error = {0};
        int r;

        if (volume->is_block)
                mode = volume->is_read_only ? ATTACH_FOR_BLOCK_READ : ATTACH_FOR_BLOCK;
        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, HOLD_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = pool_adopt_size(pool, entry, &error);
        /* A file that is missing or cut may still be in use: that is said by who looks for it. */
        if (r < 0 && r != -ENOENT)
                error_move(err, &error);
        else
                r = attach_make(pool, call, entry, mode, &attachment, err);
        if (r == 0) {
                entry->is_staged = entry->is_staged || volume->is_block;
                loop_path(attachment.number, device->path);
                device->devno = attachment.devno;
                device->size_bytes = entry->meta.size_bytes;
                if (block_get_sequence(attachment.fd, &device->sequence) < 0)
                        device->sequence = 0;
        }
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

/* The record is gone, and the device may not be. */
static int release_unknown(Pool *pool, const char *volume_id, Error *err) {
        char stem[LOCAL_STEM_MAX + 1];

        if (local_stem_is_valid(LOCAL_VOLUME, volume_id, strlen(volume_id)))
                return attach_drop_stem(pool, volume_id, err);
        local_stem("eph", pool->node_name, volume_id, stem);
        return attach_drop_stem(pool, stem, err);
}

int local_release_device(void *self, const Call *call, const VolumeRef *volume, Error *err) {
        const LogField field = {"volume", volume->volume_id};
        Pool *pool = self;
        Entry *entry = NULL;
        LocalMeta found;
        int r;

        /* Without a pool it is given back all the same. */
        if (pool_use(pool, err) < 0 && pool_is_hanging(pool))
                return -EAGAIN;
        if (!pool_peek(pool, LOCAL_VOLUME, volume->volume_id, &found)) {
                r = release_unknown(pool, volume->volume_id, err);
                return r < 0 ? r : 0;
        }
        r = pool_acquire(pool, call, LOCAL_VOLUME, volume->volume_id, HOLD_EXCLUSIVE, &entry, err);
        if (r < 0)
                return r;
        entry->is_staged = false;
        r = attach_drop(pool, entry, err);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        if (r <= 0)
                return r;
        /* Perhaps at the staging path of an older kubelet, whose unstage comes here again; else the
         * pool looks again by itself. */
        log_fields(LOG_LEVEL_INFO, &field, 1, "its loop device is still %s: given back later",
                   r == ATTACH_E_MOUNTED ? "mounted somewhere" : "published");
        return 0;
}

int local_find_attached(Pool *pool, Entry *entry, const Device *device, Attachment *attachment,
                        Error *err) {
        int r = attach_find(pool, entry, attachment, err);

        if (r == ATTACH_E_NONE || (r == 0 && attachment->devno != device->devno))
                return error_set(err, ERROR_PRECONDITION, "volume %s is not on %s any more",
                                 entry->meta.id, device->path);
        return r < 0 ? r : attach_check_file(entry, attachment, err);
}

int local_rescan_device(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                        Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        Pool *pool = self;
        Entry *entry = NULL;
        uint64_t size_bytes = 0;
        int r;

        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, HOLD_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = local_find_attached(pool, entry, device, &attachment, err);
        if (r == 0) {
                r = loop_set_capacity(attachment.fd);
                if (r == 0)
                        r = block_get_size(attachment.fd, &size_bytes);
                if (r < 0)
                        r = error_set_errno(err, r, "resize %s", device->path);
        }
        if (r == 0 && size_bytes < entry->meta.size_bytes)
                r = error_set(err, ERROR_UNAVAILABLE,
                              "%s has %" PRIu64 " bytes after the resize, not %" PRIu64,
                              device->path, size_bytes, entry->meta.size_bytes);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

bool local_has_lost_disk(void *self, const char *volume_id, uint64_t devno) {
        LocalMeta found;

        return pool_peek(self, LOCAL_VOLUME, volume_id, &found) &&
               attach_has_lost_name(found.stem, devno);
}

bool local_is_another(void *self, const char *volume_id, uint64_t devno, bool is_raw) {
        LocalMeta found;

        return pool_peek(self, LOCAL_VOLUME, volume_id, &found) &&
               attach_is_another(found.stem, devno) &&
               (!is_raw || attach_is_known(self, volume_id));
}

int local_has_volume(void *self, const Call *call, const char *volume_id, Error *err) {
        LocalMeta found;

        return pool_peek(self, LOCAL_VOLUME, volume_id, &found) ? 1 : 0;
}
