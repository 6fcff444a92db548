/* SPDX-License-Identifier: Apache-2.0 */

/* The way back: all of it that can be done is done, and what is gone already is done. */

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/exec.h"
#include "common/base/log.h"
#include "csi/kubelet/holder.h"
#include "csi/node/growing.h"
#include "csi/node/marker.h"
#include "csi/node/timed.h"
#include "csi/wait/limits.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A driver that did not look stacked 49,153 mounts on one target. */
#define UNMOUNTS_MAX 200000

#define UNMOUNT_E_NOTHING 1

#define BUSY_TRIES_MAX  10
#define BUSY_WAIT_MSECS 20

static int is_dead(const NodePath *path, bool *deadp, bool *has_diskp, Error *err) {
        cleanup(target_facts_deinit) TargetFacts facts = {0};
        int r;

        r = target_facts_read(&facts, path, NULL, err);
        *deadp = facts.is_dead;
        *has_diskp = facts.is_mounted && !facts.is_dead && facts.mounted_on != 0;
        return r;
}

/* A call for statistics has the path open for a moment, as everybody may who looks at it. */
static int detach(const Job *job, NodePath *path, unsigned int how) {
        const uint64_t msecs = timed_left(job->call, UNMOUNT_TIMEOUT_MSECS);
        int r;

        /* Our own descriptor keeps the mount busy, too. */
        closep(&path->fd);
        r = timed_detach(job->node, path, how, msecs);
        for (int i = 0; i < BUSY_TRIES_MAX && r == -EBUSY; i++) {
                if (i == 0)
                        exec_settle();
                else
                        clock_sleep(BUSY_WAIT_MSECS);
                r = timed_detach(job->node, path, how, msecs);
        }
        return r;
}

/* A look at it has not come back, and holds it: it would be busy for ever. */
static bool hangs(const Job *job, const NodePath *path) {
        return timed_is_late(job->node, TIMED_LOOK, path->text);
}

static int is_late(const NodePath *path, Error *err) {
        return error_set(err, ERROR_UNAVAILABLE,
                         "%s is still being unmounted: what was written goes to its disk, or the "
                         "disk does not answer",
                         path->text);
}

static void tell_user(NodePath *path, Error *err) {
        cleanup(mount_status_deinit) MountStatus status = {0};

        if (node_path_reopen(path, NULL) == 0 && path->fd >= 0 &&
            mount_query(path->fd, MOUNT_QUERY_SHORT, &status) == 0)
                holder_tell_mount(status.id, err);
}

/* Who froze it has until the last unmount: nobody could thaw it after that. A share may be of the
 * node's own disk, which is not ours to thaw. Return: 0; ERROR_UNAVAILABLE: it is late. */
static int thaw(const Job *job, NodePath *path, Error *err) {
        const LogField field = {"volume", job->volume.volume_id};
        int r;

        if (job->node->config.provider->find_share)
                return 0;
        r = timed_thaw(job->node, path, timed_left(job->call, UNMOUNT_TIMEOUT_MSECS));
        if (r == 0)
                log_fields(
                        LOG_LEVEL_WARNING, &field, 1,
                        "its filesystem at %s was left frozen by somebody else and is thawed: it "
                        "is unmounted",
                        path->text);
        if (r != -ETIMEDOUT)
                return 0;
        /* The mount is held until it comes back: off the path it is unmounted by that. */
        closep(&path->fd);
        (void)timed_detach(job->node, path, MOUNT_DETACH_LAZY, UNMOUNT_TIMEOUT_MSECS);
        return is_late(path, err);
}

static int unmount_one(const Job *job, NodePath *path, Error *err) {
        bool dead = path->is_dead || hangs(job, path), has_disk = false;
        int r;

        r = dead ? 0 : is_dead(path, &dead, &has_disk, err);
        if (r == 0 && has_disk)
                r = thaw(job, path, err);
        if (r < 0)
                return r;
        r = detach(job, path, dead ? MOUNT_DETACH_LAZY : 0);
        if (r == -ETIMEDOUT && !dead)
                return is_late(path, err);
        if (r == -EINVAL || r == -ENOENT) {
                r = node_path_reopen(path, err);
                return r < 0 ? r : UNMOUNT_E_NOTHING;
        }
        /* Of a frozen filesystem, held here by its growth: the volume is given back after that. */
        if (r == -EBUSY && timed_is_late(job->node, TIMED_GROW, job->volume.volume_id))
                r = detach(job, path, MOUNT_DETACH_LAZY);
        if (r == -EBUSY) {
                r = error_set(err, ERROR_UNAVAILABLE,
                              "%s is in use: a process still has files open there, or something is "
                              "mounted below it",
                              path->text);
                tell_user(path, err);
                return r;
        }
        /* It could not even be looked at: nobody will get anything out of it. */
        if (r < 0 && r != -ETIMEDOUT)
                r = timed_detach(job->node, path, MOUNT_DETACH_LAZY, UNMOUNT_TIMEOUT_MSECS);
        if (r < 0 && r != -ETIMEDOUT)
                return error_set_errno(err, r, "unmount %s", path->text);
        if (dead)
                log_warning("detached a dead filesystem at %s", path->text);
        return node_path_reopen(path, err);
}

static int remove_directory(NodePath *path, Error *err) {
        if (unlinkat(path->parent_fd, path->name, AT_REMOVEDIR) == 0 || errno == ENOENT)
                return 0;
        if (errno != ENOTEMPTY && errno != EEXIST)
                return error_set_errno(err, errno, "remove %s", path->text);
        return error_set(err, ERROR_PRECONDITION,
                         "%s has files in it that were written while nothing was mounted there: "
                         "look at them, then remove them",
                         path->text);
}

static int remove_file(NodePath *path, Error *err) {
        struct stat status;

        if (fstat(path->fd, &status) < 0)
                return error_set_errno(err, errno, "look at %s", path->text);
        /* Ours is empty; a node is what another driver made of the same. */
        if (!S_ISBLK(status.st_mode) && (!S_ISREG(status.st_mode) || status.st_size > 0))
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is a file that is not empty: look at it, then remove it",
                                 path->text);
        if (unlinkat(path->parent_fd, path->name, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove %s", path->text);
        return 0;
}

int node_unmount(const Job *job, NodePath *path, unsigned int how, Error *err) {
        int r = 0;

        if (timed_is_late(job->node, TIMED_UNMOUNT, path->text) ||
            timed_is_late(job->node, TIMED_THAW, path->text))
                return is_late(path, err);
        for (int i = 0; i < UNMOUNTS_MAX && r == 0; i++)
                r = unmount_one(job, path, err);
        if (r < 0)
                return r;
        r = marker_remove(path);
        if (r == 0)
                r = growing_end(path);
        if (r < 0)
                return error_set_errno(err, r, "clean %s", path->text);
        if (!(how & NODE_UNMOUNT_REMOVE_TARGET) || path->fd < 0)
                return 0;
        return S_ISDIR(path->type) ? remove_directory(path, err) : remove_file(path, err);
}
