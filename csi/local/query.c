/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What only looks: lists, capacity, capabilities, condition. Lists are in the order of ids, and a
 * token is the last id of a page, so that a page is right also when what it names was deleted.
 */

#include "csi/local/attach.h"
#include "csi/local/spec.h"
#include "csi/local/volume.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/block_ioctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

static int no_memory(Error *err) {
        return error_set(err, ERROR_EXHAUSTED, "the answer needs more memory than a call may take");
}

/* --- One object into an answer --- */

static const Topology *own_topology(const Pool *pool, const Call *call) {
        Topology *topology = arena_alloc(call->arena, sizeof(*topology));
        StringPair *pair = arena_alloc(call->arena, sizeof(*pair));

        if (!topology || !pair)
                return NULL;
        pair->key = LOCAL_TOPOLOGY_KEY;
        pair->value = arena_strdup(call->arena, pool->topology_value);
        topology->segments = (StringMap){.pairs = pair, .n_pairs = 1};
        return pair->value ? topology : NULL;
}

int local_fill_volume(const Pool *pool, const Call *call, const LocalMeta *meta, VolumeInfo *info,
                      Error *err) {
        static const ContentSourceKind kinds[_LOCAL_SOURCE_N] = {
                CONTENT_SOURCE_NONE, CONTENT_SOURCE_VOLUME, CONTENT_SOURCE_SNAPSHOT};
        VolumeInfo filled = {
                .volume_id = arena_strdup(call->arena, meta->id),
                .capacity_bytes = meta->size_bytes,
                .source = kinds[meta->source],
                .source_id = arena_strdup(call->arena, meta->source_id),
                .topologies = own_topology(pool, call),
                .n_topologies = 1,
                .has_condition = true,
                .condition_message = local_condition(pool, call, meta),
        };

        if (!filled.volume_id || !filled.source_id || !filled.topologies)
                return no_memory(err);
        filled.abnormal = filled.condition_message != NULL;
        if (!filled.condition_message)
                filled.condition_message = "the data file is there and has its size";
        *info = filled;
        return 0;
}

int local_fill_snapshot(const Call *call, const LocalMeta *meta, SnapshotInfo *info, Error *err) {
        SnapshotInfo filled = {
                .snapshot_id = arena_strdup(call->arena, meta->id),
                .source_volume_id = arena_strdup(call->arena, meta->source_id),
                .size_bytes = meta->size_bytes,
                .created_seconds = meta->created_seconds,
                .created_nanos = meta->created_nanos,
                .ready = meta->state == LOCAL_STATE_READY,
                .group_id = arena_strdup(call->arena, meta->group_id),
        };

        if (!filled.snapshot_id || !filled.source_volume_id || !filled.group_id)
                return no_memory(err);
        *info = filled;
        return 0;
}

const char *local_condition(const Pool *pool, const Call *call, const LocalMeta *meta) {
        char *name = arena_printf(call->arena, "%s.img", meta->stem);
        struct stat st;

        if (!name)
                return NULL;
        if (fstatat(pool->dir_fds[meta->kind], name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return arena_printf(call->arena, "data file %s in pool %s: %s", name, pool->path,
                                    errno == ENOENT ? "is missing" : "cannot be looked at");
        if (!S_ISREG(st.st_mode))
                return arena_printf(call->arena, "%s in pool %s is not a plain file", name,
                                    pool->path);
        if ((uint64_t)st.st_size < meta->size_bytes)
                return arena_printf(call->arena,
                                    "data file %s in pool %s was cut to %" PRIu64
                                    " bytes of %" PRIu64,
                                    name, pool->path, (uint64_t)st.st_size, meta->size_bytes);
        return NULL;
}

/* --- Lists --- */

/* The id after which a page begins; "" the first. */
static int parse_token(LocalKind kind, const char *token, const char **afterp, Error *err) {
        if (token[0] && !local_stem_is_valid(kind, token, strlen(token)))
                return error_set(err, ERROR_AGAIN,
                                 "starting_token is not one of ours; start the list again");
        *afterp = token;
        return 0;
}

static bool is_listed(const Entry *entry, const ListRequest *request) {
        const LocalMeta *meta = &entry->meta;

        if (entry->damaged || meta->ephemeral || meta->state != LOCAL_STATE_READY)
                return false;
        if (meta->kind == LOCAL_VOLUME)
                return true;
        return (!request->snapshot_id[0] || strcmp(request->snapshot_id, meta->id) == 0) &&
               (!request->source_volume_id[0] ||
                strcmp(request->source_volume_id, meta->source_id) == 0);
}

/* With the mutex held: the entries of one page, and whether more follow. */
typedef struct Page {
        const Entry **entries;
        size_t n_entries;
        bool has_more;
} Page;

static int make_page(const Pool *pool, const Call *call, LocalKind kind, const ListRequest *request,
                     Page *page, Error *err) {
        const EntryTable *table = &pool->tables[kind];
        const char *after = "";
        size_t max = request->max_entries;
        int r;

        r = parse_token(kind, request->starting_token, &after, err);
        if (r < 0)
                return r;
        if (max == 0 || max > table->n_entries)
                max = table->n_entries;
        page->entries = arena_alloc_array(call->arena, max + 1, sizeof(*page->entries));
        if (!page->entries)
                return no_memory(err);
        for (size_t at = pool_after(pool, kind, after); at < table->n_entries; at++) {
                if (!is_listed(table->entries[at], request))
                        continue;
                if (page->n_entries == max) {
                        page->has_more = true;
                        break;
                }
                page->entries[page->n_entries++] = table->entries[at];
        }
        return 0;
}

static const char *next_token(const Call *call, const Page *page) {
        if (!page->has_more || page->n_entries == 0)
                return "";
        return arena_strdup(call->arena, page->entries[page->n_entries - 1]->meta.id);
}

static int fill_volumes(Pool *pool, const Call *call, const Page *page, VolumeList *list,
                        Error *err) {
        VolumeInfo *volumes = arena_alloc_array(call->arena, page->n_entries + 1, sizeof(*volumes));

        list->next_token = next_token(call, page);
        if (!volumes || !list->next_token)
                return no_memory(err);
        for (size_t i = 0; i < page->n_entries; i++) {
                int r = local_fill_volume(pool, call, &page->entries[i]->meta, &volumes[i], err);

                if (r < 0)
                        return r;
        }
        list->volumes = volumes;
        list->n_volumes = page->n_entries;
        return 0;
}

int local_list_volumes(void *self, const Call *call, const ListRequest *request, VolumeList *result,
                       Error *err) {
        Pool *pool = self;
        VolumeList list = {0};
        Page page = {0};
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = make_page(pool, call, LOCAL_VOLUME, request, &page, err);
        if (r == 0)
                r = fill_volumes(pool, call, &page, &list, err);
        pthread_mutex_unlock(&pool->mutex);
        if (r == 0)
                *result = list;
        return r;
}

static int fill_snapshots(const Call *call, const Page *page, SnapshotList *list, Error *err) {
        SnapshotInfo *snapshots =
                arena_alloc_array(call->arena, page->n_entries + 1, sizeof(*snapshots));

        list->next_token = next_token(call, page);
        if (!snapshots || !list->next_token)
                return no_memory(err);
        for (size_t i = 0; i < page->n_entries; i++) {
                int r = local_fill_snapshot(call, &page->entries[i]->meta, &snapshots[i], err);

                if (r < 0)
                        return r;
        }
        list->snapshots = snapshots;
        list->n_snapshots = page->n_entries;
        return 0;
}

int local_list_snapshots(void *self, const Call *call, const ListRequest *request,
                         SnapshotList *result, Error *err) {
        Pool *pool = self;
        SnapshotList list = {0};
        Page page = {0};
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = make_page(pool, call, LOCAL_SNAPSHOT, request, &page, err);
        if (r == 0)
                r = fill_snapshots(call, &page, &list, err);
        pthread_mutex_unlock(&pool->mutex);
        if (r == 0)
                *result = list;
        return r;
}

/* --- One volume --- */

/* The loop device shows less than the file: a node expand that did not happen yet is normal, so
 * only a device that lost its size counts. */
static int check_device(Pool *pool, const Call *call, Entry *entry, VolumeInfo *info, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        uint64_t size_bytes = 0;
        int r;

        r = attach_find(pool, entry, &attachment, err);
        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        info->abnormal = attach_has_lost_name(entry->meta.stem, attachment.devno);
        if (info->abnormal) {
                info->condition_message = arena_printf(
                        call->arena,
                        "the file of /dev/loop%u was removed or replaced; copy the data out before "
                        "the pod ends",
                        attachment.number);
                return info->condition_message ? 0 : no_memory(err);
        }
        r = block_get_size(attachment.fd, &size_bytes);
        if (r == 0 && size_bytes > 0)
                return 0;
        info->abnormal = true;
        info->condition_message = arena_printf(call->arena, "/dev/loop%u of the volume has no size",
                                               attachment.number);
        return info->condition_message ? 0 : no_memory(err);
}

int local_get_volume(void *self, const Call *call, const char *volume_id, VolumeInfo *result,
                     Error *err) {
        Pool *pool = self;
        VolumeInfo info = {0};
        Entry *entry = NULL;
        LocalMeta meta;
        int r;

        if (pool_peek(pool, LOCAL_VOLUME, volume_id, &meta) && meta.ephemeral)
                return error_set(err, ERROR_NOT_FOUND, "%s is an inline volume", volume_id);
        r = pool_acquire_ready(pool, call, LOCAL_VOLUME, volume_id, HOLD_SHARED, &entry, err);
        if (r < 0)
                return r;
        r = local_fill_volume(pool, call, &entry->meta, &info, err);
        if (r == 0 && !info.abnormal)
                r = check_device(pool, call, entry, &info, err);
        pool_release(pool, entry, HOLD_SHARED);
        if (r == 0)
                *result = info;
        return r;
}

static const char *capability_mismatch(const LocalMeta *meta, const VolumeCapability *capability) {
        const char *problem = local_capability_problem(capability);

        if (problem)
                return problem;
        if (capability->is_block)
                return meta->allows_block ? NULL : "the volume was not made for raw block";
        if (!meta->allows_mount)
                return "the volume was made for raw block";
        if (capability->fs_type[0] && strcmp(capability->fs_type, meta->fs_type) != 0)
                return "the volume was made for another filesystem";
        return NULL;
}

int local_validate(void *self, const Call *call, const ValidateRequest *request,
                   ValidateResult *result, Error *err) {
        Pool *pool = self;
        LocalSpec spec = {0};
        Error error = {0};
        LocalMeta meta;

        if (!pool_peek(pool, LOCAL_VOLUME, request->volume_id, &meta) || meta.ephemeral)
                return error_set(err, ERROR_NOT_FOUND, "there is no volume %s on this node",
                                 request->volume_id);
        *result = (ValidateResult){.confirmed = true, .message = ""};
        for (size_t i = 0; i < request->n_capabilities && result->confirmed; i++) {
                const char *problem = capability_mismatch(&meta, &request->capabilities[i]);

                if (problem)
                        *result = (ValidateResult){.message = problem};
        }
        if (local_spec_add_parameters(&spec, &request->parameters, false, &error) < 0 ||
            local_spec_add_parameters(&spec, &request->mutable_parameters, true, &error) < 0)
                *result = (ValidateResult){.message = arena_strdup(call->arena, error.message)};
        else if (result->confirmed && spec.has_thick && spec.thick != meta.thick)
                *result = (ValidateResult){.message = "the volume has the other provisioning"};
        return result->message ? 0 : no_memory(err);
}

/* --- Space --- */

int local_get_capacity(void *self, const Call *call, const CapacityRequest *request,
                       CapacityResult *result, Error *err) {
        Pool *pool = self;
        LocalSpec spec = {0};
        PoolUsage usage;
        uint64_t available;
        int r;

        r = local_spec_add_parameters(&spec, &request->parameters, false, err);
        if (r == 0)
                r = local_spec_add_capabilities(&spec, request->capabilities,
                                                request->n_capabilities, err);
        if (r < 0)
                return r;
        if (request->has_topology &&
            !local_topology_has(&request->topology, 1, pool->topology_value)) {
                *result = (CapacityResult){0};
                return 0;
        }
        pthread_mutex_lock(&pool->mutex);
        r = pool_get_usage(pool, &usage, err);
        pthread_mutex_unlock(&pool->mutex);
        if (r < 0)
                return r;
        if (usage.is_read_only)
                usage = (PoolUsage){0};
        available = pool_usage_available(&usage, pool->overcommit_percent, spec.thick);
        available = available / LOCAL_GRANULE_BYTES * LOCAL_GRANULE_BYTES;
        *result = (CapacityResult){
                .available_bytes = available,
                .maximum_volume_bytes = available,
                .minimum_volume_bytes = spec.minimum_bytes,
        };
        return 0;
}
