/* SPDX-License-Identifier: Apache-2.0 */

/* Loop devices of volumes: found by the device and inode of the data file. */

#include "csi/local/attach.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/block/block_ioctl.h"
#include "common/block/filecopy.h"
#include "common/block/loop.h"
#include "common/mount/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* More loop devices of one file than this are not of our making. */
#define DROP_MAX 16

void attachment_deinit(Attachment *attachment) {
        closep(&attachment->fd);
}

/* Opens /dev/loop@number and proves which file is behind it. Return: 0; ATTACH_E_NONE
 * when it is another one by now. */
static int prove(unsigned int number, uint64_t backing_dev, uint64_t backing_inode,
                 Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;
        LoopStatus status;
        char path[LOOP_PATH_MAX];
        struct stat device;
        int r;

        loop_path(number, path);
        fd = block_open(path, O_RDONLY, 0);
        /* It was found, and is being detached. */
        if (fd == -ENXIO)
                return ATTACH_E_NONE;
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", path);
        r = loop_get_status(fd, &status);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0)
                return error_set_errno(err, r, "status of %s", path);
        if (status.backing_dev != backing_dev || status.backing_inode != backing_inode ||
            status.offset_bytes != 0)
                return ATTACH_E_NONE;
        if (fstat(fd, &device) < 0)
                return error_set_errno(err, errno, "stat %s", path);
        attachment->number = number;
        attachment->devno = (uint64_t)device.st_rdev;
        attachment->is_leaving = status.is_autoclear;
        attachment->fd = fd_steal(&fd);
        return 0;
}

static void remember(Entry *entry, const Attachment *attachment) {
        entry->loop_hint = attachment->number + 1;
        if (block_get_sequence(attachment->fd, &entry->loop_sequence) < 0)
                entry->loop_sequence = 0;
}

/*
 * When the disk of the pool is gone neither the data file can be opened, nor does the kernel say
 * what is behind the device (LOOP_GET_STATUS64 asks the file: EIO). But no two attachments have the
 * same sequence number.
 */
static int find_by_sequence(const Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;
        char path[LOOP_PATH_MAX];
        struct stat device;
        uint64_t sequence;

        loop_path(entry->loop_hint - 1, path);
        fd = block_open(path, O_RDONLY, 0);
        if (fd == -ENXIO || fd == -ENOENT)
                return ATTACH_E_NONE;
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", path);
        if (block_get_sequence(fd, &sequence) < 0 || sequence != entry->loop_sequence)
                return ATTACH_E_NONE;
        if (fstat(fd, &device) < 0)
                return error_set_errno(err, errno, "stat %s", path);
        attachment->number = entry->loop_hint - 1;
        attachment->devno = (uint64_t)device.st_rdev;
        attachment->fd = fd_steal(&fd);
        return 0;
}

static int find_by_inode(const Entry *entry, uint64_t backing_dev, uint64_t backing_inode,
                         Attachment *attachment, Error *err) {
        unsigned int number;
        int r;

        r = loop_find(backing_dev, backing_inode, entry->loop_hint - 1, &number);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0)
                return error_set_errno(err, r, "find the loop device of %s", entry->meta.id);
        return prove(number, backing_dev, backing_inode, attachment, err);
}

/* Where it was the last time, else proven to be nowhere, else looked for: only that takes longer
 * the more loop devices the node has. */
static int find_by_file(Entry *entry, int data_fd, Attachment *attachment, Error *err) {
        struct stat st;
        int r;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if (!loop_is_possible(data_fd))
                return ATTACH_E_NONE;
        r = find_by_inode(entry, (uint64_t)st.st_dev, (uint64_t)st.st_ino, attachment, err);
        if (r == 0)
                remember(entry, attachment);
        return r;
}

int attach_find(Pool *pool, Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int data_fd = -1;
        Error error = {0};

        data_fd = pool_open_data(pool, &entry->meta, O_RDONLY, &error);
        /* A link or a device in its place was never attached by us. */
        if (data_fd == -ENOENT || (data_fd < 0 && error.code == ERROR_PRECONDITION))
                return ATTACH_E_NONE;
        if (data_fd < 0 && entry->loop_hint != 0 && entry->loop_sequence != 0)
                return find_by_sequence(entry, attachment, err);
        if (data_fd < 0) {
                if (err)
                        *err = error;
                return data_fd;
        }
        return find_by_file(entry, data_fd, attachment, err);
}

/* A thick volume must not lose its blocks to a discard, which mkfs does by default; where that
 * cannot be turned off, the blocks are given back at the next attach. */
static void keep_blocks(Entry *entry, int data_fd, unsigned int number) {
        cleanup(closep) int fd = -1;
        char path[64];
        uint64_t at = 0;

        (void)snprintf(path, sizeof(path), "/sys/block/loop%u/queue/discard_max_bytes", number);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
                log_debug("volume %s: discard stays on: %m", entry->meta.id);
        while (filecopy_preallocate(data_fd, entry->meta.size_bytes, &at) == 0)
                ;
}

static int attach_new(Pool *pool, Entry *entry, int data_fd, Attachment *attachment, Error *err) {
        LoopConfig config = {
                .backing_fd = data_fd,
                .logical_sector_bytes = entry->meta.sector_bytes,
                .wants_direct_io = true,
        };
        cleanup(closep) int fd = -1;
        unsigned int number;
        struct stat st;
        int r;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if ((uint64_t)st.st_size < entry->meta.size_bytes)
                return error_set(err, ERROR_PRECONDITION,
                                 "volume %s: its data file in pool %s has %lld bytes, not %llu: it "
                                 "was cut and is not attached",
                                 entry->meta.id, pool->path, (long long)st.st_size,
                                 (unsigned long long)entry->meta.size_bytes);
        r = loop_attach(&config, &number, &fd);
        if (r < 0)
                return error_set_errno(err, r, "attach a loop device to %s", entry->meta.id);
        if (entry->meta.thick)
                keep_blocks(entry, data_fd, number);
        r = prove(number, (uint64_t)st.st_dev, (uint64_t)st.st_ino, attachment, err);
        if (r == 0)
                remember(entry, attachment);
        return r;
}

/* An unstage detached it a moment ago, or somebody else did. */
static int keep(const Entry *entry, Attachment *attachment, Error *err) {
        int r = loop_set_autoclear(attachment->fd, false);

        attachment->is_leaving = false;
        if (r == 0)
                return 0;
        if (r == -ENXIO) {
                closep(&attachment->fd);
                return ATTACH_E_NONE;
        }
        return error_set_errno(err, r, "keep /dev/loop%u for %s", attachment->number,
                               entry->meta.id);
}

int attach_make(Pool *pool, Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int data_fd = -1;
        int r;

        data_fd = pool_open_data(pool, &entry->meta, O_RDWR, err);
        if (data_fd < 0)
                return data_fd;
        r = find_by_file(entry, data_fd, attachment, err);
        if (r == 0 && attachment->is_leaving)
                r = keep(entry, attachment, err);
        if (r != ATTACH_E_NONE)
                return r;
        r = attach_new(pool, entry, data_fd, attachment, err);
        if (r == ATTACH_E_NONE)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "the loop device of %s was taken away at once", entry->meta.id);
        return r;
}

int attach_is_mounted(const Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;
        char path[LOOP_PATH_MAX];

        /* An exclusive open fails for a mount in any namespace, and costs the same with any number
         * of mounts. */
        loop_path(attachment->number, path);
        fd = block_open(path, O_RDONLY | O_EXCL, attachment->devno);
        if (fd == -EBUSY)
                return ATTACH_E_MOUNTED;
        if (fd < 0)
                return error_set_errno(err, fd, "open %s", path);
        return 0;
}

int attach_is_published(const Attachment *attachment, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        char root[LOOP_PATH_MAX];
        int r;

        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        (void)snprintf(root, sizeof(root), "/loop%u", attachment->number);
        for (size_t i = 0; i < table->n_mounts; i++)
                if (strcmp(table->mounts[i].fs_type, "devtmpfs") == 0 &&
                    strcmp(table->mounts[i].root, root) == 0)
                        return 1;
        return 0;
}

int attach_drop(Pool *pool, Entry *entry, Error *err) {
        for (unsigned int n = 0; n < DROP_MAX; n++) {
                cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
                int r;

                r = attach_find(pool, entry, &attachment, err);
                if (r == ATTACH_E_NONE)
                        return 0;
                if (r < 0)
                        return r;
                r = attach_is_mounted(&attachment, err);
                if (r != 0)
                        return r;
                /* Detached, and somebody who looks at it keeps it for a while. */
                if (attachment.is_leaving)
                        return 0;
                r = loop_detach(attachment.fd);
                if (r < 0)
                        return error_set_errno(err, r, "detach /dev/loop%u", attachment.number);
        }
        return 0;
}
