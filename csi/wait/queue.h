/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_WAIT_QUEUE_H
#define BERTH_CSI_WAIT_QUEUE_H

/*
 * Who may run mkfs, fsck or a resize now. Bounded by how many and by how much memory they may need
 * together, first come first served: a hundred volumes that arrive at once, or one fsck of 600 MiB,
 * must not make the kernel kill the plugin. Calls that need no such work never come here.
 */

#include "common/base/error.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Queue Queue;

/* What the process may use, for queue_new(). */
typedef struct QueueLimits {
        unsigned int max_running; /* 0: as many as CPUs, at least 1 */
        uint64_t memory_bytes;    /* for all that run; 0: half of what is free to this process */
} QueueLimits;

/* Return: 0; -ENOMEM. */
int queue_new(Queue **queuep, const QueueLimits *limits);
void queue_free(Queue *queue);

typedef struct QueueTicket {
        Queue *queue; /* NULL: not running */
        uint64_t memory_bytes;
} QueueTicket;

/**
 * queue_enter() - wait for a place
 * @memory_bytes: what the work may need. More than the whole limit is let in alone
 * @cancelled:    polled ten times a second
 *
 * Return: 0, then queue_leave(); ERROR_TIMEOUT when cancelled while waiting: nothing was begun.
 */
int queue_enter(Queue *queue, uint64_t memory_bytes, bool (*cancelled)(void *userdata),
                void *userdata, QueueTicket *ticket, Error *err);

/* A place in the line of who does not wait on a thread. Starts as (QueueWaiter){0}. */
typedef struct QueueWaiter QueueWaiter;
struct QueueWaiter {
        QueueWaiter *next; /* in the line; the queue's, as has_place is */
        uint64_t memory_bytes;
        bool has_place;
        void (*served)(QueueWaiter *waiter); /* has_place was set; called with the queue locked, so
                                                it only tells somebody */
};

#define QUEUE_E_LATER 1

/**
 * queue_join() - enter, or stand in line
 * @waiter: with served() set; borrowed until queue_take() or queue_quit()
 *
 * Return: 0, then queue_leave(); QUEUE_E_LATER: served() is told once.
 */
int queue_join(Queue *queue, uint64_t memory_bytes, QueueWaiter *waiter, QueueTicket *ticket);

/* Whether its turn has come. */
bool queue_has_place(Queue *queue, const QueueWaiter *waiter);

/* Whether its turn has come: then @ticket is filled, and it stands in line no more. */
bool queue_take(Queue *queue, QueueWaiter *waiter, QueueTicket *ticket);

/* Leaves the line, or gives the place back that it was given. */
void queue_quit(Queue *queue, QueueWaiter *waiter);

/* Enters at once, beyond the limits if need be: for work that was begun after its turn had come. */
void queue_enter_now(Queue *queue, uint64_t memory_bytes, QueueTicket *ticket);

/* Not running is fine. */
void queue_leave(QueueTicket *ticket);

/* For logs and tests. */
unsigned int queue_n_running(Queue *queue);
unsigned int queue_n_waiting(Queue *queue);
void queue_get_limits(const Queue *queue, QueueLimits *limits);

/* Memory that this process and its children may still take: the smaller of MemAvailable and what
 * the cgroup leaves (both hierarchies). UINT64_MAX if nothing can be read. */
uint64_t queue_free_memory(void);

#endif
