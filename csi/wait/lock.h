/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_LOCK_H
#define BERTH_CSI_WAIT_LOCK_H

/*
 * Locks by name: one operation at a time on a volume, and on a path. One table serves the node and
 * the provider's pool, so that a delete sees a stage that is under way. Readers share; who waits is
 * served first come first served, up to a deadline, and is told then that another operation is
 * under way (gRPC ABORTED, as the CSI specification asks).
 *
 * A thread that holds a name must not ask for it again. Several names are taken in this order:
 * volume, path, and then what a provider holds of its own.
 */

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct LockTable LockTable;

/* Return: 0; -ENOMEM. */
int lock_table_new(LockTable **tablep);

/* Nothing is held or waited for any more. NULL is fine. */
void lock_table_free(LockTable *table);

typedef enum LockMode {
        LOCK_SHARED,    /* beside others that share */
        LOCK_EXCLUSIVE, /* alone */
} LockMode;

/* How long lock_acquire() waits. NULL in its place: not at all. */
typedef struct LockWait {
        uint64_t deadline_msecs;           /* on CLOCK_MONOTONIC; UINT64_MAX: no end */
        bool (*cancelled)(void *userdata); /* polled some times a second; NULL: never */
        void *userdata;
} LockWait;

/* What is held of one name; private. */
typedef struct LockName LockName;

/* A hold; starts as (Lock){0}. It may be given to another thread and released there. */
typedef struct Lock {
        LockTable *table; /* NULL: not held */
        LockName *name;
        LockMode mode;
} Lock;

/**
 * lock_acquire() - hold a name
 * @kind: a word for messages, static: "volume", "path". Names are told apart by @kind and @key
 * @wait: NULL: do not wait
 *
 * A shared hold is not given while an exclusive one is waited for, so that readers who come and go
 * do not keep a writer out.
 *
 * Return: 0; ERROR_AGAIN when it is still held at the deadline; ERROR_TIMEOUT when cancelled;
 * ERROR_EXHAUSTED without memory.
 */
int lock_acquire(LockTable *table, const char *kind, const char *key, LockMode mode,
                 const LockWait *wait, Lock *lock, Error *err);

/* Who waits without a thread. Starts as (LockWaiter){.served = ...}; the rest is the table's. */
typedef struct LockWaiter LockWaiter;
struct LockWaiter {
        LockWaiter *next;
        LockTable *table; /* NULL: not in line */
        LockName *name;
        LockMode mode;
        bool has_lock;
        void (*served)(LockWaiter *waiter); /* it has the lock now; called with the table locked, so
                                               it only tells somebody */
};

#define LOCK_E_LATER 1

/**
 * lock_join() - hold a name, or stand in line for it
 * @waiter: borrowed until lock_take() or lock_quit()
 *
 * Return: 0; LOCK_E_LATER: served() is told once; -ENOMEM.
 */
int lock_join(LockTable *table, const char *kind, const char *key, LockMode mode,
              LockWaiter *waiter, Lock *lock);

/* Whether its turn has come: then @lock is held, and it stands in line no more. */
bool lock_take(LockWaiter *waiter, Lock *lock);

/* Leaves the line, or gives back what it was given. Not in line is fine. */
void lock_quit(LockWaiter *waiter);

/* ERROR_AGAIN, as lock_acquire() says it. */
int lock_busy(const char *kind, const char *key, Error *err);

/* Whether that is the name. */
bool lock_name_is(const LockName *name, const char *kind, const char *key);

/* Not held is fine. */
void lock_release(Lock *lock);

/* Whether anybody holds the name now: for reports, the answer may be old when it arrives. */
bool lock_is_held(LockTable *table, const char *kind, const char *key);

#endif
