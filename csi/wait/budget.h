/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_BUDGET_H
#define BERTH_CSI_WAIT_BUDGET_H

/*
 * Who may run mkfs, fsck or a resize now. Bounded by how many and by how much memory they may need
 * together, first come first served: a hundred volumes that arrive at once, or one fsck of 600 MiB,
 * must not make the kernel kill the plugin. Calls that need no such work never come here.
 */

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Budget Budget;

/* What the process may use, for budget_new(). */
typedef struct BudgetLimits {
        unsigned int max_running; /* 0: as many as CPUs, at least 1 */
        uint64_t memory_bytes;    /* for all that run; 0: half of what is free to this process */
} BudgetLimits;

/* Return: 0; -ENOMEM. */
int budget_new(Budget **budgetp, const BudgetLimits *limits);
void budget_free(Budget *budget);

typedef struct BudgetTicket {
        Budget *budget; /* NULL: not running */
        uint64_t memory_bytes;
} BudgetTicket;

/**
 * budget_enter() - wait for a place
 * @memory_bytes: what the work may need. More than the whole limit is let in alone
 * @cancelled:    polled ten times a second
 *
 * Return: 0, then budget_leave(); ERROR_TIMEOUT when cancelled while waiting: nothing was begun.
 */
int budget_enter(Budget *budget, uint64_t memory_bytes, bool (*cancelled)(void *userdata),
                 void *userdata, BudgetTicket *ticket, Error *err);

/* A place in the line of who does not wait on a thread. Starts as (BudgetWaiter){0}. */
typedef struct BudgetWaiter BudgetWaiter;
struct BudgetWaiter {
        BudgetWaiter *next; /* in the line; the budget's, as has_place is */
        uint64_t memory_bytes;
        bool has_place;
        void (*served)(BudgetWaiter *waiter); /* has_place was set; called with the budget locked,
                                                so it only tells somebody */
};

#define BUDGET_E_LATER 1

/**
 * budget_join() - enter, or stand in line
 * @waiter: with served() set; borrowed until budget_take() or budget_quit()
 *
 * Return: 0, then budget_leave(); BUDGET_E_LATER: served() is told once.
 */
int budget_join(Budget *budget, uint64_t memory_bytes, BudgetWaiter *waiter, BudgetTicket *ticket);

/* Whether its turn has come. */
bool budget_has_place(Budget *budget, const BudgetWaiter *waiter);

/* Whether its turn has come: then @ticket is filled, and it stands in line no more. */
bool budget_take(Budget *budget, BudgetWaiter *waiter, BudgetTicket *ticket);

/* Leaves the line, or gives the place back that it was given. */
void budget_quit(Budget *budget, BudgetWaiter *waiter);

/* Enters at once, beyond the limits if need be: for work that was begun after its turn had come. */
void budget_enter_now(Budget *budget, uint64_t memory_bytes, BudgetTicket *ticket);

/* Not running is fine. */
void budget_leave(BudgetTicket *ticket);

/* For logs and tests. */
unsigned int budget_n_running(Budget *budget);
unsigned int budget_n_waiting(Budget *budget);
void budget_get_limits(const Budget *budget, BudgetLimits *limits);

/* Memory that this process and its children may still take: the smaller of MemAvailable and what
 * the cgroup leaves (both hierarchies). UINT64_MAX if nothing can be read. */
uint64_t budget_free_memory(void);

#endif
