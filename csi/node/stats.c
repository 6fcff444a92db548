/* SPDX-License-Identifier: Apache-2.0 */

/* NodeGetVolumeStats. Takes no lock: it changes nothing, and kubelet asks about every volume of the
 * node once a minute. */

#include "common/base/cleanup.h"
#include "common/block/block_sysfs.h"
#include "csi/node/condition.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"

#include <fcntl.h>
#include <sys/stat.h>

static void set_condition(const Call *call, const ConditionFacts *facts, NodeStatsResult *result) {
        char text[CONDITION_MAX];

        result->abnormal = condition_judge(facts, text);
        result->condition_message = arena_strdup(call->arena, text);
        result->has_condition = result->condition_message != NULL;
}

static void stats_block(const Job *job, NodeStatsResult *result) {
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        ConditionFacts facts = {.fs_type = "", .device = "the volume"};
        BlockInfo info = {0};

        if (block_sysfs_info(root_fd, job->target_facts.rdev, &info) < 0)
                facts.is_dead = true;
        facts.has_sizes = !facts.is_dead;
        facts.device_bytes = info.size_bytes;
        /* A usage must be there, or kubelet takes the whole answer for an error. */
        result->has_bytes = true;
        result->bytes.total = info.size_bytes;
        set_condition(job->call, &facts, result);
}

void stats_set_usage(const struct statvfs *usage, NodeStatsResult *result) {
        uint64_t unit = usage->f_frsize;

        /* As df(1): what is reserved for root is not available, and not used either. */
        result->bytes = (VolumeUsage){
                .available = (uint64_t)usage->f_bavail * unit,
                .total = (uint64_t)usage->f_blocks * unit,
                .used = (uint64_t)(usage->f_blocks - usage->f_bfree) * unit,
        };
        result->has_inodes = usage->f_files > 0;
        result->inodes = (VolumeUsage){
                .available = usage->f_favail,
                .total = usage->f_files,
                .used = usage->f_files - usage->f_ffree,
        };
}

/* A read-only target does not tell whether its filesystem is read-only by accident; the staging
 * path does. */
static void look_at_staged(Job *job, const NodeStatsRequest *request) {
        if (request->staging_path[0] == '\0' ||
            node_path_open(&job->source, &job->node->root, "staging_target_path",
                           request->staging_path, NULL) != 0 ||
            target_facts_read(&job->source_facts, &job->source, NULL, NULL) < 0)
                return;
        if (job->source_facts.is_mounted && !job->source_facts.is_dead &&
            job->source_facts.mount.dev == job->target_facts.mount.dev)
                job->target_facts.is_forced_ro =
                        job->target_facts.is_forced_ro || job->source_facts.is_forced_ro;
}

static void stats_mount(Job *job, const NodeStatsRequest *request, NodeStatsResult *result) {
        struct statvfs usage;
        ConditionFacts facts = {0};
        bool has_usage = false;
        int usage_errno = 0;

        result->has_bytes = true;
        if (!job->target_facts.is_dead) {
                look_at_staged(job, request);
                has_usage = fstatvfs(job->target.fd, &usage) == 0;
                usage_errno = has_usage ? 0 : errno;
        }
        if (has_usage)
                stats_set_usage(&usage, result);
        condition_read(&facts, &job->target, &job->target_facts, has_usage ? &usage : NULL);
        if (facts.open_errno == 0)
                facts.open_errno = usage_errno;
        set_condition(job->call, &facts, result);
}

int node_stats(Node *node, const Call *call, const NodeStatsRequest *request,
               NodeStatsResult *result, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "stats");
        if (node->config.provider->find_share) {
                r = share_stats(node, call, request, result, err);
                if (r != SHARE_E_LOCAL)
                        return r;
        }
        r = job_open_volume(job, request->volume_path, err);
        if (r < 0)
                return r;
        if (S_ISBLK(job->target_facts.type))
                stats_block(job, result);
        else
                stats_mount(job, request, result);
        return 0;
}
