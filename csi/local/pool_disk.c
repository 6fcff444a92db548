/* SPDX-License-Identifier: Apache-2.0 */

/* One object of the pool on disk: its metadata and its data file, in the order that pool.h
 * promises. Names are stems, made by us; nothing here follows a link. */

#include "csi/local/pool.h"
#include "csi/local/spec.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define METADATA_MODE 0600
#define DATA_MODE     0600

/* A lease lives for two system calls. */
#define LEASE_TRIES_MAX 200

static void set_name(char name[LOCAL_STEM_MAX + 8], const LocalMeta *meta, const char *suffix) {
        (void)snprintf(name, LOCAL_STEM_MAX + 8, "%s%s", meta->stem, suffix);
}

int pool_check_no_data(Pool *pool, LocalKind kind, const char *id, Error *err) {
        char name[LOCAL_STEM_MAX + 8];
        struct stat st;

        if (!local_stem_is_valid(kind, id, strlen(id)))
                return 0;
        (void)snprintf(name, sizeof(name), "%s.img", id);
        if (fstatat(pool->dir_fds[kind], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return errno == ENOENT ? 0
                                       : error_set_errno(err, errno, "look for %s in pool %s", name,
                                                         pool->path);
        return error_set(err, ERROR_PRECONDITION,
                         "%s is in pool %s and its record %s.json is not: put the record back, or "
                         "remove the file by hand",
                         name, pool->path, id);
}

/* Metadata makes a data file ours, so it must not be written over a file that is there. */
static int check_new(Pool *pool, const LocalMeta *meta, Error *err) {
        char name[LOCAL_STEM_MAX + 8];
        struct stat st;

        set_name(name, meta, ".img");
        if (fstatat(pool->dir_fds[meta->kind], name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is in pool %s already and is not ours to replace", name,
                                 pool->path);
        return errno == ENOENT
                       ? 0
                       : error_set_errno(err, errno, "stat %s in pool %s", name, pool->path);
}

int pool_store(Pool *pool, Entry *entry, const LocalMeta *meta, Error *err) {
        cleanup(freep) char *text = NULL;
        char name[LOCAL_STEM_MAX + 8];
        int r;

        if (!entry->is_stored) {
                r = check_new(pool, meta, err);
                if (r < 0)
                        return r;
        }

        text = local_meta_format(meta);
        if (!text)
                return error_set_errno(err, ENOMEM, "write metadata of %s", meta->id);
        set_name(name, meta, ".json");
        r = file_write_atomic(pool->dir_fds[meta->kind], name, text, strlen(text), METADATA_MODE);
        if (r < 0)
                return error_set_errno(err, r, "write %s in pool %s", name, pool->path);
        pthread_mutex_lock(&pool->mutex);
        entry->meta = *meta;
        entry->is_stored = true;
        pthread_mutex_unlock(&pool->mutex);
        return 0;
}

static int open_part(Pool *pool, const LocalMeta *meta, const char *suffix, int flags, Error *err) {
        char name[LOCAL_STEM_MAX + 8];
        int fd, r;

        set_name(name, meta, suffix);
        if (flags & O_CREAT)
                flags |= O_EXCL;
        fd = file_open_plain_at(pool->dir_fds[meta->kind], name, flags, DATA_MODE);
        /* A lease on it is tried at this moment (loop_is_possible()), and given back at once. */
        for (int i = 0; i < LEASE_TRIES_MAX && fd == -EWOULDBLOCK; i++) {
                clock_sleep(1);
                fd = file_open_plain_at(pool->dir_fds[meta->kind], name, flags, DATA_MODE);
        }
        if (fd >= 0)
                return fd;
        if (fd == -EEXIST)
                return error_set(err, ERROR_PRECONDITION,
                                 "%s is in pool %s already and is not ours to replace", name,
                                 pool->path);
        if (fd == -EINVAL)
                return error_set(err, ERROR_PRECONDITION, "%s in pool %s is not a plain file", name,
                                 pool->path);
        r = error_set_errno(err, fd, "open %s in pool %s", name, pool->path);
        /* Another call may find it mended. */
        if (r == -EROFS && err)
                err->code = ERROR_UNAVAILABLE;
        return r;
}

int pool_open_data(Pool *pool, const LocalMeta *meta, int flags, Error *err) {
        return open_part(pool, meta, ".img", flags, err);
}

int pool_check_data(Pool *pool, const LocalMeta *meta, Error *err) {
        cleanup(closep) int fd = pool_open_data(pool, meta, O_RDONLY, err);

        if (fd != -ENOENT)
                return fd < 0 ? fd : 0;
        return error_set(err, ERROR_PRECONDITION,
                         "%s: its data file in pool %s is gone: put the file back, or delete it",
                         meta->id, pool->path);
}

static int take_size(Pool *pool, Entry *entry, int fd, uint64_t size_bytes, Error *err) {
        const LogField fields[] = {{"object", entry->meta.id}, {"pool", pool->path}};
        uint64_t rest = size_bytes % LOCAL_SECTOR_MOUNT;
        LocalMeta meta = entry->meta;
        int r;

        /* A loop device ends with a whole sector, and would be shorter than its volume. */
        meta.size_bytes = rest ? size_bytes + LOCAL_SECTOR_MOUNT - rest : size_bytes;
        if (rest && ftruncate(fd, (off_t)meta.size_bytes) < 0)
                return error_set_errno(err, errno, "size of %s", meta.id);
        log_fields(LOG_LEVEL_WARNING, fields, N_ELEMENTS(fields),
                   "its data file has %" PRIu64 " bytes, not %" PRIu64
                   ", as after an expand that was interrupted: the volume has that size from now "
                   "on",
                   size_bytes, entry->meta.size_bytes);
        r = pool_store(pool, entry, &meta, err);
        return r < 0 ? error_wrap(err, r,
                                  "%s.img in pool %s is longer than its record %s.json says, and "
                                  "that cannot be written",
                                  meta.stem, pool->path, meta.stem)
                     : 0;
}

int pool_adopt_size(Pool *pool, Entry *entry, Error *err) {
        cleanup(closep) int fd = pool_open_data(pool, &entry->meta, O_RDONLY, err);
        cleanup(closep) int write_fd = -1;
        struct stat st;

        if (fd < 0)
                return fd;
        if (fstat(fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if ((uint64_t)st.st_size < entry->meta.size_bytes)
                return POOL_E_CUT;
        if ((uint64_t)st.st_size == entry->meta.size_bytes)
                return 0;
        write_fd = pool_open_data(pool, &entry->meta, O_RDWR, err);
        return write_fd < 0 ? write_fd
                            : take_size(pool, entry, write_fd, (uint64_t)st.st_size, err);
}

/* Gone is done. */
static int unlink_part(Pool *pool, const LocalMeta *meta, const char *suffix, Error *err) {
        char name[LOCAL_STEM_MAX + 8];

        set_name(name, meta, suffix);
        if (unlinkat(pool->dir_fds[meta->kind], name, 0) < 0 && errno != ENOENT)
                return error_set_errno(err, errno, "remove %s from pool %s", name, pool->path);
        return 0;
}

int pool_open_copy(Pool *pool, const LocalMeta *meta, int flags, Error *err) {
        return open_part(pool, meta, ".work", flags, err);
}

static int exchange(Pool *pool, const char *copy, const char *data) {
        int fd = pool->dir_fds[LOCAL_VOLUME];

        return renameat2(fd, copy, fd, data, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

int pool_exchange_copy(Pool *pool, const LocalMeta *meta, Error *err) {
        char copy[LOCAL_STEM_MAX + 8], data[LOCAL_STEM_MAX + 8];
        int r;

        set_name(copy, meta, ".work");
        set_name(data, meta, ".img");
        r = exchange(pool, copy, data);
        if (r == 0 && fsync(pool->dir_fds[LOCAL_VOLUME]) < 0) {
                r = -errno;
                (void)exchange(pool, copy, data);
        }
        return r < 0 ? error_set_errno(err, r, "exchange %s and %s in pool %s", copy, data,
                                       pool->path)
                     : 0;
}

int pool_unlink_copy(Pool *pool, const LocalMeta *meta, Error *err) {
        return unlink_part(pool, meta, ".work", err);
}

int pool_erase(Pool *pool, Entry *entry, Error *err) {
        LocalMeta meta = entry->meta;
        int r;

        if (meta.state != LOCAL_STATE_DELETING) {
                meta.state = LOCAL_STATE_DELETING;
                r = pool_store(pool, entry, &meta, err);
                /* A full pool has no room for words, and needs the delete most. Interrupted now,
                 * the volume is there without data until the delete is asked for again. */
                if (r < 0 && !pool_is_full(r))
                        return r;
        }
        r = pool_unlink_copy(pool, &meta, err);
        if (r == 0)
                r = unlink_part(pool, &meta, ".img", err);
        if (r < 0)
                return r;
        r = unlink_part(pool, &meta, ".json", err);
        if (r < 0)
                return r;
        /* Without this a power cut may bring the metadata back, which the next start would finish;
         * the answer "deleted" should not depend on it. */
        if (fsync(pool->dir_fds[meta.kind]) < 0)
                return error_set_errno(err, errno, "sync pool %s", pool->path);
        pool_drop(pool, entry);
        return 0;
}

void pool_undo(Pool *pool, Entry *entry) {
        LogField fields[] = {{"object", entry->meta.id}, {"pool", pool->path}};
        Error error = {0};

        if (!entry->is_stored) {
                pool_drop(pool, entry);
                return;
        }
        /* "creating" already says that it is to be undone; another write could fail on a full pool.
         */
        if (unlink_part(pool, &entry->meta, ".img", &error) == 0 &&
            unlink_part(pool, &entry->meta, ".json", &error) == 0) {
                pool_drop(pool, entry);
                return;
        }
        log_fields(LOG_LEVEL_ERROR, fields, N_ELEMENTS(fields), "undo of a create: %s",
                   error.message);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
}
