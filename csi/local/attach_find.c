/* SPDX-License-Identifier: Apache-2.0 */

/* Loop devices of volumes: found by the device and inode of the data file, and proven. */

#include "csi/local/attach_internal.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/block_sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void attachment_deinit(Attachment *attachment) {
        closep(&attachment->fd);
}

void attach_make_tag(const Pool *pool, const char *stem, char tag[LOOP_TAG_MAX + 1]) {
        (void)snprintf(tag, LOOP_TAG_MAX + 1, ATTACH_TAG_PREFIX "%.16s:%s", pool->uuid, stem);
}

static int open_number(unsigned int number, int flags, uint64_t devno) {
        char path[LOOP_PATH_MAX];

        loop_path(number, path);
        return block_open(path, flags, devno);
}

static int say_unopened(unsigned int number, int r, Error *err) {
        return error_set(err, ERROR_UNAVAILABLE, "open /dev/loop%u: %s", number,
                         r == -ENOENT ? "there is no such node in this container's /dev"
                                      : "it cannot be looked at");
}

int attach_open_number(unsigned int number, int flags, uint64_t devno, Error *err) {
        int fd = open_number(number, flags, devno);

        /* ENXIO: it was found, and is being detached. */
        if (fd >= 0 || fd == -EBUSY || fd == -ENXIO)
                return fd;
        return say_unopened(number, fd, err);
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

static bool is_marked(const AttachProof *proof, int fd, const LoopStatus *status) {
        uint64_t sequence;

        return strcmp(status->tag, proof->tag) == 0 ||
               (proof->sequence != 0 && block_get_sequence(fd, &sequence) == 0 &&
                sequence == proof->sequence);
}

static bool is_ours(const AttachProof *proof, int fd, const LoopStatus *status) {
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
static bool is_foreign(const AttachProof *proof, int fd, const LoopStatus *status) {
        return !is_marked(proof, fd, status) && !str_is_empty(status->tag) &&
               !str_has_prefix(status->tag, ATTACH_TAG_PREFIX);
}

/* What whoever had the device can have set. */
static int restore(unsigned int number, int fd, const LoopStatus *status, const AttachProof *proof,
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

int attach_prove(unsigned int number, const AttachProof *proof, Attachment *attachment,
                 Error *err) {
        cleanup(closep) int fd = -1;
        LoopStatus status;
        int r;

        fd = attach_open_number(number, O_RDONLY, 0, err);
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

void attach_remember(Pool *pool, Entry *entry, const Attachment *attachment) {
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
        fd = attach_open_number(number, O_RDONLY, 0, NULL);
        if (fd < 0 || block_get_sequence(fd, &sequence) < 0 || sequence != wanted ||
            loop_get_status(fd, &status) == LOOP_E_NONE)
                return ATTACH_E_NONE;
        r = fill(number, fd, &status, attachment, err);
        if (r == 0)
                (void)fd_steal(&fd);
        attachment->is_stray = attachment->is_marked = true;
        return r;
}

#define DATA_SUFFIX_MAX (LOCAL_STEM_MAX + 16)

/* How the path of a volume's data ends, from wherever it is seen. */
static void format_data_suffix(const char *stem, char suffix[DATA_SUFFIX_MAX]) {
        (void)snprintf(suffix, DATA_SUFFIX_MAX, "/volumes/%s.img", stem);
}

typedef struct DeadSearch {
        char suffix[DATA_SUFFIX_MAX];
        Attachment *attachment;
} DeadSearch;

static int look_if_dead(void *userdata, unsigned int number) {
        const DeadSearch *search = userdata;
        cleanup(closep) int fd = -1;
        LoopStatus status = {0};
        char path[PATH_MAX];

        if (loop_get_path(number, path, sizeof(path)) != 0 || !str_has_suffix(path, search->suffix))
                return 0;
        fd = attach_open_number(number, O_RDONLY, 0, NULL);
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

        format_data_suffix(stem, search.suffix);
        attachment->is_stray = attachment->is_marked = true;
        return loop_each(look_if_dead, &search) == 1 ? 0 : ATTACH_E_NONE;
}

/* The name of its file, as the kernel remembers it. False: it is no loop device. */
static bool get_file_path(uint64_t devno, char *path, size_t n_path) {
        cleanup(closep) int root_fd = file_open_root();
        char name[BLOCK_NAME_MAX];
        uint64_t number;

        return block_sysfs_name(root_fd, devno, name) == 0 && str_has_prefix(name, "loop") &&
               str_parse_u64(name + strlen("loop"), UINT_MAX, &number) == 0 &&
               loop_get_path((unsigned int)number, path, n_path) == 0;
}

bool attach_has_lost_name(const char *stem, uint64_t devno) {
        char path[PATH_MAX], suffix[DATA_SUFFIX_MAX];

        if (!get_file_path(devno, path, sizeof(path)))
                return false;
        format_data_suffix(stem, suffix);
        return !str_has_suffix(path, suffix);
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

bool attach_is_known(Pool *pool, const char *volume_id) {
        char path[PATH_MAX], suffix[DATA_SUFFIX_MAX];
        unsigned int number = 0;
        const Entry *entry;

        pthread_mutex_lock(&pool->mutex);
        entry = pool_find(pool, LOCAL_VOLUME, volume_id);
        if (entry) {
                number = entry->loop_hint;
                format_data_suffix(entry->meta.stem, suffix);
        }
        pthread_mutex_unlock(&pool->mutex);
        return number != 0 && loop_get_path(number - 1, path, sizeof(path)) == 0 &&
               str_has_suffix(path, suffix);
}

/* The directory that a device's file is in, or was, if it is one of a pool and is seen from here.
 */
static bool stat_volumes_of(unsigned int number, struct stat *st) {
        char path[PATH_MAX], *end;

        if (loop_get_path(number, path, sizeof(path)) != 0 || !(end = strrchr(path, '/')))
                return false;
        *end = '\0';
        return str_has_suffix(path, "/volumes") && stat(path, st) == 0;
}

bool attach_is_seen(unsigned int number) {
        struct stat st;

        return stat_volumes_of(number, &st);
}

bool attach_is_of_pool(const Pool *pool, unsigned int number, const LoopStatus *status) {
        struct stat own, other;

        if (fstat(pool->dir_fds[LOCAL_VOLUME], &own) < 0)
                return true;
        if (status->backing_dev != (uint64_t)own.st_dev)
                return false;
        return !stat_volumes_of(number, &other) ||
               (other.st_dev == own.st_dev && other.st_ino == own.st_ino);
}

typedef struct TagSearch {
        const Pool *pool;
        const AttachProof *proof;
        unsigned int number; /* the lowest */
} TagSearch;

static int look_for_tag(void *userdata, unsigned int number) {
        TagSearch *search = userdata;
        cleanup(closep) int fd = open_number(number, O_RDONLY, 0);
        LoopStatus status;

        if (number < search->number && fd >= 0 && loop_get_status(fd, &status) == 0 &&
            is_ours(search->proof, fd, &status) && attach_is_of_pool(search->pool, number, &status))
                search->number = number;
        return 0;
}

int attach_find_by_tag(Pool *pool, const char *stem, Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        AttachProof proof = {.tag = tag, .by_tag = true};
        TagSearch search = {.pool = pool, .proof = &proof, .number = UINT_MAX};
        int r;

        attach_make_tag(pool, stem, tag);
        r = loop_each(look_for_tag, &search);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "look through the loop devices: %d", r);
        if (search.number == UINT_MAX)
                return find_dead(stem, attachment);
        r = attach_prove(search.number, &proof, attachment, err);
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
        const AttachProof *proof;
        int data_fd; /* of the file; borrowed */
        Rank rank;
        unsigned int number; /* the lowest of @rank */
        Error error;         /* of one that could not be looked at, and may be it */
} FileSearch;

/* Whether a device that cannot be opened, with @r, may be on the file: by the name that the kernel
 * remembers of its own, which is of another mount namespace now and then. */
static bool may_be_on(const FileSearch *search, unsigned int number, int r) {
        char path[PATH_MAX], own[PATH_MAX], link[32];
        const char *name, *own_name;
        struct stat st;
        ssize_t n;

        if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
                return true;
        if (loop_get_path(number, path, sizeof(path)) != 0)
                return false;
        if (stat(path, &st) == 0)
                return st.st_dev == search->proof->backing_dev &&
                       st.st_ino == search->proof->backing_inode;
        (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", search->data_fd);
        n = readlink(link, own, sizeof(own) - 1);
        if (n < 0)
                return true;
        own[n] = '\0';
        name = strrchr(path, '/');
        own_name = strrchr(own, '/');
        return name && own_name && str_equal(name, own_name);
}

/* Return: a Rank; <0 with the search's error. */
static int rank_of(FileSearch *search, unsigned int number) {
        const AttachProof *proof = search->proof;
        cleanup(closep) int fd = open_number(number, O_RDONLY, 0);
        LoopStatus status;

        /* Not "it is on none", with which a volume in use is deleted, or attached twice. */
        if (fd < 0 && fd != -ENXIO && may_be_on(search, number, fd))
                return say_unopened(number, fd, &search->error);
        if (fd < 0 || loop_get_status(fd, &status) != 0 || !is_ours(proof, fd, &status))
                return RANK_NONE;
        if (is_marked(proof, fd, &status))
                return RANK_MARKED;
        return is_foreign(proof, fd, &status) ? RANK_FOREIGN : RANK_UNTAGGED;
}

static int look_at(void *userdata, unsigned int number) {
        FileSearch *search = userdata;
        int r = rank_of(search, number);
        Rank rank = r < 0 ? RANK_NONE : (Rank)r;

        if (rank > search->rank ||
            (rank != RANK_NONE && rank == search->rank && number < search->number)) {
                search->rank = rank;
                search->number = number;
        }
        return r < 0 ? r : 0;
}

/* Return: 0; LOOP_E_NONE; <0, with the search's error or as an errno. */
static int find_number(FileSearch *search, unsigned int hint) {
        int r = hint != UINT_MAX ? rank_of(search, hint) : RANK_NONE;

        if (r == RANK_MARKED) {
                search->number = hint;
                return 0;
        }
        if (r >= 0)
                r = loop_each(look_at, search);
        return r < 0 ? r : search->rank == RANK_NONE ? LOOP_E_NONE : 0;
}

/* The device on the file of @data_fd, which is @what's; of the proof only the file is filled in. */
static int find_on_file(int data_fd, const char *what, unsigned int hint, AttachProof *proof,
                        Attachment *attachment, Error *err) {
        FileSearch search = {.proof = proof, .data_fd = data_fd};
        struct stat st;
        int r;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", what);
        if (!loop_is_possible(data_fd))
                return ATTACH_E_NONE;
        proof->backing_dev = (uint64_t)st.st_dev;
        proof->backing_inode = (uint64_t)st.st_ino;
        r = find_number(&search, hint);
        if (r == LOOP_E_NONE)
                return ATTACH_E_NONE;
        if (r < 0 && error_is_set(&search.error))
                return error_set(err, search.error.code, "%s", search.error.message);
        if (r < 0)
                return error_set(err, ERROR_UNAVAILABLE, "find the loop device of %s: %d", what, r);
        return attach_prove(search.number, proof, attachment, err);
}

/* Where it was the last time, else proven to be nowhere, else looked for: only that takes longer
 * the more loop devices the node has. */
static int find_by_file(Pool *pool, Entry *entry, int data_fd, Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        AttachProof proof = {.tag = tag};
        unsigned int hint;
        int r;

        get_hint(pool, entry, &hint, &proof.sequence);
        attach_make_tag(pool, entry->meta.stem, tag);
        r = find_on_file(data_fd, entry->meta.id, hint, &proof, attachment, err);
        if (r == 0 && attachment->is_marked)
                attach_remember(pool, entry, attachment);
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
        attach_make_tag(pool, entry->meta.stem, tag);
        fd = attach_open_number(number, O_RDONLY, 0, NULL);
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
                r = attach_find_by_tag(pool, entry->meta.stem, attachment, err);
        /* Of a disk that does not answer nobody knows what it has by that name. */
        if (data_fd == -EIO)
                attachment->is_stray = false;
        if (r != ATTACH_E_NONE || data_fd >= 0 || is_missing)
                return r;
        error_move(err, &error);
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

int attach_find_copy(int copy_fd, Attachment *attachment, Error *err) {
        AttachProof proof = {.tag = ATTACH_COPY_TAG};

        return find_on_file(copy_fd, "a copy", UINT_MAX, &proof, attachment, err);
}
