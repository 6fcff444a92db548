/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_HOLD_H
#define BERTH_CSI_WAIT_HOLD_H

/*
 * Holds by name: one operation at a time on a volume, and on a path. One table serves the node and
 * the provider's pool, so that a delete sees a stage that is under way. Readers share; who waits is
 * served first come first served, up to a deadline, and is told then that another operation is
 * under way (gRPC ABORTED, as the CSI specification asks).
 *
 * A thread that holds a name must not ask for it again. Several names are taken in this order:
 * volume, path, and then what a provider holds of its own.
 */

#include "common/base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct HoldTable HoldTable;

/* Return: 0; -ENOMEM. */
int hold_table_new(HoldTable **tablep);

/* Nothing is held or waited for any more. NULL is fine. */
void hold_table_free(HoldTable *table);

typedef enum HoldMode {
        HOLD_SHARED,    /* beside others that share */
        HOLD_EXCLUSIVE, /* alone */
} HoldMode;

/* How long hold_acquire() waits. NULL in its place: not at all. */
typedef struct HoldWait {
        uint64_t deadline_msecs;           /* on CLOCK_MONOTONIC; UINT64_MAX: no end */
        bool (*cancelled)(void *userdata); /* polled some times a second; NULL: never */
        void *userdata;
} HoldWait;

/* What is held of one name; private. */
typedef struct HoldName HoldName;

/* A hold; starts as (Hold){0}. It may be given to another thread and released there. */
typedef struct Hold {
        HoldTable *table; /* NULL: not held */
        HoldName *name;
        HoldMode mode;
} Hold;

/**
 * hold_acquire() - hold a name
 * @kind: a word for messages, static: "volume", "path". Names are told apart by @kind and @key
 * @wait: NULL: do not wait
 *
 * A shared hold is not given while an exclusive one is waited for, so that readers who come and go
 * do not keep a writer out.
 *
 * Return: 0; ERROR_AGAIN when it is still held at the deadline; ERROR_TIMEOUT when cancelled;
 * ERROR_EXHAUSTED without memory.
 */
int hold_acquire(HoldTable *table, const char *kind, const char *key, HoldMode mode,
                 const HoldWait *wait, Hold *hold, Error *err);

/* Who waits without a thread. Starts as (HoldWaiter){.served = ...}; the rest is the table's. */
typedef struct HoldWaiter HoldWaiter;
struct HoldWaiter {
        HoldWaiter *next;
        HoldTable *table; /* NULL: not in line */
        HoldName *name;
        HoldMode mode;
        bool has_hold;
        void (*served)(HoldWaiter *waiter); /* it has the name now; called with the table locked, so
                                               it only tells somebody */
};

#define HOLD_E_LATER 1

/**
 * hold_join() - hold a name, or stand in line for it
 * @waiter: borrowed until hold_take() or hold_quit()
 *
 * Return: 0; HOLD_E_LATER: served() is told once; -ENOMEM.
 */
int hold_join(HoldTable *table, const char *kind, const char *key, HoldMode mode,
              HoldWaiter *waiter, Hold *hold);

/* Whether its turn has come: then @hold is held, and it stands in line no more. */
bool hold_take(HoldWaiter *waiter, Hold *hold);

/* Leaves the line, or gives back what it was given. Not in line is fine. */
void hold_quit(HoldWaiter *waiter);

/* ERROR_AGAIN, as hold_acquire() says it. */
int hold_busy(const char *kind, const char *key, Error *err);

/* Whether that is the name. */
bool hold_name_is(const HoldName *name, const char *kind, const char *key);

/* Not held is fine. */
void hold_release(Hold *hold);

/* How many names are held or waited for; for tests. */
size_t hold_table_n_names(HoldTable *table);

#endif
