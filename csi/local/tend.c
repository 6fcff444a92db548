/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What nobody speaks for any more: a loop device that was busy when its volume was unstaged, and an
 * inline volume whose pod went while the plugin was down. Nobody comes for them again, so the pool
 * looks by itself. A volume that a call holds is left for the next time, and so is everything when
 * kubelet's directories cannot be read.
 */

#include "csi/kubelet/volumes.h"
#include "csi/local/attach.h"
#include "csi/local/volume.h"
#include "fs/look/inspect.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void say(const Pool *pool, const char *id, const char *what) {
        const LogField fields[] = {{"volume", id}, {"pool", pool->path}};

        log_fields(LOG_LEVEL_INFO, fields, N_ELEMENTS(fields), "%s", what);
}

/* --- One volume --- */

/* A raw block volume is staged by being attached, and published later. */
static bool is_asked_for(const Pool *pool, const Entry *entry) {
        int r = entry->is_staged
                        ? 1
                        : kubelet_has_volume(pool->kubelet_root, KUBELET_STAGING, entry->meta.id);

        return r != 0 && r != -ENOENT;
}

/* Of an administrator who looks into the file, or of release 0.1.0, which a call gives back. */
static int say_foreign(const Pool *pool, const Entry *entry, unsigned int number) {
        const LogField fields[] = {{"volume", entry->meta.id}, {"pool", pool->path}};

        log_fields(LOG_LEVEL_INFO, fields, N_ELEMENTS(fields),
                   "its data file is on /dev/loop%u, which is not of our making: left alone "
                   "(losetup -d /dev/loop%u)",
                   number, number);
        return 0;
}

/*
 * The note of a mkfs that was killed names this attachment, and is worth nothing for another: then
 * the next stage or unstage could not take back what it left half made. Kubelet's note may be gone
 * before, and other orchestrators write none.
 */
static bool is_unfinished(const Entry *entry, const Attachment *attachment) {
        cleanup(freep) FsInspection *found = calloc(1, sizeof(*found));

        return entry->meta.allows_mount && !entry->meta.ephemeral && !attachment->is_stray &&
               found && fs_inspect(attachment->fd, NULL, found, NULL) == 0 &&
               (found->find == FS_FIND_OTHER || (found->find == FS_FIND_FILESYSTEM &&
                                                 (found->volume.state & FS_STATE_IN_PROGRESS)));
}

static int give_back(Pool *pool, Entry *entry, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r = attach_find(pool, entry, &attachment, err);

        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        r = attach_is_mounted(&attachment, err);
        if (r == 0)
                r = attach_is_published(&attachment, err);
        if (r < 0 || (r == 0 && is_asked_for(pool, entry)))
                return r;
        if (!attach_claim(pool, entry, &attachment))
                return r == 0 ? say_foreign(pool, entry, attachment.number) : r;
        if (r == 0 && is_unfinished(entry, &attachment)) {
                say(pool, entry->meta.id,
                    "its loop device, which nobody uses, stays until a call: what is on it is no "
                    "whole filesystem, and may be what a mkfs left");
                return 0;
        }
        attachment_deinit(&attachment);
        /* One that is in use stays, and is held again after a restart. */
        r = attach_drop(pool, entry, err);
        if (r == 0)
                say(pool, entry->meta.id, "its loop device, which nobody uses, is given back");
        return r;
}

/* @entry: held exclusively, given away. */
static void tend_held(Pool *pool, Entry *entry, bool is_usable) {
        Error error = {0};
        int r = give_back(pool, entry, &error);

        if (r == 0 && is_usable && entry->meta.ephemeral &&
            kubelet_has_volume(pool->kubelet_root, KUBELET_PODS, entry->meta.id) == 0) {
                say(pool, entry->meta.id, "removed: an inline volume whose pod is gone");
                r = pool_erase(pool, entry, &error);
                if (r == 0)
                        return;
        }
        if (r < 0)
                say(pool, entry->meta.id, error.message);
        pool_release(pool, entry, HOLD_EXCLUSIVE);
}

static bool never(void *userdata) {
        return false;
}

static void tend_volume(Pool *pool, const char *id, bool is_usable) {
        const Call call = {.method = "Tend", .deadline_msecs = 0, .cancelled = never};
        cleanup(hold_release) Hold lock = {0};
        Entry *entry = NULL;

        if (hold_acquire(pool->locks, "volume", id, HOLD_EXCLUSIVE, NULL, &lock, NULL) == 0 &&
            pool_acquire_ready(pool, &call, LOCAL_VOLUME, id, HOLD_EXCLUSIVE, &entry, NULL) == 0)
                tend_held(pool, entry, is_usable);
}

/* The id that comes after @id, into @id. */
static bool next_id(Pool *pool, char id[LOCAL_ID_MAX + 1]) {
        const EntryTable *table = &pool->tables[LOCAL_VOLUME];
        size_t at;
        bool found;

        pthread_mutex_lock(&pool->mutex);
        at = pool_after(pool, LOCAL_VOLUME, id);
        found = at < table->n_entries;
        if (found)
                memcpy(id, table->entries[at]->meta.id, LOCAL_ID_MAX + 1);
        pthread_mutex_unlock(&pool->mutex);
        return found;
}

/* --- Of a pool that is not there --- */

/* Also of a volume that no record is known of, as after a start without the pool's disk, whose
 * unmount is waited for just because of it. */
static void give_back_unknown(Pool *pool, const char *stem) {
        Error error = {0};
        int r = kubelet_has_volume(pool->kubelet_root, KUBELET_STAGING, stem);

        if (r != 0 && r != -ENOENT)
                return;
        r = attach_drop_stem(pool, stem, &error);
        if (r <= 0)
                say(pool, stem,
                    r < 0 ? error.message
                          : "its loop device, which nobody uses, is given back: the pool is not "
                            "there");
}

void local_tend(void *self) {
        char id[LOCAL_ID_MAX + 1] = "";
        Pool *pool = self;
        bool is_usable = pool_use(pool, NULL) == 0;

        /* Whoever asks a disk that hangs about its files hangs, too. */
        if (!is_usable && pool_is_hanging(pool))
                return;
        if (is_usable)
                pool_drop_orphans(pool);
        while (next_id(pool, id))
                tend_volume(pool, id, is_usable);
        if (!is_usable)
                (void)attach_survey_absent(pool, give_back_unknown);
}
