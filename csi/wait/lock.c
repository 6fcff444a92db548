/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plain list of the names that are held or waited for: as many as there are calls at once, which
 * the server bounds at some hundred. Who waits stands in the line of its name, and a release wakes
 * whoever is next.
 */

#include "csi/wait/lock.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

/* How often a waiter looks whether its call was cancelled. */
#define CANCEL_POLL_MSECS 50

struct LockName {
        LockName *next;
        const char *kind; /* static */
        char *key;        /* owned */
        unsigned int n_shared;
        bool is_exclusive;
        LockWaiter *first; /* borrowed; in order of arrival */
};

struct LockTable {
        pthread_mutex_t mutex;
        LockName *names; /* owned; each is held or waited for */
};

int lock_table_new(LockTable **tablep) {
        LockTable *table = calloc(1, sizeof(*table));

        if (!table)
                return -ENOMEM;
        (void)pthread_mutex_init(&table->mutex, NULL);
        *tablep = table;
        return 0;
}

static void name_free(LockName *name) {
        free(name->key);
        free(name);
}

void lock_table_free(LockTable *table) {
        if (!table)
                return;
        while (table->names) {
                LockName *name = table->names;

                table->names = name->next;
                name_free(name);
        }
        (void)pthread_mutex_destroy(&table->mutex);
        free(table);
}

static LockName *find(const LockTable *table, const char *kind, const char *key) {
        for (LockName *name = table->names; name; name = name->next)
                if (str_equal(name->kind, kind) && str_equal(name->key, key))
                        return name;
        return NULL;
}

static LockName *find_or_add(LockTable *table, const char *kind, const char *key) {
        LockName *name = find(table, kind, key);

        if (name)
                return name;
        name = calloc(1, sizeof(*name));
        if (!name)
                return NULL;
        name->kind = kind;
        name->key = strdup(key);
        if (!name->key) {
                free(name);
                return NULL;
        }
        name->next = table->names;
        table->names = name;
        return name;
}

static void drop_unused(LockTable *table, LockName *name) {
        if (name->n_shared > 0 || name->is_exclusive || name->first)
                return;
        for (LockName **at = &table->names; *at; at = &(*at)->next)
                if (*at == name) {
                        *at = name->next;
                        break;
                }
        name_free(name);
}

static bool is_free(const LockName *name, LockMode mode) {
        return !name->is_exclusive && (mode == LOCK_SHARED || name->n_shared == 0);
}

static void take(LockName *name, LockMode mode) {
        if (mode == LOCK_SHARED)
                name->n_shared++;
        else
                name->is_exclusive = true;
}

/* Everybody at the head of the line that can have it now. */
static void serve(LockName *name) {
        while (name->first && is_free(name, name->first->mode)) {
                LockWaiter *waiter = name->first;

                name->first = waiter->next;
                take(name, waiter->mode);
                waiter->has_lock = true;
                waiter->served(waiter);
        }
}

static void queue_up(LockName *name, LockWaiter *waiter) {
        LockWaiter **end = &name->first;

        while (*end)
                end = &(*end)->next;
        waiter->next = NULL;
        *end = waiter;
}

static void release(LockTable *table, LockName *name, LockMode mode) {
        if (mode == LOCK_SHARED)
                name->n_shared--;
        else
                name->is_exclusive = false;
        serve(name);
        drop_unused(table, name);
}

int lock_join(LockTable *table, const char *kind, const char *key, LockMode mode,
              LockWaiter *waiter, Lock *lock) {
        LockName *name;
        int r = 0;

        pthread_mutex_lock(&table->mutex);
        name = find_or_add(table, kind, key);
        if (!name) {
                r = -ENOMEM;
        } else if (!name->first && is_free(name, mode)) {
                take(name, mode);
                *lock = (Lock){table, name, mode};
        } else {
                waiter->table = table;
                waiter->name = name;
                waiter->mode = mode;
                waiter->has_lock = false;
                queue_up(name, waiter);
                r = LOCK_E_LATER;
        }
        pthread_mutex_unlock(&table->mutex);
        return r;
}

bool lock_take(LockWaiter *waiter, Lock *lock) {
        LockTable *table = waiter->table;
        bool has_lock;

        pthread_mutex_lock(&table->mutex);
        has_lock = waiter->has_lock;
        if (has_lock) {
                *lock = (Lock){table, waiter->name, waiter->mode};
                waiter->table = NULL;
        }
        pthread_mutex_unlock(&table->mutex);
        return has_lock;
}

/* The table is locked. Who leaves may have kept out those behind it. */
static void leave_line(LockTable *table, LockName *name, const LockWaiter *waiter) {
        for (LockWaiter **at = &name->first; *at; at = &(*at)->next)
                if (*at == waiter) {
                        *at = waiter->next;
                        break;
                }
        serve(name);
        drop_unused(table, name);
}

void lock_quit(LockWaiter *waiter) {
        LockTable *table = waiter->table;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        if (waiter->has_lock)
                release(table, waiter->name, waiter->mode);
        else
                leave_line(table, waiter->name, waiter);
        waiter->table = NULL;
        pthread_mutex_unlock(&table->mutex);
}

bool lock_name_is(const LockName *name, const char *kind, const char *key) {
        return str_equal(name->kind, kind) && str_equal(name->key, key);
}

/* A waiter that is a thread. */
typedef struct Sleeper {
        LockWaiter waiter; /* first */
        sem_t served;
} Sleeper;

static void wake_sleeper(LockWaiter *waiter) {
        (void)sem_post(&((Sleeper *)(void *)waiter)->served);
}

static void sleep_a_moment(Sleeper *sleeper, uint64_t left_msecs) {
        uint64_t msecs = left_msecs < CANCEL_POLL_MSECS ? left_msecs : CANCEL_POLL_MSECS;
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += (long)msecs * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
        }
        (void)sem_timedwait(&sleeper->served, &until);
}

/* Return: 0; -EAGAIN; -ECANCELED. */
static int wait_served(Sleeper *sleeper, const LockWait *wait, Lock *lock) {
        while (!lock_take(&sleeper->waiter, lock)) {
                uint64_t now = clock_msecs();

                if (now >= wait->deadline_msecs)
                        return -EAGAIN;
                if (wait->cancelled && wait->cancelled(wait->userdata))
                        return -ECANCELED;
                sleep_a_moment(sleeper, wait->deadline_msecs - now);
        }
        return 0;
}

int lock_busy(const char *kind, const char *key, Error *err) {
        return error_set(err, ERROR_AGAIN, "another operation on %s %s is under way", kind, key);
}

int lock_acquire(LockTable *table, const char *kind, const char *key, LockMode mode,
                 const LockWait *wait, Lock *lock, Error *err) {
        Sleeper sleeper = {.waiter.served = wake_sleeper};
        int r;

        (void)sem_init(&sleeper.served, 0, 0);
        r = lock_join(table, kind, key, mode, &sleeper.waiter, lock);
        if (r == LOCK_E_LATER)
                r = wait ? wait_served(&sleeper, wait, lock) : -EAGAIN;
        if (r < 0)
                lock_quit(&sleeper.waiter);
        (void)sem_destroy(&sleeper.served);
        if (r == -EAGAIN)
                return lock_busy(kind, key, err);
        if (r == -ECANCELED)
                return error_set(err, ERROR_TIMEOUT, "cancelled while waiting for %s %s", kind,
                                 key);
        if (r < 0)
                return error_set_errno(err, r, "lock %s %s", kind, key);
        return 0;
}

void lock_release(Lock *lock) {
        LockTable *table = lock->table;
        LockName *name = lock->name;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        release(table, name, lock->mode);
        pthread_mutex_unlock(&table->mutex);
        *lock = (Lock){0};
}

bool lock_is_held(LockTable *table, const char *kind, const char *key) {
        const LockName *name;
        bool is_held;

        pthread_mutex_lock(&table->mutex);
        name = find(table, kind, key);
        is_held = name && (name->is_exclusive || name->n_shared > 0);
        pthread_mutex_unlock(&table->mutex);
        return is_held;
}
