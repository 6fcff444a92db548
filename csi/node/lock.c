/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plain array of what is held: as many entries as there are calls at once, which the server
 * bounds at some hundred.
 */

#include "csi/node/lock.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <pthread.h>

typedef struct Held {
        const char *kind; /* static; NULL: the slot is free */
        char *key;        /* owned */
} Held;

struct LockTable {
        pthread_mutex_t mutex;
        Held *held; /* owned */
        size_t n_held;
};

int lock_table_new(LockTable **tablep) {
        LockTable *table = calloc(1, sizeof(*table));

        if (!table)
                return -ENOMEM;
        (void)pthread_mutex_init(&table->mutex, NULL);
        *tablep = table;
        return 0;
}

void lock_table_free(LockTable *table) {
        if (!table)
                return;
        (void)pthread_mutex_destroy(&table->mutex);
        free(table->held);
        free(table);
}

/* A free slot; grows by doubling. SIZE_MAX without memory. */
static size_t find_slot(LockTable *table) {
        size_t n = table->n_held ? table->n_held * 2 : 16;
        Held *grown;

        for (size_t i = 0; i < table->n_held; i++)
                if (!table->held[i].kind)
                        return i;
        grown = reallocarray(table->held, n, sizeof(*grown));
        if (!grown)
                return SIZE_MAX;
        for (size_t i = table->n_held; i < n; i++)
                grown[i] = (Held){0};
        table->held = grown;
        n = table->n_held;
        table->n_held = n ? n * 2 : 16;
        return n;
}

static bool is_held(const LockTable *table, const char *kind, const char *key) {
        for (size_t i = 0; i < table->n_held; i++)
                if (table->held[i].kind && str_equal(table->held[i].kind, kind) &&
                    str_equal(table->held[i].key, key))
                        return true;
        return false;
}

int lock_acquire(LockTable *table, const char *kind, const char *key, Lock *lock, Error *err) {
        cleanup(freep) char *copy = strdup(key);
        size_t slot = SIZE_MAX;
        bool held;

        pthread_mutex_lock(&table->mutex);
        held = is_held(table, kind, key);
        if (!held && copy)
                slot = find_slot(table);
        if (slot != SIZE_MAX) {
                table->held[slot] = (Held){kind, ptr_steal(&copy)};
                *lock = (Lock){table, slot};
        }
        pthread_mutex_unlock(&table->mutex);
        if (held)
                return error_set(err, ERROR_AGAIN, "another operation on %s %s is under way", kind,
                                 key);
        if (slot == SIZE_MAX)
                return error_set_errno(err, ENOMEM, "lock %s %s", kind, key);
        return 0;
}

void lock_release(Lock *lock) {
        LockTable *table = lock->table;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        free(table->held[lock->slot].key);
        table->held[lock->slot] = (Held){0};
        pthread_mutex_unlock(&table->mutex);
        *lock = (Lock){0};
}
