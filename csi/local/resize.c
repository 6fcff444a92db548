/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What can change of a volume: it grows, and it becomes thick or thin.
 *
 * Growing changes the file first and the metadata second: metadata never promises what the file
 * does not have, and a longer file after a crash is taken over at start. The loop device sees the
 * new size when the node calls rescan, after the file has grown.
 */

#include "csi/local/attach.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

#include "fs/formats/format.h"
#include "fs/tools/tools.h"

#include "common/base/cleanup.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

/* What the volume's user has, if it has one. Return: a descriptor; ERROR_PRECONDITION. */
static int open_used(Pool *pool, Entry *entry, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r = attach_find(pool, entry, &attachment, err);

        if (r == 0)
                r = attach_check_file(entry, &attachment, err);
        return r < 0 ? r : pool_open_data(pool, &entry->meta, O_RDWR, err);
}

static int grow(Pool *pool, const Call *call, Entry *entry, uint64_t size_bytes, Error *err) {
        LocalMeta meta = entry->meta;
        uint64_t before_bytes = meta.size_bytes;
        cleanup(closep) int fd = -1;
        int r;

        r = pool_reserve(pool, entry, size_bytes - before_bytes, meta.thick, err);
        if (r < 0)
                return r;
        fd = pool_open_data(pool, &meta, O_RDWR, err);
        if (fd < 0)
                return fd;
        meta.size_bytes = size_bytes;
        if (meta.thick) {
                r = local_preallocate(call, fd, &meta, before_bytes, err);
                if (r < 0) {
                        (void)filecopy_trim(fd);
                        return r;
                }
        }
        if (ftruncate(fd, (off_t)size_bytes) < 0 || fsync(fd) < 0)
                return error_set_errno(err, errno, "grow %s", meta.id);
        return pool_store(pool, entry, &meta, err);
}

static int hold_persistent(Pool *pool, const Call *call, const char *volume_id, Entry **entryp,
                           Error *err) {
        Entry *entry = NULL;
        int r;

        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume_id, HOLD_EXCLUSIVE, &entry, err);
        if (r < 0)
                return r;
        if (!entry->meta.ephemeral) {
                *entryp = entry;
                return 0;
        }
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return error_set(err, ERROR_NOT_FOUND,
                         "%s is an inline volume, which no controller changes", volume_id);
}

/* A filesystem that cannot become so small as what was asked for is given what it can become. */
static uint64_t least_bytes(const LocalMeta *meta, const CapacityRange *range) {
        const FsToolset *set = fs_toolset_find(fs_kind_from_type(meta->fs_type));

        if (!meta->allows_mount || !set || range->required_bytes <= meta->size_bytes ||
            set->grows_to_least_bytes <= meta->size_bytes)
                return meta->size_bytes;
        return set->grows_to_least_bytes;
}

int local_grow_device(void *self, const Call *call, const VolumeRef *volume, const Device *device,
                      const CapacityRange *range, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        Pool *pool = self;
        Entry *entry = NULL;
        uint64_t size_bytes = 0;
        int r;

        r = hold_persistent(pool, call, volume->volume_id, &entry, err);
        if (r < 0)
                return r;
        r = local_find_attached(pool, entry, device, &attachment, err);
        if (r == 0 && range->limit_bytes && entry->meta.size_bytes > range->limit_bytes)
                r = error_set(err, ERROR_RANGE,
                              "volume %s has %" PRIu64 " bytes, more than the limit %" PRIu64
                              "; volumes do not shrink",
                              entry->meta.id, entry->meta.size_bytes, range->limit_bytes);
        if (r == 0)
                r = local_size_choose(range, least_bytes(&entry->meta, range), "the volume",
                                      entry->meta.size_bytes, &size_bytes, err);
        if (r == 0 && size_bytes > entry->meta.size_bytes)
                r = grow(pool, call, entry, size_bytes, err);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

/* Those that the volume shares with a snapshot or clone are only counted. */
static int fill_holes(Pool *pool, const Call *call, Entry *entry, int fd, Error *err) {
        LocalMeta meta = entry->meta;
        int r = local_preallocate(call, fd, &meta, 0, err);

        if (r < 0)
                return r;
        if (fsync(fd) < 0)
                return error_set_errno(err, errno, "sync %s", meta.id);
        return pool_store(pool, entry, &meta, err);
}

/* A failure leaves the blocks that it got so far: the volume may be in use, and a hole is not told
 * from what is written into it meanwhile. They were within what the pool may give. */
static int make_thick(Pool *pool, const Call *call, Entry *entry, Error *err) {
        cleanup(closep) int fd = open_used(pool, entry, err);
        int r = fd < 0 ? fd : pool_reserve_thick(pool, entry, err);

        if (r < 0)
                return r;
        r = fill_holes(pool, call, entry, fd, err);
        if (r < 0) {
                pthread_mutex_lock(&pool->mutex);
                entry->meta.thick = false;
                pthread_mutex_unlock(&pool->mutex);
        }
        return r;
}

static int make_thin(Pool *pool, Entry *entry, Error *err) {
        LocalMeta meta = entry->meta;

        /* The blocks stay until a discard gives them back: what is unused only the filesystem on
         * the volume knows. */
        meta.thick = false;
        return pool_store(pool, entry, &meta, err);
}

int local_modify_volume(void *self, const Call *call, const char *volume_id,
                        const StringMap *parameters, Error *err) {
        cleanup(hold_release) Hold lock = {0};
        Pool *pool = self;
        LocalSpec spec = {0};
        Entry *entry = NULL;
        int r;

        r = local_spec_add_parameters(&spec, parameters, true, err);
        if (r == 0)
                r = pool_lock_volume(pool, call, volume_id, HOLD_EXCLUSIVE, &lock, err);
        if (r < 0)
                return r;
        r = hold_persistent(pool, call, volume_id, &entry, err);
        if (r < 0)
                return r;
        if (spec.has_thick && spec.thick && !entry->meta.thick)
                r = make_thick(pool, call, entry, err);
        else if (spec.has_thick && !spec.thick && entry->meta.thick)
                r = make_thin(pool, entry, err);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}
