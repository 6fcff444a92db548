/* SPDX-License-Identifier: Apache-2.0 */

/* NodeStageVolume and its undo. */

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/block/block_sysfs.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"

#include <fcntl.h>

static int stage(Job *job, const NodeStageRequest *request, Error *err) {
        const VolumeCapability *capability = &job->capability;
        int r;

        r = job_adapt(job, &request->capability, err);
        if (r == 0)
                r = node_check_mode(job->node, capability, err);
        if (r == 0 && !capability->is_block)
                r = options_from_capability(&job->options, capability, err);
        if (r == 0)
                r = node_locks_acquire(job->node, request->volume_id, request->staging_path,
                                       &job->locks, err);
        if (r == 0)
                r = job_open_target(job, "staging_target_path", request->staging_path, err);
        if (r < 0)
                return r;
        /* A raw block volume is only attached; it is shown when it is published. */
        return capability->is_block ? job_find_device(job, err) : job_mount(job, capability, err);
}

int node_stage(Node *node, const Call *call, const NodeStageRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        Error error = {0};
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "stage");
        job->volume.publish_context = &request->publish_context;
        job->volume.volume_context = &request->volume_context;
        job->volume.secrets = &request->secrets;
        r = stage(job, request, &error);
        if (r < 0) {
                job_give_up(job, &error);
                if (err)
                        *err = error;
        }
        return r;
}

/* Whether the device that was mounted there is still in use, by another staging path or by a
 * namespace that kept the mount. */
static bool is_still_used(uint64_t devno) {
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        char name[BLOCK_NAME_MAX], path[BLOCK_NAME_MAX + 8];

        if (devno == 0 || block_sysfs_name(root_fd, devno, name) < 0)
                return false;
        (void)snprintf(path, sizeof(path), "/dev/%s", name);
        return device_is_busy(path, devno) > 0;
}

static int release(Node *node, const Call *call, const char *volume_id, uint64_t devno,
                   Error *err) {
        const Provider *provider = node->config.provider;
        const VolumeRef volume = {.volume_id = volume_id};
        const LogField field = {"volume", volume_id};

        if (is_still_used(devno)) {
                log_fields(LOG_LEVEL_WARNING, &field, 1,
                           "unmounted, and its device is still in use elsewhere: not released");
                return 0;
        }
        return provider->release_device
                       ? provider->release_device(node->config.provider_self, call, &volume, err)
                       : 0;
}

/* Unmounts @path and gives the device back. */
static int unmount_and_release(Job *job, unsigned int how, Error *err) {
        uint64_t devno;
        int r;

        r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r < 0)
                return r;
        devno = job->target_facts.is_dead ? 0 : job->target_facts.mounted_on;
        r = node_unmount(&job->target, how, err);
        return r < 0 ? r : release(job->node, job->call, job->volume.volume_id, devno, err);
}

int node_unstage(Node *node, const Call *call, const NodeUnstageRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "unstage");
        r = node_locks_acquire(node, request->volume_id, request->staging_path, &job->locks, err);
        if (r == 0)
                r = node_path_open(&job->target, &node->root, "staging_target_path",
                                   request->staging_path, err);
        if (r == NODE_PATH_E_NO_PARENT)
                return release(node, call, request->volume_id, 0, err);
        return r < 0 ? r : unmount_and_release(job, NODE_UNMOUNT_KEEP_TARGET, err);
}

/* --- Unpublish: here, because a volume that was never staged is given back by it. --- */

static int unpublish(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;

        if (provider->flags & PROVIDER_STAGES)
                return node_unmount(&job->target, NODE_UNMOUNT_REMOVE_TARGET, err);
        return unmount_and_release(job, NODE_UNMOUNT_REMOVE_TARGET, err);
}

int node_unpublish(Node *node, const Call *call, const NodeUnpublishRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        const Provider *provider = node->config.provider;
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "unpublish");
        r = node_locks_acquire(node, request->volume_id, request->target_path, &job->locks, err);
        if (r == 0)
                r = node_path_open_parent(&job->target, &node->root, "target_path",
                                          request->target_path, err);
        /* What a server has is taken away before anybody opens the path. */
        if (r == 0 && provider->find_share)
                r = share_detach(node, &job->target, err);
        if (r == 0)
                r = node_path_reopen(&job->target, err);
        if (r == 0)
                r = unpublish(job, err);
        if (r < 0)
                return r;
        if ((provider->flags & PROVIDER_EPHEMERAL) && provider->delete_ephemeral)
                return provider->delete_ephemeral(node->config.provider_self, call,
                                                  request->volume_id, err);
        return 0;
}
