/* SPDX-License-Identifier: Apache-2.0 */

/*
 * How much the pool can still promise.
 *
 * What our files could ever occupy is what is free now plus the blocks they have, less the reserve.
 * Blocks that files share (reflink) are counted in each of them by stat(2); here they are its whose
 * copies the others are, and a snapshot or clone has none of its own: the first write to either
 * side takes new ones. That errs to the safe side for a clone that was written all over. Against it
 * stand the promises: the size of each volume, and for a snapshot, which is never written, its
 * blocks. Thin volumes may promise the overcommit percentage of it; a thick one must also find its
 * blocks free today, beside those that other thick volumes still lack (holes punched by discard,
 * blocks shared with a snapshot or clone).
 */

#include "csi/local/pool.h"
#include "csi/local/spec.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"
#include "common/block/filecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

/* Default reserve: 5%, at most 10 GiB. A full filesystem turns every thin volume read-only. */
const PoolPart pool_default_reserve = {UINT64_C(10) << 30, 5};
/* Inline volumes need no quota of their namespace, unlike claims. */
const PoolPart pool_default_inline_pod = {UINT64_MAX, 10};
const PoolPart pool_default_inline_namespace = {UINT64_MAX, 25};

static uint64_t minus(uint64_t a, uint64_t b) {
        return a > b ? a - b : 0;
}

/* Without overflow for any size below 2^62 and percent up to 10000. */
static uint64_t percent_of(uint64_t bytes, uint64_t percent) {
        return bytes / 100 * percent + bytes % 100 * percent / 100;
}

/* What is free today and nobody's. */
static uint64_t usage_backed(const PoolUsage *usage) {
        return minus(minus(usage->available, usage->reserve), usage->unbacked);
}

uint64_t pool_usage_available(const PoolUsage *usage, uint64_t overcommit_percent, bool thick) {
        uint64_t holdable = usage->available + usage->allocated;
        uint64_t available, backed = usage_backed(usage);

        holdable = percent_of(minus(holdable, usage->reserve), overcommit_percent);
        available = minus(holdable, usage->promised);
        if (!thick)
                return available;
        return available < backed ? available : backed;
}

int pool_parse_part(const char *what, const char *text, PoolPart *part, Error *err) {
        uint64_t value = 0;
        char digits[8];
        size_t n;

        if (str_is_empty(text))
                return 0;
        n = strlen(text);
        if (text[n - 1] == '%' && n - 1 < sizeof(digits)) {
                memcpy(digits, text, n - 1);
                digits[n - 1] = '\0';
                if (str_parse_u64(digits, 100, &value) < 0)
                        return error_set(err, ERROR_INVALID,
                                         "%s: \"%s\", expected a percentage from 0%% to 100%%",
                                         what, text);
                *part = (PoolPart){UINT64_MAX, value};
                return 0;
        }
        if (str_parse_size(text, &value) < 0 || value > LOCAL_SIZE_MAX)
                return error_set(err, ERROR_INVALID,
                                 "%s: \"%s\", expected a size like 10Gi or a percentage like 5%%",
                                 what, text);
        *part = (PoolPart){value, 100};
        return 0;
}

static uint64_t part_of(uint64_t total, PoolPart part) {
        uint64_t bytes = percent_of(total, part.percent);

        return bytes < part.bytes ? bytes : part.bytes;
}

/* 0 for a file that is not there. */
static uint64_t blocks_of(const Pool *pool, const LocalMeta *meta) {
        char file_name[LOCAL_STEM_MAX + 8];
        struct stat st;

        (void)snprintf(file_name, sizeof(file_name), "%s.img", meta->stem);
        if (fstatat(pool->dir_fds[meta->kind], file_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return 0;
        return (uint64_t)st.st_blocks * 512;
}

/* One that is made thick is copied; one that becomes thick later keeps what it has. */
static bool may_share(const Pool *pool, const LocalMeta *meta) {
        return pool->can_reflink && (!meta->thick || meta->shares) &&
               (meta->kind == LOCAL_SNAPSHOT || meta->source_id[0]);
}

/* Those of @blocks that are no other file's too. */
static uint64_t own_blocks(Pool *pool, const LocalMeta *meta, uint64_t blocks) {
        cleanup(closep) int fd = -1;
        uint64_t own;

        if (!may_share(pool, meta) || blocks == 0)
                return blocks;
        fd = pool_open_data(pool, meta, O_RDONLY, NULL);
        own = fd < 0 ? 0 : filecopy_own_bytes(fd);
        return own < blocks ? own : blocks;
}

static void add_volume(Pool *pool, const Entry *entry, PoolUsage *usage) {
        uint64_t blocks = blocks_of(pool, &entry->meta);
        uint64_t own = own_blocks(pool, &entry->meta, blocks);
        uint64_t promised = entry->meta.size_bytes + entry->reserved_bytes;

        usage->allocated += own;
        usage->promised += promised;
        if (entry->meta.thick)
                usage->unbacked += minus(promised, blocks);
        /* The other side may be thick, and needs new ones when it is written. */
        usage->unbacked += blocks - own;
}

static void add_snapshot(Pool *pool, const Entry *entry, PoolUsage *usage) {
        const Entry *volume = pool_find(pool, LOCAL_VOLUME, entry->meta.source_id);
        uint64_t blocks = blocks_of(pool, &entry->meta);

        usage->allocated += own_blocks(pool, &entry->meta, blocks);
        usage->promised += blocks > entry->reserved_bytes ? blocks : entry->reserved_bytes;
        /* The thick volume shares its blocks with the snapshot and needs new ones when written. */
        if (volume && volume->meta.thick && pool->can_reflink)
                usage->unbacked += blocks;
}

int pool_get_usage(Pool *pool, PoolUsage *usage, Error *err) {
        const EntryTable *volumes = &pool->tables[LOCAL_VOLUME];
        const EntryTable *snapshots = &pool->tables[LOCAL_SNAPSHOT];
        PoolUsage found = {0};
        struct statvfs fs;

        if (fstatvfs(pool->fd, &fs) < 0)
                return error_set_errno(err, errno, "space of pool %s", pool->path);
        found.is_read_only = pool->is_read_only || (fs.f_flag & ST_RDONLY) != 0;
        found.total = (uint64_t)fs.f_blocks * fs.f_frsize;
        found.available = (uint64_t)fs.f_bavail * fs.f_frsize;
        found.reserve = part_of(found.total, pool->reserve);
        for (size_t i = 0; i < volumes->n_entries; i++)
                add_volume(pool, volumes->entries[i], &found);
        for (size_t i = 0; i < snapshots->n_entries; i++)
                add_snapshot(pool, snapshots->entries[i], &found);
        *usage = found;
        return 0;
}

static int check_available(const Pool *pool, const PoolUsage *usage, uint64_t needs_bytes,
                           uint64_t available, bool thick, Error *err) {
        /* No room, so that the scheduler tries another node. */
        if (usage->is_read_only)
                return error_set(err, ERROR_EXHAUSTED,
                                 "pool %s is on a filesystem that is read-only", pool->path);
        if (needs_bytes <= available)
                return 0;
        return error_set(err, ERROR_EXHAUSTED,
                         "pool %s on node %s (" LOCAL_TOPOLOGY_KEY "=%s) has %" PRIu64
                         " bytes left for %s volumes, %" PRIu64 " are needed",
                         pool->path, pool->node_name, pool->topology_value, available,
                         thick ? "thick" : "thin", needs_bytes);
}

int pool_check_space(Pool *pool, uint64_t needs_bytes, bool thick, Error *err) {
        PoolUsage usage;
        int r;

        if (needs_bytes == 0)
                return 0;
        r = pool_get_usage(pool, &usage, err);
        if (r < 0)
                return r;
        return check_available(pool, &usage, needs_bytes,
                               pool_usage_available(&usage, pool->overcommit_percent, thick), thick,
                               err);
}

/* --- Inline volumes --- */

static int check_part(uint64_t needs_bytes, uint64_t taken, uint64_t limit, const char *what,
                      const char *name, const char *flag, Error *err) {
        if (needs_bytes <= minus(limit, taken))
                return 0;
        return error_set(err, ERROR_EXHAUSTED,
                         "size: %" PRIu64 " bytes, expected at most %" PRIu64
                         ": the inline volumes of %s %s may have %" PRIu64
                         " bytes of this pool together (%s)",
                         needs_bytes, minus(limit, taken), what, name[0] ? name : "(unknown)",
                         limit, flag);
}

int pool_check_inline(Pool *pool, const LocalMeta *fresh, Error *err) {
        const EntryTable *table = &pool->tables[LOCAL_VOLUME];
        uint64_t of_pod = 0, of_namespace = 0;
        PoolUsage usage;
        int r;

        r = pool_get_usage(pool, &usage, err);
        if (r < 0)
                return r;
        for (size_t i = 0; i < table->n_entries; i++) {
                const LocalMeta *meta = &table->entries[i]->meta;

                if (!meta->ephemeral || !str_equal(meta->pod_namespace, fresh->pod_namespace))
                        continue;
                of_namespace += meta->size_bytes;
                if (str_equal(meta->pod_uid, fresh->pod_uid))
                        of_pod += meta->size_bytes;
        }
        r = check_part(fresh->size_bytes, of_pod, part_of(usage.total, pool->inline_pod), "pod",
                       fresh->pod_uid, "--inline-per-pod", err);
        if (r == 0)
                r = check_part(fresh->size_bytes, of_namespace,
                               part_of(usage.total, pool->inline_namespace), "namespace",
                               fresh->pod_namespace, "--inline-per-namespace", err);
        return r;
}

int pool_reserve_thick(Pool *pool, Entry *entry, Error *err) {
        uint64_t needs_bytes = minus(entry->meta.size_bytes, blocks_of(pool, &entry->meta));
        PoolUsage usage;
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = pool_get_usage(pool, &usage, err);
        /* Its size is promised already, and what it shares counts as not backed, then as now. */
        if (r == 0)
                r = check_available(pool, &usage, needs_bytes, usage_backed(&usage), true, err);
        if (r == 0) {
                entry->meta.shares = may_share(pool, &entry->meta);
                entry->meta.thick = true;
        }
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

int pool_reserve(Pool *pool, Entry *entry, uint64_t needs_bytes, bool thick, Error *err) {
        int r;

        pthread_mutex_lock(&pool->mutex);
        r = pool_check_space(pool, needs_bytes, thick, err);
        if (r == 0)
                entry->reserved_bytes += needs_bytes;
        pthread_mutex_unlock(&pool->mutex);
        return r;
}
