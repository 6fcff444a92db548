/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A tool works on a copy of a volume that shares its blocks, and the copy takes the volume's place
 * when it was looked at. Only where the pool's files can share blocks, and while nobody uses the
 * volume.
 *
 *   1. "<stem>.work" is made, with the blocks of "<stem>.img", and gets a loop device
 *   2. the tool runs, the node looks at what it did
 *   3. what was written is on disk
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
#include "common/block/filecopy.h"
#include "common/block/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static int say_used(const Entry *entry, unsigned int number, Error *err) {
        return error_set(err, ERROR_PRECONDITION, "volume %s is in use on /dev/loop%u",
                         entry->meta.id, number);
}

/* Nobody uses the volume, and what was written to its device is in its file. */
static int check_unused(Pool *pool, Entry *entry, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r = attach_find(pool, entry, &attachment, err);

        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        r = attach_is_mounted(&attachment, err);
        if (r == 0)
                r = attach_is_published(&attachment, err);
        if (r != 0)
                return r < 0 ? r : say_used(entry, attachment.number, err);
        if (fsync(attachment.fd) < 0)
                return error_set_errno(err, errno, "sync the device of %s", entry->meta.id);
        return 0;
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

/* Holes that were preallocated are not shared, and a thick volume has them filled. */
static int fill(const Call *call, const Entry *entry, int from_fd, int to_fd, Error *err) {
        int r;

        if (filecopy_is_nocow(from_fd))
                (void)filecopy_set_nocow(to_fd);
        r = filecopy_reflink(from_fd, to_fd);
        if (r < 0)
                return error_set_errno(err, r, "share the blocks of %s", entry->meta.id);
        return entry->meta.thick ? local_preallocate(call, to_fd, &entry->meta, 0, err) : 0;
}

static int make(Pool *pool, const Call *call, Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int from_fd = -1, to_fd = -1;
        int r;

        from_fd = pool_open_data(pool, &entry->meta, O_RDONLY, err);
        if (from_fd < 0)
                return from_fd;
        to_fd = pool_open_copy(pool, &entry->meta, O_RDWR | O_CREAT, err);
        if (to_fd < 0)
                return to_fd;
        r = fill(call, entry, from_fd, to_fd, err);
        if (r == 0)
                r = attach_copy(pool, entry, to_fd, attachment, err);
        if (r < 0)
                give_up(pool, entry);
        return r;
}

static int begin(Pool *pool, const Call *call, Entry *entry, Device *copy, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r;

        r = check_unused(pool, entry, err);
        if (r == 0)
                r = local_drop_copy(pool, entry, err);
        if (r >= 0)
                r = make(pool, call, entry, &attachment, err);
        if (r < 0)
                return r;
        *copy = (Device){.devno = attachment.devno, .size_bytes = entry->meta.size_bytes};
        loop_path(attachment.number, copy->path);
        return 0;
}

int local_begin_copy(void *self, const Call *call, const VolumeRef *volume, Device *copy,
                     Error *err) {
        Pool *pool = self;
        Entry *entry = NULL;
        Error error = {0};
        int r;

        if (!pool->can_reflink)
                return PROVIDER_E_IN_PLACE;
        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, POOL_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = begin(pool, call, entry, copy, &error);
        pool_release(pool, entry, POOL_EXCLUSIVE);
        if (pool_is_full(r) || r == -EOPNOTSUPP) {
                log_info("no copy of volume %s: %s", volume->volume_id, error.message);
                return PROVIDER_E_IN_PLACE;
        }
        if (r < 0 && err)
                *err = error;
        return r;
}

/* --- 3 to 5 --- */

/* From here on the volume is what the tool made of it. What cannot be removed now is at the next
 * start. */
static int take_over(Pool *pool, Entry *entry, Error *err) {
        cleanup(closep) int former_fd = -1;
        int r;

        r = pool_exchange_copy(pool, &entry->meta, err);
        if (r < 0)
                return r;
        former_fd = pool_open_copy(pool, &entry->meta, O_RDONLY, err);
        r = former_fd < 0 ? former_fd : attach_drop_copy(former_fd, err);
        if (r == 0) {
                Error error = {0};

                if (pool_unlink_copy(pool, &entry->meta, &error) < 0)
                        log_warning("%s", error.message);
                return 0;
        }
        /* Somebody began to use it. */
        if (r > 0)
                r = error_set(err, ERROR_PRECONDITION,
                              "volume %s is in use by another program since its copy was made",
                              entry->meta.id);
        (void)pool_exchange_copy(pool, &entry->meta, NULL);
        return r;
}

static int keep(Pool *pool, Entry *entry, const Device *copy, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        cleanup(closep) int fd = -1;
        int r;

        fd = pool_open_copy(pool, &entry->meta, O_RDWR, err);
        if (fd < 0)
                return fd;
        r = attach_find_copy(fd, &attachment, err);
        if (r == ATTACH_E_NONE || (r == 0 && attachment.devno != copy->devno))
                r = error_set(err, ERROR_UNAVAILABLE, "%s is not the copy of volume %s any more",
                              copy->path, entry->meta.id);
        if (r == 0 && (fsync(attachment.fd) < 0 || fsync(fd) < 0))
                r = error_set_errno(err, errno, "sync the copy of %s", entry->meta.id);
        if (r == 0)
                r = check_unused(pool, entry, err);
        if (r == 0)
                r = take_over(pool, entry, err);
        if (r == 0)
                attach_adopt(pool, entry, &attachment);
        return r;
}

int local_end_copy(void *self, const Call *call, const VolumeRef *volume, const Device *copy,
                   bool keeps, Error *err) {
        Pool *pool = self;
        Entry *entry = NULL;
        int r;

        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume->volume_id, POOL_EXCLUSIVE, &entry,
                               err);
        if (r < 0)
                return r;
        r = keeps ? keep(pool, entry, copy, err) : 0;
        if (!keeps || r < 0)
                give_up(pool, entry);
        pool_release(pool, entry, POOL_EXCLUSIVE);
        return r;
}
