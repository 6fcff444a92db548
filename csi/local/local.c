/* SPDX-License-Identifier: Apache-2.0 */

/* The provider's table of functions. */

#include "csi/local/local.h"

#include "csi/local/pool.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

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

static const ControllerOps controller = {
        .create_volume = local_create_volume,
        .delete_volume = local_delete_volume,
        .validate = local_validate,
        .list_volumes = local_list_volumes,
        .get_volume = local_get_volume,
        .modify_volume = local_modify_volume,
        .get_capacity = local_get_capacity,
        .expand_volume = local_expand_volume,
        .create_snapshot = local_create_snapshot,
        .delete_snapshot = local_delete_snapshot,
        .list_snapshots = local_list_snapshots,
        .create_group = local_create_group,
        .delete_group = local_delete_group,
        .get_group = local_get_group,
};

const Provider provider_local = {
        .name = "local",
        .driver_name = "local.csi.berth.dev",
        .flags = PROVIDER_STAGES | PROVIDER_SINGLE_NODE_MULTI_WRITER | PROVIDER_EPHEMERAL |
                 PROVIDER_TOPOLOGY | PROVIDER_EXPANDS_ONLINE | PROVIDER_CLONES,
        .format = {.default_fs_type = LOCAL_DEFAULT_FS, .fs_types = local_fs_types},
        .open = open_pool,
        .close = close_pool,
        .ready = local_ready,
        .node_info = local_node_info,
        .find_device = local_find_device,
        .release_device = local_release_device,
        .rescan_device = local_rescan_device,
        .create_ephemeral = local_create_ephemeral,
        .delete_ephemeral = local_delete_ephemeral,
        .has_volume = local_has_volume,
        .controller = &controller,
};
