/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plain list of the names that are held or waited for: as many as there are calls at once, which
 * the server bounds at some hundred. Who waits stands in the line of its name, and a release wakes
 * whoever is next.
 */

#include "csi/wait/lock.h"

#include "common/base/cleanup.h"
#include "common/base/str.h"

#include <pthread.h>
#include <time.h>

/* How often a waiter looks whether its call was cancelled. */
#define CANCEL_POLL_MSECS 50

typedef struct Waiter Waiter;
struct Waiter {
        Waiter *next;
        LockMode mode;
        bool has_lock;
        pthread_cond_t served;
};

struct LockName {
        LockName *next;
        const char *kind; /* static */
        char *key;        /* owned */
        unsigned int n_shared;
        bool is_exclusive;
        Waiter *first; /* in order of arrival; on the waiters' stacks */
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
                Waiter *waiter = name->first;

                name->first = waiter->next;
                take(name, waiter->mode);
                waiter->has_lock = true;
                (void)pthread_cond_signal(&waiter->served);
        }
}

static void queue_up(LockName *name, Waiter *waiter) {
        Waiter **end = &name->first;

        while (*end)
                end = &(*end)->next;
        *end = waiter;
}

/* Who leaves may have kept out those behind it. */
static void give_up(LockName *name, const Waiter *waiter) {
        for (Waiter **at = &name->first; *at; at = &(*at)->next)
                if (*at == waiter) {
                        *at = waiter->next;
                        break;
                }
        serve(name);
}

static uint64_t now_msecs(void) {
        struct timespec now;

        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The mutex is held. Return: 0; -EAGAIN; -ECANCELED. */
static int wait_served(LockTable *table, LockName *name, Waiter *waiter, const LockWait *wait) {
        queue_up(name, waiter);
        while (!waiter->has_lock) {
                uint64_t now = now_msecs(), until = now + CANCEL_POLL_MSECS;
                struct timespec at;
                bool is_cancelled;

                if (now >= wait->deadline_msecs) {
                        give_up(name, waiter);
                        return -EAGAIN;
                }
                if (until > wait->deadline_msecs)
                        until = wait->deadline_msecs;
                at = (struct timespec){(time_t)(until / 1000), (long)(until % 1000) * 1000000};
                (void)pthread_cond_timedwait(&waiter->served, &table->mutex, &at);
                if (waiter->has_lock || !wait->cancelled)
                        continue;
                pthread_mutex_unlock(&table->mutex);
                is_cancelled = wait->cancelled(wait->userdata);
                pthread_mutex_lock(&table->mutex);
                if (is_cancelled && !waiter->has_lock) {
                        give_up(name, waiter);
                        return -ECANCELED;
                }
        }
        return 0;
}

static int wait_in_line(LockTable *table, LockName *name, LockMode mode, const LockWait *wait) {
        Waiter waiter = {.mode = mode};
        pthread_condattr_t attributes;
        int r;

        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&waiter.served, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        r = wait_served(table, name, &waiter, wait);
        (void)pthread_cond_destroy(&waiter.served);
        return r;
}

/* The mutex is held. Return: 0; -EAGAIN; -ECANCELED; -ENOMEM. */
static int acquire(LockTable *table, const char *kind, const char *key, LockMode mode,
                   const LockWait *wait, LockName **namep) {
        LockName *name = find_or_add(table, kind, key);
        int r = 0;

        if (!name)
                return -ENOMEM;
        if (!name->first && is_free(name, mode))
                take(name, mode);
        else
                r = wait ? wait_in_line(table, name, mode, wait) : -EAGAIN;
        if (r == 0)
                *namep = name;
        else
                drop_unused(table, name);
        return r;
}

int lock_acquire(LockTable *table, const char *kind, const char *key, LockMode mode,
                 const LockWait *wait, Lock *lock, Error *err) {
        LockName *name = NULL;
        int r;

        pthread_mutex_lock(&table->mutex);
        r = acquire(table, kind, key, mode, wait, &name);
        pthread_mutex_unlock(&table->mutex);
        if (r == -EAGAIN)
                return error_set(err, ERROR_AGAIN, "another operation on %s %s is under way", kind,
                                 key);
        if (r == -ECANCELED)
                return error_set(err, ERROR_TIMEOUT, "cancelled while waiting for %s %s", kind,
                                 key);
        if (r < 0)
                return error_set_errno(err, r, "lock %s %s", kind, key);
        *lock = (Lock){table, name, mode};
        return 0;
}

void lock_release(Lock *lock) {
        LockTable *table = lock->table;
        LockName *name = lock->name;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        if (lock->mode == LOCK_SHARED)
                name->n_shared--;
        else
                name->is_exclusive = false;
        serve(name);
        drop_unused(table, name);
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
