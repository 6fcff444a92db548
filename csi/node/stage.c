/* SPDX-License-Identifier: Apache-2.0 */

/* NodeStageVolume and its undo. */

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/block/block_sysfs.h"
#include "csi/kubelet/holder.h"
#include "csi/node/encrypt.h"
#include "csi/node/marker.h"
#include "csi/node/share.h"

#include <fcntl.h>
#include <sys/stat.h>

/* Where some drivers show a raw block volume while it is staged. */
static int block_path(const Node *node, const Call *call, const char *staging_path,
                      const char *volume_id, const char **pathp, Error *err) {
        *pathp = NULL;
        if (!(node->config.provider->flags & PROVIDER_STAGES_BLOCK))
                return 0;
        if (strchr(volume_id, '/'))
                return error_set(err, ERROR_INVALID, "volume_id: \"%.128s\", expected no \"/\"",
                                 volume_id);
        *pathp = arena_printf(call->arena, "%s/%s", staging_path, volume_id);
        return *pathp ? 0 : error_set_errno(err, ENOMEM, "staging path");
}

/* A raw block volume is only attached; it is shown when it is published. */
static int stage_block(Job *job, const NodeStageRequest *request, Error *err) {
        const BindInput input = {request->volume_id, &job->options, false, ""};
        const char *path;
        int r;

        r = block_path(job->node, job->call, request->staging_path, request->volume_id, &path, err);
        if (r == 0)
                r = job_find_device(job, err);
        if (r == 0)
                r = job_check_not_mounted(job, err);
        if (r < 0 || !path)
                return r;
        r = job_open_target(job, "staging_target_path", path, err);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, &job->device, err);
        return r < 0 ? r : job_bind_block(job, &input, err);
}

/* @job: its target is the staging path. What a filesystem has there is its own. */
static int unstage_block(Job *job, const char *staging_path, Error *err) {
        cleanup(node_path_close) NodePath file = NODE_PATH_INIT;
        const char *path;
        int r;

        r = block_path(job->node, job->call, staging_path, job->volume.volume_id, &path, err);
        if (r < 0 || !path || job->target.fd < 0)
                return r;
        r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r < 0 || job->target_facts.is_mounted || job->target_facts.is_dead)
                return r;
        r = node_path_open(&file, &job->node->root, "staging_target_path", path, err);
        return r != 0 ? r : node_unmount(job, &file, NODE_UNMOUNT_REMOVE_TARGET, err);
}

static int stage(Job *job, const NodeStageRequest *request, Error *err) {
        const VolumeCapability *capability = &job->capability;
        int r;

        r = job_adapt(job, &request->capability, err);
        if (r == 0)
                r = node_check_mode(job->node, capability, err);
        if (r == 0 && !capability->is_block)
                r = options_from_capability(&job->options, capability, NULL, err);
        if (r == 0)
                r = node_locks_acquire(job->node, job->call, request->volume_id, HOLD_EXCLUSIVE,
                                       request->staging_path, &job->locks, err);
        if (r == 0)
                r = node_check_hanging(job->node, request->volume_id, err);
        if (r == 0)
                r = job_open_target(job, "staging_target_path", request->staging_path, err);
        if (r < 0)
                return r;
        return capability->is_block ? stage_block(job, request, err)
                                    : job_mount(job, capability, err);
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
                error_move(err, &error);
        }
        return r;
}

/* Whether the device that was mounted there is still in use, by another staging path or by a
 * namespace that kept the mount. */
static bool is_still_used(uint64_t devno) {
        cleanup(closep) int root_fd = file_open_root();
        char name[BLOCK_NAME_MAX], path[BLOCK_NAME_MAX + 8];

        if (devno == 0 || block_sysfs_name(root_fd, devno, name) < 0)
                return false;
        (void)snprintf(path, sizeof(path), "/dev/%s", name);
        return device_is_busy(path, devno) > 0;
}

static int release(Job *job, uint64_t devno, Error *err) {
        const Provider *provider = job->node->config.provider;
        const LogField field = {"volume", job->volume.volume_id};
        char text[HOLDER_TEXT_MAX];
        int r;

        if (is_still_used(devno)) {
                encrypt_leave(job, devno);
                (void)holder_of_device(devno, text);
                log_fields(LOG_LEVEL_WARNING, &field, 1,
                           "unmounted, and its device is still in use elsewhere: not released%s%s",
                           text[0] != '\0' ? "; " : "", text);
                return 0;
        }
        r = encrypt_close(job, devno, err);
        if (r < 0 || !provider->release_device)
                return r;
        return provider->release_device(job->node->config.provider_self, job->call, &job->volume,
                                        err);
}

/* --- what a mkfs left that was killed --- */

/* The disk, if it is attached now: nobody waits for it. */
static int find_attached(Job *job, Error *err) {
        const Call *call = job->call;
        Call now = *call;
        int r;

        now.deadline_msecs = clock_msecs();
        job->call = &now;
        r = job_find_device(job, err);
        job->call = call;
        return r;
}

static int take_back(Job *job, const FsClaim *claim, Error *err) {
        const FsInspection *found = &job->device.inspection;
        const LogField field = {"volume", job->volume.volume_id};
        int r;

        r = device_facts_inspect(&job->device, job->device_fd, err);
        if (r < 0 || found->find == FS_FIND_BLANK)
                return r;
        /* It was completed. */
        if (found->find == FS_FIND_FILESYSTEM && !(found->volume.state & FS_STATE_IN_PROGRESS))
                return 0;
        log_fields(LOG_LEVEL_INFO, &field, 1,
                   "taking back what an interrupted mkfs of this volume left");
        r = fs_take_back(job->device_fd, claim, err);
        return r < 0 ? error_wrap(err, r, "%s", job->device.device.path) : 0;
}

static int take_back_found(Job *job, Error *err) {
        FsClaim claim;
        int r;

        if (job_has_marker(job, &job->device, &claim))
                return claim.kind == FS_CLAIM_LUKS ? encrypt_take_back(job, err)
                                                   : take_back(job, &claim, err);
        r = encrypt_follow(job, err);
        if (r <= 0 || !job_has_marker(job, &job->device, &claim) || claim.kind == FS_CLAIM_LUKS)
                return r < 0 ? r : 0;
        return take_back(job, &claim, err);
}

/*
 * The note of it goes with the target, and with the disk what makes it worth believing: this is the
 * last moment to make the disk blank again, so that the volume can be staged, here or elsewhere.
 * While the mkfs that was left alone still runs, the target stays. What is not proven ours stays,
 * and is a matter for a person.
 */
static int take_back_unfinished(Job *job, Error *err) {
        const LogField field = {"volume", job->volume.volume_id};
        Error why = {0};
        int r;

        if (job->target_facts.is_mounted || job->target_facts.is_dead ||
            !job->node->config.provider->find_device || !marker_exists(&job->target))
                return 0;
        r = find_attached(job, &why);
        if (r == 0)
                r = take_back_found(job, &why);
        closep(&job->device_fd);
        if (r == 0)
                return 0;
        if (job->has_device && why.code == ERROR_UNAVAILABLE) {
                error_move(err, &why);
                return r;
        }
        log_fields(LOG_LEVEL_WARNING, &field, 1,
                   "a mkfs was interrupted, and what it left stays on the disk: %s", why.message);
        return 0;
}

/* Unmounts @path and gives the device back. */
static int unmount_and_release(Job *job, unsigned int how, Error *err) {
        uint64_t devno;
        int r;

        r = grow_check_late(job->node, job->volume.volume_id, err);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r == 0 && (job->node->config.provider->flags & PROVIDER_STAGES))
                r = job_check_mounted(job, "staging_target_path", &job->target_facts, err);
        if (r < 0)
                return r;
        devno = job->target_facts.is_dead ? 0 : job->target_facts.mounted_on;
        if (S_ISBLK(job->target_facts.type))
                devno = job->target_facts.rdev;
        r = take_back_unfinished(job, err);
        if (r == 0)
                r = node_unmount(job, &job->target, how, err);
        if (r == 0)
                growth_note(job->node, job->volume.volume_id, NULL);
        return r < 0 ? r : release(job, devno, err);
}

int node_unstage(Node *node, const Call *call, const NodeUnstageRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "unstage");
        r = node_locks_acquire(node, call, request->volume_id, HOLD_EXCLUSIVE,
                               request->staging_path, &job->locks, err);
        if (r == 0)
                r = node_path_open(&job->target, &node->root, "staging_target_path",
                                   request->staging_path, err);
        if (r == NODE_PATH_E_NO_PARENT)
                return release(job, 0, err);
        if (r == 0)
                r = unstage_block(job, request->staging_path, err);
        if (r == 0) {
                target_facts_deinit(&job->target_facts);
                r = unmount_and_release(job, NODE_UNMOUNT_KEEP_TARGET, err);
        }
        return r;
}

/* --- Unpublish: here, because a volume that was never staged is given back by it. --- */

static int unpublish(Job *job, Error *err) {
        const Provider *provider = job->node->config.provider;

        if (provider->is_another) {
                int r = target_facts_read(&job->target_facts, &job->target, NULL, err);

                if (r == 0)
                        r = job_check_mounted(job, "target_path", &job->target_facts, err);
                target_facts_deinit(&job->target_facts);
                if (r < 0)
                        return r;
        }
        if (provider->flags & PROVIDER_STAGES)
                return node_unmount(job, &job->target, NODE_UNMOUNT_REMOVE_TARGET, err);
        return unmount_and_release(job, NODE_UNMOUNT_REMOVE_TARGET, err);
}

/* What was staged is given back by its unstage; else the device goes with this target. */
static HoldMode unpublish_mode(const Provider *provider) {
        return provider->flags & PROVIDER_STAGES ? HOLD_SHARED : HOLD_EXCLUSIVE;
}

int node_unpublish(Node *node, const Call *call, const NodeUnpublishRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        const Provider *provider = node->config.provider;
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "unpublish");
        r = node_locks_acquire(node, call, request->volume_id, unpublish_mode(provider),
                               request->target_path, &job->locks, err);
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
