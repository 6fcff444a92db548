/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/node/share.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/mount/mountinfo.h"
#include "csi/node/share_internal.h"
#include "csi/node/share_note.h"
#include "csi/node/timed.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* As df(1) tells servers from disks, for those that a volume may come from. */
bool share_is_remote(const char *fs_type) {
        static const char *const types[] = {"nfs",       "nfs4",   "cifs", "smb3", "ceph",
                                            "glusterfs", "lustre", "9p",   "afs"};

        if (!fs_type)
                return false;
        for (size_t i = 0; i < N_ELEMENTS(types); i++)
                if (str_equal(fs_type, types[i]))
                        return true;
        return str_has_prefix(fs_type, "fuse.");
}

/* What follows the server: "[fe80::1]:/a". NULL: it has none. */
static const char *export_of(const char *source) {
        const char *server_end = source[0] == '[' ? strchr(source, ']') : source;
        const char *colon = server_end ? strchr(server_end, ':') : NULL;

        return colon ? colon + 1 : NULL;
}

/* The next component of a path, @np bytes, without "." and empty ones. NULL: its end. */
static const char *next_component(const char **atp, size_t *np) {
        do {
                *atp += strspn(*atp, "/");
                *np = strcspn(*atp, "/");
                *atp += *np;
        } while (*np == 1 && (*atp)[-1] == '.');
        return *np > 0 ? *atp - *np : NULL;
}

bool share_is_same_source(const char *a, const char *b) {
        const char *at = export_of(a), *bt = export_of(b), *one, *other;
        size_t n_one, n_other;

        /* Of another kind, as SMB's: as they are written. */
        if (!at || !bt)
                return str_equal(a, b);
        if (at - a != bt - b || memcmp(a, b, (size_t)(at - a)) != 0)
                return false;
        do {
                one = next_component(&at, &n_one);
                other = next_component(&bt, &n_other);
                if (n_one != n_other || (one && memcmp(one, other, n_one) != 0))
                        return false;
        } while (one);
        return true;
}

bool share_is_of(const Node *node, const Mount *mount, const char *source) {
        return share_is_same_source(mount->source, source) ||
               share_note_is(node->config.state_dir, mount->target, source, mount->source);
}

/* --- what is mounted, by mountinfo --- */

int share_real_path(const NodePath *path, char text[PATH_MAX], Error *err) {
        char link[32];
        ssize_t n;
        int n_all;

        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", path->parent_fd);
        n = readlink(link, text, PATH_MAX - 1);
        if (n < 0)
                return error_set_errno(err, errno, "find the real path of %s", path->text);
        n_all = snprintf(text + n, PATH_MAX - (size_t)n, "%s%s", n == 1 ? "" : "/", path->name);
        if ((size_t)n_all >= PATH_MAX - (size_t)n)
                return error_set_errno(err, ENAMETOOLONG, "%s", path->text);
        return 0;
}

int share_find_mount(const NodePath *path, MountTable **tablep, const Mount **mountp, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char real[PATH_MAX];
        int r;

        r = share_real_path(path, real, err);
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
                           request->readonly || share->is_read_only};
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
                return 0;
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
                r = share_real_path(&job->target, real, err);
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
