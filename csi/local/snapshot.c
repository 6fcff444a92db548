/* SPDX-License-Identifier: Apache-2.0 */

/* Snapshots of one volume. What consistency they have is in cut.h. */

#include "csi/local/snapshot.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int local_check_no_parameters(const StringMap *parameters, Error *err) {
        for (size_t i = 0; i < parameters->n_pairs; i++)
                if (!str_has_prefix(parameters->pairs[i].key, "csi.storage.k8s.io/"))
                        return error_set(err, ERROR_INVALID,
                                         "parameter \"%s\" is not known; snapshots take none",
                                         parameters->pairs[i].key);
        return 0;
}

int local_plan_snapshot(Pool *pool, const char *name, const char *source_volume_id,
                        LocalMeta *fresh, uint64_t *needs_bytes, Error *err) {
        char file_name[LOCAL_STEM_MAX + 8];
        LocalMeta source;
        struct stat st;

        if (!pool_peek(pool, LOCAL_VOLUME, source_volume_id, &source) || source.ephemeral)
                return error_set(err, ERROR_NOT_FOUND, "there is no volume %s on this node",
                                 source_volume_id);
        *fresh = (LocalMeta){
                .kind = LOCAL_SNAPSHOT,
                .state = LOCAL_STATE_CREATING,
                .size_bytes = source.size_bytes,
                .sector_bytes = source.sector_bytes,
                .allows_block = source.allows_block,
                .allows_mount = source.allows_mount,
                .source = LOCAL_SOURCE_VOLUME,
        };
        memcpy(fresh->fs_type, source.fs_type, sizeof(fresh->fs_type));
        memcpy(fresh->source_id, source.id, sizeof(fresh->source_id));
        local_stem("snap", pool->node_name, name, fresh->stem);
        memcpy(fresh->id, fresh->stem, sizeof(fresh->stem));
        (void)snprintf(fresh->name, sizeof(fresh->name), "%s", name);
        local_stamp(fresh);
        /* A snapshot is never written: it can take the blocks that the volume has now. */
        (void)snprintf(file_name, sizeof(file_name), "%s.img", source.stem);
        *needs_bytes = 0;
        if (fstatat(pool->dir_fds[LOCAL_VOLUME], file_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
                *needs_bytes = (uint64_t)st.st_blocks * 512;
        return 0;
}

/* The target's hold is given away. */
static int make(Pool *pool, const Call *call, Entry *entry, Error *err) {
        cleanup(cut_part_deinit) CutPart part;
        LocalMeta meta;
        Entry *source = NULL;
        int r;

        cut_part_init(&part, NULL, entry);
        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, entry->meta.source_id, HOLD_SHARED,
                               &source, err);
        if (r < 0) {
                pool_undo(pool, entry);
                return r;
        }
        part.source = source;
        /* The volume may have grown since it was looked at. */
        pthread_mutex_lock(&pool->mutex);
        entry->meta.size_bytes = source->meta.size_bytes;
        pthread_mutex_unlock(&pool->mutex);
        r = cut_run(pool, call, &part, 1, err);
        if (r == CUT_E_COPY)
                return local_start_copy(pool, call, entry, source, fd_steal(&part.from_fd),
                                        fd_steal(&part.to_fd), err);
        pool_release(pool, source, HOLD_SHARED);
        if (r == 0) {
                meta = entry->meta;
                meta.state = LOCAL_STATE_READY;
                meta.froze = false;
                r = pool_store(pool, entry, &meta, err);
        }
        if (r < 0)
                pool_undo(pool, entry);
        else
                pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

static int check_same(const LocalMeta *found, const LocalMeta *fresh, Error *err) {
        if (strcmp(found->source_id, fresh->source_id) == 0 && found->group_id[0] == '\0')
                return 0;
        return error_set(err, ERROR_CONFLICT, "snapshot \"%s\" exists as %s of volume %s",
                         fresh->name, found->id, found->source_id);
}

/* Idempotency. The name is looked for before the source: a snapshot outlives its volume, and a
 * repeated call for it still finds it. */
static int find_or_make(Pool *pool, const Call *call, const LocalMeta *fresh, uint64_t needs_bytes,
                        Error *err) {
        CopyJob *job = NULL;
        Entry *entry = NULL;
        LocalMeta found;
        int r, same;

        r = pool_claim(pool, call, fresh, needs_bytes, &entry, &job, err);
        if (r < 0)
                return r;
        if (r == 0)
                return make(pool, call, entry, err);
        if (!pool_peek(pool, LOCAL_SNAPSHOT, fresh->id, &found))
                found = *fresh;
        same = check_same(&found, fresh, err);
        if (r == POOL_E_COPYING) {
                Error error = {0};

                r = copy_wait(pool, call, job, &error);
                if (same == 0 && r < 0)
                        error_move(err, &error);
                return same < 0 ? same : r;
        }
        if (same == 0 && entry->meta.state == LOCAL_STATE_COPYING)
                return local_resume_copy(pool, call, entry, err);
        if (same == 0 && entry->meta.state != LOCAL_STATE_READY) {
                pool_undo(pool, entry);
                return error_set(err, ERROR_AGAIN,
                                 "what was left of snapshot \"%s\" is being removed; try again",
                                 fresh->name);
        }
        pool_release(pool, entry, HOLD_EXCLUSIVE);
        return same;
}

/* A snapshot that is there already, whose volume may be gone. Return: 1; 0; <0. */
static int find_existing(Pool *pool, const CreateSnapshotRequest *request, LocalMeta *found,
                         Error *err) {
        LocalMeta fresh = {0};
        char stem[LOCAL_STEM_MAX + 1];
        int r;

        local_stem("snap", pool->node_name, request->name, stem);
        if (!pool_peek(pool, LOCAL_SNAPSHOT, stem, found) || found->state != LOCAL_STATE_READY)
                return 0;
        (void)snprintf(fresh.name, sizeof(fresh.name), "%s", request->name);
        (void)snprintf(fresh.source_id, sizeof(fresh.source_id), "%s", request->source_volume_id);
        r = check_same(found, &fresh, err);
        if (r == 0)
                r = pool_check_data(pool, found, err);
        return r < 0 ? r : 1;
}

int local_create_snapshot(void *self, const Call *call, const CreateSnapshotRequest *request,
                          SnapshotInfo *result, Error *err) {
        cleanup(hold_release) Hold source = {0};
        Pool *pool = self;
        LocalMeta fresh, made;
        uint64_t needs_bytes;
        int r;

        r = local_check_name("name", request->name, err);
        if (r == 0)
                r = local_check_no_parameters(&request->parameters, err);
        if (r == 0)
                r = find_existing(pool, request, &made, err);
        if (r != 0)
                return r < 0 ? r : local_fill_snapshot(call, &made, result, err);
        r = local_plan_snapshot(pool, request->name, request->source_volume_id, &fresh,
                                &needs_bytes, err);
        if (r == 0)
                r = pool_lock_volume(pool, call, request->source_volume_id, HOLD_SHARED, &source,
                                     err);
        if (r < 0)
                return r;
        r = find_or_make(pool, call, &fresh, needs_bytes, err);
        if (r < 0)
                return r;
        if (!pool_peek(pool, LOCAL_SNAPSHOT, fresh.id, &made))
                return error_set(err, ERROR_AGAIN, "snapshot %s was deleted meanwhile", fresh.id);
        return local_fill_snapshot(call, &made, result, err);
}

int local_delete_snapshot(void *self, const Call *call, const char *snapshot_id, Error *err) {
        Pool *pool = self;
        Entry *entry = NULL;
        Error error = {0};
        LocalMeta found;
        int r;

        if (!pool_peek(pool, LOCAL_SNAPSHOT, snapshot_id, &found))
                return pool_check_no_data(pool, LOCAL_SNAPSHOT, snapshot_id, err);
        if (found.group_id[0])
                return error_set(err, ERROR_INVALID,
                                 "snapshot %s is a member of group %s and goes with it",
                                 snapshot_id, found.group_id);
        pthread_mutex_lock(&pool->mutex);
        entry = pool_find(pool, LOCAL_SNAPSHOT, snapshot_id);
        if (entry && entry->job)
                copy_cancel(pool, entry->job);
        pthread_mutex_unlock(&pool->mutex);
        r = pool_acquire(pool, call, LOCAL_SNAPSHOT, snapshot_id, HOLD_EXCLUSIVE, &entry, &error);
        if (r < 0 && error.code == ERROR_NOT_FOUND)
                return 0;
        if (r == 0) {
                r = pool_erase(pool, entry, &error);
                if (r < 0)
                        pool_release(pool, entry, HOLD_EXCLUSIVE);
        }
        if (r < 0)
                error_move(err, &error);
        return r;
}
