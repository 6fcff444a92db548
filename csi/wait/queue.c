/* SPDX-License-Identifier: Apache-2.0 */

#include "csi/wait/queue.h"

#include "common/base/cleanup.h"
#include "common/base/file.h"
#include "common/base/str.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

#define POLL_MSECS 100

struct Queue {
        pthread_mutex_t mutex;
        unsigned int max_running, n_running, n_waiting;
        uint64_t max_memory, memory;
        QueueWaiter *waiters; /* borrowed; first come, first served */
};

/* --- limits --- */

/* The number after @key in a text of lines "MemAvailable:   123 kB". */
static bool find_number(const char *text, const char *key, uint64_t *valuep) {
        const char *at = strstr(text, key);
        char digits[24];
        size_t n;

        if (!at)
                return false;
        at += strlen(key);
        at += strspn(at, " \t");
        n = strspn(at, "0123456789");
        if (n == 0 || n >= sizeof(digits))
                return false;
        memcpy(digits, at, n);
        digits[n] = '\0';
        return str_parse_u64(digits, UINT64_MAX, valuep) == 0;
}

static bool read_number(const char *path, uint64_t *valuep) {
        cleanup(freep) char *text = NULL;

        if (file_read_at(AT_FDCWD, path, 4096, &text, NULL) < 0)
                return false;
        str_trim_end(text);
        return str_parse_u64(text, UINT64_MAX, valuep) == 0;
}

/* In a container its own cgroup is mounted at the root of the hierarchy. "max" is no number. */
static uint64_t cgroup_free(const char *limit_path, const char *used_path) {
        uint64_t limit, used;

        if (!read_number(limit_path, &limit) || !read_number(used_path, &used))
                return UINT64_MAX;
        return limit > used ? limit - used : 0;
}

uint64_t queue_free_memory(void) {
        cleanup(freep) char *text = NULL;
        uint64_t least = UINT64_MAX, kib, v1, v2;

        if (file_read_at(AT_FDCWD, "/proc/meminfo", 65536, &text, NULL) == 0 &&
            find_number(text, "MemAvailable:", &kib))
                least = kib * 1024;
        v2 = cgroup_free("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
        v1 = cgroup_free("/sys/fs/cgroup/memory/memory.limit_in_bytes",
                         "/sys/fs/cgroup/memory/memory.usage_in_bytes");
        least = v1 < least ? v1 : least;
        return v2 < least ? v2 : least;
}

static unsigned int count_cpus(void) {
        cpu_set_t set;

        if (sched_getaffinity(0, sizeof(set), &set) < 0)
                return 1;
        return (unsigned int)CPU_COUNT(&set);
}

int queue_new(Queue **queuep, const QueueLimits *limits) {
        Queue *queue = calloc(1, sizeof(*queue));

        if (!queue)
                return -ENOMEM;
        (void)pthread_mutex_init(&queue->mutex, NULL);
        queue->max_running = limits->max_running ? limits->max_running : count_cpus();
        queue->max_memory = limits->memory_bytes ? limits->memory_bytes : queue_free_memory() / 2;
        *queuep = queue;
        return 0;
}

void queue_free(Queue *queue) {
        if (!queue)
                return;
        (void)pthread_mutex_destroy(&queue->mutex);
        free(queue);
}

void queue_get_limits(const Queue *queue, QueueLimits *limits) {
        *limits = (QueueLimits){queue->max_running, queue->max_memory};
}

/* --- waiting --- */

/* What is larger than the whole may run when nothing else does: refusing it would be for ever. */
static bool has_room(const Queue *queue, uint64_t memory_bytes) {
        if (queue->n_running == 0)
                return true;
        return queue->n_running < queue->max_running && queue->memory <= queue->max_memory &&
               memory_bytes <= queue->max_memory - queue->memory;
}

static void enter(Queue *queue, uint64_t memory_bytes) {
        queue->n_running++;
        queue->memory += memory_bytes;
}

static void unlink_waiter(Queue *queue, const QueueWaiter *waiter) {
        for (QueueWaiter **at = &queue->waiters; *at; at = &(*at)->next)
                if (*at == waiter) {
                        *at = waiter->next;
                        queue->n_waiting--;
                        return;
                }
}

static void link_waiter(Queue *queue, QueueWaiter *waiter) {
        QueueWaiter **at = &queue->waiters;

        while (*at)
                at = &(*at)->next;
        waiter->next = NULL;
        *at = waiter;
        queue->n_waiting++;
}

/* Gives places to the head of the line; the mutex is held. */
static void serve(Queue *queue) {
        while (queue->waiters && has_room(queue, queue->waiters->memory_bytes)) {
                QueueWaiter *first = queue->waiters;

                unlink_waiter(queue, first);
                enter(queue, first->memory_bytes);
                first->has_place = true;
                first->served(first);
        }
}

static void leave(Queue *queue, uint64_t memory_bytes) {
        queue->n_running--;
        queue->memory -= memory_bytes;
        serve(queue);
}

int queue_join(Queue *queue, uint64_t memory_bytes, QueueWaiter *waiter, QueueTicket *ticket) {
        int r = QUEUE_E_LATER;

        pthread_mutex_lock(&queue->mutex);
        waiter->memory_bytes = memory_bytes;
        waiter->has_place = false;
        if (!queue->waiters && has_room(queue, memory_bytes)) {
                enter(queue, memory_bytes);
                *ticket = (QueueTicket){queue, memory_bytes};
                r = 0;
        } else {
                link_waiter(queue, waiter);
        }
        pthread_mutex_unlock(&queue->mutex);
        return r;
}

bool queue_has_place(Queue *queue, const QueueWaiter *waiter) {
        bool has_place;

        pthread_mutex_lock(&queue->mutex);
        has_place = waiter->has_place;
        pthread_mutex_unlock(&queue->mutex);
        return has_place;
}

bool queue_take(Queue *queue, QueueWaiter *waiter, QueueTicket *ticket) {
        bool has_place;

        pthread_mutex_lock(&queue->mutex);
        has_place = waiter->has_place;
        waiter->has_place = false;
        if (has_place)
                *ticket = (QueueTicket){queue, waiter->memory_bytes};
        pthread_mutex_unlock(&queue->mutex);
        return has_place;
}

void queue_quit(Queue *queue, QueueWaiter *waiter) {
        pthread_mutex_lock(&queue->mutex);
        if (waiter->has_place)
                leave(queue, waiter->memory_bytes);
        else
                unlink_waiter(queue, waiter);
        waiter->has_place = false;
        serve(queue);
        pthread_mutex_unlock(&queue->mutex);
}

void queue_enter_now(Queue *queue, uint64_t memory_bytes, QueueTicket *ticket) {
        pthread_mutex_lock(&queue->mutex);
        enter(queue, memory_bytes);
        pthread_mutex_unlock(&queue->mutex);
        *ticket = (QueueTicket){queue, memory_bytes};
}

/* A waiter that is a thread. */
typedef struct Sleeper {
        QueueWaiter waiter; /* first */
        sem_t served;
} Sleeper;

static void wake_sleeper(QueueWaiter *waiter) {
        (void)sem_post(&((Sleeper *)(void *)waiter)->served);
}

static void sleep_a_moment(Sleeper *sleeper) {
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += POLL_MSECS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
                until.tv_nsec -= 1000000000L;
                until.tv_sec++;
        }
        (void)sem_timedwait(&sleeper->served, &until);
}

int queue_enter(Queue *queue, uint64_t memory_bytes, bool (*cancelled)(void *userdata),
                void *userdata, QueueTicket *ticket, Error *err) {
        Sleeper sleeper = {.waiter.served = wake_sleeper};
        bool gave_up = false;

        (void)sem_init(&sleeper.served, 0, 0);
        if (queue_join(queue, memory_bytes, &sleeper.waiter, ticket) == QUEUE_E_LATER)
                while (!queue_take(queue, &sleeper.waiter, ticket)) {
                        gave_up = cancelled && cancelled(userdata);
                        if (gave_up)
                                break;
                        sleep_a_moment(&sleeper);
                }
        if (gave_up)
                queue_quit(queue, &sleeper.waiter);
        (void)sem_destroy(&sleeper.served);
        if (gave_up)
                return error_set(err, ERROR_TIMEOUT,
                                 "cancelled while waiting for other filesystem work to end");
        return 0;
}

void queue_leave(QueueTicket *ticket) {
        Queue *queue = ticket->queue;

        if (!queue)
                return;
        pthread_mutex_lock(&queue->mutex);
        leave(queue, ticket->memory_bytes);
        pthread_mutex_unlock(&queue->mutex);
        *ticket = (QueueTicket){0};
}

unsigned int queue_n_running(Queue *queue) {
        unsigned int n;

        pthread_mutex_lock(&queue->mutex);
        n = queue->n_running;
        pthread_mutex_unlock(&queue->mutex);
        return n;
}

unsigned int queue_n_waiting(Queue *queue) {
        unsigned int n;

        pthread_mutex_lock(&queue->mutex);
        n = queue->n_waiting;
        pthread_mutex_unlock(&queue->mutex);
        return n;
}
