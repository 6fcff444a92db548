/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/wait/watchdog.h"

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
        Watchdog *watchdog; /* a reference */
        char *key;          /* owned */
        void (*work)(void *data);
        bool is_done, is_late; /* late: nobody waits any more, and the thread frees it */
        alignas(max_align_t) unsigned char data[];
};

struct Watchdog {
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        Task *tasks;
        size_t n_late;
        size_t n_refs; /* its owner's, and one of each task */
};

int watchdog_new(Watchdog **watchdogp) {
        Watchdog *watchdog = calloc(1, sizeof(*watchdog));
        pthread_condattr_t attributes;

        if (!watchdog)
                return -ENOMEM;
        watchdog->n_refs = 1;
        (void)pthread_mutex_init(&watchdog->mutex, NULL);
        (void)pthread_condattr_init(&attributes);
        (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        (void)pthread_cond_init(&watchdog->changed, &attributes);
        (void)pthread_condattr_destroy(&attributes);
        *watchdogp = watchdog;
        return 0;
}

/* The mutex is held, and is not any more. */
static void unref(Watchdog *watchdog) {
        bool is_last = --watchdog->n_refs == 0;

        pthread_mutex_unlock(&watchdog->mutex);
        if (!is_last)
                return;
        (void)pthread_cond_destroy(&watchdog->changed);
        (void)pthread_mutex_destroy(&watchdog->mutex);
        free(watchdog);
}

void watchdog_free(Watchdog *watchdog) {
        if (!watchdog)
                return;
        pthread_mutex_lock(&watchdog->mutex);
        unref(watchdog);
}

static void task_free(Task *task) {
        if (!task)
                return;
        free(task->key);
        free(task);
}

CLEANUP_DEFINE(Task *, task_free);

/* Out of the list; the mutex is held. */
static void forget(Watchdog *watchdog, const Task *task) {
        for (Task **at = &watchdog->tasks; *at; at = &(*at)->next)
                if (*at == task) {
                        *at = task->next;
                        return;
                }
}

static void *run(void *argument) {
        Task *task = argument;
        Watchdog *watchdog = task->watchdog;

        task->work(task->data);
        pthread_mutex_lock(&watchdog->mutex);
        task->is_done = true;
        if (task->is_late) {
                watchdog->n_late--;
                forget(watchdog, task);
                task_free(task);
        }
        (void)pthread_cond_broadcast(&watchdog->changed);
        unref(watchdog);
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

/* The mutex is held. Return: 0; WATCHDOG_E_HANGING; -EAGAIN. */
static int admit(const Watchdog *watchdog, const char *key) {
        for (const Task *task = watchdog->tasks; task; task = task->next)
                if (task->is_late && str_equal(task->key, key))
                        return WATCHDOG_E_HANGING;
        return watchdog->n_late >= WATCHDOG_LATE_MAX ? -EAGAIN : 0;
}

/* The mutex is held. Return: 0; WATCHDOG_E_LATE, and the task is the thread's. */
static int await(Watchdog *watchdog, Task *task, uint64_t timeout_msecs) {
        const struct timespec deadline = clock_timespec(clock_msecs() + timeout_msecs);

        while (!task->is_done)
                if (pthread_cond_timedwait(&watchdog->changed, &watchdog->mutex, &deadline) != 0)
                        break;
        if (task->is_done) {
                forget(watchdog, task);
                return 0;
        }
        task->is_late = true;
        watchdog->n_late++;
        return WATCHDOG_E_LATE;
}

int watchdog_run(Watchdog *watchdog, const char *key, void (*work)(void *data), void *data,
                 size_t n_data, uint64_t timeout_msecs) {
        cleanup(task_freep) Task *task = task_new(key, work, data, n_data);
        int r;

        if (!task)
                return -ENOMEM;
        task->watchdog = watchdog;
        pthread_mutex_lock(&watchdog->mutex);
        r = admit(watchdog, key);
        if (r == 0)
                r = start(task);
        if (r == 0) {
                watchdog->n_refs++;
                task->next = watchdog->tasks;
                watchdog->tasks = task;
                r = await(watchdog, task, timeout_msecs);
        }
        pthread_mutex_unlock(&watchdog->mutex);
        if (r == 0)
                memcpy(data, task->data, n_data);
        else if (r == WATCHDOG_E_LATE)
                task = NULL;
        return r;
}

bool watchdog_is_hanging(Watchdog *watchdog, const char *key) {
        bool hangs;

        pthread_mutex_lock(&watchdog->mutex);
        hangs = admit(watchdog, key) == WATCHDOG_E_HANGING;
        pthread_mutex_unlock(&watchdog->mutex);
        return hangs;
}
