/* SPDX-License-Identifier: Apache-2.0 */

/*
 * A plain list of the names that are held or waited for: as many as there are calls at once, which
 * the server bounds at some hundred. Who waits stands in the line of its name, and a release wakes
 * whoever is next.
 */

#include "csi/wait/hold.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <pthread.h>
#include <semaphore.h>

/* How often a waiter looks whether its call was cancelled. */
#define CANCEL_POLL_MSECS 50

struct HoldName {
        HoldName *next;
        const char *kind; /* static */
        char *key;        /* owned */
        unsigned int n_shared;
        bool is_exclusive;
        HoldWaiter *first; /* borrowed; in order of arrival */
};

struct HoldTable {
        pthread_mutex_t mutex;
        HoldName *names; /* owned; each is held or waited for */
};

int hold_table_new(HoldTable **tablep) {
        HoldTable *table = calloc(1, sizeof(*table));

        if (!table)
                return -ENOMEM;
        (void)pthread_mutex_init(&table->mutex, NULL);
        *tablep = table;
        return 0;
}

static void name_free(HoldName *name) {
        free(name->key);
        free(name);
}

void hold_table_free(HoldTable *table) {
        if (!table)
                return;
        while (table->names) {
                HoldName *name = table->names;

                table->names = name->next;
                name_free(name);
        }
        (void)pthread_mutex_destroy(&table->mutex);
        free(table);
}

static HoldName *find(const HoldTable *table, const char *kind, const char *key) {
        for (HoldName *name = table->names; name; name = name->next)
                if (str_equal(name->kind, kind) && str_equal(name->key, key))
                        return name;
        return NULL;
}

static HoldName *find_or_add(HoldTable *table, const char *kind, const char *key) {
        HoldName *name = find(table, kind, key);

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

static void drop_unused(HoldTable *table, HoldName *name) {
        if (name->n_shared > 0 || name->is_exclusive || name->first)
                return;
        for (HoldName **at = &table->names; *at; at = &(*at)->next)
                if (*at == name) {
                        *at = name->next;
                        break;
                }
        name_free(name);
}

static bool is_free(const HoldName *name, HoldMode mode) {
        return !name->is_exclusive && (mode == HOLD_SHARED || name->n_shared == 0);
}

static void take(HoldName *name, HoldMode mode) {
        if (mode == HOLD_SHARED)
                name->n_shared++;
        else
                name->is_exclusive = true;
}

/* Everybody at the head of the line that can have it now. */
static void serve(HoldName *name) {
        while (name->first && is_free(name, name->first->mode)) {
                HoldWaiter *waiter = name->first;

                name->first = waiter->next;
                take(name, waiter->mode);
                waiter->has_hold = true;
                waiter->served(waiter);
        }
}

static void queue_up(HoldName *name, HoldWaiter *waiter) {
        HoldWaiter **end = &name->first;

        while (*end)
                end = &(*end)->next;
        waiter->next = NULL;
        *end = waiter;
}

static void release(HoldTable *table, HoldName *name, HoldMode mode) {
        if (mode == HOLD_SHARED)
                name->n_shared--;
        else
                name->is_exclusive = false;
        serve(name);
        drop_unused(table, name);
}

int hold_join(HoldTable *table, const char *kind, const char *key, HoldMode mode,
              HoldWaiter *waiter, Hold *hold) {
        HoldName *name;
        int r = 0;

        pthread_mutex_lock(&table->mutex);
        name = find_or_add(table, kind, key);
        if (!name) {
                r = -ENOMEM;
        } else if (!name->first && is_free(name, mode)) {
                take(name, mode);
                *hold = (Hold){table, name, mode};
        } else {
                waiter->table = table;
                waiter->name = name;
                waiter->mode = mode;
                waiter->has_hold = false;
                queue_up(name, waiter);
                r = HOLD_E_LATER;
        }
        pthread_mutex_unlock(&table->mutex);
        return r;
}

bool hold_take(HoldWaiter *waiter, Hold *hold) {
        HoldTable *table = waiter->table;
        bool has_hold;

        pthread_mutex_lock(&table->mutex);
        has_hold = waiter->has_hold;
        if (has_hold) {
                *hold = (Hold){table, waiter->name, waiter->mode};
                waiter->table = NULL;
        }
        pthread_mutex_unlock(&table->mutex);
        return has_hold;
}

/* The table is locked. Who leaves may have kept out those behind it. */
static void leave_line(HoldTable *table, HoldName *name, const HoldWaiter *waiter) {
        for (HoldWaiter **at = &name->first; *at; at = &(*at)->next)
                if (*at == waiter) {
                        *at = waiter->next;
                        break;
                }
        serve(name);
        drop_unused(table, name);
}

void hold_quit(HoldWaiter *waiter) {
        HoldTable *table = waiter->table;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        if (waiter->has_hold)
                release(table, waiter->name, waiter->mode);
        else
                leave_line(table, waiter->name, waiter);
        waiter->table = NULL;
        pthread_mutex_unlock(&table->mutex);
}

bool hold_name_is(const HoldName *name, const char *kind, const char *key) {
        return str_equal(name->kind, kind) && str_equal(name->key, key);
}

/* A waiter that is a thread. */
typedef struct Sleeper {
        HoldWaiter waiter; /* first */
        sem_t served;
} Sleeper;

static void wake_sleeper(HoldWaiter *waiter) {
        (void)sem_post(&((Sleeper *)(void *)waiter)->served);
}

static void sleep_a_moment(Sleeper *sleeper, uint64_t left_msecs) {
        uint64_t msecs = left_msecs < CANCEL_POLL_MSECS ? left_msecs : CANCEL_POLL_MSECS;
        struct timespec until = clock_timespec(clock_msecs() + msecs);

        (void)sem_clockwait(&sleeper->served, CLOCK_MONOTONIC, &until);
}

/* Return: 0; -EAGAIN; -ECANCELED. */
static int wait_served(Sleeper *sleeper, const HoldWait *wait, Hold *hold) {
        while (!hold_take(&sleeper->waiter, hold)) {
                uint64_t now = clock_msecs();

                if (now >= wait->deadline_msecs)
                        return -EAGAIN;
                if (wait->cancelled && wait->cancelled(wait->userdata))
                        return -ECANCELED;
                sleep_a_moment(sleeper, wait->deadline_msecs - now);
        }
        return 0;
}

int hold_busy(const char *kind, const char *key, Error *err) {
        return error_set(err, ERROR_AGAIN, "another operation on %s %s is under way", kind, key);
}

int hold_acquire(HoldTable *table, const char *kind, const char *key, HoldMode mode,
                 const HoldWait *wait, Hold *hold, Error *err) {
        Sleeper sleeper = {.waiter.served = wake_sleeper};
        int r;

        (void)sem_init(&sleeper.served, 0, 0);
        r = hold_join(table, kind, key, mode, &sleeper.waiter, hold);
        if (r == HOLD_E_LATER)
                r = wait ? wait_served(&sleeper, wait, hold) : -EAGAIN;
        if (r < 0)
                hold_quit(&sleeper.waiter);
        (void)sem_destroy(&sleeper.served);
        if (r == -EAGAIN)
                return hold_busy(kind, key, err);
        if (r == -ECANCELED)
                return error_set(err, ERROR_TIMEOUT, "cancelled while waiting for %s %s", kind,
                                 key);
        if (r < 0)
                return error_set_errno(err, r, "lock %s %s", kind, key);
        return 0;
}

void hold_release(Hold *hold) {
        HoldTable *table = hold->table;
        HoldName *name = hold->name;

        if (!table)
                return;
        pthread_mutex_lock(&table->mutex);
        release(table, name, hold->mode);
        pthread_mutex_unlock(&table->mutex);
        *hold = (Hold){0};
}

size_t hold_table_n_names(HoldTable *table) {
        size_t n = 0;

        pthread_mutex_lock(&table->mutex);
        for (const HoldName *name = table->names; name; name = name->next)
                n++;
        pthread_mutex_unlock(&table->mutex);
        return n;
}
