/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/wait/waiting.h"

#include "common/base/clock.h"

#include <time.h>

void waiting_begin(Waiting *waiting) {
        waiting->is_parked = false;
        waiting->until_msecs = UINT64_MAX;
        waiting->n_places = 0;
}

static void quit_line(Waiting *waiting) {
        if (waiting->budget)
                budget_quit(waiting->budget, &waiting->budget_waiter);
        waiting->budget = NULL;
}

void waiting_end(Waiting *waiting) {
        quit_line(waiting);
        hold_quit(&waiting->hold_waiter);
        for (size_t i = 0; i < WAITING_HOLDS_MAX; i++)
                hold_release(&waiting->kept[i]);
}

static int park(Waiting *waiting, Error *err) {
        waiting->is_parked = true;
        return error_set(err, ERROR_AGAIN, "the call waits for others to end");
}

static bool has_turn(const Waiting *waiting) {
        return !waiting->budget || budget_has_place(waiting->budget, &waiting->budget_waiter);
}

int waiting_is_over(const Call *call, bool (*aborted)(void *call), Error *err) {
        Waiting *waiting = call->waiting;

        if (!waiting || !waiting->budget)
                return 0;
        if (waiting->must_end || aborted((void *)(uintptr_t)call)) {
                quit_line(waiting);
                return error_set(err, ERROR_TIMEOUT,
                                 "cancelled while waiting for other filesystem work to end");
        }
        return has_turn(waiting) ? 0 : park(waiting, err);
}

static void on_served(BudgetWaiter *waiter) {
        Waiting *waiting = (Waiting *)(void *)((char *)waiter - offsetof(Waiting, budget_waiter));

        waiting->wake(waiting);
}

int wait_for_place(const Call *call, Budget *budget, uint64_t memory_bytes,
                   bool (*aborted)(void *call), BudgetTicket *ticket, Error *err) {
        Waiting *waiting = call->waiting;

        if (!waiting)
                return budget_enter(budget, memory_bytes, aborted, (void *)(uintptr_t)call, ticket,
                                    err);
        if (waiting->budget == budget && budget_take(budget, &waiting->budget_waiter, ticket))
                waiting->budget = NULL;
        else if (waiting->n_places > 0)
                budget_enter_now(budget, memory_bytes, ticket);
        else {
                waiting->budget_waiter = (BudgetWaiter){.served = on_served};
                if (budget_join(budget, memory_bytes, &waiting->budget_waiter, ticket) ==
                    BUDGET_E_LATER) {
                        waiting->budget = budget;
                        return park(waiting, err);
                }
        }
        waiting->n_places++;
        return 0;
}

static bool take_kept(Waiting *waiting, const char *kind, const char *key, Hold *hold) {
        for (size_t i = 0; i < WAITING_HOLDS_MAX; i++) {
                Hold *kept = &waiting->kept[i];

                if (!kept->table || !hold_name_is(kept->name, kind, key))
                        continue;
                *hold = *kept;
                *kept = (Hold){0};
                return true;
        }
        return false;
}

static void on_held(HoldWaiter *waiter) {
        Waiting *waiting = (Waiting *)(void *)((char *)waiter - offsetof(Waiting, hold_waiter));

        waiting->wake(waiting);
}

/* Run again: it has the name, or time is over, or it was woken for another reason. */
static int resume_hold(const Call *call, const char *kind, const char *key, Hold *hold,
                       Error *err) {
        Waiting *waiting = call->waiting;

        if (hold_take(&waiting->hold_waiter, hold))
                return 0;
        if (!waiting->must_end && !call->cancelled(call->userdata) &&
            clock_msecs() < waiting->hold_until_msecs) {
                waiting->until_msecs = waiting->hold_until_msecs;
                return park(waiting, err);
        }
        hold_quit(&waiting->hold_waiter);
        return hold_busy(kind, key, err);
}

static uint64_t hold_deadline(const Call *call) {
        uint64_t until = clock_msecs() + HOLD_WAIT_MSECS;

        return until < call->deadline_msecs ? until : call->deadline_msecs;
}

int wait_for_hold(const Call *call, HoldTable *table, const char *kind, const char *key,
                  HoldMode mode, Hold *hold, Error *err) {
        Waiting *waiting = call->waiting;
        HoldWait wait = {hold_deadline(call), call->cancelled, call->userdata};
        int r;

        if (!waiting)
                return hold_acquire(table, kind, key, mode, &wait, hold, err);
        if (take_kept(waiting, kind, key, hold))
                return 0;
        if (waiting->hold_waiter.table && hold_name_is(waiting->hold_waiter.name, kind, key))
                return resume_hold(call, kind, key, hold, err);
        waiting->hold_waiter = (HoldWaiter){.served = on_held};
        r = hold_join(table, kind, key, mode, &waiting->hold_waiter, hold);
        if (r == HOLD_E_LATER) {
                waiting->hold_until_msecs = waiting->until_msecs = wait.deadline_msecs;
                return park(waiting, err);
        }
        return r < 0 ? error_set_errno(err, r, "lock %s %s", kind, key) : 0;
}

void waiting_release(const Call *call, Hold *hold) {
        Waiting *waiting = call->waiting;

        for (size_t i = 0; waiting && waiting->is_parked && hold->table && i < WAITING_HOLDS_MAX;
             i++)
                if (!waiting->kept[i].table) {
                        waiting->kept[i] = *hold;
                        *hold = (Hold){0};
                }
        hold_release(hold);
}
