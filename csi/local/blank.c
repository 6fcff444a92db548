/* SPDX-License-Identifier: Apache-2.0 */

/* What only the pool knows of a volume: whether any byte of its file was ever written, and what it
 * was made for. */

#include "csi/local/volume.h"

#include "common/base/cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES 1048576UL

/* Zeros that were written are Berth's own: what it took back of a mkfs that failed. 1: there is
 * something else. */
static int extent_has_data(int fd, off_t at, off_t end, uint8_t *chunk, const Call *call) {
        while (at < end) {
                size_t n = end - at < (off_t)CHUNK_BYTES ? (size_t)(end - at) : CHUNK_BYTES;
                ssize_t r = pread(fd, chunk, n, at);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r <= 0)
                        return r < 0 ? -errno : -EIO;
                if (chunk[0] != 0 || memcmp(chunk, chunk + 1, (size_t)r - 1) != 0)
                        return 1;
                if (call->cancelled(call->userdata))
                        return -ECANCELED;
                at += r;
        }
        return 0;
}

/* By the filesystem's map of the file. One without a map says that all of it is data, and then all
 * of it is read. */
static int file_has_data(int fd, const Call *call) {
        cleanup(freep) uint8_t *chunk = malloc(CHUNK_BYTES);
        off_t at = 0, end;
        int r = 0;

        if (!chunk)
                return -ENOMEM;
        while (r == 0) {
                at = lseek(fd, at, SEEK_DATA);
                if (at < 0)
                        return errno == ENXIO ? 0 : -errno;
                end = lseek(fd, at, SEEK_HOLE);
                if (end < 0)
                        return -errno;
                r = extent_has_data(fd, at, end, chunk, call);
                at = end;
        }
        return r;
}

int local_has_data(void *self, const Call *call, const VolumeRef *volume) {
        cleanup(closep) int fd = -1;
        Pool *pool = self;
        LocalMeta meta;

        if (!pool_peek(pool, LOCAL_VOLUME, volume->volume_id, &meta))
                return -ENOENT;
        fd = pool_open_data(pool, &meta, O_RDONLY, NULL);
        return fd < 0 ? -EIO : file_has_data(fd, call);
}

int local_adapt(void *self, const Call *call, const VolumeRef *volume, VolumeCapability *capability,
                Wishes *wishes, Error *err) {
        LocalMeta meta;

        if (capability->is_block || !pool_peek(self, LOCAL_VOLUME, volume->volume_id, &meta) ||
            meta.allows_mount || !meta.allows_block)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "volume_capability: mount, expected block: volume %s was made for raw "
                         "block use only, and is never formatted",
                         volume->volume_id);
}
