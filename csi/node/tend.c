/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What nobody comes for any more: a mapper that was in use when its volume was unstaged, or whose
 * stage was killed, and a mount at a staging path that kubelet removed its note of. Only what is
 * proven ours is touched, only what nobody has open, and nothing while a call holds the volume or
 * the path. In doubt it stays, and is looked at again some minutes later.
 */

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/mount/mountinfo.h"
#include "csi/kubelet/volumes.h"
#include "csi/luks/mapper_note.h"
#include "csi/node/encrypt.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

/* A call of kubelet's may be on its way that still wants it. */
#define QUIET_SECONDS 120

typedef struct Tending {
        Node *node;
        Call call;
} Tending;

/* --- mappers --- */

static void say(const MapperNote *note, LogLevel level, const char *what) {
        const LogField fields[] = {{"volume", note->volume_id}, {"mapper", note->mapper}};

        log_fields(level, fields, N_ELEMENTS(fields), "%s", what);
}

/* Whether kubelet speaks for the volume, or may: in doubt it does. */
static bool is_asked_for(const Node *node, const MapperNote *note) {
        return !note->is_left &&
               (kubelet_has_volume(node->root.here, KUBELET_STAGING, note->volume_id) != 0 ||
                kubelet_has_volume(node->root.here, KUBELET_PODS, note->volume_id) != 0);
}

/* The volume is held. */
static void tend_held(const Node *node, const MapperNote *found) {
        cleanup(closep) int root_fd = file_open_root();
        const char *state_dir = node->config.state_dir;
        MapperNote note;
        Mapper mapper;
        int r;

        /* A call may have come between. */
        if (mapper_note_read(state_dir, found->mapper, &note) < 0 ||
            !str_equal(note.volume_id, found->volume_id))
                return;
        r = mapper_find(root_fd, note.mapper, &mapper);
        if (r < 0 && r != -ENODEV)
                return;
        /* It is closed, or another one has the name: that is not ours. */
        if (r == -ENODEV || !mapper_note_is_of(&note, &mapper)) {
                (void)mapper_note_remove(state_dir, note.mapper);
                return;
        }
        if (is_asked_for(node, &note) || device_is_bound(mapper.devno) != 0)
                return;
        r = mapper_remove(&mapper);
        if (r == -EBUSY)
                return;
        if (r < 0) {
                say(&note, LOG_LEVEL_WARNING, "cannot be closed, and nobody uses it");
                return;
        }
        (void)mapper_note_remove(state_dir, note.mapper);
        say(&note, LOG_LEVEL_INFO, "closed an encrypted volume that nobody uses or asks for");
}

static void tend_mapper(void *userdata, const MapperNote *note) {
        const Tending *tending = userdata;
        cleanup(hold_release) Hold lock = {0};

        if (!tending->call.cancelled(tending->call.userdata) &&
            hold_acquire(tending->node->locks, "volume", note->volume_id, HOLD_EXCLUSIVE, NULL,
                         &lock, NULL) == 0)
                tend_held(tending->node, note);
}

/* --- staging paths --- */

static bool is_digest(const char *text, size_t n) {
        return n == 64 && strspn(text, "0123456789abcdef") >= n;
}

/* "/plugins/kubernetes.io/csi/<our driver>/<SHA-256 of the volume's id>/globalmount", kubelet's
 * layout since 1.24: nobody else mounts there. */
static bool is_our_staging(const Node *node, const char *below) {
        static const char csi[] = "/plugins/kubernetes.io/csi/";
        const char *driver = node->config.driver_name, *slash;

        if (!str_has_prefix(below, csi) || str_is_empty(driver))
                return false;
        below += strlen(csi);
        if (!str_has_prefix(below, driver) || below[strlen(driver)] != '/')
                return false;
        below += strlen(driver) + 1;
        slash = strchr(below, '/');
        return slash && is_digest(below, (size_t)(slash - below)) &&
               str_equal(slash, "/globalmount");
}

/* Whether kubelet keeps nothing there any more, and has not for a while. */
static bool is_forsaken(const char *target) {
        cleanup(freep) char *directory = strndup(target, strlen(target) - strlen("/globalmount"));
        cleanup(closep) int fd = -1;
        struct stat status, note;

        if (!directory)
                return false;
        fd = open(directory, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        return fd >= 0 && fstatat(fd, KUBELET_NOTE, &note, AT_SYMLINK_NOFOLLOW) < 0 &&
               errno == ENOENT && fstat(fd, &status) == 0 &&
               status.st_mtime + QUIET_SECONDS < time(NULL);
}

/* Whether a pod has it: what is shown at another path is the same filesystem. */
static bool has_others(const MountTable *table, const Mount *staged) {
        for (size_t i = 0; i < table->n_mounts; i++)
                if (table->mounts[i].dev == staged->dev &&
                    !str_equal(table->mounts[i].target, staged->target))
                        return true;
        return false;
}

/* The mount at @wanted that an unmount would take, the one on top; NULL: somebody has it.
 * @root: kubelet's, without links; @wanted: below it. */
static const Mount *find_forsaken(const MountTable *table, const char *root, const char *wanted) {
        const Mount *found = NULL;

        for (size_t i = 0; i < table->n_mounts; i++) {
                const char *below = node_root_below(root, table->mounts[i].target);

                if (below && str_equal(below, wanted))
                        found = &table->mounts[i];
        }
        return found && is_forsaken(found->target) && !has_others(table, found) ? found : NULL;
}

/* The path is held: a stage or a publish may have ended since it was looked at. */
static bool is_still_forsaken(const Node *node, const char *below) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char root[PATH_MAX];

        return node_root_real(&node->root, root, NULL) == 0 && mountinfo_read(&table) == 0 &&
               find_forsaken(table, root, below);
}

/* The path is held. */
static int unmount(Job *job, const char *path, Error *err) {
        uint64_t devno;
        int r;

        r = node_path_open(&job->target, &job->node->root, "staging path", path, err);
        if (r == 0)
                r = target_facts_read(&job->target_facts, &job->target, NULL, err);
        if (r != 0 || !job->target_facts.is_mounted)
                return r < 0 ? r : 0;
        devno = job->target_facts.is_dead ? 0 : job->target_facts.mounted_on;
        r = node_unmount(job, &job->target, NODE_UNMOUNT_KEEP_TARGET, err);
        if (r == 0 && devno != 0)
                r = encrypt_close(job, devno, err);
        return r;
}

static void tend_staging(Tending *tending, const char *below) {
        cleanup(job_freep) Job *job = job_new(tending->node, &tending->call, "");
        cleanup(freep) char *path = str_printf("%s%s", tending->node->root.name, below);
        const LogField field = {"path", path};
        Error err = {0};
        int r;

        if (!job || !path ||
            hold_acquire(tending->node->locks, "path", path, HOLD_EXCLUSIVE, NULL, &job->locks.path,
                         NULL) < 0 ||
            !is_still_forsaken(tending->node, below))
                return;
        r = unmount(job, path, &err);
        log_fields(LOG_LEVEL_INFO, &field, 1,
                   "staged, and neither a pod nor a note of kubelet's is left: %s",
                   r < 0 ? err.message : "unmounted");
}

static void tend_stagings(Tending *tending) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char root[PATH_MAX];

        if (!(tending->node->config.provider->flags & PROVIDER_STAGES) ||
            node_root_real(&tending->node->root, root, NULL) < 0 || mountinfo_read(&table) < 0)
                return;
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];
                const char *below = node_root_below(root, mount->target);

                if (below && is_our_staging(tending->node, below) &&
                    find_forsaken(table, root, below) == mount &&
                    !tending->call.cancelled(tending->call.userdata))
                        tend_staging(tending, below);
        }
}

void node_tend(Node *node, bool (*cancelled)(void *userdata), void *userdata) {
        Tending tending = {node,
                           {.method = "Tend",
                            .deadline_msecs = UINT64_MAX,
                            .cancelled = cancelled,
                            .userdata = userdata}};

        tend_stagings(&tending);
        (void)mapper_note_each(node->config.state_dir, tend_mapper, &tending);
}
