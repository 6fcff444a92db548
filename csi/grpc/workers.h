/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BERTH_CSI_GRPC_WORKERS_H
#define BERTH_CSI_GRPC_WORKERS_H

/*
 * Threads that run queued work. They are made when there is work and no idle thread, up to a limit,
 * and end after a while without any, so that an idle node pays for none. The queue is bounded: who
 * cannot be queued is told at once.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Workers Workers;

/* Part of what is to be done; borrowed from submit until run() is called with it. */
typedef struct Work Work;
struct Work {
        void (*run)(Work *work); /* may free the Work */
        Work *next;              /* of the queue's */
        size_t weight_bytes;     /* memory that it holds while it waits */
};

typedef struct WorkersConfig {
        unsigned int max_threads;
        unsigned int max_queued;         /* waiting, without those that run */
        size_t max_queued_bytes;         /* sum of weight_bytes of what waits */
        unsigned int idle_timeout_msecs; /* a thread without work ends after this */
        unsigned int late_msecs; /* work that takes longer counts no more against max_threads: it
                                    may hang in the kernel, and never end. 0: it counts */
        unsigned int max_late;   /* threads beyond max_threads, for that */
        int nice; /* added to the priority of its threads, and so of the processes that they spawn
                   */
} WorkersConfig;

/* Return: 0; -ENOMEM. */
int workers_new(Workers **workersp, const WorkersConfig *config);

/* Waits until everything that was submitted has run. NULL is fine. */
void workers_free(Workers *workers);

/**
 * workers_submit() - run @work on a thread
 *
 * Return: 0; -EBUSY when the queue is full; -EAGAIN when there is no thread and none can be made.
 * After a failure @work was not taken.
 */
int workers_submit(Workers *workers, Work *work);

/* workers_submit() beyond the bounds of the queue: for work that was admitted before. */
int workers_submit_again(Workers *workers, Work *work);

/**
 * workers_look() - make threads in the place of those whose work is late
 *
 * Return: whether work still waits for a thread; then look again in late_msecs at the latest.
 */
bool workers_look(Workers *workers);

/* Whether work waits, and all threads that there may be have work. */
bool workers_lack_threads(Workers *workers);

/* Threads that exist now; for tests. */
unsigned int workers_n_threads(Workers *workers);

#endif
