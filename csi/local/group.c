/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Snapshots of several volumes at one moment. The group's own record is the commit: until it says
 * "ready", every member is undone after a crash; from then on every member counts.
 */

#include "csi/local/snapshot.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One create under way. */
typedef struct Making {
        Pool *pool;
        const Call *call;
        const CreateGroupRequest *request;
        Entry *group;
        Hold names[LOCAL_MEMBERS_MAX]; /* of the sources, as far as they are held */
        CutPart parts[LOCAL_MEMBERS_MAX];
        size_t n_parts; /* whose target is held; the source may be NULL in the last */
} Making;

static int check_request(const CreateGroupRequest *request, Error *err) {
        size_t n = request->n_source_volume_ids;
        int r;

        r = local_check_name("name", request->name, err);
        if (r == 0)
                r = local_check_no_parameters(&request->parameters, err);
        if (r < 0)
                return r;
        if (n == 0 || n > LOCAL_MEMBERS_MAX)
                return error_set(err, ERROR_INVALID, "a group of %zu volumes, not 1 to %d", n,
                                 LOCAL_MEMBERS_MAX);
        for (size_t i = 0; i < n; i++)
                for (size_t k = 0; k < i; k++)
                        if (strcmp(request->source_volume_ids[i], request->source_volume_ids[k]) ==
                            0)
                                return error_set(err, ERROR_INVALID, "volume %s is named twice",
                                                 request->source_volume_ids[i]);
        return 0;
}

/* --- Members of a group that exists --- */

/* With the mutex held: the first member after @at, its index in *@atp. */
static Entry *next_member(const Pool *pool, const char *group_id, size_t *atp) {
        const EntryTable *table = &pool->tables[LOCAL_SNAPSHOT];

        for (size_t at = *atp; at < table->n_entries; at++)
                if (strcmp(table->entries[at]->meta.group_id, group_id) == 0) {
                        *atp = at + 1;
                        return table->entries[at];
                }
        return NULL;
}

static bool has_name(const char *const *names, size_t n_names, const char *name) {
        for (size_t i = 0; i < n_names; i++)
                if (strcmp(names[i], name) == 0)
                        return true;
        return false;
}

/* A copy of a group and its members into the answer. */
static int fill_locked(Pool *pool, const Call *call, const Entry *group, SnapshotGroup *result,
                       Error *err) {
        const char *id = group->meta.id;
        SnapshotInfo *snapshots =
                arena_alloc_array(call->arena, LOCAL_MEMBERS_MAX, sizeof(*snapshots));
        SnapshotGroup filled = {
                .group_id = arena_strdup(call->arena, id),
                .snapshots = snapshots,
                .created_seconds = group->meta.created_seconds,
                .created_nanos = group->meta.created_nanos,
                .ready = true,
        };
        size_t at = 0;
        Entry *member;

        if (!snapshots || !filled.group_id)
                return error_set_errno(err, ENOMEM, "answer for group %s", id);
        while (filled.n_snapshots < LOCAL_MEMBERS_MAX &&
               (member = next_member(pool, id, &at)) != NULL) {
                SnapshotInfo *info = &snapshots[filled.n_snapshots++];
                int r = local_fill_snapshot(call, &member->meta, info, err);

                if (r < 0)
                        return r;
                filled.ready = filled.ready && info->ready;
        }
        if (filled.n_snapshots != group->meta.n_members)
                return error_set(err, ERROR_INTERNAL,
                                 "group %s has %zu of its %zu snapshots; the log of the start says "
                                 "why",
                                 id, filled.n_snapshots, group->meta.n_members);
        *result = filled;
        return 0;
}

static int fill(Pool *pool, const Call *call, const char *group_id, SnapshotGroup *result,
                Error *err) {
        Entry *group;
        int r;

        pthread_mutex_lock(&pool->mutex);
        group = pool_find(pool, LOCAL_GROUP, group_id);
        if (!group || group->damaged || group->meta.state != LOCAL_STATE_READY)
                r = error_set(err, ERROR_NOT_FOUND, "there is no group snapshot %s on this node",
                              group_id);
        else
                r = fill_locked(pool, call, group, result, err);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

/* Removes every member, held one at a time. */
static int erase_members(Pool *pool, const Call *call, const char *group_id, Error *err) {
        for (;;) {
                char id[LOCAL_ID_MAX + 1] = "";
                Entry *member;
                size_t at = 0;
                int r;

                pthread_mutex_lock(&pool->mutex);
                member = next_member(pool, group_id, &at);
                if (member)
                        memcpy(id, member->meta.id, sizeof(id));
                pthread_mutex_unlock(&pool->mutex);
                if (!member)
                        return 0;
                r = pool_acquire(pool, call, LOCAL_SNAPSHOT, id, HOLD_EXCLUSIVE, &member, err);
                if (r < 0)
                        return r;
                r = pool_erase(pool, member, err);
                if (r < 0) {
                        pool_release(pool, member, HOLD_EXCLUSIVE);
                        return r;
                }
        }
}

/* --- Create --- */

static int store_state(Pool *pool, Entry *entry, LocalState state, Error *err) {
        LocalMeta meta = entry->meta;

        meta.state = state;
        meta.froze = meta.froze && state == LOCAL_STATE_CREATING;
        return pool_store(pool, entry, &meta, err);
}

static int add_member(Making *making, const char *volume_id, Error *err) {
        Pool *pool = making->pool;
        char name[2 * LOCAL_STEM_MAX + 2];
        CutPart *part = &making->parts[making->n_parts];
        Entry *target = NULL, *source = NULL;
        CopyJob *job = NULL;
        LocalMeta fresh;
        uint64_t needs_bytes;
        int r;

        (void)snprintf(name, sizeof(name), "%s/%.*s", making->group->meta.stem, LOCAL_STEM_MAX,
                       volume_id);
        r = local_plan_snapshot(pool, name, volume_id, &fresh, &needs_bytes, err);
        if (r == 0)
                r = pool_lock_volume(pool, making->call, volume_id, HOLD_SHARED,
                                     &making->names[making->n_parts], err);
        if (r < 0)
                return r;
        memcpy(fresh.group_id, making->group->meta.id, sizeof(fresh.group_id));
        fresh.created_seconds = making->group->meta.created_seconds;
        fresh.created_nanos = making->group->meta.created_nanos;
        r = pool_claim(pool, making->call, &fresh, needs_bytes, &target, &job, err);
        if (r < 0)
                return r;
        if (r == POOL_E_EXISTS)
                pool_release(pool, target, HOLD_EXCLUSIVE);
        if (r > 0)
                return error_set(err, ERROR_AGAIN, "snapshot %s of an earlier try is still there",
                                 fresh.id);
        cut_part_init(part, NULL, target);
        making->n_parts++;
        r = pool_acquire_ready(pool, making->call, LOCAL_VOLUME, volume_id, HOLD_SHARED, &source,
                               err);
        if (r < 0)
                return r;
        part->source = source;
        pthread_mutex_lock(&pool->mutex);
        target->meta.size_bytes = source->meta.size_bytes;
        pthread_mutex_unlock(&pool->mutex);
        return 0;
}

/* Lets everything go; what is not committed is undone. */
static void end_making(Making *making, bool committed) {
        Pool *pool = making->pool;

        for (size_t i = 0; i < making->n_parts; i++) {
                CutPart *part = &making->parts[i];

                if (part->source)
                        pool_release(pool, part->source, HOLD_SHARED);
                cut_part_deinit(part);
                if (committed)
                        pool_release(pool, part->target, HOLD_EXCLUSIVE);
                else
                        pool_undo(pool, part->target);
        }
        for (size_t i = 0; i < N_ELEMENTS(making->names); i++)
                hold_release(&making->names[i]);
        if (committed)
                pool_release(pool, making->group, HOLD_EXCLUSIVE);
        else
                pool_undo(pool, making->group);
}

static int make_parts(Making *making, Error *err) {
        int r;

        r = store_state(making->pool, making->group, LOCAL_STATE_CREATING, err);
        for (size_t i = 0; i < making->request->n_source_volume_ids && r == 0; i++)
                r = add_member(making, making->request->source_volume_ids[i], err);
        if (r < 0)
                return r;
        r = cut_run(making->pool, making->call, making->parts, making->n_parts, err);
        if (r == CUT_E_COPY)
                return error_set(err, ERROR_PRECONDITION,
                                 "pool %s is on a filesystem without reflink; take a snapshot of "
                                 "the one volume instead of a group",
                                 making->pool->path);
        return r < 0 ? r : store_state(making->pool, making->group, LOCAL_STATE_READY, err);
}

static int make(Pool *pool, const Call *call, const CreateGroupRequest *request, Entry *group,
                Error *err) {
        cleanup(freep) Making *making = calloc(1, sizeof(*making));
        int r;

        if (!making) {
                pool_undo(pool, group);
                return error_set_errno(err, ENOMEM, "group snapshot");
        }
        making->pool = pool;
        making->call = call;
        making->request = request;
        making->group = group;
        r = make_parts(making, err);
        if (r < 0) {
                end_making(making, false);
                return r;
        }
        /* The group is committed: a member that cannot be marked now is at the next start. */
        for (size_t i = 0; i < making->n_parts; i++) {
                Error error = {0};

                if (store_state(pool, making->parts[i].target, LOCAL_STATE_READY, &error) < 0)
                        log_error("group snapshot %s: %s", group->meta.id, error.message);
        }
        end_making(making, true);
        return 0;
}

/* Whether the group that exists is of the same volumes. */
static int check_same(Pool *pool, const CreateGroupRequest *request, const char *group_id,
                      Error *err) {
        size_t at = 0, n = 0;
        bool same = true;
        Entry *member;

        pthread_mutex_lock(&pool->mutex);
        while ((member = next_member(pool, group_id, &at)) != NULL) {
                same = same && has_name(request->source_volume_ids, request->n_source_volume_ids,
                                        member->meta.source_id);
                n++;
        }
        pthread_mutex_unlock(&pool->mutex);
        if (same && n == request->n_source_volume_ids)
                return 0;
        return error_set(err, ERROR_CONFLICT, "group snapshot \"%s\" exists as %s of other volumes",
                         request->name, group_id);
}

/* Opens files, so without the mutex; whoever adds or removes members holds the group. */
static int check_members_data(Pool *pool, const char *group_id, Error *err) {
        size_t at = 0;
        int r = 0;

        while (r == 0) {
                LocalMeta meta;
                Entry *member;

                pthread_mutex_lock(&pool->mutex);
                member = next_member(pool, group_id, &at);
                if (member)
                        meta = member->meta;
                pthread_mutex_unlock(&pool->mutex);
                if (!member)
                        break;
                r = pool_check_data(pool, &meta, err);
        }
        return r;
}

/* Held exclusively; the hold is given away. */
static int resume(Pool *pool, const Call *call, const CreateGroupRequest *request, Entry *group,
                  Error *err) {
        char id[LOCAL_ID_MAX + 1];
        int r;

        memcpy(id, group->meta.id, sizeof(id));
        if (group->meta.state == LOCAL_STATE_READY) {
                r = check_same(pool, request, id, err);
                if (r == 0)
                        r = check_members_data(pool, id, err);
                pool_release(pool, group, HOLD_EXCLUSIVE);
                return r;
        }
        r = erase_members(pool, call, id, err);
        if (r == 0)
                pool_undo(pool, group);
        else
                pool_release(pool, group, HOLD_EXCLUSIVE);
        return r < 0 ? r
                     : error_set(err, ERROR_AGAIN,
                                 "what was left of group snapshot \"%s\" was removed; try again",
                                 request->name);
}

int local_create_group(void *self, const Call *call, const CreateGroupRequest *request,
                       SnapshotGroup *result, Error *err) {
        LocalMeta fresh = {.kind = LOCAL_GROUP};
        Pool *pool = self;
        Entry *group = NULL;
        CopyJob *job = NULL;
        int r;

        r = check_request(request, err);
        if (r < 0)
                return r;
        local_stem("grp", pool->node_name, request->name, fresh.stem);
        memcpy(fresh.id, fresh.stem, sizeof(fresh.stem));
        (void)snprintf(fresh.name, sizeof(fresh.name), "%s", request->name);
        fresh.n_members = request->n_source_volume_ids;
        local_stamp(&fresh);
        r = pool_claim(pool, call, &fresh, 0, &group, &job, err);
        if (r == 0)
                r = make(pool, call, request, group, err);
        else if (r == POOL_E_EXISTS)
                r = resume(pool, call, request, group, err);
        return r < 0 ? r : fill(pool, call, fresh.id, result, err);
}

/* --- Delete and get --- */

/* Snapshots that the caller names must be those of the group. */
static int check_members(Pool *pool, const char *group_id, const char *const *snapshot_ids,
                         size_t n_snapshot_ids, Error *err) {
        size_t at = 0, n = 0;
        bool same = true;
        Entry *member;

        if (n_snapshot_ids == 0)
                return 0;
        pthread_mutex_lock(&pool->mutex);
        while ((member = next_member(pool, group_id, &at)) != NULL) {
                same = same && has_name(snapshot_ids, n_snapshot_ids, member->meta.id);
                n++;
        }
        pthread_mutex_unlock(&pool->mutex);
        if (same && n == n_snapshot_ids)
                return 0;
        return error_set(err, ERROR_INVALID,
                         "the snapshots named are not those of group snapshot %s", group_id);
}

int local_delete_group(void *self, const Call *call, const char *group_id,
                       const char *const *snapshot_ids, size_t n_snapshot_ids, Error *err) {
        Pool *pool = self;
        Entry *group = NULL;
        LocalMeta found;
        int r;

        if (!pool_peek(pool, LOCAL_GROUP, group_id, &found))
                return 0;
        /* An interrupted delete has fewer members than the caller knows. */
        if (found.state == LOCAL_STATE_READY) {
                r = check_members(pool, group_id, snapshot_ids, n_snapshot_ids, err);
                if (r < 0)
                        return r;
        }
        r = pool_acquire(pool, call, LOCAL_GROUP, group_id, HOLD_EXCLUSIVE, &group, err);
        if (r < 0)
                return r;
        r = store_state(pool, group, LOCAL_STATE_DELETING, err);
        if (r == 0 || pool_is_full(r))
                r = erase_members(pool, call, group_id, err);
        if (r == 0)
                r = pool_erase(pool, group, err);
        if (r < 0)
                pool_release(pool, group, HOLD_EXCLUSIVE);
        return r;
}

int local_get_group(void *self, const Call *call, const char *group_id,
                    const char *const *snapshot_ids, size_t n_snapshot_ids, SnapshotGroup *result,
                    Error *err) {
        Pool *pool = self;
        LocalMeta found;
        int r;

        if (!pool_peek(pool, LOCAL_GROUP, group_id, &found))
                return error_set(err, ERROR_NOT_FOUND, "there is no group snapshot %s on this node",
                                 group_id);
        r = check_members(pool, group_id, snapshot_ids, n_snapshot_ids, err);
        return r < 0 ? r : fill(pool, call, group_id, result, err);
}
