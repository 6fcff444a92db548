/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/share.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/mount/mountinfo.h"
#include "csi/node/timed.h"
#include "csi/share/share_note.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

bool share_is_of(const Node *node, const Mount *mount, const char *source) {
        return share_is_same_source(mount->source, source) ||
               share_note_is(node->config.state_dir, mount->target, source, mount->source);
}

/* --- what is mounted, by mountinfo --- */

int share_find_mount(const NodePath *path, MountTable **tablep, const Mount **mountp, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char real[PATH_MAX];
        int r;

        r = node_path_real(path, real, err);
        if (r < 0)
                return r;
        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        *mountp = mount_table_find_target(table, real);
        *tablep = ptr_steal(&table);
        return 0;
}

/* --- a directory of this node --- */

static bool is_same_directory(int fd, const struct stat *wanted) {
        struct stat status;

        return fd >= 0 && fstat(fd, &status) == 0 && status.st_dev == wanted->st_dev &&
               status.st_ino == wanted->st_ino;
}

/* The directory was removed and made anew: what is shown is the old one, and nobody will ever
 * connect to what is in it. */
static bool is_left_behind(const TargetFacts *facts) {
        return facts->is_mounted && !facts->is_dead && facts->mount.root &&
               str_has_suffix(facts->mount.root, "//deleted");
}

static int publish_directory(Job *job, const NodePublishRequest *request, const Share *share,
                             Error *err) {
        TargetFacts *target = &job->target_facts;
        BindInput input = {request->volume_id, &job->options,
                           request->readonly || share->is_read_only, ""};
        struct stat wanted;
        int r;

        closep(&job->source.fd);
        job->source.fd = open(share->directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (job->source.fd < 0 || fstat(job->source.fd, &wanted) < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the directory %s is not there: is what serves it installed on "
                                 "this node, and its directory mounted into this container?",
                                 share->directory);
        r = job_open_target(job, "target_path", request->target_path, err);
        if (r == 0)
                r = job_read_target(job, &job->target, NULL, target, err);
        if (r < 0)
                return r;
        /* As it is, also with another flag: a driver before us may have bound it for writing. */
        if (target->is_mounted && !target->is_dead && is_same_directory(job->target.fd, &wanted))
                return 0;
        target->is_dead = target->is_dead || is_left_behind(target);
        r = directory_plan(&input, share->directory, target, &job->plan, err);
        return r < 0 ? r : job_apply(job, err);
}

/* --- what a server has --- */

static int check_single(const Job *job, const NodePublishRequest *request, const Share *share,
                        const MountTable *table, const char *real, Error *err) {
        char root[PATH_MAX];
        int r;

        if (request->capability.access_mode != ACCESS_MODE_SINGLE_NODE_SINGLE_WRITER)
                return 0;
        r = node_root_real(&job->node->root, root, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];

                if (share_is_remote(mount->fs_type) &&
                    share_is_of(job->node, mount, share->source) &&
                    node_root_below(root, mount->target) && !str_equal(mount->target, real))
                        return error_set(err, ERROR_PRECONDITION,
                                         "the volume is published at %s already, and its access "
                                         "mode SINGLE_NODE_SINGLE_WRITER allows one target",
                                         mount->target);
        }
        return 0;
}

/* What it has beyond what was asked for the host's own configuration of its helper may have set. */
static int judge_flags(const Job *job, const Mount *mount, Error *err) {
        MountOptions has = {0};

        if (mount_options_add(&has, mount->options) < 0)
                return 0;
        /* Told as the absence of a word. */
        has.set |= job->options.set & MOUNT_FLAG_STRICT_ATIME;
        return mount_flags_judge(&job->options, has.set, has.set, job->target.text, err);
}

/* Something is there. Return: 0 as asked; SHARE_E_LOCAL: it is to be mounted anew. */
static int judge_mounted(Job *job, const Mount *mount, const Share *share, bool read_only,
                         Error *err) {
        bool is_read_only = mount_options_have(mount->options, "ro");
        struct statvfs usage;
        int r;

        if (!share_is_remote(mount->fs_type) || !share_is_of(job->node, mount, share->source))
                return error_set(err, ERROR_CONFLICT,
                                 "%s is taken: %.200s (%s) is mounted there, not %.200s",
                                 job->target.text, mount->source, mount->fs_type, share->source);
        r = timed_look(job->node, &job->target, &usage);
        if (r == -ESTALE)
                return SHARE_E_LOCAL;
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "%.200s is mounted at %s and its server does not answer: it goes "
                                 "on when the server is back",
                                 share->source, job->target.text);
        if (is_read_only == read_only)
                return judge_flags(job, mount, err);
        return error_set(err, ERROR_CONFLICT, "%s is published there %s, the request asks for %s",
                         job->target.text, is_read_only ? "read-only" : "for writing",
                         read_only ? "read-only" : "writing");
}

/* Return: 0 nothing to do; SHARE_E_LOCAL: to be mounted. */
static int look_at_target(Job *job, const NodePublishRequest *request, const Share *share,
                          bool read_only, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char real[PATH_MAX];
        const Mount *mount;
        int r;

        r = share_find_mount(&job->target, &table, &mount, err);
        if (r == 0)
                r = node_path_real(&job->target, real, err);
        if (r < 0)
                return r;
        if (mount) {
                r = judge_mounted(job, mount, share, read_only, err);
                if (r <= 0)
                        return r;
                r = share_detach(job->node, &job->target, err);
                return r < 0 ? r : SHARE_E_LOCAL;
        }
        r = check_single(job, request, share, table, real, err);
        return r < 0 ? r : SHARE_E_LOCAL;
}

static int publish_remote(Job *job, const NodePublishRequest *request, const Share *share,
                          Error *err) {
        const NodeRoot *root = &job->node->root;
        int r;

        job->options = (MountOptions){0};
        r = options_from_capability(&job->options, &job->capability, share->options, err);
        if (request->readonly || share->is_read_only)
                job->options.set |= MOUNT_FLAG_READ_ONLY;
        if (r == 0)
                r = node_path_open_parent(&job->target, root, "target_path", request->target_path,
                                          err);
        if (r == NODE_PATH_E_NO_PARENT)
                return error_set(err, ERROR_PRECONDITION,
                                 "target_path: the directory that %s is to be in does not exist",
                                 request->target_path);
        if (r == 0)
                r = look_at_target(job, request, share, job->options.set & MOUNT_FLAG_READ_ONLY,
                                   err);
        if (r <= 0)
                return r;
        /* No server's filesystem is on it: it can be opened. */
        r = node_path_reopen(&job->target, err);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r == 0)
                r = share_plan(share, &job->options, &job->target_facts, &job->plan, err);
        return r < 0 ? r : job_apply(job, err);
}

int share_publish(Job *job, const NodePublishRequest *request, const Share *share, Error *err) {
        if (request->capability.is_block)
                return error_set(err, ERROR_INVALID,
                                 "volume_capability: block, expected mount: the volume is a "
                                 "directory");
        return share->directory ? publish_directory(job, request, share, err)
                                : publish_remote(job, request, share, err);
}
