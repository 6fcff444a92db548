/* SPDX-License-Identifier: Apache-2.0 */

/* Targets whose data takes longer than a call: started, resumed, waited for. */

#include "csi/local/copy.h"
#include "csi/local/cut.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int local_preallocate(const Call *call, int fd, const LocalMeta *meta, uint64_t from_bytes,
                      Error *err) {
        uint64_t at = from_bytes;
        int r;

        while ((r = filecopy_preallocate(fd, meta->size_bytes, &at)) == 0)
                if (call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "cancelled while preallocating %s",
                                         meta->id);
        if (r == -EOPNOTSUPP)
                return error_set(err, ERROR_UNSUPPORTED,
                                 "the pool's filesystem cannot preallocate: provisioning thick is "
                                 "not possible");
        return r < 0 ? error_set_errno(err, r, "preallocate %s", meta->id) : 0;
}

static int64_t now_seconds(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec;
}

/* What to copy, and of which moment. Where it stands is in @meta. */
static int plan_copy(LocalMeta *meta, const Entry *source, int from_fd, int to_fd, Error *err) {
        struct stat st;

        if (fstat(from_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the source of %s", meta->id);
        meta->copy.in_place = source == NULL;
        if (source) {
                meta->copy.size_bytes = source->meta.size_bytes;
                meta->copy.source_seconds = st.st_mtim.tv_sec;
                meta->copy.source_nanos = st.st_mtim.tv_nsec;
        }
        meta->copy.asked_seconds = now_seconds();
        meta->state = LOCAL_STATE_COPYING;
        meta->froze = false;
        if (ftruncate(to_fd, (off_t)meta->size_bytes) < 0)
                return error_set_errno(err, errno, "size of %s", meta->id);
        return 0;
}

static int prepare_copy(Pool *pool, const Call *call, Entry *target, const Entry *source,
                        int from_fd, int to_fd, Error *err) {
        LocalMeta meta = target->meta;
        int r;

        r = plan_copy(&meta, source, from_fd, to_fd, err);
        if (r < 0)
                return r;
        if (meta.thick) {
                r = local_preallocate(call, to_fd, &meta, 0, err);
                if (r < 0)
                        return r;
        }
        return pool_store(pool, target, &meta, err);
}

int local_start_copy(Pool *pool, const Call *call, Entry *target, Entry *source, int from_fd,
                     int to_fd, Error *err) {
        CopyJob *job = NULL;
        int r;

        r = prepare_copy(pool, call, target, source, from_fd, to_fd, err);
        if (r < 0) {
                if (from_fd != to_fd)
                        closep(&from_fd);
                closep(&to_fd);
                pool_undo(pool, target);
                if (source)
                        pool_release(pool, source, HOLD_SHARED);
                return r;
        }
        r = copy_start(pool, target, source, from_fd, to_fd, &job, err);
        return r < 0 ? r : copy_wait(pool, call, job, err);
}

/* The source of an interrupted copy, held shared; not needed in place. */
static int hold_source(Pool *pool, const Call *call, const LocalMeta *meta, Entry **sourcep,
                       Error *err) {
        LocalKind kind = meta->source == LOCAL_SOURCE_SNAPSHOT ? LOCAL_SNAPSHOT : LOCAL_VOLUME;

        if (meta->copy.in_place)
                return 0;
        return pool_acquire_ready(pool, call, kind, meta->source_id, HOLD_SHARED, sourcep, err);
}

/* Nothing held the source since the copy was interrupted: it may have been written to, and be in
 * use. Return: 0: it is what it was, and stays so while it is held; RESUME_E_ANEW; <0 with @err. */
#define RESUME_E_ANEW 1

static int check_source(Pool *pool, const Call *call, const LocalMeta *meta, Entry *source,
                        int from_fd, Error *err) {
        struct stat st;
        int r = cut_is_attached(pool, call, source, err);

        if (r < 0)
                return r;
        if (fstat(from_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the source of %s", meta->id);
        if (r == 0 && meta->copy.size_bytes == source->meta.size_bytes &&
            meta->copy.source_seconds == st.st_mtim.tv_sec &&
            meta->copy.source_nanos == st.st_mtim.tv_nsec)
                return 0;
        (void)error_set(err, ERROR_AGAIN,
                        "source %s is in use, or was written to, since its copy to %s was "
                        "interrupted: that is removed and made anew; try again",
                        source->meta.id, meta->id);
        return RESUME_E_ANEW;
}

/* As check_source(), with what the copy goes on with. */
static int open_copy(Pool *pool, const Call *call, const LocalMeta *meta, Entry **sourcep,
                     int *from_fdp, int *to_fdp, Error *err) {
        int r = hold_source(pool, call, meta, sourcep, err);

        if (r < 0)
                return r;
        *to_fdp = pool_open_data(pool, meta, O_RDWR, err);
        if (*to_fdp < 0 || !*sourcep)
                return *to_fdp < 0 ? *to_fdp : 0;
        *from_fdp = pool_open_data(pool, &(*sourcep)->meta, O_RDONLY, err);
        if (*from_fdp < 0)
                return *from_fdp;
        r = attach_check_size(pool, *sourcep, *from_fdp, err);
        return r < 0 ? r : check_source(pool, call, meta, *sourcep, *from_fdp, err);
}

int local_resume_copy(Pool *pool, const Call *call, Entry *entry, Error *err) {
        cleanup(closep) int from_fd = -1, to_fd = -1;
        Entry *source = NULL;
        Error error = {0};
        int r;

        r = open_copy(pool, call, &entry->meta, &source, &from_fd, &to_fd, &error);
        if (r != 0) {
                if (source)
                        pool_release(pool, source, HOLD_SHARED);
                if (r == RESUME_E_ANEW || error.code == ERROR_NOT_FOUND)
                        pool_undo(pool, entry);
                else
                        pool_release(pool, entry, HOLD_EXCLUSIVE);
                error_move(err, &error);
                return r < 0 ? r : -EAGAIN;
        }
        log_info("the copy to %s goes on at %llu bytes", entry->meta.id,
                 (unsigned long long)entry->meta.copy.at_bytes);
        if (!source) {
                int fd = fd_steal(&to_fd);

                return local_start_copy(pool, call, entry, NULL, fd, fd, err);
        }
        return local_start_copy(pool, call, entry, source, fd_steal(&from_fd), fd_steal(&to_fd),
                                err);
}
