/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_NODE_LOCK_H
#define BERTH_CSI_NODE_LOCK_H

/*
 * One operation at a time on a volume, and on a path. Nobody waits: the second one is told that
 * another is under way (gRPC ABORTED), as the CSI specification asks, and the caller tries again.
 */

#include "common/base/error.h"

#include <stddef.h>

typedef struct LockTable LockTable;

/* Return: 0; -ENOMEM. */
int lock_table_new(LockTable **tablep);

/* Nothing is held any more. NULL is fine. */
void lock_table_free(LockTable *table);

/* A key that is held; starts as (Lock){0}. Keys are told apart by @kind and @key. */
typedef struct Lock {
        LockTable *table; /* NULL: not held */
        size_t slot;
} Lock;

/**
 * lock_acquire() - hold @key
 * @kind: a word for messages, static: "volume", "path"
 *
 * Return: 0; ERROR_AGAIN when somebody holds it; ERROR_EXHAUSTED without memory.
 */
int lock_acquire(LockTable *table, const char *kind, const char *key, Lock *lock, Error *err);

/* Not held is fine. */
void lock_release(Lock *lock);

#endif
