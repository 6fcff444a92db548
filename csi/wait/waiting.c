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
        if (waiting->queue)
                queue_quit(waiting->queue, &waiting->queue_waiter);
        waiting->queue = NULL;
}

void waiting_end(Waiting *waiting) {
        quit_line(waiting);
        lock_quit(&waiting->lock_waiter);
        for (size_t i = 0; i < WAITING_LOCKS_MAX; i++)
                lock_release(&waiting->kept[i]);
}

static int park(Waiting *waiting, Error *err) {
        waiting->is_parked = true;
        return error_set(err, ERROR_AGAIN, "the call waits for others to end");
}

static bool has_turn(const Waiting *waiting) {
        return !waiting->queue || queue_has_place(waiting->queue, &waiting->queue_waiter);
}

int waiting_is_over(const Call *call, bool (*aborted)(void *call), Error *err) {
        Waiting *waiting = call->waiting;

        if (!waiting || !waiting->queue)
                return 0;
        if (waiting->must_end || aborted((void *)(uintptr_t)call)) {
                quit_line(waiting);
                return error_set(err, ERROR_TIMEOUT,
                                 "cancelled while waiting for other filesystem work to end");
        }
        return has_turn(waiting) ? 0 : park(waiting, err);
}

static void on_served(QueueWaiter *waiter) {
        Waiting *waiting = (Waiting *)(void *)((char *)waiter - offsetof(Waiting, queue_waiter));

        waiting->wake(waiting);
}

int wait_for_place(const Call *call, Queue *queue, uint64_t memory_bytes,
                   bool (*aborted)(void *call), QueueTicket *ticket, Error *err) {
        Waiting *waiting = call->waiting;

        if (!waiting)
                return queue_enter(queue, memory_bytes, aborted, (void *)(uintptr_t)call, ticket,
                                   err);
        if (waiting->queue == queue && queue_take(queue, &waiting->queue_waiter, ticket))
                waiting->queue = NULL;
        else if (waiting->n_places > 0)
                queue_enter_now(queue, memory_bytes, ticket);
        else {
                waiting->queue_waiter = (QueueWaiter){.served = on_served};
                if (queue_join(queue, memory_bytes, &waiting->queue_waiter, ticket) ==
                    QUEUE_E_LATER) {
                        waiting->queue = queue;
                        return park(waiting, err);
                }
        }
        waiting->n_places++;
        return 0;
}

static bool take_kept(Waiting *waiting, const char *kind, const char *key, Lock *lock) {
        for (size_t i = 0; i < WAITING_LOCKS_MAX; i++) {
                Lock *kept = &waiting->kept[i];

                if (!kept->table || !lock_name_is(kept->name, kind, key))
                        continue;
                *lock = *kept;
                *kept = (Lock){0};
                return true;
        }
        return false;
}

static void on_locked(LockWaiter *waiter) {
        Waiting *waiting = (Waiting *)(void *)((char *)waiter - offsetof(Waiting, lock_waiter));

        waiting->wake(waiting);
}

/* Run again: it has the lock, or time is over, or it was woken for another reason. */
static int resume_lock(const Call *call, const char *kind, const char *key, Lock *lock,
                       Error *err) {
        Waiting *waiting = call->waiting;

        if (lock_take(&waiting->lock_waiter, lock))
                return 0;
        if (!waiting->must_end && !call->cancelled(call->userdata) &&
            clock_msecs() < waiting->lock_until_msecs) {
                waiting->until_msecs = waiting->lock_until_msecs;
                return park(waiting, err);
        }
        lock_quit(&waiting->lock_waiter);
        return lock_busy(kind, key, err);
}

static uint64_t lock_deadline(const Call *call) {
        uint64_t until = clock_msecs() + WAITING_LOCK_MSECS;

        return until < call->deadline_msecs ? until : call->deadline_msecs;
}

int wait_for_lock(const Call *call, LockTable *table, const char *kind, const char *key,
                  LockMode mode, Lock *lock, Error *err) {
        Waiting *waiting = call->waiting;
        LockWait wait = {lock_deadline(call), call->cancelled, call->userdata};
        int r;

        if (!waiting)
                return lock_acquire(table, kind, key, mode, &wait, lock, err);
        if (take_kept(waiting, kind, key, lock))
                return 0;
        if (waiting->lock_waiter.table && lock_name_is(waiting->lock_waiter.name, kind, key))
                return resume_lock(call, kind, key, lock, err);
        waiting->lock_waiter = (LockWaiter){.served = on_locked};
        r = lock_join(table, kind, key, mode, &waiting->lock_waiter, lock);
        if (r == LOCK_E_LATER) {
                waiting->lock_until_msecs = waiting->until_msecs = wait.deadline_msecs;
                return park(waiting, err);
        }
        return r < 0 ? error_set_errno(err, r, "lock %s %s", kind, key) : 0;
}

void waiting_release(const Call *call, Lock *lock) {
        Waiting *waiting = call->waiting;

        for (size_t i = 0; waiting && waiting->is_parked && lock->table && i < WAITING_LOCKS_MAX;
             i++)
                if (!waiting->kept[i].table) {
                        waiting->kept[i] = *lock;
                        *lock = (Lock){0};
                }
        lock_release(lock);
}
