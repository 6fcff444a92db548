/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Cuts. Whatever happens between freeze and thaw, the thaw is reached: there is no early return
 * between them, and a crash is made good by the next start, which finds "froze" in the target's
 * metadata. That is there from just before the freeze to just after the thaw: a start that read it
 * later would thaw what somebody else has frozen since.
 */

#include "csi/local/cut.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "common/block/filecopy.h"
#include "common/block/fsfreeze.h"
#include "common/block/loop.h"
#include "common/mount/mount_query.h"
#include "common/mount/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void cut_part_init(CutPart *part, Entry *source, Entry *target) {
        *part = (CutPart){
                .source = source,
                .target = target,
                .attachment = ATTACHMENT_INIT,
                .from_fd = -1,
                .to_fd = -1,
                .mount_fd = -1,
        };
}

void cut_part_deinit(CutPart *part) {
        attachment_deinit(&part->attachment);
        if (part->from_fd != part->to_fd)
                closep(&part->from_fd);
        closep(&part->to_fd);
        closep(&part->mount_fd);
}

/* A directory of the filesystem that is mounted from /dev/loop@number in our namespace; -ENOENT if
 * there is none. btrfs has a device number of its own, so the source's name is looked at too. */
static int open_mount(const MountTable *table, unsigned int number, uint64_t devno) {
        char path[LOOP_PATH_MAX];

        loop_path(number, path);
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];
                MountStatus status = {0};
                bool is_it;
                int fd;

                if (mount->dev != devno &&
                    (strcmp(mount->fs_type, "btrfs") != 0 || strcmp(mount->source, path) != 0))
                        continue;
                fd = open(mount->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK);
                if (fd < 0)
                        continue;
                /* Something else may be mounted on top of it; stat(2) does not tell on btrfs, whose
                 * subvolumes have device numbers of their own. */
                is_it = mount_query(fd, MOUNT_QUERY_SHORT, &status) == 0 && status.id == mount->id;
                mount_status_deinit(&status);
                if (is_it)
                        return fd;
                closep(&fd);
        }
        return -ENOENT;
}

static int find_mount(CutPart *part, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        int r;

        r = attach_is_mounted(&part->attachment, err);
        if (r < 0)
                return r;
        if (r == 0)
                return 0;
        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        r = open_mount(table, part->attachment.number, part->attachment.devno);
        if (r >= 0) {
                part->mount_fd = r;
                part->is_mounted = true;
        } else {
                part->is_hidden = true;
        }
        return 0;
}

static bool is_attached(const CutPart *part) {
        return part->attachment.fd >= 0;
}

/* Whether this kind of cut can be consistent at all, before anything is made. */
static int check(Pool *pool, const CutPart *part, size_t n_parts, Error *err) {
        const char *id = part->source->meta.id;

        if (!is_attached(part) || part->is_mounted || (n_parts == 1 && pool->can_reflink))
                return 0;
        /* Unstaged, and a probe of udev, for one, still looks at it. */
        if (part->attachment.is_leaving)
                return attach_say_leaving(part->source, &part->attachment, err);
        if (part->is_hidden)
                return error_set(err, ERROR_AGAIN,
                                 "volume %s is mounted in another mount namespace (a container "
                                 "has a copy of the mount, see /proc/PID/mountinfo): its writers "
                                 "cannot be stopped from here; try again when that is gone",
                                 id);
        if (n_parts > 1)
                return error_set(err, ERROR_PRECONDITION,
                                 "volume %s is in use as a raw block device: a group snapshot "
                                 "cannot stop its writers",
                                 id);
        return error_set(err, ERROR_PRECONDITION,
                         "volume %s is in use as a raw block device and pool %s is on a "
                         "filesystem without reflink: stop its user, or move the pool to "
                         "xfs or btrfs",
                         id, pool->path);
}

/* One that an unstage could not give back, because somebody looked at it then, is not in use: the
 * node's own calls are kept out by the volume's name. Return: 0; ATTACH_E_NONE; <0. */
static int find_device(Pool *pool, const Call *call, CutPart *part, Error *err) {
        Entry *source = part->source;
        int r;

        r = attach_find(pool, source, &part->attachment, err);
        if (r != 0)
                return r;
        r = attach_is_mounted(&part->attachment, err);
        if (r == 0)
                r = attach_is_published(&part->attachment, err);
        if (r != 0)
                return r < 0 ? r : 0;
        return attach_drop_wait(pool, call, source,
                                clock_msecs() + (pool->can_reflink ? 0 : HOLD_WAIT_MSECS),
                                &part->attachment, err);
}

int cut_is_attached(Pool *pool, const Call *call, Entry *source, Error *err) {
        cleanup(cut_part_deinit) CutPart part;
        int r;

        cut_part_init(&part, source, NULL);
        if (source->meta.kind != LOCAL_VOLUME)
                return 0;
        r = find_device(pool, call, &part, err);
        if (r == 0 && part.attachment.is_leaving)
                return attach_say_leaving(source, &part.attachment, err);
        return r < 0 ? r : r != ATTACH_E_NONE;
}

static int look(Pool *pool, const Call *call, CutPart *part, size_t n_parts, Error *err) {
        int r;

        if (part->source->meta.kind == LOCAL_VOLUME) {
                r = find_device(pool, call, part, err);
                if (r < 0)
                        return r;
                r = r == ATTACH_E_NONE ? 0 : find_mount(part, err);
                if (r < 0)
                        return r;
        }
        if (is_attached(part)) {
                r = attach_check_file(part->source, &part->attachment, err);
                if (r < 0)
                        return r;
        }
        return check(pool, part, n_parts, err);
}

static int prepare(Pool *pool, CutPart *part, Error *err) {
        LocalMeta meta = part->target->meta;
        int r;

        part->from_fd = pool_open_data(pool, &part->source->meta, O_RDONLY, err);
        if (part->from_fd < 0)
                return part->from_fd;
        r = attach_check_size(pool, part->source, part->from_fd, err);
        if (r == 0)
                r = pool_store(pool, part->target, &meta, err);
        if (r < 0)
                return r;
        part->to_fd = pool_open_data(pool, &meta, O_RDWR | O_CREAT, err);
        return part->to_fd < 0 ? part->to_fd : 0;
}

/* --- Who freezes: one cut at a time, or each would take another's freeze for a stranger's --- */

static const CutPart *find_frozen(const CutPart *parts, size_t n_parts) {
        for (size_t i = 0; i < n_parts; i++)
                if (parts[i].is_mounted && parts[i].source->is_frozen)
                        return &parts[i];
        return NULL;
}

static void set_frozen(CutPart *parts, size_t n_parts, bool is_frozen) {
        for (size_t i = 0; i < n_parts; i++)
                if (parts[i].is_mounted)
                        parts[i].source->is_frozen = is_frozen;
}

static int take_freezes_locked(Pool *pool, const Call *call, CutPart *parts, size_t n_parts,
                               Error *err) {
        uint64_t until = clock_msecs() + HOLD_WAIT_MSECS;
        const CutPart *part;

        while ((part = find_frozen(parts, n_parts)) != NULL) {
                const char *id = part->source->meta.id;

                if (clock_msecs() >= until)
                        return error_set(err, ERROR_AGAIN,
                                         "volume %s is frozen by another snapshot or clone of it; "
                                         "try again",
                                         id);
                if (call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "cancelled while waiting for %s", id);
                pool_wait(pool, until);
        }
        set_frozen(parts, n_parts, true);
        return 0;
}

/* All at once: two groups cannot wait for each other. */
static int take_freezes(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err) {
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = take_freezes_locked(pool, call, parts, n_parts, err);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

static void give_freezes(Pool *pool, CutPart *parts, size_t n_parts) {
        pthread_mutex_lock(&pool->mutex);
        set_frozen(parts, n_parts, false);
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
}

static int note_freeze(Pool *pool, CutPart *part, bool froze, Error *err) {
        LocalMeta meta = part->target->meta;

        if (!part->is_mounted || meta.froze == froze)
                return 0;
        meta.froze = froze;
        return pool_store(pool, part->target, &meta, err);
}

/* What is written already does not have to be while its writers wait. */
static int sync_mounted(const CutPart *part, Error *err) {
        if (part->is_mounted && syncfs(part->mount_fd) < 0)
                return error_set_errno(err, errno, "sync the filesystem of %s",
                                       part->source->meta.id);
        return 0;
}

/* Somebody else has frozen it: a backup has its pods' filesystems frozen by a hook, asks for the
 * snapshots, and thaws. No start may thaw it for us, which the metadata says until now. Before
 * Linux 6.7 a freeze that has only begun is EBUSY too: what was written before is synced. */
static int use_others_freeze(Pool *pool, CutPart *part, Error *err) {
        int r = note_freeze(pool, part, false, err);

        return r < 0 ? r : sync_mounted(part, err);
}

static int freeze_mounted(Pool *pool, CutPart *part, Error *err) {
        int r = fsfreeze_freeze(part->mount_fd);

        part->is_frozen = r == 0;
        part->is_still = r == 0 || r == -EBUSY;
        if (r == -EBUSY)
                return use_others_freeze(pool, part, err);
        if (r < 0 && r != -EOPNOTSUPP)
                return error_set_errno(err, r, "freeze the filesystem of %s",
                                       part->source->meta.id);
        return 0;
}

/* Discards of a frozen filesystem go on: btrfs' own come later, and say nothing of its content. */
static int count_written(const CutPart *part, uint64_t *n_sectorsp, bool *writingp, Error *err) {
        cleanup(closep) int root_fd = file_open_root();
        int r = block_sysfs_written(root_fd, part->attachment.devno, n_sectorsp, writingp);

        return r < 0 ? error_set_errno(err, r, "look at what was written to /dev/loop%u",
                                       part->attachment.number)
                     : 0;
}

static int freeze(Pool *pool, CutPart *part, Error *err) {
        int r = part->is_mounted ? freeze_mounted(pool, part, err) : 0;
        bool writing;

        if (r < 0)
                return r;
        /* What is in the page cache of the device goes into the file. */
        if (is_attached(part) && fsync(part->attachment.fd) < 0)
                return error_set_errno(err, errno, "sync the device of %s", part->source->meta.id);
        return part->is_still ? count_written(part, &part->n_sectors, &writing, err) : 0;
}

/* Anybody can thaw what anybody froze: the hook of another backup, or a pod that may. What was read
 * after that may be half of a change, and the members of a group of two moments. */
static int check_still(const CutPart *part, Error *err) {
        uint64_t n_sectors;
        bool writing;
        int r;

        if (!part->is_still)
                return 0;
        r = count_written(part, &n_sectors, &writing, err);
        if (r < 0 || (!writing && n_sectors == part->n_sectors))
                return r;
        return error_set(err, ERROR_AGAIN,
                         "the filesystem of %s was thawed by somebody else, and written to, while "
                         "it was read; try again",
                         part->source->meta.id);
}

static void thaw(CutPart *part) {
        int r;

        if (!part->is_frozen)
                return;
        r = fsfreeze_thaw(part->mount_fd);
        if (r == -EINVAL)
                log_warning("the filesystem of %s, frozen for a snapshot or clone, was thawed by "
                            "somebody else",
                            part->source->meta.id);
        else if (r < 0)
                log_error("thaw the filesystem of %s: %m", part->source->meta.id);
        part->is_frozen = false;
}

static int share(CutPart *part, Error *err) {
        int r;

        if (filecopy_is_nocow(part->from_fd))
                (void)filecopy_set_nocow(part->to_fd);
        r = filecopy_reflink(part->from_fd, part->to_fd);
        if (r < 0)
                return error_set_errno(err, r, "share the blocks of %s", part->source->meta.id);
        return 0;
}

static int say_late(const CutPart *part, const char *when, Error *err) {
        return error_set(err, ERROR_PRECONDITION,
                         "%s has more data than can be copied %s, and the pool is on a filesystem "
                         "without reflink: stop its user, or move the pool to xfs or btrfs",
                         part->source->meta.id, when);
}

#define CUT_E_LATE 2

/* From part->at_bytes. Return: 0; CUT_E_LATE; <0 with @err. */
static int copy_until(CutPart *part, const Call *call, bool again, uint64_t until_msecs,
                      Error *err) {
        cleanup(filecopy_deinit) FileCopy copy = {
                .from_fd = part->from_fd,
                .to_fd = part->to_fd,
                .at_bytes = part->at_bytes,
                .size_bytes = part->source->meta.size_bytes,
                .real_blocks = part->target->meta.thick,
                .is_again = again,
        };
        int r;

        while ((r = filecopy_step(&copy)) == 0) {
                part->at_bytes = copy.at_bytes;
                if (call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "cancelled");
                if (clock_msecs() > until_msecs)
                        return CUT_E_LATE;
        }
        part->at_bytes = copy.size_bytes;
        return r < 0 ? error_set_errno(err, r, "copy %s", part->source->meta.id) : 0;
}

static void thaw_all(CutPart *parts, size_t n_parts) {
        for (size_t i = 0; i < n_parts; i++)
                thaw(&parts[i]);
}

/* What is frozen by others has the time of a group: nobody waits for us. Who has frozen it the
 * kernel only tells by another freeze, which is short right after a sync. Return: 1; 0; <0. */
static int is_others_freeze(Pool *pool, CutPart *part, Error *err) {
        bool is_others;
        int r = sync_mounted(part, err);

        if (r == 0)
                r = note_freeze(pool, part, true, err);
        if (r == 0)
                r = freeze_mounted(pool, part, err);
        if (r < 0)
                return r;
        is_others = part->is_still && !part->is_frozen;
        thaw(part);
        part->is_still = false;
        r = note_freeze(pool, part, false, err);
        return r < 0 ? r : is_others;
}

static int copy_live(Pool *pool, const Call *call, CutPart *part, uint64_t until_msecs,
                     Error *err) {
        uint64_t group_msecs = clock_msecs() + CUT_GROUP_MSECS;
        int r = copy_until(part, call, false, part->is_mounted ? until_msecs : group_msecs, err);

        if (r == CUT_E_LATE && part->is_mounted) {
                r = is_others_freeze(pool, part, err);
                if (r < 0)
                        return r;
                r = r > 0 ? copy_until(part, call, false, group_msecs, err) : CUT_E_LATE;
        }
        if (r == CUT_E_LATE)
                return say_late(part, part->is_mounted ? "while its writers wait" : "in one call",
                                err);
        if (r == 0 && fdatasync(part->to_fd) < 0)
                return error_set_errno(err, errno, "sync the copy of %s", part->source->meta.id);
        return r;
}

/* Before anybody waits: what nobody has attached, which cannot change; then what is mounted, to be
 * looked through once more. That takes no longer: the kernel has in memory what it just read. */
static int copy_before(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err) {
        uint64_t until_msecs = 0;
        int r = 0;

        for (size_t i = 0; i < n_parts && r == 0; i++)
                if (!parts[i].is_mounted)
                        r = copy_live(pool, call, &parts[i], 0, err);
        for (size_t i = 0; i < n_parts && r == 0; i++)
                r = sync_mounted(&parts[i], err);
        until_msecs = clock_msecs() + CUT_FREEZE_MSECS;
        for (size_t i = 0; i < n_parts && r == 0; i++)
                if (parts[i].is_mounted)
                        r = copy_live(pool, call, &parts[i], until_msecs, err);
        return r;
}

static int copy_again(CutPart *part, const Call *call, uint64_t until_msecs, Error *err) {
        int r;

        if (!part->is_mounted)
                return 0;
        part->at_bytes = 0;
        r = copy_until(part, call, true, until_msecs, err);
        return r == CUT_E_LATE
                       ? say_late(part, part->is_frozen ? "while its writers wait" : "in one call",
                                  err)
                       : r;
}

static int prepare_freeze(Pool *pool, CutPart *part, Error *err) {
        int r = note_freeze(pool, part, true, err);

        if (r == 0)
                r = sync_mounted(part, err);
        if (r == 0 && is_attached(part) && fsync(part->attachment.fd) < 0)
                return error_set_errno(err, errno, "sync the device of %s", part->source->meta.id);
        return r;
}

/* Between freeze and thaw. */
static int cut(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err) {
        bool any_frozen = false;
        uint64_t until;
        int r;

        for (size_t i = 0; i < n_parts; i++) {
                r = freeze(pool, &parts[i], err);
                if (r < 0)
                        return r;
                any_frozen = any_frozen || parts[i].is_frozen;
        }
        until = clock_msecs() + (any_frozen ? CUT_FREEZE_MSECS : CUT_GROUP_MSECS);
        for (size_t i = 0; i < n_parts; i++) {
                r = pool->can_reflink ? share(&parts[i], err)
                                      : copy_again(&parts[i], call, until, err);
                if (r < 0)
                        return r;
        }
        for (size_t i = 0; i < n_parts; i++) {
                r = check_still(&parts[i], err);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* The target's size, thick blocks, and all of it on disk. */
static int complete(CutPart *part, Error *err) {
        const LocalMeta *meta = &part->target->meta;

        if (ftruncate(part->to_fd, (off_t)meta->size_bytes) < 0)
                return error_set_errno(err, errno, "size of %s", meta->id);
        if (meta->kind == LOCAL_SNAPSHOT && fchmod(part->to_fd, 0400) < 0)
                return error_set_errno(err, errno, "protect %s", meta->id);
        if (fsync(part->to_fd) < 0)
                return error_set_errno(err, errno, "sync %s", meta->id);
        return 0;
}

static int run(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err) {
        int r;

        for (size_t i = 0; i < n_parts; i++) {
                r = prepare(pool, &parts[i], err);
                if (r < 0)
                        return r;
        }
        if (n_parts == 1 && !pool->can_reflink && !is_attached(&parts[0]))
                return CUT_E_COPY;
        r = pool->can_reflink ? 0 : copy_before(pool, call, parts, n_parts, err);
        for (size_t i = 0; i < n_parts && r == 0; i++)
                r = prepare_freeze(pool, &parts[i], err);
        if (r == 0)
                r = cut(pool, call, parts, n_parts, err);
        thaw_all(parts, n_parts);
        for (size_t i = 0; i < n_parts && r == 0; i++)
                r = note_freeze(pool, &parts[i], false, err);
        return r;
}

int cut_run(Pool *pool, const Call *call, CutPart *parts, size_t n_parts, Error *err) {
        int r;

        for (size_t i = 0; i < n_parts; i++) {
                r = look(pool, call, &parts[i], n_parts, err);
                if (r < 0)
                        return r;
        }
        r = take_freezes(pool, call, parts, n_parts, err);
        if (r < 0)
                return r;
        r = run(pool, call, parts, n_parts, err);
        give_freezes(pool, parts, n_parts);
        if (r != 0)
                return r;
        for (size_t i = 0; i < n_parts && r == 0; i++)
                r = complete(&parts[i], err);
        return r;
}

void cut_thaw_leftover(Pool *pool, const LocalMeta *target) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        cleanup(closep) int fd = -1;
        Entry *source;

        source = pool_find(pool, LOCAL_VOLUME, target->source_id);
        if (!target->froze || !source || attach_find(pool, source, &attachment, NULL) != 0 ||
            mountinfo_read(&table) < 0)
                return;
        fd = open_mount(table, attachment.number, attachment.devno);
        if (fd >= 0 && fsfreeze_thaw(fd) == 0)
                log_warning("volume %s was left frozen by a crash and is thawed", source->meta.id);
}
