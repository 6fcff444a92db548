/* SPDX-License-Identifier: Apache-2.0 */

/* Volumes made and removed, with a controller or inline for one pod. */

#include "csi/local/volume.h"
#include "csi/kubelet/holder.h"
#include "csi/local/attach.h"
#include "csi/local/copy.h"
#include "csi/local/cut.h"
#include "csi/local/spec.h"
#include "fs/hosts/cluster.h"
#include "fs/make/mkfs.h"

#include "common/base/cleanup.h"
#include "common/base/log.h"
#include "common/base/str.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int local_check_name(const char *field, const char *name, Error *err) {
        size_t n = strlen(name);
        json_t *text;

        if (n == 0 || n > LOCAL_ID_MAX)
                return error_set(err, ERROR_INVALID, "%s has %zu bytes, not 1 to %d", field, n,
                                 LOCAL_ID_MAX);
        text = json_stringn(name, n);
        if (!text)
                return error_set(err, ERROR_INVALID, "%s is not UTF-8", field);
        json_decref(text);
        return 0;
}

void local_stamp(LocalMeta *meta) {
        struct timespec now;

        (void)clock_gettime(CLOCK_REALTIME, &now);
        meta->created_seconds = now.tv_sec;
        meta->created_nanos = (int32_t)now.tv_nsec;
}

/* --- What is asked --- */

static int check_topology(const Pool *pool, const CreateVolumeRequest *request, Error *err) {
        /* Only the requisite binds; this node is all that this controller has. */
        if (local_topology_has(request->requisite, request->n_requisite, pool->topology_value))
                return 0;
        return error_set(err, ERROR_EXHAUSTED,
                         "this node (" LOCAL_TOPOLOGY_KEY
                         "=%s) is not in the volume's accessibility requirements",
                         pool->topology_value);
}

/* An id as every pool gives them out may well be of another node's: then that node is tried, which
 * the final NOT_FOUND would prevent. */
static int source_missing(const Pool *pool, LocalKind kind, const char *source_id, Error *err) {
        const char *what = kind == LOCAL_SNAPSHOT ? "snapshot" : "volume";

        if (!local_stem_is_valid(kind, source_id, strlen(source_id)))
                return error_set(err, ERROR_NOT_FOUND, "there is no %s %s on this node", what,
                                 source_id);
        return error_set(err, ERROR_EXHAUSTED,
                         "source: %s %s is not on this node (" LOCAL_TOPOLOGY_KEY
                         "=%s); the node that has it makes volumes of it",
                         what, source_id, pool->topology_value);
}

/* Whether the volume that is asked for was made of that source, which may be gone since. */
static bool was_made(Pool *pool, const CreateVolumeRequest *request, const LocalMeta *fresh,
                     LocalMeta *found) {
        return pool_peek(pool, LOCAL_VOLUME, fresh->id, found) &&
               found->state == LOCAL_STATE_READY && found->source == fresh->source &&
               strcmp(found->source_id, request->source_id) == 0;
}

/* The source's size and what it holds; its hold comes later. */
static int read_source(Pool *pool, const CreateVolumeRequest *request, const LocalSpec *spec,
                       LocalMeta *fresh, uint64_t *sizep, Error *err) {
        bool is_snapshot = request->source == CONTENT_SOURCE_SNAPSHOT;
        LocalKind kind = is_snapshot ? LOCAL_SNAPSHOT : LOCAL_VOLUME;
        LocalMeta source;

        if (request->source == CONTENT_SOURCE_NONE)
                return 0;
        fresh->source = is_snapshot ? LOCAL_SOURCE_SNAPSHOT : LOCAL_SOURCE_VOLUME;
        if (!pool_peek(pool, kind, request->source_id, &source) || source.ephemeral) {
                if (!was_made(pool, request, fresh, &source))
                        return source_missing(pool, kind, request->source_id, err);
                (void)snprintf(source.id, sizeof(source.id), "%s", request->source_id);
        }
        if (source.state != LOCAL_STATE_READY)
                return error_set(err, ERROR_AGAIN, "source %s is not ready yet", source.id);
        if (source.allows_mount && fresh->allows_mount &&
            strcmp(source.fs_type, fresh->fs_type) != 0)
                return error_set(err, ERROR_INVALID, "source %s holds %s, not the %s asked for",
                                 source.id, source.fs_type, fresh->fs_type);
        /* A superblock that a pod wrote is not for the kernel's drivers. As external-provisioner,
         * which knows it only where it made the source. */
        if (!source.allows_mount && fresh->allows_mount && !spec->allows_mode_change)
                return error_set(err, ERROR_INVALID,
                                 "source %s is a raw block volume and is not to become a "
                                 "filesystem: ask for volumeMode Block, or let a StorageClass with "
                                 "allowVolumeModeChange: \"true\" do it for what is trusted",
                                 source.id);
        (void)snprintf(fresh->source_id, sizeof(fresh->source_id), "%s", source.id);
        /* What is on it was made for these sectors. */
        fresh->sector_bytes = source.sector_bytes;
        *sizep = source.size_bytes;
        return 0;
}

static void apply_spec(LocalMeta *fresh, const LocalSpec *spec) {
        fresh->thick = spec->thick;
        fresh->sector_bytes = spec->allows_mount ? LOCAL_SECTOR_MOUNT : LOCAL_SECTOR_BLOCK;
        fresh->allows_block = spec->allows_block;
        fresh->allows_mount = spec->allows_mount;
        (void)snprintf(fresh->fs_type, sizeof(fresh->fs_type), "%s", spec->fs_type);
}

static int choose_size(const CapacityRange *range, const LocalSpec *spec, uint64_t source_bytes,
                       LocalMeta *fresh, Error *err) {
        char why[32];

        if (source_bytes >= spec->minimum_bytes)
                return local_size_choose(range, source_bytes, "the source", source_bytes,
                                         &fresh->size_bytes, err);
        (void)snprintf(why, sizeof(why), "%s",
                       spec->allows_mount ? spec->fs_type : "a block device");
        return local_size_choose(range, spec->minimum_bytes, why,
                                 source_bytes ? spec->minimum_bytes : LOCAL_DEFAULT_BYTES,
                                 &fresh->size_bytes, err);
}

static int understand(Pool *pool, const CreateVolumeRequest *request, LocalMeta *fresh,
                      Error *err) {
        LocalSpec spec = {0};
        uint64_t source_bytes = 0;
        int r;

        *fresh = (LocalMeta){.kind = LOCAL_VOLUME};
        r = local_check_name("name", request->name, err);
        if (r == 0)
                r = local_spec_add_parameters(&spec, &request->parameters, false, err);
        if (r == 0)
                r = local_spec_add_parameters(&spec, &request->mutable_parameters, true, err);
        if (r == 0)
                r = local_spec_add_capabilities(&spec, request->capabilities,
                                                request->n_capabilities, err);
        if (r == 0)
                r = check_topology(pool, request, err);
        if (r < 0)
                return r;
        apply_spec(fresh, &spec);
        local_stem("vol", pool->node_name, request->name, fresh->stem);
        memcpy(fresh->id, fresh->stem, sizeof(fresh->stem));
        (void)snprintf(fresh->name, sizeof(fresh->name), "%s", request->name);
        local_stamp(fresh);
        r = local_hash_context(&request->parameters, fresh->context);
        if (r < 0)
                return error_set_errno(err, ENOMEM, "context of %s", fresh->id);
        r = read_source(pool, request, &spec, fresh, &source_bytes, err);
        if (r < 0)
                return r;
        return choose_size(&request->capacity_range, &spec, source_bytes, fresh, err);
}

/* Whether what is there is what is asked for: same name, so anything else is a conflict. */
static int check_same(const LocalMeta *found, const LocalMeta *fresh, const CapacityRange *range,
                      Error *err) {
        const char *what = NULL;

        if (!local_size_fits(range, found->size_bytes))
                what = "size";
        else if (found->source != fresh->source || strcmp(found->source_id, fresh->source_id) != 0)
                what = "source";
        else if (found->thick != fresh->thick)
                what = "provisioning";
        else if (found->allows_block != fresh->allows_block ||
                 found->allows_mount != fresh->allows_mount ||
                 strcmp(found->fs_type, fresh->fs_type) != 0)
                what = "capability";
        /* The answer would promise what the node formats by to a volume that may be formatted. */
        else if (found->context[0] && strcmp(found->context, fresh->context) != 0)
                what = "filesystem layout (" FS_MAKE_KEY_GROW_TO ", " FS_CLUSTER_KEY_MIN_KERNEL
                       ", " FS_CLUSTER_KEY_PAGE_SIZES ")";
        if (!what)
                return 0;
        return error_set(err, ERROR_CONFLICT, "volume \"%s\" exists as %s with another %s",
                         fresh->name, found->id, what);
}

/* --- Making it --- */

static int make_blank(Pool *pool, const Call *call, Entry *entry, Error *err) {
        LocalMeta meta = entry->meta;
        cleanup(closep) int fd = -1;
        int r;

        meta.state = LOCAL_STATE_CREATING;
        r = pool_store(pool, entry, &meta, err);
        if (r < 0)
                return r;
        fd = pool_open_data(pool, &meta, O_RDWR | O_CREAT, err);
        if (fd < 0)
                return fd;
        if (meta.thick) {
                r = filecopy_set_nocow(fd);
                if (r == 0)
                        r = local_preallocate(call, fd, &meta, 0, err);
                if (r < 0)
                        return error_wrap(err, r, "make %s", meta.id);
        }
        if (ftruncate(fd, (off_t)meta.size_bytes) < 0 || fsync(fd) < 0)
                return error_set_errno(err, errno, "size of %s", meta.id);
        meta.state = LOCAL_STATE_READY;
        return pool_store(pool, entry, &meta, err);
}

static int make_ready(Pool *pool, Entry *entry, Error *err) {
        LocalMeta meta = entry->meta;

        meta.state = LOCAL_STATE_READY;
        meta.froze = false;
        return pool_store(pool, entry, &meta, err);
}

/* The target's hold is given away: to the copy, or released. */
static int make_clone(Pool *pool, const Call *call, Entry *entry, Entry *source, Error *err) {
        cleanup(cut_part_deinit) CutPart part;
        int r;

        cut_part_init(&part, source, entry);
        r = cut_run(pool, call, &part, 1, err);
        if (r == CUT_E_COPY)
                return local_start_copy(pool, call, entry, source, fd_steal(&part.from_fd),
                                        fd_steal(&part.to_fd), err);
        if (r == 0 && entry->meta.thick && pool->can_reflink) {
                LocalMeta meta = entry->meta;
                int fd = fd_steal(&part.to_fd);

                meta.copy.size_bytes = source->meta.size_bytes;
                pthread_mutex_lock(&pool->mutex);
                entry->meta = meta;
                pthread_mutex_unlock(&pool->mutex);
                pool_release(pool, source, HOLD_SHARED);
                return local_start_copy(pool, call, entry, NULL, fd, fd, err);
        }
        if (r == 0)
                r = make_ready(pool, entry, err);
        pool_release(pool, source, HOLD_SHARED);
        if (r < 0)
                pool_undo(pool, entry);
        else
                pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

static int make(Pool *pool, const Call *call, Entry *entry, Error *err) {
        LocalKind kind =
                entry->meta.source == LOCAL_SOURCE_SNAPSHOT ? LOCAL_SNAPSHOT : LOCAL_VOLUME;
        Entry *source = NULL;
        int r;

        if (entry->meta.source != LOCAL_SOURCE_NONE) {
                r = pool_acquire_ready(pool, call, kind, entry->meta.source_id, HOLD_SHARED,
                                       &source, err);
                if (r == 0)
                        return make_clone(pool, call, entry, source, err);
        } else {
                r = make_blank(pool, call, entry, err);
        }
        if (r < 0)
                pool_undo(pool, entry);
        else
                pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

/* An entry that was there and is not READY is what an interrupted call left while we ran. */
static int resume(Pool *pool, const Call *call, Entry *entry, Error *err) {
        char id[LOCAL_ID_MAX + 1];
        int r;

        (void)snprintf(id, sizeof(id), "%s", entry->meta.id);
        switch (entry->meta.state) {
        case LOCAL_STATE_READY:
                r = pool_check_data(pool, &entry->meta, err);
                pool_release(pool, entry, HOLD_EXCLUSIVE);
                return r;
        case LOCAL_STATE_COPYING:
                return local_resume_copy(pool, call, entry, err);
        case LOCAL_STATE_CREATING:
        case LOCAL_STATE_DELETING:
        case _LOCAL_STATE_N:
                break;
        }
        pool_undo(pool, entry);
        return error_set(err, ERROR_AGAIN, "what was left of %s is being removed; try again", id);
}

static int find_or_make(Pool *pool, const Call *call, const LocalMeta *fresh,
                        const CapacityRange *range, Error *err) {
        CopyJob *job = NULL;
        Entry *entry = NULL;
        LocalMeta found;
        int r;

        r = pool_claim(pool, call, fresh, fresh->size_bytes, &entry, &job, err);
        if (r < 0)
                return r;
        if (r == 0)
                return make(pool, call, entry, err);
        if (!pool_peek(pool, LOCAL_VOLUME, fresh->id, &found))
                found = *fresh;
        if (r == POOL_E_COPYING) {
                /* The reference must be dropped either way. */
                Error error = {0};
                int same = check_same(&found, fresh, range, err);

                r = copy_wait(pool, call, job, &error);
                if (same == 0 && r < 0)
                        error_move(err, &error);
                return same < 0 ? same : r;
        }
        r = check_same(&found, fresh, range, err);
        if (r < 0) {
                pool_release(pool, entry, HOLD_EXCLUSIVE);
                return r;
        }
        return resume(pool, call, entry, err);
}

/* What the node reads when it formats the volume: the answer carries it to the volume's object. */
static int fill_context(const Call *call, const StringMap *parameters, VolumeInfo *info,
                        Error *err) {
        StringPair *pairs = arena_alloc_array(call->arena, parameters->n_pairs + 1, sizeof(*pairs));
        size_t n = 0;

        if (!pairs)
                return error_set_errno(err, ENOMEM, "context of %s", info->volume_id);
        for (size_t i = 0; i < parameters->n_pairs; i++)
                if (local_is_for_the_node(parameters->pairs[i].key))
                        pairs[n++] = parameters->pairs[i];
        info->context = (StringMap){.pairs = pairs, .n_pairs = n};
        return 0;
}

int local_create_volume(void *self, const Call *call, const CreateVolumeRequest *request,
                        VolumeInfo *result, Error *err) {
        cleanup(hold_release) Hold source = {0};
        Pool *pool = self;
        LocalMeta fresh, made;
        int r;

        r = understand(pool, request, &fresh, err);
        if (r == 0 && fresh.source == LOCAL_SOURCE_VOLUME)
                r = pool_lock_volume(pool, call, fresh.source_id, HOLD_SHARED, &source, err);
        if (r < 0)
                return r;
        r = find_or_make(pool, call, &fresh, &request->capacity_range, err);
        if (r < 0)
                return r;
        if (!pool_peek(pool, LOCAL_VOLUME, fresh.id, &made))
                return error_set(err, ERROR_AGAIN, "volume %s was deleted meanwhile", fresh.id);
        r = local_fill_volume(pool, call, &made, result, err);
        return r < 0 ? r : fill_context(call, &request->parameters, result, err);
}

/* --- Removing it --- */

/* Frees the device if nobody uses it. */
static int detach_unused(Pool *pool, Entry *entry, Error *err) {
        cleanup(attachment_deinit) Attachment attachment = ATTACHMENT_INIT;
        int r;

        r = attach_drop(pool, entry, err);
        if (r <= 0)
                return r;
        r = attach_find(pool, entry, &attachment, err);
        if (r != 0)
                return r == ATTACH_E_NONE ? 0 : r;
        r = error_set(err, ERROR_PRECONDITION, "volume %s is in use on /dev/loop%u", entry->meta.id,
                      attachment.number);
        holder_tell_device(attachment.devno, err);
        return r;
}

static int remove_volume(Pool *pool, const Call *call, const char *volume_id, bool ephemeral,
                         Error *err) {
        Entry *entry = NULL;
        LocalMeta found;
        int r;

        if (!pool_peek(pool, LOCAL_VOLUME, volume_id, &found))
                return ephemeral ? 0 : pool_check_no_data(pool, LOCAL_VOLUME, volume_id, err);
        if (found.ephemeral != ephemeral)
                return 0;
        pthread_mutex_lock(&pool->mutex);
        entry = pool_find(pool, LOCAL_VOLUME, volume_id);
        if (entry && entry->job)
                copy_cancel(pool, entry->job);
        pthread_mutex_unlock(&pool->mutex);
        r = pool_acquire(pool, call, LOCAL_VOLUME, volume_id, HOLD_EXCLUSIVE, &entry, err);
        if (r < 0)
                return err && err->code == ERROR_NOT_FOUND ? 0 : r;
        r = detach_unused(pool, entry, err);
        if (r == 0)
                r = pool_erase(pool, entry, err);
        if (r < 0)
                pool_release(pool, entry, HOLD_EXCLUSIVE);
        return r;
}

int local_delete_volume(void *self, const Call *call, const char *volume_id, Error *err) {
        cleanup(hold_release) Hold lock = {0};
        Error error = {0};
        int r;

        r = pool_lock_volume(self, call, volume_id, HOLD_EXCLUSIVE, &lock, &error);
        if (r == 0)
                r = remove_volume(self, call, volume_id, false, &error);

        if (r < 0)
                error_move(err, &error);
        return r;
}

/* --- Inline volumes --- */

/* Absent is fine: who is no kubelet. */
static int read_pod(const NodePublishRequest *request, const char *key,
                    char text[LOCAL_POD_MAX + 1], Error *err) {
        const char *value = string_map_get(&request->volume_context, key);

        if (!value || !value[0])
                return 0;
        if (strlen(value) > LOCAL_POD_MAX)
                return error_set(err, ERROR_INVALID,
                                 "volume_context[%s]: %zu bytes, expected at most %d", key,
                                 strlen(value), LOCAL_POD_MAX);
        memcpy(text, value, strlen(value) + 1);
        return local_check_name(key, value, err);
}

static int understand_ephemeral(Pool *pool, const NodePublishRequest *request, LocalMeta *fresh,
                                CapacityRange *range, Error *err) {
        LocalSpec spec = {0};
        int r = 0;

        *fresh = (LocalMeta){.kind = LOCAL_VOLUME, .ephemeral = true};
        r = local_check_name("volume_id", request->volume_id, err);
        for (size_t i = 0; i < request->volume_context.n_pairs && r == 0; i++) {
                const StringPair *pair = &request->volume_context.pairs[i];
                const StringMap one = {.pairs = pair, .n_pairs = 1};

                if (strcmp(pair->key, "size") != 0)
                        r = local_spec_add_parameters(&spec, &one, true, err);
                else if (str_parse_size(pair->value, &range->required_bytes) < 0)
                        r = error_set(err, ERROR_INVALID,
                                      "attribute size is \"%s\", not a size like 100Mi",
                                      pair->value);
        }
        if (r == 0)
                r = local_spec_add_capabilities(&spec, &request->capability, 1, err);
        if (r == 0)
                r = choose_size(range, &spec, 0, fresh, err);
        if (r == 0)
                r = read_pod(request, "csi.storage.k8s.io/pod.namespace", fresh->pod_namespace,
                             err);
        if (r == 0)
                r = read_pod(request, "csi.storage.k8s.io/pod.uid", fresh->pod_uid, err);
        if (r < 0)
                return r;
        apply_spec(fresh, &spec);
        local_stem("eph", pool->node_name, request->volume_id, fresh->stem);
        (void)snprintf(fresh->id, sizeof(fresh->id), "%s", request->volume_id);
        local_stamp(fresh);
        return 0;
}

int local_create_ephemeral(void *self, const Call *call, const NodePublishRequest *request,
                           Error *err) {
        Pool *pool = self;
        CapacityRange range = {0};
        LocalMeta fresh, found;
        int r;

        r = understand_ephemeral(pool, request, &fresh, &range, err);
        if (r < 0)
                return r;
        if (pool_peek(pool, LOCAL_VOLUME, fresh.id, &found) && !found.ephemeral)
                return error_set(err, ERROR_CONFLICT,
                                 "%s is a persistent volume and cannot be used inline", fresh.id);
        return find_or_make(pool, call, &fresh, &range, err);
}

/* Only a call that finds the pool usable removes it. */
static bool is_for_later(const Error *error) {
        return error->code == ERROR_UNAVAILABLE || error->os_errno == EROFS ||
               error->os_errno == EIO;
}

/* Kubelet does not come again. What is in use still, the pool looks for by itself. */
static void give_back_inline(Pool *pool, const Call *call, const char *volume_id) {
        const LogField field = {"volume", volume_id};
        const VolumeRef volume = {.volume_id = volume_id};
        Error error = {0};
        int r = local_release_device(pool, call, &volume, &error);

        if (r < 0 && r != -EAGAIN)
                log_fields(LOG_LEVEL_WARNING, &field, 1, "its loop device stays for now: %s",
                           error.message);
}

/* Also asked for the volumes of claims, which their unstage gives back. */
static bool is_persistent(Pool *pool, const char *volume_id) {
        LocalMeta found;

        return pool_peek(pool, LOCAL_VOLUME, volume_id, &found)
                       ? !found.ephemeral
                       : local_stem_is_valid(LOCAL_VOLUME, volume_id, strlen(volume_id));
}

/* Its pod is gone and its mount, too. A pool that is not there, is read-only or fails must not keep
 * the pod in "Terminating": its device is given back, and its data is removed when the pool is
 * looked through. */
int local_delete_ephemeral(void *self, const Call *call, const char *volume_id, Error *err) {
        const LogField field = {"volume", volume_id};
        Error error = {0};
        int r;

        if (is_persistent(self, volume_id))
                return 0;
        r = pool_use(self, &error);
        if (r == 0)
                r = remove_volume(self, call, volume_id, true, &error);
        if (r < 0 && is_for_later(&error)) {
                log_fields(LOG_LEVEL_WARNING, &field, 1,
                           "an inline volume whose pod is gone: its data stays in the pool for "
                           "now: %s",
                           error.message);
                give_back_inline(self, call, volume_id);
                return 0;
        }
        if (r < 0)
                error_move(err, &error);
        return r;
}
