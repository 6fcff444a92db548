/* SPDX-License-Identifier: Apache-2.0 */

/* Loop devices of volumes: found by the device and inode of the data file. */

#include "csi/local/attach.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"
#include "common/block/filecopy.h"
#include "common/block/loop.h"
#include "common/mount/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TAG_PREFIX "berth:"

/* The copy of a volume that a tool works on: nobody's device by its tag. */
#define COPY_TAG TAG_PREFIX "copy"

/* More loop devices of one file than this are not of our making. */
#define DROP_MAX 16

void attachment_deinit(Attachment *attachment) {
        closep(&attachment->fd);
}

/* "berth:<pool>:<stem>" */
static void make_tag(const Pool *pool, const char *stem, char tag[LOOP_TAG_MAX + 1]) {
        (void)snprintf(tag, LOOP_TAG_MAX + 1, TAG_PREFIX "%.16s:%s", pool->uuid, stem);
}

/* Numbers go with the devices of other namespaces and of the past: a node that is missing or dead
 * says nothing about the volume, so it must not become "not found". */
static int open_number(unsigned int number, int flags, uint64_t devno, Error *err) {
        char path[LOOP_PATH_MAX];
        int fd;

        loop_path(number, path);
        fd = block_open(path, flags, devno);
        if (fd >= 0 || fd == -EBUSY)
                return fd;
        /* It was found, and is being detached. */
        if (fd == -ENXIO)
                return -ENXIO;
        return error_set(err, ERROR_UNAVAILABLE, "open %s: %s", path,
                         fd == -ENOENT ? "there is no such node in this container's /dev"
                                       : "it cannot be looked at");
}

static int fill(unsigned int number, int fd, const LoopStatus *status, Attachment *attachment,
                Error *err) {
        struct stat device;

        if (fstat(fd, &device) < 0)
                return error_set(err, ERROR_UNAVAILABLE, "stat /dev/loop%u: %m", number);
        attachment->number = number;
        attachment->devno = (uint64_t)device.st_rdev;
        attachment->is_leaving = status->is_autoclear;
        attachment->is_read_only = status->is_read_only;
        attachment->scans_partitions = status->scans_partitions;
        attachment->fd = fd;
        return 0;
}

/* Which file, or else whose tag a device must have. */
typedef struct Proof {
        uint64_t backing_dev, backing_inode;
        const char *tag;
        uint64_t sequence; /* 0: not known */
        bool by_tag;
} Proof;

static bool is_marked(const Proof *proof, int fd, const LoopStatus *status) {
        uint64_t sequence;

        return strcmp(status->tag, proof->tag) == 0 ||
               (proof->sequence != 0 && block_get_sequence(fd, &sequence) == 0 &&
                sequence == proof->sequence);
}

static bool is_ours(const Proof *proof, int fd, const LoopStatus *status) {
        if (proof->by_tag)
                return strcmp(status->tag, proof->tag) == 0;
        if (status->backing_dev != proof->backing_dev ||
            status->backing_inode != proof->backing_inode)
                return false;
        if (status->offset_bytes == 0 && status->limit_bytes == 0)
                return true;
        /* Somebody else's look into the file, or ours with a window that its pod has set. */
        return is_marked(proof, fd, status);
}

/* losetup and its like write a name there that is none of ours; release 0.1.0 wrote none. */
static bool is_foreign(const Proof *proof, int fd, const LoopStatus *status) {
        return !is_marked(proof, fd, status) && !str_is_empty(status->tag) &&
               !str_has_prefix(status->tag, TAG_PREFIX);
}

/* What whoever had the device can have set. */
static int restore(unsigned int number, int fd, const LoopStatus *status, const Proof *proof,
                   Error *err) {
        /* Another's look at partitions in the file is his. */
        if (status->scans_partitions && is_marked(proof, fd, status) &&
            loop_drop_partitions(fd) > 0)
                log_warning("/dev/loop%u showed the partitions on its volume: somebody who had the "
                            "device set that; put right",
                            number);
        if (status->offset_bytes == 0 && status->limit_bytes == 0) {
                /* After a restart only the tag tells that it is ours. */
                if (is_marked(proof, fd, status) && !str_equal(status->tag, proof->tag))
                        (void)loop_restore(fd, proof->tag);
                return 0;
        }
        log_warning("/dev/loop%u showed a part of its volume's file: somebody who had the device "
                    "set that; put right",
                    number);
        if (loop_restore(fd, proof->tag) == 0)
                return 0;
        return error_set(err, ERROR_UNAVAILABLE,
                         "/dev/loop%u shows a part of its volume's file, and that cannot be put "
                         "right",
                         number);
}

/* Opens /dev/loop@number and proves what is behind it. Return: 0; ATTACH_E_NONE when it is another
 * one by now. */
static int prove(unsigned int number, const Proof *proof, Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;
        LoopStatus status;
        int r;

        fd = open_number(number, O_RDONLY, 0, err);
        if (fd == -ENXIO)
                return ATTACH_E_NONE;
        if (fd < 0)
                return fd;
        r = loop_get_status(fd, &status);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "status of /dev/loop%u: %s", number,
                                 r == -EIO ? "input/output error" : "it does not answer");
        if (!is_ours(proof, fd, &status))
                return ATTACH_E_NONE;
        r = restore(number, fd, &status, proof, err);
        if (r < 0)
                return r;
        attachment->is_marked = is_marked(proof, fd, &status);
        attachment->is_foreign = is_foreign(proof, fd, &status);
        r = fill(number, fd, &status, attachment, err);
        if (r == 0)
                (void)fd_steal(&fd);
        return r;
}

static void get_hint(Pool *pool, const Entry *entry, unsigned int *hintp, uint64_t *sequencep) {
        pthread_mutex_lock(&pool->mutex);
        *hintp = entry->loop_hint - 1;
        *sequencep = entry->loop_sequence;
        pthread_mutex_unlock(&pool->mutex);
}

/* Also by those who only share the entry. */
static void remember(Pool *pool, Entry *entry, const Attachment *attachment) {
        uint64_t sequence;

        if (block_get_sequence(attachment->fd, &sequence) < 0)
                sequence = 0;
        pthread_mutex_lock(&pool->mutex);
        entry->loop_hint = attachment->number + 1;
        entry->loop_sequence = sequence;
        pthread_mutex_unlock(&pool->mutex);
}

/*
 * When the disk of the pool is gone neither the data file can be opened, nor does the kernel say
 * what is behind the device (LOOP_GET_STATUS64 asks the file: EIO); and a file that was renamed or
 * removed is not found by its name. But no two attachments have the same sequence number.
 */
static int find_by_sequence(Pool *pool, const Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;
        uint64_t sequence, wanted;
        LoopStatus status = {0};
        unsigned int number;
        int r;

        get_hint(pool, entry, &number, &wanted);
        if (number == UINT_MAX || wanted == 0)
                return ATTACH_E_NONE;
        fd = open_number(number, O_RDONLY, 0, NULL);
        if (fd < 0 || block_get_sequence(fd, &sequence) < 0 || sequence != wanted ||
            loop_get_status(fd, &status) == LOOP_E_NONE)
                return ATTACH_E_NONE;
        r = fill(number, fd, &status, attachment, err);
        if (r == 0)
                (void)fd_steal(&fd);
        attachment->is_stray = attachment->is_marked = true;
        return r;
}

typedef struct DeadSearch {
        char suffix[LOCAL_STEM_MAX + 16];
        Attachment *attachment;
} DeadSearch;

static bool ends_with(const char *text, const char *suffix) {
        size_t n = strlen(text), n_suffix = strlen(suffix);

        return n >= n_suffix && strcmp(text + n - n_suffix, suffix) == 0;
}

static int look_if_dead(void *userdata, unsigned int number) {
        const DeadSearch *search = userdata;
        cleanup(closep) int fd = -1;
        LoopStatus status = {0};
        char path[PATH_MAX];

        if (loop_get_path(number, path, sizeof(path)) != 0 || !ends_with(path, search->suffix))
                return 0;
        fd = open_number(number, O_RDONLY, 0, NULL);
        if (fd < 0 || loop_get_status(fd, &status) != -EIO ||
            fill(number, fd, &status, search->attachment, NULL) < 0)
                return 0;
        (void)fd_steal(&fd);
        return 1;
}

/* Of a disk that is gone the kernel tells neither tag nor inode, only the file's name; what it is
 * below depends on the mount that it was opened through, which went with an older container. */
static int find_dead(const char *stem, Attachment *attachment) {
        DeadSearch search = {.attachment = attachment};

        (void)snprintf(search.suffix, sizeof(search.suffix), "/volumes/%s.img", stem);
        attachment->is_stray = attachment->is_marked = true;
        return loop_each(look_if_dead, &search) == 1 ? 0 : ATTACH_E_NONE;
}

/* The name of its file, as the kernel remembers it. False: it is no loop device. */
static bool get_file_path(uint64_t devno, char *path, size_t n_path) {
        cleanup(closep) int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
        char name[BLOCK_NAME_MAX];
        uint64_t number;

        return block_sysfs_name(root_fd, devno, name) == 0 && str_has_prefix(name, "loop") &&
               str_parse_u64(name + strlen("loop"), UINT_MAX, &number) == 0 &&
               loop_get_path((unsigned int)number, path, n_path) == 0;
}

bool attach_has_lost_name(const char *stem, uint64_t devno) {
        char path[PATH_MAX], suffix[LOCAL_STEM_MAX + 16];

        if (!get_file_path(devno, path, sizeof(path)))
                return false;
        (void)snprintf(suffix, sizeof(suffix), "/volumes/%s.img", stem);
        return !ends_with(path, suffix);
}

bool attach_is_another(const char *stem, uint64_t devno) {
        char path[PATH_MAX];
        const char *name;
        size_t n;

        if (!get_file_path(devno, path, sizeof(path)) || !(name = strrchr(path, '/')))
                return false;
        n = local_stem_of_file(LOCAL_VOLUME, name + 1, ".img");
        return n > 0 && (n != strlen(stem) || memcmp(name + 1, stem, n) != 0);
}

static int find_by_tag(Pool *pool, const char *stem, Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        Proof proof = {.tag = tag, .by_tag = true};
        unsigned int number;
        int r;

        make_tag(pool, stem, tag);
        r = loop_find_tag(tag, &number);
        if (r == LOOP_E_NONE)
                return find_dead(stem, attachment);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "look through the loop devices: %d", r);
        r = prove(number, &proof, attachment, err);
        attachment->is_stray = true;
        return r;
}

/* How sure it is: a stranger's device on the same file may have a lower number than ours. */
typedef enum Rank {
        RANK_NONE,
        RANK_FOREIGN,
        RANK_UNTAGGED,
        RANK_MARKED
} Rank;

typedef struct FileSearch {
        const Proof *proof;
        Rank rank;
        unsigned int number; /* the lowest of @rank */
} FileSearch;

static Rank rank_of(const Proof *proof, unsigned int number) {
        cleanup(closep) int fd = open_number(number, O_RDONLY, 0, NULL);
        LoopStatus status;

        if (fd < 0 || loop_get_status(fd, &status) != 0 || !is_ours(proof, fd, &status))
                return RANK_NONE;
        if (is_marked(proof, fd, &status))
                return RANK_MARKED;
        return is_foreign(proof, fd, &status) ? RANK_FOREIGN : RANK_UNTAGGED;
}

static int look_at(void *userdata, unsigned int number) {
        FileSearch *search = userdata;
        Rank rank = rank_of(search->proof, number);

        if (rank > search->rank ||
            (rank != RANK_NONE && rank == search->rank && number < search->number)) {
                search->rank = rank;
                search->number = number;
        }
        return 0;
}

/* Return: 0; LOOP_E_NONE; -errno. */
static int find_number(const Proof *proof, unsigned int hint, unsigned int *numberp) {
        FileSearch search = {.proof = proof};
        int r;

        if (hint != UINT_MAX && rank_of(proof, hint) == RANK_MARKED) {
                *numberp = hint;
                return 0;
        }
        r = loop_each(look_at, &search);
        *numberp = search.number;
        return r < 0 ? r : search.rank == RANK_NONE ? LOOP_E_NONE : 0;
}

/* Where it was the last time, else proven to be nowhere, else looked for: only that takes longer
 * the more loop devices the node has. */
static int find_by_file(Pool *pool, Entry *entry, int data_fd, Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        Proof proof = {.tag = tag};
        unsigned int hint, number;
        struct stat st;
        int r;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if (!loop_is_possible(data_fd))
                return ATTACH_E_NONE;
        get_hint(pool, entry, &hint, &proof.sequence);
        make_tag(pool, entry->meta.stem, tag);
        proof.backing_dev = (uint64_t)st.st_dev;
        proof.backing_inode = (uint64_t)st.st_ino;
        r = find_number(&proof, hint, &number);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "find the loop device of %s: %d",
                                 entry->meta.id, r);
        r = prove(number, &proof, attachment, err);
        if (r == 0 && attachment->is_marked)
                remember(pool, entry, attachment);
        return r;
}

static bool is_held(Pool *pool, const Entry *entry, int fd) {
        struct stat held, found;
        bool same;

        pthread_mutex_lock(&pool->mutex);
        same = entry->loop_fd >= 0 && fstat(entry->loop_fd, &held) == 0 && fstat(fd, &found) == 0 &&
               held.st_rdev == found.st_rdev;
        pthread_mutex_unlock(&pool->mutex);
        return same;
}

/*
 * LOOP_CHANGE_FD: whoever has a read-only device can put a file of his own behind it, which begins
 * another sequence. The device is the volume's all the same: by the descriptor that is held, else
 * by the tag. The volume's file is put back; where that cannot be, it is there to be given back.
 */
static int find_changed(Pool *pool, Entry *entry, int data_fd, Attachment *attachment, Error *err) {
        /* Not @data_fd: the device keeps what it is given, and then nobody else would have it. */
        cleanup(closep) int fd = -1, file_fd = -1;
        char tag[LOOP_TAG_MAX + 1];
        LoopStatus status;
        uint64_t sequence;
        unsigned int number;
        int r;

        get_hint(pool, entry, &number, &sequence);
        if (number == UINT_MAX)
                return ATTACH_E_NONE;
        make_tag(pool, entry->meta.stem, tag);
        fd = open_number(number, O_RDONLY, 0, NULL);
        if (fd < 0 || loop_get_status(fd, &status) != 0 || !status.is_read_only ||
            (!is_held(pool, entry, fd) && strcmp(status.tag, tag) != 0))
                return ATTACH_E_NONE;
        file_fd = pool_open_data(pool, &entry->meta, O_RDONLY, NULL);
        if (file_fd >= 0 && loop_restore(fd, tag) == 0 && loop_change_file(fd, file_fd) == 0) {
                log_warning("/dev/loop%u showed another file than its volume's: somebody who had "
                            "the device set that; put right",
                            number);
                return find_by_file(pool, entry, data_fd, attachment, err);
        }
        r = fill(number, fd, &status, attachment, err);
        if (r == 0)
                (void)fd_steal(&fd);
        attachment->is_stray = attachment->is_marked = true;
        return r;
}

int attach_find(Pool *pool, Entry *entry, Attachment *attachment, Error *err) {
        cleanup(closep) int data_fd = -1;
        Error error = {0};
        bool is_missing;
        int r;

        data_fd = pool_open_data(pool, &entry->meta, O_RDONLY, &error);
        /* A link or a device in its place was never attached by us; of a disk that is dead the
         * kernel still says which devices are on it. */
        is_missing = data_fd == -ENOENT || data_fd == -EIO ||
                     (data_fd < 0 && error.code == ERROR_PRECONDITION);
        if (data_fd >= 0) {
                r = find_by_file(pool, entry, data_fd, attachment, err);
                if (r != ATTACH_E_NONE)
                        return r;
        }
        r = find_by_sequence(pool, entry, attachment, err);
        if (r == ATTACH_E_NONE && data_fd >= 0)
                r = find_changed(pool, entry, data_fd, attachment, err);
        else if (r == ATTACH_E_NONE)
                r = find_by_tag(pool, entry->meta.stem, attachment, err);
        /* Of a disk that does not answer nobody knows what it has by that name. */
        if (data_fd == -EIO)
                attachment->is_stray = false;
        if (r != ATTACH_E_NONE || data_fd >= 0 || is_missing)
                return r;
        if (err)
                *err = error;
        return data_fd;
}

int attach_check_file(const Entry *entry, const Attachment *attachment, Error *err) {
        if (!attachment->is_stray)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "volume %s on /dev/loop%u has another file than the pool has by its name: "
                         "it was removed or replaced while in use; stop its user first",
                         entry->meta.id, attachment->number);
}

/* --- Attaching --- */

/* Nodes of loop devices that are bound somewhere, as raw block volumes are published. Whoever has
 * one opens what the number is then, so that it must not become another volume's. */
typedef struct Published {
        MountTable *table; /* owned */
} Published;

/* "/loop3", or "/dev/loop3" where /dev is no filesystem of its own. */
static bool is_node_of(const Mount *mount, unsigned int number) {
        const char *name = strrchr(mount->root, '/');
        char wanted[LOOP_PATH_MAX];

        (void)snprintf(wanted, sizeof(wanted), "/loop%u", number);
        return name && strcmp(name, wanted) == 0 &&
               (strcmp(mount->fs_type, "devtmpfs") == 0 || strcmp(mount->fs_type, "tmpfs") == 0);
}

static bool is_published(void *userdata, unsigned int number) {
        const Published *published = userdata;

        for (size_t i = 0; i < published->table->n_mounts; i++)
                if (is_node_of(&published->table->mounts[i], number))
                        return true;
        return false;
}

/* Blocks that a discard gave back while the device was somebody's who turned it on. */
static void fill_holes(const Entry *entry, int data_fd) {
        uint64_t at = 0;

        while (filecopy_preallocate(data_fd, entry->meta.size_bytes, &at) == 0)
                ;
}

static int check_size(const Pool *pool, const Entry *entry, int data_fd, Error *err) {
        struct stat st;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if ((uint64_t)st.st_size >= entry->meta.size_bytes)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "volume %s: its data file in pool %s has %lld bytes, not %llu: it "
                         "was cut and is not attached",
                         entry->meta.id, pool->path, (long long)st.st_size,
                         (unsigned long long)entry->meta.size_bytes);
}

static int attach_file(const Entry *entry, int data_fd, AttachMode mode, const char *tag,
                       Attachment *attachment, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        Published published;
        LoopConfig config = {
                .backing_fd = data_fd,
                .logical_sector_bytes = entry->meta.sector_bytes,
                .is_read_only = mode == ATTACH_FOR_BLOCK_READ,
                .wants_direct_io = true,
                .keeps_blocks = entry->meta.thick,
                .tag = tag,
                .is_refused = is_published,
                .userdata = &published,
        };
        Proof proof = {.tag = tag};
        cleanup(closep) int fd = -1;
        unsigned int number;
        struct stat st;
        int r;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        published.table = table;
        r = loop_attach(&config, &number, &fd);
        if (r == -ENOENT || r == -ENXIO)
                return error_set(err, ERROR_UNAVAILABLE,
                                 "attach a loop device to %s: its node is missing in this "
                                 "container's /dev, or /dev/loop-control is",
                                 entry->meta.id);
        if (r < 0)
                return error_set_errno(err, r, "attach a loop device to %s", entry->meta.id);
        if (entry->meta.thick)
                fill_holes(entry, data_fd);
        proof.backing_dev = (uint64_t)st.st_dev;
        proof.backing_inode = (uint64_t)st.st_ino;
        return prove(number, &proof, attachment, err);
}

static int attach_new(Pool *pool, Entry *entry, int data_fd, AttachMode mode,
                      Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        int r = check_size(pool, entry, data_fd, err);

        if (r < 0)
                return r;
        make_tag(pool, entry->meta.stem, tag);
        r = attach_file(entry, data_fd, mode, tag, attachment, err);
        if (r == 0)
                remember(pool, entry, attachment);
        return r;
}

/* --- A copy that is to take a volume's place --- */

int attach_copy(Pool *pool, const Entry *entry, int copy_fd, Attachment *attachment, Error *err) {
        int r = check_size(pool, entry, copy_fd, err);

        if (r == 0)
                r = attach_file(entry, copy_fd, ATTACH_FOR_MOUNT, COPY_TAG, attachment, err);
        return r == ATTACH_E_NONE ? error_set(err, ERROR_UNAVAILABLE,
                                              "the loop device of a copy of %s was taken away at "
                                              "once",
                                              entry->meta.id)
                                  : r;
}

int attach_find_copy(int copy_fd, Attachment *attachment, Error *err) {
        Proof proof = {.tag = COPY_TAG};
        unsigned int number;
        struct stat st;
        int r;

        if (fstat(copy_fd, &st) < 0)
                return error_set_errno(err, errno, "stat a copy");
        proof.backing_dev = (uint64_t)st.st_dev;
        proof.backing_inode = (uint64_t)st.st_ino;
        r = find_number(&proof, UINT_MAX, &number);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "find the loop device of a copy: %d", r);
        return prove(number, &proof, attachment, err);
}

void attach_adopt(Pool *pool, Entry *entry, const Attachment *attachment) {
        char tag[LOOP_TAG_MAX + 1];

        make_tag(pool, entry->meta.stem, tag);
        /* Without it the file tells whose it is. */
        if (loop_restore(attachment->fd, tag) < 0)
                log_warning("/dev/loop%u carries no name of its volume %s", attachment->number,
                            entry->meta.id);
        remember(pool, entry, attachment);
}

/* Whether it is mounted below kubelet's root, or published: then it is the volume's, whatever
 * whoever has it wrote over its tag, and also without one. */
static bool is_kubelets(const Pool *pool, const Attachment *attachment) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        cleanup(freep) char *root = realpath(pool->kubelet_root, NULL);
        char path[LOOP_PATH_MAX];

        if (!root || mountinfo_read(&table) < 0)
                return false;
        loop_path(attachment->number, path);
        for (size_t i = 0; i < table->n_mounts; i++) {
                const Mount *mount = &table->mounts[i];

                if ((mount->dev == attachment->devno || str_equal(mount->source, path) ||
                     is_node_of(mount, attachment->number)) &&
                    str_has_prefix(mount->target, root) && mount->target[strlen(root)] == '/')
                        return true;
        }
        return false;
}

bool attach_claim(Pool *pool, Entry *entry, Attachment *attachment) {
        if (!attachment->is_marked && is_kubelets(pool, attachment)) {
                attach_adopt(pool, entry, attachment);
                attachment->is_marked = true;
                attachment->is_foreign = false;
        }
        return attachment->is_marked;
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

/* Whether an attachment that was found can serve @mode. Return: 0; ATTACH_E_NONE: it was given
 * back, and a new one is needed; <0 with @err. */
static int fit(Pool *pool, Entry *entry, AttachMode mode, Attachment *attachment, Error *err) {
        bool read_only = mode == ATTACH_FOR_BLOCK_READ;
        const char *why = NULL;
        int r;

        if (!attachment->is_stray && attachment->is_read_only && !read_only)
                why = "is published read-only on this node and refuses writes";
        else if (!attachment->is_stray && attachment->is_read_only == read_only &&
                 !attachment->scans_partitions)
                return attachment->is_leaving ? keep(entry, attachment, err) : 0;
        closep(&attachment->fd);
        r = attach_drop(pool, entry, err);
        if (r <= 0)
                return r < 0 ? r : ATTACH_E_NONE;
        if (attachment->is_stray)
                return attach_check_file(entry, attachment, err);
        /* Others write to it: then this user's copy of the device can be read-only at most. */
        if (!why)
                return attach_find(pool, entry, attachment, err);
        return error_set(err, ERROR_PRECONDITION,
                         "volume %s on /dev/loop%u %s; stop its user first", entry->meta.id,
                         attachment->number, why);
}

/* Somebody who looks into the file with a loop device of his own. */
static int check_others(const Pool *pool, const Entry *entry, int data_fd, Error *err) {
        unsigned int number;
        struct stat st;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if (!loop_is_possible(data_fd) ||
            loop_find((uint64_t)st.st_dev, (uint64_t)st.st_ino, UINT_MAX, &number) != 0)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "the data file of volume %s in pool %s is on /dev/loop%u, which is not of "
                         "our making: detach that first (losetup -d /dev/loop%u)",
                         entry->meta.id, pool->path, number, number);
}

static int take_held(Pool *pool, Entry *entry) {
        int fd;

        pthread_mutex_lock(&pool->mutex);
        fd = fd_steal(&entry->loop_fd);
        pthread_mutex_unlock(&pool->mutex);
        return fd;
}

static void hold_open(Pool *pool, Entry *entry, const Attachment *attachment) {
        int before_fd = take_held(pool, entry), fd = fcntl(attachment->fd, F_DUPFD_CLOEXEC, 0);

        pthread_mutex_lock(&pool->mutex);
        if (entry->loop_fd < 0)
                entry->loop_fd = fd_steal(&fd);
        pthread_mutex_unlock(&pool->mutex);
        closep(&fd);
        closep(&before_fd);
}

int attach_make(Pool *pool, Entry *entry, AttachMode mode, Attachment *attachment, Error *err) {
        cleanup(closep) int data_fd = -1;
        int r;

        data_fd = pool_open_data(pool, &entry->meta, O_RDWR, err);
        if (data_fd < 0)
                return data_fd;
        r = attach_find(pool, entry, attachment, err);
        if (r == 0 && !attach_claim(pool, entry, attachment) && attachment->is_foreign) {
                closep(&attachment->fd);
                r = ATTACH_E_NONE;
        }
        if (r == 0)
                r = fit(pool, entry, mode, attachment, err);
        if (r == ATTACH_E_NONE) {
                r = check_others(pool, entry, data_fd, err);
                if (r == 0)
                        r = attach_new(pool, entry, data_fd, mode, attachment, err);
                if (r == ATTACH_E_NONE)
                        r = error_set(err, ERROR_UNAVAILABLE,
                                      "the loop device of %s was taken away at once",
                                      entry->meta.id);
        } else if (r == 0) {
                if (!attachment->is_marked)
                        attach_adopt(pool, entry, attachment);
                (void)loop_set_queue(attachment->fd, entry->meta.thick);
                if (loop_restore_io(attachment->fd, entry->meta.sector_bytes) < 0)
                        log_warning("/dev/loop%u keeps sectors of another size than its volume's: "
                                    "somebody who had the device set that",
                                    attachment->number);
        }
        if (r == 0 && mode != ATTACH_FOR_MOUNT)
                hold_open(pool, entry, attachment);
        return r;
}

/* --- Giving back --- */

int attach_is_mounted(const Attachment *attachment, Error *err) {
        cleanup(closep) int fd = -1;

        /* An exclusive open fails for a mount in any namespace, and costs the same with any number
         * of mounts. */
        fd = open_number(attachment->number, O_RDONLY | O_EXCL, attachment->devno, err);
        if (fd == -EBUSY)
                return ATTACH_E_MOUNTED;
        if (fd == -ENXIO)
                return 0;
        return fd < 0 ? fd : 0;
}

int attach_is_published(const Attachment *attachment, Error *err) {
        cleanup(mount_table_freep) MountTable *table = NULL;
        Published published;
        int r;

        r = mountinfo_read(&table);
        if (r < 0)
                return error_set_errno(err, r, "read mountinfo");
        published.table = table;
        return is_published(&published, attachment->number) ? ATTACH_E_PUBLISHED : 0;
}

/* Return: 0; ATTACH_E_*: it stays; <0 with @err. */
static int drop(Attachment *attachment, Error *err) {
        int r;

        r = attach_is_mounted(attachment, err);
        if (r == 0)
                r = attach_is_published(attachment, err);
        if (r != 0)
                return r;
        r = loop_detach(attachment->fd);
        if (r < 0)
                return error_set_errno(err, r, "detach /dev/loop%u", attachment->number);
        closep(&attachment->fd);
        loop_renew(attachment->number);
        return 0;
}

int attach_drop(Pool *pool, Entry *entry, Error *err) {
        for (unsigned int n = 0; n < DROP_MAX; n++) {
                cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
                cleanup(closep) int held_fd = -1;
                int r;

                r = attach_find(pool, entry, &attachment, err);
                if (r != 0)
                        return r == ATTACH_E_NONE ? 0 : r;
                if (!attach_claim(pool, entry, &attachment) && attachment.is_foreign)
                        return attach_is_mounted(&attachment, err);
                held_fd = take_held(pool, entry);
                /* Detached, and somebody who looks at it keeps it for a while. */
                if (attachment.is_leaving && held_fd < 0)
                        return attach_is_mounted(&attachment, err);
                closep(&held_fd);
                r = drop(&attachment, err);
                if (r > 0 && entry->meta.allows_block)
                        hold_open(pool, entry, &attachment);
                if (r != 0)
                        return r;
        }
        return 0;
}

int attach_drop_copy(int copy_fd, Error *err) {
        for (unsigned int n = 0; n < DROP_MAX; n++) {
                cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
                int r;

                r = attach_find_copy(copy_fd, &attachment, err);
                if (r != 0)
                        return r == ATTACH_E_NONE ? 0 : r;
                if (attachment.is_leaving || attachment.is_foreign)
                        return attach_is_mounted(&attachment, err);
                r = drop(&attachment, err);
                if (r != 0)
                        return r;
        }
        return 0;
}

int attach_drop_stem(Pool *pool, const char *stem, Error *err) {
        for (unsigned int n = 0; n < DROP_MAX; n++) {
                cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
                int r;

                r = find_by_tag(pool, stem, &attachment, err);
                if (r != 0)
                        return r == ATTACH_E_NONE ? 0 : r;
                if (attachment.is_leaving)
                        return attach_is_mounted(&attachment, err);
                r = drop(&attachment, err);
                if (r != 0)
                        return r;
        }
        return 0;
}

/* --- At start, and now and then --- */

typedef struct Survey {
        Pool *pool;
        void (*orphan)(Pool *pool, const char *stem);
        char prefix[LOOP_TAG_MAX + 1];
} Survey;

static Entry *find_stem(const Pool *pool, const char *stem) {
        const EntryTable *table = &pool->tables[LOCAL_VOLUME];
        Entry *entry = pool_find(pool, LOCAL_VOLUME, stem);

        for (size_t i = 0; i < table->n_entries && !entry; i++)
                if (strcmp(table->entries[i]->meta.stem, stem) == 0)
                        entry = table->entries[i];
        return entry;
}

/* Whoever knows better since is not disturbed. */
static bool tell_entry(Pool *pool, const char *stem, unsigned int number, int fd) {
        uint64_t sequence = 0;
        Entry *entry;

        (void)block_get_sequence(fd, &sequence);
        pthread_mutex_lock(&pool->mutex);
        entry = find_stem(pool, stem);
        if (entry && entry->loop_hint == 0) {
                entry->loop_hint = number + 1;
                entry->loop_sequence = sequence;
        }
        pthread_mutex_unlock(&pool->mutex);
        return entry != NULL;
}

static int survey_one(void *userdata, unsigned int number) {
        const Survey *survey = userdata;
        cleanup(closep) int fd = open_number(number, O_RDONLY, 0, NULL);
        size_t n = strlen(survey->prefix);
        LoopStatus status;
        const char *stem;

        if (fd < 0 || loop_get_status(fd, &status) != 0 ||
            strncmp(status.tag, survey->prefix, n) != 0)
                return 0;
        stem = status.tag + n;
        if (!local_stem_is_valid(LOCAL_VOLUME, stem, strlen(stem)) ||
            tell_entry(survey->pool, stem, number, fd))
                return 0;
        closep(&fd);
        survey->orphan(survey->pool, stem);
        return 0;
}

int attach_survey(Pool *pool, void (*orphan)(Pool *pool, const char *stem)) {
        Survey survey = {.pool = pool, .orphan = orphan};

        make_tag(pool, "", survey.prefix);
        return loop_each(survey_one, &survey);
}
