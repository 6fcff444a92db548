/* SPDX-License-Identifier: Apache-2.0 */

/* NodePublishVolume: a staged filesystem, a block device, or a volume that is never staged. */

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/mount/mountinfo.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"

#include <fcntl.h>
#include <sys/stat.h>

#define EPHEMERAL_KEY "csi.storage.k8s.io/ephemeral"

static bool is_ephemeral(const NodePublishRequest *request) {
        return str_equal(string_map_get(&request->volume_context, EPHEMERAL_KEY), "true");
}

/* A mount of the same below kubelet's root that is no staging path, of this request or of an older
 * kubelet. Nothing is at this target. */
static bool is_other(const Job *job, const char *root, const Mount *mount) {
        const char *below = node_root_below(root, mount->target);

        return below && !node_path_is_staging(below) &&
               !(job->source_facts.is_mounted && job->source_facts.mount.id == mount->id);
}

static bool is_same_node(const Job *job, const Mount *mount) {
        struct stat status;

        /* Only a node can be bound from these; another filesystem may hang. */
        return (str_equal(mount->fs_type, "devtmpfs") || str_equal(mount->fs_type, "tmpfs")) &&
               lstat(mount->target, &status) == 0 && S_ISBLK(status.st_mode) &&
               status.st_rdev == job->device.device.devno;
}

/*
 * SINGLE_NODE_SINGLE_WRITER is for one target. SINGLE_NODE_WRITER is not refused a second one:
 * kubelet publishes it to every pod of the node. Reads the whole mountinfo, and only for this mode.
 */
static int check_single(const Job *job, const NodePublishRequest *request, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        const MountStatus *staged = &job->source_facts.mount;
        char root[PATH_MAX];
        int r;

        if (job->capability.access_mode != ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER ||
            job->target_facts.is_mounted)
                return 0;
        r = node_root_real(&job->node->root, root, err);
        if (r < 0)
                return r;
        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];
                bool same = job->capability.is_block
                                    ? !str_equal(mount->root, "/") && is_other(job, root, mount) &&
                                              is_same_node(job, mount)
                                    : mount->dev == staged->dev &&
                                              str_equal(mount->root, staged->root) &&
                                              is_other(job, root, mount);

                if (same)
                        return error_set(err, ERROR_PRECONDITION,
                                         "the volume is published at %s already, and its access "
                                         "mode SINGLE_NODE_SINGLE_WRITER allows one target",
                                         mount->target);
        }
        return 0;
}

static BindInput bind_input(const Job *job, const NodePublishRequest *request) {
        return (BindInput){request->volume_id, &job->options, request->readonly,
                           job->capability.fs_type};
}

static int publish_block(Job *job, const NodePublishRequest *request, Error *err) {
        const BindInput input = bind_input(job, request);
        int r;

        /* A bind that is read-only does not keep anybody from writing to the device. */
        if (request->readonly)
                job->options.set |= MOUNT_FLAG_READ_ONLY;
        /* A mkfs that hangs may write yet. */
        r = node_check_hanging(job->node, request->volume_id, err);
        if (r == 0)
                r = job_find_device(job, err);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, &job->device, err);
        if (r == 0)
                r = check_single(job, request, err);
        return r < 0 ? r : job_bind_block(job, &input, err);
}

static int publish_staged(Job *job, const NodePublishRequest *request, Error *err) {
        const BindInput input = bind_input(job, request);
        int r;

        r = node_path_open(&job->source, &job->node->root, "staging_target_path",
                           request->staging_path, err);
        if (r == NODE_PATH_E_NO_PARENT || (r == 0 && job->source.fd < 0 && !job->source.is_dead))
                return error_set(err, ERROR_PRECONDITION,
                                 "the staging path %s does not exist: the volume is not staged",
                                 request->staging_path);
        if (r == 0)
                r = job_read_target(job, &job->source, NULL, &job->source_facts, err);
        if (r == 0)
                r = job_check_staged_disk(job, &job->source_facts, err);
        if (r == 0)
                r = job_read_target(job, &job->target, NULL, &job->target_facts, err);
        if (r == 0)
                r = bind_plan(&input, &job->source_facts, &job->target_facts, &job->plan, err);
        if (r == 0)
                r = check_single(job, request, err);
        return r < 0 ? r : job_apply(job, err);
}

/* Formatted and mounted right at the target. */
static int publish_unstaged(Job *job, const NodePublishRequest *request, Error *err) {
        job->reads_only = request->readonly;
        return job_mount(job, &job->capability, err);
}

static int publish_ephemeral(Job *job, const NodePublishRequest *request, Error *err) {
        const Provider *provider = job->node->config.provider;
        int r;

        if (!(provider->flags & PROVIDER_EPHEMERAL) || !provider->create_ephemeral)
                return error_set(err, ERROR_INVALID, "provider %s has no inline volumes",
                                 provider->name);
        if (job->capability.is_block)
                return error_set(err, ERROR_INVALID, "an inline volume cannot be a block device");
        r = provider->create_ephemeral(job->node->config.provider_self, job->call, request, err);
        if (r < 0)
                return r;
        job->has_ephemeral = true;
        return publish_unstaged(job, request, err);
}

static int publish_share(Job *job, const NodePublishRequest *request, Error *err) {
        const Provider *provider = job->node->config.provider;
        int r;

        r = provider->find_share(job->node->config.provider_self, job->call, request, &job->share,
                                 err);
        return r != 0 ? r : share_publish(job, request, &job->share, err);
}

/* A staged filesystem is bound to as many targets as there are pods, at once. Alone is who attaches
 * a device, makes an inline volume, or must know of every other target (check_single()). */
static HoldMode publish_mode(const Job *job, const NodePublishRequest *request) {
        bool is_shared = request->staging_path[0] != '\0' && !job->capability.is_block &&
                         !is_ephemeral(request) && !job->node->config.provider->find_share &&
                         job->capability.access_mode != ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER;

        return is_shared ? HOLD_SHARED : HOLD_EXCLUSIVE;
}

static int publish(Job *job, const NodePublishRequest *request, Error *err) {
        int r;

        r = job_adapt(job, &request->capability, err);
        if (r == 0)
                r = node_check_mode(job->node, &job->capability, err);
        if (r == 0 && !job->capability.is_block)
                r = options_from_capability(&job->options, &job->capability, NULL, err);
        if (r == 0 && access_mode_is_reader(job->capability.access_mode))
                job->options.set |= MOUNT_FLAG_READ_ONLY;
        if (r == 0)
                r = node_locks_acquire(job->node, job->call, request->volume_id,
                                       publish_mode(job, request), request->target_path,
                                       &job->locks, err);
        if (r == 0 && job->node->config.provider->find_share) {
                r = publish_share(job, request, err);
                if (r != PROVIDER_E_NO_SHARE)
                        return r;
                r = 0;
        }
        if (r == 0)
                r = job_open_target(job, "target_path", request->target_path, err);
        if (r < 0)
                return r;
        if (is_ephemeral(request))
                return publish_ephemeral(job, request, err);
        if (job->capability.is_block)
                return publish_block(job, request, err);
        if (request->staging_path[0] == '\0')
                return publish_unstaged(job, request, err);
        return publish_staged(job, request, err);
}

/*
 * An inline volume is made by its publish and removed by its unpublish, which kubelet only calls if
 * this failure leaves it uncertain. Nothing is deleted here: after a reboot it may hold data of its
 * pod. Of one that is mounted at its target kubelet knows.
 */
static void keep_uncertain(const Job *job, Error *err) {
        const TargetFacts *target = &job->target_facts;
        bool is_known = target->is_mounted && !target->is_dead && target->is_ours;

        if (job->has_ephemeral && !is_known && err->code != ERROR_AGAIN &&
            err->code != ERROR_TIMEOUT && err->code != ERROR_EXHAUSTED)
                err->code = ERROR_UNAVAILABLE;
}

int node_publish(Node *node, const Call *call, const NodePublishRequest *request, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        bool staged = request->staging_path[0] != '\0';
        Error error = {0};
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "publish");
        job->volume.publish_context = &request->publish_context;
        job->volume.volume_context = &request->volume_context;
        job->volume.secrets = &request->secrets;
        r = publish(job, request, &error);
        if (r >= 0)
                return r;
        /* What was staged stays attached: its unstage is still to come. */
        if (!staged)
                job_give_up(job, &error);
        keep_uncertain(job, &error);
        error_move(err, &error);
        return r;
}
