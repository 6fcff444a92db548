/* SPDX-License-Identifier: Apache-2.0 */

/* What is asked of a server, or of the kernel about one: all of it may hang, none of it waits for
 * ever. */

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "csi/kubelet/holder.h"
#include "csi/node/condition.h"
#include "csi/node/node_internal.h"
#include "csi/node/share.h"
#include "csi/node/timed.h"
#include "csi/share/helper.h"
#include "csi/share/share_note.h"
#include "csi/wait/limits.h"

/* kubelet's restarts stacked thousands with drivers that did not look. */
#define DETACH_MAX 100000

/* --- detaching --- */

/* MNT_FORCE ends what waits for the server in the whole superblock (nfs_umount_begin()), and pods
 * that mount the same export share that: their writes would fail for a server that is only slow. */
static bool has_others(const MountTable *table, const Mount *mount) {
        for (size_t i = 0; i < table->n_mounts; i++)
                if (table->mounts[i].id != mount->id && table->mounts[i].dev == mount->dev)
                        return true;
        return false;
}

static int detach_dead(Node *node, const NodePath *path, bool others) {
        return timed_detach(node, path, (others ? 0 : MOUNT_DETACH_FORCE) | MOUNT_DETACH_LAZY,
                            UNMOUNT_FORCE_MSECS);
}

static int detach_one(Node *node, const NodePath *path, const MountTable *table, const Mount *mount,
                      Error *err) {
        struct statvfs usage;
        int r;

        r = timed_look(node, path, &usage);
        if (r == 0 || r == -EACCES || r == -EPERM) {
                r = timed_detach(node, path, 0, UNMOUNT_TIMEOUT_MSECS);
                if (r == -EBUSY) {
                        r = error_set(err, ERROR_UNAVAILABLE,
                                      "%s is in use: a process still has files open there",
                                      path->text);
                        holder_tell_mount(mount->id, err);
                        return r;
                }
        } else {
                log_warning("%.200s at %s does not answer: detached all the same", mount->source,
                            path->text);
                r = detach_dead(node, path, has_others(table, mount));
        }
        /* The kernel may still be busy with what is gone for everybody else. */
        return r == -EINVAL || r == -ENOENT || r == -ETIMEDOUT ? 0 : r;
}

static void forget(const Node *node, const NodePath *path) {
        char real[PATH_MAX];

        if (node_path_real(path, real, NULL) == 0)
                share_note_remove(node->config.state_dir, real);
}

int share_detach(Node *node, const NodePath *path, Error *err) {
        uint64_t last_id = 0;

        for (int i = 0; i < DETACH_MAX; i++) {
                cleanup(mount_table_freep) MountTable *table = NULL;
                const Mount *mount;
                int r;

                r = share_find_mount(path, &table, &mount, err);
                if (r < 0)
                        return r;
                if (!mount || !share_is_remote(mount->fs_type)) {
                        forget(node, path);
                        return 0;
                }
                if (mount->id == last_id)
                        return error_set(err, ERROR_UNAVAILABLE,
                                         "%.200s could not be unmounted from %s in time",
                                         mount->source, path->text);
                last_id = mount->id;
                r = detach_one(node, path, table, mount, err);
                if (r < 0 && !error_is_set(err))
                        return error_set_errno(err, r, "unmount %s", path->text);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* --- mounting --- */

/* The helper was given a path, where no server's filesystem was. What is there now is what was
 * asked for: NFSv4 may have been led on by the server, by a link or a referral, and shows where it
 * came to. */
static int verify(const Node *node, const Work *work, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        const LogField field = {"volume", work->volume_id};
        const char *source = work->plan->share->source;
        const Mount *mount;
        int r;

        r = share_find_mount(work->target, &table, &mount, err);
        if (r < 0)
                return r;
        if (mount && share_is_remote(mount->fs_type)) {
                if (share_is_same_source(mount->source, source))
                        return 0;
                log_fields(LOG_LEVEL_INFO, &field, 1, "%.200s led to %.200s", source,
                           mount->source);
                /* The same request is CONFLICT without it, when kubelet makes it again. */
                r = share_note_write(node->config.state_dir, mount->target, source, mount->source);
                return r < 0 ? error_set_errno(err, r, "note where %.200s led to", source) : 0;
        }
        return error_set(err, ERROR_UNAVAILABLE,
                         "%s said that it mounted %.200s at %s, and it is "
                         "not there",
                         work->plan->share->helper, source, work->target->text);
}

static int set_mode(Node *node, const Work *work, Error *err) {
        const Share *share = work->plan->share;
        int r = share->mode != 0 ? timed_set_mode(node, work->target, share->mode) : 0;

        if (r == -ETIMEDOUT)
                return error_set(err, ERROR_UNAVAILABLE, "the server %s stopped answering",
                                 share->server);
        return r < 0 ? error_set_errno(err, r, "set the permissions of %.200s to %o", share->source,
                                       share->mode)
                     : 0;
}

int share_mount(Node *node, Work *work, Error *err) {
        Error error = {0};
        char real[PATH_MAX];
        int r;

        r = node_path_real(work->target, real, err);
        if (r < 0)
                return r;
        /* What was opened lies below the mount to come. */
        closep(&work->target->fd);
        r = share_helper_run(work->plan->share, &work->plan->options, real, work->target->text,
                             timed_left(work->call, SHARE_MOUNT_TIMEOUT_MSECS), work->call, err);
        if (r == 0)
                r = verify(node, work, err);
        if (r == 0)
                r = set_mode(node, work, err);
        /* Also where the helper was ended: the kernel may have been faster. */
        if (r < 0 && share_unmount(node, work, &error) < 0)
                error_join(err, &error);
        return r;
}

int share_unmount(Node *node, Work *work, Error *err) {
        int r = share_detach(node, work->target, err);

        return r < 0 ? r : node_path_reopen(work->target, err);
}

/* --- statistics --- */

static void set_condition(const Call *call, const char *text, NodeStatsResult *result) {
        result->abnormal = text != NULL;
        result->condition_message = arena_strdup(call->arena, text ? text : "no error is known");
        result->has_condition = result->condition_message != NULL;
}

static void fill(const Call *call, int r, const struct statvfs *usage, NodeStatsResult *result) {
        char text[CONDITION_MAX];

        /* A usage must be there, or kubelet takes the whole answer for an error. */
        result->has_bytes = true;
        if (r == 0) {
                stats_set_usage(usage, result);
                set_condition(call, NULL, result);
        } else if (r == -ETIMEDOUT) {
                set_condition(call, "the server does not answer", result);
        } else {
                errno = -r;
                (void)snprintf(text, sizeof(text), "the server's filesystem cannot be read: %m");
                set_condition(call, text, result);
        }
}

int share_stats(Node *node, const Call *call, const NodeStatsRequest *request,
                NodeStatsResult *result, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        NodePath path = NODE_PATH_INIT;
        struct statvfs usage = {0};
        const Mount *mount = NULL;
        int r;

        r = node_path_open_parent(&path, &node->root, "volume_path", request->volume_path, err);
        if (r == 0)
                r = share_find_mount(&path, &table, &mount, err);
        /* What is wrong with the path is said by who opens it. */
        if (r != 0 || !mount || !share_is_remote(mount->fs_type)) {
                node_path_close(&path);
                if (err)
                        *err = (Error){0};
                return SHARE_E_LOCAL;
        }
        r = timed_look(node, &path, &usage);
        node_path_close(&path);
        fill(call, r, &usage, result);
        return 0;
}
