/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_WAITING_H
#define BERTH_CSI_WAIT_WAITING_H

/*
 * How a call waits without a thread. What it waits for is noted in its Waiting, its handler undoes
 * what it had begun and fails with is_parked set, and the server puts the call aside. When its turn
 * comes, or it is to end, the handler is run again from the start: whatever it had looked at is
 * looked at anew, and what it waited for is there.
 *
 * A call without a Waiting (Call.waiting is NULL: the daemon's own, and tests') waits on its
 * thread.
 */

#include "csi/api/request.h"
#include "csi/wait/budget.h"
#include "csi/wait/hold.h"
#include "csi/wait/limits.h"

#define WAITING_HOLDS_MAX 2

typedef struct Waiting Waiting;
struct Waiting {
        void (*wake)(Waiting *waiting); /* the server's: run the handler again; from any thread */
        bool is_parked;                 /* the handler's: it failed because it waits */
        bool must_end;                  /* the server's: it stops, nothing is waited for any more */
        uint64_t until_msecs;           /* CLOCK_MONOTONIC: woken then at the latest */

        Budget *budget; /* stood in line for; borrowed, NULL: none */
        BudgetWaiter budget_waiter;
        HoldWaiter hold_waiter;
        uint64_t hold_until_msecs;
        Hold kept[WAITING_HOLDS_MAX]; /* held while it waits for something else */
        unsigned int n_places;        /* that this run of the handler was given */
};

/* Before each run of the handler. */
void waiting_begin(Waiting *waiting);

/* After the last one: gives back what was waited for and not used. */
void waiting_end(Waiting *waiting);

/**
 * waiting_is_over() - whether a call that is run again has what it waited for
 * @aborted: whether nobody wants it any more; gets the Call
 *
 * For the handler's start, before anything is looked at. Return: 0: go on; <0 with @err: it still
 * waits (is_parked), or ERROR_TIMEOUT when it is to end.
 */
int waiting_is_over(const Call *call, bool (*aborted)(void *call), Error *err);

/**
 * wait_for_place() - budget_enter() for a call
 *
 * A handler that was given a place once, and asks for a second one in the same run, has begun work
 * that would be done again after a wait: it is let in at once.
 *
 * Return: as budget_enter(); or <0 with is_parked.
 */
int wait_for_place(const Call *call, Budget *budget, uint64_t memory_bytes,
                   bool (*aborted)(void *call), BudgetTicket *ticket, Error *err);

/**
 * wait_for_hold() - hold_acquire() for a call, for at most HOLD_WAIT_MSECS
 *
 * Return: as hold_acquire(); or <0 with is_parked.
 */
int wait_for_hold(const Call *call, HoldTable *table, const char *kind, const char *key,
                  HoldMode mode, Hold *hold, Error *err);

/* Releases @hold, or keeps it for the next run if the call waits. Not held is fine. */
void waiting_release(const Call *call, Hold *hold);

#endif
