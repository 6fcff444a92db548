/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/wait/patience.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"
#include "common/base/str.h"

#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <time.h>

#define STACK_BYTES (256U << 10)

typedef struct Task Task;
struct Task {
        Task *next;         /* among those that run */
        Patience *patience; /* a reference */
        char *key;          /* owned */
        void (*work)(void *data);
        bool is_done, is_late; /* late: nobody waits any more, and the thread frees it */
        alignas(max_align_t) unsigned char data[];
};

struct Patience {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        Task *tasks;
        size_t n_late;
        size_t n_refs; /* its owner's, and one of each task */
};

int patience_new(Patience **patiencep) {
        Patience *patience = calloc(1, sizeof(*patience));
        pthread_condattr_t attributes;

        if (!patience)
                return -ENOMEM;
        patience->n_refs = 1;
        (void)pthread_mutex_init(&patience->mutex, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&patience->changed, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        *patiencep = patience;
        return 0;
}

/* The mutex is held, and is not any more. */
static void unref(Patience *patience) {
        bool is_last = --patience->n_refs == 0;

        pthread_mutex_unlock(&patience->mutex);
        if (!is_last)
                return;
        (void)pthread_cond_destroy(&patience->changed);
        (void)pthread_mutex_destroy(&patience->mutex);
        free(patience);
}

void patience_free(Patience *patience) {
        if (!patience)
                return;
        pthread_mutex_lock(&patience->mutex);
        unref(patience);
}

static void task_free(Task *task) {
        if (!task)
                return;
        free(task->key);
        free(task);
}

CLEANUP_DEFINE(Task *, task_free);

/* Out of the list; the mutex is held. */
static void forget(Patience *patience, const Task *task) {
        for (Task **at = &patience->tasks; *at; at = &(*at)->next)
                if (*at == task) {
                        *at = task->next;
                        return;
                }
}

static void *run(void *argument) {
        Task *task = argument;
        Patience *patience = task->patience;

        task->work(task->data);
        pthread_mutex_lock(&patience->mutex);
        task->is_done = true;
        if (task->is_late) {
                patience->n_late--;
                forget(patience, task);
                task_free(task);
        }
        (void)pthread_cond_broadcast(&patience->changed);
        unref(patience);
        return NULL;
}

static int start(Task *task) {
        sigset_t all, before;
        pthread_attr_t attributes;
        pthread_t thread;
        int r;

        /* Signals are for the threads that expect them. */
        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        (void)pthread_attr_init(&attributes);
        (void)pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);
        r = pthread_create(&thread, &attributes, run, task);
        (void)pthread_attr_destroy(&attributes);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static Task *task_new(const char *key, void (*work)(void *), const void *data, size_t n_data) {
        cleanup(task_freep) Task *task = calloc(1, sizeof(*task) + n_data);

        if (!task)
                return NULL;
        task->key = strdup(key);
        if (!task->key)
                return NULL;
        task->work = work;
        memcpy(task->data, data, n_data);
        return ptr_steal(&task);
}

/* The mutex is held. Return: 0; PATIENCE_E_HANGING; -EAGAIN. */
static int admit(const Patience *patience, const char *key) {
        for (const Task *task = patience->tasks; task; task = task->next)
                if (task->is_late && str_equal(task->key, key))
                        return PATIENCE_E_HANGING;
        return patience->n_late >= PATIENCE_LATE_MAX ? -EAGAIN : 0;
}

/* The mutex is held. Return: 0; PATIENCE_E_LATE, and the task is the thread's. */
static int await(Patience *patience, Task *task, uint64_t timeout_msecs) {
        const struct timespec deadline = clock_timespec(clock_msecs() + timeout_msecs);

        while (!task->is_done)
                if (pthread_cond_timedwait(&patience->changed, &patience->mutex, &deadline) != 0)
                        break;
        if (task->is_done) {
                forget(patience, task);
                return 0;
        }
        task->is_late = true;
        patience->n_late++;
        return PATIENCE_E_LATE;
}

int patience_run(Patience *patience, const char *key, void (*work)(void *data), void *data,
                 size_t n_data, uint64_t timeout_msecs) {
        cleanup(task_freep) Task *task = task_new(key, work, data, n_data);
        int r;

        if (!task)
                return -ENOMEM;
        task->patience = patience;
        pthread_mutex_lock(&patience->mutex);
        r = admit(patience, key);
        if (r == 0)
                r = start(task);
        if (r == 0) {
                patience->n_refs++;
                task->next = patience->tasks;
                patience->tasks = task;
                r = await(patience, task, timeout_msecs);
        }
        pthread_mutex_unlock(&patience->mutex);
        if (r == 0)
                memcpy(data, task->data, n_data);
        else if (r == PATIENCE_E_LATE)
                task = NULL;
        return r;
}

bool patience_is_hanging(Patience *patience, const char *key) {
        bool hangs;

        pthread_mutex_lock(&patience->mutex);
        hangs = admit(patience, key) == PATIENCE_E_HANGING;
        pthread_mutex_unlock(&patience->mutex);
        return hangs;
}

unsigned int patience_n_late(Patience *patience) {
        size_t n;

        pthread_mutex_lock(&patience->mutex);
        n = patience->n_late;
        pthread_mutex_unlock(&patience->mutex);
        return (unsigned int)n;
}
