/* SPDX-License-Identifier: Apache-2.0 */

/*
 * One mutex, one queue, one condition. A thread that ends leaves its handle behind for the next one
 * that ends (or for workers_free()) to join: a chain in which nobody is forgotten and nobody waits
 * for more than a thread that is already returning.
 */

#include "csi/grpc/workers.h"

#include "common/base/cleanup.h"
#include "common/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <time.h>

/* Deep enough for the decoders (frames are limited to 16 KiB each) and for what libc and libblkid
 * put on a stack. Only what is touched is memory. */
#define STACK_BYTES (512UL * 1024)

/* On the stack of the thread that does it. */
typedef struct Running Running;
struct Running {
        Running *next;
        uint64_t since_msecs;
};

struct Workers {
        WorkersConfig config;
        pthread_mutex_t lock;
        pthread_cond_t changed; /* work came, a thread ended, or stop was set */
        Work *first, *last;     /* borrowed */
        Running *running;       /* borrowed */
        unsigned int n_queued, n_threads, n_idle;
        size_t queued_bytes;
        bool stop;
        bool has_ended;
        pthread_t ended; /* only with has_ended: ended and not yet joined */
};

int workers_new(Workers **workersp, const WorkersConfig *config) {
        cleanup(freep) Workers *workers = calloc(1, sizeof(*workers));
        pthread_condattr_t attr;

        if (!workers || pthread_condattr_init(&attr) != 0)
                return -ENOMEM;
        workers->config = *config;
        (void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        (void)pthread_mutex_init(&workers->lock, NULL);
        (void)pthread_cond_init(&workers->changed, &attr);
        (void)pthread_condattr_destroy(&attr);
        *workersp = ptr_steal(&workers);
        return 0;
}

/* Called with the lock held. */
static Work *take(Workers *workers) {
        Work *work = workers->first;

        if (!work)
                return NULL;
        workers->first = work->next;
        if (!workers->first)
                workers->last = NULL;
        work->next = NULL;
        workers->n_queued--;
        workers->queued_bytes -= work->weight_bytes;
        return work;
}

/* Called with the lock held. Return: false after the idle time without work. */
static bool wait_for_work(Workers *workers) {
        const struct timespec until =
                clock_timespec(clock_msecs() + workers->config.idle_timeout_msecs);
        int r;

        workers->n_idle++;
        r = pthread_cond_timedwait(&workers->changed, &workers->lock, &until);
        workers->n_idle--;
        return r != ETIMEDOUT || workers->first;
}

/* Called with the lock held, and without it while the work runs. */
static void run(Workers *workers, Work *work) {
        Running running = {workers->running, clock_msecs()};

        /* cppcheck-suppress autoVariables ; it leaves the list below */
        workers->running = &running;
        (void)pthread_mutex_unlock(&workers->lock);
        work->run(work);
        (void)pthread_mutex_lock(&workers->lock);
        for (Running **at = &workers->running; *at; at = &(*at)->next)
                if (*at == &running) {
                        *at = running.next;
                        break;
                }
}

/* Called with the lock held. */
static unsigned int count_late(const Workers *workers) {
        uint64_t now = clock_msecs();
        unsigned int n = 0;

        for (const Running *one = workers->running; one; one = one->next)
                if (workers->config.late_msecs != 0 &&
                    now - one->since_msecs >= workers->config.late_msecs)
                        n++;
        return n < workers->config.max_late ? n : workers->config.max_late;
}

static void *worker_main(void *userdata) {
        Workers *workers = userdata;
        pthread_t previous;
        bool has_previous;
        Work *work;

        /* On Linux this is the thread's own. Not worth failing for. */
        if (workers->config.nice != 0)
                (void)setpriority(PRIO_PROCESS, (id_t)gettid(),
                                  getpriority(PRIO_PROCESS, 0) + workers->config.nice);
        (void)pthread_mutex_lock(&workers->lock);
        for (;;) {
                work = take(workers);
                if (work) {
                        run(workers, work);
                } else if (workers->stop || !wait_for_work(workers)) {
                        break;
                }
        }
        has_previous = workers->has_ended;
        previous = workers->ended;
        workers->has_ended = true;
        workers->ended = pthread_self();
        workers->n_threads--;
        (void)pthread_cond_broadcast(&workers->changed);
        (void)pthread_mutex_unlock(&workers->lock);
        if (has_previous)
                (void)pthread_join(previous, NULL);
        return NULL;
}

/* Called with the lock held. */
static int start_thread(Workers *workers) {
        pthread_attr_t attr;
        pthread_t thread;
        int r;

        r = pthread_attr_init(&attr);
        if (r != 0)
                return -r;
        (void)pthread_attr_setstacksize(&attr, STACK_BYTES);
        r = pthread_create(&thread, &attr, worker_main, workers);
        (void)pthread_attr_destroy(&attr);
        if (r == 0)
                workers->n_threads++;
        return -r;
}

/* Called with the lock held: one more thread, if one is wanted and allowed. */
static int want_thread(Workers *workers, unsigned int n_waiting) {
        if (workers->n_idle >= n_waiting ||
            workers->n_threads >= workers->config.max_threads + count_late(workers))
                return 0;
        return start_thread(workers);
}

static int submit(Workers *workers, Work *work, bool is_bounded) {
        const WorkersConfig *config = &workers->config;
        int r = 0;

        (void)pthread_mutex_lock(&workers->lock);
        if (is_bounded && (workers->n_queued >= config->max_queued ||
                           work->weight_bytes > config->max_queued_bytes - workers->queued_bytes))
                r = -EBUSY;
        else if (want_thread(workers, workers->n_queued + 1) < 0 && workers->n_threads == 0)
                r = -EAGAIN;
        if (r == 0) {
                work->next = NULL;
                if (workers->last)
                        workers->last->next = work;
                else
                        workers->first = work;
                workers->last = work;
                workers->n_queued++;
                workers->queued_bytes += work->weight_bytes;
                (void)pthread_cond_signal(&workers->changed);
        }
        (void)pthread_mutex_unlock(&workers->lock);
        return r;
}

int workers_submit(Workers *workers, Work *work) {
        return submit(workers, work, true);
}

int workers_submit_again(Workers *workers, Work *work) {
        work->weight_bytes = 0;
        return submit(workers, work, false);
}

bool workers_look(Workers *workers) {
        bool has_waiting;

        (void)pthread_mutex_lock(&workers->lock);
        if (workers->n_queued > 0)
                (void)want_thread(workers, workers->n_queued);
        has_waiting = workers->n_queued > workers->n_idle;
        (void)pthread_mutex_unlock(&workers->lock);
        return has_waiting;
}

bool workers_lack_threads(Workers *workers) {
        bool lacks;

        (void)pthread_mutex_lock(&workers->lock);
        lacks = workers->n_queued > workers->n_idle &&
                workers->n_threads >= workers->config.max_threads;
        (void)pthread_mutex_unlock(&workers->lock);
        return lacks;
}

unsigned int workers_n_threads(Workers *workers) {
        unsigned int n;

        (void)pthread_mutex_lock(&workers->lock);
        n = workers->n_threads;
        (void)pthread_mutex_unlock(&workers->lock);
        return n;
}

void workers_free(Workers *workers) {
        if (!workers)
                return;
        (void)pthread_mutex_lock(&workers->lock);
        workers->stop = true;
        (void)pthread_cond_broadcast(&workers->changed);
        while (workers->n_threads > 0)
                (void)pthread_cond_wait(&workers->changed, &workers->lock);
        (void)pthread_mutex_unlock(&workers->lock);
        if (workers->has_ended)
                (void)pthread_join(workers->ended, NULL);
        (void)pthread_cond_destroy(&workers->changed);
        (void)pthread_mutex_destroy(&workers->lock);
        free(workers);
}
