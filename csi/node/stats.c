/* SPDX-License-Identifier: Apache-2.0 */

/* NodeGetVolumeStats. Does not hold the volume: it changes nothing, and kubelet asks about every
 * volume of the node once a minute. */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/block/block_sysfs.h"
#include "csi/node/condition.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"
#include "csi/node/timed.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A disk answers from the kernel's memory. */
#define ASK_MSECS 1000

/* @silent: what the provider said, which cannot look; filled, too, with a tool that hangs. */
static void set_condition(const Job *job, const ConditionFacts *facts, Error *silent,
                          NodeStatsResult *result) {
        char text[CONDITION_MAX];

        result->abnormal = condition_judge(facts, text);
        if (!error_is_set(silent))
                (void)node_check_hanging(job->node, job->volume.volume_id, silent);
        if (error_is_set(silent)) {
                result->condition_message =
                        result->abnormal
                                ? arena_printf(job->call->arena, "%s; %s", silent->message, text)
                                : arena_strdup(job->call->arena, silent->message);
                result->abnormal = true;
        } else {
                result->condition_message = arena_strdup(job->call->arena, text);
        }
        result->has_condition = result->condition_message != NULL;
}

static bool has_lost_disk(const Job *job, uint64_t devno) {
        const Provider *provider = job->node->config.provider;

        return devno != 0 && provider->has_lost_disk &&
               provider->has_lost_disk(job->node->config.provider_self, job->volume.volume_id,
                                       devno);
}

static void stats_block(const Job *job, Error *silent, NodeStatsResult *result) {
        cleanup(closep) int root_fd = file_open_root();
        ConditionFacts facts = {.fs_type = "", .device = "the volume"};
        BlockInfo info = {0};

        if (block_sysfs_info(root_fd, job->target_facts.rdev, &info) < 0)
                facts.is_dead = true;
        facts.has_lost_disk = has_lost_disk(job, job->target_facts.rdev);
        facts.has_sizes = !facts.is_dead;
        facts.device_bytes = info.size_bytes;
        /* A usage must be there, or kubelet takes the whole answer for an error. */
        result->has_bytes = true;
        result->bytes.total = info.size_bytes;
        set_condition(job, &facts, silent, result);
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

/* --- what may hang --- */

typedef struct Ask {
        TimedPlace place; /* the mounted root */
        struct statvfs usage;
        int usage_errno, open_errno;
} Ask;

static int do_ask(void *data) {
        Ask *ask = data;
        cleanup(closep) int root = -1;

        ask->usage_errno = fstatvfs(ask->place.fd, &ask->usage) == 0 ? 0 : errno;
        /* XFS and ext4 refuse to open a directory once they have shut down. */
        root = openat(ask->place.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
        ask->open_errno = root < 0 ? errno : 0;
        return 0;
}

/* One at a time for a path: of many that ask about what hangs, one thread stays. */
static int ask_mount(const Job *job, const char *path, Ask *ask) {
        return timed_run(job->node, TIMED_LOOK, path, job->target.fd, "", do_ask, ask, sizeof(*ask),
                         ASK_MSECS);
}

static int stats_mount(Job *job, const NodeStatsRequest *request, Error *silent,
                       NodeStatsResult *result, Error *err) {
        ConditionFacts facts = {0};
        char not_grown[GROWTH_TEXT_MAX];
        Ask ask = {.usage_errno = ENODATA};
        int r = 0;

        result->has_bytes = true;
        if (!job->target_facts.is_dead) {
                look_at_staged(job, request);
                r = ask_mount(job, request->volume_path, &ask);
        }
        if (r < 0 && r != -ETIMEDOUT)
                return error_set_errno(err, r, "look at %s", request->volume_path);
        facts.hangs = r < 0;
        facts.open_errno = ask.open_errno ? ask.open_errno : ask.usage_errno;
        if (facts.hangs || job->target_facts.is_dead)
                facts.open_errno = 0;
        if (r == 0 && ask.usage_errno == 0)
                stats_set_usage(&ask.usage, result);
        if (growth_get(job->node, request->volume_id, not_grown))
                facts.not_grown = not_grown;
        facts.has_lost_disk = has_lost_disk(job, job->target_facts.mounted_on);
        condition_read(&facts, &job->target_facts, ask.usage_errno == 0 ? &ask.usage : NULL);
        set_condition(job, &facts, silent, result);
        return 0;
}

int node_stats(Node *node, const Call *call, const NodeStatsRequest *request,
               NodeStatsResult *result, Error *err) {
        cleanup(job_freep) Job *job = job_new(node, call, request->volume_id);
        Error silent = {0};
        int r;

        if (!job)
                return error_set_errno(err, ENOMEM, "stats");
        if (node->config.provider->find_share) {
                r = share_stats(node, call, request, result, err);
                if (r != SHARE_E_LOCAL)
                        return r;
        }
        r = wait_for_hold(call, node->locks, "statistics of", request->volume_path, HOLD_EXCLUSIVE,
                          &job->locks.path, err);
        if (r == 0)
                r = job_open_volume(job, request->volume_path, &silent, err);
        if (r < 0)
                return r;
        if (S_ISBLK(job->target_facts.type))
                stats_block(job, &silent, result);
        else
                r = stats_mount(job, request, &silent, result, err);
        return r;
}
