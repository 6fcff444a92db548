/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A tool works on a copy of a volume that shares its blocks, and the copy takes the volume's place
 * when it was looked at. Only where the pool's files can share blocks, and while nobody uses the
 * volume.
 *
 *   1. "<stem>.work" is made, with the blocks of "<stem>.img", and gets a loop device
 *   2. the tool runs, the node looks at what it did; the volume is held, so that nobody mounts it
 *   3. what was written is on disk, and nothing was written to the volume meanwhile
 *   4. both exchange their names
 *   5. the loop device of what is "<stem>.work" now goes, and then the file
 *
 * Killed anywhere, the volume is what it was up to 4 and what the tool made of it from there, and
 * "<stem>.work" with the loop devices on it is what has to go: the next start, the next copy and a
 * delete do that. A tool that outlives this process writes to a file without a name.
 */

#include "csi/local/attach.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/block/block_ioctl.h"
#include "common/block/filecopy.h"
#include "common/block/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What a tool may write beyond the journal, and what is then left for the other volumes. */
#define ROOM_BYTES (UINT64_C(16) << 20)
/* No mke2fs makes a larger journal by itself than a part of the filesystem, and this. */
#define JOURNAL_PART  8
#define JOURNAL_BYTES (UINT64_C(4) << 30)

static int say_used(const Entry *entry, unsigned int number, Error *err) {
        return error_set(err, ERROR_PRECONDITION, "volume %s is in use on /dev/loop%u",
                         entry->meta.id, number);
}

/* Nobody else can mount the volume, or make one of it, as long as the device is open exclusively.
 */
static int hold(const Entry *entry, const Attachment *attachment, DiskCopy *copy, Error *err) {
        copy->held_fd = block_reopen(attachment->fd, O_RDONLY | O_EXCL);
        if (copy->held_fd == -EBUSY)
                return say_used(entry, attachment->number, err);
        if (copy->held_fd < 0)
                return error_set_errno(err, copy->held_fd, "open the device of %s", entry->meta.id);
        return 0;
}

/* Nobody uses the volume; it is held from here on. */
static int check_unused(Pool *pool, Entry *entry, DiskCopy *copy, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r = attach_find(pool, entry, &attachment, err);

        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        if (copy->held_fd < 0) {
                r = hold(entry, &attachment, copy, err);
                if (r < 0)
                        return r;
        }
        r = attach_is_published(&attachment, err);
        return r > 0 ? say_used(entry, attachment.number, err) : r;
}

/* What was written to the device is in its file. */
static int settle(const Entry *entry, const DiskCopy *copy, Error *err) {
        if (copy->held_fd >= 0 && fsync(copy->held_fd) < 0)
                return error_set_errno(err, errno, "sync the device of %s", entry->meta.id);
        if (fsync(copy->disk_file_fd) < 0)
                return error_set_errno(err, errno, "sync the data of %s", entry->meta.id);
        return 0;
}

static int begin_watch(Pool *pool, const Entry *entry, DiskCopy *copy, Error *err) {
        int r;

        copy->disk_file_fd = pool_open_data(pool, &entry->meta, O_RDWR, err);
        if (copy->disk_file_fd < 0)
                return copy->disk_file_fd;
        r = settle(entry, copy, err);
        if (r < 0)
                return r;
        r = filecopy_mark(copy->disk_file_fd, &copy->written);
        return r < 0 ? error_set_errno(err, r, "mark the data of %s", entry->meta.id) : 0;
}

static int check_unwritten(const Entry *entry, const DiskCopy *copy, Error *err) {
        int r = settle(entry, copy, err);

        if (r < 0)
                return r;
        r = filecopy_was_written(copy->disk_file_fd, &copy->written);
        if (r < 0)
                return error_set_errno(err, r, "look at the data of %s", entry->meta.id);
        if (r == 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "volume %s was written to while a tool worked on a copy of it: the copy "
                         "is thrown away, stop who writes",
                         entry->meta.id);
}

/* Blocks that a tool writes to a copy are new ones. The last ones of a pool are not for it: they
 * are what the other volumes live from. @fill_bytes: holes that are to be filled. Return: 1; 0: no
 * room; <0 with @err. */
static int has_room(Pool *pool, const Entry *entry, uint64_t fill_bytes, Error *err) {
        uint64_t journal = entry->meta.size_bytes / JOURNAL_PART;
        uint64_t room =
                fill_bytes + ROOM_BYTES + (journal < JOURNAL_BYTES ? journal : JOURNAL_BYTES);
        PoolUsage usage;
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = pool_get_usage(pool, &usage, err);
        pthread_mutex_unlock(&pool->mutex);
        if (r < 0)
                return r;
        return usage.available >= room && usage.available - room >= usage.reserve;
}

int local_drop_copy(Pool *pool, Entry *entry, Error *err) {
        cleanup(closep) int fd = -1;
        int r;

        fd = pool_open_copy(pool, &entry->meta, O_RDONLY, err);
        if (fd < 0)
                return fd == -ENOENT ? 0 : fd;
        r = attach_drop_copy(fd, err);
        if (r > 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "the copy of volume %s in pool %s, which a tool worked on, is in "
                                 "use by another program: stop that, and remove %s.work",
                                 entry->meta.id, pool->path, entry->meta.stem);
        if (r == 0)
                r = pool_unlink_copy(pool, &entry->meta, err);
        return r < 0 ? r : 1;
}

static void give_up(Pool *pool, Entry *entry) {
        Error error = {0};

        if (local_drop_copy(pool, entry, &error) < 0)
                log_warning("%s", error.message);
}

/* --- 1 --- */

static int say_full(Error *err) {
        return error_set(err, ERROR_EXHAUSTED, "the pool is nearly full");
}

/* Not even for the moment until it fails: the writes of other volumes would, too. */
static int fill_holes(Pool *pool, const Call *call, const Entry *entry, int fd, Error *err) {
        uint64_t has_bytes;
        struct stat st;
        int r;

        if (fstat(fd, &st) < 0)
                return error_set_errno(err, errno, "stat the copy of %s", entry->meta.id);
        has_bytes = (uint64_t)st.st_blocks * 512;
        r = has_room(pool, entry,
                     has_bytes < entry->meta.size_bytes ? entry->meta.size_bytes - has_bytes : 0,
                     err);
        if (r <= 0)
                return r < 0 ? r : say_full(err);
        return local_preallocate(call, fd, &entry->meta, 0, err);
}

/* Holes that were preallocated are not shared, and a thick volume has them filled. */
static int fill(Pool *pool, const Call *call, const Entry *entry, int from_fd, int to_fd,
                Error *err) {
        int r;

        if (filecopy_is_nocow(from_fd))
                (void)filecopy_set_nocow(to_fd);
        r = filecopy_reflink(from_fd, to_fd);
        if (r < 0)
                return error_set_errno(err, r, "share the blocks of %s", entry->meta.id);
        return entry->meta.thick ? fill_holes(pool, call, entry, to_fd, err) : 0;
}

static int make(Pool *pool, const Call *call, Entry *entry, DiskCopy *copy, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        cleanup(closep) int to_fd = -1;
        int r;

        to_fd = pool_open_copy(pool, &entry->meta, O_RDWR | O_CREAT, err);
        if (to_fd < 0)
                return to_fd;
        /* The loop device has the other one, and takes what there is to tell about it. */
        copy->file_fd = pool_open_copy(pool, &entry->meta, O_RDWR, err);
        r = copy->file_fd < 0 ? copy->file_fd
                              : fill(pool, call, entry, copy->disk_file_fd, to_fd, err);
        if (r == 0)
                r = attach_copy(pool, entry, to_fd, &attachment, err);
        if (r < 0)
                return r;
        r = filecopy_owner(copy->disk_file_fd, to_fd);
        if (r < 0)
                log_warning("volume %s: the copy that is worked on has not the owner, mode or "
                            "project of its file: %s",
                            entry->meta.id, strerrordesc_np(-r));
        copy->device = (Device){.devno = attachment.devno, .size_bytes = entry->meta.size_bytes};
        loop_path(attachment.number, copy->device.path);
        copy->device_fd = fd_steal(&attachment.fd);
        return 0;
}

static int begin(Pool *pool, const Call *call, Entry *entry, DiskCopy *copy, Error *err) {
        int r;

        r = check_unused(pool, entry, copy, err);
        if (r == 0)
                r = local_drop_copy(pool, entry, err);
        if (r >= 0)
                r = has_room(pool, entry, 0, err);
        if (r == 0)
                return say_full(err);
        if (r > 0)
                r = begin_watch(pool, entry, copy, err);
        if (r == 0)
                r = make(pool, call, entry, copy, err);
        if (r < 0) {
                disk_copy_deinit(copy);
                give_up(pool, entry);
        }
        return r;
}

int local_begin_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                     Error *err) {
        Pool *pool = self;
        Entry *entry = NULL;
        Error error = {0};
        int r;

        if (!pool->can_reflink)
                return PROVIDER_E_IN_PLACE;
        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, HOLD_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = begin(pool, call, entry, copy, &error);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        if (r < 0)
                disk_copy_deinit(copy);
        if (pool_is_full(r) || error.code == ERROR_EXHAUSTED || r == -EOPNOTSUPP) {
                log_info("no copy of volume %s: %s", volume->volume_id, error.message);
                return PROVIDER_E_IN_PLACE;
        }
        if (r < 0)
                error_move(err, &error);
        return r;
}

/* --- 3 to 5 --- */

/* Who was told of a write that failed is not who asks last, and the page cache shows what is on no
 * disk: only what was opened before the tool ran learns of all. */
static int check_written(const Entry *entry, const DiskCopy *copy, Error *err) {
        if (fsync(copy->device_fd) == 0 && fsync(copy->file_fd) == 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "a write to the copy of volume %s failed: the copy is thrown away",
                         entry->meta.id);
}

static int is_copy(const Entry *entry, const DiskCopy *copy, Attachment *attachment, Error *err) {
        int r = attach_find_copy(copy->file_fd, attachment, err);

        if (r < 0 || (r == 0 && attachment->devno == copy->device.devno))
                return r;
        return error_set(err, ERROR_UNAVAILABLE, "%s is not the copy of volume %s any more",
                         copy->device.path, entry->meta.id);
}

/* The names are still those of what the copy was made of, and of the copy. */
static int check_names(Pool *pool, const Entry *entry, const DiskCopy *copy, Error *err) {
        cleanup(closep) int disk_fd = -1, file_fd = -1;
        struct stat now, before;

        disk_fd = pool_open_data(pool, &entry->meta, O_RDONLY, err);
        file_fd = disk_fd < 0 ? disk_fd : pool_open_copy(pool, &entry->meta, O_RDONLY, err);
        if (file_fd < 0)
                return file_fd;
        if (fstat(disk_fd, &now) == 0 && fstat(copy->disk_file_fd, &before) == 0 &&
            now.st_ino == before.st_ino && fstat(file_fd, &now) == 0 &&
            fstat(copy->file_fd, &before) == 0 && now.st_ino == before.st_ino)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE, "%s is not the copy of volume %s any more",
                         copy->device.path, entry->meta.id);
}

/* The device of what was the volume. Held, it goes when the caller closes what it has of it, and
 * nobody can mount it until then. */
static int drop_former(const Entry *entry, DiskCopy *copy, Error *err) {
        int r;

        if (copy->held_fd >= 0) {
                r = loop_detach(copy->held_fd);
                return r < 0 ? error_set_errno(err, r, "detach the device that volume %s had",
                                               entry->meta.id)
                             : 0;
        }
        r = attach_drop_copy(copy->disk_file_fd, err);
        /* Somebody began to use it. */
        if (r > 0)
                r = error_set(err, ERROR_PRECONDITION,
                              "volume %s is in use by another program since its copy was made",
                              entry->meta.id);
        return r;
}

/* From here on the volume is what the tool made of it. What cannot be removed now is at the next
 * start. */
static int take_over(Pool *pool, Entry *entry, DiskCopy *copy, Error *err) {
        Error error = {0};
        int r;

        r = pool_exchange_copy(pool, &entry->meta, err);
        if (r < 0)
                return r;
        r = check_unwritten(entry, copy, err);
        if (r == 0)
                r = drop_former(entry, copy, err);
        if (r < 0) {
                if (pool_exchange_copy(pool, &entry->meta, &error) < 0)
                        log_warning("%s", error.message);
                return r;
        }
        if (pool_unlink_copy(pool, &entry->meta, &error) < 0)
                log_warning("%s", error.message);
        return 0;
}

static int keep(Pool *pool, Entry *entry, DiskCopy *copy, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r;

        r = is_copy(entry, copy, &attachment, err);
        if (r == 0)
                r = check_names(pool, entry, copy, err);
        if (r == 0)
                r = check_unused(pool, entry, copy, err);
        if (r == 0)
                r = check_unwritten(entry, copy, err);
        if (r == 0)
                r = take_over(pool, entry, copy, err);
        if (r == 0)
                attach_adopt(pool, entry, &attachment);
        return r;
}

static int end(Pool *pool, Entry *entry, DiskCopy *copy, bool keeps, Error *err) {
        int r, failed = check_written(entry, copy, err);

        if (failed == 0 && keeps) {
                r = keep(pool, entry, copy, err);
                if (r == 0)
                        return 0;
        } else {
                /* Only a full pool is a reason to let the tool at the volume itself. */
                r = failed < 0 && has_room(pool, entry, 0, NULL) == 0 ? PROVIDER_E_IN_PLACE
                                                                      : failed;
        }
        disk_copy_deinit(copy);
        give_up(pool, entry);
        return r;
}

int local_end_copy(void *self, const Call *call, const VolumeRef *volume, DiskCopy *copy,
                   bool keeps, Error *err) {
        Pool *pool = self;
        Entry *entry = NULL;
        int r;

        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, HOLD_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = end(pool, entry, copy, keeps, err);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}
