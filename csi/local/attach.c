/* SPDX-License-Identifier: Apache-2.0 */

/* Loop devices of volumes: attached, put right, given back; attach_find.c finds them. */

#include "csi/local/attach_internal.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"
#include "common/block/filecopy.h"
#include "common/mount/mountinfo.h"
#include "csi/wait/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* More loop devices of one file than this are not of our making. */
#define DROP_MAX 16

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

int attach_check_size(const Pool *pool, const Entry *entry, int data_fd, Error *err) {
        struct stat st;

        if (fstat(data_fd, &st) < 0)
                return error_set_errno(err, errno, "stat the data of %s", entry->meta.id);
        if ((uint64_t)st.st_size >= entry->meta.size_bytes)
                return 0;
        return error_set(err, ERROR_PRECONDITION,
                         "%s: its data file in pool %s has %lld bytes, not %llu: it was cut, and "
                         "is neither attached nor copied",
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
        AttachProof proof = {.tag = tag};
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
        return attach_prove(number, &proof, attachment, err);
}

static int attach_new(Pool *pool, Entry *entry, int data_fd, AttachMode mode,
                      Attachment *attachment, Error *err) {
        char tag[LOOP_TAG_MAX + 1];
        int r = attach_check_size(pool, entry, data_fd, err);

        if (r < 0)
                return r;
        attach_make_tag(pool, entry->meta.stem, tag);
        r = attach_file(entry, data_fd, mode, tag, attachment, err);
        if (r == 0)
                attach_remember(pool, entry, attachment);
        return r;
}

/* --- A copy that is to take a volume's place --- */

int attach_copy(Pool *pool, const Entry *entry, int copy_fd, Attachment *attachment, Error *err) {
        int r = attach_check_size(pool, entry, copy_fd, err);

        if (r == 0)
                r = attach_file(entry, copy_fd, ATTACH_FOR_MOUNT, ATTACH_COPY_TAG, attachment, err);
        return r == ATTACH_E_NONE ? error_set(err, ERROR_UNAVAILABLE,
                                              "the loop device of a copy of %s was taken away at "
                                              "once",
                                              entry->meta.id)
                                  : r;
}

void attach_adopt(Pool *pool, Entry *entry, const Attachment *attachment) {
        char tag[LOOP_TAG_MAX + 1];

        attach_make_tag(pool, entry->meta.stem, tag);
        /* Without it the file tells whose it is. */
        if (loop_restore(attachment->fd, tag) < 0)
                log_warning("/dev/loop%u carries no name of its volume %s", attachment->number,
                            entry->meta.id);
        attach_remember(pool, entry, attachment);
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

/* Nobody uses it, and somebody may look at it yet: one file is on one device only, or two have
 * pages of it in memory. */
static int replace(Pool *pool, const Call *call, Entry *entry, Attachment *attachment, Error *err) {
        int r = attach_drop_wait(pool, call, entry, clock_msecs() + HOLD_WAIT_MSECS, attachment,
                                 err);

        return r == 0 ? attach_say_leaving(entry, attachment, err) : r;
}

/* Whether an attachment that was found can serve @mode. Return: 0; ATTACH_E_NONE: it was given
 * back, and a new one is needed; <0 with @err. */
static int fit(Pool *pool, const Call *call, Entry *entry, AttachMode mode, Attachment *attachment,
               Error *err) {
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
        if (r < 0)
                return r;
        if (r == 0)
                return attachment->is_stray ? ATTACH_E_NONE
                                            : replace(pool, call, entry, attachment, err);
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

int attach_make(Pool *pool, const Call *call, Entry *entry, AttachMode mode, Attachment *attachment,
                Error *err) {
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
                r = fit(pool, call, entry, mode, attachment, err);
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
        fd = attach_open_number(attachment->number, O_RDONLY | O_EXCL, attachment->devno, err);
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

int attach_drop_wait(Pool *pool, const Call *call, Entry *entry, uint64_t until_msecs,
                     Attachment *attachment, Error *err) {
        for (;;) {
                int r;

                attachment_deinit(attachment);
                r = attach_drop(pool, entry, err);
                if (r < 0)
                        return r;
                r = attach_find(pool, entry, attachment, err);
                if (r != 0 || !attachment->is_leaving || clock_msecs() >= until_msecs ||
                    call->cancelled(call->userdata))
                        return r;
                clock_sleep(20);
        }
}

int attach_say_leaving(const Entry *entry, const Attachment *attachment, Error *err) {
        return error_set(err, ERROR_AGAIN,
                         "volume %s is not in use any more, but somebody still has /dev/loop%u "
                         "open; try again",
                         entry->meta.id, attachment->number);
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

                r = attach_find_by_tag(pool, stem, &attachment, err);
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
        cleanup(closep) int fd = attach_open_number(number, O_RDONLY, 0, NULL);
        size_t n = strlen(survey->prefix);
        LoopStatus status;
        const char *stem;

        if (fd < 0 || loop_get_status(fd, &status) != 0 ||
            strncmp(status.tag, survey->prefix, n) != 0 ||
            !attach_is_of_pool(survey->pool, number, &status))
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

        attach_make_tag(pool, "", survey.prefix);
        return loop_each(survey_one, &survey);
}

/* "<pool>/volumes/<stem>.img", as the kernel names it. Return: the length of the stem; 0: it is
 * none. */
static size_t stem_of_path(const Pool *pool, const char *path, const char **stemp) {
        size_t n = strlen(pool->path);

        if (strncmp(path, pool->path, n) != 0 || !str_has_prefix(path + n, "/volumes/"))
                return 0;
        *stemp = path + n + strlen("/volumes/");
        return local_stem_of_file(LOCAL_VOLUME, *stemp, ".img");
}

/* Of a pool that is not there: by the tag, or, where its disk fails, by the path. A copy of the
 * pool has the same tags, and is seen somewhere. Return: the length of the stem, or 0. */
static size_t stem_of_absent(const Survey *survey, unsigned int number, char path[PATH_MAX],
                             LoopStatus *status, const char **stemp) {
        cleanup(closep) int fd = attach_open_number(number, O_RDONLY, 0, NULL);
        size_t n, n_prefix = strlen(survey->prefix);
        int r = fd < 0 ? fd : loop_get_status(fd, status);

        if ((r != 0 && r != -EIO) || loop_get_path(number, path, PATH_MAX) != 0)
                return 0;
        n = stem_of_path(survey->pool, path, stemp);
        if (r == -EIO)
                return n;
        if (strncmp(status->tag, survey->prefix, n_prefix) != 0 ||
            (n == 0 && attach_is_seen(number)))
                return 0;
        *stemp = status->tag + n_prefix;
        n = strlen(*stemp);
        return local_stem_is_valid(LOCAL_VOLUME, *stemp, n) ? n : 0;
}

static int survey_absent(void *userdata, unsigned int number) {
        const Survey *survey = userdata;
        Pool *pool = survey->pool;
        char path[PATH_MAX], stem[LOCAL_STEM_MAX + 1];
        const char *name = NULL;
        LoopStatus status;
        bool is_known;
        size_t n = stem_of_absent(survey, number, path, &status, &name);

        if (n == 0 || n > LOCAL_STEM_MAX)
                return 0;
        memcpy(stem, name, n);
        stem[n] = '\0';
        pthread_mutex_lock(&pool->mutex);
        is_known = find_stem(pool, stem) != NULL;
        pthread_mutex_unlock(&pool->mutex);
        if (!is_known)
                survey->orphan(pool, stem);
        return 0;
}

int attach_survey_absent(Pool *pool, void (*unknown)(Pool *pool, const char *stem)) {
        Survey survey = {.pool = pool, .orphan = unknown};

        attach_make_tag(pool, "", survey.prefix);
        return loop_each(survey_absent, &survey);
}
