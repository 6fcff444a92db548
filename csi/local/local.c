/* SPDX-License-Identifier: Apache-2.0 */

/* The provider's table of functions. */

#include "csi/local/local.h"

#include "csi/local/pool.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

#include <errno.h>

static int open_pool(const ProviderConfig *config, void **selfp, Error *err) {
        Pool *pool = NULL;
        int r;

        r = pool_open(&pool, config, err);
        if (r == 0)
                *selfp = pool;
        return r;
}

static void close_pool(void *self) {
        pool_close(self);
}

/* --- Before each function: is the pool there? --- */

/* Asked again it may work, and elsewhere it works now. */
static int writing(Pool *pool, int r, Error *err) {
        if (r >= 0 || !err || (err->os_errno != EROFS && err->os_errno != EIO))
                return r;
        err->code = ERROR_UNAVAILABLE;
        return error_wrap(err, r, "pool %s cannot be written", pool->path);
}

static int create_volume(void *self, const Call *call, const CreateVolumeRequest *request,
                         VolumeInfo *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : writing(self, local_create_volume(self, call, request, result, err), err);
}

static int delete_volume(void *self, const Call *call, const char *volume_id, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_delete_volume(self, call, volume_id, err), err);
}

static int validate(void *self, const Call *call, const ValidateRequest *request,
                    ValidateResult *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_validate(self, call, request, result, err);
}

static int list_volumes(void *self, const Call *call, const ListRequest *request,
                        VolumeList *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_list_volumes(self, call, request, result, err);
}

static int get_volume(void *self, const Call *call, const char *volume_id, VolumeInfo *result,
                      Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_get_volume(self, call, volume_id, result, err);
}

static int modify_volume(void *self, const Call *call, const char *volume_id,
                         const StringMap *parameters, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : writing(self, local_modify_volume(self, call, volume_id, parameters, err),
                               err);
}

static int get_capacity(void *self, const Call *call, const CapacityRequest *request,
                        CapacityResult *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_get_capacity(self, call, request, result, err);
}

static int create_snapshot(void *self, const Call *call, const CreateSnapshotRequest *request,
                           SnapshotInfo *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : writing(self, local_create_snapshot(self, call, request, result, err), err);
}

static int delete_snapshot(void *self, const Call *call, const char *snapshot_id, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_delete_snapshot(self, call, snapshot_id, err), err);
}

static int list_snapshots(void *self, const Call *call, const ListRequest *request,
                          SnapshotList *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_list_snapshots(self, call, request, result, err);
}

static int create_group(void *self, const Call *call, const CreateGroupRequest *request,
                        SnapshotGroup *result, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_create_group(self, call, request, result, err), err);
}

static int delete_group(void *self, const Call *call, const char *group_id,
                        const char *const *snapshot_ids, size_t n_snapshot_ids, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : writing(self,
                               local_delete_group(self, call, group_id, snapshot_ids,
                                                  n_snapshot_ids, err),
                               err);
}

static int get_group(void *self, const Call *call, const char *group_id,
                     const char *const *snapshot_ids, size_t n_snapshot_ids, SnapshotGroup *result,
                     Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : local_get_group(self, call, group_id, snapshot_ids, n_snapshot_ids, result,
                                       err);
}

static int ready(void *self, const Call *call, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_ready(self, call, err);
}

static int find_device(void *self, const Call *call, const VolumeRef *volume, Device *device,
                       Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_find_device(self, call, volume, device, err);
}

static int grow_device(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                       const CapacityRange *range, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r
                     : writing(self, local_grow_device(self, call, volume, device, range, err),
                               err);
}

static int rescan_device(void *self, const Call *call, const VolumeRef *volume,
                         const Device *device, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : local_rescan_device(self, call, volume, device, err);
}

static int create_ephemeral(void *self, const Call *call, const NodePublishRequest *request,
                            Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_create_ephemeral(self, call, request, err), err);
}

static int has_volume(void *self, const Call *call, const char *volume_id, Error *err) {
        int r = pool_use(self, err);

        /* What is known of a pool that is gone stays known: it is mounted, and its condition is
         * asked. */
        if (r < 0 && !pool_is_hanging(self) && local_has_volume(self, call, volume_id, NULL) == 1)
                return 1;
        return r < 0 ? r : local_has_volume(self, call, volume_id, err);
}

static int begin_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                      Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_begin_copy(self, call, volume, copy, err), err);
}

static int end_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                    bool keeps, Error *err) {
        int r = pool_use(self, err);

        return r < 0 ? r : writing(self, local_end_copy(self, call, volume, copy, keeps, err), err);
}

static void tell_busy(void *self, const char *volume_id, Error *err) {
        pool_tell_copy(self, volume_id, err);
}

/* What gives back, release_device() and delete_ephemeral(), must work without a pool. */

static const ControllerOps controller = {
        .create_volume = create_volume,
        .delete_volume = delete_volume,
        .validate = validate,
        .list_volumes = list_volumes,
        .get_volume = get_volume,
        .modify_volume = modify_volume,
        .get_capacity = get_capacity,
        .create_snapshot = create_snapshot,
        .delete_snapshot = delete_snapshot,
        .list_snapshots = list_snapshots,
        .create_group = create_group,
        .delete_group = delete_group,
        .get_group = get_group,
};

const Provider provider_local = {
        .name = "local",
        .driver_name = "local.csi.berth.dev",
        .flags = PROVIDER_STAGES | PROVIDER_SINGLE_NODE_MULTI_WRITER | PROVIDER_EPHEMERAL |
                 PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE | PROVIDER_CLONES,
        .format = {.default_fs_type = LOCAL_DEFAULT_FS, .fs_types = local_fs_types},
        .open = open_pool,
        .close = close_pool,
        .ready = ready,
        .node_info = local_node_info,
        .find_device = find_device,
        .release_device = local_release_device,
        .grow_device = grow_device,
        .rescan_device = rescan_device,
        .create_ephemeral = create_ephemeral,
        .delete_ephemeral = local_delete_ephemeral,
        .has_volume = has_volume,
        .adapt = local_adapt,
        .has_data = local_has_data,
        .controller = &controller,
        .tend = local_tend,
        .begin_copy = begin_copy,
        .end_copy = end_copy,
        .has_lost_disk = local_has_lost_disk,
        .is_another = local_is_another,
        .tell_busy = tell_busy,
};
