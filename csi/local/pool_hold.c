/* SPDX-License-Identifier: Apache-2.0 */

/* The index of the pool and who holds what. Waiters keep no pointer into the index: they look up
 * again after each wait, because the entry may be gone. */

#include "csi/local/copy.h"
#include "csi/local/pool.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define POLL_MSECS 50

static const char *const kind_words[_LOCAL_KIND_N] = {"volume", "snapshot", "group snapshot"};

void pool_wait(Pool *pool, uint64_t until_msecs) {
        uint64_t wake = clock_msecs() + POLL_MSECS;
        const struct timespec at = clock_timespec(wake < until_msecs ? wake : until_msecs);

        (void)pthread_cond_timedwait(&pool->changed, &pool->mutex, &at);
}

/* First index whose id is >= @id, or > @id with @after. */
static size_t search(const EntryTable *table, const char *id, bool after) {
        size_t low = 0, high = table->n_entries;

        while (low < high) {
                size_t middle = low + (high - low) / 2;
                int order = strcmp(table->entries[middle]->meta.id, id);

                if (order < 0 || (after && order == 0))
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

size_t pool_after(const Pool *pool, LocalKind kind, const char *id) {
        return search(&pool->tables[kind], id, true);
}

Entry *pool_find(const Pool *pool, LocalKind kind, const char *id) {
        const EntryTable *table = &pool->tables[kind];
        size_t at = search(table, id, false);

        if (at >= table->n_entries || strcmp(table->entries[at]->meta.id, id) != 0)
                return NULL;
        return table->entries[at];
}

int pool_insert(Pool *pool, const LocalMeta *meta, Entry **entryp) {
        EntryTable *table = &pool->tables[meta->kind];
        size_t at = search(table, meta->id, false);
        Entry *entry;

        if (table->n_entries == table->n_allocated) {
                size_t n = table->n_allocated ? 2 * table->n_allocated : 16;
                Entry **grown = reallocarray(table->entries, n, sizeof(Entry *));

                if (!grown)
                        return -ENOMEM;
                table->entries = grown;
                table->n_allocated = n;
        }
        entry = calloc(1, sizeof(*entry));
        if (!entry)
                return -ENOMEM;
        entry->meta = *meta;
        entry->loop_fd = -1;
        memmove(&table->entries[at + 1], &table->entries[at],
                (table->n_entries - at) * sizeof(Entry *));
        table->entries[at] = entry;
        table->n_entries++;
        *entryp = entry;
        return 0;
}

void pool_free_entry(Entry *entry) {
        closep(&entry->loop_fd);
        free(entry);
}

void pool_drop(Pool *pool, Entry *entry) {
        EntryTable *table = &pool->tables[entry->meta.kind];

        pthread_mutex_lock(&pool->mutex);
        for (size_t at = 0; at < table->n_entries; at++)
                if (table->entries[at] == entry) {
                        table->n_entries--;
                        memmove(&table->entries[at], &table->entries[at + 1],
                                (table->n_entries - at) * sizeof(Entry *));
                        break;
                }
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
        pool_free_entry(entry);
}

int pool_lock_volume(Pool *pool, const Call *call, const char *volume_id, HoldMode mode, Hold *lock,
                     Error *err) {
        HoldWait wait = {
                .deadline_msecs = clock_msecs() + HOLD_WAIT_MSECS,
                .cancelled = call->cancelled,
                .userdata = call->userdata,
        };

        if (wait.deadline_msecs > call->deadline_msecs)
                wait.deadline_msecs = call->deadline_msecs;
        return hold_acquire(pool->locks, "volume", volume_id, mode, &wait, lock, err);
}

bool pool_peek(Pool *pool, LocalKind kind, const char *id, LocalMeta *meta) {
        Entry *entry;

        pthread_mutex_lock(&pool->mutex);
        entry = pool_find(pool, kind, id);
        if (entry)
                *meta = entry->meta;
        pthread_mutex_unlock(&pool->mutex);
        return entry != NULL;
}

static bool is_free(const Entry *entry, HoldMode hold) {
        return !entry->busy && (hold == HOLD_SHARED || entry->n_readers == 0);
}

static void take(Entry *entry, HoldMode hold) {
        if (hold == HOLD_SHARED)
                entry->n_readers++;
        else
                entry->busy = true;
}

/* What is being made of a volume, or of a snapshot. */
static const Entry *find_copy_of(const Pool *pool, const char *id) {
        static const LocalKind kinds[] = {LOCAL_SNAPSHOT, LOCAL_VOLUME};

        for (size_t k = 0; k < N_ELEMENTS(kinds); k++) {
                const EntryTable *table = &pool->tables[kinds[k]];

                for (size_t i = 0; i < table->n_entries; i++)
                        if (table->entries[i]->job &&
                            strcmp(table->entries[i]->meta.source_id, id) == 0)
                                return table->entries[i];
        }
        return NULL;
}

static int say_copied(const char *word, const char *id, const Entry *copy, Error *err) {
        return error_set(err, ERROR_AGAIN,
                         "%s %s is being copied to %s %s, %u%% done: it can be used again after "
                         "that",
                         word, id, kind_words[copy->meta.kind], copy->meta.id,
                         copy_percent(copy->job));
}

void pool_tell_copy(Pool *pool, const char *volume_id, Error *err) {
        const Entry *copy;

        pthread_mutex_lock(&pool->mutex);
        copy = find_copy_of(pool, volume_id);
        if (copy)
                (void)say_copied(kind_words[LOCAL_VOLUME], volume_id, copy, err);
        pthread_mutex_unlock(&pool->mutex);
}

static int say_busy(const Pool *pool, const Entry *entry, Error *err) {
        const char *word = kind_words[entry->meta.kind];
        const Entry *copy = find_copy_of(pool, entry->meta.id);

        if (copy && !entry->job)
                return say_copied(word, entry->meta.id, copy, err);
        if (entry->job)
                return error_set(err, ERROR_AGAIN, "%s %s is being copied, %u%% done", word,
                                 entry->meta.id, copy_percent(entry->job));
        return error_set(err, ERROR_AGAIN, "%s %s is %s; try again", word, entry->meta.id,
                         entry->n_readers ? "being read by a snapshot or clone"
                                          : "in another operation");
}

/* With the mutex held. Return: 0: *entryp is NULL (there is none) or free for @hold; ERROR_AGAIN,
 * also at once when a copy holds it and @stop_at_copy; ERROR_TIMEOUT. */
static int wait_free(Pool *pool, const Call *call, const LocalMeta *wanted, HoldMode hold,
                     Entry **entryp, Error *err) {
        uint64_t until = clock_msecs() + HOLD_WAIT_MSECS;

        if (until > call->deadline_msecs)
                until = call->deadline_msecs;
        for (;;) {
                Entry *entry = pool_find(pool, wanted->kind, wanted->id);

                if (!entry || is_free(entry, hold)) {
                        *entryp = entry;
                        return 0;
                }
                if (entry->job || clock_msecs() >= until)
                        return say_busy(pool, entry, err);
                if (call->cancelled(call->userdata))
                        return error_set(err, ERROR_TIMEOUT, "cancelled while waiting for %s",
                                         wanted->id);
                pool_wait(pool, until);
        }
}

static int say_damaged(const Pool *pool, const Entry *entry, Error *err) {
        return error_set(err, ERROR_INTERNAL,
                         "the metadata of %s %s in pool %s cannot be read; the log of the start "
                         "says why",
                         kind_words[entry->meta.kind], entry->meta.id, pool->path);
}

static int acquire_locked(Pool *pool, const Call *call, const LocalMeta *wanted, HoldMode hold,
                          Entry **entryp, Error *err) {
        Entry *entry = NULL;
        int r;

        r = wait_free(pool, call, wanted, hold, &entry, err);
        if (r < 0)
                return r;
        if (!entry)
                return error_set(err, ERROR_NOT_FOUND, "there is no %s %s on this node",
                                 kind_words[wanted->kind], wanted->id);
        if (entry->damaged)
                return say_damaged(pool, entry, err);
        take(entry, hold);
        *entryp = entry;
        return 0;
}

int pool_acquire(Pool *pool, const Call *call, LocalKind kind, const char *id, HoldMode hold,
                 Entry **entryp, Error *err) {
        LocalMeta wanted = {.kind = kind};
        size_t n = strlen(id);
        int r;

        if (n > LOCAL_ID_MAX)
                return error_set(err, ERROR_NOT_FOUND, "there is no %s with an id of %zu bytes",
                                 kind_words[kind], n);
        memcpy(wanted.id, id, n + 1);
        pthread_mutex_lock(&pool->mutex);
        r = acquire_locked(pool, call, &wanted, hold, entryp, err);
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

int pool_acquire_ready(Pool *pool, const Call *call, LocalKind kind, const char *id, HoldMode hold,
                       Entry **entryp, Error *err) {
        Entry *entry = NULL;
        LocalState state;
        int r;

        r = pool_acquire(pool, call, kind, id, hold, &entry, err);
        if (r < 0)
                return r;
        pthread_mutex_lock(&pool->mutex);
        state = entry->meta.state;
        pthread_mutex_unlock(&pool->mutex);
        if (state == LOCAL_STATE_READY) {
                *entryp = entry;
                return 0;
        }
        pool_release(pool, entry, hold);
        return error_set(err, ERROR_AGAIN, "%s %s is not ready: its %s was interrupted",
                         kind_words[kind], id,
                         state == LOCAL_STATE_COPYING ? "copy" : "create or delete");
}

static int claim_locked(Pool *pool, const Call *call, const LocalMeta *fresh, uint64_t needs_bytes,
                        Entry **entryp, Error *err) {
        Entry *entry = NULL;
        int r;

        r = wait_free(pool, call, fresh, HOLD_EXCLUSIVE, &entry, err);
        if (r < 0)
                return r;
        if (entry && entry->damaged)
                return say_damaged(pool, entry, err);
        if (entry) {
                take(entry, HOLD_EXCLUSIVE);
                *entryp = entry;
                return POOL_E_EXISTS;
        }
        r = pool_check_space(pool, needs_bytes, fresh->thick, err);
        if (r == 0 && fresh->ephemeral)
                r = pool_check_inline(pool, fresh, err);
        if (r < 0)
                return r;
        r = pool_insert(pool, fresh, &entry);
        if (r < 0)
                return error_set_errno(err, r, "add %s", fresh->id);
        take(entry, HOLD_EXCLUSIVE);
        /* A volume's size is in its metadata; a snapshot counts by its blocks, which come later. */
        entry->reserved_bytes = fresh->kind == LOCAL_VOLUME ? 0 : needs_bytes;
        *entryp = entry;
        return 0;
}

int pool_claim(Pool *pool, const Call *call, const LocalMeta *fresh, uint64_t needs_bytes,
               Entry **entryp, CopyJob **jobp, Error *err) {
        Entry *entry;
        int r;

        pthread_mutex_lock(&pool->mutex);
        entry = pool_find(pool, fresh->kind, fresh->id);
        if (entry && entry->job) {
                *entryp = entry;
                *jobp = copy_ref(entry->job);
                r = POOL_E_COPYING;
        } else {
                r = claim_locked(pool, call, fresh, needs_bytes, entryp, err);
        }
        pthread_mutex_unlock(&pool->mutex);
        return r;
}

void pool_release(Pool *pool, Entry *entry, HoldMode hold) {
        pthread_mutex_lock(&pool->mutex);
        if (hold == HOLD_SHARED) {
                entry->n_readers--;
        } else {
                entry->busy = false;
                entry->reserved_bytes = 0;
        }
        pthread_cond_broadcast(&pool->changed);
        pthread_mutex_unlock(&pool->mutex);
}
